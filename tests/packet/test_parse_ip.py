# SPDX-License-Identifier: MIT
"""IP headers of both families and what lies between them and the ports: honest ones are followed, lies dropped.

Frames are filled up with bytes behind the packet where a header says less than the frame holds, so that the
bytes which a lie points to are there.
"""

import ipaddress

import pytest

from firewall import abi
from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath
from tests.packets import (
    DEST_OPTIONS,
    ESP,
    GRE,
    HOP_BY_HOP,
    ICMP,
    ICMP6,
    NO_NEXT,
    ROUTING,
    SCTP,
    TCP,
    TCP_FLAGS,
    UDP,
    Layer,
    ah,
    esp,
    eth,
    fragment_header,
    gre,
    icmp,
    ip,
    ipv4,
    ipv6,
    options_header,
    routing_header,
    sctp,
    tcp,
    udp,
)

OPEN = "default in drop\nallow in tcp, udp, sctp to port 22\nallow in icmp, icmp6 icmp-type echo-request\n"
OSPF = 89
LEAST = {TCP: 20, UDP: 8, SCTP: 32, ICMP: 8, ICMP6: 8}
TRANSPORTS = [tcp(4000, 22), udp(4000, 22), sctp(4000, 22), icmp(ident=7)]


def padding(size: int) -> bytes:
    """PadN options of so many bytes (RFC 8200 section 4.2)."""
    return b"".join(bytes((1, n - 2)) + bytes(n - 2) for n in [257] * (size // 257) + [size % 257])


EXTENSIONS = {
    "hop-by-hop": options_header(HOP_BY_HOP),
    "hop-by-hop, 24 bytes": options_header(HOP_BY_HOP, bytes(22)),
    "destination": options_header(DEST_OPTIONS),
    "destination, 2048 bytes": options_header(DEST_OPTIONS, padding(2046)),
    "routing": routing_header(),
    "routing, 24 bytes": routing_header(data=bytes(20)),
    "atomic fragment": fragment_header(5),
}


def ports(path: PacketPath) -> list[int]:
    """Of the only flow, in order."""
    _, key, _ = path.the_flow()
    return sorted((key.lo_port, key.hi_port))


@pytest.mark.parametrize("words", range(11))
def test_ipv4_options_are_passed_over(path: PacketPath, words: int) -> None:
    path.policy(OPEN)
    options = b"\x01" * 4 * words
    assert path.ingress(eth(ipv4(V4.them, V4.us, tcp(4000, 22), options=options))).reason == "rule_allow"
    assert ports(path) == [22, 4000]
    assert path.ingress(eth(ipv4(V4.them, V4.us, tcp(4000, 23), options=options))).reason == "default_drop"


@FAMILIES
@pytest.mark.parametrize("version", range(16))
def test_version(path: PacketPath, ends: Ends, version: int) -> None:
    path.policy(OPEN)
    packet = eth(ip(ends.them, ends.us, tcp(4000, 22), version=version))
    right = version == (6 if ends.is_v6 else 4)
    assert path.ingress(packet).reason == ("rule_allow" if right else "bad_version")


@pytest.mark.parametrize("ihl", range(16))
def test_ipv4_header_length(path: PacketPath, ihl: int) -> None:
    path.policy(OPEN)
    packet = ipv4(V4.them, V4.us, udp(4000, 22, b"x" * 12), ihl=ihl)  # 40 bytes
    reason = path.ingress(eth(packet + bytes(60), ethertype=0x0800)).reason
    if ihl < 5:
        assert reason == "bad_header_length"
    elif ihl == 5:
        assert reason == "rule_allow"
    elif ihl > 10:
        assert reason == "dishonest_length"
    else:
        assert list(path.flows()) == [], "its ports are not where a header of 20 bytes had them"


@pytest.mark.parametrize("segment", TRANSPORTS, ids=["tcp", "udp", "sctp", "icmp"])
def test_ipv4_total_length(path: PacketPath, segment: Layer) -> None:
    path.policy(OPEN)
    frame_room = 64  # SCTP would read what follows its chunks as one without a length
    for total in (*range(20 + len(segment)), frame_room + 1, 1500, 65535):
        packet = ipv4(V4.them, V4.us, segment, total_length=total).ljust(frame_room, b"\0")
        assert path.ingress(eth(packet, ethertype=0x0800)).reason == "dishonest_length", total
    for total in (20 + len(segment), frame_room - (12 if segment.number == SCTP else 0)):
        packet = ipv4(V4.them, V4.us, segment, total_length=total).ljust(frame_room, b"\0")
        assert path.ingress(eth(packet, ethertype=0x0800)).passed, total


@pytest.mark.parametrize("segment", TRANSPORTS[:3], ids=["tcp", "udp", "sctp"])
def test_ipv6_payload_length(path: PacketPath, segment: Layer) -> None:
    path.policy(OPEN)
    room = 64
    for payload in (*range(len(segment)), room + 1, 1500, 65535):
        packet = ipv6(V6.them, V6.us, segment, payload_length=payload).ljust(40 + room, b"\0")
        assert path.ingress(eth(packet, ethertype=0x86DD)).reason == "dishonest_length", payload
    for payload in (len(segment), room - (32 if segment.number == SCTP else 0)):
        packet = ipv6(V6.them, V6.us, segment, payload_length=payload).ljust(40 + room, b"\0")
        assert path.ingress(eth(packet, ethertype=0x86DD)).passed, payload


@FAMILIES
@pytest.mark.parametrize("proto", [TCP, UDP, SCTP])
def test_transport_header_that_does_not_fit(path: PacketPath, ends: Ends, proto: int) -> None:
    path.policy("default in allow\n")
    whole = {TCP: tcp(4000, 22), UDP: udp(4000, 22), SCTP: sctp(4000, 22)}[proto]
    for size in range(LEAST[proto]):
        frame = eth(ip(ends.them, ends.us, whole[:size], proto=proto), pad=True)
        assert path.ingress(frame + bytes(20)).reason == "dishonest_length", size


@FAMILIES
def test_icmp_header_that_does_not_fit(path: PacketPath, ends: Ends) -> None:
    path.policy("default in allow\n")
    for size in range(LEAST[ends.icmp_proto]):
        packet = ip(ends.them, ends.us, bytes(ends.echo())[:size], proto=ends.icmp_proto)
        assert path.ingress(eth(packet, pad=True) + bytes(20)).reason == "dishonest_length", size


@FAMILIES
@pytest.mark.parametrize("words", range(16))
def test_tcp_data_offset(path: PacketPath, ends: Ends, words: int) -> None:
    path.policy(OPEN)
    segment = tcp(4000, 22, "S", bytes(12), data_offset=words)  # 32 bytes
    reason = path.ingress(ends.arriving(segment) + bytes(60)).reason
    expected = "bad_header_length" if words < 5 else "rule_allow" if words <= 8 else "dishonest_length"
    assert reason == expected
    if reason == "rule_allow":
        assert path.the_flow()[2].side[0].seq_end == 1 + 32 - 4 * words, "options are not data"


@FAMILIES
def test_udp_length(path: PacketPath, ends: Ends) -> None:
    """What is shorter than its packet passes, as in the stack, which cuts the rest off."""
    path.policy(OPEN)
    for length in (*range(8), 21, 40, 65535):
        frame = ends.arriving(udp(4000, 22, bytes(12), length=length)) + bytes(60)
        expected = "bad_header_length" if length < 8 else "dishonest_length"
        assert path.ingress(frame).reason == expected, length
    for length in (8, 19, 20):
        assert path.ingress(ends.arriving(udp(4000, 22, bytes(12), length=length))).passed, length


@FAMILIES
def test_tcp_flags(path: PacketPath, ends: Ends) -> None:
    """What a stack sends (RFC 9293 section 3.10, RFC 3168 for E and C); PSH and URG do not matter."""
    path.policy("default in allow\n")
    sendable = {"S", "SA", "R", "RA", "FA", "A"}
    for bits in range(256):
        flags = "".join(letter for i, letter in enumerate(TCP_FLAGS) if bits >> i & 1)
        plain = flags.translate({ord(letter): None for letter in "PEC"})
        honest = plain in sendable | {"SU", "FAU", "AU"}
        reason = path.ingress(ends.arriving(tcp(4000 + bits, 22, flags))).reason
        assert (reason == "bad_tcp_flags") != honest, flags


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extension_header(path: PacketPath, name: str) -> None:
    path.policy(OPEN)
    for port, reason in ((22, "rule_allow"), (23, "default_drop")):
        packet = ipv6(V6.them, V6.us, udp(4000, port), ext=[EXTENSIONS[name]])
        if "2048" in name:
            reason = "truncated"  # no header is looked for so far in
        assert path.ingress(eth(packet)).reason == reason


def test_chain_of_extension_headers(path: PacketPath) -> None:
    path.policy(OPEN)
    kinds = [options_header(HOP_BY_HOP, bytes(22)), options_header(DEST_OPTIONS), routing_header()]
    for length in range(1, 9):
        chain = [kinds[min(i, 2)] for i in range(length)]
        packet = ipv6(V6.them, V6.us, udp(4000 + length, 22), ext=chain)
        assert path.ingress(eth(packet)).reason == "rule_allow", length
        packet = ipv6(V6.them, V6.us, udp(4000 + length, 23), ext=chain)
        assert path.ingress(eth(packet)).reason == "default_drop", length
    for length in (9, 12):
        packet = ipv6(V6.them, V6.us, udp(4000, 22), ext=[options_header(DEST_OPTIONS)] * length)
        assert path.ingress(eth(packet)).reason == "long_chain", length


@pytest.mark.parametrize("number", [HOP_BY_HOP, DEST_OPTIONS, ROUTING])
@pytest.mark.parametrize("before", [0, 1], ids=["first", "second"])
def test_extension_header_that_is_longer_than_its_packet(path: PacketPath, number: int, before: int) -> None:
    path.policy(OPEN)
    if before and number == HOP_BY_HOP:
        pytest.skip("its place is the first")
    chain = [options_header(DEST_OPTIONS)] * before
    honest = {ROUTING: routing_header()}.get(number, options_header(number))
    for units in (2, 3, 9, 255):  # 8 bytes of header and 8 of UDP are there: it may say 0 or 1
        lying = Layer(honest[:1] + bytes([units]) + honest[2:], number)
        frame = eth(ipv6(V6.them, V6.us, udp(4000, 22), ext=[*chain, lying]))
        assert path.ingress(frame + bytes(2048)).reason == "dishonest_length", units
    swallowing = Layer(honest[:1] + b"\x01" + honest[2:], number)
    frame = eth(ipv6(V6.them, V6.us, bytes(8), proto=UDP, ext=[*chain, swallowing]))  # reads as padding
    assert path.ingress(frame + bytes(20)).reason == "dishonest_length", "no room for UDP is left"


def test_extension_header_that_is_shorter_than_it_was_made(path: PacketPath) -> None:
    """Ports are read where the header says that it ends, as the receiver will."""
    path.policy("default in drop\nallow in udp to port 53\n")
    disguise = bytes(udp(4000, 53, length=16))
    header = options_header(DEST_OPTIONS, bytes(6) + disguise, length=0)
    assert path.ingress(eth(ipv6(V6.them, V6.us, udp(4000, 22), ext=[header]))).reason == "rule_allow"
    assert ports(path) == [53, 4000]


def test_reserved_byte_of_a_fragment_header_is_no_length(path: PacketPath) -> None:
    """RFC 8200 section 4.5: reserved, ignored on reception."""
    path.policy(OPEN)
    atomic = fragment_header(5)
    odd = Layer(atomic[:1] + b"\xff" + atomic[2:], atomic.number)
    assert path.ingress(eth(ipv6(V6.them, V6.us, udp(4000, 22), ext=[odd]))).reason == "rule_allow"
    assert ports(path) == [22, 4000]


@FAMILIES
@pytest.mark.parametrize(
    ("payload", "proto"),
    [(gre(bytes(20), ethertype=0x0800), GRE), (esp(0x1234), ESP), (Layer(bytes(24), OSPF), OSPF)],
    ids=["gre", "esp", "ospf"],
)
def test_protocols_without_ports_are_told_by_their_addresses(
    path: PacketPath, ends: Ends, payload: Layer, proto: int
) -> None:
    path.policy(f"default in drop\ndefault out drop\nallow in proto {proto} from {ends.them}\n")
    assert path.egress(ends.leaving(payload)).reason == "default_drop"
    assert path.ingress(ends.arriving(payload)).reason == "rule_allow"
    _, key, _ = path.the_flow()
    assert (key.proto, key.lo_port, key.hi_port) == (proto, 0, 0)
    assert path.egress(ends.leaving(payload)).reason == "flow"
    assert path.ingress(eth(ip(ends.below, ends.us, payload))).reason == "default_drop"
    assert path.ingress(ends.arriving(payload)).reason == "flow"
    assert path.the_flow()[0] == "flows"


def test_authentication_header_is_a_protocol(path: PacketPath) -> None:
    """What it protects is not looked at: a rule for AH trusts the ends."""
    path.policy("default in drop\nallow in tcp to port 22\nallow in ah from 2001:db8:9::7\n")
    packet = ipv6(V6.them, V6.us, tcp(4000, 23), ext=[ah(0x99)])
    assert path.ingress(eth(packet)).reason == "rule_allow"
    packet = ipv6(V6.below, V6.us, tcp(4000, 22), ext=[ah(0x99)])
    assert path.ingress(eth(packet)).reason == "default_drop"


def test_no_next_header(path: PacketPath) -> None:
    path.policy("default in drop\n")
    assert path.ingress(eth(ipv6(V6.them, V6.us, bytes(8), proto=NO_NEXT))).reason == "default_drop"


def test_icmp_of_the_other_family_is_not_icmp(path: PacketPath) -> None:
    path.policy("default in drop\nallow in icmp, icmp6\n")
    assert path.ingress(eth(ipv6(V6.them, V6.us, bytes(icmp()), proto=ICMP))).reason == "default_drop"
    assert path.ingress(eth(ipv4(V4.them, V4.us, bytes(icmp()), proto=ICMP6))).reason == "default_drop"


@FAMILIES
def test_key_has_the_lower_end_first(path: PacketPath, ends: Ends) -> None:
    """Addresses and ports are ordered as units, whoever opens."""
    path.policy("default in allow\n")
    for them, low in ((ends.below, ends.below), (ends.them, ends.us)):
        path.maps["embryonic"].delete_batch(list(path.maps["embryonic"].keys()))
        path.ingress(eth(ip(them, ends.us, udp(60000, 22))))
        _, key, flow = path.the_flow()
        assert key.lo.endswith(ipaddress.ip_address(low).packed)
        assert key.lo_port == (22 if low == ends.us else 60000)
        assert bool(flow.flags & abi.FlowFlags.FLOW_OPENER_HI) == (low == ends.us)
