# SPDX-License-Identifier: MIT
"""Loading fw on a machine that is at work: connections that were there before go on.

client ───────── lan0 router wan0 ───────── server
                     nft, then fw

50 connections each: to the router (in), from it (out), through it (forward), and through it under the router's
address (masqueraded by nft). Half of each are busy while fw is loaded; the others are silent for a minute.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests import packets as p
from tests.lab.attachment import flows, protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import Listener, Stream, all_busy, no_tcp
from tests.lab.wait import until

MASQUERADE = """
table inet nat {
    chain out {
        type nat hook postrouting priority srcnat;
        iifname "lan0" oifname "wan0" tcp dport 443 masquerade
    }
}
"""
HOME = """
    default in drop
    default forward drop
    default out allow
    allow in tcp to port 80 on wan0
    allow forward on lan0 via wan0
"""
EACH = 50
SILENCE_S = 60


@dataclass
class Talk:
    """A connection with both of its sides in hand; the listener's side holds."""

    ours: Stream
    theirs: Stream

    def both_ways(self) -> None:
        self.theirs.send(b"are you there?", 15)
        assert self.ours.recv(14, 15) == b"are you there?", f"{self.ours.local} heard nothing"
        self.ours.send(b"yes", 15)
        assert self.theirs.recv(3, 15) == b"yes", f"{self.theirs.peer} heard nothing"


def talks(
    host: Host, to: str, listener: Listener, seen_as: str | None = None, each: int = EACH
) -> list[Talk]:
    """So many connections from `host`; `seen_as`: its address as the listener sees it."""
    made = []
    for _ in range(each):
        ours = host.connect(to, listener.port)
        theirs = listener.accepted((seen_as or ours.local[0], ours.local[1]))
        made.append(Talk(ours, theirs))
    return made


@pytest.mark.timeout(300)
def test_two_hundred_connections_outlive_a_load(lab: RouterLab, family: str) -> None:
    router, server = address(lab.router, family), address(lab.server, family)
    lab.router.run("nft -f -", input=MASQUERADE)
    inward = lab.router.listen(80, any_address(family), mode="hold")
    plain, hidden = (lab.server.listen(port, any_address(family), mode="hold") for port in (7, 443))
    groups = {
        "in": talks(lab.server, router, inward),
        "out": talks(lab.router, server, plain),
        "forward": talks(lab.client, server, plain),
        "masqueraded": talks(lab.client, server, hidden, seen_as=router),
    }
    busy = [talk for group in groups.values() for talk in group[: EACH // 2]]
    silent = [talk for group in groups.values() for talk in group[EACH // 2 :]]
    for talk in busy:
        talk.theirs.become("echo")
        talk.ours.become("busy")
    streams = [talk.ours for talk in busy]
    all_busy(streams)

    protect(lab.router, HOME, "wan0", "lan0")
    loaded_s = time.monotonic()

    all_busy(streams)
    while time.monotonic() < loaded_s + SILENCE_S:
        all_busy(streams, more_rounds=100)
    for talk in silent:
        talk.both_ways()
    assert len(silent) == len(busy) == 2 * EACH
    counted = reasons(lab.router)
    assert counted["default_drop"] + counted["no_flow"] + counted["revoked"] == 0, counted


def test_a_scanner_opens_nothing_while_grace_lasts(lab: RouterLab, family: str, attach: str) -> None:
    """Right after the first load: segments from the middle of no connection, to closed ports and open ones."""
    router, server = address(lab.router, family), address(lab.server, family)
    lab.router.listen(80, any_address(family))
    lab.router.listen(81, any_address(family))
    protect(lab.router, HOME, "wan0", "lan0", attach=attach)
    wire = lab.server.wire("eth0")
    to = lab.router.macs["wan0"]
    for port in (22, 81, 9999):
        for flags in ("A", "PA", "FA", "SA"):
            wire.send_to(to, p.ip(server, router, p.tcp(4000, port, flags, b"x", seq=1, ack=1)))
    until(lambda: sum(reasons(lab.router).values()) >= 12, what="all of them judged")
    assert flows(lab.router, proto="tcp") == []
    assert wire.caught(lambda packet: packet.src == router and packet.proto == p.TCP) == []
    assert no_tcp(lab.server, router, 81)


def test_a_scanner_opens_nothing_into_the_inner_network(lab: RouterLab, family: str) -> None:
    client, server = address(lab.client, family), address(lab.server, family)
    lab.client.listen(80, any_address(family))
    protect(lab.router, HOME, "wan0", "lan0")
    ear = lab.client.wire("eth0")
    wire = lab.server.wire("eth0")
    for flags in ("A", "PA", "SA"):
        wire.send_to(
            lab.router.macs["wan0"], p.ip(server, client, p.tcp(4000, 80, flags, b"x", seq=1, ack=1))
        )
    until(lambda: sum(reasons(lab.router).values()) >= 3, what="all of them judged")
    assert ear.caught(lambda packet: packet.src == server) == []


def test_a_router_without_conntrack_takes_over_what_its_far_end_sends(lab: RouterLab, family: str) -> None:
    """Nothing is tracked, not even the router's own connections: so it is not known which ones are forwarded."""
    router, server = address(lab.router, family), address(lab.server, family)
    own = lab.server.connect(router, lab.router.listen(80, any_address(family)).port)
    listener = lab.server.listen(7, any_address(family), mode="hold")
    forwarded = talks(lab.client, server, listener, each=1)
    protect(lab.router, HOME, "wan0", "lan0")
    forwarded[0].both_ways()
    own.echo()


def test_what_is_not_allowed_does_not_go_on(pair: PairLab, family: str) -> None:
    """A connection to a port that the new policy closes ends with the load."""
    listener = pair.server.listen(23, any_address(family))
    stream = pair.client.connect(address(pair.server, family), listener.port)
    stream.echo()
    protect(pair.server, "default in drop\ndefault out drop", "eth0")
    stream.send(b"still there?")
    with pytest.raises(TimeoutError):
        stream.recv(1, 0.5)


def test_udp_conversations_of_the_host_go_on(pair: PairLab, family: str) -> None:
    """A resolver that waits for its answer while fw is loaded gets it."""
    client = address(pair.client, family)
    asked = pair.client.udp(53, any_address(family))
    asking = pair.server.udp(address=any_address(family))
    asking.connect(client, 53)
    asking.send(b"?")
    _question, end = asked.recv()
    protect(pair.server, "default in drop\ndefault out allow", "eth0")
    asked.send(b"!", end)
    assert asking.recv()[0] == b"!"
