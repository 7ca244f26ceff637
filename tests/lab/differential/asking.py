# SPDX-License-Identifier: MIT
"""Conversations of questions and answers: UDP and echo, with answers that nobody asked for."""

from __future__ import annotations

import random

from tests.lab.differential.icmp import ECHO, ECHO_REPLY, Message
from tests.lab.differential.talk import CLIENT, SERVER, Datagram, Packet

_SIZES = (0, 1, 16, 16, 500, 1472, 8000)
_WRONG_ICMP = ((13, 139), (14, 140), (15, 128), (17, 144), (10, 133), (30, 200), (42, 160))


def udp(rng: random.Random) -> list[Packet]:
    said: list[Packet] = []
    if rng.random() < 0.15:
        said.append(Datagram(side=SERVER, why="nobody has asked"))
    for _ in range(rng.choice((1, 2, 3, 8))):
        said.append(Datagram(side=CLIENT, size=rng.choice(_SIZES), why="question"))
        for _ in range(rng.choice((0, 1, 1, 2))):
            said.append(Datagram(side=SERVER, size=rng.choice(_SIZES), why="answer"))
        if rng.random() < 0.15:
            said.append(_odd_datagram(rng))
    return said


def _odd_datagram(rng: random.Random) -> Datagram:
    side = rng.choice((CLIENT, SERVER))
    pick = rng.randrange(6)
    if pick == 0:
        return Datagram(side=side, port_off=rng.choice((1, -1, 256)), why="another port of the server")
    if pick == 1:
        return Datagram(side=side, unsummed=True, why="without a checksum")
    if pick == 2:
        return Datagram(side=side, length=rng.choice((0, 7, 8, 20)), why="says to be shorter")
    if pick == 3:
        return Datagram(side=side, length=rng.choice((25, 100, 65535)), why="says to be longer")
    if pick == 4:
        return Datagram(side=side, length=24, why="says what it is")
    return Datagram(side=side, size=rng.choice((0, 1, 3)), why="small")


def echo(rng: random.Random) -> list[Packet]:
    said: list[Packet] = []
    if rng.random() < 0.15:
        said.append(Message(side=SERVER, kind=ECHO_REPLY, why="nobody has asked"))
    for number in range(rng.choice((1, 2, 5))):
        said.append(Message(side=CLIENT, kind=ECHO, seq=number, why="question"))
        for _ in range(rng.choice((0, 1, 1, 2))):
            said.append(Message(side=SERVER, kind=ECHO_REPLY, seq=number, why="answer"))
        pick = rng.random()
        side = rng.choice((CLIENT, SERVER))
        if pick < 0.1:
            said.append(Message(side=side, kind=ECHO_REPLY, ident=1, why="answer with another id"))
        elif pick < 0.15:
            said.append(Message(side=SERVER, kind=ECHO, why="question from the wrong side"))
        elif pick < 0.2:
            said.append(Message(side=CLIENT, kind=ECHO_REPLY, why="answer from who asked"))
        elif pick < 0.25:
            said.append(Message(side=side, kind=rng.choice(_WRONG_ICMP), why="another type"))
        elif pick < 0.3:
            said.append(Message(side=side, kind=rng.choice((ECHO, ECHO_REPLY)), code=1, why="with a code"))
        elif pick < 0.33:
            said.append(
                Message(side=CLIENT, kind=ECHO, ident=2, size=rng.choice(_SIZES), why="another question")
            )
    return said
