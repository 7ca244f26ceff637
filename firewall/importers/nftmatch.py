# SPDX-License-Identifier: MIT
"""What one match of nft asks for: the left side and the right side of an expression of libnftables-json(5)."""

from collections.abc import Callable
from typing import Any

from firewall.importers import byhand, further, match
from firewall.importers.carried import Never, Refused
from firewall.importers.match import EVERYWHERE, Match, Names
from firewall.ranges import PORT_MAX

ORDERS = ("<", "<=", ">", ">=")
_NFPROTO = {"ipv4": 4, "ip": 4, "ipv6": 6, "ip6": 6}
_ICMP_NAMES = {
    "nd-router-solicit": "router-solicitation",
    "nd-router-advert": "router-advertisement",
    "nd-neighbor-solicit": "neighbor-solicitation",
    "nd-neighbor-advert": "neighbor-advertisement",
    "nd-redirect": "redirect",
    "mld-listener-query": "mld-query",
    "mld-listener-report": "mld-report",
    "mld-listener-done": "mld-done",
    "mld2-listener-report": "mld2-report",
}


def value(one: Any) -> str:
    if isinstance(one, dict) and "elem" in one:
        one = one["elem"]["val"]
    if isinstance(one, dict) and "prefix" in one:
        return f"{one['prefix']['addr']}/{one['prefix']['len']}"
    if isinstance(one, dict) and "range" in one:
        return "-".join(map(str, one["range"]))
    if isinstance(one, dict | list):
        raise Refused("fw does not join keys, nor calculate")
    return str(one)


def payload(protocol: str, field: str, right: list[str], negated: bool) -> Match:
    if protocol in ("ip", "ip6") and field in ("saddr", "daddr"):
        found = match.addresses(right, negated, 4 if protocol == "ip" else 6)
        return Match(src=found) if field == "saddr" else Match(dst=found)
    if protocol in ("ip", "ip6") and field in ("protocol", "nexthdr"):
        family = 4 if protocol == "ip" else 6
        return _protocols(right, negated)._replace(src={family: EVERYWHERE[family]})
    if protocol in ("tcp", "udp", "sctp", "th") and field in ("sport", "dport"):
        found_ports = match.ports(right, negated)
        protos = None if protocol == "th" else (protocol,)
        return (
            Match(protos=protos, sport=found_ports)
            if field == "sport"
            else Match(protos=protos, dport=found_ports)
        )
    if protocol in ("ip", "ip6") and field == "dscp":
        family = 4 if protocol == "ip" else 6
        return Match(src={family: EVERYWHERE[family]}, dscp=further.classes(right, negated))
    if protocol == "ether" and field == "saddr":
        return Match(macs=further.macs(right, negated))
    if protocol in ("icmp", "icmpv6") and field == "type":
        if negated:
            raise further.but("an ICMP type", f"icmp-type {', '.join(right)}")
        if not right:  # a set that is empty
            raise Never
        return Match(
            protos=("icmp" if protocol == "icmp" else "icmp6",),
            icmp=tuple(_ICMP_NAMES.get(name, name) for name in right),
        )
    asked = f"{protocol} {field}"
    raise byhand.refused(byhand.ASKED, asked, f"fw does not ask for '{asked}'")


def masked(sides: list[Any], right: list[str], negated: bool) -> Match:
    """What some bits of a value are compared with."""
    left, mask = sides
    if left == {"meta": {"key": "mark"}} and isinstance(mask, int):
        return Match(marks=further.marks(right, negated, mask))
    if left == {"payload": {"protocol": "tcp", "field": "flags"}}:
        raise byhand.refused(byhand.ASKED, "tcp flags", "")
    raise Refused("fw does not join keys, nor calculate")


def ordered(field: str, op: str, right: list[str]) -> list[str]:
    """The ports that are above or below one."""
    if field not in ("sport", "dport"):
        raise Refused(f"fw does not compare with '{op}'")
    (text,) = right
    (low, high), *_ = match.ports([text], False)
    first, last = {
        "<": (0, low - 1),
        "<=": (0, low),
        ">": (high + 1, PORT_MAX),
        ">=": (high, PORT_MAX),
    }[op]
    if first > last:
        raise Never
    return [f"{first}-{last}"]


def _protocols(right: list[str], negated: bool) -> Match:
    if negated:
        raise further.but("a protocol", ", ".join(right))
    return Match(protos=tuple(name for one in right for name in match.proto(one) or ()))


def _interfaces(field: str) -> Callable[[list[str], bool], Match]:
    def read(right: list[str], negated: bool) -> Match:
        names = tuple(name[:-1] + "+" if name.endswith("*") else name for name in right)
        if negated and "lo" in names:  # every packet that fw sees
            names = tuple(name for name in names if name != "lo")
        if not names and not negated:  # a set that is empty
            raise Never
        return Match(**{field: Names(negated, names)}) if names else Match()  # type: ignore[arg-type]

    return read


def _nfproto(right: list[str], negated: bool) -> Match:
    families = {_NFPROTO[name] for name in right if name in _NFPROTO}
    chosen = {4, 6} - families if negated else families
    if not chosen:
        raise Never
    return Match(src={family: EVERYWHERE[family] for family in chosen}) if len(chosen) == 1 else Match()


_METAS: dict[str, Callable[[list[str], bool], Match]] = {
    **dict.fromkeys(("iifname", "iif"), _interfaces("on")),
    **dict.fromkeys(("oifname", "oif"), _interfaces("via")),
    **dict.fromkeys(("nfproto", "protocol"), _nfproto),
    "l4proto": _protocols,
    "mark": lambda right, negated: Match(marks=further.marks(right, negated)),
    "skuid": lambda right, negated: Match(users=further.users(right, negated)),
}


def meta(key: str, right: list[str], negated: bool) -> Match:
    if key not in _METAS:
        raise byhand.refused(byhand.ASKED, f"meta {key}", f"fw does not ask for 'meta {key}'")
    return _METAS[key](right, negated)
