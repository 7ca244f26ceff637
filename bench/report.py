# SPDX-License-Identifier: MIT
"""The comparison's result as text and as JSON."""

import os
from typing import Any

from bench.compare import Figures, Plan, Result, Row
from firewall.render import count, table

SCHEMA = 1

_HEADER = ("", "flows", "", "plain", "empty", "lookup", "fw", "times", "speed")
_NAMES = {"alone": "by itself", "forwarded": "forwarding"}


def text(plan: Plan, result: Result) -> str:
    """A table, what was counted, and a last line that says it all."""
    lines = [
        f"ns a packet of an established TCP connection; {plan.rounds} rounds of {count(plan.packets)} packets, "
        f"{plan.attach}, Linux {os.uname().release}",
        "lookup: the flow is found and counted, no more; times: fw's part in units of an empty program's;",
        "speed: packets a second, those of the plain kernel being 1",
        "",
        *table(
            _HEADER, [line for row in result.rows for line in _lines(row)], right=_HEADER[3:] + ("flows",)
        ),
        "",
        "counted: " + ", ".join(f"{count(n)} {reason}" for reason, n in result.counted.items()),
    ]
    if result.missing:
        lines.append(f"forwarding was not measured: {result.missing}")
    return "\n".join([*lines, headline(result)])


def headline(result: Result) -> str:
    """The whole result in a sentence: of programs by themselves the best round, with which other load meddles least."""
    hot, cold = (row.least for row in result.rows if row.what == "alone")
    said = f"packet_cost: a packet costs {hot.fw:.0f} ns, {_ratio(hot.times)} times an empty program"
    said += f" where finding the flow alone is {_ratio(hot.lookup_times)} times"
    said += f" ({cold.fw:.0f} ns among {count(result.rows[1].flows)} flows, finding alone {cold.lookup:.0f})"
    for row in result.rows:
        if row.what == "forwarded" and row.flows == 1:
            said += f"; forwarding, {_ratio(row.median.times)} times an empty program at both hooks"
            said += f" and {_ratio(row.median.throughput, 2)} of the plain kernel's speed"
    return said


def document(plan: Plan, result: Result) -> dict[str, Any]:
    """The same, complete, for programs."""
    return {
        "schema": SCHEMA,
        "kernel": os.uname().release,
        "object": str(plan.file),
        "attach": plan.attach,
        "rounds": plan.rounds,
        "packets": plan.packets,
        "measured": [
            {
                "what": row.what,
                "flows": row.flows,
                "median": _numbers(row.median),
                "least": _numbers(row.least),
            }
            for row in result.rows
        ],
        "counted": result.counted,
        "missing": result.missing,
    }


def _lines(row: Row) -> list[tuple[str, ...]]:
    first = (_NAMES[row.what], count(row.flows), "median", *_cells(row.median))
    return [first, ("", "", "least", *_cells(row.least))]


def _cells(figures: Figures) -> tuple[str, ...]:
    plain = f"{figures.plain:.1f}" if figures.plain else "-"
    lookup = f"{figures.lookup:.1f}" if figures.lookup else "-"
    shown = plain, f"{figures.empty:.1f}", lookup, f"{figures.fw:.1f}"
    return *shown, _ratio(figures.times), _ratio(figures.throughput, 2)


def _ratio(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _numbers(figures: Figures) -> dict[str, float | None]:
    """Times in ns, to a tenth."""
    ratios = {"times": figures.times, "speed": figures.throughput}
    return {
        "plain_ns": round(figures.plain, 1) or None,
        "empty_ns": round(figures.empty, 1),
        "lookup_ns": round(figures.lookup, 1) or None,
        "fw_ns": round(figures.fw, 1),
        **{name: None if ratio is None else round(ratio, 3) for name, ratio in ratios.items()},
    }
