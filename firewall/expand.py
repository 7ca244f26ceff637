# SPDX-License-Identifier: MIT
"""Rules as plain boxes of numbers, for a compiler: lists, names and `not` are gone.

The boxes of one rule together match exactly the packets that the rule matches (`evaluate.matches` is the
reference).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

from firewall.ranges import ADDRESS_MAX, FULL_PORTS, Range, merge
from firewall.rule import Rule
from firewall.terms import End, Names

SCOPE_BITS = {"in": 1, "out": 2, "forward": 4}

MAX_RULES = 1024
MAX_ENTRIES = 4096
MAX_PATTERNS = 63


class Entry(NamedTuple):
    """One box: each number within its closed range, both ends included.

    `family` is 4, 6, or 0 for both, where the addresses are 0..2**128-1; IPv4 addresses are 32-bit numbers.
    `proto` 0 is every protocol. For ICMP and ICMPv6 the destination port range is one of `type << 8 | code`.
    `scopes` is a mask of `SCOPE_BITS`; `on` and `via` are the rule's, None where it does not ask.
    """

    family: int
    proto: int
    src_lo: int
    src_hi: int
    dst_lo: int
    dst_hi: int
    sport_lo: int
    sport_hi: int
    dport_lo: int
    dport_hi: int
    scopes: int
    on: Names | None
    via: Names | None


class Sides(NamedTuple):
    """What a rule asks of one family and protocol: merged ranges, of which the boxes are the product."""

    src: list[Range]
    dst: list[Range]
    sport: list[Range]
    dport: list[Range]


def expand(rule: Rule) -> list[Entry]:
    """The boxes of a rule: one for each family, protocol and combination of ranges."""
    scopes = scope_mask(rule)
    return [
        Entry(family, proto, *src, *dst, *sport, *dport, scopes, rule.on, rule.via)
        for (proto, family), one in _folded(rule).items()
        for src, dst, sport, dport in product(*one)
    ]


def entry_count(rule: Rule) -> int:
    """How many boxes `expand` would give, without building them."""
    return sum(prod(map(len, one)) for one in _folded(rule).values())


@lru_cache(maxsize=2 * MAX_RULES)
def sides(rule: Rule) -> Mapping[tuple[int, int], Sides]:
    """What the rule asks, for each (protocol, family) that it can match; protocol 0 is every protocol.

    One command asks this of a rule to count, to verify and to compile it.
    """
    sport = rule.src.ports.ranges() if rule.src.ports else [FULL_PORTS]
    ends = {family: (_addresses(rule.src, family), _addresses(rule.dst, family)) for family in (4, 6)}
    return {
        (proto, family): Sides(*ends[family], sport, _dport(rule, proto)) for proto, family in rule.kinds()
    }


def scope_mask(rule: Rule) -> int:
    """The rule's scopes as `SCOPE_BITS`."""
    return sum(SCOPE_BITS[scope] for scope in rule.scopes)


def interface_patterns(rules: Iterable[Rule]) -> list[str]:
    """The different interface names of all `on` and `via` clauses, in the order of their first use."""
    names = [names.plain for rule in rules for names in (rule.on, rule.via) if names]
    return list(dict.fromkeys(pattern for one in names for pattern in one.patterns))


@lru_cache(maxsize=2 * MAX_RULES)
def _folded(rule: Rule) -> Mapping[tuple[int, int], Sides]:
    """`sides`, with family 0 in place of both where both are asked for all of their addresses."""
    found = dict(sides(rule))
    for proto in rule.protos or (0,):
        both = [found.get((proto, family)) for family in (4, 6)]
        if all(
            one and one.src == one.dst == [(0, ADDRESS_MAX[f])] for one, f in zip(both, (4, 6), strict=True)
        ):
            del found[proto, 4]
            found[proto, 0] = found.pop((proto, 6))
    return found


def _addresses(end: End, family: int) -> list[Range]:
    return [(0, ADDRESS_MAX[family])] if end.addrs is None else end.addrs.ranges(family)


def _dport(rule: Rule, proto: int) -> list[Range]:
    if rule.dst.ports:
        return rule.dst.ports.ranges()
    if not rule.icmp_types:
        return [FULL_PORTS]
    return merge(
        (number << 8, number << 8 | 255) if code is None else (number << 8 | code, number << 8 | code)
        for number, code in rule.type_numbers(proto)
    )
