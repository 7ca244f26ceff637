# SPDX-License-Identifier: MIT
"""How TCP connections end, and what comes after the end."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab.differential.talk import ACK, CLIENT, FIN, RST, SERVER, SYN
from tests.lab.differential.tcp_ends import MOD, Connection

Closing = Callable[[Connection], None]


def orderly(c: Connection) -> None:
    """One side closes, then the other; each FIN may have to be sent again."""
    first = c.rng.choice((CLIENT, SERVER))
    _fin(c, first)
    for _ in range(c.rng.choice((0, 0, 2))):
        c.data(1 - first, "data of the half that is open")
        c.acknowledge(first)
    _fin(c, 1 - first)
    if c.rng.random() < 0.2:
        _fin_again(c, first)
    c.acknowledge(first, "last ack")
    c.acknowledge(1 - first, "last ack")


def _fin(c: Connection, side: int) -> None:
    loss, disorder, c.loss, c.disorder = c.loss, c.disorder, 0, 0
    c.finish(side)
    c.loss, c.disorder = loss, disorder
    if c.rng.random() < 0.2:
        _fin_again(c, side)
    if c.rng.random() < 0.8:
        c.acknowledge(1 - side, "ack of FIN")


def _fin_again(c: Connection, side: int) -> None:
    if c.ends[side].closed:
        c.put(c.segment(side, FIN | ACK, seq=c.ends[side].nxt - 1, why="FIN again"))


def together(c: Connection) -> None:
    """Both close at once (RFC 9293 figure 13)."""
    segments = []
    for side in (CLIENT, SERVER):
        if not c.room(side):
            continue
        segment = c.segment(side, FIN | ACK, why="simultaneous close")
        c.ends[side].closed, c.ends[side].nxt = True, segment.end
        segments.append(segment)
    for segment in segments:
        c.put(segment)
        c.deliver(segment)
    for side in (CLIENT, SERVER):
        c.acknowledge(side, "ack of FIN")


def reset(c: Connection) -> None:
    """An end gives up, with the number that the other expects."""
    side = c.rng.choice((CLIENT, SERVER))
    flags = c.rng.choice((RST, RST | ACK))
    c.put(c.segment(side, flags, seq=c.ends[1 - side].rcv, window=0, why="reset"))
    if c.rng.random() < 0.3:
        c.put(c.segment(side, flags, seq=c.ends[1 - side].rcv, window=0, why="reset again"))


def nothing(c: Connection) -> None:
    """It stays open."""


def afterwards(c: Connection) -> None:
    """What is heard of a connection that is over, and the next one between the same ports."""
    rng = c.rng
    side = rng.choice((CLIENT, SERVER))
    pick = rng.random()
    if pick < 0.25:
        c.put(c.segment(side, forged=True, why="stray ack after the end"))
    elif pick < 0.4:
        c.put(c.segment(side, size=10, forged=True, why="stray data after the end"))
    elif pick < 0.5:
        c.put(c.segment(side, RST, forged=True, why="stray reset after the end"))
    elif pick < 0.6:
        c.put(c.segment(side, FIN | ACK, seq=c.ends[side].nxt - 1, forged=True, why="FIN after the end"))
    else:
        _anew(c)


def _anew(c: Connection) -> None:
    """A SYN between the same ports, with a higher number or a lower (RFC 9293 section 3.6.1)."""
    old = c.ends[CLIENT].nxt
    iss = (old + c.rng.choice((1, 1000, 100_000, 1 << 30, -1, -1000, -100_000))) % MOD
    c.put(c.syn(CLIENT, seq=iss, why="SYN of the next connection"))
    if c.rng.random() < 0.7:
        number = c.rng.randrange(MOD)
        c.put(c.syn(SERVER, SYN | ACK, seq=number, ack=iss + 1, why="its SYN-ACK"))
        c.put(c.segment(CLIENT, seq=iss + 1, ack=number + 1, why="its ack"))
        c.put(c.segment(SERVER, seq=number + 1, ack=iss + 1, size=1, why="its data"))


CLOSINGS: tuple[tuple[Closing, float], ...] = ((orderly, 50), (together, 10), (reset, 26), (nothing, 14))
