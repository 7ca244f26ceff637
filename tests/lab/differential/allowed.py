# SPDX-License-Identifier: MIT
"""Differences between fw and netfilter that are meant. Each is a predicate over a conversation and one packet
of it, with its reason. An entry that explains nothing in a run, or too much, fails the test."""

from __future__ import annotations

from itertools import pairwise

from tests.lab.differential.allowed_tcp import TCP_DIFFERENCES
from tests.lab.differential.compare import Allowed, Conversation
from tests.lab.differential.icmp import ECHO, ECHO_REPLY, Error, Message
from tests.lab.differential.long_ago import old
from tests.lab.differential.routers import FW, NFT
from tests.lab.differential.shapes import AH, Dressed, Pieces
from tests.lab.differential.talk import Datagram, Packet, Segment
from tests.lab.differential.tcp_history import here, history, segment_of

_EXTENSIONS_FOLLOWED = 8
_QUOTE_LEAST = 8


def _breaks(c: Conversation, at: int) -> bool:
    return not c.leaked(at)


def _pieces(c: Conversation, at: int) -> tuple[tuple[int, int, bool], ...]:
    packet = c.packets[at]
    return packet.pieces if isinstance(packet, Pieces) else ()


def _early(c: Conversation, at: int) -> bool:
    pieces = _pieces(c, at)
    return bool(pieces) and pieces[0][0] != 0 and _breaks(c, at)


def _overlaps(c: Conversation, at: int) -> bool:
    pieces = sorted(set(_pieces(c, at)))
    return c.leaked(at) and any(b[0] < a[1] for a, b in pairwise(pieces))


def _header(packet: Packet) -> int:
    """Bytes of the transport header."""
    return 20 + len(packet.options) if isinstance(packet, Segment) else 8


def _little_shown(c: Conversation, at: int) -> bool:
    packet = c.packets[at]
    if not isinstance(packet, Pieces) or c.leaked(at):
        return False
    shown = next((end for start, end, _ in packet.pieces if start == 0), 0) - _header(packet.inner)
    if shown < 0 or not isinstance(packet.inner, Segment):
        return shown < 0
    return old(packet.inner.but(size=shown), history(c, at))


def _acknowledges_unshown(c: Conversation, at: int) -> bool:
    s = here(c, at)
    if s is None or not c.leaked(at):
        return False
    return any(isinstance(p, Pieces) and segment_of(p) for p in c.before(at, 1 - s.side))


def _after_half_a_packet(c: Conversation, at: int) -> bool:
    return any(
        isinstance(packet, Pieces) and not c.came[NFT][before] and not c.came[FW][before]
        for before, packet in enumerate(c.before(at))
    )


def _long_chain(c: Conversation, at: int) -> bool:
    packet = c.packets[at]
    return isinstance(packet, Dressed) and len(packet.chain) >= _EXTENSIONS_FOLLOWED and _breaks(c, at)


def _behind_ah(c: Conversation, at: int) -> bool:
    packet = c.packets[at]
    return isinstance(packet, Dressed) and AH in dict(packet.chain) and c.ends.family == 6 and _breaks(c, at)


def _quotes_too_little(c: Conversation, at: int) -> bool:
    packet = c.packets[at]
    return isinstance(packet, Error) and packet.quoted < _QUOTE_LEAST and _breaks(c, at)


def _quotes_who_was_silent(c: Conversation, at: int) -> bool:
    packet = c.packets[at]
    if not isinstance(packet, Error) or c.leaked(at):
        return False
    sent = (c.came[FW][before] for before, p in enumerate(c.before(at)) if _speaks(p, packet.quote.side))
    return not any(sent)


def _speaks(packet: Packet, side: int) -> bool:
    return packet.side == side and not isinstance(packet, Error)


def _message(packet: Packet) -> Message | None:
    """The message that a packet is, in whatever shape."""
    inner = getattr(packet, "inner", packet)
    return inner if isinstance(inner, Message) else None


def _another_code(c: Conversation, at: int) -> bool:
    packet = c.packets[at]
    said = _message(packet.quote if isinstance(packet, Error) else packet)
    if said is None or said.kind != ECHO_REPLY or not c.leaked(at):
        return False
    asked = [
        _message(p) for before, p in enumerate(c.before(at)) if c.came[NFT][before] and p.side != said.side
    ]
    codes = {m.code for m in asked if m and m.kind == ECHO and m.ident == said.ident}
    return bool(codes) and said.code not in codes


def _wrong_whole(c: Conversation, at: int) -> bool:
    packet = c.packets[at]
    wrong = getattr(packet, "lie", 0) != 0
    cut = isinstance(packet, Dressed) and packet.cut is not None
    long = (
        isinstance(packet, Pieces) and isinstance(packet.inner, Datagram) and packet.inner.length is not None
    )
    return (wrong or cut or long) and c.leaked(at)


ALLOWED: tuple[Allowed, ...] = (
    Allowed(
        "a later fragment before the first",
        "RFC 4787 REQ-14 asks for it, but a filter in BPF cannot hold packets back; with `fragments.early drop`, what"
        " nothing has judged does not pass",
        _early,
        lasting=True,
    ),
    Allowed(
        "fragments that overlap",
        "RFC 5722 section 4: fw drops the one that overlaps, and whoever gets the others may be able to put the packet"
        " together; netfilter, which holds them all back, discards the whole",
        _overlaps,
        lasting=True,
    ),
    Allowed(
        "a first fragment that does not show enough",
        "RFC 7112 section 5, RFC 1858 section 4: without a whole transport header it cannot be judged; and it does"
        " not show how far a segment reaches, which may be too old, or acknowledged in part",
        lambda c, at: _little_shown(c, at) or _acknowledges_unshown(c, at),
        lasting=True,
    ),
    Allowed(
        "after a datagram of which a fragment is missing",
        "RFC 791 section 3.2: its first fragment is judged when it comes; netfilter waits and never sees the whole",
        _after_half_a_packet,
        lasting=True,
    ),
    Allowed(
        "eight or more extension headers",
        "RFC 8504 section 5.3: a node may limit how many it follows",
        _long_chain,
        lasting=True,
    ),
    Allowed(
        "another protocol behind AH",
        "RFC 4302 section 3.1: to whoever does not hold the key AH is the protocol, and has its own rules",
        _behind_ah,
        lasting=True,
    ),
    Allowed(
        "an error that quotes less than 8 bytes",
        "RFC 792, RFC 1122 section 3.2.2: 64 bits at least are quoted",
        _quotes_too_little,
    ),
    Allowed(
        "an error about packets of a side that has sent none",
        "RFC 5927 section 4.1: what it quotes must be on its way, and nothing was sent",
        _quotes_who_was_silent,
    ),
    Allowed(
        "an echo reply with another code than its request",
        "RFC 792, RFC 8335 section 3: the code of an answer is no part of what pairs it with its question;"
        " netfilter has it in the key",
        _another_code,
    ),
    Allowed(
        "a wrong checksum, or a wrong length of a datagram in fragments",
        "RFC 9293 section 3.1, RFC 768: whoever has the whole of it verifies and discards it",
        _wrong_whole,
        lasting=True,
    ),
    *TCP_DIFFERENCES,
)
