# SPDX-License-Identifier: MIT
"""A protected router.

client ───────── lan0 router wan0 ───────── server

With fw on wan0 alone, and on both of its interfaces.
"""

from __future__ import annotations

import pytest

from tests import packets as p
from tests.lab.attachment import drops, flows, protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import RouterLab
from tests.lab.traffic import asks, no_ping, no_tcp, no_udp, pings, reaches
from tests.lab.wait import until

HOME = """
    default in drop
    default forward drop
    default out allow
    allow in tcp to port 22
    allow forward on lan0 via wan0
"""
ONE, BOTH = ("wan0",), ("wan0", "lan0")


@pytest.fixture(params=[ONE, BOTH], ids=["one", "both"])
def protected(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The router's protected interfaces."""
    return tuple(request.param)


def services(*hosts: Host) -> None:
    for host in hosts:
        for family in ("ipv4", "ipv6"):
            host.listen(7, any_address(family))
            host.udp(7, any_address(family), echo=True)


def test_the_inner_network_gets_out_and_nobody_in(
    lab: RouterLab, family: str, attach: str, protected: tuple[str, ...]
) -> None:
    client, server = address(lab.client, family), address(lab.server, family)
    services(lab.client, lab.server)
    protect(lab.router, HOME, *protected, attach=attach)
    assert reaches(lab.client, server, 7) and asks(lab.client, server, 7) and pings(lab.client, server)
    assert no_tcp(lab.server, client, 7)
    assert no_udp(lab.server, client, 7)
    assert no_ping(lab.server, client)
    (flow,) = flows(lab.router, proto="tcp", src=client, dport=7)
    assert flow["dst"] == server and flow["packets"] and flow["reply_packets"]
    assert drops(lab.router, src=server, dst=client, scope="forward", reason="default_drop")


def test_the_router_itself_is_a_host(lab: RouterLab, family: str, protected: tuple[str, ...]) -> None:
    server = address(lab.server, family)
    services(lab.client, lab.server, lab.router)
    lab.router.listen(22, any_address(family))
    protect(lab.router, HOME, *protected)
    assert reaches(lab.router, server, 7) and pings(lab.router, server)
    assert reaches(lab.server, address(lab.router, family), 22)
    assert no_tcp(lab.server, address(lab.router, family), 7)
    inner = lab.router_lan4 if family == "ipv4" else lab.router_lan6
    assert reaches(lab.client, inner, 22)
    assert no_tcp(lab.client, inner, 7) if "lan0" in protected else reaches(lab.client, inner, 7)


def test_its_inner_address_asked_for_from_outside_is_still_the_router(lab: RouterLab, family: str) -> None:
    """The weak host model: a packet for lan0's address that comes in by wan0 is `in`, not `forward`."""
    inner = lab.router_lan4 if family == "ipv4" else lab.router_lan6
    services(lab.router)
    lab.router.listen(22, any_address(family))
    protect(lab.router, HOME, *BOTH)
    assert reaches(lab.server, inner, 22)
    assert no_tcp(lab.server, inner, 7)
    assert drops(lab.router, dst=inner, dport=7, scope="in")


def test_the_rule_names_the_way(lab: RouterLab, family: str, protected: tuple[str, ...]) -> None:
    """`on wan0 via lan0` lets the server in, and then not the client out."""
    services(lab.client, lab.server)
    policy = HOME.replace("allow forward on lan0 via wan0", "allow forward tcp to port 7 on wan0 via lan0")
    protect(lab.router, policy, *protected)
    assert reaches(lab.server, address(lab.client, family), 7)
    assert no_tcp(lab.client, address(lab.server, family), 7)


def test_a_packet_is_counted_once_where_it_was_judged(lab: RouterLab) -> None:
    """Through two protected interfaces: one flow, its packets counted once, handed on at the second hook."""
    protect(lab.router, HOME, *BOTH)
    for _ in range(10):
        lab.client.ping(lab.server.v4)
    (first, *others) = flows(lab.router, proto="icmp")
    assert not others or all(flow["packets"] == flow["reply_packets"] == 1 for flow in [first, *others])
    counted = reasons(lab.router)
    assert counted["rule_allow"] + counted["flow"] + counted["handed_on"] >= 40 - counted["related"]


def test_errors_of_routers_on_the_way_come_through(
    lab: RouterLab, family: str, protected: tuple[str, ...]
) -> None:
    """The router itself says that a packet of the client has lived too long, and the client hears it."""
    client, server = address(lab.client, family), address(lab.server, family)
    protect(lab.router, HOME, *protected)
    wire = lab.client.wire("eth0")
    lifetime = "ttl" if family == "ipv4" else "hop_limit"
    wire.send_to(lab.router.macs["lan0"], p.ip(client, server, p.udp(33000, 33434), **{lifetime: 1}))
    error = wire.catch(lambda packet: packet.is_icmp_error)
    assert error.quoted is not None and error.quoted.dport == 33434


def test_a_far_port_unreachable_reaches_the_client(
    lab: RouterLab, family: str, protected: tuple[str, ...]
) -> None:
    protect(lab.router, HOME, *protected)
    socket = lab.client.udp(address=any_address(family))
    socket.connect(address(lab.server, family), 9)
    socket.send(b"anyone?")
    with pytest.raises(ConnectionRefusedError):
        socket.recv()


def test_path_mtu_is_discovered_through_it(lab: RouterLab, family: str, attach: str) -> None:
    """The way out is narrower than the client's link: "too big" reaches the client, and bulk arrives."""
    protect(lab.router, HOME, *BOTH, attach=attach)
    for host, interface in ((lab.router, "wan0"), (lab.server, "eth0")):
        host.ip(f"link set {interface} mtu 1300")
    listener = lab.server.listen(7, any_address(family), mode="sink")
    stream = lab.client.connect(address(lab.server, family), 7)
    stream.send_zeros(1_000_000)
    sink = listener.accepted(stream.local)
    until(lambda: sink.swallowed() == 1_000_000, what="all of it")


def test_spoofed_inner_addresses_do_not_come_in(lab: RouterLab, family: str) -> None:
    """From outside, with an inner address: the rule on lan0 does not match what comes in by wan0."""
    client, server = address(lab.client, family), address(lab.server, family)
    protect(lab.router, HOME, *BOTH)
    ear = lab.client.wire("eth0")
    fake = "10.0.1.99" if family == "ipv4" else "2001:db8:1::99"
    lab.server.wire("eth0").send_to(lab.router.macs["wan0"], p.ip(fake, client, p.udp(7, 7, b"from inside?")))
    until(lambda: drops(lab.router, src=fake, dst=client, scope="forward"), what="the drop in the log")
    assert ear.caught(lambda packet: packet.src == fake, 0.1) == []
    assert pings(lab.client, server)


def test_what_is_not_routed_anywhere_is_told(lab: RouterLab) -> None:
    """A destination that the routing table prohibits is dropped under its own reason."""
    lab.router.ip("route add prohibit 198.51.100.0/24")
    protect(lab.router, HOME, *BOTH)
    wire = lab.client.wire("eth0")
    wire.send_to(lab.router.macs["lan0"], p.ip(lab.client.v4, "198.51.100.9", p.tcp(1000, 80, "S")))
    until(lambda: reasons(lab.router)["no_route"] == 1, what="the drop")


def test_a_server_behind_a_prefix_that_changes(lab: RouterLab, attach: str) -> None:
    """The provider delegates another prefix: the rule follows the host, and nobody has to tell fw."""
    lab.client.listen(443, "::")
    rule = "allow forward on wan0 via lan0 tcp to ::2/-64 port 443"
    protect(lab.router, f"default forward drop\n{rule}\n", "wan0", "lan0", attach=attach)
    lab.server.connect(lab.client.v6, 443).echo(b"by the old prefix")
    lab.router.ip("addr add 2001:db8:77::1/64 dev lan0 nodad", "addr del 2001:db8:1::1/64 dev lan0")
    lab.client.ip(
        "addr del 2001:db8:1::2/64 dev eth0",
        "addr add 2001:db8:77::2/64 dev eth0 nodad",
        "addr add 2001:db8:77::3/64 dev eth0 nodad",
        "route replace default via 2001:db8:77::1",
    )
    lab.server.connect("2001:db8:77::2", 443).echo(b"by the new prefix")
    assert no_tcp(lab.server, "2001:db8:77::3", 443)
