# SPDX-License-Identifier: MIT
"""Sources against real routing tables. fw is on both sides of the router.

client eth0 ───────── lan0 router wan0 ───────── eth0 server
"""

from __future__ import annotations

import pytest

from tests import packets as p
from tests.lab.attachment import protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.lab import RouterLab
from tests.lab.traffic import asks, reaches
from tests.lab.wait import until

OPEN = """
    default in allow
    default forward allow
    default out allow
"""


@pytest.mark.parametrize("word", ["strict", "loose"])
def test_spoofed_sources(lab: RouterLab, family: str, attach: str, word: str) -> None:
    """Who is where the routes say passes both ways; an inner address does not come from outside if strict."""
    client, server = address(lab.client, family), address(lab.server, family)
    for host in (lab.client, lab.server):
        host.listen(7, any_address(family))
    protect(lab.router, OPEN + f"option antispoof {word}", "lan0", "wan0", attach=attach)
    assert reaches(lab.client, server, 7) and reaches(lab.server, client, 7)

    router = {"ipv4": lab.router.v4, "ipv6": lab.router.v6}[family]
    wire = lab.server.wire("eth0")
    wire.send_to(lab.router.macs["wan0"], p.ip(client, router, p.udp(4000, 9)))
    wire.send_to(lab.router.macs["wan0"], p.ip(router, router, p.udp(4001, 9)))
    inner = {"ipv4": lab.router_lan4, "ipv6": lab.router_lan6}[family]
    wire.send_to(lab.router.macs["wan0"], p.ip(inner, router, p.udp(4002, 9)))
    spoofed = 2 if word == "strict" else 1
    until(lambda: (reasons(lab.router)["spoofed"], reasons(lab.router)["land"]) == (spoofed, 1), what="drops")


def test_routes_by_source(lab: RouterLab, family: str) -> None:
    """Policy routing: the way back is asked with the addresses that the answer will have."""
    server = address(lab.server, family)
    lab.server.udp(7, any_address(family), echo=True)
    inside = {"ipv4": "10.0.1.0/24", "ipv6": "2001:db8:1::/64"}[family]
    ip = {"ipv4": "ip -4", "ipv6": "ip -6"}[family]
    lab.router.run(f"{ip} rule add from {server} lookup 77")
    lab.router.run(f"{ip} route add {inside} dev lan0 table 77")
    lab.router.run(f"{ip} route del {inside} dev lan0")
    protect(lab.router, OPEN + "option antispoof strict", "lan0", "wan0")
    assert asks(lab.client, server, 7)
    assert reasons(lab.router)["spoofed"] == 0
