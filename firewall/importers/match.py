# SPDX-License-Identifier: MIT
"""What a rule of another firewall asks of a packet, as sets of numbers that can be met with those of another rule.

So a rule of a chain that another rule jumps to becomes one rule: it asks for what both ask for.
"""

from itertools import product
from typing import NamedTuple, TypeVar

from firewall.addresses import Span
from firewall.headers import MACS_MAX
from firewall.importers import further
from firewall.importers.carried import Never, Refused
from firewall.masks import Masked
from firewall.ranges import ADDRESS_MAX, PORT_MAX, Range, complement, merge
from firewall.services import PORT_PROTOCOLS, PROTOCOLS, protocol_name
from firewall.terms import name_matches

Addresses = dict[int, list[Range]]  # by family
EVERYWHERE: Addresses = {4: [(0, ADDRESS_MAX[4])], 6: [(0, ADDRESS_MAX[6])]}
_ONLY_IN = {"icmp": 4, "icmp6": 6}
# ICMP types that answer, and those that they answer (RFC 792, 950, 4443).
_ASKED_BY = {"echo-reply": "echo-request", "0": "8", "14": "13", "16": "15", "18": "17", "129": "128"}
ANSWERS = frozenset(_ASKED_BY)
_T = TypeVar("_T")


class Names(NamedTuple):
    """Interfaces by name, a final `+` for any suffix, or all but those."""

    negated: bool
    names: tuple[str, ...]


class Match(NamedTuple):
    """None for what is not asked. `icmp` are types as fw writes them; ports and types need protocols. A packet has one
    of `marks`, `dscp`, `macs` and `users`, which are as in `firewall.importers.further`.
    """

    on: Names | None = None
    via: Names | None = None
    protos: tuple[str, ...] | None = None
    src: Addresses | None = None
    dst: Addresses | None = None
    sport: tuple[Range, ...] | None = None
    dport: tuple[Range, ...] | None = None
    icmp: tuple[str, ...] | None = None
    marks: tuple[Masked, ...] | None = None
    dscp: tuple[int, ...] | None = None
    macs: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None

    def meet(self, other: "Match") -> "Match":
        """What both ask for. Raises Refused where nothing is left, or fw cannot say it."""
        protos = _both(self.protos, other.protos)
        if self.protos is not None and other.protos is not None:
            protos = tuple(proto for proto in self.protos if proto in other.protos)
        icmp = _both(self.icmp, other.icmp)
        if self.icmp and other.icmp and self.icmp != other.icmp:
            raise Refused("it asks for ICMP types twice")
        if protos == ():
            raise Never
        met = Match(
            _names(self.on, other.on),
            _names(self.via, other.via),
            protos,
            _addresses(self.src, other.src),
            _addresses(self.dst, other.dst),
            _ports(self.sport, other.sport),
            _ports(self.dport, other.dport),
            icmp,
            further.both_marks(self.marks, other.marks),
            _listed(self.dscp, other.dscp),
            _listed(self.macs, other.macs),
            further.both_users(self.users, other.users),
        )
        if not met.families():
            raise Never
        return met

    def turned(self) -> "Match":
        """What is answered by the packets that this matches. Raises Never if nothing is, and Refused where the
        packets of the other direction do not show what this asks for.
        """
        if any(one is not None for one in (self.marks, self.dscp, self.macs, self.users)):
            raise Refused("what it asks for the packets of the other direction do not show")
        icmp = self.icmp
        if icmp is not None:
            icmp = tuple(_ASKED_BY[one] for one in icmp if one in _ASKED_BY)
            if not icmp:
                raise Never
        return Match(self.via, self.on, self.protos, self.dst, self.src, self.dport, self.sport, icmp)

    def covers(self, other: "Match") -> bool:
        """Whether it matches all that the other does, as far as is easily told."""
        try:
            return self.meet(other) == other
        except Refused:
            return False

    def overlaps(self, other: "Match") -> bool:
        """Whether a packet may match both."""
        try:
            self.meet(other)
        except Never:
            return False
        except Refused:
            pass
        return True

    def families(self) -> set[int]:
        """The families of which a packet can match."""
        found = {
            family
            for family in (4, 6)
            if all(family in end for end in (self.src, self.dst) if end is not None)
        }
        if not self.protos:
            return found
        return {
            family for family in found if any(_ONLY_IN.get(proto, family) == family for proto in self.protos)
        }

    def parts(self) -> list["Match"]:
        """The same as matches that are one rule of fw each, which has one mark, one user and few MAC addresses."""
        marks = [None] if self.marks is None else [(mark,) for mark in self.marks]
        users = [None] if self.users is None else [(user,) for user in self.users]
        macs: list[tuple[str, ...] | None] = [None]
        if self.macs is not None:
            macs = [self.macs[start : start + MACS_MAX] for start in range(0, len(self.macs), MACS_MAX)]
        return [
            self._replace(marks=mark, users=user, macs=some)
            for mark, user, some in product(marks, users, macs)
        ]

    def words(self, family: int | None) -> str:
        """The clauses of a rule of fw, where this is one of `parts`; with `family` of packets of that family alone.
        Raises Refused.
        """
        if family and family not in self.families():
            raise Never
        words = []
        for word, names in (("on", self.on), ("via", self.via)):
            if names:
                words.append(f"{word} {'not ' if names.negated else ''}{', '.join(names.names)}")
        protos = self.protos
        if (self.sport or self.dport) and not protos:
            raise Refused("it asks for ports of every protocol")
        if protos:
            words.append(", ".join(protos))
        src, dst = self.src, self.dst
        bound = protos and all(proto in _ONLY_IN for proto in protos)
        if family and src is None and dst is None and not bound:
            src = {family: EVERYWHERE[family]}
        for word, addresses, ports in (("from", src, self.sport), ("to", dst, self.dport)):
            end = [_address_words(addresses)] if addresses is not None else []
            if ports:
                end.append("port " + ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ports))
            if end:
                words.append(f"{word} {' '.join(end)}")
        if self.icmp:
            words.append("icmp-type " + ", ".join(self.icmp))
        mark, user = (self.marks or (None,))[0], (self.users or (None,))[0]
        words += further.clauses(mark, self.dscp, self.macs, user)
        return " ".join(words)


def addresses(texts: list[str], negated: bool, family: int) -> Addresses:
    """Addresses, prefixes and ranges of one family; `negated`: all of that family but those. Raises Refused."""
    spans = [span(text) for text in texts]
    if any(one.family != family for one in spans):
        raise Refused(f"it mixes IPv{family} with other addresses")
    listed = merge([(one.low, one.high) for one in spans])
    found = complement(listed, ADDRESS_MAX[family]) if negated else listed
    if not found:
        raise Never
    return {family: found}


def span(text: str) -> Span:
    """An address, with a prefix length or a netmask, or a range. Raises Refused."""
    from ipaddress import ip_address, ip_network

    try:
        if "-" in text:
            low, high = (ip_address(part) for part in text.split("-"))
            if low.version != high.version or int(low) > int(high):
                raise ValueError
            return Span(low.version, int(low), int(high))
        network = ip_network(text, strict=False)
    except ValueError:
        raise Refused(f"'{text}' is not an address") from None
    mask = text.partition("/")[2]
    if "." in mask and mask != str(network.netmask):  # ip_network reads 0.0.0.255 as the inverse of a mask
        raise Refused(f"'{mask}' is not a netmask of a prefix")
    return Span(network.version, int(network.network_address), int(network.broadcast_address))


def ports(texts: list[str], negated: bool) -> tuple[Range, ...]:
    """Ports, ranges with `:` or `-`, and names of services. Raises Refused."""
    from firewall.services import SERVICES

    found: list[Range] = []
    for text in texts:
        low, dash, high = text.replace(":", "-").partition("-")
        low, high = (low or "0") if dash else low, (high or str(PORT_MAX)) if dash else low
        numbers = [SERVICES.get(part, -1) if not part.isdecimal() else int(part) for part in (low, high)]
        if not 0 <= numbers[0] <= numbers[1] <= PORT_MAX:
            raise Refused(f"'{text}' is not a port")
        found.append((numbers[0], numbers[1]))
    merged = merge(found)
    merged = complement(merged, PORT_MAX) if negated else merged
    if not merged:
        raise Never
    return tuple(merged)


def proto(text: str) -> tuple[str, ...] | None:
    """A protocol as fw writes it, None for all. Raises Refused."""
    word = {"all": "", "0": "", "icmpv6": "icmp6", "ipv6-icmp": "icmp6"}.get(text, text)
    if not word:
        return None
    if word.isdecimal():
        return (protocol_name(int(word)),)
    if word not in PROTOCOLS:
        raise Refused(f"fw does not know the protocol '{text}'")
    return (word,)


def has_ports(protos: tuple[str, ...] | None) -> bool:
    return bool(protos) and all(PROTOCOLS.get(proto) in PORT_PROTOCOLS for proto in protos or ())


def _both(one: _T | None, other: _T | None) -> _T | None:
    return other if one is None else one


def _listed(one: tuple[_T, ...] | None, other: tuple[_T, ...] | None) -> tuple[_T, ...] | None:
    if one is None or other is None:
        return _both(one, other)
    found = tuple(value for value in one if value in other)
    if not found:
        raise Never
    return found


def _names(one: Names | None, other: Names | None) -> Names | None:
    if one is None or other is None or one == other:
        return _both(one, other)
    if one.negated and other.negated:
        return Names(True, tuple(dict.fromkeys(one.names + other.names)))
    if one.negated:
        one, other = other, one
    if other.negated:
        if any(_within(name, hole) for name in one.names for hole in other.names):
            one = Names(
                False, tuple(n for n in one.names if not any(_within(n, hole) for hole in other.names))
            )
        if any(_within(hole, name) for name in one.names for hole in other.names):
            raise Refused("it asks for interfaces of a kind but some")
    else:
        kept = [name for name in one.names if any(_within(name, wide) for wide in other.names)]
        kept += [name for name in other.names if any(_within(name, wide) for wide in one.names)]
        one = Names(False, tuple(dict.fromkeys(kept)))
    if not one.names:
        raise Never
    return one


def _within(name: str, wide: str) -> bool:
    return name_matches(wide, name.removesuffix("+")) and (wide.endswith("+") or not name.endswith("+"))


def _addresses(one: Addresses | None, other: Addresses | None) -> Addresses | None:
    if one is None or other is None:
        return _both(one, other)
    found = {family: common(one[family], other[family]) for family in one if family in other}
    found = {family: ranges for family, ranges in found.items() if ranges}
    if not found:
        raise Never
    return found


def _ports(one: tuple[Range, ...] | None, other: tuple[Range, ...] | None) -> tuple[Range, ...] | None:
    if one is None or other is None:
        return _both(one, other)
    found = tuple(common(list(one), list(other)))
    if not found:
        raise Never
    return found


def common(one: list[Range], other: list[Range]) -> list[Range]:
    """What is in both."""
    pairs = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return merge([pair for pair in pairs if pair[0] <= pair[1]])


def _address_words(found: Addresses) -> str:
    """The shorter of the list and its complement in the same families."""
    spans = [Span(family, low, high) for family, ranges in found.items() for low, high in ranges]
    if len(found) == 1:
        ((family, ranges),) = found.items()
        holes = complement(ranges, ADDRESS_MAX[family])
        if holes and len(holes) < len(ranges):
            other = 10 - family
            spans = [Span(family, low, high) for low, high in holes]
            return "not " + ", ".join(map(str, (*spans, Span(other, 0, ADDRESS_MAX[other]))))
    return ", ".join(map(str, spans))
