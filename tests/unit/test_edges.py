# SPDX-License-Identifier: MIT
"""Times of rules as boot times, and the windows that are open between them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.clock import Moment
from firewall.edges import Edges
from firewall.rule import Rule
from firewall.until import Until
from tests.strategies import steady

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
