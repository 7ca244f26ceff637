# SPDX-License-Identifier: MIT
"""Two ends of a TCP connection as they truly are, and what a router between them could have seen.

An end follows RFC 9293: it knows what it has sent, what was acknowledged, and what it may send. Segments are
lost before or behind the router, arrive late or twice. From the true state and the seen one come the sequence
numbers that lie at an edge, where a mistake shows.
"""

from __future__ import annotations

import random

from tests.lab.differential.talk import ACK, CLIENT, FIN, SERVER, SYN, Packet, Segment

MOD = 1 << 32
MTU_PAYLOAD = 8000


def after(a: int, b: int) -> bool:
    """Is sequence number a behind b? (RFC 9293 section 3.4)"""
    return 0 < (a - b) % MOD < MOD // 2


class End:
    """One end. Numbers are modulo 2**32; windows are in bytes."""

    def __init__(self, rng: random.Random) -> None:
        self.iss = rng.choice((rng.randrange(MOD), rng.randrange(MOD), MOD - rng.randrange(1, 3000), 0))
        self.una = self.nxt = self.iss
        self.edge = self.iss + 1  # right edge of the other's window
        self.rcv = 0
        self.heard = False  # has the other's SYN come?
        self.closed = False  # has it sent FIN?
        self.window = rng.choice((1, 100, 1000, 5000, 20000, 65535, 300_000, 2_000_000))
        self.scale = rng.choice((None, 0, 1, 2, 7, 14, 15))
        self.shift = 0  # the scale that is in force for the windows it offers
        self.sack = rng.random() < 0.6
        self.stamps = rng.random() < 0.3
        self.early: list[tuple[int, int]] = []  # received beyond a gap

    def syn_options(self) -> bytes:
        options = b"\x02\x04\x05\xb4"
        if self.sack:
            options += b"\x04\x02\x01\x01"
        if self.scale is not None:
            options += bytes((1, 3, 3, self.scale))
        return options

    def field(self) -> int:
        """The window as it stands in the header of a segment without SYN."""
        return min(self.window >> self.shift, 0xFFFF)

    def receive(self, segment: Segment, shift: int) -> None:
        """What has come from the other end, whose windows are shifted by so much."""
        if segment.flags & SYN:
            self.rcv, self.heard = (segment.seq + 1) % MOD, True
        if segment.flags & ACK:
            if after(segment.ack, self.una) and not after(segment.ack, self.nxt):
                self.una = segment.ack % MOD
            width = segment.window << (0 if segment.flags & SYN else shift)
            self.edge = (segment.ack + width) % MOD
        start, end = segment.seq + bool(segment.flags & SYN), segment.end
        if end == start or not self.heard or not after(end, self.rcv):
            return
        if after(start, self.rcv):
            if not after(end, self.rcv + self.window):
                self.early.append((start % MOD, end % MOD))
            return
        self.rcv = end
        for early in sorted(self.early, key=lambda e: (e[0] - self.rcv + MOD // 2) % MOD):
            if not after(early[0], self.rcv) and after(early[1], self.rcv):
                self.rcv = early[1]
        self.early = [early for early in self.early if after(early[0], self.rcv)]


class Seen:
    """What has passed the router from one side, as far as a window check needs it."""

    def __init__(self) -> None:
        self.any = False
        self.end = 0  # highest sequence number behind a segment
        self.acked = False
        self.ack = 0  # highest acknowledgement that it sent
        self.edge = 0  # highest edge of the window that it offered
        self.window = 1  # widest window that it offered

    def add(self, segment: Segment, shift: int) -> None:
        if not self.any or after(segment.end, self.end):
            self.any, self.end = True, segment.end
        self.heed(segment, shift)

    def heed(self, segment: Segment, shift: int) -> None:
        """What it says of the other side's numbers."""
        width = segment.window << (0 if segment.flags & SYN else shift)
        self.window = max(self.window, width)
        if segment.flags & ACK:
            edge = (segment.ack + max(width, 1)) % MOD
            if not self.acked or after(edge, self.edge):
                self.edge = edge
            if not self.acked or after(segment.ack, self.ack):
                self.ack = segment.ack % MOD
            self.acked = True


class Connection:
    """A connection in the making: `said` are the packets in the order in which a router meets them."""

    def __init__(self, rng: random.Random, most: int = MTU_PAYLOAD) -> None:
        self.rng = rng
        self.most = most  # bytes of payload in a segment
        self.ends = (End(rng), End(rng))
        self.seen = (Seen(), Seen())
        self.said: list[Packet] = []
        self.late: list[Segment] = []
        self.loss = rng.choice((0.0, 0.0, 0.05, 0.2))
        self.disorder = rng.choice((0.0, 0.0, 0.1, 0.3))

    def agree(self) -> None:
        """Both SYNs are known: scales are in force if both asked for them (RFC 7323 section 2.2)."""
        client, server = self.ends
        if client.scale is not None and server.scale is not None:
            for end in self.ends:
                end.shift = min(end.scale or 0, 14)
        if not (client.sack and server.sack):
            client.sack = server.sack = False

    # What is sent

    def put(self, segment: Segment) -> None:
        """The router meets it."""
        self.said.append(segment)
        self.seen[segment.side].add(segment, self.ends[segment.side].shift)

    def deliver(self, segment: Segment) -> None:
        """The other end gets it."""
        self.ends[1 - segment.side].receive(segment, self.ends[segment.side].shift)

    def road(self, segment: Segment, sure: bool = False) -> None:
        """An end has sent it: it goes by the router to the other end, if nothing befalls it."""
        chance = self.rng.random()
        if not sure and chance < self.loss / 2:
            return
        if not sure and chance > 1 - self.disorder:
            self.late.append(segment)
            return
        self.put(segment)
        if sure or chance > self.loss:
            self.deliver(segment)
        if chance > 0.98:
            self.put(segment.but(why="duplicate"))
        if self.late and self.rng.random() < 0.6:
            self.catch_up()

    def catch_up(self) -> None:
        """One of the segments that are late comes."""
        segment = self.late.pop(self.rng.randrange(len(self.late)))
        segment.why += ", late"
        self.put(segment)
        self.deliver(segment)

    def segment(self, side: int, flags: int = ACK, **fields: object) -> Segment:
        """What the end would send now, unless `fields` say otherwise."""
        end = self.ends[side]
        options = b""
        if not flags & SYN:
            if end.stamps:
                options = b"\x01\x01\x08\x0a" + bytes(8)
            if end.early and end.sack and flags & ACK:
                blocks = end.early[-3:]
                options += bytes((1, 1, 5, 2 + 8 * len(blocks)))
                options += b"".join(e.to_bytes(4, "big") for block in blocks for e in block)
        defaults: dict[str, object] = {
            "seq": end.nxt,
            "ack": end.rcv if flags & ACK else 0,
            "window": end.field(),
            "options": options,
        }
        return Segment(side=side, flags=flags, **(defaults | fields))  # type: ignore[arg-type]

    def syn(self, side: int, flags: int = SYN, **fields: object) -> Segment:
        end = self.ends[side]
        defaults: dict[str, object] = {
            "seq": end.iss,
            "window": min(end.window, 0xFFFF),
            "options": end.syn_options(),
        }
        return self.segment(side, flags, **(defaults | fields))

    # What ends do in the middle of a connection

    def room(self, side: int) -> int:
        """Bytes that an end may send now."""
        end = self.ends[side]
        free = (end.edge - end.nxt) % MOD
        return 0 if end.closed or free >= MOD // 2 else free

    def data(self, side: int, why: str = "data") -> None:
        end, free = self.ends[side], self.room(side)
        size = min(free, self.rng.choice((1, 10, 500, 1448, self.most, free)), self.most)
        if size:
            segment = self.segment(side, size=size, why=why)
            end.nxt = segment.end
            self.road(segment)

    def acknowledge(self, side: int, why: str = "ack") -> None:
        self.road(self.segment(side, why=why))

    def again(self, side: int) -> None:
        """From what is not acknowledged, perhaps cut otherwise than at first."""
        end = self.ends[side]
        waiting = (end.nxt - end.una) % MOD
        if waiting and not end.closed:
            size = min(waiting, self.rng.choice((1, 536, waiting, self.most)), self.most)
            self.road(self.segment(side, seq=end.una, size=size, why="retransmission"))

    def resize(self, side: int) -> None:
        """Another window: it may close, open or shrink (RFC 9293 section 3.8.6)."""
        end = self.ends[side]
        end.window = self.rng.choice((0, 0, 1, end.window // 2, end.window * 2, 100, 3000, 65535))
        self.acknowledge(side, f"window {end.window}")

    def keep_alive(self, side: int) -> None:
        end = self.ends[side]
        if not end.closed:
            size = self.rng.choice((0, 1))
            self.road(self.segment(side, seq=end.nxt - 1, size=size, why="keep-alive"))
            self.acknowledge(1 - side, "answer to keep-alive")

    def window_probe(self, side: int) -> None:
        """A byte beyond a closed window (RFC 9293 section 3.8.6.1)."""
        end = self.ends[side]
        if not end.closed and not self.room(side):
            self.put(self.segment(side, seq=end.una, size=1, why="window probe"))
            self.acknowledge(1 - side, "answer to window probe")

    def finish(self, side: int, why: str = "close") -> None:
        end = self.ends[side]
        if self.room(side):
            segment = self.segment(side, FIN | ACK, why=why)
            end.closed, end.nxt = True, segment.end
            self.road(segment)

    def step(self) -> None:
        """Something that an end does."""
        side = self.rng.choice((CLIENT, SERVER))
        pick = self.rng.random()
        if pick < 0.45:
            self.data(side)
        elif pick < 0.75:
            self.acknowledge(side)
        elif pick < 0.85:
            self.again(side)
        elif pick < 0.9:
            self.resize(side)
        elif pick < 0.95:
            self.keep_alive(side)
        else:
            self.window_probe(side)
