# SPDX-License-Identifier: MIT
"""When rules hold, as the packet path reads it: from which boot times on which windows of time are open.

A window is what one rule asks of time, and equal ones are shared; it is a bit. An edge is a moment at which some open
or close.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from firewall.clock import Moment
from firewall.rule import Rule
from firewall.until import Until

MAX_WINDOWS = 64
_EDGE = struct.Struct("=QQ")  # struct edge

Window = Until


class Change(NamedTuple):
    """From this boot time on the window is open, or closed."""

    from_ns: int
    opens: bool


def windows_of(rule: Rule) -> tuple[Window, ...]:
    """What the rule asks of time; all of them must be open."""
    return (rule.until,) if rule.until is not None else ()


def distinct_windows(rules: Iterable[Rule]) -> list[Window]:
    """The different windows, in the order of their first use."""
    return list(dict.fromkeys(window for rule in rules for window in windows_of(rule)))


class Edges:
    """The windows of a policy, numbered, and when each opens and closes as seen from `moment`."""

    def __init__(self, rules: Iterable[Rule], moment: Moment) -> None:
        self._moment = moment
        self._numbers = {window: number for number, window in enumerate(distinct_windows(rules))}

    def mask(self, rule: Rule) -> int:
        """What `further.windows` of the rule holds."""
        return sum(1 << self._numbers[window] for window in windows_of(rule))

    def records(self) -> tuple[bytes, ...]:
        """The values of a map of `edges` in order, the first for all time before the second; none without windows."""
        if not self._numbers:
            return ()
        changes = [
            (change, 1 << number)
            for window, number in self._numbers.items()
            for change in _changes(window, self._moment)
        ]
        edges: dict[int, int] = {}
        state = 0
        for change, bit in sorted(changes):
            state = state | bit if change.opens else state & ~bit
            edges[change.from_ns] = state
        return tuple(_EDGE.pack(*edge) for edge in edges.items())


def _changes(window: Window, moment: Moment) -> list[Change]:
    """The first is at boot time 0, and no other."""
    end_ns = moment.boot_at(window.end_s)
    return [Change(0, True), Change(end_ns, False)] if end_ns else [Change(0, False)]
