# SPDX-License-Identifier: MIT
"""The guard of the caller's own connection: which it is, and whether a policy would cut it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

from firewall import sshguard
from firewall.clock import Moment
from firewall.errors import NeedsYes
from firewall.links import ARPHRD_ETHER, IFF_NOARP, Link
from firewall.neighbours import find_lost, guard_neighbours, lost_by
from firewall.policy import parse_policy
from firewall.routes import Routes
from firewall.sockets import SSH_SERVERS, TCP_ESTABLISHED, TcpSocket, tcp_sockets

ROOT = Path(__file__).parents[2]


def connection(remote: str = "198.51.100.7", port: int = 22) -> TcpSocket:
    local = "2001:db8::1" if ":" in remote else "192.0.2.1"
    return TcpSocket(1, TCP_ESTABLISHED, ip_address(local), port, ip_address(remote), 50000)


def cuts(text: str, *connections: TcpSocket, protected: str = "eth0", on: str = "eth0") -> list[str]:
    found = sshguard.find_cuts(parse_policy(text), connections, {protected}, lambda _: [on])
    return [cut.by for cut in found]


def test_an_allowed_connection_is_not_cut() -> None:
    assert cuts("allow in tcp to port 22\n", connection()) == []
    assert cuts("default in allow\n", connection()) == []


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("", "default in drop"),
        ("default in reject\n", "default in reject"),
        ("drop in tcp to port 22\nallow in tcp to port 22\n", "drop in tcp to port 22"),
        ("allow in tcp to port 22 from 192.0.2.0/24\n", "default in drop"),
        ("allow in tcp to port 2222\n", "default in drop"),
        ("allow in on wan0 tcp to port 22\n", "default in drop"),
        ("allow out tcp to port 22\n", "default in drop"),
    ],
)
def test_what_is_not_allowed_is_cut_and_by_what_is_said(text: str, by: str) -> None:
    assert cuts(text, connection()) == [by]


@pytest.mark.parametrize("clause", ["dscp cs0", "dscp ef", "mark 0/1", "mark 1", "mac 02:00:00:00:00:01"])
def test_a_rule_that_asks_for_the_openers_packet_is_passed_over(clause: str) -> None:
    """As it is for a running flow, of which that is not known."""
    assert cuts(f"allow in tcp to port 22 {clause}\n", connection()) == ["default in drop"]
    assert cuts(f"drop in {clause}\nallow in\n", connection()) == []


SSH = "in tcp to port 22"


@pytest.mark.parametrize(
    ("text", "synced", "by"),
    [
        (f"allow {SSH} until 2001-01-01T00:00Z", True, ["default in drop"]),
        (f"drop {SSH} until 2001-01-01T00:00Z\nallow in", True, []),
        (f"allow {SSH} until 2030-01-01T00:00Z", True, []),
        (f"allow {SSH} between 12:00 and 13:00 on-days mon", True, []),
        (f"allow {SSH} between 12:00 and 13:00 on-days thu", True, ["default in drop"]),  # 1970 began on one
        (f"allow {SSH} between 00:00 and 01:00", True, ["default in drop"]),
        (f"allow {SSH} between 12:00 and 13:00", False, ["default in drop"]),
        (f"allow {SSH} between 12:00 and 13:00 unsynced on", False, []),
        (f"drop {SSH} between 00:00 and 01:00 unsynced off\nallow in", False, []),
    ],
)
def test_it_is_asked_what_the_policy_says_now(
    monkeypatch: pytest.MonkeyPatch, text: str, synced: bool, by: list[str]
) -> None:
    noon = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)  # a Monday
    moment = Moment(int(noon.timestamp()) * 1_000_000_000, 0, synced)
    monkeypatch.setattr("firewall.sshguard.now", lambda: moment)
    monkeypatch.setattr("firewall.evaluate.local_zone", lambda: UTC)
    assert cuts(text, connection()) == by


def test_a_drop_by_the_hour_holds_while_the_time_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.sshguard.now", lambda: Moment(0, 0, False))
    assert len(cuts(f"drop {SSH} between 12:00 and 13:00\nallow in", connection())) == 1


def test_both_families_are_judged_by_their_addresses() -> None:
    text = "allow in tcp from 198.51.100.0/24 to port 22\n"
    assert cuts(text, connection(), connection("2001:db8::7")) == ["default in drop"]


def test_where_nothing_is_filtered_nothing_is_cut() -> None:
    assert cuts("", connection(), on="wlan0") == []


def test_the_refusal_says_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sshguard, "caller_connections", lambda: [connection(), connection("2001:db8::7")])
    monkeypatch.setattr(Routes, "owner", lambda self, address: 2)
    monkeypatch.setattr(Routes, "way_to", lambda self, address: 0)
    links = [Link("eth0", 2, "", True, ARPHRD_ETHER, 1, 1500, "", 0, 0, None)]
    with pytest.raises(NeedsYes) as refused:
        sshguard.guard(parse_policy(""), {"eth0"}, links)
    assert refused.value.message == (
        "this would cut your connection from 198.51.100.7 (on eth0, by 'default in drop'), and 1 more"
    )
    assert refused.value.hint == ("put 'allow in tcp to port 22 from 198.51.100.7' first, or give --yes")
    sshguard.guard(parse_policy("allow in tcp to port 22\n"), {"eth0"}, links)


ND_IN = "allow in icmp6 icmp-type neighbor-solicitation, neighbor-advertisement\n"


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("option builtin.arp off\n", ["option builtin.arp off", None]),
        ("option builtin.nd off\n", [None, "option builtin.nd off"]),
        (f"option builtin.nd off\n{ND_IN}", [None, None]),
        (f"option builtin.nd off\ndefault out drop\n{ND_IN}", [None, "option builtin.nd off"]),
        ("option builtin.nd off\nallow in icmp6 from fe80::/10\n", [None, "option builtin.nd off"]),
        ("option builtin.nd off\nallow in icmp6 icmp-type 135\n", [None, "option builtin.nd off"]),
        ("option builtin.arp on\noption builtin.lldp off\n", [None, None]),
    ],
)
def test_who_cannot_be_found_on_the_link_is_cut(text: str, by: list[str | None]) -> None:
    policy = parse_policy("allow in tcp\n" + text)
    for one, option in zip((connection(), connection("2001:db8::7")), by, strict=True):
        found = find_lost(policy, [one], {"eth0"}, lambda _: ["eth0"])
        assert [cut.by for cut in found] == ([option] if option else [])
        assert not find_lost(policy, [one], {"wlan0"}, lambda _: ["eth0"])


@pytest.mark.parametrize(
    ("arphrd", "flags", "lost"), [(ARPHRD_ETHER, 0, 1), (ARPHRD_ETHER, IFF_NOARP, 0), (0xFFFE, 0, 0)]
)
def test_devices_without_neighbours_lose_nobody(
    monkeypatch: pytest.MonkeyPatch, arphrd: int, flags: int, lost: int
) -> None:
    monkeypatch.setattr("firewall.neighbours.caller_connections", lambda: [connection()])
    monkeypatch.setattr(Routes, "owner", lambda self, address: 2)
    monkeypatch.setattr(Routes, "way_to", lambda self, address: 2)
    links = [Link("eth0", 2, "", True, arphrd, flags, 1500, "", 0, 0, None)]
    off = parse_policy("option builtin.arp off\n")
    assert len(lost_by(off, {"eth0"}, links)) == lost
    assert not lost_by(off, {"wlan0"}, links) and not lost_by(parse_policy(""), {"eth0"}, links)
    guard_neighbours(off, {"eth0"}, links, before=off)


def test_rules_in_the_place_of_discovery_are_not_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.neighbours.caller_connections", lambda: [connection("2001:db8::7")])
    monkeypatch.setattr(Routes, "owner", lambda self, address: 2)
    monkeypatch.setattr(Routes, "way_to", lambda self, address: 2)
    links = [Link("eth0", 2, "", True, ARPHRD_ETHER, 0, 1500, "", 0, 0, None)]
    off = parse_policy("option builtin.nd off\n")
    by_rule = parse_policy("option builtin.nd off\n" + ND_IN)
    guard_neighbours(by_rule, {"eth0"}, links, before=by_rule)
    with pytest.raises(NeedsYes, match=r"builtin\.nd off"):
        guard_neighbours(off, {"eth0"}, links, before=by_rule)


# A process that takes one connection, as sshd does, and then asks, in a child, which connections are the caller's.
# `sshd`: it is called so, and the master that listens is another process. `forward`: it has opened a connection for
# `ssh -L` too. `remote`: it listens for `ssh -R`, and somebody has come. `closed`: nobody listens any more.
SERVER = f"""
import os, signal, socket, subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
ask = '''
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from firewall import sockets, sshguard
from ipaddress import IPv4Address
IPv4Address.is_loopback = False  # the test has no other way to connect to itself
print(json.dumps([[s.local_port, s.remote_port] for s in sshguard.caller_connections()]))
'''
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
accepted, _ = listener.accept()
own, others = [accepted], [listener]
if "forward" in sys.argv:
    others.append(socket.create_server(("127.0.0.1", 0)))
    own.append(socket.create_connection(others[-1].getsockname()))
if "remote" in sys.argv:
    opened = socket.create_server(("127.0.0.1", 0))
    others.append(socket.create_connection(opened.getsockname()))
    own += [opened, opened.accept()[0]]
master = 0
if "sshd" in sys.argv:
    heard, told = os.pipe()
    master = os.fork()
    for one in others if master else own:
        one.close()
    if not master:
        if "closed" in sys.argv:
            listener.close()
        os.write(told, b".")
        signal.pause()
    os.read(heard, 1)
    open("/proc/self/comm", "w").write("sshd")
elif "closed" in sys.argv:
    listener.close()
subprocess.run([sys.executable, "-c", ask])
if master:
    os.kill(master, 9)
"""


def asked(*args: str) -> tuple[list[list[int]], int, int]:
    """What a child of a server finds; the server's port and that of the client, which is us."""
    server = subprocess.Popen([sys.executable, "-c", SERVER, *args], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    with server, server.stdout:
        port = int(server.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as client:
            found = json.loads(server.stdout.readline())
            return found, port, client.getsockname()[1]


def test_the_callers_connection_is_an_ancestors() -> None:
    found, port, our_port = asked()
    assert found == [[port, our_port]]


def test_what_an_ancestor_opened_itself_is_not_the_way_we_came() -> None:
    """Our own end of that connection is an ancestor's socket too; nor is it one when nobody listens."""
    found, port, our_port = asked("closed")
    assert [our_port, port] not in found


@pytest.mark.parametrize("more", [(), ("forward",), ("remote",), ("forward", "remote")], ids="-".join)
def test_what_sshd_has_besides_is_not_the_callers(more: tuple[str, ...]) -> None:
    """Its own connections of `ssh -L`, and those of others that came by `ssh -R`."""
    found, port, our_port = asked("sshd", *more)
    assert found == [[port, our_port]]


@pytest.mark.parametrize("more", [(), ("forward",), ("remote",)], ids="-".join)
def test_all_that_sshd_has_where_its_master_listens_no_more(more: tuple[str, ...]) -> None:
    """As when it was told of another port: nothing shows then which connection it is."""
    found, port, our_port = asked("sshd", "closed", *more)
    assert [port, our_port] in found


def test_sockets_are_read_as_they_are() -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client,
    ):
        accepted, peer = listener.accept()
        with accepted:
            port, our_port = listener.getsockname()[1], client.getsockname()[1]
            inode = os.fstat(accepted.fileno()).st_ino
            found = {s.inode: s for s in tcp_sockets(TCP_ESTABLISHED)}
            home = ip_address("127.0.0.1")
            assert found[inode] == TcpSocket(inode, TCP_ESTABLISHED, home, port, home, our_port)
            assert peer[1] == our_port


def test_names_of_ssh_servers_fit_what_the_kernel_keeps() -> None:
    assert all(len(name) <= 15 for name in SSH_SERVERS)
