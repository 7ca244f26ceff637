# SPDX-License-Identifier: MIT
"""The two ends of a conversation and what they say to each other, as frames and as words.

A packet is built apart from its conversation's addresses, so that a conversation can be had again, whole or in
part, between ends that no router has heard of. `side` is who sends it: 0 the client, 1 the server.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

CLIENT, SERVER = 0, 1
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
_FLAG_LETTERS = "FSRP.UEW"

_TCP = struct.Struct("!HHIIHHHH")
_UDP = struct.Struct("!HHHH")
_IP4 = struct.Struct("!BBHHHBBH4s4s")
_IP6 = struct.Struct("!IHBB16s16s")

# Of each side: where its hosts live, and the router's hardware address on that wire.
NETS4 = (int(ipaddress.IPv4Address("10.1.0.0")), int(ipaddress.IPv4Address("198.18.1.0")))
NETS6 = (int(ipaddress.IPv6Address("2001:db8::1")), int(ipaddress.IPv6Address("2001:db8:8000::1")))
ENDS_MAC = ("020000000a01", "020000000a02")
ROUTER_MAC = ("020000000b01", "020000000b02")
_SERVERS = 1 << 16

VNET = bytes(10)
"""A struct virtio_net_hdr that asks for nothing; one stands before each frame."""
_LINK = tuple(
    tuple(bytes.fromhex(ROUTER_MAC[side] + ENDS_MAC[side] + kind) for kind in ("0800", "86dd"))
    for side in (CLIENT, SERVER)
)


def folded(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071); 0 stands for both zeros."""
    if len(data) & 1:
        data += b"\0"
    return int.from_bytes(data, "big") % 0xFFFF


class Ends:
    """Who talks: the conversation's number chooses two hosts that no other conversation has."""

    def __init__(self, number: int, family: int, ports: tuple[int, int]) -> None:
        self.number = number
        self.family = family
        self.ports = ports
        # in IPv6 each has a network of its own, since a network of 64 bits may count as one source
        nets, step, size = (NETS4, 1, 4) if family == 4 else (NETS6, 1 << 64, 16)
        self.addresses = (
            (nets[CLIENT] + number * step).to_bytes(size, "big"),
            (nets[SERVER] + number % _SERVERS * step).to_bytes(size, "big"),
        )
        self.address_sum = folded(self.addresses[0] + self.addresses[1])

    def summed(self, proto: int, body: bytes, at: int, lie: int = 0) -> bytes:
        """`body` with the checksum that covers the pseudo-header, at offset `at`, off by `lie`."""
        total = (self.address_sum + proto + len(body) + folded(body)) % 0xFFFF
        return body[:at] + ((0xFFFF - total) ^ lie).to_bytes(2, "big") + body[at + 2 :]

    def ip(self, side: int, proto: int, body: bytes, tag: int) -> bytes:
        """The IP packet; the tag is its identification or its flow label."""
        src, dst = self.addresses[side], self.addresses[1 - side]
        if self.family == 6:
            return _IP6.pack(6 << 28 | tag, len(body), proto, 64, src, dst) + body
        words = 0x4500 + 20 + len(body) + tag + (64 << 8 | proto) + self.address_sum
        return _IP4.pack(0x45, 0, 20 + len(body), tag, 0, 64, proto, 0xFFFF - words % 0xFFFF, src, dst) + body

    def framed(self, side: int, packet: bytes) -> bytes:
        return VNET + _LINK[side][self.family == 6] + packet


@dataclass(slots=True, kw_only=True)
class Packet:
    """What one side sends. `why` says what the sender means by it, for whoever reads a failure.

    forged: no end that follows the RFCs has sent it; entries about windows explain these only.
    """

    side: int
    why: str = ""
    forged: bool = False

    proto = 0

    def protocol(self, ends: Ends) -> int:
        return self.proto

    def body(self, ends: Ends) -> bytes:
        """The transport header and what is behind it, with the right checksum."""
        raise NotImplementedError

    def packet(self, ends: Ends, tag: int) -> bytes:
        """The IP packet."""
        return ends.ip(self.side, self.protocol(ends), self.body(ends), tag)

    def frames(self, ends: Ends, tag: int) -> list[bytes]:
        """What goes onto the wire, each with a struct virtio_net_hdr before it."""
        return [ends.framed(self.side, self.packet(ends, tag))]

    def arrived(self, ends: Ends, frames: list[bytes]) -> bool:
        """Did the packet come through, if these frames did? They begin with their link header."""
        return bool(frames)

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        """As tcpdump would say it; of each side's TCP sequence numbers the base is taken off."""
        raise NotImplementedError

    def but(self, **changes: Any) -> Self:
        """The same with other fields."""
        return replace(self, **changes)


@dataclass(slots=True, kw_only=True)
class Segment(Packet):
    """A TCP segment. `size` bytes of payload, which are zeros."""

    flags: int
    seq: int
    ack: int = 0
    window: int = 65535
    options: bytes = b""
    size: int = 0
    lie: int = 0  # what is wrong with the checksum
    offset: int | None = None  # data offset in words, to lie
    port_off: int = 0  # added to the server's port

    proto = TCP

    @property
    def end(self) -> int:
        """Sequence number behind the segment, whose header may say to be shorter than it is."""
        words = 5 + len(self.options) // 4
        size = self.size + 4 * (words - (self.offset or words))
        return self.seq + size + bool(self.flags & SYN) + bool(self.flags & FIN) & 0xFFFFFFFF

    def body(self, ends: Ends) -> bytes:
        words = 5 + len(self.options) // 4 if self.offset is None else self.offset
        ports = (ends.ports[CLIENT], ends.ports[SERVER] + self.port_off)
        head = _TCP.pack(
            ports[self.side],
            ports[1 - self.side],
            self.seq & 0xFFFFFFFF,
            self.ack & 0xFFFFFFFF,
            words << 12 | self.flags,
            self.window,
            0,
            0,
        )
        total = ends.address_sum + TCP + len(head) + len(self.options) + self.size
        total += int.from_bytes(head + self.options, "big")
        value = 0xFFFF - total % 0xFFFF ^ self.lie
        return head[:16] + value.to_bytes(2, "big") + head[18:] + self.options + bytes(self.size)

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        letters = "".join(letter for bit, letter in enumerate(_FLAG_LETTERS) if self.flags >> bit & 1)
        seq = self.seq - bases[self.side] & 0xFFFFFFFF
        text = f"[{letters or '-'}] seq {seq}"
        if self.size:
            text += f":{seq + self.size & 0xFFFFFFFF} ({self.size})"
        if self.flags & ACK or self.ack:
            text += f" ack {self.ack - bases[1 - self.side] & 0xFFFFFFFF}"
        text += f" win {self.window}"
        if self.options:
            text += f" <{tcp_options(self.options, bases[1 - self.side])}>"
        if self.offset is not None:
            text += f" data offset {self.offset}"
        if self.port_off:
            text += f" server's port {self.port_off:+}"
        return text + (" bad checksum" if self.lie else "")


def tcp_options(options: bytes, base: int = 0) -> str:
    """TCP options in words (RFC 9293, 7323, 2018, 7413)."""
    names = {2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 8: "TS", 34: "tfo"}
    said: list[str] = []
    at = 0
    while at < len(options) and options[at] != 0:
        kind = options[at]
        if kind == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            said.append(f"malformed {options[at:].hex()}")
            break
        value = options[at + 2 : at + options[at + 1]]
        if kind == 5:
            edges = [
                str(int.from_bytes(value[i : i + 4], "big") - base & 0xFFFFFFFF)
                for i in range(0, len(value), 4)
            ]
            said.append("sack " + "-".join(edges))
        elif kind in (2, 3):
            said.append(f"{names[kind]} {int.from_bytes(value, 'big')}")
        else:
            said.append(names.get(kind, f"option {kind}"))
        at += options[at + 1]
    return ", ".join(said)


@dataclass(slots=True, kw_only=True)
class Datagram(Packet):
    """A UDP datagram of `size` zeros. `port_off` is added to the server's port."""

    size: int = 16
    length: int | None = None
    lie: int = 0
    unsummed: bool = False
    port_off: int = 0

    proto = UDP

    def body(self, ends: Ends) -> bytes:
        ports = [ends.ports[CLIENT], ends.ports[SERVER] + self.port_off]
        length = 8 + self.size if self.length is None else self.length
        body = _UDP.pack(ports[self.side], ports[1 - self.side], length, 0) + bytes(self.size)
        return body if self.unsummed else ends.summed(UDP, body, 6, self.lie)

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        text = f"udp ({self.size})"
        if self.port_off:
            text += f" server's port {self.port_off:+}"
        if self.length is not None:
            text += f" length {self.length}"
        return text + (" bad checksum" if self.lie else "") + (" no checksum" if self.unsummed else "")
