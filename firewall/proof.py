# SPDX-License-Identifier: MIT
"""Whether every packet of a description is decided with one action: exact, by the arithmetic of ranges.

Packets are points in a space whose axes are the interfaces, the protocol, both addresses and both ports. A rule is
some boxes in it, and so is an expectation. An expectation fails where a box of a rule with another action meets one of
its boxes and boxes of rules before do not cover all of what both have; what is left is the counterexample. The default
is a last rule that matches everything.

The names of interfaces are endless, but rules can tell few kinds of them apart, and protocols likewise: on these axes
a box has a set of kinds, as the bits of a number.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from math import prod
from operator import itemgetter
from string import ascii_letters, digits
from typing import NamedTuple

from firewall.evaluate import Question
from firewall.expand import around, asks_more_of_addresses, sides
from firewall.policy import LOOPBACK, Policy
from firewall.ranges import Range
from firewall.rule import Rule
from firewall.services import EXTENSION_HEADERS, ICMP, ICMP6, PORT_PROTOCOLS, TCP, UDP, protocol_name
from firewall.terms import IFNAME_CHARS, Names

# An expectation that takes more steps than this, each the comparison of two boxes that meet, is given up; and one that
# would have so many pairs of its boxes and of rules.
MAX_STEPS = 2_000_000
_FAMILIES = (4, 6)
_ONLY_IN = {ICMP: 4, ICMP6: 6}

# What a counterexample has, if it can: addresses for documentation (RFC 5737, RFC 3849) and a port of clients.
_LIKED_ADDRESSES = {
    4: (0xC0000202, 0xC6336402, 0xCB007102, 0x0A000002),
    6: (0x20010DB8 << 96 | 2, 0x20010DB8 << 96 | 1 << 64 | 2, 0xFD << 120 | 2),
}
_LIKED_PORTS = (40000, 1024)
_LIKED_SERVICES = (80, 443, 53)
_FREE_PROTOCOLS = (253, 254)  # for experiments, RFC 3692


class Box(NamedTuple):
    """Packets of one family: kinds of interfaces and protocols as bits, then closed ranges."""

    on: int
    via: int
    proto: int
    ranges: tuple[Range, ...]  # source and destination address, source and destination port


class Counterexample(NamedTuple):
    """A packet that is not decided as expected: `action` is what becomes of it, `position` that of the rule that
    decides, None for a default. `maybe`: only where a clause of that rule holds, or of one before does not, that no
    expectation speaks of.
    """

    question: Question
    action: str
    position: int | None
    maybe: bool


class TooComplex(Exception):
    """The proof takes more than MAX_STEPS, or there are too many rules."""


def counterexample(policy: Policy, expected: Rule) -> Counterexample | None:
    """A packet that `expected` describes and that is not decided with its action; None if there is none.

    Raises TooComplex.
    """
    scope = expected.scopes[0]
    rules = [(i, rule) for i, rule in enumerate(policy.rules) if scope in rule.scopes]
    if too_many(len(rules), expected):
        raise TooComplex
    space = _Space(policy, expected)
    default = Rule(policy.defaults[scope], (scope,))
    steps = _Steps()
    for family in _FAMILIES:
        for target in space.targets(expected, family):
            covers: list[Box] = []  # where the first rule that matches decides as expected
            doubts: list[Box] = []  # where one that would may match or not
            for position, rule in [*rules, (None, default)]:
                near = space.boxes(rule, family, target.ranges)
                met = [common for box in near if (common := _meet(box, target))]
                steps.take(len(met))
                if rule.action == expected.action:
                    (doubts if _in_doubt(rule) else covers).extend(met)
                    continue
                for box in met:
                    left = _uncovered(box, covers, steps)
                    if left:
                        maybe = _in_doubt(rule) or any(_meet(left, doubt) for doubt in doubts)
                        return Counterexample(space.packet(left, family, scope), rule.action, position, maybe)
    return None


def too_many(rules: int, expected: Rule) -> bool:
    """Whether so many rules of its scope are too many for a proof, whatever they are."""
    boxes = 0
    for (_, family), one in sides(expected).items():
        ends = around(one.src, one.src_sets, family), around(one.dst, one.dst_sets, family)
        boxes += prod(map(len, (*ends, one.sport, one.dport)))
    return rules * boxes > MAX_STEPS


def meets(rule: Rule, expected: Rule) -> bool:
    """Whether a rule may match a packet that `expected` describes."""
    if expected.scopes[0] not in rule.scopes:
        return False
    space = _Space(Policy.of([rule]), expected)
    return any(
        _meet(box, target)
        for family in _FAMILIES
        for target in space.targets(expected, family)
        for box in space.boxes(rule, family, target.ranges)
    )


def _in_doubt(rule: Rule) -> bool:
    """Whether it may match a packet of its boxes or not: a clause, a set or a host part tells, which no box has."""
    return rule.asks_more or asks_more_of_addresses(rule)


class _Steps:
    """How much work was done."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, number: int) -> None:
        self.taken += number
        if self.taken > MAX_STEPS:
            raise TooComplex


class _Space:
    """The kinds of interfaces and protocols that a policy and an expectation can tell apart, and boxes of them."""

    def __init__(self, policy: Policy, expected: Rule) -> None:
        rules = [*policy.rules, expected]
        lists = [names.plain for rule in rules for names in (rule.on, rule.via) if names]
        self.names: list[str | None] = [*_kinds_of_names(lists)]
        # The other interface of a forwarded packet need not be protected. Where the packet path does not know its name,
        # no list has it, not even one of all but some.
        self._unknown = 0
        if expected.scopes[0] == "forward":
            self._unknown = 1 << len(self.names)
            self.names.append(None)
        named = {TCP, UDP, ICMP, ICMP6, *(proto for rule in rules for proto in rule.protos)}
        unnamed = [
            n for n in (*_FREE_PROTOCOLS, *range(256)) if n not in named and n not in EXTENSION_HEADERS
        ]
        self.protos = [*sorted(named), *unnamed[:1]]
        self._known: dict[Names | None, int] = {}

    def boxes(self, rule: Rule, family: int, near: Sequence[Range] | None = None) -> Iterator[Box]:
        """The boxes of a rule in one family, with `near` those that meet these ranges; elements of a set may be
        anywhere.
        """
        on, via = self._interfaces(rule.on), self._interfaces(rule.via)
        if not on or not via:
            return
        for (proto, of), one in sides(rule).items():
            if of != family:
                continue
            kinds = 1 << self.protos.index(proto) if proto else (1 << len(self.protos)) - 1
            ends = around(one.src, one.src_sets, family), around(one.dst, one.dst_sets, family)
            axes = [*ends, one.sport, one.dport]
            if near is not None:
                axes = [_meeting(axis, span) for axis, span in zip(axes, near, strict=True)]
            for ranges in product(*axes):
                yield Box(on, via, kinds, ranges)

    def targets(self, expected: Rule, family: int) -> Iterator[Box]:
        """The boxes of what is expected, whose lists of all interfaces but some have those that are not known yet.

        One interface of a packet is known: that at which it is filtered.
        """
        on, via = (
            self._unknown if names is None or names.plain.negated else 0
            for names in (expected.on, expected.via)
        )
        for box in self.boxes(expected, family):
            known = box._replace(on=box.on & ~self._unknown, via=box.via & ~self._unknown)
            yield known._replace(on=known.on | on)
            if via:
                yield known._replace(via=via)

    def packet(self, box: Box, family: int, scope: str) -> Question:
        """A packet of the box, as ordinary a one as there is."""
        src, dst, sport, dport = box.ranges
        proto = next(number for i, number in _preferred(self.protos, family) if box.proto >> i & 1)
        source = _pick(src, _LIKED_ADDRESSES[family])
        target = _pick(dst, [one for one in _LIKED_ADDRESSES[family] if one != source])
        icmp = _ONLY_IN.get(proto) == family
        ported = proto in PORT_PROTOCOLS
        port = (
            _pick(dport, (8 << 8,) if proto == ICMP else (128 << 8,))
            if icmp
            else _pick(dport, _LIKED_SERVICES)
        )
        return Question(
            scope=scope,
            proto=proto,
            src=IPv4Address(source) if family == 4 else IPv6Address(source),
            dst=IPv4Address(target) if family == 4 else IPv6Address(target),
            sport=_pick(sport, _LIKED_PORTS) if ported else 0,
            dport=port if ported else 0,
            icmp_type=port >> 8 if icmp else 0,
            icmp_code=port & 0xFF if icmp else 0,
            on=self._name(box.on) if scope != "out" else None,
            via=self._name(box.via) if scope != "in" else None,
        )

    def _interfaces(self, names: Names | None) -> int:
        if names not in self._known:
            kinds = (i for i, name in enumerate(self.names) if names is None or names.matches(name))
            self._known[names] = sum(1 << i for i in kinds)
        return self._known[names]

    def _name(self, kinds: int) -> str | None:
        return next(name for i, name in enumerate(self.names) if kinds >> i & 1)


def described(question: Question) -> str:
    """A packet in the words of a rule, which has none for an interface that is not known."""
    words = [question.scope]
    words += [f"{word} {name}" for word, name in (("on", question.on), ("via", question.via)) if name]
    words.append(protocol_name(question.proto))
    ported = question.proto in PORT_PROTOCOLS
    for word, end, port in (("from", question.src, question.sport), ("to", question.dst, question.dport)):
        words.append(f"{word} {end} port {port}" if ported else f"{word} {end}")
    if _ONLY_IN.get(question.proto) == question.src.version:
        words.append(f"icmp-type {question.icmp_type}/{question.icmp_code}")
    return " ".join(words)


def _kinds_of_names(lists: Iterable[Names]) -> list[str]:
    """A name of each kind of interface that the lists can tell apart; the loopback interface is never filtered.

    What lists say of a name follows from whether it is one of theirs, and else from the longest of their prefixes
    that it has: each shorter one is a prefix of that.
    """
    patterns = list(dict.fromkeys(pattern for names in lists for pattern in names.patterns))
    found = [pattern for pattern in patterns if not pattern.endswith("+")]
    prefixes = [pattern[:-1] for pattern in patterns if pattern.endswith("+")]
    for prefix in dict.fromkeys(("", *prefixes)):
        longer = [other for other in prefixes if other != prefix and other.startswith(prefix)]
        for candidate in _candidates(prefix):
            if candidate not in found and not any(candidate.startswith(other) for other in longer):
                found.append(candidate)
                break
    return [name for name in found if name != LOOPBACK]


def _candidates(prefix: str) -> Iterator[str]:
    """Names that begin with the prefix, likely ones first: more than the lists of a policy can all speak of."""
    heads = [prefix] if prefix else ["eth", "wan", "lan", *ascii_letters]
    names = (head + tail for tail in (*digits, *ascii_letters, "-", "_", "") for head in heads)
    return (name for name in names if len(name) <= IFNAME_CHARS)


def _preferred(protos: Sequence[int], family: int) -> list[tuple[int, int]]:
    """The protocols with their kinds' numbers: TCP and UDP first, one that is of the other family last."""
    order = {TCP: 0, UDP: 1}

    def rank(pair: tuple[int, int]) -> tuple[bool, int]:
        return _ONLY_IN.get(pair[1], family) != family, order.get(pair[1], 2)

    return sorted(enumerate(protos), key=rank)


def _meeting(ranges: list[Range], span: Range) -> list[Range]:
    """Those of merged ranges that have something of a range."""
    first = bisect_left(ranges, span[0], key=itemgetter(1))
    return ranges[first : bisect_right(ranges, span[1], key=itemgetter(0))]


def _meet(one: Box, other: Box) -> Box | None:
    """What both have."""
    on, via, proto = one.on & other.on, one.via & other.via, one.proto & other.proto
    if not on or not via or not proto:
        return None
    ranges = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(one.ranges, other.ranges, strict=True))
    return Box(on, via, proto, ranges) if all(low <= high for low, high in ranges) else None


def _uncovered(box: Box, covers: Sequence[Box], steps: _Steps) -> Box | None:
    """A part of the box that none of the covers has; None if they have all of it."""
    parts = [(box, 0)]
    while parts:
        part, start = parts.pop()
        for index in range(start, len(covers)):
            hole = _meet(part, covers[index])
            if hole:
                steps.take(index - start + 1)
                parts += [(rest, index + 1) for rest in _without(part, hole)]
                break
        else:
            return part
    return None


def _without(box: Box, hole: Box) -> Iterator[Box]:
    """The box without a hole that lies in it, as boxes that do not overlap."""
    if rest := box.on & ~hole.on:
        yield box._replace(on=rest)
    if rest := box.via & ~hole.via:
        yield box._replace(on=hole.on, via=rest)
    if rest := box.proto & ~hole.proto:
        yield box._replace(on=hole.on, via=hole.via, proto=rest)
    ranges = list(box.ranges)
    for axis, ((low, high), (first, last)) in enumerate(zip(box.ranges, hole.ranges, strict=True)):
        for part in ((low, first - 1), (last + 1, high)):
            if part[0] <= part[1]:
                ranges[axis] = part
                yield Box(hole.on, hole.via, hole.proto, tuple(ranges))
        ranges[axis] = (first, last)


def _pick(span: tuple[int, int], liked: Iterable[int]) -> int:
    low, high = span
    return next((one for one in liked if low <= one <= high), low)
