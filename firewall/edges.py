# SPDX-License-Identifier: MIT
"""When rules hold, as the packet path reads it: from which boot times on which windows of time are open.

A window is what one rule asks of time, and equal ones are shared; it is a bit. An edge is a moment at which some open
or close.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from firewall.clock import Moment
from firewall.hours import Between, local_zone
from firewall.rule import Rule
from firewall.until import Until

MAX_WINDOWS = 64
_EDGE = struct.Struct("=QQ")  # struct edge

_HORIZON_DAYS = 366


class Hours(NamedTuple):
    """A window that opens and closes: `unsynced` is what it is while nothing keeps the clock right, `beyond` what
    it is a year after it was counted last.
    """

    between: Between
    unsynced: bool
    beyond: bool

    def __str__(self) -> str:
        return f"between {self.between}"


Window = Until | Hours


class Change(NamedTuple):
    """From this boot time on the window is open, or closed."""

    from_ns: int
    opens: bool


def windows_of(rule: Rule) -> tuple[Window, ...]:
    """What the rule asks of time; all of them must be open.

    Where it is not known whether it is that time, an `allow` does not hold, and a `drop` does.
    """
    found: list[Window] = [rule.until] if rule.until is not None else []
    if rule.between is not None:
        closed = rule.action != "allow"
        unsynced = closed if rule.unsynced is None else rule.unsynced
        found.append(Hours(rule.between, unsynced, closed))
    return tuple(found)


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
    if isinstance(window, Hours):
        return _changes_of_hours(window, moment)
    end_ns = moment.boot_at(window.end_s)
    return [Change(0, True), Change(end_ns, False)] if end_ns else [Change(0, False)]


def _changes_of_hours(window: Hours, moment: Moment) -> list[Change]:
    if not moment.synced:
        return [Change(0, window.unsynced)]
    from datetime import datetime, timedelta

    zone = moment.zone or local_zone()
    now_s = moment.wall_ns // 1_000_000_000
    yesterday = datetime.fromtimestamp(now_s, zone).date() - timedelta(1)
    changes = [Change(0, False)]
    horizon_s = now_s + _HORIZON_DAYS * 86400
    for begin, end in window.between.spans(yesterday, _HORIZON_DAYS + 2, zone):
        if end <= now_s or begin >= horizon_s:
            continue
        opens_ns = moment.boot_at(begin) if begin > now_s else 0
        # one that begins when another ends, or is open now, is no edge; where clocks go forward it may begin earlier
        if changes[-1].from_ns >= opens_ns:
            changes.pop()
        if not changes or not changes[-1].opens:
            changes.append(Change(opens_ns, True))
        changes.append(Change(moment.boot_at(min(end, horizon_s)), False))
    last = Change(moment.boot_at(horizon_s), window.beyond)
    if changes[-1].from_ns == last.from_ns:
        changes.pop()
    return [*changes, last]
