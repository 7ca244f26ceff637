# SPDX-License-Identifier: MIT
"""What a router has let through of a conversation's TCP segments, as one who checks windows remembers it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import lru_cache

from tests.lab.differential.compare import Conversation
from tests.lab.differential.icmp import Error
from tests.lab.differential.routers import FW, NFT
from tests.lab.differential.talk import ACK, CLIENT, FIN, RST, SERVER, SYN, Packet, Segment
from tests.lab.differential.tcp_ends import MOD, Seen


def segment_of(packet: Packet) -> Segment | None:
    """The TCP segment that a packet is, in whatever shape."""
    inner = getattr(packet, "inner", packet)
    return inner if isinstance(inner, Segment) else None


def here(c: Conversation, at: int) -> Segment | None:
    return segment_of(c.packets[at])


def about(c: Conversation, at: int) -> Segment | None:
    """The segment that a packet is, or that it quotes."""
    packet = c.packets[at]
    return segment_of(packet.quote if isinstance(packet, Error) else packet)


def passed(c: Conversation, at: int) -> Iterator[Segment]:
    """The segments before one that came through fw."""
    return (segment for _, segment in _passed(c, at))


def _passed(c: Conversation, at: int) -> Iterator[tuple[int, Segment]]:
    for before, packet in enumerate(c.before(at)):
        segment = segment_of(packet)
        if segment is not None and c.came[FW][before]:
            yield before, segment


def _scale(s: Segment) -> int | None:
    options = s.options if s.offset is None else s.options[: max(0, s.offset * 4 - 20)]
    at = options.find(b"\x03\x03")
    return min(options[at + 2], 14) if at >= 0 else None


def answers(synack: Segment, syn: Segment | None) -> bool:
    """Does it acknowledge the SYN, and all, some or none of the data on it? (RFC 7413 section 4.2)"""
    return syn is not None and bool(synack.flags & SYN) and acknowledges(synack, syn)


def acknowledges(s: Segment, syn: Segment) -> bool:
    return bool(s.flags & ACK) and (s.ack - syn.seq - 1) % MOD <= syn.size


class History:
    """What fw has let through of the running connection, by side, as a window check remembers it.

    without: indexes of packets that do not count; ends: of those where what was sent ends, though it be less.
    """

    def __init__(
        self, c: Conversation, at: int, without: Container[int] = (), ends: Container[int] = ()
    ) -> None:
        self.tampered = any(
            p.forged if c.came[FW][i] else not c.came[NFT][i] for i, p in enumerate(c.before(at))
        )
        self.reset = False
        self.renewed = False  # was there another connection before?
        self.spoken = [False, False]  # has it sent more than a SYN?
        self.seen = [Seen(), Seen()]
        self.syn: list[Segment | None] = [None, None]
        self.begun: list[int | None] = [None, None]  # the SYNs' numbers
        self.shift = [0, 0]
        for before, segment in _passed(c, at):
            if before in without:
                continue
            self._add(segment)
            if before in ends:
                self.seen[segment.side].end = segment.end % MOD

    def _add(self, s: Segment) -> None:
        own, other = s.side, 1 - s.side
        theirs = self.syn[other]
        if s.flags & SYN:
            begins = theirs is not None and answers(s, theirs) and self._begin(own, s, theirs)
            if begins or not s.flags & ACK:
                self.syn[own] = s
        elif s.flags & RST:
            self.reset = True
            if self.exact(s):
                self.seen[own].heed(s, self.shift[own])  # it closes, and what it acknowledges counts
        else:
            first = self.begun[own]
            if not self.spoken[own] and first is not None:
                self.seen[own].end = (first + 1) % MOD  # what was on its SYN, and not taken, is sent again
            self.spoken[own] = True
            self.seen[own].add(s, self.shift[own])

    def _begin(self, own: int, synack: Segment, syn: Segment) -> bool:
        """A SYN has been answered: whatever was before is over, unless it is the same SYN."""
        if self.established and self.begun[1 - own] == syn.seq and self.begun[own] != synack.seq:
            return False
        begun: list[int | None] = [syn.seq, synack.seq] if own == SERVER else [synack.seq, syn.seq]
        again = self.established and self.begun == begun
        if again and any(self.spoken):
            return False  # sent into the connection that it began: the end answers it, and it changes nothing
        self.renewed = self.renewed or (self.established and not again)
        self.begun = begun
        self.reset, self.spoken = False, [False, False]
        scales = _scale(synack), _scale(syn)
        both = scales[0] is not None and scales[1] is not None
        if both or not again:
            self.shift[own], self.shift[1 - own] = (scales[0] or 0, scales[1] or 0) if both else (0, 0)
        if not self.seen[own].any or synack.end != self.seen[own].end:
            self.seen = [Seen(), Seen()]
        self.seen[1 - own].add(syn, 0)
        self.seen[own].add(synack, 0)
        return True

    def exact(self, s: Segment) -> bool:
        """Has it the number that is expected next, or the one last acknowledged?"""
        own, other = self.seen[s.side], self.seen[1 - s.side]
        return (own.any and s.seq == own.end) or (other.acked and s.seq == other.ack)

    @property
    def established(self) -> bool:
        return self.seen[CLIENT].any and self.seen[SERVER].any


@lru_cache(maxsize=1)
def history(c: Conversation, at: int) -> History:
    """That of what came before a packet. Many entries of the list ask for it, one after the other."""
    return History(c, at)


def unanswered(c: Conversation, at: int) -> Segment | None:
    """The client's SYN, while nothing has answered it."""
    syn, over = None, True
    closed = [False, False]
    for s in passed(c, at):
        if s.side == CLIENT and s.flags & (SYN | ACK) == SYN and over:
            syn = s
        elif s.flags & SYN and s.side == SERVER:
            if not s.flags & ACK or answers(s, syn):
                syn, over, closed = None, False, [False, False]
        elif s.flags & RST:
            over = True
        elif s.flags & FIN:
            closed[s.side] = True
            over = over or all(closed)
    return syn
