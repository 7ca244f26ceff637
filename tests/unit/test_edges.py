# SPDX-License-Identifier: MIT
"""Times of rules as boot times, and the windows that are open between them."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.clock import Moment
from firewall.edges import Edges
from firewall.hours import Between
from firewall.rule import Rule
from firewall.until import Until
from tests.strategies import betweens, steady

BERLIN = ZoneInfo("Europe/Berlin")

NOW_S, UP_S = 1_800_000_000, 5000
MOMENT = Moment(NOW_S * 10**9, UP_S * 10**9)


def ends(*moments_s: int | None) -> list[Rule]:
    return [Rule("allow", ("in",), until=None if one is None else Until(one)) for one in moments_s]


def edges(rules: list[Rule], moment: Moment = MOMENT) -> list[tuple[int, int]]:
    """Boot time in seconds, and the windows that are open from then on."""
    found = [struct.unpack("=QQ", record) for record in Edges(rules, moment).records()]
    return [(from_ns // 10**9, windows) for from_ns, windows in found]


def test_no_rule_asks_for_the_time() -> None:
    rules = ends(None, None)
    assert edges(rules) == []
    assert [Edges(rules, MOMENT).mask(rule) for rule in rules] == [0, 0]


def test_ends_in_order() -> None:
    rules = ends(NOW_S + 60, None, NOW_S + 30, NOW_S + 60)
    assert [Edges(rules, MOMENT).mask(rule) for rule in rules] == [1, 0, 2, 1], "equal ones are shared"
    assert edges(rules) == [(0, 3), (UP_S + 30, 1), (UP_S + 60, 0)]


@pytest.mark.parametrize("gone_s", [1, UP_S - 1, UP_S, UP_S + 1, NOW_S])
def test_what_has_ended(gone_s: int) -> None:
    """Also before the machine was up, where no boot time is left for it."""
    before = max(0, UP_S - gone_s)
    assert edges(ends(NOW_S - gone_s)) == ([(0, 1), (before, 0)] if before else [(0, 0)])


def test_a_clock_that_is_set() -> None:
    """An hour forward: the end is an hour nearer."""
    rules = ends(NOW_S + 7200)
    later = Moment(MOMENT.wall_ns + 3600 * 10**9, MOMENT.boot_ns)
    assert edges(rules) == [(0, 1), (UP_S + 7200, 0)]
    assert edges(rules, later) == [(0, 1), (UP_S + 3600, 0)]


@steady
@given(
    st.lists(st.none() | st.integers(NOW_S - 9000, NOW_S + 9000), max_size=20), st.integers(0, UP_S + 9000)
)
def test_each_rule_at_each_time(moments_s: list[int | None], up_s: int) -> None:
    rules = ends(*moments_s)
    found = edges(rules)
    assert [from_s for from_s, _ in found] == sorted({from_s for from_s, _ in found}), "the search needs this"
    open_ = next((windows for from_s, windows in reversed(found) if from_s <= up_s), 0)
    for rule, end_s in zip(rules, moments_s, strict=True):
        mask = Edges(rules, MOMENT).mask(rule)
        holds = end_s is None or end_s - NOW_S + UP_S > up_s
        assert (mask & ~open_ == 0) == holds


def local(text: str, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp())


def between(text: str, action: str = "allow", rest: str = "") -> Rule:
    return Rule.parse(f"{action} in between {text} {rest}".strip())


def states(rule: Rule, moment: Moment) -> list[tuple[int, bool]]:
    """Unix time of each edge and whether the window is open from then on; the first since ever."""
    ahead_s = (moment.wall_ns - moment.boot_ns) // 10**9
    return [(from_s + ahead_s if from_s else 0, bool(open_)) for from_s, open_ in edges([rule], moment)]


def at(text: str, synced: bool = True) -> Moment:
    return Moment(local(text) * 10**9, UP_S * 10**9, synced, BERLIN)


@steady
@given(betweens(), st.integers(NOW_S, NOW_S + 365 * 86400), st.sampled_from(("allow", "drop")))
def test_hours_of_a_year(hours: Between, when_s: int, action: str) -> None:
    """The edges say what the clause means, through both changes of the clocks."""
    rule = Rule(action, ("in",), between=hours)
    found = states(rule, Moment(NOW_S * 10**9, UP_S * 10**9, True, BERLIN))
    assert [from_s for from_s, _ in found] == sorted({from_s for from_s, _ in found})
    assert len(found) <= 2 * 368
    for moment_s in (when_s, *(from_s + one for from_s, _ in found[1:-1:97] for one in (-1, 0))):
        assert next(open_ for from_s, open_ in reversed(found) if from_s <= moment_s) == hours.holds(
            moment_s, BERLIN
        )


@pytest.mark.parametrize(
    ("hours", "when", "holds"),
    [
        ("08:00 and 18:00", "2030-06-03T08:00", True),
        ("08:00 and 18:00", "2030-06-03T07:59:59", False),
        ("08:00 and 18:00", "2030-06-03T18:00", False),
        ("08:00 and 18:00 on-days mon-fri", "2030-06-01T12:00", False),
        ("22:00 and 06:00 on-days fri", "2030-06-07T23:00", True),
        ("22:00 and 06:00 on-days fri", "2030-06-08T05:59:59", True),
        ("22:00 and 06:00 on-days fri", "2030-06-08T23:00", False),
        ("00:00 and 24:00 on-days sun", "2030-06-02T23:59:59", True),
        ("00:00 and 24:00 on-days sun", "2030-06-03T00:00", False),
        # 02:00 to 03:00 is left out on the 31st of March, and comes twice on the 27th of October
        ("02:30 and 04:00", "2030-03-31T03:29:59", False),
        ("02:30 and 04:00", "2030-03-31T03:30", True),
        ("01:00 and 02:30", "2030-10-27T02:29:59", True),
        ("01:00 and 02:30", "2030-10-27T02:30", False),
    ],
)
def test_local_time(hours: str, when: str, holds: bool) -> None:
    rule = between(hours)
    assert rule.between is not None
    assert rule.between.holds(local(when), BERLIN) == holds
    assert states(rule, at(when))[0][1] == holds


def test_one_that_begins_before_the_last_has_ended() -> None:
    """At 02:45, which is 03:45 when clocks go forward, the one would end; the next begins at 03:15."""
    found = states(between("03:15 and 02:45", "drop"), at("2030-03-30T12:00"))
    assert found[:3] == [(0, True), (local("2030-04-01T02:45"), False), (local("2030-04-01T03:15"), True)]


def test_summer_and_winter_are_an_hour_apart() -> None:
    found = states(between("08:00 and 18:00"), at("2030-01-01T00:00"))
    begins = {
        datetime.fromtimestamp(from_s, BERLIN).strftime("%H:%M") for from_s, open_ in found[1:] if open_
    }
    assert begins == {"08:00"}
    assert len({from_s % 86400 for from_s, open_ in found[1:] if open_}) == 2


@pytest.mark.parametrize(("action", "beyond"), [("allow", False), ("drop", True), ("reject", True)])
def test_a_year_that_nobody_counted_on(action: str, beyond: bool) -> None:
    """Where nobody knows any more, an allow does not hold and a drop does."""
    found = states(between("00:00 and 24:00", action), at("2030-06-01T12:00"))
    days = timedelta(seconds=found[-1][0] - local("2030-06-01T12:00")).days
    assert (days, found[-1][1]) == (366, beyond)


@pytest.mark.parametrize(
    ("action", "rest", "open_"),
    [
        ("allow", "", False),
        ("drop", "", True),
        ("reject", "", True),
        ("allow", "unsynced on", True),
        ("drop", "unsynced off", False),
    ],
)
def test_a_clock_that_nothing_keeps_right(action: str, rest: str, open_: bool) -> None:
    for hours in ("08:00 and 18:00", "18:00 and 08:00"):
        assert states(between(hours, action, rest), at("2030-06-01T12:00", synced=False)) == [(0, open_)]


def test_equal_windows_are_shared() -> None:
    rules = [between("08:00 and 18:00"), between("08:00 and 18:00"), between("08:00 and 18:00", "drop")]
    assert [Edges(rules, MOMENT).mask(rule) for rule in rules] == [1, 1, 2]
