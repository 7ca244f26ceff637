# SPDX-License-Identifier: MIT
"""The packet builders against a reader of their own and against packets recorded from a real kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import dissect
from tests import packets as p

PAIRS = [("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "2001:db8:7::7")]
both_families = pytest.mark.parametrize(("src", "dst"), PAIRS, ids=["ipv4", "ipv6"])


def test_checksum_of_the_example_in_rfc_1071() -> None:
    assert p.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D


def test_pings_as_linux_sends_them() -> None:
    """`ping -c1 -s 8 -p 00` to 127.0.0.1 and ::1, recorded on Linux 6.18."""
    recorded = bytes.fromhex("4500002429254000400113b27f0000017f0000010800d0c9273500010000000000000000")
    echo = p.icmp(payload=b"\0" * 8, ident=0x2735, seq=1)
    assert p.ipv4("127.0.0.1", "127.0.0.1", echo, ident=0x2925, df=True) == recorded
    recorded = bytes.fromhex(
        "6000a1da00103a400000000000000000000000000000000100000000000000000000000000000001"
        "80005878273a00010000000000000000"
    )
    echo = p.icmp6(payload=b"\0" * 8, ident=0x273A, seq=1)
    assert p.ipv6("::1", "::1", echo, flow_label=0xA1DA) == recorded


@both_families
def test_tcp_reads_back(src: str, dst: str) -> None:
    built = p.eth(
        p.vlan(7, p.ip(src, dst, p.tcp(1234, 80, "SA", b"odd", seq=2**32 + 5, ack=9, options=p.mss(1400))))
    )
    seen = dissect.frame(built)
    assert (seen.src, seen.dst, seen.sport, seen.dport, seen.flags) == (src, dst, 1234, 80, "SA")
    assert (seen.seq, seen.ack, seen.payload, seen.tags, seen.sums_right) == (5, 9, b"odd", (7,), True)
    assert (seen.src_mac, seen.dst_mac) == (p.MAC_A, p.MAC_B)


@both_families
@given(payload=st.binary(max_size=300), sport=st.integers(0, 65535), ttl=st.integers(0, 255))
def test_udp_checksums_are_right_whatever_the_payload(
    src: str, dst: str, payload: bytes, sport: int, ttl: int
) -> None:
    fields = {"hop_limit" if ":" in src else "ttl": ttl}
    seen = dissect.packet(p.ip(src, dst, p.udp(sport, 53, payload), **fields))
    assert seen.sums_right and seen.payload == payload and seen.ttl == ttl


@both_families
def test_one_changed_bit_is_noticed(src: str, dst: str) -> None:
    built = bytearray(p.ip(src, dst, p.tcp(1, 2, "A", b"payload")))
    built[-1] ^= 1
    assert dissect.packet(bytes(built)).sums_right is False


def test_a_udp_checksum_of_zero_is_sent_as_all_ones() -> None:
    for filler in range(0x10000):
        built = p.ipv4("10.0.0.1", "10.0.0.2", p.udp(1, 2, filler.to_bytes(2, "big")))
        assert built[26:28] != b"\0\0"


@both_families
def test_an_icmp_error_quotes_the_packet(src: str, dst: str) -> None:
    first = p.ip(src, dst, p.tcp(1234, 80, "S", b"x" * 1400, seq=77))
    error = p.ip(dst, src, p.icmp_error(quoting=first, code=1))
    seen = dissect.packet(error)
    assert seen.is_icmp_error and seen.quoted is not None and seen.sums_right
    assert len(error) == (56 if seen.ethertype == p.ETH_IPV4 else 1280)
    assert (seen.quoted.src, seen.quoted.sport, seen.quoted.dport, seen.quoted.seq) == (src, 1234, 80, 77)


@both_families
def test_fragments_put_together_again(src: str, dst: str) -> None:
    whole = p.ip(src, dst, p.udp(9, 10, bytes(range(256)) * 4))
    seen = [dissect.packet(piece) for piece in p.fragments(whole, 400)]
    assert [(s.frag_offset, s.more_fragments) for s in seen] == [(0, True), (400, True), (800, False)]
    assert seen[0].dport == 10 and seen[1].dport is None
    header = 20 if seen[0].ethertype == p.ETH_IPV4 else 40
    assert whole[header:] == whole[header : header + 8] + b"".join(s.payload for s in seen)


def test_extension_headers_chain_to_the_transport() -> None:
    chain = [
        p.options_header(p.HOP_BY_HOP, b"\x05\x02\0\0"),
        p.routing_header(),
        p.ah(7),
        p.options_header(60),
    ]
    seen = dissect.packet(p.ipv6("::1", "::2", p.tcp(5, 6), ext=chain))
    assert (seen.proto, seen.sport, seen.l4, seen.sums_right) == (p.TCP, 5, 40 + 8 + 8 + 24 + 8, True)


def test_headers_can_lie() -> None:
    assert p.ipv4("1.1.1.1", "2.2.2.2", p.tcp(1, 2), ihl=15)[0] == 0x4F
    assert p.ipv4("1.1.1.1", "2.2.2.2", p.udp(1, 2), header_checksum=1)[10:12] == b"\0\1"
    with pytest.raises(dissect.Malformed):
        dissect.packet(p.ipv4("1.1.1.1", "2.2.2.2", p.tcp(1, 2), total_length=400))
    with pytest.raises(dissect.Malformed):
        dissect.packet(p.ipv6("::1", "::2", p.tcp(1, 2, data_offset=15)))
    with pytest.raises(dissect.Malformed):
        dissect.packet(p.ipv6("::1", "::2", p.tcp(1, 2))[:50])


def test_what_nests_knows_its_number() -> None:
    assert dissect.frame(p.eth(p.arp(1, (p.MAC_A, "10.0.0.1"), (p.MAC_B, "10.0.0.2")))).ethertype == p.ETH_ARP
    tunnel = p.ipv4("1.1.1.1", "2.2.2.2", p.gre(p.ipv4("3.3.3.3", "4.4.4.4", p.sctp(1, 2)), key=9))
    assert tunnel[9] == p.GRE and tunnel[20:24] == b"\x20\0\x08\0"
    with pytest.raises(ValueError, match="ethertype="):
        p.eth(b"bare bytes")
