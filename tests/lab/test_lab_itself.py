# SPDX-License-Identifier: MIT
"""The laboratory without fw: what its parts promise, so that other tests can blame fw."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import packets as p
from tests.lab import traffic
from tests.lab.conftest import address, any_address
from tests.lab.host import CommandFailed
from tests.lab.lab import Lab, PairLab, RouterLab
from tests.lab.wait import until


def namespaces() -> list[str]:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()


def test_a_router_between_two_networks_carries_everything(lab: RouterLab, family: str) -> None:
    server, client = address(lab.server, family), address(lab.client, family)
    listener = lab.server.listen(address=any_address(family))
    stream = lab.client.connect(server, listener.port)
    stream.echo(b"over the router")
    assert stream.local[0] == client

    questions = lab.server.udp(address=any_address(family), echo=True)
    assert lab.client.udp(address=any_address(family)).ask(server, questions.local[1], b"hm?") == b"hm?"

    assert 0 < lab.client.ping(server) < 2
    assert traffic.pings(lab.server, client)


def test_both_sides_of_a_connection_can_speak_first(pair: PairLab) -> None:
    listener = pair.server.listen(mode="hold")
    ours = pair.client.connect(pair.server.v4, listener.port)
    theirs = listener.accepted(ours.local)
    theirs.send(b"welcome")
    assert ours.recv(7) == b"welcome"
    ours.send(b"thanks")
    assert theirs.recv(6) == b"thanks"
    ours.shutdown()
    assert theirs.recv(1) == b""
    theirs.close(reset=True)
    with pytest.raises(ConnectionResetError):
        ours.recv(1)


def test_hundreds_of_connections_are_cheap(pair: PairLab) -> None:
    listener = pair.server.listen()
    streams = [pair.client.connect(pair.server.v4, listener.port) for _ in range(300)]
    for stream in streams[:100]:
        stream.become("busy")
    traffic.all_busy(streams[:100])
    for stream in streams[100:]:
        stream.echo()


def test_bulk_arrives_whole(lab: RouterLab) -> None:
    listener = lab.server.listen(mode="sink")
    stream = lab.client.connect(lab.server.v4, listener.port)
    sink = listener.accepted(stream.local)
    stream.send_zeros(20_000_000)
    until(lambda: sink.swallowed() == 20_000_000, what="all of it")


SILENT = """
table inet t {
    chain in {
        type filter hook input priority 0;
        tcp dport 9 drop
        udp dport 9 reject
        meta l4proto { icmp, ipv6-icmp } @th,0,8 { 8, 128 } drop
    }
}
"""


def test_silence_is_told_from_refusal(pair: PairLab, family: str) -> None:
    server = address(pair.server, family)
    with pytest.raises(ConnectionRefusedError):
        pair.client.connect(server, 9)
    pair.server.run("nft -f -", input=SILENT)
    assert traffic.no_tcp(pair.client, server, 9)
    assert traffic.no_ping(pair.client, server)
    asking = pair.client.udp(address=any_address(family))
    asking.connect(server, 9)
    asking.send(b"?")
    with pytest.raises(ConnectionRefusedError):
        asking.recv()


def test_frames_built_by_hand_are_understood_by_the_kernel(pair: PairLab, family: str) -> None:
    """A hand-made SYN is answered by the server's own stack, a hand-made UDP question by its socket."""
    client, server = address(pair.client, family), address(pair.server, family)
    listener = pair.server.listen(address=any_address(family))
    questions = pair.server.udp(address=any_address(family), echo=True)
    wire = pair.client.wire("eth0")
    mac = pair.server.macs["eth0"]
    wire.send_to(mac, p.ip(client, server, p.tcp(4444, listener.port, "S", seq=99, options=p.mss(1400))))
    answer = wire.catch(lambda packet: packet.dport == 4444)
    assert (answer.flags, answer.ack, answer.src) == ("SA", 100, server)
    wire.send_to(mac, p.ip(client, server, p.udp(4445, questions.local[1], b"by hand")))
    assert wire.catch(lambda packet: packet.dport == 4445).payload == b"by hand"
    wire.send_to(mac, *p.fragments(p.ip(client, server, p.udp(4446, questions.local[1], bytes(900))), 304))
    assert len(wire.catch(lambda packet: packet.dport == 4446).payload) == 900


def test_a_wire_shows_tags_that_the_kernel_has_taken_off(pair: PairLab) -> None:
    wire, other = pair.server.wire("eth0"), pair.client.wire("eth0")
    other.send(p.eth(p.vlan(10, p.ipv4("10.9.9.9", "10.9.9.8", p.udp(1, 2)))))
    assert wire.catch(lambda packet: packet.src == "10.9.9.9").tags == (10,)
    other.send(p.eth(p.vlan(5, p.vlan(6, p.ipv4("10.9.9.7", "10.9.9.8", p.udp(1, 2))), tpid=p.ETH_8021AD)))
    assert wire.catch(lambda packet: packet.src == "10.9.9.7").tags == (5, 6)


def test_link_local_addresses_are_those_that_the_kernel_gave(pair: PairLab) -> None:
    shown = [a["local"] for link in pair.server.ip_json("addr show dev eth0") for a in link["addr_info"]]
    assert pair.server.link_local("eth0") in shown
    assert traffic.pings(pair.client, pair.server.link_local("eth0") + "%eth0")


def test_commands_run_inside_and_failures_tell_all(pair: PairLab) -> None:
    assert pair.server.python("import socket; print(socket.if_nameindex())").count("eth0") == 1
    with pytest.raises(CommandFailed, match=r"nosuch.*ended with 1\nDevice"):
        pair.server.run("ip link show dev nosuch")
    assert pair.server.run("false", check=False).returncode == 1
    with pytest.raises(TimeoutError, match="the moon"):
        until(lambda: False, 0.01, "the moon")
    with pytest.raises(OSError) as caught:
        pair.client.connect("198.51.100.1", 1)
    assert caught.value.errno == errno.ENETUNREACH


def test_counters_are_those_of_the_interface(pair: PairLab) -> None:
    before = pair.server.counters("eth0")
    for _ in range(10):
        pair.client.ping(pair.server.v4, size=100)
    after = pair.server.counters("eth0")
    assert after[0] - before[0] >= 10 and after[1] - before[1] >= 10 * (14 + 20 + 8 + 100)


def test_nothing_is_left_when_a_test_fails() -> None:
    with pytest.raises(RuntimeError, match="on purpose"), PairLab() as lab:
        names = [host.netns for host in lab.hosts]
        lab.server.save_policy("default in drop\n")
        process = lab.server.popen("sleep 1000")
        agents = [host.agent for host in lab.hosts]
        raise RuntimeError("on purpose")
    assert not set(names) & set(namespaces())
    assert not any(Path("/etc/netns", name).exists() for name in names)
    assert process.poll() is not None and all(agent.poll() is not None for agent in agents)


KILLED = """
import os, signal
from tests.lab.lab import PairLab
lab = PairLab().__enter__()
lab.server.save_policy("default in drop\\n")
print(lab.server.netns, lab.server.agent.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_lab_that_was_killed_is_swept_away_by_the_next() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=root, capture_output=True, text=True, check=False
    )
    name, agent = done.stdout.split()
    until(lambda: not Path("/proc", agent).exists() or zombie(int(agent)), what="the agent to notice")
    with Lab():
        assert name not in namespaces()
        assert not Path("/etc/netns", name).exists()


def zombie(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_labs_do_not_see_each_other() -> None:
    with PairLab() as one, PairLab() as other:
        listener = one.server.listen(4000)
        assert listener.port == 4000
        with pytest.raises(ConnectionRefusedError):
            other.client.connect(other.server.v4, 4000)
        assert str(os.getpid()) in one.server.netns
