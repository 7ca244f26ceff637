# SPDX-License-Identifier: MIT
"""All kinds of conversations, and how often each is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.lab.differential import asking, errors, shaped, tcp
from tests.lab.differential.compare import Maker
from tests.lab.differential.routers import TCP_PORT, UDP_PORT
from tests.lab.differential.talk import Datagram, Packet


def _with_ports(make: Callable[[random.Random], list[Packet]]) -> Maker:
    """Choose the server's port by what the conversation begins with; now and then one that no rule allows."""

    def made(rng: random.Random) -> tuple[tuple[int, int], list[Packet]]:
        said = make(rng)
        server = UDP_PORT if any(_is_udp(packet) for packet in said) else TCP_PORT
        if rng.random() < 0.02:
            server += 1000
        return (rng.randrange(1024, 65536), server), said

    return made


def _is_udp(packet: Packet) -> bool:
    return isinstance(getattr(packet, "inner", packet), Datagram)


KINDS: tuple[tuple[Maker, float], ...] = (
    (_with_ports(tcp.conversation), 4),
    (_with_ports(asking.udp), 1),
    (_with_ports(asking.echo), 1),
    (_with_ports(errors.conversation), 1),
    (_with_ports(shaped.conversation), 1.5),
    (_with_ports(shaped.large_conversation), 0.5),
)
