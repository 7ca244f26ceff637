# SPDX-License-Identifier: MIT
"""Members of a VRF, protected: what is forwarded between them, and what is for this host.

client ───────── lan0 router wan0 ───────── server
                 └── blue ──┘

At egress the kernel gives the VRF as the interface that a packet came by; rules name its members all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests import packets as p
from tests.lab.attachment import drops, flows, protect, reasons
from tests.lab.conftest import FAMILIES, address, any_address
from tests.lab.device import need
from tests.lab.host import Host
from tests.lab.lab import Lab, RouterLab
from tests.lab.traffic import asks, no_ping, no_tcp, no_udp, pings, reaches
from tests.lab.wait import until

pytestmark = pytest.mark.devices

HOME = """
    default in drop
    default forward drop
    default out allow
    allow forward on lan0 via wan0
"""


def enslave(host: Host, vrf: str, table: int, **members: tuple[str, str]) -> None:
    """Make a VRF of interfaces that are up; it takes their IPv6 addresses away, so all are given again."""
    need(host, f"vrf table {table}")
    host.ip(f"link add {vrf} type vrf table {table}", f"link set {vrf} up")
    for member, addresses in members.items():
        host.ip(f"link set {member} master {vrf}")
        for one in addresses:
            host.ip(f"addr replace {one} dev {member}" + (" nodad" if ":" in one else ""))


class VrfLab(RouterLab):
    """The router of RouterLab with both of its interfaces in one VRF."""

    def build(self) -> None:
        super().build()
        enslave(
            self.router,
            "blue",
            10,
            lan0=("10.0.1.1/24", "2001:db8:1::1/64"),
            wan0=("203.0.113.1/24", "2001:db8:2::1/64"),
        )
        self.router.await_links()


@pytest.fixture
def vrf() -> Iterator[VrfLab]:
    with VrfLab() as lab:
        yield lab


def services(*hosts: Host, device: str | None = None) -> None:
    for host in hosts:
        for family in FAMILIES:
            host.listen(7, any_address(family), device=device)
            host.udp(7, any_address(family), echo=True, device=device)


def test_forwarding_between_members(vrf: VrfLab, attach: str) -> None:
    """The rule names the members, nobody gets in from outside, and each packet is counted once."""
    services(vrf.client, vrf.server)
    protect(vrf.router, HOME, "lan0", "wan0", attach=attach)
    for family in FAMILIES:
        client, server = address(vrf.client, family), address(vrf.server, family)
        stream = vrf.client.connect(server, 7)
        for _ in range(5):
            stream.echo()
        socket = vrf.client.udp(5000, any_address(family))
        for _ in range(5):
            socket.ask(server, 7)
        assert pings(vrf.client, server)
        (flow,) = flows(vrf.router, proto="udp", src=client, dst=server)
        assert (flow["packets"], flow["reply_packets"]) == (5, 5)
        (flow,) = flows(vrf.router, proto="tcp", src=client, dst=server)
        assert flow["state"] == "established" and flow["packets"] < 20
        assert no_tcp(vrf.server, client, 7)
        assert no_udp(vrf.server, client, 7)
        assert no_ping(vrf.server, client)
        assert drops(vrf.router, src=server, dst=client, scope="forward", reason="default_drop")
    counted = reasons(vrf.router)
    assert counted["handed_on"] == counted["rule_allow"] + counted["flow"]


def test_fragments_between_members(vrf: VrfLab) -> None:
    protect(vrf.router, HOME, "lan0", "wan0")
    for family in FAMILIES:
        vrf.server.udp(7, any_address(family), echo=True)
        socket = vrf.client.udp(address=any_address(family))
        assert socket.ask(address(vrf.server, family), 7, bytes(4000)) == bytes(4000)
    counted = reasons(vrf.router)
    assert counted["fragment_unknown"] == 0


def test_errors_between_members(vrf: VrfLab) -> None:
    """Of the far host, and of the router itself."""
    protect(vrf.router, HOME, "lan0", "wan0")
    for family in FAMILIES:
        client, server = address(vrf.client, family), address(vrf.server, family)
        socket = vrf.client.udp(address=any_address(family))
        socket.connect(server, 9)
        socket.send(b"anyone?")
        with pytest.raises(ConnectionRefusedError):
            socket.recv()
        wire = vrf.client.wire("eth0")
        lifetime = "ttl" if family == "ipv4" else "hop_limit"
        wire.send_to(vrf.router.macs["lan0"], p.ip(client, server, p.udp(33000, 33434), **{lifetime: 1}))
        error = wire.catch(lambda packet: packet.is_icmp_error)
        assert error.quoted is not None and error.quoted.dport == 33434


@pytest.mark.parametrize("inside", ["lan0", "blue"])
def test_one_member_protected(vrf: VrfLab, inside: str) -> None:
    """What came by the other is known as the VRF's: `on blue` lets it out, `on lan0` cannot."""
    services(vrf.client, vrf.server)
    policy = f"""
        default in drop
        default forward drop
        allow forward udp on {inside} via wan0
        allow forward tcp on wan0 via lan0
    """
    protect(vrf.router, policy, "wan0")
    for family in FAMILIES:
        client, server = address(vrf.client, family), address(vrf.server, family)
        if inside == "blue":
            assert asks(vrf.client, server, 7)
        else:
            assert no_udp(vrf.client, server, 7)
        assert reaches(vrf.server, client, 7), "in by wan0, and the answers from lan0 by way of the VRF"
        assert no_tcp(vrf.client, server, 7)
        assert no_udp(vrf.server, client, 7)


def test_an_open_member_is_not_taken_for_another(vrf: VrfLab) -> None:
    """What comes by a third member, which is not protected, is not what `on lan0` lets out."""
    vrf.router.ip(
        "link add dmz0 type veth peer name far0",
        "link set far0 up",
        "link set dmz0 master blue up",
        "addr add 10.0.3.1/24 dev dmz0",
    )
    services(vrf.server)
    protect(vrf.router, HOME, "lan0", "wan0")
    assert asks(vrf.client, vrf.server.v4, 7)
    ear = vrf.server.wire("eth0")
    for end in ("dmz0", "far0"):
        vrf.router.macs[end] = vrf.router.ip_json(f"link show dev {end}")[0]["address"]
    question = p.ip("10.0.3.9", vrf.server.v4, p.udp(7, 7, b"hello"))
    vrf.router.wire("far0").send_to(vrf.router.macs["dmz0"], question)
    until(lambda: drops(vrf.router, src="10.0.3.9", scope="forward"), what="the drop in the log")
    assert ear.caught(lambda packet: packet.src == "10.0.3.9", 0.1) == []


def test_masquerade_between_members(vrf: VrfLab) -> None:
    """The host translates what it forwards within the VRF."""
    vrf.router.run(
        "nft -f -",
        input='table ip nat { chain out { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }; }',
    )
    services(vrf.client, vrf.server)
    protect(vrf.router, HOME, "lan0", "wan0")
    assert reaches(vrf.client, vrf.server.v4, 7)
    assert asks(vrf.client, vrf.server.v4, 7) and pings(vrf.client, vrf.server.v4)
    assert flows(vrf.router, proto="tcp", src="203.0.113.1", dst=vrf.server.v4, dport=7)
    assert no_tcp(vrf.server, vrf.client.v4, 7)


def test_sockets_in_a_vrf(vrf: VrfLab) -> None:
    """This host in the VRF: called, calling, and by link-local addresses."""
    services(vrf.client, vrf.server)
    services(vrf.router, device="blue")
    inner = vrf.router.link_local("lan0")
    protect(vrf.router, HOME + "allow in tcp to port 7 on lan0", "lan0", "wan0")
    for family in FAMILIES:
        server = address(vrf.server, family)
        here = vrf.router_lan4 if family == "ipv4" else vrf.router_lan6
        assert reaches(vrf.client, here, 7)
        assert no_udp(vrf.client, here, 7)
        assert no_tcp(vrf.server, address(vrf.router, family), 7)
        stream = vrf.router.connect(server, 7, device="blue")
        stream.echo()
        socket = vrf.router.udp(address=any_address(family), device="blue")
        assert socket.ask(server, 7) == b"what?"
        assert vrf.router.ping(server, device="blue")
        (flow,) = flows(vrf.router, proto="udp", dst=server, dport=7)
        assert (flow["packets"], flow["reply_packets"]) == (1, 1)
    assert reaches(vrf.client, f"{inner}%eth0", 7)
    assert no_udp(vrf.client, f"{inner}%eth0", 7)


def test_running_connections_outlive_a_load(vrf: VrfLab) -> None:
    """To this host, from it and through it; the first to speak is the far side."""
    talks = []
    for family in FAMILIES:
        server = address(vrf.server, family)
        inner = vrf.router_lan4 if family == "ipv4" else vrf.router_lan6
        ear = vrf.router.listen(22, any_address(family), mode="hold", device="blue")
        far = vrf.server.listen(23, any_address(family), mode="hold")
        for host, to, listener, device in (
            (vrf.client, inner, ear, None),
            (vrf.router, server, far, "blue"),
            (vrf.client, server, far, None),
        ):
            stream = host.connect(to, listener.port, device=device)
            talks.append((stream, listener.accepted(stream.local)))
    protect(vrf.router, HOME + "allow in tcp to port 22", "lan0", "wan0")
    for caller, called in talks:
        called.send(b"hello")
        assert caller.recv(5) == b"hello"
        caller.send(b"yes")
        assert called.recv(3) == b"yes"


class TwoVrfs(Lab):
    """Two customers with the same addresses.

    client0 ───────── lan0 router wan0 ───────── server0
    10.0.1.2          └── vrf0 ──┘           203.0.113.2
    client1 ───────── lan1 router wan1 ───────── server1
    10.0.1.2          └── vrf1 ──┘           203.0.113.2
    """

    def build(self) -> None:
        self.router = self.host("router")
        self.clients = [self.host("client0"), self.host("client1")]
        self.servers = [self.host("server0"), self.host("server1")]
        for number, (client, server) in enumerate(zip(self.clients, self.servers, strict=True)):
            self.link(client, "eth0", self.router, f"lan{number}")
            self.link(self.router, f"wan{number}", server, "eth0")
            members = {
                f"lan{number}": ("10.0.1.1/24", "2001:db8:1::1/64"),
                f"wan{number}": ("203.0.113.1/24", "2001:db8:2::1/64"),
            }
            enslave(self.router, f"vrf{number}", 10 + number, **members)
            self.address(client, "eth0", "10.0.1.2/24", "2001:db8:1::2/64")
            self.address(server, "eth0", "203.0.113.2/24", "2001:db8:2::2/64")
            client.ip("route add default via 10.0.1.1", "route add default via 2001:db8:1::1")
            server.ip("route add default via 203.0.113.1", "route add default via 2001:db8:2::1")
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        for host in self.hosts:
            host.await_links()


@pytest.fixture
def customers() -> Iterator[TwoVrfs]:
    with TwoVrfs() as lab:
        yield lab


def test_the_same_addresses_in_two_vrfs(customers: TwoVrfs) -> None:
    """What the one is allowed opens nothing for the other; when both are, each has a flow of its own."""
    services(*customers.servers)
    closed = "default in drop\ndefault forward drop\nallow forward on lan0 via wan0"
    protect(customers.router, closed, "lan0", "wan0", "lan1", "wan1")
    streams = []
    for family in FAMILIES:
        client, server = address(customers.clients[0], family), address(customers.servers[0], family)
        first = customers.clients[0].connect(server, 7, source=client, sport=4000)
        first.echo()
        question = customers.clients[0].udp(4001, client)
        assert question.ask(server, 7) == b"what?"
        with pytest.raises(TimeoutError):
            customers.clients[1].connect(server, 7, source=client, sport=4000, timeout_s=0.5)
        same = customers.clients[1].udp(4001, client)
        with pytest.raises(TimeoutError):
            same.ask(server, 7, timeout_s=0.5)
        stray = p.ip(server, client, p.tcp(7, 4000, "A"))
        customers.servers[1].wire("eth0").send_to(customers.router.macs["wan1"], stray)
        until(partial(drops, customers.router, src=server, dport=4000, reason="no_flow"), what="the drop")
        streams.append((first, question, same, client, server))
    customers.router.fw("rule add allow forward on lan1 via wan1")
    for first, question, same, client, server in streams:
        second = customers.clients[1].connect(server, 7, source=client, sport=4000)
        for _ in range(3):
            second.echo(b"second")
            first.echo(b"first")
            assert same.ask(server, 7, b"same") == b"same"
            assert question.ask(server, 7, b"question") == b"question"
        assert len(flows(customers.router, proto="tcp", src=client, sport=4000, dst=server, dport=7)) == 2


def test_from_a_vrf_into_the_main_table(lab: RouterLab) -> None:
    """The inner network is in a VRF, the way out is not: routes lead from each to the other."""
    enslave(lab.router, "blue", 10, lan0=("10.0.1.1/24", "2001:db8:1::1/64"))
    lab.router.await_links()
    lab.router.ip(
        "route add 203.0.113.0/24 dev wan0 table 10",
        "route add 2001:db8:2::/64 dev wan0 table 10",
        "route add 10.0.1.0/24 dev lan0",
        "route add 2001:db8:1::/64 dev lan0",
    )
    services(lab.client, lab.server)
    protect(lab.router, HOME, "lan0", "wan0")
    for family in FAMILIES:
        client, server = address(lab.client, family), address(lab.server, family)
        stream = lab.client.connect(server, 7)
        for _ in range(3):
            stream.echo()
        assert asks(lab.client, server, 7) and pings(lab.client, server)
        assert no_tcp(lab.server, client, 7)
        assert no_udp(lab.server, client, 7)


def test_a_vrf_itself_is_refused(vrf: VrfLab) -> None:
    refused = vrf.router.fw("load blue", check=False)
    assert refused.returncode == 1
    assert "blue is a VRF" in refused.stderr and "protect lan0, wan0 instead" in refused.stderr
