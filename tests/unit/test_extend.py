# SPDX-License-Identifier: MIT
"""A ruleset with a rule added is what compiling all rules gives, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rulesets import made
from firewall.clauses import FURTHER
from firewall.clock import Moment
from firewall.compile import Compiled, Patterns, compile_policy
from firewall.document import place
from firewall.expand import sets_of
from firewall.extend import Base, extended, renewed
from firewall.policy import Policy
from firewall.rule import Rule
from firewall.shadow import dead_by
from firewall.terms import ANY_END, Names
from tests.strategies import rules, steady

MOMENT = Moment(1_800_000_000 * 10**9, 1000 * 10**9)
CLASSES = {"eth0": 1, "wan0": 2, "br-lan": 3}
MANY = tuple(made("acl", 40))  # so that there are trees


def plain(rule: Rule) -> Rule:
    """The rule without further clauses and host parts."""
    absent: dict[str, Any] = {clause.field: None for clause in FURTHER}
    without = rule._replace(**absent)
    src, dst = (
        end._replace(
            addrs=end.addrs._replace(hosts=()) if end.addrs and (end.addrs.spans or end.addrs.sets) else None
        )
        for end in (without.src, without.dst)
    )
    found = without._replace(src=src, dst=dst)
    return found if found.kinds() else without._replace(src=ANY_END, dst=ANY_END)


def compiled(listed: list[Rule], generation: int, sets: Mapping[str, int]) -> tuple[Compiled, int]:
    """And the id that the next rule would have."""
    policy = Policy.of(listed)
    document = place(policy, str(policy), True, None, 8192)
    return compile_policy(policy, document, CLASSES, generation, 250, MOMENT, sets), document.next_id


def numbered(listed: list[Rule]) -> dict[str, int]:
    """Numbers for the sets that the rules ask for, and one that none does."""
    return {name: number for number, name in enumerate(sorted(sets_of(listed) | {"unasked"}), 1)}


def lists_of(base: Base, listed: list[Rule]) -> list[Names]:
    """As whoever has no more than the ids of rules finds them."""
    found = []
    for number, (rule_id, via) in enumerate(base.lists().items()):
        assert rule_id == number
        rule = listed[via[0] - 1]
        names = rule.via if via[1] else rule.on
        assert names is not None
        found.append(names)
    return found


@steady
@given(st.lists(rules().map(plain), max_size=6), rules().map(plain))
def test_one_rule_more(some: list[Rule], rule: Rule) -> None:
    before = [*MANY, *some, Rule("drop", rule.scopes, rule.on, rule.via)]
    sets = numbered([*before, rule])
    base = Base.of(compiled(before, 7, sets)[0])
    lists = lists_of(base, before)
    assert [Patterns(before).number(names) for names in lists] == list(range(len(lists)))
    whole, _ = compiled([*before, rule], 8, sets)
    placed = place(Policy.of([*before, rule]), "", True, None, 8192).rules[-1]
    assert renewed(extended(base, lists, rule, placed, sets), base.settings, 8) == whole


@steady
@given(st.lists(rules().map(plain), min_size=1, max_size=6), rules().map(plain))
def test_rules_that_may_cover_another_are_found(some: list[Rule], rule: Rule) -> None:
    before = [*MANY, *some, rule._replace(comment=None, log=None)]
    around = Base.of(compiled(before, 1, numbered([*before, rule]))[0]).around(rule)
    assert around == sorted(around)
    killer = dead_by([*before, rule], len(before))
    assert killer is not None and killer + 1 in around
    candidates = [before[number - 1] for number in around]
    assert around[dead_by([*candidates, rule], len(candidates)) or 0] == killer + 1


@pytest.mark.parametrize("count", [33, 64, 65])
def test_what_is_behind_the_last_entry_is_left_out(count: int) -> None:
    listed = [Rule.parse(f"allow in tcp to port {port}") for port in range(1, count + 1)]
    base = Base.of(compiled(listed, 1, {})[0])
    assert base.size == count
    whole, next_id = compiled([*listed, Rule.parse("allow in udp to port 53")], 2, {})
    rule = Rule.parse("allow in udp to port 53")
    placed = place(Policy.of([*listed, rule]), "", True, None, 8192).rules[-1]
    assert placed.id + 1 == next_id
    assert renewed(extended(base, [], rule, placed), base.settings, 2) == whole
