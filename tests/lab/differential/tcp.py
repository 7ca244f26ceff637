# SPDX-License-Identifier: MIT
"""TCP conversations: an opening, a middle in which somebody may interfere, an ending, and what comes after."""

from __future__ import annotations

import random

from tests.lab.differential.talk import ACK, CLIENT, FIN, PSH, RST, SERVER, SYN, URG, Packet
from tests.lab.differential.tcp_close import CLOSINGS, afterwards
from tests.lab.differential.tcp_ends import MOD, MTU_PAYLOAD, Connection
from tests.lab.differential.tcp_open import LASTING, OPENINGS

_NEAR = (-2, -1, 0, 0, 1, 2)
_FAR = (-66001, -66000, -65999, -65536, 65535, 65536, 1 << 31, (1 << 31) - 1, 1000, -1000)
_ODD_FLAGS = (0, FIN, SYN | FIN, SYN | RST, SYN | ACK | FIN, FIN | RST | ACK, PSH, URG, SYN | ACK | RST)


def intrude(c: Connection) -> None:
    """A segment that no end has sent, at or near an edge of what a window check lets pass."""
    rng = c.rng
    side = rng.choice((CLIENT, SERVER))
    own, other = c.seen[side], c.seen[1 - side]
    end, peer = c.ends[side], c.ends[1 - side]
    seqs = {
        "expected": peer.rcv,
        "next": end.nxt,
        "highest": own.end,
        "acknowledged": other.ack,
        "window's edge": other.edge,
        "window's start": own.end - other.window,
    }
    acks = {
        "received": end.rcv,
        "next": peer.nxt,
        "highest": other.end,
        "acknowledged": own.ack,
        "window's start": other.end - own.window,
        "66000 back": other.end - 66000,
    }
    seq_at, ack_at = rng.choice(list(seqs)), rng.choice(list(acks))
    seq_off, ack_off = rng.choice(_NEAR), 0
    if rng.random() < 0.3:
        ack_off = rng.choice(_NEAR)
    if rng.random() < 0.2:
        seq_off = rng.choice(_FAR)
    if rng.random() < 0.1:
        ack_off = rng.choice(_FAR)
    if rng.random() < 0.5:
        ack_at, ack_off = "received", 0
    pick = rng.random()
    if pick > 0.98:
        flags, seq_at, seq_off, ack_off = RST | ACK, "expected", 0, 1 << 30
    elif pick < 0.5:
        flags = rng.choice((ACK, ACK | PSH))
    elif pick < 0.75:
        flags = rng.choice((RST, RST | ACK))
    elif pick < 0.85:
        flags = SYN
    elif pick < 0.9:
        flags = SYN | ACK
    elif pick < 0.95:
        flags = FIN | ACK
    else:
        flags = rng.choice(_ODD_FLAGS)
    c.put(
        c.segment(
            side,
            flags,
            seq=(seqs[seq_at] + seq_off) % MOD,
            ack=(acks[ack_at] + ack_off) % MOD if flags & ACK else 0,
            size=rng.choice((0, 0, 1, 2, 100)),
            window=rng.choice((0, 1, 1000, 65535, end.field())),
            options=b"",
            forged=True,
            why=f"intruder: seq {seq_at} {seq_off:+}, ack {ack_at} {ack_off:+}",
        )
    )


def challenge(c: Connection) -> None:
    """A SYN or reset comes in the middle; the end that gets it answers with an ACK (RFC 5961)."""
    side = c.rng.choice((CLIENT, SERVER))
    flags = c.rng.choice((SYN, SYN, RST))
    seq = c.ends[1 - side].rcv + c.rng.choice((1, 5, 100, 1 << 30)) if flags & RST else c.rng.randrange(MOD)
    segment = c.segment(side, flags, seq=seq % MOD, ack=0, options=b"", forged=True, why="to be challenged")
    c.put(segment)
    c.put(c.segment(1 - side, why="challenge ACK"))


def conversation(rng: random.Random, most: int = MTU_PAYLOAD) -> list[Packet]:
    """A whole connection, or what there is of it, in segments of at most so many bytes."""
    c = Connection(rng, most)
    opening = rng.choices([o for o, _ in OPENINGS], [w for _, w in OPENINGS])[0]
    opening(c)
    intruded = rng.choice((0.0, 0.0, 0.0, 0.1, 0.3))
    for _ in range(rng.choice((0, 3, 8, 15, 30) if opening in LASTING else (0, 1))):
        if rng.random() < intruded:
            (intrude if rng.random() < 0.8 else challenge)(c)
        else:
            c.step()
    rng.choices([e for e, _ in CLOSINGS], [w for _, w in CLOSINGS])[0](c)
    while c.late:
        c.catch_up()
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        afterwards(c)
    return c.said
