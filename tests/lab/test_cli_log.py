# SPDX-License-Identifier: MIT
"""`fw log` on real drops: what was kept from before, what comes while one looks on, each once.

client eth0 192.0.2.2 ── eth0 192.0.2.1 server, where fw is
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from typing import Any

import pytest

from tests import packets as p
from tests.lab.attachment import drops, protect
from tests.lab.conftest import address
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.traffic import Wire
from tests.lab.wait import until

POLICY = """
    default in drop
    default out allow
    allow in tcp to port 22 log "ssh"
    reject in tcp to port 25 log "no mail"
"""


class Follower:
    """`fw log -f --json` in a host; what it has printed so far, as events."""

    def __init__(self, host: Host, *options: str) -> None:
        words = host.fw_words("log", "-f", "--json", *options)
        self.process = host.popen(words[len(host.enter()) :], stderr=subprocess.PIPE)
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self.listen, self.overhear)]
        for reader in self.readers:
            reader.start()

    def listen(self) -> None:
        for line in self.process.stdout or ():
            self.events.append(json.loads(line))

    def overhear(self) -> None:
        for line in self.process.stderr or ():
            if not line.startswith("Bind "):  # of `ip netns exec`
                self.said.append(line.rstrip())

    @property
    def missed(self) -> int:
        """How many events it said that it does not show."""
        counts = [
            line.split()[0] for line in self.said if line.endswith("not shown, see 'fw option log.rate'")
        ]
        return sum(int(count.replace(",", "")) for count in counts)

    @property
    def ports(self) -> list[int]:
        return [event["dport"] for event in self.events]

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait(10)
        for reader in self.readers:
            reader.join(10)
        return status


def knock(wire: Wire, pair: PairLab, *ports: int) -> None:
    """One SYN to each port of the server."""
    for port in ports:
        segment = p.ipv4(pair.client.v4, pair.server.v4, p.tcp(40000, port, "S"))
        wire.send(p.eth(segment, src=pair.client.macs["eth0"], dst=pair.server.macs["eth0"]))


def test_what_a_line_says(pair: PairLab, family: str) -> None:
    server, client = address(pair.server, family), address(pair.client, family)
    protect(pair.server, POLICY, "eth0")
    for port in (23, 25, 22):
        with pytest.raises((TimeoutError, OSError)):
            pair.client.connect(server, port, timeout_s=0.2, sport=40000 + port)
    (drop,) = drops(pair.server, dport=23)[:1]
    assert (drop["reason"], drop["rule"], drop["in"], drop["out"]) == ("default_drop", 0, "eth0", None)
    assert (drop["src"], drop["sport"], drop["dst"], drop["tcp_flags"]) == (client, 40023, server, "S")
    assert (drop["scope"], drop["proto"], drop["logged"]) == ("in", "tcp", False)
    assert abs(drop["time_s"] - time.time()) < 60
    (reject,) = drops(pair.server, dport=25)[:1]
    assert (reject["reason"], reject["rule"], reject["logged"]) == ("rule_reject", 2, True)
    (allowed,) = drops(pair.server, dport=22)[:1]
    assert (allowed["reason"], allowed["rule"]) == ("rule_allow", 1)

    text = pair.server.fw("log --reason rule_reject").stdout.splitlines()
    assert text and all(line.endswith('S  rule 2  "no mail"') for line in text)
    numbers = [event["number"] for event in pair.server.fw_json("log")["events"]]
    assert numbers == sorted(set(numbers))


def test_filters_and_the_last_few(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    wire = pair.client.wire("eth0")
    knock(wire, pair, *range(1001, 1011))
    until(lambda: len(drops(pair.server, dport=1010)) == 1, what="the last one dropped")
    assert [e["dport"] for e in pair.server.fw_json("log --proto tcp -n 3")["events"]] == [1008, 1009, 1010]
    assert pair.server.fw_json(f"log --address {pair.client.v4} --proto udp")["events"] == []
    assert len(pair.server.fw_json(f"log --address {pair.client.v4} --proto tcp")["events"]) == 10


def test_following_misses_nothing_and_repeats_nothing(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    wire = pair.client.wire("eth0")
    before, after = list(range(1001, 1051)), list(range(2001, 2301))
    knock(wire, pair, *before)
    until(lambda: drops(pair.server, dport=before[-1]), what="dropped before anybody looked")
    follower = Follower(pair.server, "--proto", "tcp")
    until(lambda: follower.ports == before, what="what was kept from before")
    knock(wire, pair, *after)
    until(lambda: follower.ports == before + after, what="what came while it looked on")
    numbers = [event["number"] for event in follower.events]
    assert numbers == sorted(set(numbers))
    assert follower.interrupt() == 130
    assert follower.ports == before + after
    assert follower.said == []


def test_drops_while_it_begins_are_told_once(pair: PairLab) -> None:
    """The seam between the journal and the ring buffer, under traffic."""
    protect(pair.server, POLICY, "eth0")
    wire = pair.client.wire("eth0")
    ports = list(range(1001, 1601))
    sender = threading.Thread(target=knock, args=(wire, pair, *ports))
    sender.start()
    follower = Follower(pair.server, "--proto", "tcp")
    sender.join()
    until(lambda: follower.ports[-1:] == ports[-1:], what="the last one")
    assert follower.ports == ports
    follower.interrupt()


def test_what_the_rate_limit_leaves_out_is_counted(pair: PairLab) -> None:
    protect(pair.server, POLICY + "option log.rate 5\n", "eth0")
    wire = pair.client.wire("eth0")
    follower = Follower(pair.server, "--proto", "tcp")
    knock(wire, pair, 1000)
    until(lambda: follower.ports == [1000], what="it began")
    knock(wire, pair, *range(1001, 1301))

    def all_are_told() -> bool:
        knock(wire, pair, 2000)  # what is missing is known when something comes after it
        shown = [port for port in follower.ports if 1001 <= port <= 1300]
        assert len(shown) < 300, "the limit limits"
        return len(shown) + follower.missed >= 300

    until(all_are_told, what="each drop is shown or counted")
    follower.interrupt()
    numbers = [event["number"] for event in follower.events]
    assert len(numbers) == len(set(numbers))
    assert len(numbers) + follower.missed <= numbers[-1] - numbers[0] + 1, "nothing is both"


def test_two_can_follow(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    wire = pair.client.wire("eth0")
    knock(wire, pair, 1001)
    followers = [Follower(pair.server, "--proto", "tcp") for _ in range(2)]
    until(lambda: all(f.ports == [1001] for f in followers), what="both began")
    ports = list(range(2001, 2051))
    knock(wire, pair, *ports)
    until(lambda: all(f.ports == [1001, *ports] for f in followers), what="both see all")
    # the one that had the ring buffer leaves, the other goes on
    followers[0].interrupt()
    knock(wire, pair, 3001)
    until(lambda: followers[1].ports[-1] == 3001, what="the other goes on")
    followers[1].interrupt()


def test_following_ends_with_the_firewall(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    follower = Follower(pair.server)
    wire = pair.client.wire("eth0")
    knock(wire, pair, 1001)
    until(lambda: 1001 in follower.ports, what="it began")
    pair.server.fw("unload --all")
    assert follower.end() == 0
    assert follower.said == ["fw was unloaded"]


def test_a_reader_that_has_enough(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    wire = pair.client.wire("eth0")
    knock(wire, pair, *range(1001, 1101))
    until(lambda: drops(pair.server, dport=1100), what="a hundred drops")
    words = " ".join(pair.server.fw_words("log")[len(pair.server.enter()) :])
    done = pair.server.run(["bash", "-o", "pipefail", "-c", f"{words} | head -n 1"])
    assert len(done.stdout.splitlines()) == 1
    assert not [line for line in done.stderr.splitlines() if "Bind" not in line]
