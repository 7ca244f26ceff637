# SPDX-License-Identifier: MIT
"""Packets built by hand, byte by byte, with right checksums unless a test asks for wrong ones.

Every builder returns a `Layer`: bytes that know by which number the layer beneath names them (an
ethertype, an IP protocol) and where their checksum goes. So layers nest as they do on the wire:

    eth(ipv4("192.0.2.1", "198.51.100.7", tcp(40000, 443, "S", options=mss(1460))))
    eth(vlan(10, ipv6("2001:db8::1", "2001:db8::2", udp(5353, 53, b"query"))))
    ipv4("192.0.2.9", "192.0.2.1", icmp_error(quoting=first_packet, code=3))

Fields that a header computes for itself (lengths, checksums, header sizes) can be given, to lie.
`tests/dissect.py` reads packets back.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import Self

ETH_IPV4, ETH_IPV6, ETH_ARP = 0x0800, 0x86DD, 0x0806
ETH_8021Q, ETH_8021AD = 0x8100, 0x88A8

ICMP, IGMP, TCP, UDP, GRE, ESP, AH, ICMP6, SCTP = 1, 2, 6, 17, 47, 50, 51, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT, DEST_OPTIONS = 0, 43, 44, 59, 60

TCP_FLAGS = "FSRPAUEC"
"""Letters of the TCP flags, from bit 0 (RFC 9293 section 3.1)."""

MAC_A, MAC_B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"

Address = str | ipaddress.IPv4Address | ipaddress.IPv6Address


class Layer(bytes):
    """Bytes of one layer and all above it.

    number: ethertype or IP protocol that the layer beneath writes for it; None where it has none.
    sum_at: offset of a checksum that covers the IP pseudo-header and so is filled in by the IP builder.
    """

    number: int | None
    sum_at: int | None

    def __new__(cls, data: bytes, number: int | None, sum_at: int | None = None) -> Self:
        layer = super().__new__(cls, data)
        layer.number = number
        layer.sum_at = sum_at
        return layer


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of `data`, whose own checksum field is zero."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _number(layer: bytes, given: int | None, what: str) -> int:
    if given is not None:
        return given
    if isinstance(layer, Layer) and layer.number is not None:
        return layer.number
    raise ValueError(f"bare bytes above need {what}=")


# Link layer


def eth(
    payload: bytes, *, src: str = MAC_A, dst: str = MAC_B, ethertype: int | None = None, pad: bool = False
) -> Layer:
    """An Ethernet frame without FCS; `pad` fills it to the 60 bytes that a wire asks for."""
    frame = mac(dst) + mac(src) + struct.pack("!H", _number(payload, ethertype, "ethertype")) + payload
    return Layer(frame.ljust(60, b"\0") if pad else frame, None)


def vlan(
    vid: int, payload: bytes, *, pcp: int = 0, tpid: int = ETH_8021Q, ethertype: int | None = None
) -> Layer:
    """A tag in the frame (IEEE 802.1Q; `tpid=ETH_8021AD` for a service tag)."""
    tag = struct.pack("!HH", pcp << 13 | vid, _number(payload, ethertype, "ethertype"))
    return Layer(tag + payload, tpid)


def arp(op: int, sender: tuple[str, str], target: tuple[str, str]) -> Layer:
    """ARP for IPv4 over Ethernet (RFC 826); each end is (MAC, address). op: 1 request, 2 reply."""
    body = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, op)
    for hardware, address in (sender, target):
        body += mac(hardware) + ipaddress.IPv4Address(address).packed
    return Layer(body, ETH_ARP)


# Network layer


def _summed(payload: bytes, pseudo_header: bytes) -> bytes:
    """`payload` with its checksum filled in, if it has one that covers the pseudo-header."""
    at = payload.sum_at if isinstance(payload, Layer) else None
    if at is None:
        return payload
    value = checksum(pseudo_header + payload)
    if value == 0 and isinstance(payload, Layer) and payload.number == UDP:
        value = 0xFFFF  # RFC 768: zero on the wire means "none"
    return payload[:at] + struct.pack("!H", value) + payload[at + 2 :]


def ipv4(
    src: Address,
    dst: Address,
    payload: bytes = b"",
    *,
    proto: int | None = None,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 0,
    df: bool = False,
    mf: bool = False,
    frag_offset: int = 0,
    options: bytes = b"",
    version: int = 4,
    ihl: int | None = None,
    total_length: int | None = None,
    header_checksum: int | None = None,
) -> Layer:
    """An IPv4 packet (RFC 791). `frag_offset` in bytes, a multiple of 8; `options` padded to words."""
    source, target = ipaddress.IPv4Address(src).packed, ipaddress.IPv4Address(dst).packed
    number = _number(payload, proto, "proto")
    body = _summed(payload, source + target + struct.pack("!BBH", 0, number, len(payload)))
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if ihl is None else ihl
    length = 20 + len(options) + len(body) if total_length is None else total_length
    fragment = df << 14 | mf << 13 | frag_offset // 8
    start = struct.pack("!BBHHHBB", version << 4 | words, tos, length, ident, fragment, ttl, number)
    total = checksum(start + b"\0\0" + source + target + options)
    total = total if header_checksum is None else header_checksum
    return Layer(start + struct.pack("!H", total) + source + target + options + body, ETH_IPV4)


def ipv6(
    src: Address,
    dst: Address,
    payload: bytes = b"",
    *,
    proto: int | None = None,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
    ext: Sequence[Layer] = (),
    version: int = 6,
    payload_length: int | None = None,
) -> Layer:
    """An IPv6 packet (RFC 8200); `ext`: extension headers in wire order, their next-header fields filled."""
    source, target = ipaddress.IPv6Address(src).packed, ipaddress.IPv6Address(dst).packed
    number = _number(payload, proto, "proto")
    body = _summed(payload, source + target + struct.pack("!II", len(payload), number))
    following = number
    for header in reversed(ext):
        body = struct.pack("!B", following) + header[1:] + body
        following = _number(header, None, "number")
    length = len(body) if payload_length is None else payload_length
    word = version << 28 | traffic_class << 20 | flow_label
    return Layer(struct.pack("!IHBB", word, length, following, hop_limit) + source + target + body, ETH_IPV6)


def options_header(number: int, options: bytes = b"", *, length: int | None = None) -> Layer:
    """A hop-by-hop or destination options header for `ipv6(ext=)`, padded; `length` in units of 8, less 1."""
    options += b"\0" * (-(len(options) + 2) % 8)
    units = (len(options) + 2) // 8 - 1 if length is None else length
    return Layer(struct.pack("!BB", 0, units) + options, number)


def routing_header(kind: int = 4, segments_left: int = 0, data: bytes = b"\0" * 4) -> Layer:
    """A routing header for `ipv6(ext=)`; `data` such that the header is a multiple of 8 bytes."""
    return Layer(struct.pack("!BBBB", 0, (4 + len(data)) // 8 - 1, kind, segments_left) + data, ROUTING)


def fragment_header(ident: int, *, offset: int = 0, more: bool = False) -> Layer:
    """A fragment header for `ipv6(ext=)`; `offset` in bytes, a multiple of 8."""
    return Layer(struct.pack("!BBHI", 0, 0, offset | more, ident), FRAGMENT)


def ah(spi: int, sequence: int = 1, icv: bytes = b"\0" * 12) -> Layer:
    """An authentication header (RFC 4302), for `ipv6(ext=)` or before another payload."""
    words = (12 + len(icv)) // 4 - 2
    return Layer(struct.pack("!BBHII", 0, words, 0, spi, sequence) + icv, AH)


def fragments(packet: Layer, size: int, ident: int = 0x1234) -> list[Layer]:
    """`packet`, without options or extension headers, cut at each `size` payload bytes, a multiple of 8."""
    is_v4 = packet[0] >> 4 == 4
    body = packet[20 if is_v4 else 40 :]
    cut = []
    for offset in range(0, len(body), size):
        piece, more = bytes(body[offset : offset + size]), offset + size < len(body)
        if is_v4:
            src, dst = ipaddress.IPv4Address(packet[12:16]), ipaddress.IPv4Address(packet[16:20])
            cut.append(ipv4(src, dst, piece, proto=packet[9], ident=ident, mf=more, frag_offset=offset))
        else:
            src6, dst6 = ipaddress.IPv6Address(packet[8:24]), ipaddress.IPv6Address(packet[24:40])
            header = fragment_header(ident, offset=offset, more=more)
            cut.append(ipv6(src6, dst6, piece, proto=packet[6], ext=[header]))
    return cut


def ip(src: str, dst: str, payload: bytes = b"", **fields: int) -> Layer:
    """`ipv4` or `ipv6`, by the addresses; for tests that run on both families."""
    build = ipv6 if ":" in src else ipv4
    return build(src, dst, payload, **fields)  # type: ignore[arg-type]


# Transport layer


def tcp(
    sport: int,
    dport: int,
    flags: str = "S",
    payload: bytes = b"",
    *,
    seq: int = 0,
    ack: int = 0,
    window: int = 65535,
    options: bytes = b"",
    urgent: int = 0,
    data_offset: int | None = None,
) -> Layer:
    """A TCP segment (RFC 9293); `flags` are letters of TCP_FLAGS, `options` are padded to words with EOL."""
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if data_offset is None else data_offset
    bits = sum(1 << TCP_FLAGS.index(letter) for letter in flags)
    seq, ack = seq % 2**32, ack % 2**32
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, words << 4, bits, window, 0, urgent)
    return Layer(head + options + payload, TCP, sum_at=16)


NOP = b"\x01"
SACK_PERMITTED = b"\x04\x02"


def mss(value: int) -> bytes:
    return struct.pack("!BBH", 2, 4, value)


def wscale(shift: int) -> bytes:
    return struct.pack("!BBB", 3, 3, shift)


def sack(*blocks: tuple[int, int]) -> bytes:
    return struct.pack("!BB", 5, 2 + 8 * len(blocks)) + b"".join(struct.pack("!II", *b) for b in blocks)


def timestamps(value: int, echo: int) -> bytes:
    return struct.pack("!BBII", 8, 10, value, echo)


def udp(
    sport: int, dport: int, payload: bytes = b"", *, length: int | None = None, summed: bool = True
) -> Layer:
    """A UDP datagram (RFC 768); `summed=False` leaves the checksum zero: none."""
    size = 8 + len(payload) if length is None else length
    head = struct.pack("!HHHH", sport, dport, size, 0)
    return Layer(head + payload, UDP, sum_at=6 if summed else None)


def sctp(sport: int, dport: int, *chunks: bytes, tag: int = 0) -> Layer:
    """An SCTP common header (RFC 9260) and chunks, of `tests.chunks`: an INIT unless others are given.

    Its CRC-32c is left zero.
    """
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1111, 0xFFFF, 10, 10, 1)
    return Layer(struct.pack("!HHII", sport, dport, tag, 0) + (b"".join(chunks) or init), SCTP)


def gre(payload: bytes, key: int | None = None, *, ethertype: int | None = None, flags: int = 0) -> Layer:
    """A GRE header (RFC 2784), with a key (RFC 2890) if one is given, and zeros for what other flags promise."""
    head = struct.pack(
        "!HH", flags | (0 if key is None else 0x2000), _number(payload, ethertype, "ethertype")
    )
    words = [0] * bool(flags & 0x8000) + ([] if key is None else [key]) + [0] * bool(flags & 0x1000)
    return Layer(head + struct.pack(f"!{len(words)}I", *words) + payload, GRE)


def pptp(call: int, payload: bytes = bytes(8), *, flags: int = 0x3001, protocol: int = 0x880B) -> Layer:
    """A PPP frame of the call in an enhanced GRE header (RFC 2637 section 4.1), with a sequence number."""
    return Layer(struct.pack("!HHHHI", flags, protocol, len(payload), call, 1) + payload, GRE)


def esp(spi: int, sequence: int = 1, payload: bytes = b"\0" * 16) -> Layer:
    return Layer(struct.pack("!II", spi, sequence) + payload, ESP)


# ICMP


def icmp(
    kind: int = 8,
    code: int = 0,
    payload: bytes = b"",
    *,
    ident: int = 0,
    seq: int = 0,
    rest: int | None = None,
) -> Layer:
    """An ICMP message (RFC 792): by default an echo request. `rest` replaces the word of id and sequence."""
    word = ident << 16 | seq if rest is None else rest
    body = struct.pack("!BBHI", kind, code, 0, word) + payload
    return Layer(body[:2] + struct.pack("!H", checksum(body)) + body[4:], ICMP)


def icmp6(
    kind: int = 128,
    code: int = 0,
    payload: bytes = b"",
    *,
    ident: int = 0,
    seq: int = 0,
    rest: int | None = None,
) -> Layer:
    """An ICMPv6 message (RFC 4443): by default an echo request."""
    word = ident << 16 | seq if rest is None else rest
    return Layer(struct.pack("!BBHI", kind, code, 0, word) + payload, ICMP6, sum_at=2)


def icmp_error(
    quoting: bytes, kind: int | None = None, code: int = 0, *, rest: int = 0, quote_bytes: int | None = None
) -> Layer:
    """An ICMP or ICMPv6 error about `quoting`, an IP packet: by default destination unreachable.

    It quotes the IPv4 header and 8 bytes (RFC 792), or as much IPv6 as keeps the error within 1,280
    bytes (RFC 4443 section 2.4), unless `quote_bytes` says otherwise.
    """
    if quoting[0] >> 4 == 4:
        quoted = quoting[: (quoting[0] & 15) * 4 + 8 if quote_bytes is None else quote_bytes]
        return icmp(3 if kind is None else kind, code, quoted, rest=rest)
    quoted = quoting[: 1280 - 48 if quote_bytes is None else quote_bytes]
    return icmp6(1 if kind is None else kind, code, quoted, rest=rest)
