# SPDX-License-Identifier: MIT
"""A protected host. fw is on the server's only interface.

client eth0 ───────────── eth0 server (fw)
"""

from __future__ import annotations

import pytest

from tests import packets as p
from tests.lab import traffic
from tests.lab.attachment import drops, flows, protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.lab import PairLab
from tests.lab.traffic import asks, no_ping, no_tcp, no_udp, pings, reaches
from tests.lab.wait import until

CLOSED = """
    default in drop
    default out allow
"""
WEB = CLOSED + "allow in tcp to port 80"


def test_what_goes_out_is_answered_and_nothing_else_comes_in(pair: PairLab, family: str, attach: str) -> None:
    client, server = address(pair.client, family), address(pair.server, family)
    for host in pair.hosts:
        host.listen(7, any_address(family))
        host.udp(7, any_address(family), echo=True)
    assert reaches(pair.client, server, 7) and asks(pair.client, server, 7) and pings(pair.client, server)

    protect(pair.server, CLOSED, "eth0", attach=attach)

    assert reaches(pair.server, client, 7) and asks(pair.server, client, 7) and pings(pair.server, client)
    assert no_tcp(pair.client, server, 7)
    assert no_udp(pair.client, server, 7)
    assert no_ping(pair.client, server)
    assert {drop["proto"] for drop in drops(pair.server, dst=server, reason="default_drop")} >= {"tcp", "udp"}


def test_a_rule_opens_one_port_alone(pair: PairLab, family: str, attach: str) -> None:
    server = address(pair.server, family)
    for port in (80, 81):
        pair.server.listen(port, any_address(family))
    protect(pair.server, WEB, "eth0", attach=attach)

    stream = pair.client.connect(server, 80)
    stream.echo(b"GET /")
    assert no_tcp(pair.client, server, 81)
    (flow,) = flows(pair.server, proto="tcp", dport=80)
    assert (flow["src"], flow["sport"], flow["dst"]) == (*stream.local, server)
    assert flow["state"] == "established"
    assert flow["packets"] >= 2 and flow["reply_packets"] >= 2


def test_a_connection_ends_in_the_table_as_on_the_wire(pair: PairLab) -> None:
    listener = pair.server.listen(80, mode="hold")
    protect(pair.server, WEB, "eth0")

    def state(port: int) -> str:
        (flow,) = flows(pair.server, proto="tcp", sport=port)
        return str(flow["state"])

    first = pair.client.connect(pair.server.v4, 80)
    other_side = listener.accepted(first.local)
    first.shutdown()
    assert other_side.recv(1) == b""
    assert state(first.local[1]) == "fin_wait"
    other_side.close()
    until(lambda: state(first.local[1]) == "time_wait", what="both FINs acknowledged")

    second = pair.client.connect(pair.server.v4, 80)
    second.close(reset=True)
    until(lambda: state(second.local[1]) == "closed", what="the reset seen")


def test_an_icmp_error_finds_its_flow(pair: PairLab, family: str, attach: str) -> None:
    """The server asks a closed UDP port: its port unreachable reaches the socket."""
    protect(pair.server, CLOSED, "eth0", attach=attach)
    socket = pair.server.udp(address=any_address(family))
    socket.connect(address(pair.client, family), 9)
    socket.send(b"anyone?")
    with pytest.raises(ConnectionRefusedError):
        socket.recv()
    assert reasons(pair.server)["related"] == 1


def test_an_icmp_error_that_nothing_asked_for_is_dropped(pair: PairLab, family: str) -> None:
    """The client makes up errors: about a connection that is not there, and about one of others."""
    client, server = address(pair.client, family), address(pair.server, family)
    protect(pair.server, CLOSED, "eth0")
    wire = pair.client.wire("eth0")
    for quoted in (
        p.ip(server, client, p.udp(5000, 53, b"never sent")),
        p.ip(server, client, p.tcp(5000, 80, "S", seq=1)),
        p.ip(client, server, p.udp(53, 5000, b"the wrong way round")),
    ):
        wire.send_to(pair.server.macs["eth0"], p.ip(client, server, p.icmp_error(quoted)))
    until(lambda: reasons(pair.server)["unrelated"] == 3, what="three drops")
    assert reasons(pair.server)["related"] == 0


def test_fragments_follow_their_first(pair: PairLab, family: str, attach: str) -> None:
    """Questions and answers larger than the wire, both ways, and fragments whose first was not allowed."""
    client, server = address(pair.client, family), address(pair.server, family)
    for host in pair.hosts:
        host.udp(7, any_address(family), echo=True)
    policy = CLOSED + "allow in udp to port 7 from any\noption fragments.early drop"
    protect(pair.server, policy, "eth0", attach=attach)
    large = bytes(range(256)) * 20
    assert pair.client.udp(address=any_address(family)).ask(server, 7, large) == large
    assert pair.server.udp(address=any_address(family)).ask(client, 7, large) == large
    assert reasons(pair.server)["fragment"] >= 8

    wire = pair.client.wire("eth0")
    _first, *later = p.fragments(p.ip(client, server, p.udp(1, 7, bytes(3000))), 1000, ident=77)
    wire.send_to(pair.server.macs["eth0"], *later)
    until(lambda: reasons(pair.server)["fragment_unknown"] == len(later), what="all of them dropped")


def test_no_segment_but_a_syn_opens_a_connection(pair: PairLab, family: str) -> None:
    client, server = address(pair.client, family), address(pair.server, family)
    pair.server.listen(80, any_address(family))
    protect(pair.server, "option load.grace 0s\n" + WEB, "eth0")
    wire = pair.client.wire("eth0")
    for flags in ("A", "SA", "PA", "FA", "R", "RA"):
        wire.send_to(pair.server.macs["eth0"], p.ip(client, server, p.tcp(4000, 80, flags, seq=5, ack=6)))
    for flags in ("", "SF", "SR", "FSRPAU", "FPU"):
        wire.send_to(pair.server.macs["eth0"], p.ip(client, server, p.tcp(4001, 80, flags)))
    answers = wire.caught(lambda packet: packet.src == server and packet.sport == 80)
    assert answers == []
    counted = reasons(pair.server)
    assert counted["bad_tcp_flags"] == 5
    assert counted["no_flow"] + counted["bad_handshake"] == 6
    assert flows(pair.server, proto="tcp", dport=80) == []


def test_an_answer_comes_from_the_address_that_was_asked(pair: PairLab, family: str) -> None:
    """A second address of the client answers in the first one's stead: that is another conversation."""
    client, server = address(pair.client, family), address(pair.server, family)
    other, length = ("192.0.2.77", 24) if family == "ipv4" else ("2001:db8::77", 64)
    pair.client.ip(f"addr add {other}/{length} dev eth0 {'nodad' if family == 'ipv6' else ''}")
    protect(pair.server, CLOSED, "eth0")
    asking = pair.server.udp(address=any_address(family))
    asked, stranger = pair.client.udp(5300, client), pair.client.udp(5300, other)
    asking.send(b"?", (client, 5300))
    _question, end = asked.recv()
    stranger.send(b"!", end)
    with pytest.raises(TimeoutError):
        asking.recv(traffic.SILENCE_S)
    asked.send(b"!", end)
    assert asking.recv()[1] == (client, 5300)
    assert drops(pair.server, src=other, dst=server)


def test_observing_drops_nothing_but_tells(pair: PairLab, attach: str) -> None:
    pair.server.listen(81)
    pair.server.save_policy(CLOSED)
    pair.server.fw("load", "eth0", "--observe", "--attach", attach)
    assert reaches(pair.client, pair.server.v4, 81)
    assert pair.server.fw_json("status")["mode"] == "observe"
    assert drops(pair.server, dport=81, reason="default_drop")
    pair.server.fw("mode enforce")
    assert no_tcp(pair.client, pair.server.v4, 81)
    pair.server.fw("mode observe")
    assert reaches(pair.client, pair.server.v4, 81)


def test_neighbours_are_found_anew_while_all_is_closed(pair: PairLab, family: str, attach: str) -> None:
    """ARP and neighbour discovery are built in: without them nothing would go out for long."""
    protect(pair.server, CLOSED, "eth0", attach=attach)
    pair.client.listen(7, any_address(family))
    for host in pair.hosts:
        host.ip("neigh flush all")
    assert reaches(pair.server, address(pair.client, family), 7)
    assert reasons(pair.server)["builtin_arp" if family == "ipv4" else "builtin_nd"] >= 1
