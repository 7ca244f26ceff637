# SPDX-License-Identifier: MIT
"""Answers to broadcast and multicast questions reach the socket that asked, and nobody else's datagrams do.

client                     server
eth0 ─────────────────────── eth0, protected
"""

from __future__ import annotations

import pytest

from tests.lab.attachment import protect, reasons
from tests.lab.conftest import any_address
from tests.lab.lab import PairLab

QUIET_S = 0.5
TO_MANY = {
    "subnet broadcast": ("192.0.2.255", 137),
    "all hosts": ("224.0.0.1", 5353),
    "all nodes": ("ff02::1%eth0", 5353),
}


@pytest.mark.parametrize("question", TO_MANY)
def test_whoever_answers_is_heard(pair: PairLab, question: str) -> None:
    to, port = TO_MANY[question]
    anywhere = any_address("ipv6" if ":" in to else "ipv4")
    protect(pair.server, "default in drop\ndefault out allow", "eth0")
    pair.server.ip("route add 224.0.0.0/4 dev eth0")
    asked, asking = pair.client.udp(port, anywhere), pair.server.udp(address=anywhere)
    stranger = pair.client.udp(port + 1, anywhere)
    asking.send(b"who is there?", (to, port))
    text, asker = asked.recv()
    assert text == b"who is there?"
    stranger.send(b"not asked", asker)
    asked.send(b"me", asker)
    answer, who = asking.recv()
    assert answer == b"me", "what the stranger sent came first, and was dropped"
    asking.send(b"and where?", who)
    assert asked.recv()[0] == b"and where?"
    with pytest.raises(TimeoutError):
        asking.recv(QUIET_S)
    counted = reasons(pair.server)
    assert counted["expected"] == 1 and counted["default_drop"] >= 1


def test_nobody_may_answer_what_was_not_asked(pair: PairLab) -> None:
    protect(pair.server, "default in drop\ndefault out allow", "eth0")
    waiting, stranger = pair.server.udp(5000), pair.client.udp(137)
    stranger.send(b"me", ("192.0.2.1", 5000))
    with pytest.raises(TimeoutError):
        waiting.recv(QUIET_S)
    assert not reasons(pair.server)["expected"]
