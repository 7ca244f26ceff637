# SPDX-License-Identifier: MIT
"""Reads packets back: what a sniffer caught, or what a program made of a packet.

Written apart from the builders (`tests/packets.py`), so that neither vouches for the other.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from tests.packets import AH, DEST_OPTIONS, FRAGMENT, HOP_BY_HOP, ICMP, ICMP6, ROUTING, TCP, TCP_FLAGS, UDP

TAGS = (0x8100, 0x88A8)


class Malformed(ValueError):
    """The bytes are not the packet that their own headers tell of."""


@dataclass(frozen=True)
class Packet:
    """What the headers of one packet say. Fields that it does not have are None.

    src_mac, dst_mac, tags: of the Ethernet frame, outermost tag first, offloaded ones are not seen.
    l3, l4: offsets in bytes of the network and the transport header; payload: all after the transport header.
    frag_offset: bytes. flags: letters in the order of TCP_FLAGS. sums_right: each checksum present is right
    (None for fragments and cut packets, where it cannot be told).
    quoted: the packet that an ICMP error quotes, as far as it goes.
    """

    length: int
    ethertype: int
    l3: int
    src_mac: str | None = None
    dst_mac: str | None = None
    tags: tuple[int, ...] = ()
    src: str | None = None
    dst: str | None = None
    ttl: int | None = None
    proto: int | None = None
    frag_offset: int = 0
    more_fragments: bool = False
    l4: int | None = None
    sport: int | None = None
    dport: int | None = None
    flags: str = ""
    seq: int | None = None
    ack: int | None = None
    window: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None
    payload: bytes = b""
    sums_right: bool | None = None
    quoted: Packet | None = None

    @property
    def is_icmp_error(self) -> bool:
        return self.quoted is not None


def frame(data: bytes) -> Packet:
    """Dissect an Ethernet frame."""
    if len(data) < 14:
        raise Malformed("shorter than an Ethernet header")
    macs = [":".join(f"{byte:02x}" for byte in data[at : at + 6]) for at in (0, 6)]
    tags: list[int] = []
    at, ethertype = 14, int.from_bytes(data[12:14], "big")
    while ethertype in TAGS:
        tci, ethertype = struct.unpack_from("!HH", data, at)
        tags.append(tci & 0xFFF)
        at += 4
    return _network(data, at, ethertype, {"src_mac": macs[1], "dst_mac": macs[0], "tags": tuple(tags)})


def packet(data: bytes, *, quoted: bool = False) -> Packet:
    """Dissect an IP packet; `quoted`: it may be cut short, as in an ICMP error."""
    ethertype = {4: 0x0800, 6: 0x86DD}.get(data[0] >> 4 if data else 0)
    if ethertype is None:
        raise Malformed("neither IPv4 nor IPv6")
    return _network(data, 0, ethertype, {}, quoted=quoted)


Fields = dict[str, object]


def _network(data: bytes, at: int, ethertype: int, link: Fields, *, quoted: bool = False) -> Packet:
    fields: Fields = {"length": len(data), "ethertype": ethertype, "l3": at, **link}
    try:
        if ethertype == 0x0800:
            _ipv4(data, at, fields, quoted)
        elif ethertype == 0x86DD:
            _ipv6(data, at, fields, quoted)
        else:
            fields["payload"] = data[at:]
    except (struct.error, IndexError) as error:
        if not quoted:
            raise Malformed(f"cut short: {error}") from None
    return Packet(**fields)  # type: ignore[arg-type]


def _ones_sum(data: bytes) -> int:
    """The sum that is 0xFFFF over data whose checksum is right (RFC 1071), one word after the other."""
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | (data[at + 1] if at + 1 < len(data) else 0)
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _ipv4(data: bytes, at: int, fields: Fields, quoted: bool) -> None:
    ihl = (data[at] & 15) * 4
    length, _ident, fragment, ttl, proto = struct.unpack_from("!HHHBB", data, at + 2)
    fields["src"], fields["dst"] = (str(ipaddress.IPv4Address(data[at + i : at + i + 4])) for i in (12, 16))
    fields.update(
        ttl=ttl, proto=proto, frag_offset=(fragment & 0x1FFF) * 8, more_fragments=bool(fragment & 0x2000)
    )
    if ihl < 20 or (not quoted and (length < ihl or at + length > len(data))):
        raise Malformed("IPv4 lengths do not fit")
    header_right = _ones_sum(data[at : at + ihl]) == 0xFFFF
    pseudo = data[at + 12 : at + 20] + struct.pack("!BBH", 0, proto, length - ihl)
    _transport(data[: at + length], at + ihl, proto, pseudo, header_right, fields, quoted)


def _ipv6(data: bytes, at: int, fields: Fields, quoted: bool) -> None:
    length, proto, hop_limit = struct.unpack_from("!HBB", data, at + 4)
    fields["src"], fields["dst"] = (str(ipaddress.IPv6Address(data[at + i : at + i + 16])) for i in (8, 24))
    fields.update(ttl=hop_limit, proto=proto)
    if not quoted and at + 40 + length > len(data):
        raise Malformed("IPv6 length does not fit")
    end, l4 = at + 40 + length, at + 40
    while proto in (HOP_BY_HOP, ROUTING, FRAGMENT, DEST_OPTIONS, AH):
        following, units = data[l4], data[l4 + 1]
        if proto == FRAGMENT:
            word = int.from_bytes(data[l4 + 2 : l4 + 4], "big")
            fields.update(frag_offset=word & 0xFFF8, more_fragments=bool(word & 1))
        size = {FRAGMENT: 8, AH: (units + 2) * 4}.get(proto, (units + 1) * 8)
        proto, l4 = following, l4 + size
        if fields.get("frag_offset"):
            break
    fields["proto"] = proto
    pseudo = data[at + 8 : at + 40] + struct.pack("!II", end - l4, proto)
    _transport(data[:end], l4, proto, pseudo, True, fields, quoted)


def _transport(
    data: bytes, l4: int, proto: int, pseudo: bytes, header_right: bool, fields: Fields, quoted: bool
) -> None:
    fields["l4"] = l4
    if fields.get("frag_offset"):
        fields["payload"] = data[l4:]
        return
    body = data[l4:]
    covered, header = pseudo, len(body)
    if proto == TCP:
        header = _tcp(body, fields, quoted)
    elif proto == UDP:
        fields["sport"], fields["dport"], _length, total = struct.unpack_from("!HHHH", body)
        header = 8
        if total == 0:
            covered = b""
    elif proto in (ICMP, ICMP6):
        covered = pseudo if proto == ICMP6 else b""
        header = _icmp(body, proto, fields)
    else:
        covered, header = b"", 0
    fields["payload"] = body[header:]
    whole = not quoted and not fields.get("more_fragments")
    if whole:
        summed = proto in (TCP, ICMP, ICMP6) or (proto == UDP and bool(covered))
        fields["sums_right"] = header_right and (not summed or _ones_sum(covered + body) == 0xFFFF)


def _tcp(body: bytes, fields: Fields, quoted: bool) -> int:
    fields["sport"], fields["dport"], fields["seq"] = struct.unpack_from("!HHI", body)
    ack, offset, bits, window = struct.unpack_from("!IBBH", body, 8)
    letters = "".join(letter for bit, letter in enumerate(TCP_FLAGS) if bits >> bit & 1)
    fields.update(ack=ack, window=window, flags=letters)
    header = int(offset >> 4) * 4
    if not quoted and not 20 <= header <= len(body):
        raise Malformed("TCP data offset does not fit")
    return header


def _icmp(body: bytes, proto: int, fields: Fields) -> int:
    kind, code, _total, ident = struct.unpack_from("!BBHH", body)
    fields.update(icmp_type=kind, icmp_code=code)
    is_error = kind < 128 if proto == ICMP6 else kind in (3, 4, 5, 11, 12)
    if is_error and len(body) > 8:
        fields["quoted"] = packet(body[8:], quoted=True)
    else:
        fields["icmp_id"] = ident
    return 8
