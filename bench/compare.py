# SPDX-License-Identifier: MIT
"""The comparison: rounds in which what is compared takes turns, so that a slow moment of the machine hits all."""

import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.subject import Subject
from bench.traffic import SERVER, Harness
from firewall import tc
from firewall.bpfprog import Program, link_create_tcx
from firewall.errors import KernelLacks
from tests.packet.path import Namespace

Series = dict[str, list[float]]  # ns of a packet in each round, by what was measured

_NOBODY = "02:00:00:00:00:99"  # a frame to this address is dropped where it arrives


class Plan(NamedTuple):
    """How much is measured. `packets` are those of one figure of one round."""

    flows: int
    rounds: int
    packets: int
    attach: str  # "tcx" or "clsact"
    file: Path


class Row(NamedTuple):
    """One comparison, in ns of a packet: medians, and the least of all rounds.

    The figures of `plain` are without any program; 0 for a program that runs alone. `cost` is what `fw` takes
    beyond `plain`, in units of what `empty` takes beyond it: the median of the rounds' differences.
    """

    name: str
    flows: int
    plain: float
    empty: float
    fw: float
    cost: float
    least_empty: float
    least_fw: float

    @property
    def throughput(self) -> float:
        """Packets a second, those of the plain kernel being 1."""
        return self.plain / self.fw


class Result(NamedTuple):
    """All rows, the reasons under which packets were counted meanwhile, and why a row is missing."""

    rows: list[Row]
    counted: dict[str, int]
    missing: str | None


def compare(plan: Plan) -> Result:
    """Measures in a namespace that is gone afterwards."""
    with Namespace(), Subject(plan.file) as subject, Harness(1) as one, Harness(plan.flows) as many:
        on = subject.ifindex["wan"]
        _prepare(subject, plan.attach)
        subject.establish(plan.flows)
        held = sum(1 for _ in subject.maps["flows"].keys())
        assert held == plan.flows, f"{held} flows in the table, not {plan.flows}"
        before = subject.reasons()
        rows = _alone(plan, subject, one, many, on)
        try:
            rows += _forwarded(plan, subject, one, many, on)
            missing = None
        except KernelLacks as error:
            missing = str(error)
        return Result(rows, subject.counted_since(before), missing)


def _alone(plan: Plan, subject: Subject, one: Harness, many: Harness, on: int) -> list[Row]:
    """Programs run by themselves, at ingress."""
    fw = subject.programs["fw_ingress"]
    hot: Series = {"empty": [], "fw": []}
    cold: Series = {"empty": [], "fw": []}
    for _ in range(plan.rounds):
        for name, program in (("empty", one.empty), ("fw", fw)):
            hot[name].append(one.alone_ns(program, plan.packets, on))
            cold[name].append(many.shuffled_ns(program, plan.packets, on))
    # Without what it takes to choose a flow: what is left of an empty program is as in the first row.
    choosing = [chosen - plain for chosen, plain in zip(cold["empty"], hot["empty"], strict=True)]
    cold = {name: [ns - less for ns, less in zip(series, choosing, strict=True)] for name, series in cold.items()}
    nothing = [0.0] * plan.rounds
    return [
        _row("alone", 1, {"plain": nothing, **hot}),
        _row("alone", plan.flows, {"plain": nothing, **cold}),
    ]


def _forwarded(plan: Plan, subject: Subject, one: Harness, many: Harness, on: int) -> list[Row]:
    """Through the whole stack: the kernel without a program, with an empty one at both hooks, with ours."""
    ours = subject.programs["fw_ingress"], subject.programs["fw_egress"]
    setups = {"plain": None, "empty": (one.empty, one.empty), "fw": ours}
    hot: Series = {name: [] for name in setups}
    cold: Series = {name: [] for name in setups}
    with one.taking_frames(on):
        for _ in range(plan.rounds):
            for name, programs in setups.items():
                with _attached(subject, programs, plan.attach):
                    hot[name].append(one.forwarded_ns(plan.packets, on))
                    cold[name].append(many.forwarded_ns(plan.packets, on))
    return [_row("forwarded", 1, hot), _row("forwarded", plan.flows, cold)]


@contextmanager
def _attached(subject: Subject, programs: tuple[Program, Program] | None, attach: str) -> Iterator[None]:
    """Both interfaces with these programs at ingress and egress."""
    with ExitStack() as stack:
        for ifindex in (subject.ifindex["wan"], subject.ifindex["lan"]):
            for program, ingress in zip(programs or (), (True, False), strict=False):
                if attach == "tcx":
                    stack.enter_context(link_create_tcx(program, ifindex, ingress))
                else:
                    tc.put_bpf_filter(ifindex, ingress, 1, 1, program.name, program.fd, replace=False)
                    stack.callback(tc.remove_bpf_filter, ifindex, ingress, 1, 1)
        yield


def _prepare(subject: Subject, attach: str) -> None:
    """The way to the server, which takes nothing, and room for filters."""
    words = f"ip neigh replace {SERVER} lladdr {_NOBODY} dev lan nud permanent"
    subprocess.run(words.split(), check=True, capture_output=True)
    if attach == "clsact":
        for name in ("wan", "lan"):
            tc.make_clsact(subject.ifindex[name])


def _row(name: str, flows: int, series: Series) -> Row:
    def beyond(what: str) -> float:
        return statistics.median(ns - plain for ns, plain in zip(series[what], series["plain"], strict=True))

    return Row(
        name,
        flows,
        *(statistics.median(series[what]) for what in ("plain", "empty", "fw")),
        beyond("fw") / max(beyond("empty"), 0.1),
        min(series["empty"]),
        min(series["fw"]),
    )
