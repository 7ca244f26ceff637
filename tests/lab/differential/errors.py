# SPDX-License-Identifier: MIT
"""ICMP errors about conversations: about what was sent, what was not, and by whom it was not."""

from __future__ import annotations

import random

from tests.lab.differential import asking, tcp
from tests.lab.differential.icmp import ERRORS, TOO_BIG, Error, Message
from tests.lab.differential.talk import CLIENT, SERVER, Datagram, Packet, Segment

_QUOTED = (8, 8, 8, 20, 28, 60, 1000)


def conversation(rng: random.Random) -> list[Packet]:
    """Some conversation, with errors about its packets."""
    said = rng.choice((tcp.conversation, tcp.conversation, asking.udp, asking.echo))(rng)
    if rng.random() < 0.1:
        _too_early(rng, said)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(1, len(said) + 1)
        said.insert(at, about(rng, said[:at]))
    return said


def _too_early(rng: random.Random, said: list[Packet]) -> None:
    """Put an error about the server's first packet before it."""
    first = next((at for at, packet in enumerate(said) if packet.side == SERVER), None)
    if first:
        said.insert(
            rng.randint(1, first), Error(side=CLIENT, quote=said[first], why="error about what is to come")
        )


def about(rng: random.Random, said: list[Packet]) -> Error:
    """An error about one of these packets, or about a packet like one of them."""
    quote = rng.choice(said[-6:])
    kind = rng.choice(ERRORS)
    error = Error(
        side=1 - quote.side,
        quote=quote,
        kind=kind,
        code=4 if kind is TOO_BIG else rng.choice((0, 0, 1, 3)),
        rest=1400 if kind is TOO_BIG else 0,
        quoted=rng.choice(_QUOTED),
        from_off=rng.choice((0, 0, 1 << 20)),
        why="error",
    )
    pick = rng.random()
    if pick < 0.5:
        return error
    if pick < 0.6:
        return error.but(to_off=rng.choice((1, -1, 1 << 18)), why="error to somebody else")
    if pick < 0.7:
        return error.but(side=quote.side, why="error about a packet of the wrong direction")
    if pick < 0.75:
        return error.but(quoted=rng.choice((0, 4, 7)), why="error that quotes too little")
    if pick < 0.78:
        return error.but(quote=error, side=quote.side, why="error about an error")
    return error.but(quote=_unsent(rng, quote), why="error about what was not sent")


def _unsent(rng: random.Random, quote: Packet) -> Packet:
    if isinstance(quote, Segment):
        if rng.random() < 0.5:
            return quote.but(port_off=1)
        return quote.but(seq=quote.seq + rng.choice((1 << 31, 1 << 30, -(1 << 30))))
    if isinstance(quote, Datagram):
        return quote.but(port_off=1)
    if isinstance(quote, Message):
        return quote.but(ident=7)
    return Datagram(side=rng.choice((CLIENT, SERVER)))
