# SPDX-License-Identifier: MIT
"""Built-ins: what a link needs passes before all rules and without a flow, as narrowly as its RFC allows."""

import pytest

from tests.packet.ends import V4, V6
from tests.packet.path import PacketPath
from tests.packets import IGMP, Layer, arp, eth, fragments, icmp, icmp6, ip, ipv4, ipv6, options_header, udp

# every rule says no: what passes, passes without them
SHUT = "default in drop\ndefault out drop\ndefault forward drop\ndrop in, out, forward\n"
LINK_LOCAL, ALL_NODES, ALL_ROUTERS = "fe80::1", "ff02::1", "ff02::2"
SOLICITED = "ff02::1:ff00:1"
MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT = 130, 131, 132, 143
ND = range(133, 138)


def both(path: PacketPath, packet: Layer) -> tuple[str, str]:
    """The reasons that a packet gets when it arrives and when it leaves."""
    return path.ingress(eth(packet)).reason, path.egress(eth(packet)).reason


@pytest.fixture(autouse=True)
def shut(path: PacketPath) -> None:
    path.policy(SHUT)


@pytest.mark.parametrize("kind", ND)
@pytest.mark.parametrize("source", [LINK_LOCAL, "::", V6.hop])
def test_neighbour_discovery(path: PacketPath, kind: int, source: str) -> None:
    """RFC 4861 sections 6.1 and 7.1; the unspecified address asks whether its own is taken (RFC 4862)."""
    destination = {133: ALL_ROUTERS, 134: ALL_NODES, 135: SOLICITED}.get(kind, V6.us)
    packet = ipv6(source, destination, icmp6(kind, payload=bytes(16)), hop_limit=255)
    arrives = "builtin_nd" if source != "::" or kind in (133, 135) else "martian"
    assert both(path, packet) == (arrives, "builtin_nd")
    assert list(path.flows()) == []


@pytest.mark.parametrize("kind", ND)
@pytest.mark.parametrize("hop_limit", [0, 1, 64, 254])
def test_neighbour_discovery_from_afar(path: PacketPath, kind: int, hop_limit: int) -> None:
    packet = ipv6(V6.them, V6.us, icmp6(kind, payload=bytes(16)), hop_limit=hop_limit)
    assert both(path, packet) == ("rule_drop", "rule_drop")


@pytest.mark.parametrize("kind", [128, 129, 132, 138, 139, 141, 148])
def test_other_messages_are_not_neighbour_discovery(path: PacketPath, kind: int) -> None:
    packet = ipv6(LINK_LOCAL, V6.us, icmp6(kind, payload=bytes(16)), hop_limit=255)
    assert not {"builtin_nd", "builtin_mld"} & set(both(path, packet))


def test_neighbour_discovery_in_fragments(path: PacketPath) -> None:
    """RFC 6980: nobody sends it."""
    whole = ipv6(LINK_LOCAL, SOLICITED, icmp6(135, payload=bytes(64)), hop_limit=255)
    first, later = fragments(whole, 64)
    first = Layer(first[:7] + b"\xff" + first[8:], first.number)
    assert path.ingress(eth(first)).reason == "rule_drop"
    assert path.ingress(eth(later)).reason == "fragment_early", "it completes nothing"


def test_neighbour_discovery_that_passes_through(path: PacketPath) -> None:
    packet = ipv6(V6.them, V6.inside, icmp6(136, payload=bytes(16)), hop_limit=255)
    assert path.ingress(eth(packet)).reason == "rule_drop"
    assert path.egress(eth(packet), on="lan", came_by="wan", tc_index=0).reason == "rule_drop"


@pytest.mark.parametrize("kind", [MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT])
def test_multicast_listeners(path: PacketPath, kind: int) -> None:
    """RFC 2710 section 3, RFC 3810 section 5; with the router alert that they have."""
    alert = options_header(0, b"\x05\x02\0\0")
    message = icmp6(kind, payload=bytes(20))
    for ext in ([], [alert]):
        packet = ipv6(LINK_LOCAL, ALL_NODES, message, hop_limit=1, ext=ext)
        assert both(path, packet) == ("builtin_mld", "builtin_mld")


@pytest.mark.parametrize("kind", [MLD_QUERY, MLD_REPORT, MLD_DONE])
def test_multicast_listeners_from_afar(path: PacketPath, kind: int) -> None:
    message = icmp6(kind, payload=bytes(20))
    for source, hop_limit in ((V6.them, 1), (LINK_LOCAL, 2), (LINK_LOCAL, 255), ("::", 1)):
        assert path.ingress(eth(ipv6(source, ALL_NODES, message, hop_limit=hop_limit))).reason == "rule_drop"


def test_first_report_of_a_host_without_an_address(path: PacketPath) -> None:
    """RFC 3810 section 5.2.13."""
    packet = ipv6("::", "ff02::16", icmp6(MLD2_REPORT, payload=bytes(20)), hop_limit=1)
    assert both(path, packet) == ("builtin_mld", "builtin_mld")


@pytest.mark.parametrize("options", [b"", b"\x94\x04\0\0"], ids=["bare", "router alert"])
def test_igmp(path: PacketPath, options: bytes) -> None:
    packet = ipv4(V4.hop, "224.0.0.1", bytes(8), proto=IGMP, ttl=1, options=options)
    assert both(path, packet) == ("builtin_igmp", "builtin_igmp")
    routed = ipv4(V4.hop, "224.0.0.1", bytes(8), proto=IGMP, ttl=2, options=options)
    assert both(path, routed) == ("rule_drop", "rule_drop")


@pytest.mark.parametrize("destination", ["255.255.255.255", V4.us])
def test_dhcp_client(path: PacketPath, destination: str) -> None:
    """RFC 2131 section 4.1: from port 68 to 67, and the answer to port 68, broadcast or not."""
    ask = ipv4("0.0.0.0", "255.255.255.255", udp(68, 67, bytes(240)))
    answer = ipv4(V4.hop, destination, udp(67, 68, bytes(240)))
    assert path.egress(eth(ask)).reason == "builtin_dhcp"
    assert path.ingress(eth(answer)).reason == "builtin_dhcp"
    assert list(path.flows()) == []


def test_dhcp_server_is_not_built_in(path: PacketPath) -> None:
    assert path.ingress(eth(ipv4("0.0.0.0", "255.255.255.255", udp(68, 67)))).reason == "rule_drop"
    assert path.egress(eth(ipv4(V4.us, V4.hop, udp(67, 68)))).reason == "rule_drop"


@pytest.mark.parametrize(("sport", "dport"), [(67, 67), (68, 68), (67, 69), (1067, 68)])
def test_ports_beside_those_of_dhcp(path: PacketPath, sport: int, dport: int) -> None:
    assert both(path, ipv4(V4.hop, V4.us, udp(sport, dport))) == ("rule_drop", "rule_drop")


def test_dhcp_that_passes_through(path: PacketPath) -> None:
    packet = eth(ipv4(V4.them, V4.inside, udp(67, 68)))
    assert path.ingress(packet).reason == "rule_drop"


def test_dhcp6_client(path: PacketPath) -> None:
    """RFC 8415 section 7: from a link-local address; the answer comes to it."""
    ask = ipv6(LINK_LOCAL, "ff02::1:2", udp(546, 547, bytes(40)))
    answer = ipv6("fe80::fe", LINK_LOCAL, udp(547, 546, bytes(40)))
    assert path.egress(eth(ask)).reason == "builtin_dhcp6"
    assert path.ingress(eth(answer)).reason == "builtin_dhcp6"
    assert list(path.flows()) == []


def test_dhcp6_beyond_the_link(path: PacketPath) -> None:
    assert path.ingress(eth(ipv6(V6.them, V6.us, udp(547, 546)))).reason == "rule_drop"
    assert path.egress(eth(ipv6(V6.us, "ff02::1:2", udp(546, 547)))).reason == "rule_drop"
    assert path.ingress(eth(ipv6(LINK_LOCAL, ALL_NODES, udp(546, 547)))).reason == "rule_drop"


def test_families_are_not_mixed(path: PacketPath) -> None:
    assert path.ingress(eth(ipv4(V4.hop, V4.us, udp(547, 546)))).reason == "rule_drop"
    assert path.ingress(eth(ipv6(LINK_LOCAL, "fe80::2", udp(67, 68)))).reason == "rule_drop"
    assert (
        path.ingress(eth(ipv6(LINK_LOCAL, ALL_NODES, bytes(8), proto=IGMP, hop_limit=1))).reason
        == "rule_drop"
    )


def test_ping_is_not_built_in(path: PacketPath) -> None:
    assert path.ingress(eth(ip(V4.them, V4.us, icmp()))).reason == "rule_drop"
    assert path.ingress(eth(ip(V6.them, V6.us, icmp6()))).reason == "rule_drop"


@pytest.mark.parametrize(
    ("name", "packet"),
    [
        ("nd", ipv6(LINK_LOCAL, SOLICITED, icmp6(135, payload=bytes(16)), hop_limit=255)),
        ("mld", ipv6(LINK_LOCAL, ALL_NODES, icmp6(130, payload=bytes(20)), hop_limit=1)),
        ("igmp", ipv4(V4.hop, "224.0.0.1", bytes(8), proto=IGMP, ttl=1)),
        ("dhcp", ipv4(V4.hop, V4.us, udp(67, 68))),
        ("dhcp6", ipv6("fe80::fe", LINK_LOCAL, udp(547, 546))),
        ("arp", arp(1, ("02:00:00:00:00:01", V4.them), ("00:00:00:00:00:00", V4.us))),
    ],
)
def test_each_has_a_switch(path: PacketPath, name: str, packet: Layer) -> None:
    assert path.ingress(eth(packet)).reason == f"builtin_{name}"
    path.policy(SHUT + f"option builtin.{name} off\n")
    assert path.ingress(eth(packet)).reason == ("not_ip" if name == "arp" else "rule_drop")
