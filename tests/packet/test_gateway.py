# SPDX-License-Identifier: MIT
"""A router between a home and the Internet as RFC 6092 wants it; docs/requirements.md says which test shows what.

inside ── lan, slot 2 ── this host ── wan, slot 1 ── them, hop
"""

from __future__ import annotations

import pytest

from tests.chunks import init, init_ack
from tests.packet.ends import ECHO_REPLY, FAMILIES, V6, Ends
from tests.packet.path import PacketPath, Verdict
from tests.packets import AH, UDP, Layer, ah, eth, icmp_error, ip, ipv6, routing_header, sctp, tcp, udp

HOME = "default in drop\ndefault out allow\ndefault forward drop\nallow forward on lan via wan\n"
ESP, DCCP, MOBILITY, UDP_LITE, HIP, SHIM6 = 50, 33, 135, 136, 139, 140


def bare(number: int) -> Layer:
    """Of a protocol that fw knows by its number alone; its first words look like ports 5000 and 80."""
    return Layer(bytes(udp(5000, 80, bytes(16))), number)


def authenticated(segment: Layer) -> Layer:
    return Layer(bytes([UDP]) + ah(7)[1:] + segment, AH)


# what the inner host sends, what the far one answers
PROTOCOLS = {
    "udp": (udp(5000, 53), udp(53, 5000)),
    "ike": (udp(500, 500), udp(500, 500)),
    "tcp": (tcp(5000, 80, "S", seq=99), tcp(80, 5000, "SA", seq=7, ack=100)),
    "sctp": (sctp(5000, 80, init(7), tag=0), sctp(80, 5000, init_ack(9), tag=7)),
    "esp": (bare(ESP), bare(ESP)),
    "ah": (authenticated(udp(5000, 80)), authenticated(udp(80, 5000))),
    "dccp": (bare(DCCP), bare(DCCP)),
    "udp-lite": (bare(UDP_LITE), bare(UDP_LITE)),
    "mobility": (bare(MOBILITY), bare(MOBILITY)),
    "hip": (bare(HIP), bare(HIP)),
    "shim6": (bare(SHIM6), bare(SHIM6)),
}
EACH_PROTOCOL = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture
def home(path: PacketPath) -> PacketPath:
    path.policy(HOME)
    return path


def outward(path: PacketPath, ends: Ends, segment: Layer) -> Verdict:
    return path.ingress(eth(ip(ends.inside, ends.them, segment)), on="lan")


def inward(path: PacketPath, ends: Ends, segment: Layer, source: str | None = None) -> Verdict:
    return path.ingress(eth(ip(source or ends.them, ends.inside, segment)))


@FAMILIES
@EACH_PROTOCOL
def test_what_goes_out_is_answered_by_whom_it_asked(home: PacketPath, ends: Ends, protocol: str) -> None:
    question, answer = PROTOCOLS[protocol]
    assert inward(home, ends, question).reason == "default_drop"
    assert outward(home, ends, question).reason == "rule_allow"
    assert inward(home, ends, answer).reason == "flow"
    stranger = inward(home, ends, answer, source=ends.hop)
    assert stranger.reason == ("no_flow" if protocol in ("tcp", "sctp") else "default_drop")


@FAMILIES
@EACH_PROTOCOL
def test_errors_about_it_come_in_and_end_nothing(home: PacketPath, ends: Ends, protocol: str) -> None:
    question, answer = PROTOCOLS[protocol]
    outward(home, ends, question)
    sent = ip(ends.inside, ends.them, question)
    unknown = ip(ends.inside, ends.below, question)
    before = home.the_flow()
    for kind, code in ((1, 4), (2, 0), (3, 0), (4, 0)) if ends.is_v6 else ((3, 1), (3, 4), (11, 0), (12, 0)):
        assert inward(home, ends, icmp_error(sent, kind, code), source=ends.hop).reason == "related"
        assert inward(home, ends, icmp_error(unknown, kind, code), source=ends.hop).reason == "unrelated"
    assert home.the_flow() == before
    assert inward(home, ends, answer).reason == "flow"


@FAMILIES
@EACH_PROTOCOL
def test_errors_of_the_inner_host_go_out(home: PacketPath, ends: Ends, protocol: str) -> None:
    """They belong to what it was sent; a rule that allows everything to the other end passes no others."""
    question, answer = PROTOCOLS[protocol]
    outward(home, ends, question)
    inward(home, ends, answer)
    home.policy(f"default in drop\ndefault forward drop\nallow forward to {ends.them}\n")
    for quoted, reason in ((answer, "related"), (udp(9, 9), "unrelated")):
        error = icmp_error(ip(ends.them, ends.inside, quoted))
        assert outward(home, ends, error).reason == reason


@FAMILIES
@EACH_PROTOCOL
def test_a_rule_lets_it_in_unasked(path: PacketPath, ends: Ends, protocol: str) -> None:
    question, answer = PROTOCOLS[protocol]
    path.policy(
        HOME + "allow forward on wan tcp, sctp to port 80\nallow forward on wan udp to port 53, 500\n"
        "allow forward on wan esp, ah, proto 33, proto 135, proto 136, proto 139, proto 140\n"
    )
    assert inward(path, ends, question).reason == "rule_allow"
    assert outward(path, ends, answer).reason == "flow"


@FAMILIES
@EACH_PROTOCOL
def test_without_a_filter_all_is_forwarded(path: PacketPath, ends: Ends, protocol: str) -> None:
    path.policy("default in drop\ndefault forward allow\n")
    question, answer = PROTOCOLS[protocol]
    assert inward(path, ends, question).reason == "default_allow"
    assert outward(path, ends, answer).reason == "flow"


@FAMILIES
def test_udp_and_udp_lite_are_apart(home: PacketPath, ends: Ends) -> None:
    lite = Layer(bytes(udp(53, 5000)), UDP_LITE)
    outward(home, ends, udp(5000, 53))
    assert inward(home, ends, lite).reason == "default_drop"
    home.reset_flows()
    outward(home, ends, lite)
    assert inward(home, ends, udp(53, 5000)).reason == "default_drop"
    assert inward(home, ends, lite).reason == "flow"


@FAMILIES
def test_services_of_the_router_are_not_for_the_outside(path: PacketPath, ends: Ends) -> None:
    """DNS, DHCPv6 and what administers it: a policy that says nothing offers nothing."""
    path.policy("protect wan\nallow in on lan\n")
    for segment in (udp(5000, 53), tcp(5000, 53), udp(546, 547), udp(68, 67), tcp(5000, 443), udp(5000, 161)):
        assert path.ingress(ends.arriving(segment)).reason == "default_drop"
    solicit = ipv6("fe80::9", "ff02::1:2", udp(546, 547, bytes(20)))
    assert path.ingress(eth(solicit)).reason == "default_drop"


@pytest.mark.parametrize("group", ["ff05::2", "ff08::2", "ff0e::101"])
def test_multicast_is_not_forwarded_by_the_rule_that_lets_it_in(path: PacketPath, group: str) -> None:
    """Where the host routes multicast, egress judges it as forwarded. What is of the link the kernel never forwards."""
    path.policy(HOME + "allow in udp to ff00::/8 port 5000\n")
    frame = eth(ipv6(V6.them, group, udp(5000, 5000)))
    assert path.ingress(frame).reason == "rule_allow"
    assert path.egress(frame, on="lan", came_by="wan").reason == "default_drop"


def test_rules_leave_out_prefixes(path: PacketPath) -> None:
    """Which prefixes do not cross the border is for the policy to say: no list of them is built in."""
    prefixes = "fc00::/7, fec0::/10, 2001:10::/28, ::/96"
    path.policy(f"drop forward from {prefixes}\ndrop forward to {prefixes}\n{HOME}")
    for address in ("fd00::9", "fec0::9", "2001:10::9"):
        inside = eth(ipv6(V6.inside, address, udp(5000, 53)))
        outside = eth(ipv6(address, V6.inside, udp(5000, 53)))
        assert path.ingress(inside, on="lan").reason == "rule_drop", address
        assert path.ingress(outside).reason == "rule_drop", address


@FAMILIES
def test_sources_are_on_their_side(path: PacketPath, ends: Ends) -> None:
    path.policy(HOME + "allow forward on wan\noption antispoof strict\n")
    assert inward(path, ends, udp(1, 2), source=ends.inside[:-1] + "8").reason == "spoofed"
    from_elsewhere = eth(ip(ends.below, ends.them, udp(1, 2)))
    assert path.ingress(from_elsewhere, on="lan").reason == "spoofed"
    assert outward(path, ends, udp(1, 2)).reason == "rule_allow"


def test_routing_headers_of_mobile_nodes_pass_by_an_option(path: PacketPath) -> None:
    """Type 2 (RFC 6275 section 6.4) still names the home address when it crosses us; the flow is the care-of one's."""
    home_address = bytes(4) + bytes(16)
    for word, reason in (("drop", "ip_options"), ("pass", "flow")):
        path.policy(f"{HOME}option ip.options {word}\n")
        outward(path, V6, udp(5000, 53))
        header = routing_header(2, 1, home_address)
        frame = eth(ipv6(V6.them, V6.inside, udp(53, 5000), ext=[header]))
        assert path.ingress(frame).reason == reason


@FAMILIES
@pytest.mark.parametrize("protocol", ["udp", "esp", "dccp"])
def test_idle_flows_outlive_the_least_times(home: PacketPath, ends: Ends, protocol: str) -> None:
    """RFC 4787 REQ-5, RFC 6092 REC-12 and REC-14: two minutes, of a flow that was answered."""
    question, answer = PROTOCOLS[protocol]
    outward(home, ends, question)
    inward(home, ends, answer)
    home.age(121)
    assert inward(home, ends, answer).reason == "flow"


@FAMILIES
@pytest.mark.parametrize("protocol", ["udp", "esp"])
@pytest.mark.parametrize("refresher", ["inner", "far"])
def test_each_side_keeps_it_alive(home: PacketPath, ends: Ends, protocol: str, refresher: str) -> None:
    question, answer = PROTOCOLS[protocol]
    outward(home, ends, question)
    inward(home, ends, answer)
    for _ in range(10):
        home.age(119)
        kept = outward(home, ends, question) if refresher == "inner" else inward(home, ends, answer)
        assert kept.reason == "flow"
    home.age(3600)
    assert inward(home, ends, answer).reason == "default_drop"


@FAMILIES
def test_errors_about_a_ping_refresh_nothing(home: PacketPath, ends: Ends) -> None:
    """RFC 5508 REQ-2 and REQ-6: it lives for a minute, and no error makes that longer or shorter."""
    outward(home, ends, ends.echo())
    error = icmp_error(ip(ends.inside, ends.them, ends.echo()))
    home.age(59)
    before = home.the_flow()
    assert inward(home, ends, error, source=ends.hop).reason == "related"
    assert home.the_flow() == before
    assert inward(home, ends, ends.echo(ECHO_REPLY)).reason == "flow"
    home.age(59)
    inward(home, ends, error, source=ends.hop)
    home.age(3)
    assert inward(home, ends, ends.echo(ECHO_REPLY)).reason == "no_flow"


@FAMILIES
def test_what_an_error_quotes_may_be_damaged(home: PacketPath, ends: Ends) -> None:
    """RFC 5508 REQ-3: neither the checksum of the quoted segment nor an extension behind it (RFC 4884) is read."""
    sent = ip(ends.inside, ends.them, udp(5000, 53, b"x" * 120))
    outward(home, ends, udp(5000, 53, b"x" * 120))
    damaged = Layer(sent[:-1] + b"y", sent.number)
    extension = b"\x20\0\0\0" + b"\0\x08\x01\x01" + bytes(4)
    header = 40 if ends.is_v6 else 20
    for quote in (damaged, Layer(sent[: header + 8].ljust(128, b"\0") + extension, sent.number)):
        error = icmp_error(quote, quote_bytes=len(quote))
        assert inward(home, ends, error, source=ends.hop).reason == "related"
