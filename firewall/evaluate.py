# SPDX-License-Identifier: MIT
"""What a policy says about one packet, in the plainest way: clause by clause, rule by rule.

This is the meaning of the language; what the kernel does is tested against it. Built-in rules are not part of
a policy and are not looked at.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from firewall.addresses import Addrs, Span
from firewall.hours import Between, local_zone
from firewall.policy import Policy
from firewall.rule import Rule
from firewall.services import ICMP, ICMP6, PORT_PROTOCOLS
from firewall.terms import End, Names, Ports


class Question(NamedTuple):
    """A packet that opens a flow: `scope`, IP protocol number, both ends, and the interfaces that it came in
    and leaves by.

    Ports count for TCP, UDP and SCTP only, type and code for ICMP and ICMPv6 only. `on` or `via` is None
    where there is no such interface, or it is not known; no `on` or `via` clause then matches. So is `mac`, the sender
    of the frame as a number. Of what this host sends, `user` and `units` are whose it is, as rules name them.
    `when_s` is the moment, in Unix time; `synced`: something keeps the clock right.
    `anew`: a running flow is judged, of whose opener's packet nothing is known but its ends.
    """

    scope: str
    proto: int
    src: IPv4Address | IPv6Address
    dst: IPv4Address | IPv6Address
    sport: int = 0
    dport: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    on: str | None = None
    via: str | None = None
    mark: int = 0
    dscp: int = 0
    mac: int | None = None
    when_s: float = 0
    user: str | None = None
    units: tuple[str, ...] = ()
    synced: bool = True
    anew: bool = False


# Whether an address is an element of the set of that name.
Membership = Callable[[str, IPv4Address | IPv6Address], bool]


class Answer(NamedTuple):
    """What becomes of the packet: `position` in the policy and `rule` of the rule that decided, both None if
    a default did; what to log.
    """

    action: str
    rule: Rule | None
    position: int | None
    log: str | None


def evaluate(policy: Policy, question: Question, member: Membership | None = None) -> Answer:
    """The first rule that matches decides, else the default of the scope.

    Without `member` the sets have the elements that the policy's own lines list.
    """
    asked = member or listed_by(policy)
    for index, rule in enumerate(policy.rules):
        if matches(rule, question, asked):
            return Answer(rule.action, rule, index, rule.log)
    return Answer(policy.defaults[question.scope], None, None, None)


def listed_by(policy: Policy) -> Membership:
    """The elements that the lines of a policy list, without files and what was added at run time."""

    def member(name: str, address: IPv4Address | IPv6Address) -> bool:
        return name in policy.sets and _listed(policy.sets[name].spans, address)

    return member


def no_member(_name: str, _address: IPv4Address | IPv6Address) -> bool:
    """Of sets that are all empty."""
    return False


def matches(rule: Rule, question: Question, member: Membership = no_member) -> bool:
    """Whether every clause of the rule holds for the packet."""
    return (
        question.scope in rule.scopes
        and _interface_matches(rule.on, question.on)
        and _interface_matches(rule.via, question.via)
        and _proto_matches(rule, question)
        and _end_matches(rule.src, question.src, question.sport, question.proto, member)
        and _end_matches(rule.dst, question.dst, question.dport, question.proto, member)
        and _icmp_matches(rule, question)
        and not (question.anew and rule.asks_packet)
        and (rule.dscp is None or question.dscp in rule.dscp)
        and (rule.macs is None or question.mac in rule.macs)
        and (rule.user is None or question.user == rule.user)
        and (rule.unit is None or rule.unit in question.units)
        and (rule.mark is None or question.mark & rule.mark.mask == rule.mark.value)
        and (rule.until is None or question.when_s < rule.until.end_s)
        and (rule.between is None or _hours_match(rule, rule.between, question))
    )


def _hours_match(rule: Rule, between: Between, question: Question) -> bool:
    """While nobody knows what time it is, the rule says whether it holds, else its action does."""
    if not question.synced:
        return rule.action != "allow" if rule.unsynced is None else rule.unsynced
    return between.holds(question.when_s, local_zone())


def _interface_matches(names: Names | None, ifname: str | None) -> bool:
    return names is None or names.matches(ifname)


def _proto_matches(rule: Rule, question: Question) -> bool:
    """ICMP is of IPv4 and ICMPv6 is of IPv6, whatever a packet's protocol field claims."""
    if not rule.protos:
        return True
    family = {ICMP: 4, ICMP6: 6}.get(question.proto, question.src.version)
    return question.proto in rule.protos and question.src.version == family


def _end_matches(
    end: End, address: IPv4Address | IPv6Address, port: int, proto: int, member: Membership
) -> bool:
    if end.addrs is not None and not _address_matches(end.addrs, address, member):
        return False
    return end.ports is None or (proto in PORT_PROTOCOLS and _port_matches(end.ports, port))


def _address_matches(addrs: Addrs, address: IPv4Address | IPv6Address, member: Membership) -> bool:
    listed = (
        _listed(addrs.spans, address)
        or any(member(name, address) for name in addrs.sets)
        or any(host.matches(address.version, int(address)) for host in addrs.hosts)
    )
    return listed != addrs.negated


def _listed(spans: tuple[Span, ...], address: IPv4Address | IPv6Address) -> bool:
    return any(span.family == address.version and span.low <= int(address) <= span.high for span in spans)


def _port_matches(ports: Ports, port: int) -> bool:
    return any(low <= port <= high for low, high in ports.spans) != ports.negated


def _icmp_matches(rule: Rule, question: Question) -> bool:
    return not rule.icmp_types or any(
        question.icmp_type == icmp_type.number_for(question.proto)
        and icmp_type.code in (None, question.icmp_code)
        for icmp_type in rule.icmp_types
    )
