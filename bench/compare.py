# SPDX-License-Identifier: MIT
"""The comparison: what is compared takes turns, so that a slow moment of the machine hits all alike."""

import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.hooks import Hooks
from bench.subject import Subject
from bench.traffic import SERVER, Harness
from firewall.errors import FwError, KernelLacks
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
    with Namespace(), Subject(plan.file) as subject, Harness(1) as one, Harness(plan.flows) as many:
        subject.establish(plan.flows)
        held = sum(1 for _ in subject.maps["flows"].items())
        if held != plan.flows:
            raise FwError(f"the flow table holds {held} of {plan.flows} flows")
        for harness in (one, many):
            harness.know(subject.maps["flows"].keys())
        before = subject.reasons()
        rows, missing = _alone(plan, subject, one, many), None
        try:
            rows += _forwarded(plan, subject, one, many)
        except KernelLacks as error:
            missing = str(error)
        return Result(rows, subject.counted_since(before), missing)


def _alone(plan: Plan, subject: Subject, one: Harness, many: Harness) -> list[Row]:
    """The program at ingress by itself."""
    on, fw = subject.ifindex["wan"], subject.programs["fw_ingress"]
    hot: Series = {"empty": [], "lookup": [], "fw": []}
    cold: Series = {"empty": [], "lookup": [], "fw": []}
    for _ in range(plan.rounds):
        for name, program in (("empty", one.empty), ("lookup", one.lookup), ("fw", fw)):
            hot[name].append(one.alone_ns(program, plan.packets * _ALONE, on))
    for _ in range(plan.rounds):
        for name, program in (("empty", many.empty), ("lookup", many.lookup), ("fw", fw)):
            cold[name].append(many.shuffled_ns(program, plan.packets, on))
    # Choosing a flow costs what an empty program takes longer after it; that is not the program's.
    choosing = min(cold["empty"]) - min(hot["empty"])
    for name in ("lookup", "fw"):
        cold[name] = [ns - choosing for ns in cold[name]]
    return [_row("alone", 1, hot), _row("alone", plan.flows, {**cold, "empty": hot["empty"]})]


def _forwarded(plan: Plan, subject: Subject, one: Harness, many: Harness) -> list[Row]:
    """Through the whole stack: no program, an empty one at both hooks, ours at both hooks."""
    wan, lan = subject.ifindex["wan"], subject.ifindex["lan"]
    empty = one.empty, one.empty
    fw = subject.programs["fw_ingress"], subject.programs["fw_egress"]
    words = f"ip neigh replace {SERVER} lladdr {_NOBODY} dev lan nud permanent"
    subprocess.run(words.split(), check=True, capture_output=True)
    hot: Series = {"plain": [], "empty": [], "fw": []}
    cold: Series = {"plain": [], "empty": [], "fw": []}

    def measure(name: str) -> None:
        hot[name].append(one.forwarded_ns(plan.packets, wan))
        cold[name].append(many.forwarded_ns(plan.packets, wan))

    with one.taking_frames(wan):
        for _ in range(plan.rounds):
            measure("plain")
            with Hooks(plan.attach, wan, lan, empty) as hooks:
                measure("empty")
                hooks.put(fw)
                measure("fw")
    return [_row("forwarded", 1, hot), _row("forwarded", plan.flows, cold)]


def _row(what: str, flows: int, series: Series) -> Row:
    rounds = len(series["fw"])
    plain = series.setdefault("plain", [0.0] * rounds)
    series.setdefault("lookup", [0.0] * rounds)

    def figures(pick: Callable[[list[float]], float], empty: float, fw: float) -> Figures:
        picked = (pick(series[name]) for name in ("plain", "empty", "lookup", "fw"))
        return Figures(*picked, fw / empty if empty > 1 else None)

    def usually_beyond_plain(name: str) -> float:
        return statistics.median(ns - less for ns, less in zip(series[name], plain, strict=True))

    def at_best_beyond_plain(name: str) -> float:
        return min(series[name]) - min(plain)

    return Row(
        what,
        flows,
        figures(statistics.median, *map(usually_beyond_plain, ("empty", "fw"))),
        figures(min, *map(at_best_beyond_plain, ("empty", "fw"))),
    )
