# SPDX-License-Identifier: MIT
"""`fw flow list` and the packet path agree on a flow's state and on when it is gone.

The witness is an ICMP error that quotes the flow: it is `related` while the flow counts, and refreshes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firewall.bpfprog import Program
from firewall.events import Journal
from firewall.flows import Filter, Flow, Table
from firewall.pins import Pins
from tests.packet.path import PacketPath
from tests.packets import eth, icmp, icmp6, icmp_error, ip, tcp, udp

POLICY = "default in drop\ndefault out allow\n"
FAMILIES = pytest.mark.parametrize(
    ("us", "them"), [("192.0.2.1", "198.51.100.7"), ("2001:db8:1::1", "2001:db8:9::7")], ids=["v4", "v6"]
)
MARGIN_S = 3  # the clocks of the test and of the packet path differ by ticks


class PathPins(Pins):
    """The maps of a scratch copy, as if they were pinned."""

    def __init__(self, path: PacketPath) -> None:
        super().__init__(Path("/nonexistent"))
        self._path = path
        self._memory: Any = None

    def map(self, name: str) -> Any:
        return self._path.maps[name]

    def program(self, name: str) -> Program:
        return Program(os.dup(self._path.programs[name].fd))

    @property
    def control(self) -> Any:
        if self._memory is None:
            self._memory = self._path.maps["control"].mmap()
        return self._memory


def listed(path: PacketPath) -> list[Flow]:
    pins = PathPins(path)
    try:
        return list(Table(pins).chosen())
    finally:
        pins.control.close()


class Talk:
    """A TCP connection that this host opens: each letter pair is a side (o, r) and its segment's flags."""

    def __init__(self, path: PacketPath, us: str, them: str) -> None:
        self.path, self.us, self.them = path, us, them
        self.seq = {"o": 1000, "r": 5000}

    def say(self, side: str, flags: str) -> str:
        """Sends a segment that acknowledges all that the other side has sent; the reason it is counted under."""
        other = "r" if side == "o" else "o"
        ack = self.seq[other] if "A" in flags else 0
        ports = (4000, 443) if side == "o" else (443, 4000)
        ends = (self.us, self.them) if side == "o" else (self.them, self.us)
        packet = eth(ip(*ends, tcp(*ports, flags, seq=self.seq[side], ack=ack)))
        self.seq[side] += "S" in flags or "F" in flags
        verdict = self.path.egress(packet) if side == "o" else self.path.ingress(packet)
        return verdict.reason


HANDSHAKE = ["o S", "r SA", "o A"]
TCP_STATES = [
    ("syn_sent", ["o S"], 240),
    ("syn_recv", ["o S", "r SA"], 240),
    ("established", HANDSHAKE, 86400),
    ("fin_wait", [*HANDSHAKE, "o FA"], 240),
    ("fin_wait", [*HANDSHAKE, "r FA"], 240),
    ("last_ack", [*HANDSHAKE, "o FA", "r FA"], 240),
    ("time_wait", [*HANDSHAKE, "o FA", "r FA", "o A"], 240),
    ("closed", [*HANDSHAKE, "r RA"], 240),
    ("closed", [*HANDSHAKE, "o R"], 240),
]


def agree(path: PacketPath, witness: Callable[[], str], state: str, timeout_s: int) -> None:
    """Both see the flow in that state until its timeout, and neither does after it."""
    (flow,) = listed(path)
    assert flow.state == state
    assert timeout_s - MARGIN_S <= flow.expires_s <= timeout_s
    assert witness() == "related"
    path.age(timeout_s - MARGIN_S)
    (flow,) = listed(path)
    assert flow.expires_s <= MARGIN_S
    assert witness() == "related"
    path.age(2 * MARGIN_S)
    assert listed(path) == []
    assert witness() == "unrelated"


@FAMILIES
@pytest.mark.parametrize(
    ("state", "segments", "timeout_s"), TCP_STATES, ids=[" ".join(s) for _, s, _ in TCP_STATES]
)
def test_tcp(path: PacketPath, us: str, them: str, state: str, segments: list[str], timeout_s: int) -> None:
    path.policy(POLICY)
    talk = Talk(path, us, them)
    for segment in segments:
        assert talk.say(*segment.split()) in ("default_allow", "flow")
    quoted = ip(us, them, tcp(4000, 443, "A", seq=talk.seq["o"], ack=talk.seq["r"]))
    agree(path, lambda: path.ingress(eth(ip(them, us, icmp_error(quoted)))).reason, state, timeout_s)


@FAMILIES
@pytest.mark.parametrize("answered", [False, True], ids=["asked", "answered"])
@pytest.mark.parametrize("kind", ["udp", "echo", "other"])
def test_others(path: PacketPath, us: str, them: str, kind: str, answered: bool) -> None:
    path.policy(POLICY)
    echo, reply = (icmp, 0) if ":" not in us else (icmp6, 129)
    ask, answer = {
        "udp": (ip(us, them, udp(4000, 53)), ip(them, us, udp(53, 4000))),
        "echo": (ip(us, them, echo(ident=7)), ip(them, us, echo(reply, ident=7))),
        "other": (ip(us, them, b"12345678", proto=89), ip(them, us, b"12345678", proto=89)),
    }[kind]
    timeout_s = {"udp": (120, 180), "echo": (60, 60), "other": (120, 600)}[kind][answered]
    assert path.egress(eth(ask)).reason == "default_allow"
    if answered:
        assert path.ingress(eth(answer)).reason == "flow"
    witness = eth(ip(them, us, icmp_error(ask)))
    agree(path, lambda: path.ingress(witness).reason, "two_way" if answered else "one_way", timeout_s)


@FAMILIES
def test_a_revoked_connection(path: PacketPath, us: str, them: str) -> None:
    path.policy(POLICY)
    talk = Talk(path, us, them)
    for segment in HANDSHAKE:
        talk.say(*segment.split())
    path.policy("default in drop\ndefault out drop\n")
    assert talk.say("o", "A") == "revoked"
    (flow,) = listed(path)
    assert (flow.state, flow.expires_s) == ("revoked", 60) or flow.expires_s == 59
    path.age(60 - MARGIN_S)
    assert [flow.state for flow in listed(path)] == ["revoked"]
    assert talk.say("r", "A") == "revoked"
    path.age(60 + MARGIN_S)
    assert listed(path) == []
    assert talk.say("r", "A") == "no_flow"


@FAMILIES
def test_who_opened_it(path: PacketPath, us: str, them: str) -> None:
    path.policy(POLICY + "allow in tcp to port 22\n")
    path.egress(eth(ip(us, them, udp(4000, 53))))
    path.ingress(eth(ip(them, us, tcp(5000, 22, "S"))))
    path.egress(eth(ip(us, them, (icmp if ":" not in us else icmp6)(ident=77))))
    flows = {flow.proto: flow for flow in listed(path)}
    assert (flows[17].sport, flows[17].dport, flows[17].scope, flows[17].rule) == (4000, 53, "out", 0)
    assert (flows[6].sport, flows[6].dport, flows[6].scope, flows[6].rule) == (5000, 22, "in", 1)
    assert flows[6].src == flows[17].dst
    echo = flows[1 if ":" not in us else 58]
    assert (echo.sport, echo.icmp_id, echo.src) == (None, 77, flows[17].src)


def test_what_is_deleted_has_to_begin_anew(path: PacketPath) -> None:
    path.policy(POLICY)
    ask, answer = (
        eth(ip("192.0.2.1", "198.51.100.7", udp(4000, 53))),
        ip("198.51.100.7", "192.0.2.1", udp(53, 4000)),
    )
    path.egress(ask)
    path.egress(eth(ip("192.0.2.1", "198.51.100.7", udp(4001, 53))))
    pins = PathPins(path)
    table = Table(pins)
    assert table.counts() == (0, 2, 2)
    chosen = [flow.key for flow in table.chosen(Filter(port=4000))]
    assert (table.delete(chosen), table.delete(chosen)) == (1, 0)
    pins.control.close()
    assert [flow.sport for flow in listed(path)] == [4001]
    assert path.ingress(eth(answer)).reason == "default_drop"


@FAMILIES
def test_the_journal_says_what_the_packet_was(path: PacketPath, us: str, them: str) -> None:
    path.policy(POLICY)
    path.ingress(eth(ip(them, us, tcp(5000, 22, "S"))))
    path.ingress(eth(ip(them, us, (icmp if ":" not in us else icmp6)(ident=9))))
    path.ingress(eth(b"\0" * 46, ethertype=0x88B5))
    segment, echo, strange = Journal(PathPins(path)).read()
    assert (segment.src, segment.sport, segment.dst, segment.dport) == (them, 5000, us, 22)
    assert (segment.reason, segment.tcp_flags, segment.scope) == ("default_drop", "S", "in")
    assert segment.in_ifindex == path.ifindex["wan"] and segment.out_ifindex == 0
    assert echo.icmp_type == (8 if ":" not in us else 128) << 8 and echo.sport is None
    assert (strange.reason, strange.eth_proto, strange.src) == ("not_ip", 0x88B5, "")
    assert segment.number + 2 == echo.number + 1 == strange.number
