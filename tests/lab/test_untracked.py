# SPDX-License-Identifier: MIT
"""What passes untracked: questions, answers and errors between real hosts, with no flow of any of them."""

from __future__ import annotations

from tests.lab.attachment import flows, protect
from tests.lab.conftest import address, any_address
from tests.lab.lab import PairLab
from tests.lab.traffic import answered

QUESTIONS = """
    default in drop
    default out drop
    allow in icmp6
    allow in udp to port 53 untracked
    {}
"""


def test_a_name_server_needs_a_rule_for_each_direction(pair: PairLab, family: str, attach: str) -> None:
    server, client = pair.server, pair.client
    server.udp(53, any_address(family), echo=True)
    protect(server, QUESTIONS.format(""), "eth0", attach=attach)
    assert not answered(
        lambda: client.udp(address=any_address(family)).ask(address(server, family), 53, timeout_s=1)
    )
    server.fw("rule add allow out udp from port 53 untracked")
    for size in (10, 20_000):  # whole, and in fragments
        asker = client.udp(address=any_address(family))
        for _ in range(3):
            assert asker.ask(address(server, family), 53, b"x" * size)
    server.fw("rule add allow out icmp, icmp6 icmp-type destination-unreachable")
    assert [flow for flow in flows(server) if flow["proto"] == "udp"] == []


def test_a_connection_in_both_directions(pair: PairLab, family: str) -> None:
    """A web server whose segments nobody follows; it goes on when its flow would have been lost."""
    server, client = pair.server, pair.client
    server.listen(80, any_address(family))
    protect(
        server,
        QUESTIONS.format("allow in tcp to port 80 untracked\nallow out tcp from port 80 untracked"),
        "eth0",
    )
    stream = client.connect(address(server, family), 80)
    stream.echo(b"x" * 100_000)
    server.fw("flow flush --yes")
    stream.echo(b"still there")
    assert [flow for flow in flows(server) if flow["proto"] == "tcp"] == []
    server.fw("rule delete allow out tcp from port 80 untracked --yes")
    assert not answered(lambda: stream.echo(timeout_s=0.5))
