# SPDX-License-Identifier: MIT
"""How TCP connections begin: as they should, as they may, and as somebody else would have it."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab.differential.talk import ACK, CLIENT, CWR, ECE, PSH, RST, SERVER, SYN
from tests.lab.differential.tcp_ends import MOD, Connection

Opening = Callable[[Connection], None]


def _synack(c: Connection, **fields: object) -> None:
    server = c.ends[SERVER]
    flags = SYN | ACK | (ECE if c.rng.random() < 0.1 else 0)
    options = server.syn_options()
    if c.ends[CLIENT].scale is None and server.scale is not None and c.rng.random() < 0.8:
        options = options.replace(bytes((1, 3, 3, server.scale)), b"")  # it was not offered
        server.scale = None
    defaults: dict[str, object] = {"ack": server.rcv, "options": options, "why": "handshake"}
    segment = c.syn(SERVER, flags, **(defaults | fields))
    server.nxt = segment.end
    c.agree()
    c.road(segment, sure=True)


def _established(c: Connection) -> None:
    """The client's part of the handshake's end; data may come first or with it."""
    c.ends[CLIENT].una = c.ends[CLIENT].nxt
    pick = c.rng.random()
    if pick < 0.75:
        c.road(c.segment(CLIENT, why="handshake"), sure=True)
    else:
        client = c.ends[CLIENT]
        size = min(c.rng.choice((1, 100)), c.room(CLIENT))
        segment = c.segment(CLIENT, ACK | PSH, size=size, why="data instead of the last ack")
        client.nxt = segment.end
        c.road(segment, sure=True)


def _syn(c: Connection, **fields: object) -> None:
    client = c.ends[CLIENT]
    flags = SYN | (ECE | CWR if c.rng.random() < 0.1 else 0)
    segment = c.syn(CLIENT, flags, **({"why": "handshake"} | fields))
    client.nxt = segment.end
    c.road(segment, sure=True)


def plain(c: Connection) -> None:
    _syn(c)
    _synack(c)
    _established(c)


def lossy(c: Connection) -> None:
    """Every step may have to be taken again."""
    for _ in range(c.rng.choice((0, 1, 2))):
        c.put(c.syn(CLIENT, why="SYN that gets lost"))
    _syn(c)
    for _ in range(c.rng.choice((0, 1, 2))):
        c.put(c.syn(SERVER, SYN | ACK, ack=c.ends[SERVER].rcv, why="SYN-ACK that gets lost"))
        if c.rng.random() < 0.5:
            c.put(c.syn(CLIENT, why="SYN again"))
    _synack(c)
    for _ in range(c.rng.choice((0, 1, 2))):
        c.put(c.segment(CLIENT, ack=c.ends[CLIENT].rcv, why="ACK that gets lost"))
        c.put(c.syn(SERVER, SYN | ACK, ack=c.ends[SERVER].rcv, why="SYN-ACK again"))
    _established(c)


def fast(c: Connection) -> None:
    """Data on the SYN (RFC 7413), of which the server takes all or nothing."""
    size = c.rng.choice((1, 100, 1400))
    _syn(c, size=size, why="SYN with data")
    client, server = c.ends
    if c.rng.random() < 0.5:
        server.rcv = (client.iss + 1) % MOD
        client.nxt = server.rcv
    _synack(c)
    _established(c)


def crossing(c: Connection) -> None:
    """Both open at once (RFC 9293 figure 7)."""
    _syn(c)
    server = c.ends[SERVER]
    segment = c.syn(SERVER, why="simultaneous SYN")
    server.nxt = segment.end
    c.agree()
    c.road(segment, sure=True)
    for side in c.rng.sample((CLIENT, SERVER), 2):
        c.put(c.syn(side, SYN | ACK, ack=c.ends[side].rcv, why="simultaneous open"))
    for end in c.ends:
        end.una = end.nxt
    for side in (CLIENT, SERVER):
        c.road(c.segment(side, why="simultaneous open"), sure=True)


def split(c: Connection) -> None:
    """The server acknowledges first and sends its SYN alone afterwards (RFC 9293 section 3.5)."""
    _syn(c)
    server = c.ends[SERVER]
    if c.rng.random() < 0.5:
        c.put(c.segment(SERVER, seq=server.iss, ack=server.rcv, why="ack of the SYN alone"))
    segment = c.syn(SERVER, why="SYN of a split handshake")
    server.nxt = segment.end
    c.agree()
    c.road(segment, sure=True)
    c.put(c.syn(CLIENT, SYN | ACK, ack=c.ends[CLIENT].rcv, why="client's SYN-ACK"))
    server.una = server.nxt
    c.road(c.segment(SERVER, why="end of a split handshake"), sure=True)
    c.ends[CLIENT].una = c.ends[CLIENT].nxt


def reused(c: Connection) -> None:
    """The client begins anew with another number before any answer."""
    c.put(c.syn(CLIENT, seq=c.ends[CLIENT].iss + c.rng.choice((-1, 1, 70000, 1 << 31)), why="earlier SYN"))
    plain(c)


def duplicated(c: Connection) -> None:
    """A SYN of long ago comes first, and the client resets what it leads to (RFC 9293 figure 8)."""
    server = c.ends[SERVER]
    old = (c.ends[CLIENT].iss - c.rng.choice((10, 1000, 1 << 30))) % MOD
    _syn(c)
    c.put(c.syn(CLIENT, seq=old, why="old duplicate SYN"))
    c.put(c.syn(SERVER, SYN | ACK, ack=old + 1, why="SYN-ACK for the old SYN"))
    c.put(c.segment(CLIENT, RST, seq=old + 1, window=0, why="reset of what the old SYN began"))
    server.iss = server.nxt = c.rng.randrange(MOD)
    c.put(c.syn(CLIENT, why="SYN again"))
    _synack(c)
    _established(c)


def half_open(c: Connection) -> None:
    """The client has forgotten an older connection, the server has not (RFC 9293 figure 9)."""
    mine, theirs = c.rng.randrange(MOD), c.rng.randrange(MOD)
    c.put(c.syn(CLIENT, why="SYN of a client that has rebooted"))
    c.put(c.segment(SERVER, seq=theirs, ack=mine, why="answer of the older connection"))
    c.put(c.segment(CLIENT, RST, seq=mine, window=0, why="reset of the older connection"))
    plain(c)


def refused(c: Connection) -> None:
    """The server resets, and the client may try again."""
    _syn(c)
    c.put(c.segment(SERVER, RST | ACK, seq=0, ack=c.ends[SERVER].rcv, window=0, why="port is closed"))
    if c.rng.random() < 0.5:
        c.put(c.syn(CLIENT, why="SYN again"))
        c.put(c.segment(SERVER, RST | ACK, seq=0, ack=c.ends[SERVER].rcv, window=0, why="port is closed"))


def unasked(c: Connection) -> None:
    """No SYN was ever seen."""
    flags = c.rng.choice((ACK, SYN | ACK, RST, RST | ACK, ACK | PSH))
    side = c.rng.choice((CLIENT, SERVER))
    c.put(c.segment(side, flags, ack=c.rng.randrange(MOD), forged=True, why="out of the blue"))
    if c.rng.random() < 0.5:
        c.put(c.syn(SERVER, forged=True, why="SYN from the wrong side"))
    if c.rng.random() < 0.5:
        plain(c)


def disturbed(c: Connection) -> None:
    """Somebody who cannot see the connection answers for the server, or speaks for the client."""
    _syn(c)
    near = c.rng.choice((-1, 1, 2, 1000, 1 << 31, c.rng.randrange(MOD)))
    ack = c.ends[SERVER].rcv + near
    pick = c.rng.choice(("SYN-ACK", "RST", "RST without ack", "ACK", "data", "client's ack", "client's RST"))
    seq = c.rng.randrange(MOD)
    if pick == "SYN-ACK":
        c.put(c.syn(SERVER, SYN | ACK, seq=seq, ack=ack, forged=True, why="spoofed SYN-ACK with a wrong ack"))
    elif pick == "RST":
        c.put(c.segment(SERVER, RST | ACK, seq=seq, ack=ack, forged=True, why="spoofed RST with a wrong ack"))
    elif pick == "RST without ack":
        c.put(c.segment(SERVER, RST, seq=seq, forged=True, why="spoofed RST without ack"))
    elif pick == "ACK":
        c.put(c.segment(SERVER, ACK, seq=seq, ack=ack, forged=True, why="spoofed ACK before the SYN-ACK"))
    elif pick == "data":
        c.put(
            c.segment(
                SERVER, ACK, seq=seq, ack=ack, size=10, forged=True, why="spoofed data before the SYN-ACK"
            )
        )
    elif pick == "client's ack":
        c.put(c.segment(CLIENT, ACK, seq=c.ends[CLIENT].nxt, ack=seq, forged=True, why="ACK of nothing"))
    else:
        c.put(
            c.segment(
                CLIENT, RST, seq=c.ends[CLIENT].nxt + near, forged=True, why="spoofed RST of the client"
            )
        )
    _synack(c)
    _established(c)


def shot(c: Connection) -> None:
    """Somebody else sends a reset into the handshake, with a number near the right one."""
    _syn(c)
    _synack(c)
    seq = c.ends[SERVER].nxt + c.rng.choice((1, 50, 1 << 30))
    c.put(c.segment(SERVER, RST, seq=seq % MOD, forged=True, why="spoofed RST before the handshake's end"))
    _established(c)


OPENINGS: tuple[tuple[Opening, float], ...] = (
    (plain, 50),
    (lossy, 25),
    (fast, 8),
    (crossing, 4),
    (split, 3),
    (reused, 1),
    (duplicated, 1),
    (half_open, 2),
    (refused, 2),
    (unasked, 3),
    (disturbed, 1),
    (shot, 1),
)

LASTING = {opening for opening, _ in OPENINGS} - {refused, unasked}
"""After these there is a connection."""
