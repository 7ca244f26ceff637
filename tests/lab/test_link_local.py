# SPDX-License-Identifier: MIT
"""The same pair of link-local addresses on two wires: two conversations that must not be taken for one.

          ┌── eth0 ───────────── eth0 left      fe80::2
server ───┤    fe80::1 on both
  (fw)    └── eth1 ───────────── eth0 right     fe80::2
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.attachment import flows, protect
from tests.lab.lab import Lab
from tests.lab.traffic import no_tcp, no_udp

POLICY = """
    default in drop
    default out allow
    allow in udp to port 7 on eth0
    allow in tcp to port 7 on eth0
"""


class TwinsLab(Lab):
    def build(self) -> None:
        self.server, self.left, self.right = self.host("server"), self.host("left"), self.host("right")
        for number, twin in enumerate((self.left, self.right)):
            self.link(self.server, f"eth{number}", twin, "eth0")
            self.server.ip(f"addr add fe80::1/64 dev eth{number} nodad")
            twin.ip("addr add fe80::2/64 dev eth0 nodad")
        for host in self.hosts:
            host.await_links()


@pytest.fixture
def twins() -> Iterator[TwinsLab]:
    with TwinsLab() as lab:
        yield lab


def test_a_flow_on_one_wire_opens_nothing_on_the_other(twins: TwinsLab, attach: str) -> None:
    """The same addresses and the same ports: left is allowed, right is not, whoever comes first."""
    listener = twins.server.listen(7, "::")
    twins.server.udp(7, "::", echo=True)
    protect(twins.server, POLICY, "eth0", "eth1", attach=attach)

    stream = twins.left.connect("fe80::1%eth0", 7, source="fe80::2%eth0", sport=4000)
    stream.echo(b"from the left")
    assert listener.accepted(stream.local)
    question = twins.left.udp(4001, "fe80::2%eth0")
    assert question.ask("fe80::1%eth0", 7, b"left?") == b"left?"

    assert no_udp(twins.right, "fe80::1%eth0", 7)
    same = twins.right.udp(4001, "fe80::2%eth0")
    same.send(b"right?", ("fe80::1%eth0", 7))
    assert no_tcp(twins.right, "fe80::1%eth0", 7)
    with pytest.raises(TimeoutError):
        same.recv(0.3)
    stream.echo(b"left again")


def test_both_wires_carry_the_same_conversation_at_the_same_time(twins: TwinsLab) -> None:
    protect(twins.server, "default in drop\ndefault out allow", "eth0", "eth1")
    for twin in (twins.left, twins.right):
        twin.udp(53, "::", echo=True)
    for number in (0, 1):
        socket = twins.server.udp(5000, f"fe80::1%eth{number}", device=f"eth{number}")
        assert socket.ask(f"fe80::2%eth{number}", 53, b"who?") == b"who?"
    found = flows(twins.server, proto="udp", src="fe80::1", sport=5000, dst="fe80::2", dport=53)
    assert len(found) == 2
    assert all(flow["packets"] == flow["reply_packets"] == 1 for flow in found)
