# SPDX-License-Identifier: MIT
"""The comparison: what is compared takes turns, so that a slow moment of the machine hits all alike."""

import statistics
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.hooks import Hooks
from bench.subject import Subject
from bench.traffic import SERVER, Harness
from firewall.errors import FwError
from tests.packet.path import Namespace

Series = dict[str, list[float]]  # ns of a packet in each round, by what was measured

_NOBODY = "02:00:00:00:00:99"  # a frame to this address is dropped where it arrives


# A run of a program by itself is this much longer, or the system call would show in an empty program's.
_ALONE = 10


class Plan(NamedTuple):
    """How much is measured. `packets` are those of one figure of one round."""

    flows: int
    rounds: int
    packets: int
    attach: str  # "tcx" or "clsact"
    file: Path


class Figures(NamedTuple):
    """ns of a packet: in the plain kernel, with an empty program, with one that only finds the flow, with fw.

    `plain` is 0 for programs by themselves, `lookup` is 0 where it was not measured.
    """

    plain: float
    empty: float
    lookup: float
    fw: float
    times: (
        float | None
    )  # what fw takes, in units of what an empty program takes; None: too little to be measured

    @property
    def lookup_times(self) -> float | None:
        """The same for the program that only finds the flow."""
        return self.lookup / self.empty if self.lookup else None

    @property
    def throughput(self) -> float | None:
        """Packets a second with fw, those of the plain kernel being 1; None for programs by themselves."""
        return self.plain / self.fw if self.plain else None


class Row(NamedTuple):
    """One comparison. `least` has the best round of each, which other load on the machine has disturbed least."""

    what: str  # "alone" or "forwarded"
    flows: int
    median: Figures
    least: Figures


class Result(NamedTuple):
    """All rows, the reasons under which packets were counted meanwhile, and why rows are missing, if they are."""

    rows: list[Row]
    counted: dict[str, int]
    missing: str | None


def compare(plan: Plan) -> Result:
    """Measures in a namespace that is gone afterwards."""
    with ExitStack() as stack:
        stack.enter_context(Namespace())
        subject = stack.enter_context(Subject(plan.file))
        one, many = stack.enter_context(Harness(1)), stack.enter_context(Harness(plan.flows))
        _prepare(plan, subject, one, many)
        before = subject.reasons()
        alone, forwarded = _Alone(plan, subject, one, many), _Forwarded(plan, subject, one, many)
        missing = None
        try:
            stack.enter_context(one.taking_frames(subject.ifindex["wan"]))
            one.forwarded_ns(1, subject.ifindex["wan"])  # whether the kernel can
        except FwError as error:
            missing = str(error)
        for _ in range(plan.rounds):
            alone.measure()
            if not missing:
                forwarded.measure()
        rows = alone.rows() + ([] if missing else forwarded.rows())
        return Result(rows, subject.counted_since(before), missing)


def _prepare(plan: Plan, subject: Subject, one: Harness, many: Harness) -> None:
    """Flows in the tables, and a way to the server."""
    subject.establish(plan.flows)
    held = [key for key, _ in subject.maps["flows"].items()]
    if len(held) != plan.flows:
        raise FwError(f"the flow table holds {len(held)} of {plan.flows} flows")
    one.know(held)
    many.know(held)
    words = f"ip neigh replace {SERVER} lladdr {_NOBODY} dev lan nud permanent"
    subprocess.run(words.split(), check=True, capture_output=True)


class _Alone:
    """Programs by themselves, at ingress."""

    def __init__(self, plan: Plan, subject: Subject, one: Harness, many: Harness) -> None:
        self._plan, self._one, self._many = plan, one, many
        self._on, self._fw = subject.ifindex["wan"], subject.programs["fw_ingress"]
        self._hot: Series = {"empty": [], "lookup": [], "fw": []}
        self._cold: Series = {"empty": [], "lookup": [], "fw": []}

    def measure(self) -> None:
        """One round."""
        for harness, series in ((self._one, self._hot), (self._many, self._cold)):
            for name, program in (("empty", harness.empty), ("lookup", harness.lookup), ("fw", self._fw)):
                if harness is self._one:
                    ns = harness.alone_ns(program, self._plan.packets * _ALONE, self._on)
                else:
                    ns = harness.shuffled_ns(program, self._plan.packets, self._on)
                series[name].append(ns)

    def rows(self) -> list[Row]:
        """What it comes to. Choosing a flow costs what an empty program takes longer after it; that is left out."""
        hot, cold = self._hot, self._cold
        choosing = min(cold["empty"]) - min(hot["empty"])
        cold = {name: [ns - choosing for ns in series] for name, series in cold.items()}
        return [_row("alone", 1, hot), _row("alone", self._plan.flows, {**cold, "empty": hot["empty"]})]


class _Forwarded:
    """Through the whole stack: no program, an empty one at both hooks, ours at both hooks."""

    def __init__(self, plan: Plan, subject: Subject, one: Harness, many: Harness) -> None:
        self._plan, self._one, self._many = plan, one, many
        self._wan, self._lan = subject.ifindex["wan"], subject.ifindex["lan"]
        self._empty = one.empty, one.empty
        self._fw = subject.programs["fw_ingress"], subject.programs["fw_egress"]
        self._hot: Series = {"plain": [], "empty": [], "fw": []}
        self._cold: Series = {"plain": [], "empty": [], "fw": []}

    def measure(self) -> None:
        """One round."""
        self._add("plain")
        with Hooks(self._plan.attach, self._wan, self._lan, self._empty) as hooks:
            self._add("empty")
            hooks.put(self._fw)
            self._add("fw")

    def _add(self, name: str) -> None:
        self._hot[name].append(self._one.forwarded_ns(self._plan.packets, self._wan))
        self._cold[name].append(self._many.forwarded_ns(self._plan.packets, self._wan))

    def rows(self) -> list[Row]:
        """What it comes to."""
        return [_row("forwarded", 1, self._hot), _row("forwarded", self._plan.flows, self._cold)]


def _row(what: str, flows: int, series: Series) -> Row:
    nothing = [0.0] * len(series["fw"])
    plain, lookup = series.get("plain", nothing), series.get("lookup", nothing)
    empty, fw = series["empty"], series["fw"]

    def figures(pick: Callable[[list[float]], float], empty_cost: float, fw_cost: float) -> Figures:
        times = fw_cost / empty_cost if empty_cost > 1 else None
        return Figures(pick(plain), pick(empty), pick(lookup), pick(fw), times)

    def usual_cost(of: list[float]) -> float:
        return statistics.median(ns - less for ns, less in zip(of, plain, strict=True))

    median = figures(statistics.median, usual_cost(empty), usual_cost(fw))
    least = figures(min, min(empty) - min(plain), min(fw) - min(plain))
    return Row(what, flows, median, least)
