# SPDX-License-Identifier: MIT
"""Rulesets of chance, said in the language of fw and in that of nft, and packets near the edges of their rules.

Neither text is made from the other, nor by code of fw: each clause is drawn once and then said twice. Ranges of a list
lie apart, since nft takes no others.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.lab.differential.icmp import ECHO, Message
from tests.lab.differential.talk import SYN, Datagram, Ends, Packet, Segment

FAMILIES = (4, 6)
ACTIONS = ("allow", "allow", "drop", "drop", "reject")
_NFT = {"allow": "accept", "drop": "drop", "reject": "reject"}
_IP = {4: "ip", 6: "ip6"}
_BITS = {4: 32, 6: 128}
# Where the hosts of each side are, as in `routers`: half of what rules say of addresses is not there.
_NETS = {4: ("10.0.0.0/8", "198.18.0.0/15"), 6: ("2001:db8::/33", "2001:db8:8000::/33")}
_BLOCKS = {4: 20, 6: 48}  # bits of a prefix of which a list has at most one range
_PLACES = 6  # such prefixes that rules and packets choose among, of each side
_PORTS = ((22, 22), (80, 80), (443, 445), (1000, 1999), (2000, 2000), (8000, 8999), (32768, 60999))
_CLASSES = {"ef": 46, "af31": 26, "cs1": 8, "be": 0}
_MARK = "allow forward on lan0 via wan0 udp from any port 9 to port 53"
_NFT_MARK = "iifname lan0 oifname wan0 udp sport 9 udp dport 53 accept"

Range = tuple[int, int]


@dataclass(frozen=True)
class Addresses:
    """A list of ranges of both families, or all addresses but those."""

    negated: bool
    ranges: dict[int, list[Range]]
    name: str = ""  # of the set that has them

    def fw(self) -> str:
        items = [f"@{self.name}"] if self.name else _shown(self)
        return ("not " if self.negated else "") + ", ".join(items)

    def nft(self, family: int, field_: str) -> str | None:
        """The match of one family; None where none of its packets matches."""
        ranges = self.ranges[family]
        if not ranges:
            return "" if self.negated else None
        items = f"@{self.name}{family}" if self.name else _nft_items(ranges, family)
        return f"{_IP[family]} {field_} {'!= ' if self.negated else ''}{items}"


@dataclass(frozen=True)
class Rule:
    """What a rule asks and does; what is None is not asked."""

    action: str
    on: tuple[bool, tuple[str, ...]] | None = None
    via: tuple[bool, tuple[str, ...]] | None = None
    protos: tuple[str, ...] = ()
    echo: bool = False
    src: Addresses | None = None
    dst: Addresses | None = None
    sport: tuple[bool, list[Range]] | None = None
    dport: tuple[bool, list[Range]] | None = None
    classes: tuple[str, ...] = ()

    def fw(self) -> str:
        words = [self.action, "forward"]
        for clause, names in (("on", self.on), ("via", self.via)):
            if names:
                words += [clause, ("not " if names[0] else "") + ", ".join(names[1])]
        words += [", ".join(self.protos)] if self.protos else []
        for clause, end, ports in (("from", self.src, self.sport), ("to", self.dst, self.dport)):
            if end or ports:
                words += [clause, *([end.fw()] if end else ["any"] if clause == "from" else [])]
            if ports:
                words += ["port", ("not " if ports[0] else "") + ", ".join(map(_span, ports[1]))]
        words += ["icmp-type echo-request"] if self.echo else []
        words += [f"dscp {', '.join(str(_CLASSES[one]) for one in self.classes)}"] if self.classes else []
        return " ".join(words)

    def nft(self) -> list[str]:
        """A line for each family that it can match."""
        return [line for family in FAMILIES if (line := self._nft_of(family)) is not None]

    def _nft_of(self, family: int) -> str | None:
        words = [f"meta nfproto ipv{family}"]
        for clause, names in (("iifname", self.on), ("oifname", self.via)):
            if names:
                listed = ", ".join(f'"{name.replace("+", "*")}"' for name in names[1])
                words.append(f"{clause} {'!= ' if names[0] else ''}{{ {listed} }}")
        if self.protos:
            own = [proto for proto in self.protos if proto != ("icmp6" if family == 4 else "icmp")]
            if not own:
                return None
            words.append(f"meta l4proto {{ {', '.join(one.replace('icmp6', 'icmpv6') for one in own)} }}")
        for end, address in ((self.src, "saddr"), (self.dst, "daddr")):
            match = end.nft(family, address) if end else ""
            if match is None:
                return None
            words += [match] if match else []
        for ports, port in ((self.sport, "sport"), (self.dport, "dport")):
            if ports:
                words.append(f"th {port} {'!= ' if ports[0] else ''}{{ {', '.join(map(_span, ports[1]))} }}")
        words += [f"{'icmp' if family == 4 else 'icmpv6'} type echo-request"] if self.echo else []
        if self.classes:
            listed = ", ".join(str(_CLASSES[one]) for one in self.classes)
            words.append(f"{_IP[family]} dscp {{ {listed} }}")
        return " ".join([*words, _NFT[self.action]])


@dataclass
class Ruleset:
    """`places` are the prefixes in which its rules and its packets are, by family and side."""

    default: str
    rules: list[Rule]
    sets: list[Addresses]
    places: dict[int, list[list[int]]] = field(default_factory=dict)

    def fw(self) -> str:
        lines = ["protect lan0, wan0", "default in drop", f"default forward {self.default}"]
        lines += ["option antispoof off", "option load.grace 0s", "option reject.rate 10000"]
        lines += [f"set {one.name} = {', '.join(_shown(one))}" for one in self.sets]
        return "\n".join([*lines, _MARK, *(rule.fw() for rule in self.rules), ""])

    def nft(self) -> str:
        lines = ["flush ruleset", "table inet filter {"]
        for one in self.sets:
            for family in FAMILIES:
                kind = f"ipv{family}_addr"
                ranges = one.ranges[family]
                elements = f"; elements = {_nft_items(ranges, family)}" if ranges else ""
                lines.append(f"set {one.name}{family} {{ type {kind}; flags interval{elements}; }}")
        policy = "accept" if self.default == "allow" else "drop"
        lines += ["chain forward {", f"type filter hook forward priority filter; policy {policy};", _NFT_MARK]
        return "\n".join([*lines, *(line for rule in self.rules for line in rule.nft()), "}", "}", ""])


class Between(Ends):
    """Two hosts at any addresses, and the class of traffic that their packets are of."""

    def __init__(
        self, family: int, addresses: tuple[int, int], ports: tuple[int, int], dscp: int = 0
    ) -> None:
        super().__init__(0, family, ports)
        size = _BITS[family] // 8
        self.addresses = (addresses[0].to_bytes(size, "big"), addresses[1].to_bytes(size, "big"))
        self.address_sum = sum(int.from_bytes(one, "big") % 0xFFFF for one in self.addresses) % 0xFFFF
        self.dscp = dscp

    def ip(self, side: int, proto: int, body: bytes, tag: int) -> bytes:
        packet = bytearray(super().ip(side, proto, body, tag))
        if self.family == 6:
            packet[0] |= self.dscp >> 2
            packet[1] |= self.dscp << 6 & 0xFF
            return bytes(packet)
        packet[1] = self.dscp << 2
        total = 0xFFFF - int.from_bytes(packet[10:12], "big") + packet[1]
        packet[10:12] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")
        return bytes(packet)

    @property
    def known_by(self) -> tuple[object, ...]:
        """What a firewall tells its flow by, whoever sends; ICMP is told by the client's port alone."""
        return tuple(sorted(zip(self.addresses, self.ports, strict=True)))

    def __str__(self) -> str:
        build = ipaddress.IPv4Address if self.family == 4 else ipaddress.IPv6Address
        client, server = (build(address) for address in self.addresses)
        return f"{client} port {self.ports[0]}, {server} port {self.ports[1]}, dscp {self.dscp}"


def ruleset(dice: random.Random) -> Ruleset:
    """Few rules, or so many that they are found by trees."""
    places = {
        family: [
            [_inside(net, family, dice) >> _BITS[family] - _BLOCKS[family] for _ in range(_PLACES)]
            for net in _NETS[family]
        ]
        for family in FAMILIES
    }
    sets = [
        _addresses(places, dice.choice((0, 1)), dice, f"set{n}") for n in range(dice.choice((0, 0, 1, 3)))
    ]
    count = dice.choice((1, 4, 12, 40))
    rules: list[Rule] = []
    while len(rules) < count:
        rule = _rule(places, sets, dice)
        rules += [rule] if rule.nft() else []  # fw takes none that can match nothing
    return Ruleset(dice.choice(("allow", "drop")), rules, sets, places)


def packets(of: Ruleset, count: int, dice: random.Random) -> list[tuple[Between, Packet]]:
    """What opens flows, most of them at the edges of what the rules ask for, each between other ends."""
    found: dict[tuple[object, ...], tuple[Between, Packet]] = {}
    for _ in range(count):
        rule, family, side = dice.choice(of.rules), dice.choice(FAMILIES), dice.choice((0, 0, 0, 1))
        ends = [
            _near(end, family, of.places[family][which], dice)
            for end, which in ((rule.src, side), (rule.dst, 1 - side))
        ]
        ports = [_near_port(one, dice) for one in (rule.sport, rule.dport)]
        if side:
            ends.reverse()
            ports.reverse()
        dscp = _CLASSES[dice.choice((*rule.classes, "be", "cs1"))]
        between = Between(family, (ends[0], ends[1]), (ports[0], ports[1]), dscp)
        proto = dice.choice((*rule.protos, "tcp", "udp"))
        if proto in ("icmp", "icmp6"):
            packet: Packet = Message(side=side, kind=ECHO)
        elif proto == "tcp":
            packet = Segment(side=side, flags=SYN, seq=dice.getrandbits(32))
        else:
            packet = Datagram(side=side)
        found.setdefault((packet.protocol(between), *between.known_by), (between, packet))
    return list(found.values())


def _rule(places: dict[int, list[list[int]]], sets: Sequence[Addresses], dice: random.Random) -> Rule:
    protos: tuple[str, ...] = dice.choice(
        ((), ("tcp",), ("udp",), ("tcp", "udp"), ("icmp", "icmp6"), ("icmp",), ("icmp6",))
    )
    ported = bool(protos) and not protos[0].startswith("icmp")
    ends: list[Addresses | None] = [None, None]
    for which in (0, 1):
        if sets and dice.random() < 0.2:
            own = dice.choice(sets)
            ends[which] = Addresses(dice.random() < 0.3, own.ranges, own.name)
        elif dice.random() < 0.6:
            ends[which] = _addresses(places, which ^ (dice.random() < 0.15), dice)
    return Rule(
        action=dice.choice([one for one in ACTIONS if one != "reject" or protos == ("udp",)]),
        on=_names(dice, 0.25),
        via=_names(dice, 0.2),
        protos=protos,
        echo=bool(protos) and not ported and dice.random() < 0.5,
        src=ends[0],
        dst=ends[1],
        sport=_ports(dice, 0.2) if ported else None,
        dport=_ports(dice, 0.6) if ported else None,
        classes=tuple(dice.sample(sorted(_CLASSES), 2)) if dice.random() < 0.1 else (),
    )


def _names(dice: random.Random, share: float) -> tuple[bool, tuple[str, ...]] | None:
    if dice.random() >= share:
        return None
    listed: tuple[str, ...] = dice.choice(
        (("lan0",), ("wan0",), ("lan+",), ("wan+",), ("lan0", "eth0"), ("lan0", "wan0"))
    )
    return dice.random() < 0.3, listed


def _ports(dice: random.Random, share: float) -> tuple[bool, list[Range]] | None:
    if dice.random() >= share:
        return None
    return dice.random() < 0.2, dice.sample(_PORTS, dice.choice((1, 1, 2, 3)))


def _addresses(
    places: dict[int, list[list[int]]], side: int, dice: random.Random, name: str = ""
) -> Addresses:
    """Ranges of one family or of both, each in another of the places."""
    families = dice.choice(((4,), (6,), (4, 6)))
    ranges: dict[int, list[Range]] = {4: [], 6: []}
    for family in families:
        own = dice.sample(sorted(set(places[family][side])), dice.choice((1, 1, 2, 3)))
        ranges[family] = [_range(place, family, dice) for place in own]
    return Addresses(not name and dice.random() < 0.2, ranges, name)


def _range(place: int, family: int, dice: random.Random) -> Range:
    """Within a place, or all of it."""
    free = _BITS[family] - _BLOCKS[family]
    low = place << free
    kind = dice.choice(("place", "prefix", "prefix", "host", "range"))
    if kind == "place":
        return low, low + (1 << free) - 1
    inner = dice.randint(1, free - 1) if kind == "prefix" else 0
    start = low + (dice.getrandbits(free) >> inner << inner)
    if kind == "range":
        return start, min(low + (1 << free) - 1, start + dice.randint(1, 300))
    return start, start + (1 << inner) - 1


def _near(end: Addresses | None, family: int, places: Sequence[int], dice: random.Random) -> int:
    """An address of a side, at an edge of what a rule asks for where that is on this side."""
    free = _BITS[family] - _BLOCKS[family]
    here = [one for one in end.ranges[family] if one[0] >> free in places] if end else []
    if not here or dice.random() < 0.2:
        return dice.choice(places) << free | dice.getrandbits(free)
    low, high = dice.choice(here)
    found = dice.choice((low, high, low - 1, high + 1, dice.randint(low, high), dice.randint(low, high)))
    return found if found >> free in places else low


def _near_port(ports: tuple[bool, list[Range]] | None, dice: random.Random) -> int:
    if not ports or dice.random() < 0.1:
        return dice.randint(10, 65535)
    low, high = dice.choice(ports[1])
    return dice.choice((low, high, low - 1, high + 1, dice.randint(low, high)))


def _inside(net: str, family: int, dice: random.Random) -> int:
    network = ipaddress.ip_network(net)
    return int(network.network_address) | dice.getrandbits(_BITS[family] - network.prefixlen)


def _shown(of: Addresses) -> list[str]:
    return [text for family in FAMILIES for one in of.ranges[family] for text in [_text(one, family)]]


def _text(of: Range, family: int) -> str:
    build = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    low, high = build(of[0]), build(of[1])
    nets = list(ipaddress.summarize_address_range(low, high))
    return str(nets[0]) if len(nets) == 1 else f"{low}-{high}"


def _nft_items(ranges: Sequence[Range], family: int) -> str:
    return f"{{ {', '.join(_text(one, family) for one in ranges)} }}"


def _span(of: Range) -> str:
    return str(of[0]) if of[0] == of[1] else f"{of[0]}-{of[1]}"
