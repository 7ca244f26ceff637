# SPDX-License-Identifier: MIT
"""The boxes of a rule match what the rule matches, and are few."""

from ipaddress import IPv4Address, IPv6Address
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.clauses import FURTHER
from firewall.evaluate import Question, matches
from firewall.expand import SCOPE_BITS, Entry, InSets, entry_count, expand, interface_patterns
from firewall.ranges import complement, covers, merge
from firewall.rule import Rule
from firewall.services import ICMP, ICMP6
from tests.strategies import questions, rules, steady

small_ranges = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: (min(pair), max(pair))), max_size=6
)


def in_set(name: str, address: IPv4Address | IPv6Address) -> bool:
    """Sets that each have some of the addresses, for these tests."""
    return bool(int(address) + len(name) & 2)


def admits(sets: InSets | None, address: IPv4Address | IPv6Address) -> bool:
    if sets is None:
        return True
    hosts = any(part.matches(address.version, int(address)) for part in sets.hosts)
    return (hosts or any(in_set(name, address) for name in sets.names)) != sets.negated


def holds(entry: Entry, question: Question) -> bool:
    """Whether a packet is in a box, read as a compiler would."""
    icmp = question.proto in (ICMP, ICMP6)
    dport = question.icmp_type << 8 | question.icmp_code if icmp else question.dport
    return (
        entry.family in (0, question.src.version)
        and entry.proto in (0, question.proto)
        and entry.src_lo <= int(question.src) <= entry.src_hi
        and entry.dst_lo <= int(question.dst) <= entry.dst_hi
        and entry.sport_lo <= question.sport <= entry.sport_hi
        and entry.dport_lo <= dport <= entry.dport_hi
        and bool(entry.scopes & SCOPE_BITS[question.scope])
        and (entry.on is None or entry.on.matches(question.on))
        and (entry.via is None or entry.via.matches(question.via))
        and admits(entry.src_sets, question.src)
        and admits(entry.dst_sets, question.dst)
    )


def sides(entry: Entry) -> list[tuple[int, int]]:
    """The four ranges of a box."""
    return [
        (entry.src_lo, entry.src_hi),
        (entry.dst_lo, entry.dst_hi),
        (entry.sport_lo, entry.sport_hi),
        (entry.dport_lo, entry.dport_hi),
    ]


@steady
@given(st.data(), rules())
def test_boxes_match_as_the_rule_does(data: st.DataObject, rule: Rule) -> None:
    """Further clauses are in no box."""
    nothing: dict[str, Any] = {clause.field: clause.absent for clause in FURTHER}
    rule = rule._replace(**nothing)
    entries = expand(rule)
    assert entries
    assert len(entries) == entry_count(rule)
    for _ in range(10):
        question = data.draw(questions(rule))
        icmp_in_the_wrong_family = (question.proto, question.src.version) in ((ICMP, 6), (ICMP6, 4))
        if icmp_in_the_wrong_family and not rule.protos:
            continue
        assert any(holds(entry, question) for entry in entries) == matches(rule, question, in_set)


@steady
@given(rules())
def test_boxes_do_not_overlap(rule: Rule) -> None:
    """Those of sets apart, whose elements may be listed beside them."""
    for one, other in combinations(expand(rule)[:40], 2):
        if (one.src_sets, one.dst_sets) != (other.src_sets, other.dst_sets):
            continue
        pairs = zip(sides(one), sides(other), strict=True)
        apart = any(mine[0] > theirs[1] or theirs[0] > mine[1] for mine, theirs in pairs)
        assert apart or one.proto != other.proto or one.family != other.family


@pytest.mark.parametrize(
    ("rule", "boxes"),
    [
        ("allow in", 1),
        ("allow in tcp to port 80, 81, 82-90, 85-100", 1),
        ("allow in tcp, udp to port 53", 2),
        ("allow in from 192.0.2.0/25, 192.0.2.128/25", 1),
        ("allow in from 192.0.2.0/24, 2001:db8::/32", 2),
        ("allow in from not 192.0.2.0/24", 3),
        ("allow in from not 192.0.2.0/24, ::/0", 2),
        ("allow in from 0.0.0.0/0, ::/0", 1),
        ("allow in from 0.0.0.0/1, 128.0.0.0/1, ::/0 to ::/0, 0.0.0.0/0", 1),
        ("allow in tcp to port not 22", 2),
        ("allow in icmp, icmp6 icmp-type echo-request", 2),
        ("allow in icmp icmp-type 3, 4, 5/0", 1),
        ("allow in icmp, icmp6", 2),
        ("allow in tcp from 192.0.2.1, 192.0.2.3 port 1, 3 to 192.0.2.5, 192.0.2.7 port 5, 7", 16),
    ],
)
def test_few_boxes(rule: str, boxes: int) -> None:
    assert len(expand(Rule.parse(rule))) == boxes


def test_fields() -> None:
    top = (1 << 128) - 1
    rule = Rule.parse("allow forward on a via not b")
    assert expand(rule) == [(0, 0, 0, top, 0, top, 0, 65535, 0, 65535, 4, rule.on, rule.via, None, None)]
    (v4,) = expand(Rule.parse("allow in, out udp from 192.0.2.1 port 68 to port 67"))
    assert v4 == (4, 17, 0xC0000201, 0xC0000201, 0, 0xFFFFFFFF, 68, 68, 67, 67, 3, None, None, None, None)
    ported = expand(Rule.parse("allow in tcp from port not 22 to port not 80"))
    assert [(entry.sport_lo, entry.sport_hi, entry.dport_lo, entry.dport_hi) for entry in ported] == [
        (0, 21, 0, 79),
        (0, 21, 81, 65535),
        (23, 65535, 0, 79),
        (23, 65535, 81, 65535),
    ]
    echo = expand(Rule.parse("allow in icmp, icmp6 icmp-type echo-request"))
    assert [(entry.family, entry.proto, entry.src_hi, entry.dport_lo, entry.dport_hi) for entry in echo] == [
        (4, 1, 0xFFFFFFFF, 0x0800, 0x08FF),
        (6, 58, top, 0x8000, 0x80FF),
    ]


def test_interface_patterns() -> None:
    rules = [Rule.parse(text) for text in ("allow in on b, a", "allow forward on not a via c+", "allow in")]
    assert interface_patterns(rules) == ["b", "a", "c+"]


@steady
@given(small_ranges, small_ranges)
def test_ranges(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    def numbers(ranges: list[tuple[int, int]]) -> set[int]:
        return {number for low, high in ranges for number in range(low, high + 1)}

    merged = merge(one)
    assert numbers(merged) == numbers(one)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(merged))
    assert numbers(complement(merged, 25)) == set(range(26)) - numbers(one)
    assert covers(merged, merge(other)) == (numbers(other) <= numbers(one))
