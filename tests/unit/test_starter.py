# SPDX-License-Identifier: MIT
"""The starter file: what it says, and what it takes from the host."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from firewall import starter
from firewall.links import ARPHRD_ETHER, Link
from firewall.policy import parse_policy
from firewall.sockets import SSH_SERVERS, socket_inodes
from firewall.verify import verify


def link(name: str, kind: str = "") -> Link:
    return Link(name, 2, kind, True, ARPHRD_ETHER, 1, 1500, "", 0, 0, None)


def rules(text: str) -> list[str]:
    return [str(rule) for rule in parse_policy(text).rules]


def test_it_opens_what_the_host_is_reached_and_used_by() -> None:
    text = starter.starter_text(["eth0", "wan0"], [2222, 22], ["docker0"])
    policy = parse_policy(text)
    assert verify(policy) == []
    assert policy.protects("eth0") and policy.protects("wan0") and not policy.protects("docker0")
    assert policy.defaults == {"in": "drop", "forward": "drop", "out": "allow"}
    assert rules(text) == [
        "allow in tcp to port 22",
        "allow in tcp to port 2222",
        "allow forward on docker0 via eth0",
        "allow forward on docker0 via wan0",
    ]


def test_without_sshd_and_bridges_it_opens_nothing() -> None:
    text = starter.starter_text(["eth0"], [], [])
    assert rules(text) == []
    assert "# allow in tcp to port 22\n" in text


def test_what_it_suggests_can_be_taken_as_it_is() -> None:
    text = starter.starter_text(["eth0"], [], [])
    uncommented = text.replace("# allow", "allow")
    assert rules(uncommented) == [
        "allow in tcp to port 22",
        "allow in icmp, icmp6 icmp-type echo-request",
        "allow in tcp to port 80, 443",
    ]
    assert verify(parse_policy(uncommented)) == []


def test_bridges_count_only_where_the_host_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    links = [link("eth0"), link("virbr0", "bridge"), link("docker0", "bridge"), link("br0", "bridge")]
    links.append(link("br,x", "bridge"))  # which no rule can name
    monkeypatch.setattr(starter, "_is_on", lambda path: True)
    assert starter.forwarding_bridges(links, ["br0"]) == ["docker0", "virbr0"]
    monkeypatch.setattr(starter, "_is_on", lambda path: False)
    assert starter.forwarding_bridges(links, ["br0"]) == []


def listen(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.create_server((address, 0), family=family)
    assert made.getsockname()[1]
    return made


@pytest.fixture
def called_sshd() -> frozenset[str]:
    """Our own command name, as a server's that is looked for."""
    return SSH_SERVERS | {Path(f"/proc/{os.getpid()}/comm").read_text().strip()}


def test_ports_are_those_that_an_ssh_server_holds(
    monkeypatch: pytest.MonkeyPatch, called_sshd: frozenset[str]
) -> None:
    with listen("0.0.0.0") as everywhere, listen("127.0.0.1") as loopback, listen("::") as both:
        open_ports = {everywhere.getsockname()[1], both.getsockname()[1]}
        before = set(starter.listening_ssh_ports())
        assert not open_ports & before, "we are no ssh server"
        monkeypatch.setattr(starter, "SSH_SERVERS", called_sshd)
        found = set(starter.listening_ssh_ports())
        assert open_ports <= found and loopback.getsockname()[1] not in found


def test_a_port_that_systemd_holds_for_sshd_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with listen("0.0.0.0") as held, listen("0.0.0.0") as other:
        port = held.getsockname()[1]
        drop_in = tmp_path / "ssh.socket.d" / "addresses.conf"
        drop_in.parent.mkdir()
        drop_in.write_text(f"[Socket]\nListenStream=\nListenStream=0.0.0.0:{port}\nListenStream=[::]:9\n")
        monkeypatch.setattr(starter, "_UNIT_DIRS", (str(tmp_path),))
        monkeypatch.setattr(starter, "command", lambda pid: "systemd" if pid == 1 else "")
        mine = socket_inodes(os.getpid())
        monkeypatch.setattr(starter, "socket_inodes", lambda pid: mine if pid == 1 else set())
        assert port in starter.listening_ssh_ports()
        assert other.getsockname()[1] not in starter.listening_ssh_ports()
