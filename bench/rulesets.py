# SPDX-License-Identifier: MIT
"""Rulesets made up for tests and measurements, of as many rules as wanted: the same for the same seed.

`acl`, `fw` and `ipc` have the shapes that ClassBench (Taylor and Turner, INFOCOM 2005) describes: how long prefixes
are at either end, how they nest, which ports and protocols go with them. The others are what a classifier finds hard.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, TypeVar

from firewall.addresses import Addrs, Span
from firewall.evaluate import Question
from firewall.policy import Policy
from firewall.ranges import Range
from firewall.rule import Rule
from firewall.terms import End, Names, Ports

T = TypeVar("T")
TCP, UDP, GRE = 6, 17, 47
_BITS = {4: 32, 6: 128}
_ACTIONS = ("allow", "drop", "reject")
_SERVICES = (20, 21, 22, 23, 25, 53, 80, 110, 123, 143, 161, 389, 443, 445, 993, 1433, 1521, 3306, 3389, 8080)


class Shape(NamedTuple):
    """What a seed says: weights of prefix lengths (of IPv4) and of classes of ports; 0 is any address."""

    src: dict[int, int]
    dst: dict[int, int]
    sport: dict[str, int]
    dport: dict[str, int]
    protos: dict[int, int]
    pools: tuple[int, int]  # rules for each network that sources and destinations nest in


SHAPES = {
    "acl": Shape(
        {0: 20, 8: 2, 16: 8, 21: 6, 23: 10, 24: 24, 27: 8, 28: 8, 30: 4, 32: 20},
        {0: 2, 16: 3, 21: 6, 24: 24, 26: 6, 28: 8, 30: 6, 32: 55},
        {"any": 100},
        {"any": 18, "high": 6, "low": 1, "range": 8, "exact": 67},
        {0: 6, TCP: 78, UDP: 15, GRE: 1},
        (60, 30),
    ),
    "fw": Shape(
        {0: 45, 8: 3, 16: 9, 24: 13, 28: 5, 32: 25},
        {0: 30, 8: 1, 16: 6, 24: 15, 28: 5, 32: 43},
        {"any": 76, "high": 8, "range": 4, "exact": 12},
        {"any": 22, "high": 8, "low": 2, "range": 12, "exact": 56},
        {0: 10, TCP: 60, UDP: 28, GRE: 2},
        (30, 30),
    ),
    "ipc": Shape(
        {0: 12, 8: 2, 16: 8, 20: 5, 24: 20, 27: 6, 29: 5, 32: 42},
        {0: 10, 8: 2, 16: 8, 22: 6, 24: 22, 27: 6, 30: 6, 32: 40},
        {"any": 72, "high": 6, "range": 3, "exact": 19},
        {"any": 32, "high": 8, "range": 6, "exact": 54},
        {0: 22, TCP: 52, UDP: 24, GRE: 2},
        (40, 40),
    ),
}


class _Maker:
    """Rules of one shape and family."""

    def __init__(self, shape: Shape, family: int, count: int, dice: random.Random) -> None:
        self._shape, self._family, self._dice = shape, family, dice
        self._src = self._pool(max(2, count // shape.pools[0]))
        self._dst = self._pool(max(2, count // shape.pools[1]))

    def _pool(self, count: int) -> list[int]:
        """Networks of 16 bits (IPv6: 48); some share their first half."""
        bits, dice = _BITS[self._family], self._dice
        tops = [dice.getrandbits(bits // 4) for _ in range(1 + count // 16)]
        low = bits // 4
        made = [
            dice.choice(tops) << (bits - low) | dice.getrandbits(low) << (bits - 2 * low)
            for _ in range(count)
        ]
        return made

    def rule(self) -> Rule:
        shape, dice = self._shape, self._dice
        proto = _pick(dice, shape.protos)
        ported = proto in (TCP, UDP)
        return Rule(
            dice.choice(_ACTIONS),
            ("in",),
            protos=(proto,) if proto else (),
            src=End(self._addrs(shape.src, self._src), self._ports(shape.sport) if ported else None),
            dst=End(self._addrs(shape.dst, self._dst), self._ports(shape.dport) if ported else None),
        )

    def _addrs(self, lengths: dict[int, int], pool: list[int]) -> Addrs | None:
        length = _pick(self._dice, lengths)
        if not length:
            return Addrs(False, (_span(self._family, 0, 0),))
        bits = _BITS[self._family]
        length = length if self._family == 4 else {8: 24, 16: 48, 32: 128}.get(length, 32 + length)
        address = self._dice.choice(pool)
        # what is below the network repeats too: hosts of one number, nets of few
        rest = self._dice.getrandbits(6) * 0x01010101 ^ self._dice.getrandbits(10)
        return Addrs(False, (_span(self._family, address ^ rest & (1 << bits // 2) - 1, length),))

    def _ports(self, classes: dict[str, int]) -> Ports | None:
        dice = self._dice
        kind = _pick(dice, classes)
        if kind == "any":
            return None
        low = dice.choice(_SERVICES) if dice.random() < 0.8 else dice.randrange(1, 65536)
        ranges: dict[str, Range] = {"high": (1024, 65535), "low": (1, 1023), "exact": (low, low)}
        return Ports(False, (ranges.get(kind) or (low, min(65535, low + dice.choice((1, 5, 50, 1000)))),))


def made(kind: str, count: int, family: int = 4, seed: int = 1) -> list[Rule]:
    """`count` rules of a kind in KINDS; hostile kinds may need less, and then give less."""
    if kind == "apart":
        return apart(count, family, seed)
    dice = random.Random(f"{kind} {count} {family} {seed}")
    if kind in SHAPES:
        maker = _Maker(SHAPES[kind], family, count, dice)
        return [maker.rule() for _ in range(count)]
    return list(_HOSTILE[kind](count, family, dice))


def apart(count: int, family: int = 4, seed: int = 1) -> list[Rule]:
    """Rules as `acl` has them of which few hide another: none is from or to more than a /16, or a /48 of IPv6."""
    kept: dict[Rule, None] = {}
    most = 1 << (16 if family == 4 else 80)
    for more in range(100):
        for rule in made("acl", 2 * count, family, seed + more):
            if all(
                end.addrs and end.addrs.spans[0].high - end.addrs.spans[0].low < most
                for end in (rule.src, rule.dst)
            ):
                kept[rule] = None
        if len(kept) >= count:
            break
    return list(kept)[:count]


def _nested(count: int, family: int, dice: random.Random) -> Iterator[Rule]:
    """Prefixes within prefixes at both ends: each pair of lengths of a few paths."""
    bits = _BITS[family]
    paths = [dice.getrandbits(bits) for _ in range(2 + count // 512)]
    for _ in range(count):
        ends = [
            End(Addrs(False, (_span(family, dice.choice(paths), dice.randint(1, bits)),))) for _ in range(2)
        ]
        yield Rule(dice.choice(_ACTIONS), ("in",), src=ends[0], dst=ends[1])


def _mesh(count: int, family: int, dice: random.Random) -> Iterator[Rule]:
    """Few sources, few destinations, each with each, in no order."""
    side = max(2, round(count**0.5))
    length = 24 if family == 4 else 64
    spans = [[_span(family, dice.getrandbits(_BITS[family]), length) for _ in range(side)] for _ in range(2)]
    for i in dice.sample(range(side * side), min(count, side * side)):
        src, dst = (End(Addrs(False, (spans[end][n],))) for end, n in enumerate(divmod(i, side)))
        yield Rule(dice.choice(_ACTIONS), ("in",), src=src, dst=dst)


def _ported(dice: random.Random, sport: Range, dport: Range) -> Rule:
    src, dst = End(None, Ports(False, (sport,))), End(None, Ports(False, (dport,)))
    return Rule(dice.choice(_ACTIONS), ("in",), protos=(dice.choice((TCP, UDP)),), src=src, dst=dst)


def _ranges(count: int, family: int, dice: random.Random) -> Iterator[Rule]:
    """From anywhere to anywhere, and ranges of ports that overlap at both ends."""
    for _ in range(count):
        src, dst = (sorted(dice.randrange(65536) for _ in range(2)) for _ in range(2))
        yield _ported(dice, (src[0], src[1]), (dst[0], dst[1]))


def _slices(count: int, family: int, dice: random.Random) -> Iterator[Rule]:
    """From anywhere to anywhere, and narrow ranges of ports that do not hide each other."""
    for _ in range(count):
        src, dst = (dice.randrange(65000) for _ in range(2))
        yield _ported(dice, (src, src + dice.randrange(500)), (dst, dst + dice.randrange(500)))


def _hosts(count: int, family: int, dice: random.Random) -> Iterator[Rule]:
    """A list of hosts, as those who block them keep."""
    for _ in range(count):
        yield Rule(
            "drop", ("in",), src=End(Addrs(False, (_span(family, dice.getrandbits(_BITS[family]), 128),)))
        )


def _same(count: int, family: int, dice: random.Random) -> Iterator[Rule]:
    """One box again and again."""
    net = Addrs(False, (_span(family, dice.getrandbits(_BITS[family]), 16),))
    for _ in range(count):
        yield Rule(
            dice.choice(_ACTIONS),
            ("in",),
            protos=(TCP,),
            src=End(net),
            dst=End(None, Ports(False, ((22, 80),))),
        )


def _interfaces(count: int, family: int, dice: random.Random) -> Iterator[Rule]:
    """One box that is told apart by interfaces alone, which no tree can split by; 4,096 at most."""
    names = [Names(False, (f"if{n}",)) for n in range(8)]
    for _ in range(min(count, 4000)):
        yield Rule(dice.choice(_ACTIONS), ("in",), dice.choice(names), protos=(TCP,))


_HOSTILE: dict[str, Callable[[int, int, random.Random], Iterator[Rule]]] = {
    "nested": _nested,
    "mesh": _mesh,
    "ranges": _ranges,
    "slices": _slices,
    "hosts": _hosts,
    "same": _same,
    "interfaces": _interfaces,
}
HOSTILE = tuple(_HOSTILE)
KINDS = (*SHAPES, "apart", *HOSTILE)


def policy_of(rules: list[Rule]) -> Policy:
    """A policy of these rules alone: no built-ins, and what no rule matches is dropped."""
    off = ("arp", "pppoe", "eapol", "lldp", "stp", "nd", "mld", "igmp", "dhcp", "dhcp6")
    options = {**{f"builtin.{name}": "off" for name in off}, "antispoof": "off"}
    return Policy.of(rules, {"in": "drop"}, options)


def questions(rules: list[Rule], count: int, family: int, seed: int = 1) -> Iterator[Question]:
    """Packets that open flows: most within a rule that chance names, at the edges of its ranges or near them."""
    dice = random.Random(f"{count} {family} {seed}")
    for _ in range(count):
        rule = dice.choice(rules)
        proto = rule.protos[0] if rule.protos else dice.choice((TCP, UDP))
        src, dst = (_address(end, family, dice) for end in (rule.src, rule.dst))
        sport, dport = (_port(end, proto, dice) for end in (rule.src, rule.dst))
        on = rule.on.patterns[0] if rule.on else None
        yield Question("in", proto, src, dst, sport, dport, on=on)


def _address(end: End, family: int, dice: random.Random) -> IPv4Address | IPv6Address:
    within = end.addrs.ranges(family) if end.addrs else []
    low, high = dice.choice(within) if within else (0, (1 << _BITS[family]) - 1)
    value = dice.choice((low, high, dice.randint(low, high), dice.randint(low, high)))
    if dice.random() < 0.1:
        value = min((1 << _BITS[family]) - 1, max(0, value + dice.choice((-1, 1, 256, -70000))))
    return IPv4Address(value) if family == 4 else IPv6Address(value)


def _port(end: End, proto: int, dice: random.Random) -> int:
    if proto not in (TCP, UDP):
        return 0
    low, high = end.ports.spans[0] if end.ports else (0, 65535)
    value = dice.choice((low, high, dice.randint(low, high), dice.randint(low, high)))
    return dice.randrange(65536) if dice.random() < 0.1 else value


def _span(family: int, address: int, length: int) -> Span:
    bits = _BITS[family]
    size = 1 << bits - min(length, bits)
    low = (address & (1 << bits) - 1) // size * size
    return Span(family, low, low + size - 1)


def _pick(dice: random.Random, weights: Mapping[T, int]) -> T:
    return dice.choices(list(weights), list(weights.values()))[0]
