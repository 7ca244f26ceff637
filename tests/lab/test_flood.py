# SPDX-License-Identifier: MIT
"""Floods of ten times the tables' size: who is connected stays so, and who connects meanwhile succeeds."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lab.attachment import flows, protect
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.wait import until

FLOWS_MAX = 16_384
TABLES = FLOWS_MAX + FLOWS_MAX // 4
CONNECTED = 100
HANDSHAKES = 1_000
IN_TIME_S = 3
POLICY = f"""
    option flows.max {FLOWS_MAX}
    default in drop
    default out allow
    allow in tcp to port 80
    allow in udp to port 53, 9999
    allow in icmp, icmp6
"""
HERE = Path(__file__).parent


def script(host: Host, name: str, *args: object) -> list[str]:
    return [sys.executable, "-I", "-S", str(HERE / name), *map(str, args)]


@pytest.mark.parametrize("kind", ["syn", "udp", "dns", "echo"])
def test_flood(pair: PairLab, family: str, kind: str) -> None:
    """SYNs, datagrams that nobody answers, and queries that a service answers, all with forged sources."""
    server, client = pair.server, pair.client
    to = address(server, family)
    # answers to the forged sources have somewhere to go, where they end
    server.ip(f"route add default via {client.v4}", f"route add default via {client.v6}")
    protect(server, POLICY, "eth0")
    server.listen(80, any_address(family))
    server.udp(53, any_address(family), echo=True)
    server.udp(9999, any_address(family))
    streams = [client.connect(to, 80) for _ in range(CONNECTED)]
    for stream in streams:
        stream.echo()
    question = client.udp(0, any_address(family))
    for _ in range(3):
        question.ask(to, 53)
    before = {(one["proto"], one["sport"]) for one in flows(server, confirmed=True)}
    assert len(before) == CONNECTED + 1

    interface = ("eth0", server.macs["eth0"])
    flood = client.popen(script(client, "flooder.py", *interface, kind, family, 10 * TABLES), stdin=-1)
    assert flood.stdout and flood.stdin
    assert flood.stdout.readline() == "begun\n"
    knocked = client.run(script(client, "knocker.py", to, 80, HANDSHAKES, 20), timeout_s=120)
    during = server.fw_json("status")["flows"]
    assert flows(server, sport=streams[0].local[1]), "commands work meanwhile"
    flood.stdin.close()
    sent = int(flood.stdout.readline())
    assert flood.wait(30) == 0
    assert sent >= 10 * TABLES

    took = json.loads(knocked.stdout)
    in_time = sum(one is not None and one <= IN_TIME_S for one in took)
    assert in_time >= 0.99 * HANDSHAKES, sorted(one or 99 for one in took)[-20:]
    assert during["displaced"] > 0, "the flood was one"
    after = {(one["proto"], one["sport"]) for one in flows(server, confirmed=True)}
    assert before <= after
    for stream in streams:
        stream.echo()
    assert question.ask(to, 53)
    end = server.fw_json("status")["flows"]
    assert (end["lost"], end["evicted"]) == (0, 0)
    assert end["used"] <= CONNECTED + 1 + HANDSHAKES, "none of the forged was confirmed"
    assert end["displaced"] >= sent - end["embryonic_max"] - HANDSHAKES - lost_frames(server)
    until(lambda: server.fw_json("status")["flows"]["embryonic"] <= end["embryonic_max"], what="the bound")


def lost_frames(host: Host) -> int:
    """Frames that the kernel dropped before our hook, on a machine that has much to do."""
    stats = host.ip_json("link show dev eth0")[0]["stats64"]
    return int(stats["rx"]["dropped"])
