# SPDX-License-Identifier: MIT
"""Rules as plain boxes of numbers, for a compiler: lists, names and `not` are gone.

The boxes of one rule together match exactly the packets that the rule matches (`evaluate.matches` is the
reference).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from firewall.addresses import Addrs
from firewall.hostpart import HostPart
from firewall.ranges import ADDRESS_MAX, FULL_PORTS, Range, merge
from firewall.rule import Rule
from firewall.services import ICMP, ICMP6
from firewall.terms import End, Names

SCOPE_BITS = {"in": 1, "out": 2, "forward": 4}

MAX_RULES = 262_144
MAX_RATES = 16_384
MAX_ENTRIES = 524_288
MAX_PATTERNS = 64
_KNOWN_RULES = 4096  # whose ranges are kept: small policies ask for them several times


class InSets(NamedTuple):
    """Addresses that are an element of one of these sets or have one of these host parts; none of it if `negated`."""

    negated: bool
    names: frozenset[str]
    hosts: frozenset[HostPart] = frozenset()

    @property
    def asked(self) -> frozenset[str | HostPart]:
        """All that an address may belong to."""
        return self.names | self.hosts


class Entry(NamedTuple):
    """One box: each number within its closed range, both ends included.

    `family` is 4, 6, or 0 for both, where the addresses are 0..2**128-1; IPv4 addresses are 32-bit numbers.
    `proto` 0 is every protocol. For ICMP and ICMPv6 the destination port range is one of `type << 8 | code`.
    `scopes` is a mask of `SCOPE_BITS`; `on` and `via` are the rule's, None where it does not ask. The addresses must
    be in `src_sets` and `dst_sets` as well; one that is positive has sets or a single host part.
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
    src_sets: InSets | None = None
    dst_sets: InSets | None = None


class Sides(NamedTuple):
    """What a rule asks of one family and protocol: merged ranges, of which the boxes are the product.

    Elements of `src_sets` match beside `src`; if it is negated, what is in `src` matches unless it is in a set. The
    same holds for the destination.
    """

    src: list[Range]
    dst: list[Range]
    sport: list[Range]
    dport: list[Range]
    src_sets: InSets | None = None
    dst_sets: InSets | None = None


def expand(rule: Rule) -> list[Entry]:
    """The boxes of a rule: one for each family, protocol and combination of ranges."""
    scopes = scope_mask(rule)
    only = single(rule, scopes)
    if only is not None:
        return [only]
    return [
        Entry(family, proto, *src, *dst, *sport, *dport, scopes, rule.on, rule.via, src_sets, dst_sets)
        for (proto, family), one in _folded(rule).items()
        for (src, src_sets), (dst, dst_sets), sport, dport in product(*_factors(one, family))
    ]


def entry_count(rule: Rule) -> int:
    """How many boxes `expand` would give, without building them."""
    if single(rule) is not None:
        return 1
    count = 0
    for (_, family), one in _folded(rule).items():
        src, dst, sport, dport = _factors(one, family)
        count += len(src) * len(dst) * len(sport) * len(dport)
    return count


@lru_cache(maxsize=_KNOWN_RULES)
def sides(rule: Rule) -> Mapping[tuple[int, int], Sides]:
    """What the rule asks, for each (protocol, family) that it can match; protocol 0 is every protocol.

    One command asks this of a rule to count, to verify and to compile it.
    """
    sport = rule.src.ports.ranges() if rule.src.ports else [FULL_PORTS]
    ends = {family: (_addresses(rule.src, family), _addresses(rule.dst, family)) for family in (4, 6)}
    return {
        (proto, family): Sides(
            *ends[family],
            sport,
            _dport(rule, proto),
            _sets(rule.src.addrs, family),
            _sets(rule.dst.addrs, family),
        )
        for proto, family in rule.kinds()
    }


def scope_mask(rule: Rule) -> int:
    """The rule's scopes as `SCOPE_BITS`."""
    mask = 0
    for scope in rule.scopes:
        mask |= SCOPE_BITS[scope]
    return mask


def single(rule: Rule, scopes: int = 0) -> Entry | None:
    """The only box of a rule without lists or `not`, as most rules of a large policy are; None for any other."""
    (src, sports), (dst, dports), protos = rule.src, rule.dst, rule.protos
    proto = protos[0] if protos else 0
    if len(protos) > 1 or rule.icmp_types or proto in (ICMP, ICMP6):
        return None
    family, src_lo, src_hi, dst_lo, dst_hi = 0, 0, ADDRESS_MAX[6], 0, ADDRESS_MAX[6]
    if src is not None:
        if src.negated or src.sets or src.hosts or len(src.spans) != 1:
            return None
        ((family, src_lo, src_hi),) = src.spans
        dst_hi = ADDRESS_MAX[family]
    if dst is not None:
        if dst.negated or dst.sets or dst.hosts or len(dst.spans) != 1:
            return None
        if family not in (0, dst.spans[0].family):
            return None
        ((family, dst_lo, dst_hi),) = dst.spans
        if src is None:
            src_hi = ADDRESS_MAX[family]
    sport = dport = FULL_PORTS
    if sports is not None:
        if sports.negated or len(sports.spans) != 1:
            return None
        sport = sports.spans[0]
    if dports is not None:
        if dports.negated or len(dports.spans) != 1:
            return None
        dport = dports.spans[0]
    return Entry(family, proto, src_lo, src_hi, dst_lo, dst_hi, *sport, *dport, scopes, rule.on, rule.via)


def sets_of(rules: Iterable[Rule]) -> set[str]:
    """The names of all sets that the rules ask about."""
    return {name for rule in rules for end in (rule.src, rule.dst) if end.addrs for name in end.addrs.sets}


def asks_more_of_addresses(rule: Rule) -> bool:
    """Whether it asks of an address what no range holds."""
    return any(end.addrs and (end.addrs.sets or end.addrs.hosts) for end in (rule.src, rule.dst))


def interface_patterns(rules: Iterable[Rule]) -> list[str]:
    """The different interface names of all `on` and `via` clauses, in the order of their first use."""
    names = [names.plain for rule in rules for names in (rule.on, rule.via) if names]
    return list(dict.fromkeys(pattern for one in names for pattern in one.patterns))


def interface_lists(rules: Iterable[Rule]) -> dict[tuple[bool, frozenset[str]], Names]:
    """The different lists of all `on` and `via` clauses, in the order of their first use, by what each asks."""
    found: dict[tuple[bool, frozenset[str]], Names] = {}
    for rule in rules:
        for names in (rule.on, rule.via):
            if names is not None:
                found.setdefault(list_key(names), names)
    return found


def list_key(names: Names) -> tuple[bool, frozenset[str]]:
    """The same for lists that match the same interfaces, whatever their order."""
    return names.plain.negated, frozenset(names.plain.patterns)


def _folded(rule: Rule) -> Mapping[tuple[int, int], Sides]:
    """`sides`, with family 0 in place of both where both are asked for all of their addresses."""
    found = dict(sides(rule))
    for proto in rule.protos or (0,):
        both = [found.get((proto, family)) for family in (4, 6)]
        if all(
            one and _whole(one.src, one.src_sets, f) and _whole(one.dst, one.dst_sets, f)
            for one, f in zip(both, (4, 6), strict=True)
        ):
            del found[proto, 4]
            found[proto, 0] = found.pop((proto, 6))
    return found


def around(ranges: list[Range], sets: InSets | None, family: int) -> list[Range]:
    """Where the addresses of an end may be: elements of a set anywhere."""
    return [(0, ADDRESS_MAX[family])] if sets and not sets.negated else ranges


def _factors(
    one: Sides, family: int
) -> tuple[list[tuple[Range, InSets | None]], list[tuple[Range, InSets | None]], list[Range], list[Range]]:
    """What the boxes are the product of: addresses with what is asked of sets, and ports."""
    every = (0, ADDRESS_MAX[family or 6])
    return (
        _alternatives(one.src, one.src_sets, every),
        _alternatives(one.dst, one.dst_sets, every),
        one.sport,
        one.dport,
    )


def _alternatives(
    ranges: list[Range], sets: InSets | None, every: Range
) -> list[tuple[Range, InSets | None]]:
    if sets is None or sets.negated:
        return [(one, sets) for one in ranges]
    hosts = [(every, InSets(False, frozenset(), frozenset({host}))) for host in sorted(sets.hosts)]
    named = [(every, InSets(False, sets.names))] if sets.names else []
    return [*((one, None) for one in ranges), *named, *hosts]


def _whole(ranges: list[Range], sets: InSets | None, family: int) -> bool:
    """Whether the addresses of a family are bounded by sets at the most."""
    if sets and sets.hosts:
        return False
    return not ranges if sets and not sets.negated else ranges == [(0, ADDRESS_MAX[family])]


def _sets(addrs: Addrs | None, family: int) -> InSets | None:
    hosts = frozenset(addrs.hosts if addrs and family == 6 else ())
    return InSets(addrs.negated, frozenset(addrs.sets), hosts) if addrs and (addrs.sets or hosts) else None


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
