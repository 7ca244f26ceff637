# SPDX-License-Identifier: MIT
"""`fw flow` on real connections.

client eth0 192.0.2.2 ── eth0 192.0.2.1 server, where fw is
"""

from __future__ import annotations

import pytest

from tests.lab.attachment import flows, protect
from tests.lab.conftest import address, any_address
from tests.lab.lab import PairLab
from tests.lab.traffic import answered
from tests.lab.wait import until

POLICY = """
    default in drop
    default out allow
    allow in tcp to port 80, 81 comment "web"
    allow in udp to port 53
"""


def test_a_connection_as_it_lives_and_dies(pair: PairLab, family: str, attach: str) -> None:
    server = address(pair.server, family)
    protect(pair.server, POLICY, "eth0", attach=attach)
    listener = pair.server.listen(80, any_address(family))
    stream = pair.client.connect(server, listener.port)
    stream.echo(b"x" * 1000)

    (flow,) = flows(pair.server, proto="tcp")
    assert (flow["src"], flow["sport"]) == stream.local[:2]
    assert (flow["dst"], flow["dport"], flow["scope"], flow["rule"]) == (server, 80, "in", 1)
    assert flow["state"] == "established" and flow["confirmed"]
    assert flow["bytes"] > 1000 and flow["reply_bytes"] > 1000
    assert flow["packets"] >= 4 and flow["reply_packets"] >= 2
    assert flow["age_s"] <= 60 and 86300 < flow["expires_s"] <= 86400

    stream.shutdown()
    stream.close()
    until(lambda: flows(pair.server, proto="tcp")[0]["state"] == "time_wait", what="both ends closed")
    (flow,) = flows(pair.server, proto="tcp")
    assert flow["expires_s"] <= 240


def test_filters_pick_what_they_name(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    pair.server.listen(80)
    pair.server.udp(53, echo=True)
    one, two = (pair.client.connect(pair.server.v4, 80) for _ in range(2))
    assert pair.client.udp().ask(pair.server.v4, 53, b"?") == b"?"
    pair.server.ping(pair.client.v4)

    def found(options: str) -> list[str]:
        return sorted(flow["proto"] for flow in pair.server.fw_json(f"flow list {options}")["flows"])

    assert found("") == ["icmp", "tcp", "tcp", "udp"]
    assert found("--proto tcp") == ["tcp", "tcp"]
    assert found(f"--port {one.local[1]}") == ["tcp"]
    assert found("--port 53") == found("--rule 2") == ["udp"]
    assert found("--rule 0") == ["icmp"]
    assert found("--state established") == ["tcp", "tcp"]
    assert found(f"--address {pair.client.v4}") == ["icmp", "tcp", "tcp", "udp"]
    assert found("--address 198.51.100.0/24") == []
    assert found("--iface eth0") == ["icmp", "tcp", "tcp", "udp"]
    status = pair.server.fw_json("status")["flows"]
    assert status["confirmed"] + status["embryonic"] == 4
    text = pair.server.fw("flow list --proto tcp").stdout.splitlines()
    assert len(text) == 3 and text[0].split()[:3] == ["proto", "from", "to"]
    assert all(len(line) == len(line.rstrip()) for line in text)
    two.echo(b"still here")


def test_a_deleted_connection_is_cut_and_others_live(pair: PairLab, family: str) -> None:
    server = address(pair.server, family)
    protect(pair.server, POLICY + "option load.grace 0s\n", "eth0")
    for port in (80, 81):
        pair.server.listen(port, any_address(family))
    cut, kept = (pair.client.connect(server, port) for port in (80, 81))
    cut.echo(b"one")
    kept.echo(b"one")
    done = pair.server.fw("flow delete --port 80")
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("", "1 flow deleted")
    with pytest.raises(TimeoutError):
        cut.echo(b"two", timeout_s=1)
    kept.echo(b"two")
    assert [flow["dport"] for flow in flows(pair.server, proto="tcp")] == [81]


def test_flush_forgets_all(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    pair.server.udp(53, echo=True)
    socket = pair.client.udp()
    assert socket.ask(pair.server.v4, 53, b"1") == b"1"
    pair.server.ping(pair.client.v4)
    assert pair.server.fw("flow flush").stderr.splitlines()[-1] == "2 flows deleted"
    assert flows(pair.server) == []
    assert pair.server.fw("flow list").stdout == ""
    assert socket.ask(pair.server.v4, 53, b"2") == b"2", "what the rules allow begins anew"
    assert answered(lambda: pair.server.ping(pair.client.v4))


def test_another_namespace_by_its_name(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    pair.server.ping(pair.client.v4)
    said = [pair.server.fw("flow list --proto icmp", way=way).stdout for way in ("exec", "netns", "nsenter")]
    assert all(len(text.splitlines()) == 2 for text in said)
    assert pair.client.fw("flow list", check=False).returncode == 3
