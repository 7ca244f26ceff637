# SPDX-License-Identifier: MIT
"""What the kernel tells of connections by itself, read from a router at work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.attachment import inside
from tests.lab.conftest import address, any_address
from tests.lab.lab import RouterLab

TCP, UDP = 6, 17
SERVER_SCALE = 13  # of 256 MiB

NAT = """
table inet nat {
    chain out {
        type nat hook postrouting priority srcnat;
        oifname "wan0" tcp dport 443 masquerade
        ct state new accept
    }
}
"""

READ = """
import json
from firewall import live
def plain(ends):
    return [ends.proto, str(ends.src), ends.sport, str(ends.dst), ends.dport]
print(json.dumps({
    "own": [plain(one.ends) for one in live.connections()],
    "scales": [[plain(one.ends), one.scales] for one in live.connections()],
    "tracked_scales": [[plain(one.original), one.scales] for one in live.tracked()],
    "tracked": [[plain(one.original), plain(one.reply), one.replied, one.certain] for one in live.tracked()],
}))
"""


@pytest.fixture
def told(lab: RouterLab, family: str) -> dict[str, Any]:
    """What is told while there is one connection of each kind; `wanted` has their ends."""
    client, server = address(lab.client, family), address(lab.server, family)
    router = address(lab.router, family)
    anywhere = any_address(family)
    lab.router.run("nft -f -", input=NAT)
    lab.server.run(f"sysctl -qw net.ipv4.tcp_rmem='4096 131072 {1 << 15 + SERVER_SCALE}'")
    for host, port in ((lab.router, 22), (lab.server, 80), (lab.server, 443)):
        host.listen(port, anywhere)
    streams = {
        "accepted": lab.server.connect(router, 22),
        "opened": lab.router.connect(server, 80),
        "through": lab.client.connect(server, 80),
        "masqueraded": lab.client.connect(server, 443),
    }
    for stream in streams.values():
        stream.echo()
    asking = lab.router.udp(address=anywhere)
    asking.connect(server, 53)
    asking.send(b"?")
    found: dict[str, Any] = json.loads(inside(lab.router, READ))
    ports = {name: stream.local[1] for name, stream in streams.items()}
    found["wanted"] = {
        "accepted": [TCP, server, ports["accepted"], router, 22],
        "opened": [TCP, router, ports["opened"], server, 80],
        "asked": [UDP, router, asking.local[1], server, 53],
        "through": [TCP, client, ports["through"], server, 80],
        "masqueraded": [TCP, client, ports["masqueraded"], server, 443],
        "outside": [TCP, router, ports["masqueraded"], server, 443],
    }
    return found


def reverse(ends: list[Any]) -> list[Any]:
    proto, src, sport, dst, dport = ends
    return [proto, dst, dport, src, sport]


def test_own_connections_are_told_from_their_openers_side(told: dict[str, Any]) -> None:
    wanted = told["wanted"]
    for name in ("accepted", "opened", "asked"):
        assert wanted[name] in told["own"], name
    assert not [ends for ends in told["own"] if reverse(ends) in wanted.values()]


def test_conntrack_is_told_with_what_became_of_it(told: dict[str, Any]) -> None:
    wanted = told["wanted"]
    assert [wanted["through"], reverse(wanted["through"]), True, True] in told["tracked"]
    assert [wanted["masqueraded"], reverse(wanted["outside"]), True, True] in told["tracked"]
    assert [wanted["asked"], reverse(wanted["asked"]), False, True] in told["tracked"]


def test_window_scales_are_told_with_their_ends(told: dict[str, Any]) -> None:
    """The server's is larger than everybody else's."""
    own, tracked = (
        {tuple(ends): scales for ends, scales in told[name]} for name in ("scales", "tracked_scales")
    )
    wanted = {name: tuple(ends) for name, ends in told["wanted"].items()}
    assert own[wanted["accepted"]][0] == own[wanted["opened"]][1] == SERVER_SCALE
    assert tracked[wanted["through"]][1] == tracked[wanted["masqueraded"]][1] == SERVER_SCALE
    others = own[wanted["accepted"]][1], own[wanted["opened"]][0], tracked[wanted["through"]][0]
    assert all(0 < scale < SERVER_SCALE for scale in others)
