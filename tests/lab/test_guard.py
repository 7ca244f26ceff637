# SPDX-License-Identifier: MIT
"""A change that would cut the connection it comes by is refused: fw is run by a server, as sshd runs a shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab.attachment import flows, pins, protect
from tests.lab.conftest import address
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.traffic import Stream
from tests.lab.wait import until

REFUSED = 8
SSH = "default in drop\nallow in tcp to port 22\n"

TRACKED = """
table inet filter {
    chain input { type filter hook input priority 0; ct state established accept; }
    chain output { type filter hook output priority 0; ct state established accept; }
}
"""
REDIRECT = """
table inet nat {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        tcp dport 2222 redirect to :22
    }
}
"""

# Takes one connection and runs each line that comes over it as a command; the answer is status and output as JSON.
# `detached`: what is run has no ancestor that holds the connection, as under tmux.
SHELL = """
import json, os, socket, subprocess, sys
if "sshd" in sys.argv:
    open("/proc/self/comm", "w").write("sshd")
listener = socket.create_server(("::", 22), family=socket.AF_INET6, dualstack_ipv6=True)
runner = None
if "detached" in sys.argv:
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        listener.close(); ours.close()
        os.setsid()
        if os.fork():
            os._exit(0)
        open("/proc/self/comm", "w").write("tmux")
        lines = theirs.makefile("rw")
        for line in lines:
            done = subprocess.run(json.loads(line), capture_output=True, text=True)
            lines.write(json.dumps([done.returncode, done.stderr]) + "\\n"); lines.flush()
        os._exit(0)
    theirs.close()
    runner = ours.makefile("rw")
print("ready", flush=True)
accepted, _ = listener.accept()
lines = accepted.makefile("rw")
for line in lines:
    if runner:
        runner.write(line); runner.flush()
        answer = runner.readline()
    else:
        done = subprocess.run(json.loads(line), capture_output=True, text=True)
        answer = json.dumps([done.returncode, done.stderr]) + "\\n"
    lines.write(answer); lines.flush()
"""


class Remote(NamedTuple):
    """A shell on the server, reached over the wire."""

    server: Host
    stream: Stream

    def fw(self, *args: str) -> tuple[int, str]:
        """Exit status and standard error of an fw that is run over the connection."""
        return self.run(*self.server.fw_words(*args, way="nsenter"))

    def run(self, *words: str) -> tuple[int, str]:
        """The same of any command."""
        self.stream.send((json.dumps(words) + "\n").encode())
        answer = b""
        while not answer.endswith(b"\n"):
            answer += self.stream.recv(1, 20)
        status, said = json.loads(answer)
        return status, said


def remote(pair: PairLab, tmp_path: Path, family: str, *args: str, port: int = 22) -> Remote:
    script = tmp_path / "shell.py"
    script.write_text(SHELL)
    process = pair.server.popen(["python3", str(script), *args])
    assert process.stdout and process.stdout.readline() == "ready\n"
    return Remote(pair.server, pair.client.connect(address(pair.server, family), port))


@pytest.fixture(params=[("plain",), ("sshd",), ("sshd", "detached")], ids="-".join)
def shell(request: pytest.FixtureRequest, pair: PairLab, tmp_path: Path, family: str) -> Remote:
    return remote(pair, tmp_path, family, *request.param)


def test_a_load_that_would_cut_us_is_refused(shell: Remote) -> None:
    shell.server.save_policy("protect eth0\ndefault in drop\n")
    status, said = shell.fw("load", "eth0")
    assert status == REFUSED and "22" in said and "default in drop" in said
    assert not pins(shell.server)
    assert shell.fw("load", "eth0", "--observe")[0] == 0
    status, said = shell.fw("mode", "enforce")
    assert status == REFUSED and shell.server.fw_json("status")["mode"] == "observe"


@pytest.mark.parametrize("clause", ["dscp cs0", "mark 0/1", "mac {mac}"])
def test_what_asks_for_the_openers_packet_is_not_asked_of_us(
    pair: PairLab, tmp_path: Path, clause: str
) -> None:
    """A running flow keeps nothing of that packet: such a rule neither lets it go on nor cuts it."""
    shell = remote(pair, tmp_path, "ipv4", "sshd")
    asks = clause.format(mac=pair.client.macs["eth0"])
    shell.server.save_policy(f"protect eth0\ndefault in drop\nallow in tcp to port 22 {asks}\n")
    status, said = shell.fw("load")
    assert status == REFUSED and "by 'default in drop'" in said
    shell.server.save_policy(f"protect eth0\ndefault in drop\ndrop in tcp {asks}\nallow in tcp to port 22\n")
    assert shell.fw("load")[0] == 0
    assert shell.fw("rule", "insert", "1", "drop", "in", "tcp", *asks.split(), "to", "port", "22")[0] == 0
    assert shell.fw("status")[0] == 0, "and we are still here"
    status, said = shell.fw("rule", "insert", "1", "drop", "in", "tcp", "to", "port", "22")
    assert status == REFUSED


def test_who_would_not_be_found_on_the_link_is_cut(pair: PairLab, tmp_path: Path, family: str) -> None:
    """Flows are of no help then. Who has said --yes, and has not been cut, is not asked again."""
    shell = remote(pair, tmp_path, family, "sshd")
    protect(shell.server, SSH, "eth0")
    option, other = ("builtin.arp", "builtin.nd") if family == "ipv4" else ("builtin.nd", "builtin.arp")
    by = f"on eth0, by 'option {option} off'"
    for words in (("option", option, "off"), ("option", option, "off", "--keep-flows")):
        status, said = shell.fw(*words)
        assert status == REFUSED and by in said, words
    assert shell.fw("option", other, "off")[0] == 0
    assert shell.fw("mode", "observe")[0] == shell.fw("option", option, "off")[0] == 0
    status, said = shell.fw("mode", "enforce")
    assert status == REFUSED and by in said
    for host, peer in ((pair.server, pair.client), (pair.client, pair.server)):
        host.ip(f"neigh replace {address(peer, family)} lladdr {peer.macs['eth0']} dev eth0 nud permanent")
    assert shell.fw("mode", "enforce", "--yes")[0] == 0
    assert shell.fw("rule", "add", "drop", "in", "udp")[0] == 0


def test_conntrack_that_met_us_midway_does_not_hide_us(pair: PairLab, tmp_path: Path, family: str) -> None:
    """What it saw first was sent by the server: to it the server has opened the connection."""
    shell = remote(pair, tmp_path, family, "sshd")
    protect(shell.server, SSH, "eth0")
    (tmp_path / "tracked.nft").write_text(TRACKED)
    assert shell.run(*shell.server.enter("nsenter"), "nft", "-f", str(tmp_path / "tracked.nft"))[0] == 0
    status, said = shell.fw("rule", "delete", "allow", "in", "tcp", "to", "port", "22")
    assert status == REFUSED, said


def test_rules_may_stand_for_neighbour_discovery(pair: PairLab, tmp_path: Path) -> None:
    shell = remote(pair, tmp_path, "ipv6", "sshd")
    protect(shell.server, SSH + "allow in icmp6 icmp-type 135, 136\n", "eth0")
    status, said = shell.fw("option", "builtin.nd", "off")
    assert status == 0, said
    for host in (pair.server, pair.client):
        host.run("ip -6 neigh flush dev eth0")
    assert shell.fw("status")[0] == 0, "and we are still here"


def test_a_connection_without_a_flow_is_taken_over_when_drops_begin(shell: Remote) -> None:
    """As after a load: the rules let it begin, but a segment of its middle opens nothing."""
    shell.server.save_policy("protect eth0\noption load.grace 0s\ndefault in drop\n")
    assert shell.fw("load", "--observe")[0] == 0
    assert shell.fw("rule", "add", "allow", "in", "tcp", "to", "port", "22")[0] == 0
    shell.server.fw("flow flush --yes")
    assert not flows(shell.server, proto="tcp"), "as when it was silent for timeout.revoked"
    assert shell.fw("mode", "enforce") == (0, "mode enforce: what the policy does not allow is dropped\n")
    assert shell.fw("status")[0] == 0, "and we are still here"


def test_a_change_that_would_cut_us_is_refused(shell: Remote) -> None:
    shell.server.save_policy(SSH)
    assert shell.fw("load", "eth0")[0] == 0, "the policy lets us in"
    before = shell.server.policy_file.read_text()
    for words in (
        ["rule", "delete", "1"],
        ["rule", "insert", "1", "drop", "in", "tcp"],
        ["rule", "delete", "1", "--runtime"],
        ["rule", "delete", "1", "--dry-run"],
    ):
        status, said = shell.fw(*words)
        assert status == REFUSED and "your connection" in said, words
    assert shell.server.policy_file.read_text() == before == shell.server.fw("show").stdout
    assert shell.fw("rule", "add", "drop", "in", "udp")[0] == 0, "this one leaves us alone"


def test_a_rule_behind_many_that_would_cut_us_is_refused(pair: PairLab, tmp_path: Path, family: str) -> None:
    """Where there are so many that the new one alone is judged and compiled."""
    shell = remote(pair, tmp_path, family, "sshd")
    many = "".join(f"drop in tcp from 10.0.{n >> 8}.{n & 255} to port {n}\n" for n in range(1, 1101))
    protect(shell.server, "default in allow\n" + many, "eth0")
    us = address(pair.client, family)
    for words in (f"drop in tcp from {us}", "reject in tcp to port 22", "drop in"):
        status, said = shell.fw("rule", "add", *words.split())
        assert status == REFUSED and "your connection" in said, words
    for words in (
        "drop in udp",
        "drop in tcp from 203.0.113.7",
        "reject in tcp to port 23",
        f"allow in from {us}",
    ):
        assert shell.fw("rule", "add", *words.split())[0] == 0, f"{words} leaves us alone"
    assert shell.fw("rule", "add", "drop", "in")[0] == 0, "and now nothing behind the last rule cuts us"


@pytest.mark.parametrize("rules", [1, 1100])
def test_an_interface_that_was_renamed_is_guarded(
    pair: PairLab, tmp_path: Path, family: str, rules: int
) -> None:
    shell = remote(pair, tmp_path, family, "sshd")
    many = "".join(f"drop in udp from 10.0.{n >> 8}.{n & 255} to port {n}\n" for n in range(1, rules + 1))
    shell.server.save_policy("protect eth+\nset bad\ndefault in allow\n" + many + "drop in tcp from @bad\n")
    shell.server.fw("load --observe")
    shell.server.run("ip link set eth0 name eth7")
    assert shell.server.fw("rule add drop in tcp to port 22 --yes").returncode == 0
    status, said = shell.fw("mode", "enforce")
    assert status == REFUSED and "your connection" in said and "on eth7" in said
    shell.server.fw(f"rule delete {rules + 2}")
    assert shell.fw("mode", "enforce")[0] == 0
    for words in (
        ("rule", "add", "drop", "in", "tcp"),
        ("set", "add", "bad", address(pair.client, family)),
    ):
        status, said = shell.fw(*words)
        assert status == REFUSED and "your connection" in said, words


def test_a_change_that_spares_us_is_not_refused(pair: PairLab, tmp_path: Path, family: str) -> None:
    shell = remote(pair, tmp_path, family, "sshd")
    protect(shell.server, SSH, "eth0")
    status, said = shell.fw("rule", "delete", "1", "--keep-flows")
    assert status == 0 and "you could not connect again" in said
    assert shell.fw("rule", "add", "drop", "in", "udp", "--keep-flows")[0] == 0, "and still here"
    status, said = shell.fw("rule", "add", "drop", "in", "icmp")
    assert status == REFUSED and "your connection" in said, "this one would judge us"


def test_another_interface_is_loaded_while_flows_are_spared(pair: PairLab, tmp_path: Path) -> None:
    """The rules deny our connection, but what protects one interface more cuts nothing on this one."""
    shell = remote(pair, tmp_path, "ipv4", "sshd")
    protect(shell.server, SSH, "eth0")
    assert shell.fw("rule", "delete", "1", "--keep-flows")[0] == 0
    shell.server.ip("link add other0 type veth peer name other1", "link set other0 up")
    status, said = shell.fw("load", "other0")
    assert status == 0, said
    assert shell.fw("status")[0] == 0, "and we are still here"


def test_an_interface_that_we_come_by_is_loaded_with_a_question(pair: PairLab, tmp_path: Path) -> None:
    """Flows of an interface that was not filtered cannot be spared."""
    shell = remote(pair, tmp_path, "ipv4", "sshd")
    shell.server.ip("link add other0 type veth peer name other1", "link set other0 up")
    protect(shell.server, "default in drop\n", "other0")
    status, said = shell.fw("load", "eth0")
    assert status == REFUSED and "your connection" in said
    assert [one["name"] for one in shell.server.fw_json("status")["interfaces"]] == ["other0"]


def test_yes_does_it_all_the_same(pair: PairLab, tmp_path: Path) -> None:
    shell = remote(pair, tmp_path, "ipv4", "sshd")
    protect(shell.server, SSH, "eth0")
    line = json.dumps(shell.server.fw_words("rule", "delete", "1", "--yes", way="nsenter")) + "\n"
    shell.stream.send(line.encode())
    until(lambda: "port 22" not in shell.server.fw("show").stdout, what="the rule gone")
    with pytest.raises(TimeoutError):
        shell.stream.recv(1, 1)


def test_a_connection_is_judged_as_it_is_on_the_wire(pair: PairLab, tmp_path: Path, family: str) -> None:
    """The host may translate it: rules see the port that the client asked for."""
    pair.server.run("nft -f -", input=REDIRECT)
    shell = remote(pair, tmp_path, family, "sshd", port=2222)
    shell.server.save_policy("protect eth0\ndefault in drop\nallow in tcp to port 22\n")
    status, said = shell.fw("load")
    assert status == REFUSED and "put 'allow in tcp to port 2222 from" in said
    shell.server.save_policy("protect eth0\ndefault in drop\nallow in tcp to port 2222\n")
    assert shell.fw("load")[0] == 0
    assert shell.fw("rule", "delete", "1")[0] == REFUSED
    assert shell.fw("flow", "flush")[0] == REFUSED
    assert shell.fw("status")[0] == 0, "and we are still here"


def test_from_the_console_nobody_is_in_the_way(pair: PairLab) -> None:
    """No ancestor has a connection and no sshd runs: whoever talks to a web server is not asked."""
    pair.server.listen(80)
    pair.client.connect(pair.server.v4, 80).echo()
    protect(pair.server, "default in drop\nallow in tcp to port 80\n", "eth0")
    pair.server.fw("rule delete 1")


def test_the_starter_file_lets_us_in(pair: PairLab, tmp_path: Path) -> None:
    shell = remote(pair, tmp_path, "ipv6", "sshd")
    status, said = shell.fw("load", "eth0")
    assert status == 0, said
    assert "allow in tcp to port 22\n" in shell.server.policy_file.read_text()
