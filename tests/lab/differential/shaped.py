# SPDX-License-Identifier: MIT
"""Conversations some of whose packets are in fragments, have headers between, are cut short, or are very large."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.lab.differential import asking, tcp
from tests.lab.differential.icmp import Message
from tests.lab.differential.shapes import (
    AH,
    DESTINATION,
    HOP_BY_HOP,
    ROUTING,
    Dressed,
    Pieces,
    Super,
)
from tests.lab.differential.talk import FIN, SYN, Datagram, Ends, Packet, Segment
from tests.lab.differential.tcp_ends import MTU_PAYLOAD

Shaper = Callable[[random.Random, Packet], Packet]
_FIRST = 64  # bytes of a first fragment, enough for a TCP header with options
_LARGEST = 60_000
_MEASURE = Ends(1, 4, (1, 1))


def _length(packet: Packet) -> int:
    return len(packet.body(_MEASURE))


def fragments(rng: random.Random, packet: Packet) -> Packet:
    """Cut in two to five, in order or not, whole or not."""
    length = _length(packet)
    if isinstance(packet, Segment) and packet.flags & SYN:
        return packet
    if length < 80:
        if isinstance(packet, Segment):
            return packet
        packet, length = packet.but(size=200), _length(packet.but(size=200))
    step = max(8, -(-(length - _FIRST) // rng.choice((1, 1, 2, 4)) // 8) * 8)
    starts = [0, *range(_FIRST, length, step)]
    pieces = [(a, b, b < length) for a, b in zip(starts, [*starts[1:], length], strict=True)]
    why = "in fragments"
    pick = rng.random()
    if pick < 0.13:
        pieces.remove(rng.choice(pieces))
        packet = packet.but(forged=True)
        why = "in fragments, not all of them"
    elif pick < 0.22:
        pieces.append(rng.choice(pieces))
        why = "in fragments, one twice"
    elif pick < 0.32:
        start, end, more = rng.choice(pieces[1:])
        pieces.append((max(0, start - 8), end, more))
        why = "in fragments that overlap"
    elif pick < 0.42:
        pieces = [(0, 8, True), (8, length, False)]
        why = "in fragments, the first too short for its header"
    elif pick < 0.45:
        pieces = [(0, length, False)]
        why = "a single fragment"
    elif pick < 0.49:
        pieces[-1] = (pieces[-1][0], pieces[-1][1], True)
        packet = packet.but(forged=True)
        why = "in fragments, without an end"
    if rng.random() < 0.25:
        pieces = pieces[:1] + rng.sample(pieces[1:], len(pieces) - 1)
        why += ", later ones in disorder"
    elif rng.random() < 0.15:
        rng.shuffle(pieces)
        why += ", in disorder"
    return Pieces(side=packet.side, forged=packet.forged, inner=packet, pieces=tuple(pieces), why=why)


# An option for experiments that whoever does not know it skips (RFC 4727 section 4): 8, 16 and 24 bytes in all.
_OPTIONS = tuple(bytes((size // 8, 0x1E, size)) + bytes(size) for size in (4, 12, 20))
_AH_BODY = bytes((4,)) + bytes(22)  # 24 bytes: 4 + 2 words (RFC 4302 section 2.2)
_ROUTING_4 = bytes((0, 4, 0)) + bytes(4)
_RECORD_ROUTE = bytes((7, 7, 4)) + bytes(5)


def headers(rng: random.Random, packet: Packet) -> Packet:
    """IP options, or extension headers."""
    options = rng.choice((b"\x01" * 4, b"\x01" * 40, b"\x94\x04\x00\x00", _RECORD_ROUTE))
    chain: list[tuple[int, bytes]] = []
    if rng.random() < 0.3:
        chain.append((HOP_BY_HOP, rng.choice(_OPTIONS)))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        chain.append((DESTINATION, rng.choice(_OPTIONS)))
    pick = rng.random()
    if pick > 0.95:
        chain += [(DESTINATION, _OPTIONS[0])] * rng.choice((8, 9, 12))
    elif pick < 0.15:
        chain.append((AH, _AH_BODY))
    elif pick < 0.3:
        chain.append((ROUTING, _ROUTING_4))
    return _dressed(packet, f"{packet.why}, with headers", options=options, chain=tuple(chain))


def _dressed(packet: Packet, why: str, **how: Any) -> Dressed:
    return Dressed(side=packet.side, forged=packet.forged, inner=packet, why=why, **how)


_ODD_OPTIONS = (b"\x08\x01\x01\x01", b"\x03\x00\x00\x00", b"\x05\x20\x01\x01")


def lies(rng: random.Random, packet: Packet) -> Packet:
    """Headers that do not fit what they stand before."""
    packet = packet.but(forged=True)
    pick = rng.random()
    if isinstance(packet, Segment) and not packet.flags & SYN and pick < 0.35:
        if pick < 0.1:
            return packet.but(options=rng.choice(_ODD_OPTIONS), why="malformed options")
        return packet.but(offset=rng.choice((0, 4, 6, 15)), why="data offset that lies")
    if pick < 0.6:
        return _dressed(packet, "cut short", cut=rng.choice((0, 4, 7, 8, 13, 19)))
    if pick < 0.8 and isinstance(packet, (Segment, Datagram, Message)):
        return packet.but(lie=rng.choice((1, 0x8000, 0xFFFF)), why="wrong checksum")
    return _dressed(packet, "in a longer frame", trailer=rng.choice((1, 6, 18, 200)))


def large(rng: random.Random, packet: Packet) -> Packet:
    """As a network card may hand it over: put together, or not in one piece of memory."""
    if not isinstance(packet, Segment) or packet.flags & (SYN | FIN) or not packet.size:
        return packet
    shape = Super(side=packet.side, forged=packet.forged, inner=packet)
    if packet.size > MTU_PAYLOAD or (packet.size > 1000 and rng.random() < 0.5):
        mss = rng.choice((536, 1000, 8000)) if packet.size > MTU_PAYLOAD else 536
        return shape.but(mss=mss, why=f"{packet.why}, put together")
    return shape.but(linear=rng.choice((0, 14, 40)), why=f"{packet.why}, not linear")


SHAPERS: tuple[tuple[Shaper, float], ...] = ((fragments, 6), (headers, 4), (lies, 3))


def conversation(rng: random.Random) -> list[Packet]:
    """Some conversation, some of whose packets are in one of these shapes."""
    said = rng.choice((tcp.conversation, tcp.conversation, asking.udp, asking.echo))(rng)
    (shaper,) = rng.choices([s for s, _ in SHAPERS], [w for _, w in SHAPERS])
    share = rng.choice((0.1, 0.3, 1.0)) if shaper is not lies else 0.2
    shaped = []
    for packet in said:
        other = shaper(rng, packet) if rng.random() < share else packet
        shaped.append(other)
        if other.forged and other is not packet:
            shaped.append(packet)  # the end did send it as it should be
    return shaped


def large_conversation(rng: random.Random) -> list[Packet]:
    """A TCP connection in packets larger than a wire takes."""
    return [large(rng, packet) for packet in tcp.conversation(rng, _LARGEST)]
