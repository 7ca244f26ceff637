# SPDX-License-Identifier: MIT
"""Both ends hear of a connection that the rules end: a copy goes back, and the packet goes on as a reset."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from firewall import abi, flowrestore, flowsave
from tests import dissect
from tests.packet.ends import FAMILIES, V4, Connection, Ends
from tests.packet.path import PASS, REDIRECT, SHOT, PacketPath, Verdict, let_time_pass
from tests.packet.test_flow_listing import PathPins
from tests.packet.test_translation import MASQUERADE, Crossing, Masquerade
from tests.packets import MAC_A, MAC_B, Layer, eth, fragments, ip, tcp

OPEN = "default in drop\nallow in tcp to port 22\n"
Begun = Callable[[PacketPath, Ends], Connection]
HOOKS = pytest.mark.parametrize("leaves", [False, True], ids=["ingress", "egress"])


@pytest.fixture
def running(path: PacketPath, ends: Ends) -> Connection:
    """Both have sent something, which the other one has acknowledged; next are 106 and 908."""
    path.policy(OPEN)
    connection = Connection(path, ends)
    connection.establish()
    connection.o("PA", 101, 901, b"hello")
    connection.r("PA", 901, 106, b"welcome")
    connection.o("A", 106, 908)
    let_time_pass(0.02)
    return connection


def passed_on(verdict: Verdict, src: str, dst: str) -> dissect.Packet:
    assert (verdict.reason, verdict.action) == ("revoked", PASS)
    reset = dissect.frame(verdict.out)
    assert reset.sums_right and (reset.src, reset.dst) == (src, dst)
    assert (reset.src_mac, reset.dst_mac) == (MAC_A, MAC_B)
    assert (reset.flags, reset.ack, reset.window, reset.payload) == ("R", 0, 0, b"")
    return reset


@FAMILIES
@HOOKS
@pytest.mark.parametrize("behind", [0, 3])
def test_the_first_packet_goes_on_as_a_reset(
    path: PacketPath, running: Connection, ends: Ends, leaves: bool, behind: int
) -> None:
    """With the number that its receiver expects next, whatever its own is; those that follow are turned around."""
    path.policy("reject in tcp to port 22\n")
    before = path.reasons()["revoked"]
    if leaves:
        reset = passed_on(running.r("PA", 908 - behind, 106, b"again"), ends.us, ends.them)
        assert (reset.seq, reset.sport, reset.dport) == (908, 22, 4000)
    else:
        reset = passed_on(running.o("PA", 106 - behind, 908, b"again"), ends.them, ends.us)
        assert (reset.seq, reset.sport, reset.dport) == (106, 4000, 22)
    assert path.reasons()["revoked"] == before + 1
    assert [running.o("A", 106, 908).action, running.r("A", 908, 106).action] == [REDIRECT] * 2


@FAMILIES
def test_egress_believes_what_ingress_passed_on(path: PacketPath, ends: Ends) -> None:

    def there(segment: Layer) -> bytes:
        return eth(ip(ends.inside, ends.them, segment))

    path.policy("option antispoof off\nallow forward on lan via wan tcp to port 80\n")
    path.ingress(there(tcp(5000, 80, "S", seq=100)), on="lan")
    path.ingress(eth(ip(ends.them, ends.inside, tcp(80, 5000, "SA", seq=900, ack=101))))
    path.ingress(there(tcp(5000, 80, "A", seq=101, ack=901)), on="lan")
    path.policy("option antispoof off\nreject forward tcp to port 80\n")
    let_time_pass(0.02)
    verdict = path.ingress(there(tcp(5000, 80, "PA", b"lost", seq=101, ack=901)), on="lan")
    assert passed_on(verdict, ends.inside, ends.them).seq == 101
    assert path.egress(verdict.out, on="wan", came_by="lan").reason == "answer"


@FAMILIES
@HOOKS
@pytest.mark.parametrize(
    ("policy", "flags"),
    [("default in drop\n", "A"), ("reject in\n", "RA")],
    ids=["dropped", "a reset itself"],
)
def test_what_is_dropped_and_a_reset_go_nowhere(
    path: PacketPath, running: Connection, leaves: bool, policy: str, flags: str
) -> None:
    path.policy(policy)
    verdict = running.r(flags, 908, 106) if leaves else running.o(flags, 106, 908)
    assert (verdict.reason, verdict.action) == ("revoked", SHOT)


@FAMILIES
def test_one_end_alone_where_the_other_has_acknowledged_nothing(path: PacketPath, ends: Ends) -> None:
    """Nobody can tell what a SYN's sender has, who has not answered the SYN-ACK."""
    path.policy(OPEN)
    path.ingress(ends.arriving(tcp(4000, 22, "S", seq=100)))
    path.egress(ends.leaving(tcp(22, 4000, "SA", seq=900, ack=101)))
    path.policy("reject in tcp to port 22\n")
    let_time_pass(0.02)
    assert path.egress(ends.leaving(tcp(22, 4000, "SA", seq=900, ack=101))).action == REDIRECT


def met_midway(path: PacketPath, ends: Ends) -> Connection:
    """We opened it; the numbers of both sides are those of `running`, where nobody has seen a SYN."""
    path.policy("default out allow\noption tcp.pickup outbound\n")
    connection = Connection(path, ends, we_open=True)
    assert connection.o("PA", 101, 908, b"hello").reason == "pickup"
    assert connection.r("A", 908, 106).reason == "flow"
    return connection


def restored(path: PacketPath, ends: Ends) -> Connection:
    """They opened it, and it comes from a file."""
    path.policy(OPEN)
    connection = Connection(path, ends)
    connection.establish(100, 907)
    connection.o("PA", 101, 908, b"hello")
    connection.r("A", 908, 106)
    pins = PathPins(path)
    try:
        lines = [f"{line}\n".encode() for line in flowsave.save(pins)]
        path.reset_flows()
        assert flowrestore.restore(pins, flowrestore.read(pins, lines, "file")).restored == 1
    finally:
        pins.control.close()
    return connection


@FAMILIES
@pytest.mark.parametrize("begun", [met_midway, restored])
@pytest.mark.parametrize("opener", [False, True], ids=["the responder sends", "the opener sends"])
def test_one_end_alone_while_numbers_are_not_known(
    path: PacketPath, ends: Ends, begun: Begun, opener: bool
) -> None:
    """Both have acknowledged something, but it may be anybody who said what: so nothing is told to the other end."""
    connection = begun(path, ends)
    _, _, flow = path.the_flow()
    assert flow.flags & abi.FlowFlags.FLOW_LIBERAL
    assert all(side.flags & abi.SideFlags.SIDE_ACK for side in flow.side)
    assert not all(side.flags & abi.SideFlags.SIDE_SETTLED for side in flow.side)
    path.policy("reject in, out tcp\n")
    let_time_pass(0.02)
    for _ in range(2):
        verdict = connection.o("PA", 106, 908, b"on") if opener else connection.r("PA", 908, 106, b"on")
        assert (verdict.reason, verdict.action) == ("revoked", REDIRECT)


@FAMILIES
@pytest.mark.parametrize("opener", [False, True], ids=["the responder sends", "the opener sends"])
def test_both_ends_once_the_numbers_are_known(path: PacketPath, ends: Ends, opener: bool) -> None:
    connection = met_midway(path, ends)
    connection.o("A", 106, 908)
    path.policy("reject in, out tcp\n")
    let_time_pass(0.02)
    if opener:
        assert passed_on(connection.o("PA", 106, 908, b"on"), ends.us, ends.them).seq == 106
    else:
        assert passed_on(connection.r("PA", 908, 106, b"on"), ends.them, ends.us).seq == 908


@FAMILIES
def test_in_observe_mode_it_goes_on_as_it_is(path: PacketPath, running: Connection, ends: Ends) -> None:
    path.control(mode=abi.Mode.MODE_OBSERVE)
    path.policy("reject in tcp to port 22\n")
    frame = ends.arriving(tcp(4000, 22, "PA", b"still", seq=106, ack=908))
    verdict = path.ingress(frame)
    assert (verdict.reason, verdict.action, bytes(verdict.out)) == ("revoked", PASS, bytes(frame))


@FAMILIES
@HOOKS
def test_the_same_ports_connect_again_when_the_rules_let_them(
    path: PacketPath, running: Connection, leaves: bool
) -> None:
    """Also if they went on trying: what was reset is over, and a SYN begins another connection."""
    path.policy("reject in tcp to port 22\n")
    assert (running.r("A", 908, 106) if leaves else running.o("A", 106, 908)).action == PASS
    for number in range(20):
        path.age(50)
        assert running.o("S", 5000 + number).reason == "rule_reject"
    path.policy(OPEN)
    assert running.o("S", 50_000).reason == "rule_allow"
    assert running.r("SA", 70_000, 50_001).reason == "flow"
    assert running.o("PA", 50_001, 70_001, b"hello").reason == "flow"
    assert running.r("A", 70_001, 50_006).reason == "flow"


@FAMILIES
@pytest.mark.parametrize("first", ["inside", "outside"])
def test_what_is_translated_is_over_on_both_sides_of_it(path: PacketPath, ends: Ends, first: str) -> None:
    policy = "option antispoof off\n" + MASQUERADE
    path.policy(policy)
    nat = Masquerade(path, ends)

    def connect(ours: int, theirs: int) -> list[Crossing]:
        return [
            nat.tcp_out("S", ours),
            nat.tcp_back("SA", theirs, ours + 1),
            nat.tcp_out("A", ours + 1, theirs + 1),
            nat.tcp_back("A", theirs + 1, ours + 1),
        ]

    began = connect(100, 900)
    path.policy("option antispoof off\nreject forward tcp to port 80\n")
    let_time_pass(0.02)
    if first == "inside":
        segment = eth(ip(ends.inside, ends.them, tcp(5000, 80, "A", seq=101, ack=901)))
        assert path.ingress(segment, on="lan").action == PASS
        reset = eth(ip(ends.us, ends.them, tcp(6000, 80, "R", seq=101)))
        assert path.egress(reset, on="wan", came_by="lan").reason == "answer"
    else:
        segment = eth(ip(ends.them, ends.us, tcp(80, 6000, "A", seq=901, ack=101)))
        assert path.ingress(segment).action == PASS
        reset = eth(ip(ends.them, ends.inside, tcp(80, 5000, "R", seq=901)))
        assert path.egress(reset, on="lan", came_by="wan").reason == "answer"
    path.policy(policy)
    assert connect(50_000, 70_000) == began


def test_each_connection_is_reset_at_both_ends_as_far_as_answers_go(path: PacketPath) -> None:
    """Who was not heard of for want of a token, or since the rules only dropped it, is reset at its next segment."""
    path.policy(OPEN)
    ports = range(4000, 4003)

    def says(port: int) -> int:
        return path.ingress(V4.arriving(tcp(port, 22, "A", seq=101, ack=901))).action

    for port in ports:
        path.ingress(V4.arriving(tcp(port, 22, "S", seq=100)))
        path.egress(V4.leaving(tcp(22, port, "SA", seq=900, ack=101)))
        path.ingress(V4.arriving(tcp(port, 22, "A", seq=101, ack=901)))
        path.egress(V4.leaving(tcp(22, port, "A", seq=901, ack=101)))
    path.policy("drop in tcp to port 22\n")
    assert {says(port) for port in ports} == {SHOT}
    path.policy("option reject.rate 1\nreject in tcp to port 22\n")
    let_time_pass(1.1)
    assert [says(port) for port in ports] == [PASS, SHOT, SHOT]
    let_time_pass(1.1)
    assert says(4001) == PASS


@FAMILIES
def test_the_number_counts_what_was_acknowledged_of_fragments(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    connection = Connection(path, ends)
    connection.establish()
    whole = ip(ends.them, ends.us, tcp(4000, 22, "PA", bytes(1000), seq=101, ack=901))
    for fragment in fragments(whole, 480):
        path.ingress(eth(fragment))
    connection.r("A", 901, 1101)
    path.policy("reject in tcp to port 22\n")
    let_time_pass(0.02)
    assert passed_on(connection.o("PA", 1101, 901, b"x"), ends.them, ends.us).seq == 1101
