# SPDX-License-Identifier: MIT
"""A strict reader of frames, written from the RFCs alone: what a packet is, or why it is none.

It is stricter than `tests/dissect.py`, which only reads, and says of each frame whether a firewall may believe it.
Checksums are not looked at: ends verify them.
"""

from __future__ import annotations

from typing import NamedTuple

ETH_IPV4, ETH_IPV6, TAGS = 0x0800, 0x86DD, (0x8100, 0x88A8)
TAGS_MAX, EXTENSIONS_MAX, OPTIONS_MAX, CHUNKS_MAX = 2, 8, 32, 16
ICMP, TCP, UDP, GRE, ESP, AH, ICMP6, SCTP = 1, 6, 17, 47, 50, 51, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, DEST_OPTIONS = 0, 43, 44, 60
ICMP_ERRORS = (3, 4, 5, 11, 12)
# flags but for PSH, ECE and CWR: FIN 1, SYN 2, RST 4, ACK 16, URG 32
TCP_FLAGS = {0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30}


class Lie(ValueError):
    """The frame is not what its own bytes say."""


class Reading(NamedTuple):
    """An honest frame. `family` is 0 if it is not IP; ports are 0 where there are none, or not in this fragment.

    `key` is of GRE.
    """

    family: int
    src: bytes = b""
    dst: bytes = b""
    proto: int = 0
    sport: int = 0
    dport: int = 0
    later: bool = False
    is_error: bool = False
    key: int = 0


def read(frame: bytes) -> Reading:
    """Read an Ethernet frame. Raises Lie."""
    _demand(len(frame) >= 14, "no Ethernet header")
    at, ethertype = 14, _net16(frame, 12)
    for _ in range(TAGS_MAX):
        if ethertype in TAGS:
            _demand(len(frame) >= at + 4, "tag cut short")
            at, ethertype = at + 4, _net16(frame, at + 2)
    _demand(ethertype not in TAGS, "too many tags")
    if ethertype == ETH_IPV4:
        return _ipv4(frame[at:])
    if ethertype == ETH_IPV6:
        return _ipv6(frame[at:])
    _demand(ethertype >= 1536 or len(frame) >= at + 2, "802.2 header cut short")
    return Reading(0)


def _ipv4(data: bytes) -> Reading:
    """RFC 791 section 3.1."""
    _demand(len(data) >= 20, "IPv4 header cut short")
    _demand(data[0] >> 4 == 4, "not IPv4")
    header, total = (data[0] & 15) * 4, _net16(data, 2)
    _demand(20 <= header <= total <= len(data), "IPv4 lengths")
    _options4(data[20:header])
    word = _net16(data, 6)
    later, first = word & 0x1FFF > 0, word & 0x3FFF == 0x2000
    if later or first:
        _fragment(header, (word & 0x1FFF) * 8, total - header, bool(word & 0x2000))
    return _transport(data[header:total], 4, data[9], data[12:16], data[16:20], later, first)


def _ipv6(data: bytes) -> Reading:
    """RFC 8200 sections 3 and 4."""
    _demand(len(data) >= 40, "IPv6 header cut short")
    _demand(data[0] >> 4 == 6, "not IPv6")
    length, proto = _net16(data, 4), data[6]
    _demand(40 + length <= len(data), "IPv6 length")
    body, first, later, headers = data[40 : 40 + length], False, False, 0
    authenticated = b""
    fragment_headers = 0
    while proto in (HOP_BY_HOP, ROUTING, FRAGMENT, DEST_OPTIONS, AH) and not later:
        _demand(proto != HOP_BY_HOP or not headers, "hop-by-hop options that are not the first")
        headers += 1
        _demand(headers <= EXTENSIONS_MAX, "too many extension headers")
        _demand(len(body) >= 8, "extension header cut short")
        size = 8 if proto == FRAGMENT else (body[1] + 2) * 4 if proto == AH else (body[1] + 1) * 8
        _demand(size <= len(body), "extension header longer than its packet")
        _demand(proto != AH or size >= 12, "AH shorter than its fields")
        _demand(proto != ROUTING or body[2] > 0, "routing header of type 0")
        if proto in (HOP_BY_HOP, DEST_OPTIONS):
            _options6(body[2:size], proto == HOP_BY_HOP)
        if proto == AH:
            authenticated = authenticated or body
        if proto == FRAGMENT:
            _demand(not authenticated, "fragment header behind AH")
            fragment_headers += 1
            _demand(fragment_headers == 1, "two fragment headers")
            word = _net16(body, 2)
            later = word >> 3 > 0
            first = first or (not later and word & 1 == 1)
            if later or first:
                _fragment(length - len(body), word & ~7, len(body) - 8, bool(word & 1))
        proto, body = body[0], body[size:]
    _demand(bool(body) or not first, "first fragment without a transport header")
    if authenticated:
        proto, body = AH, authenticated
    return _transport(body, 6, proto, data[8:24], data[24:40], later, first)


def _fragment(around: int, offset: int, size: int, more: bool) -> None:
    """RFC 791 section 3.2, RFC 8200 section 4.5; `around` are the bytes of the packet that are not cut."""
    _demand(size > 0 and not (more and size % 8), "fragment length")
    _demand(around + offset + size <= 65535, "fragment beyond 64 KiB")


def _options4(data: bytes) -> None:
    """RFC 791 section 3.1; the sender's own choice of a route is none."""
    while data and data[0] != 0:
        _demand(data[0] not in (131, 137), "source route")
        size = 1 if data[0] == 1 else data[1] if len(data) > 1 else 0
        _demand(1 <= size <= len(data) and (size > 1 or data[0] == 1), "IPv4 option length")
        data = data[size:]


def _options6(data: bytes, hop_by_hop: bool) -> None:
    """RFC 8200 section 4.2; the frames here are never segments of a jumbogram (RFC 2675)."""
    for _ in range(OPTIONS_MAX):
        if not data:
            return
        size = 1 if data[0] == 0 else 2 + data[1] if len(data) > 1 else 256
        _demand(size <= len(data), "IPv6 option length")
        _demand(not (hop_by_hop and data[0] == 0xC2), "jumbogram")
        data = data[size:]
    _demand(not data, "too many options")


def _transport(
    body: bytes, family: int, proto: int, src: bytes, dst: bytes, later: bool, first: bool
) -> Reading:
    plain = Reading(family, src, dst, proto, later=later)
    if later:
        return plain
    if proto == TCP:
        _tcp(body)
    elif proto == UDP:
        _udp(body, first)
    elif proto == SCTP:
        _sctp(body, first)
    elif proto == GRE:
        return plain._replace(key=_gre(body))
    elif proto in (ESP, AH):
        _ipsec(body, proto)
        return plain
    elif proto == (ICMP if family == 4 else ICMP6):
        return _icmp(body, plain)
    else:
        return plain
    return plain._replace(sport=_net16(body, 0), dport=_net16(body, 2))


def _tcp(body: bytes) -> None:
    """RFC 9293 section 3.1."""
    _demand(len(body) >= 20, "TCP header cut short")
    _demand(20 <= (body[12] >> 4) * 4 <= len(body), "TCP data offset")
    _demand(body[13] & 0x37 in TCP_FLAGS, "TCP flags")


def _udp(body: bytes, first: bool) -> None:
    """RFC 768. A first fragment tells the length of the whole."""
    _demand(len(body) >= 8, "UDP header cut short")
    length = _net16(body, 4)
    _demand(length >= 8 and (first or length <= len(body)), "UDP length")


def _sctp(body: bytes, first: bool) -> None:
    """RFC 9260 sections 3, 6.10 and 8.5. A first fragment may end within a chunk."""
    _demand(len(body) >= 16, "SCTP header cut short")
    kinds: list[int] = []
    chunks = body[12:]
    while len(chunks) >= 4 and len(kinds) < CHUNKS_MAX and 0 not in kinds:
        kind, length = chunks[0], _net16(chunks, 2)
        _demand(length >= 4 and (first or length <= len(chunks)), "chunk length")
        kinds.append(kind)
        if kind in (1, 2):
            _demand(length >= 20 <= len(chunks), "INIT cut short")
            _demand(any(chunks[4:8]), "an INIT must choose a tag")
        chunks = chunks[length + -length % 4 :]
    _demand(len(kinds) == 1 or not {1, 2, 14} & set(kinds), "a chunk that must be alone")
    _demand(any(body[4:8]) != (1 in kinds), "only INIT has no tag")


def _gre(body: bytes) -> int:
    """RFC 2784 section 2, RFC 2890 section 2, RFC 2637 section 4.1; the key."""
    _demand(len(body) >= 4, "GRE header cut short")
    flags, version = _net16(body, 0), body[1] & 7
    checksum, key, sequence, ack = (bool(flags & bit) for bit in (0x8000, 0x2000, 0x1000, 0x80))
    if version == 1:
        _demand(not flags & 0xCF78 and key and _net16(body, 2) == 0x880B, "enhanced GRE")
        _demand(len(body) >= 8 + 4 * sequence + 4 * ack, "enhanced GRE cut short")
        return 0
    _demand(version == 0 and not flags & 0x4C00, "GRE flags")
    _demand(len(body) >= 4 + 4 * (checksum + key + sequence), "GRE header cut short")
    at = 4 + 4 * checksum
    return int.from_bytes(body[at : at + 4], "big") if key else 0


def _ipsec(body: bytes, proto: int) -> None:
    """RFC 4303 section 2, RFC 4302 section 2."""
    _demand(len(body) >= 8, "SPI cut short")
    if proto == AH:
        _demand(body[1] >= 1 and (body[1] + 2) * 4 <= len(body), "AH length")
    _demand(any(body[4:8] if proto == AH else body[:4]), "no SPI")


def _icmp(body: bytes, plain: Reading) -> Reading:
    """RFC 792, RFC 4443 section 2.1: an error has in it what it is about."""
    _demand(len(body) >= 8, "ICMP header cut short")
    is_error = body[0] in ICMP_ERRORS if plain.family == 4 else body[0] < 128
    if is_error:
        _quote(body[8:], plain.family)
    return plain._replace(is_error=is_error)


def _quote(data: bytes, family: int) -> None:
    header = 20 if family == 4 else 40
    _demand(len(data) >= header, "quoted header cut short")
    _demand(data[0] >> 4 == family, "quote of another family")
    if family == 4:
        header = (data[0] & 15) * 4
        _demand(header >= 20, "quoted header length")
    _demand(len(data) >= header + 8, "quote cut short")


def _net16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Lie(otherwise)
