# SPDX-License-Identifier: MIT
"""Who comes too often is kept out by a rule of the set that he is put into, and what he has open ends."""

from __future__ import annotations

import pytest

from tests.lab.attachment import flows, protect
from tests.lab.conftest import address, any_address
from tests.lab.lab import PairLab
from tests.lab.traffic import answered
from tests.lab.wait import until

POLICY = """
    protect eth0
    option load.grace 0s
    default in drop
    default out allow
    set bad
    set office = 203.0.113.0/24
    drop in from @bad
    allow in icmp, icmp6
    allow in tcp to port 80
    allow in tcp to port 22 {} overload @bad for {}
"""


def inside(pair: PairLab) -> dict[str, tuple[bool, bool]]:
    """Who is in the set: whether by a command, whether by a rule."""
    found = pair.server.fw_json("set show bad")["elements"]
    return {one["span"]: (one["added"], one["overload"]) for one in found}


def connects(pair: PairLab, family: str, port: int) -> bool:
    return answered(lambda: pair.client.connect(address(pair.server, family), port, timeout_s=0.5).close())


@pytest.mark.parametrize("ceiling", ["limit 4/hour per source", "max-flows 4 per source/32/128"])
def test_too_many_connections_end_all(pair: PairLab, family: str, attach: str, ceiling: str) -> None:
    server, client = pair.server, pair.client
    for port in (22, 80):
        server.listen(port, any_address(family))
    protect(server, POLICY.format(ceiling, "1h"), "eth0", attach=attach)
    web = client.connect(address(server, family), 80)
    web.echo(b"here before")
    streams = [client.connect(address(server, family), 22) for _ in range(4)]
    for stream in streams:
        stream.echo(b"let in")
    assert inside(pair) == {}

    answered(lambda: client.connect(address(server, family), 22, timeout_s=0.5).echo(timeout_s=0.5))
    ((span, (added, overload)),) = inside(pair).items()
    assert not added and overload
    assert span.startswith(str(address(client, family))[:10])
    for stream in (web, *streams):
        assert not answered(lambda stream=stream: stream.echo(timeout_s=0.3))  # type: ignore[misc]
    assert {one["state"] for one in flows(server, confirmed=True)} == {"revoked"}
    assert not connects(pair, family, 80)
    assert "put into its rule's set" in server.fw("log").stdout
    assert [one["overload"] for one in server.fw_json("sets")["sets"]] == [1, 0]

    server.fw("rule add allow in tcp to port 81")
    assert not connects(pair, family, 80), "a change of rules lets nobody out"
    server.fw(f"set delete bad {span}")
    assert inside(pair) == {}
    assert connects(pair, family, 80)


def test_its_time_ends_and_what_was_dropped_is_forgotten(pair: PairLab) -> None:
    server = pair.server
    for port in (22, 80):
        server.listen(port)
    protect(server, POLICY.format("limit 1/day per source", "2s"), "eth0")
    for _ in range(2):
        answered(lambda: pair.client.connect(server.v4, 22, timeout_s=0.5).echo(timeout_s=0.5))
    assert not connects(pair, "ipv4", 80)
    until(lambda: connects(pair, "ipv4", 80), timeout_s=20)
    assert inside(pair) == {}

    server.fw("apply -", input=POLICY.format("limit 1/day per source", "1h"))
    for _ in range(2):
        answered(lambda: pair.client.connect(server.v4, 22, timeout_s=0.5).echo(timeout_s=0.5))
    assert list(inside(pair)) == [f"{pair.client.v4}"]
    server.fw("set flush bad")
    assert inside(pair) == {} and connects(pair, "ipv4", 80)
    for _ in range(2):
        answered(lambda: pair.client.connect(server.v4, 22, timeout_s=0.5).echo(timeout_s=0.5))
    assert inside(pair)
    server.fw("apply -", input="protect eth0\ndefault in drop\ndefault out allow\nallow in tcp to port 80\n")
    server.fw(
        "apply -",
        input="protect eth0\ndefault in drop\ndefault out allow\nset bad\nallow in tcp to port 80\ndrop in from @bad\n",
    )
    assert inside(pair) == {}, "a set of the same number begins empty"
