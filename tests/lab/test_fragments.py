# SPDX-License-Identifier: MIT
"""Fragments for a real stack to put together. fw is on the server's only interface.

client eth0 ───────────── eth0 server (fw), which echoes UDP at port 7
"""

from __future__ import annotations

import pytest

from tests import packets as p
from tests.lab.attachment import protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import Wire
from tests.lab.wait import until

POLICY = """
    default in drop
    default out allow
    allow in udp to port 7
"""
SIZE = 24


class Sender:
    """Cuts datagrams for the echo server, and looks for their echoes."""

    def __init__(self, pair: PairLab, family: str) -> None:
        self.pair, self.family = pair, family
        pair.server.udp(7, any_address(family), echo=True)
        self.wire: Wire = pair.client.wire("eth0")

    def cut(self, sport: int, ident: int, text: bytes = b"x" * 56) -> list[p.Layer]:
        client, server = address(self.pair.client, self.family), address(self.pair.server, self.family)
        return p.fragments(p.ip(client, server, p.udp(sport, 7, text)), SIZE, ident)

    def send(self, *pieces: bytes) -> None:
        self.wire.send_to(self.pair.server.macs["eth0"], *pieces)

    def await_echo(self, sport: int) -> None:
        self.wire.catch(lambda packet: packet.sport == 7 and packet.dport == sport)

    def echoes(self, sport: int) -> int:
        return len(self.wire.caught(lambda packet: packet.sport == 7 and packet.dport == sport))


@pytest.mark.parametrize("word", ["pass", "drop"])
def test_later_ones_first(pair: PairLab, family: str, attach: str, word: str) -> None:
    """Last first, as some cards deliver them: the stack waits for the first, if fw lets it have the others."""
    sender = Sender(pair, family)
    protect(pair.server, POLICY + f"option fragments.early {word}", "eth0", attach=attach)
    one, *others = sender.cut(4000, 11)
    sender.send(*reversed(others), one)
    if word == "pass":
        sender.await_echo(4000)
        assert reasons(pair.server)["fragment_early"] == len(others)
    else:
        until(lambda: reasons(pair.server)["fragment_unknown"] == len(others), what="their drops")
        sender.send(*sender.cut(4001, 12))
        sender.await_echo(4001)
        assert sender.echoes(4000) == 0


def test_an_overlap_spoils_no_packet(pair: PairLab, family: str) -> None:
    """The stack gives up a packet when a fragment lies over another; behind fw it never sees that one."""
    sender = Sender(pair, family)

    def disturbed(sport: int, ident: int) -> list[p.Layer]:
        one, second, last = sender.cut(sport, ident)
        evil = sender.cut(sport, ident, b"y" * 56)[1]
        shifted = p.fragments(_whole(sender, sport), SIZE + 16, ident)[1]
        return [one, second, evil, shifted, last]

    sender.send(*disturbed(4000, 11))
    sender.send(*sender.cut(4001, 12))
    sender.await_echo(4001)
    assert sender.echoes(4000) == 0
    protect(pair.server, POLICY, "eth0")
    sender.send(*disturbed(4002, 13))
    sender.await_echo(4002)
    assert reasons(pair.server)["fragment_overlap"] >= 2


def _whole(sender: Sender, sport: int) -> p.Layer:
    client = address(sender.pair.client, sender.family)
    server = address(sender.pair.server, sender.family)
    return p.ip(client, server, p.udp(sport, 7, b"z" * 200))


def test_a_router_passes_them_both_ways(lab: RouterLab, family: str, attach: str) -> None:
    """Both its interfaces are protected: each packet meets two hooks, and so do its fragments."""
    protect(
        lab.router,
        "default in drop\ndefault out allow\nallow forward on lan0 via wan0",
        "lan0",
        "wan0",
        attach=attach,
    )
    for _ in range(10):
        lab.client.ping(address(lab.server, family), size=6000)
    dropped = {name: count for name, count in reasons(lab.router).items() if count and "fragment_" in name}
    assert not dropped
