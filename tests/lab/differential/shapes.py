# SPDX-License-Identifier: MIT
"""Packets in other shapes: cut into fragments, with IP options or extension headers, cut short, or very large."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.differential.talk import TCP, VNET, Ends, Packet, Segment, folded

HOP_BY_HOP, ROUTING, FRAGMENT, AH, DESTINATION = 0, 43, 44, 51, 60
_HEADERS = {
    HOP_BY_HOP: "hop-by-hop",
    ROUTING: "routing",
    FRAGMENT: "fragment",
    AH: "AH",
    DESTINATION: "destination",
}

# struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
_VNET = struct.Struct("=BBHHHH")
_NEEDS_CSUM, _GSO_TCP4, _GSO_TCP6 = 1, 1, 4
_LINK = 14
_MF = 0x2000


def with_ipv4(
    packet: bytes, *, fragment: int | None = None, options: bytes = b"", body: bytes = b""
) -> bytes:
    """An IPv4 header made from that of `packet`, with other contents."""
    head = bytearray(packet[:20])
    head[0] = 0x40 | 5 + len(options) // 4
    struct.pack_into("!H", head, 2, 20 + len(options) + len(body))
    if fragment is not None:
        struct.pack_into("!H", head, 6, fragment)
    head[10:12] = b"\0\0"
    head[10:12] = (0xFFFF - folded(bytes(head) + options)).to_bytes(2, "big")
    return bytes(head) + options + body


def with_ipv6(packet: bytes, next_header: int, body: bytes) -> bytes:
    """The IPv6 header of `packet` before another body."""
    return packet[:4] + struct.pack("!HB", len(body), next_header) + packet[7:40] + body


@dataclass(slots=True, kw_only=True)
class Pieces(Packet):
    """Another packet in fragments, sent in this order. Each is (start, end, whether more follow), in bytes."""

    inner: Packet
    pieces: tuple[tuple[int, int, bool], ...]

    def frames(self, ends: Ends, tag: int) -> list[bytes]:
        packet = self.inner.packet(ends, tag)
        return [ends.framed(self.side, self._piece(ends, packet, tag, *piece)) for piece in self.pieces]

    def _piece(self, ends: Ends, packet: bytes, tag: int, start: int, end: int, more: bool) -> bytes:
        if ends.family == 4:
            return with_ipv4(packet, fragment=start // 8 | (_MF if more else 0), body=packet[20:][start:end])
        header = struct.pack("!BBHI", packet[6], 0, start | more, tag)
        return with_ipv6(packet, FRAGMENT, header + packet[40:][start:end])

    def arrived(self, ends: Ends, frames: list[bytes]) -> bool:
        """Could whoever got these have put the packet together?"""
        got = sorted(_extent(frame[_LINK:]) for frame in frames)
        reach, complete = 0, False
        last = max((end for _, end, more in got if not more), default=None)
        for start, end, _ in got:
            if start > reach:
                break
            reach = max(reach, end)
            complete = complete or (last is not None and reach >= last)
        return complete

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        said = " ".join(f"{start}-{end}{'+' if more else ''}" for start, end, more in self.pieces)
        return f"fragments {said} of {self.inner.words(bases)}"


def _extent(packet: bytes) -> tuple[int, int, bool]:
    """Where an IP packet's payload belongs: (start, end, whether more follow)."""
    if packet[0] >> 4 == 4:
        length, field = int.from_bytes(packet[2:4], "big") - 20, int.from_bytes(packet[6:8], "big")
        start = (field & 0x1FFF) * 8
        return start, start + length, bool(field & _MF)
    length = int.from_bytes(packet[4:6], "big")
    if packet[6] != FRAGMENT:
        return 0, length, False
    field = int.from_bytes(packet[42:44], "big")
    return field & ~7, (field & ~7) + length - 8, bool(field & 1)


@dataclass(slots=True, kw_only=True)
class Dressed(Packet):
    """Another packet with something between its IP header and its transport header, or cut short.

    options: of IPv4, a multiple of 4 bytes. chain: of IPv6, (number, the header but its first byte).
    cut: bytes of the transport header and payload that are there. trailer: bytes behind the packet in its frame.
    """

    inner: Packet
    options: bytes = b""
    chain: tuple[tuple[int, bytes], ...] = ()
    cut: int | None = None
    trailer: int = 0

    def packet(self, ends: Ends, tag: int) -> bytes:
        packet = self.inner.packet(ends, tag)
        if ends.family == 4:
            return with_ipv4(packet, options=self.options, body=packet[20:][: self.cut])
        following, body = packet[6], packet[40:][: self.cut]
        for number, header in reversed(self.chain):
            body = bytes([following]) + header + body
            following = number
        return with_ipv6(packet, following, body)

    def frames(self, ends: Ends, tag: int) -> list[bytes]:
        return [ends.framed(self.side, self.packet(ends, tag)) + bytes(self.trailer)]

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        text = self.inner.words(bases)
        if self.options:
            text += f" options {self.options.hex()} (IPv4)"
        if self.chain:
            text += " headers " + ", ".join(
                f"{_HEADERS.get(number, str(number))}:{len(header) + 1}" for number, header in self.chain
            )
            text += " (IPv6)"
        if self.cut is not None:
            text += f" cut after {self.cut} bytes"
        return text + (f" {self.trailer} bytes behind it" if self.trailer else "")


@dataclass(slots=True, kw_only=True)
class Super(Packet):
    """A TCP segment that a driver has put together from segments of `mss` bytes, or, without, one large frame.

    Only `linear` bytes of it, if not 0, are in the linear part of its skb.
    """

    inner: Segment
    mss: int = 0
    linear: int = 0

    def frames(self, ends: Ends, tag: int) -> list[bytes]:
        network = 20 if ends.family == 4 else 40
        body = self.inner.body(ends)
        packet = ends.ip(self.side, TCP, body, tag)
        header = _LINK + network + 20 + len(self.inner.options)
        if self.mss:
            kind = _GSO_TCP4 if ends.family == 4 else _GSO_TCP6
            vnet = _VNET.pack(_NEEDS_CSUM, kind, self.linear or header, self.mss, _LINK + network, 16)
            pseudo = (ends.address_sum + TCP + len(body)) % 0xFFFF
            at = network + 16
            packet = packet[:at] + pseudo.to_bytes(2, "big") + packet[at + 2 :]
        else:
            vnet = _VNET.pack(0, 0, self.linear, 0, 0, 0)
        return [vnet + ends.framed(self.side, packet)[len(VNET) :]]

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        text = self.inner.words(bases) + (f" of segments of {self.mss}" if self.mss else "")
        return text + (f" linear {self.linear}" if self.linear else "")
