# SPDX-License-Identifier: MIT
"""nft translates beside fw: masquerade for the inner network, and a port published by DNAT.

client ───────── lan0 router wan0 ───────── server
10.0.1.2           nft and fw           203.0.113.2

fw sees packets before nft at ingress and after it at egress, on wan0 alone or on both interfaces.
"""

from __future__ import annotations

import pytest

from tests.lab.attachment import drops, flows, protect
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import RouterLab
from tests.lab.traffic import asks, no_tcp, no_udp, pings, reaches

NFT = """
table inet nat {
    chain out {
        type nat hook postrouting priority srcnat;
        iifname "lan0" oifname "wan0" masquerade
    }
    chain in {
        type nat hook prerouting priority dstnat;
        iifname "wan0" tcp dport 8080 dnat ip to 10.0.1.2:80
        iifname "wan0" tcp dport 8080 dnat ip6 to [2001:db8:1::2]:80
        iifname "wan0" udp dport 5300 dnat ip to 10.0.1.2:53
        iifname "wan0" udp dport 5300 dnat ip6 to [2001:db8:1::2]:53
    }
}
"""
HOME = """
    default in drop
    default forward drop
    default out allow
    allow forward on lan0 via wan0
"""
PUBLISHED = HOME + "allow in tcp to port 8080\nallow in udp to port 5300"


@pytest.fixture(params=[("wan0",), ("wan0", "lan0")], ids=["one", "both"])
def protected(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def services(host: Host, *ports: int) -> None:
    for port in ports:
        for family in ("ipv4", "ipv6"):
            host.listen(port, any_address(family))
            host.udp(port, any_address(family), echo=True)


def test_masqueraded_connections_are_answered(
    lab: RouterLab, family: str, attach: str, protected: tuple[str, ...]
) -> None:
    server = address(lab.server, family)
    lab.router.run("nft -f -", input=NFT)
    listener = lab.server.listen(7, any_address(family))
    lab.server.udp(7, any_address(family), echo=True)
    protect(lab.router, HOME, *protected, attach=attach)

    stream = lab.client.connect(server, 7)
    stream.echo()
    outside = (address(lab.router, family), stream.local[1])
    assert listener.accepted(outside), "the server sees the router's address"
    assert asks(lab.client, server, 7) and pings(lab.client, server)
    for _ in range(20):
        stream.echo(b"again and again")
    assert flows(lab.router, proto="tcp", src=outside[0], dst=server, dport=7), (
        "what goes over the wire outside"
    )


def test_nobody_comes_in_by_the_way_that_masquerade_opens(
    lab: RouterLab, family: str, protected: tuple[str, ...]
) -> None:
    """A stranger's packets to the port that the router lent to a connection are dropped."""
    server, router = address(lab.server, family), address(lab.router, family)
    lab.router.run("nft -f -", input=NFT)
    services(lab.server, 7)
    services(lab.client, 7)
    protect(lab.router, HOME, *protected)
    stream = lab.client.connect(server, 7)
    stream.echo()
    assert no_tcp(lab.server, router, stream.local[1])
    assert no_tcp(lab.server, address(lab.client, family), 7)
    assert drops(lab.router, src=server, dst=router, dport=stream.local[1])
    stream.echo()


def test_a_published_port_is_governed_by_in_rules(
    lab: RouterLab, family: str, attach: str, protected: tuple[str, ...]
) -> None:
    router = address(lab.router, family)
    lab.router.run("nft -f -", input=NFT)
    services(lab.client, 80, 53)
    protect(lab.router, HOME, *protected, attach=attach)
    assert no_tcp(lab.server, router, 8080)
    assert no_udp(lab.server, router, 5300)
    for port, proto in ((8080, "tcp"), (5300, "udp")):
        lab.router.fw(f"rule add allow in {proto} to port {port}")
    assert reaches(lab.server, router, 8080)
    assert asks(lab.server, router, 5300)
    assert no_tcp(lab.server, address(lab.client, family), 80), "the inner port itself stays closed"


def test_a_published_port_closes_for_running_connections(
    lab: RouterLab, family: str, protected: tuple[str, ...]
) -> None:
    router = address(lab.router, family)
    lab.router.run("nft -f -", input=NFT)
    services(lab.client, 80)
    protect(lab.router, "option load.grace 0s\n" + PUBLISHED, *protected)
    stream = lab.server.connect(router, 8080)
    stream.echo()
    lab.router.fw("rule delete allow in tcp to port 8080")
    stream.send(b"still there?")
    with pytest.raises(TimeoutError):
        stream.recv(1, 0.5)


def test_translated_connections_survive_an_unrelated_change(
    lab: RouterLab, family: str, protected: tuple[str, ...]
) -> None:
    lab.router.run("nft -f -", input=NFT)
    services(lab.client, 80)
    services(lab.server, 7)
    protect(lab.router, "option load.grace 0s\n" + PUBLISHED, *protected)
    inward = lab.server.connect(address(lab.router, family), 8080)
    outward = lab.client.connect(address(lab.server, family), 7)
    for stream in (inward, outward):
        stream.echo()
    for _ in range(3):
        lab.router.fw("rule add allow in tcp to port 9999")
        for stream in (inward, outward):
            stream.echo(b"after the change")
        lab.router.fw("rule delete allow in tcp to port 9999")
        for stream in (outward, inward):
            stream.echo(b"and back")
