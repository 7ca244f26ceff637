# SPDX-License-Identifier: MIT
"""IP options and the chain of IPv6 extension headers: what passes, what an option lets pass, what never does."""

import pytest

from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath, Verdict
from tests.packets import (
    AH,
    DEST_OPTIONS,
    HOP_BY_HOP,
    IGMP,
    NO_NEXT,
    Layer,
    ah,
    esp,
    eth,
    fragment_header,
    icmp,
    icmp6,
    ip,
    ipv4,
    ipv6,
    options_header,
    routing_header,
    tcp,
    udp,
)

OPEN = "default in drop\nallow in tcp, udp to port 22\nallow in proto 135, proto 139, proto 140\n"
PASSING = OPEN + "option ip.options pass\n"
NOP, END = b"\x01", b"\0"
ALERT4, ALERT6 = b"\x94\x04\0\0", b"\x05\x02\0\0"
RECORD_ROUTE = b"\x07\x07\x04" + bytes(4)
LOOSE, STRICT = b"\x83\x07\x04" + bytes(4), b"\x89\x07\x04" + bytes(4)
CIPSO = b"\x86\x06\0\0\0\x01"
JUMBO = b"\xc2\x04\0\x01\0\0"
HOME_ADDRESS = b"\xc9\x10" + bytes(16)
LINK_LOCAL = "fe80::1"


def four(path: PacketPath, options: bytes, gso_size: int = 0) -> str:
    return path.ingress(eth(ipv4(V4.them, V4.us, tcp(4000, 22), options=options)), gso_size=gso_size).reason


def six(path: PacketPath, *chain: Layer, gso_size: int = 0) -> str:
    return path.ingress(eth(ipv6(V6.them, V6.us, tcp(4000, 22), ext=chain)), gso_size=gso_size).reason


@pytest.mark.parametrize("route", [LOOSE, STRICT], ids=["loose", "strict"])
@pytest.mark.parametrize("before", [b"", NOP, NOP * 3, ALERT4, RECORD_ROUTE], ids=len)
@pytest.mark.parametrize("policy", [OPEN, PASSING], ids=["drop", "pass"])
def test_source_routes_never_pass(path: PacketPath, route: bytes, before: bytes, policy: str) -> None:
    """RFC 7126 sections 4.3 and 4.4."""
    path.policy(policy)
    assert four(path, before + route) == "source_route"
    assert list(path.flows()) == []


def test_what_lies_behind_the_end_of_the_options_is_padding(path: PacketPath) -> None:
    path.policy(OPEN)
    assert four(path, END + LOOSE) == "rule_allow"


@pytest.mark.parametrize("options", [RECORD_ROUTE, CIPSO, ALERT4, NOP + ALERT4 + NOP], ids=bytes.hex)
def test_ipv4_options_pass_by_an_option(path: PacketPath, options: bytes) -> None:
    path.policy(OPEN)
    assert four(path, options) == "ip_options"
    assert list(path.flows()) == []
    path.policy(PASSING)
    assert four(path, options) == "rule_allow"


def test_options_are_judged_in_a_running_connection_too(path: PacketPath) -> None:
    path.policy(OPEN)
    assert four(path, b"") == "rule_allow"
    assert four(path, RECORD_ROUTE) == "ip_options"
    assert path.the_flow()[2].side[0].packets == 1
    assert four(path, b"") == "flow"


@pytest.mark.parametrize(
    "options",
    [b"\x07\0\0\0", b"\x07\x01\0\0", b"\x07\x05\0\0", b"\x07\xff\0\0", NOP * 3 + b"\x94", NOP * 39 + b"\x07"],
    ids=bytes.hex,
)
@pytest.mark.parametrize("policy", [OPEN, PASSING], ids=["drop", "pass"])
def test_ipv4_option_of_a_length_that_cannot_be(path: PacketPath, options: bytes, policy: str) -> None:
    path.policy(policy)
    assert four(path, options) == "bad_options"


def igmp(**fields: object) -> Layer:
    return eth(ipv4(V4.them, "224.0.0.22", bytes(8), proto=IGMP, ttl=1, **fields))  # type: ignore[arg-type]


def test_igmp_has_a_router_alert(path: PacketPath) -> None:
    """RFC 3376 section 4."""
    path.policy(OPEN)
    assert path.ingress(igmp(options=ALERT4)).reason == "builtin_igmp"
    assert path.egress(igmp(options=ALERT4)).reason == "builtin_igmp"
    assert path.ingress(igmp(options=ALERT4 + RECORD_ROUTE)).reason == "ip_options"


def mld(kind: int, *chain: Layer) -> Layer:
    message = icmp6(kind, payload=bytes(16))
    return eth(ipv6(LINK_LOCAL, "ff02::16", message, hop_limit=1, ext=chain))


@pytest.mark.parametrize("kind", [130, 131, 132, 143])
def test_mld_has_a_router_alert(path: PacketPath, kind: int) -> None:
    """RFC 2710 section 3, RFC 3810 section 5."""
    path.policy(OPEN)
    assert path.ingress(mld(kind, options_header(HOP_BY_HOP, ALERT6))).reason == "builtin_mld"
    assert path.egress(mld(kind, options_header(HOP_BY_HOP, ALERT6))).reason == "builtin_mld"
    assert path.ingress(mld(kind, options_header(DEST_OPTIONS, ALERT6))).reason == "ip_options"
    both = options_header(HOP_BY_HOP, ALERT6 + b"\x3e\0")
    assert path.ingress(mld(kind, both)).reason == "ip_options"


def test_router_alert_of_other_messages_is_an_option(path: PacketPath) -> None:
    path.policy(OPEN)
    for kind in (1, 128, 129, 133, 135, 144):
        assert path.ingress(mld(kind, options_header(HOP_BY_HOP, ALERT6))).reason in (
            "ip_options",
            "truncated",  # an error whose quote is none
            "bad_version",
        ), kind
    assert six(path, options_header(HOP_BY_HOP, ALERT6)) == "ip_options"


@pytest.mark.parametrize("number", [HOP_BY_HOP, DEST_OPTIONS], ids=["hop-by-hop", "destination"])
@pytest.mark.parametrize("option", [HOME_ADDRESS, b"\x3e\0", b"\x3e\x02ab"], ids=bytes.hex)
def test_ipv6_options_pass_by_an_option(path: PacketPath, number: int, option: bytes) -> None:
    path.policy(OPEN)
    assert six(path, options_header(number)) == "rule_allow", "padding is nothing"
    assert six(path, options_header(number, option)) == "ip_options"
    path.policy(PASSING)
    assert six(path, options_header(number, option)) == "flow"


@pytest.mark.parametrize("number", [HOP_BY_HOP, DEST_OPTIONS], ids=["hop-by-hop", "destination"])
def test_ipv6_option_that_leaves_its_header(path: PacketPath, number: int) -> None:
    path.policy(PASSING)
    for option in (b"\x3e\x05\0\0\0\0", b"\x01\xff\0\0\0\0", bytes(5) + b"\x3e"):
        assert six(path, options_header(number, option)) == "bad_options", option.hex()


def test_options_that_are_too_many_to_follow(path: PacketPath) -> None:
    path.policy(PASSING)
    assert six(path, options_header(DEST_OPTIONS, b"\x3e\0" * 27)) == "rule_allow"
    assert six(path, options_header(DEST_OPTIONS, b"\x3e\0" * 35)) == "long_chain"


@pytest.mark.parametrize("before", [DEST_OPTIONS, HOP_BY_HOP], ids=["destination", "hop-by-hop"])
def test_hop_by_hop_options_have_one_place(path: PacketPath, before: int) -> None:
    """RFC 8200 section 4.1: immediately after the IPv6 header."""
    path.policy(PASSING)
    assert six(path, options_header(before), options_header(HOP_BY_HOP)) == "bad_chain"
    assert six(path, routing_header(), options_header(HOP_BY_HOP)) == "bad_chain"


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("policy", [OPEN, PASSING], ids=["drop", "pass"])
def test_routing_header_of_type_0_never_passes(path: PacketPath, left: int, policy: str) -> None:
    """RFC 5095."""
    path.policy(policy)
    for before in ((), (options_header(HOP_BY_HOP),), (fragment_header(3),), (ah(9),)):
        assert six(path, *before, routing_header(0, left, bytes(20))) == "routing_header"


@pytest.mark.parametrize("kind", [2, 3, 4, 253])
def test_other_routing_headers_count_as_options_while_they_route(path: PacketPath, kind: int) -> None:
    path.policy(OPEN)
    assert six(path, routing_header(kind, 0, bytes(20))) == "rule_allow"
    assert six(path, routing_header(kind, 1, bytes(20))) == "ip_options"
    path.policy(PASSING)
    assert six(path, routing_header(kind, 1, bytes(20))) == "flow"


def test_jumbogram(path: PacketPath) -> None:
    """RFC 2675 on a wire; BIG TCP writes the same before a super-packet, which is cut before it leaves."""
    path.policy(PASSING)
    whole = ipv6(V6.them, V6.us, tcp(4000, 22), ext=[options_header(HOP_BY_HOP, JUMBO)], payload_length=0)
    frame = eth(whole)
    # without segments its length of 0 leaves no room for the header that it promises
    assert path.ingress(frame).reason == "dishonest_length"
    assert six(path, options_header(HOP_BY_HOP, JUMBO)) == "jumbogram"
    path.policy(OPEN)
    assert path.ingress(frame, gso_size=1000, gso_segs=70).reason == "rule_allow"
    odd = options_header(HOP_BY_HOP, b"\xc2\x02\0\x01")
    assert six(path, odd, gso_size=1000) == "bad_options"
    assert six(path, options_header(DEST_OPTIONS, JUMBO), gso_size=1000) == "ip_options"


class TestAuthenticationHeader:
    """AH counts units of 4 bytes, less 2 (RFC 4302 section 2.2); what lies behind it is walked too."""

    POLICY = f"default in drop\nallow in ah from {V6.them}, {V4.them}\n"

    @staticmethod
    def send(path: PacketPath, *chain: Layer) -> Verdict:
        return path.ingress(eth(ipv6(V6.them, V6.us, tcp(4000, 23), ext=chain)))

    @pytest.mark.parametrize("icv", [0, 4, 12, 20, 32])
    def test_walked_by_its_length(self, path: PacketPath, icv: int) -> None:
        path.policy(self.POLICY)
        header = ah(9, icv=bytes(icv))
        assert self.send(path, header).reason == "rule_allow"
        assert self.send(path, header, options_header(DEST_OPTIONS)).reason == "flow"
        assert self.send(path, header, options_header(DEST_OPTIONS, HOME_ADDRESS)).reason == "ip_options"
        assert self.send(path, header, routing_header(0)).reason == "routing_header"
        assert self.send(path, header, options_header(HOP_BY_HOP)).reason == "bad_chain"
        assert self.send(path, header, fragment_header(1)).reason == "bad_chain"
        assert self.send(path, *[header] * 9).reason == "long_chain"

    def test_lengths_that_cannot_be(self, path: PacketPath) -> None:
        path.policy(self.POLICY)
        for units, reason in ((0, "bad_header_length"), (255, "dishonest_length")):
            lying = Layer(ah(9)[:1] + bytes([units]) + ah(9)[2:], AH)
            assert self.send(path, lying).reason == reason, units

    def test_a_rule_for_what_it_protects_does_not_pass_it(self, path: PacketPath) -> None:
        path.policy("default in drop\nallow in tcp to port 22\nallow in esp\n")
        assert six(path, ah(9)) == "default_drop"
        assert path.ingress(eth(ipv6(V6.them, V6.us, esp(1), ext=[ah(9)]))).reason == "default_drop"

    def test_esp_behind_it(self, path: PacketPath) -> None:
        path.policy(self.POLICY)
        assert path.ingress(eth(ipv6(V6.them, V6.us, esp(1), ext=[ah(9)]))).reason == "rule_allow"
        assert path.the_flow()[1].proto == AH


@pytest.mark.parametrize("number", [135, 139, 140], ids=["mobility", "hip", "shim6"])
def test_headers_that_carry_nothing_further_are_protocols(path: PacketPath, number: int) -> None:
    path.policy(OPEN)
    segment = bytes(options_header(DEST_OPTIONS)) + bytes(udp(4000, 23))
    assert path.ingress(eth(ipv6(V6.them, V6.us, segment, proto=number))).reason == "rule_allow"
    path.policy("default in drop\nallow in udp\n")
    assert path.ingress(eth(ipv6(V6.them, V6.us, segment, proto=number))).reason == "revoked"


def test_nothing_is_read_behind_no_next_header(path: PacketPath) -> None:
    """RFC 8200 section 4.7."""
    path.policy("default in drop\nallow in tcp\nallow in proto 59 from 2001:db8:9::7\n")
    for payload in (b"", bytes(tcp(4000, 22))):
        assert path.ingress(eth(ipv6(V6.below, V6.us, payload, proto=NO_NEXT))).reason == "default_drop"
        assert path.ingress(eth(ipv6(V6.them, V6.us, payload, proto=NO_NEXT))).passed


@FAMILIES
def test_own_packets_are_read_alike(path: PacketPath, ends: Ends) -> None:
    path.policy("default out allow\n")
    segment = udp(5000, 53)
    if ends.is_v6:
        frame = eth(ipv6(ends.us, ends.them, segment, ext=[options_header(DEST_OPTIONS, HOME_ADDRESS)]))
    else:
        frame = eth(ipv4(ends.us, ends.them, segment, options=RECORD_ROUTE))
    assert path.egress(frame).reason == "ip_options"
    path.policy("default out allow\noption ip.options pass\n")
    assert path.egress(frame).reason == "default_allow"
    assert path.ingress(eth(ip(ends.them, ends.us, udp(53, 5000)))).reason == "flow"


def test_options_up_to_the_end_of_the_packet(path: PacketPath) -> None:
    path.policy("default in allow\n")
    packet = ipv6(V6.them, V6.us, b"", proto=NO_NEXT, ext=[options_header(DEST_OPTIONS)])
    assert path.ingress(eth(packet)).reason == "default_allow"
    packet = ipv4(V4.them, V4.us, b"", proto=77, options=NOP * 4)
    assert path.ingress(eth(packet)).reason == "default_allow"
    lying = ipv4(V4.them, V4.us, b"", proto=77, options=NOP * 3 + b"\x07")
    assert path.ingress(eth(lying)).reason == "bad_options"


@FAMILIES
@pytest.mark.parametrize("hops", [0, 1, 255])
@pytest.mark.parametrize("place", ["us", "inside"])
def test_hops_that_are_left_are_for_the_stack_to_judge(
    path: PacketPath, ends: Ends, hops: int, place: str
) -> None:
    """RFC 1122 section 3.2.1.7: a host must not refuse a packet for that; a router's refusal is part of the flow."""
    path.policy("default in drop\nallow in tcp to port 22\nallow forward via lan tcp to port 22\n")
    to = getattr(ends, place)
    body = tcp(4000, 22, "S")
    packet = ipv6(ends.them, to, body, hop_limit=hops) if ends.is_v6 else ipv4(ends.them, to, body, ttl=hops)
    assert path.ingress(eth(packet)).reason == "rule_allow"
    exceeded = icmp6(3, payload=bytes(packet)) if ends.is_v6 else icmp(11, payload=bytes(packet))
    assert path.egress(eth(ip(ends.us, ends.them, exceeded))).reason == "related"
