# SPDX-License-Identifier: MIT
"""Sources that no answer would reach, and addresses that are on no wire."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packet.ends import FAMILIES, V4, V6, Ends, Talk
from tests.packet.path import PacketPath
from tests.packets import IGMP, eth, icmp6, ip, ipv4, ipv6, tcp, udp

OPEN = "default in allow\ndefault forward allow\ndefault out allow\n"
WORDS = pytest.mark.parametrize("word", ["strict", "loose", "off"])
LAN = {V4: "10.0.0.1", V6: "2001:db8:2::1"}
UNREACHABLE = {V4: "203.0.113.9", V6: "2001:db8:bad::9"}  # by a route that says so


def from_(path: PacketPath, source: str, ends: Ends, on: str = "wan", port: int = 22) -> str:
    return path.ingress(eth(ip(source, ends.us, tcp(4000, port))), on=on).reason


@FAMILIES
@pytest.mark.parametrize(
    ("word", "neighbour", "wrong_side", "own", "unreachable"),
    [
        ("strict", "default_allow", "spoofed", "spoofed", "spoofed"),
        ("loose", "default_allow", "default_allow", "spoofed", "spoofed"),
        ("off", "default_allow", "default_allow", "default_allow", "default_allow"),
    ],
)
def test_the_way_back(
    path: PacketPath, ends: Ends, word: str, neighbour: str, wrong_side: str, own: str, unreachable: str
) -> None:
    path.policy(OPEN + f"option antispoof {word}\n")
    assert from_(path, ends.them, ends, "wan") == neighbour
    assert from_(path, ends.hop, ends, "wan") == neighbour
    assert from_(path, ends.inside, ends, "lan") == neighbour
    assert from_(path, ends.them, ends, "lan", 23) == wrong_side
    assert from_(path, ends.inside, ends, "wan", 24) == wrong_side
    assert from_(path, LAN[ends], ends) == own
    assert from_(path, UNREACHABLE[ends], ends) == unreachable


def test_loose_is_the_default_and_knows_broadcast_addresses(path: PacketPath) -> None:
    path.policy(OPEN)
    assert from_(path, V4.inside, V4) == "default_allow"
    assert from_(path, "10.0.0.255", V4) == "spoofed"


@FAMILIES
@WORDS
def test_land(path: PacketPath, ends: Ends, word: str) -> None:
    path.policy(OPEN + f"option antispoof {word}\n")
    for address in (ends.us, ends.them):
        for segment in (tcp(22, 22), tcp(4000, 22), udp(7, 7)):
            assert path.ingress(eth(ip(address, address, segment))).reason == "land"
    assert list(path.flows()) == []


@WORDS
@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("127.0.0.1", V4.us),
        ("127.255.0.9", V4.inside),
        (V4.them, "127.0.0.1"),
        ("0.0.0.0", V4.us),
        ("0.1.2.3", V4.us),
        ("0.0.0.0", "255.255.255.255"),
        ("224.0.0.1", V4.us),
        ("239.255.255.255", V4.us),
        ("255.255.255.255", V4.us),
        ("::1", V6.us),
        (V6.them, "::1"),
        ("::", V6.us),
        ("::", "ff02::1"),
        ("ff02::1", V6.us),
        ("ff0e::9", V6.us),
        ("::ffff:198.51.100.7", V6.us),
    ],
)
def test_addresses_that_are_on_no_wire(path: PacketPath, word: str, src: str, dst: str) -> None:
    path.policy(OPEN + f"option antispoof {word}\n")
    assert path.ingress(eth(ip(src, dst, udp(4000, 53)))).reason == "martian"
    assert list(path.flows()) == []


@WORDS
def test_those_without_an_address_yet(path: PacketPath, word: str) -> None:
    """A DHCP server's clients; and, without the built-ins, neighbour discovery, MLD and IGMP by a rule."""
    names = ("nd", "mld", "igmp", "dhcp", "dhcp6")
    off = "".join(f"option builtin.{name} off\n" for name in names)
    path.policy(OPEN + off + f"option antispoof {word}\n")
    discover = ipv4("0.0.0.0", "255.255.255.255", udp(68, 67, bytes(20)))
    assert path.ingress(eth(discover)).reason == "default_allow"
    assert path.ingress(eth(ipv4("0.0.0.0", "224.0.0.22", bytes(8), proto=IGMP))).reason == "default_allow"
    for kind in (133, 135, 143, 131):
        message = ipv6("::", "ff02::16", icmp6(kind, payload=bytes(16)), hop_limit=255)
        assert path.ingress(eth(message)).reason == "default_allow", kind
    for kind in (128, 134, 136):
        message = ipv6("::", "ff02::16", icmp6(kind, payload=bytes(16)), hop_limit=255)
        assert path.ingress(eth(message)).reason == "martian", kind


@WORDS
def test_dhcp_servers_may_be_where_no_route_leads(path: PacketPath, word: str) -> None:
    """A client has no routes yet: the built-in rule comes first."""
    path.policy(f"default in drop\noption antispoof {word}\n")
    offer = ipv4(UNREACHABLE[V4], "255.255.255.255", udp(67, 68, bytes(20)))
    assert path.ingress(eth(offer)).reason == "builtin_dhcp"


@WORDS
@pytest.mark.parametrize("on", ["wan", "lan"])
def test_addresses_of_the_link_are_on_every_link(path: PacketPath, word: str, on: str) -> None:
    path.policy(OPEN + f"option antispoof {word}\n")
    for src, dst in (("fe80::9", V6.us), ("fe80::9", "ff02::fb"), ("169.254.3.4", V4.us)):
        assert path.ingress(eth(ip(src, dst, udp(5353, 5353))), on=on).reason == "default_allow"


@FAMILIES
@pytest.mark.parametrize(("word", "reason"), [("strict", "spoofed"), ("loose", "default_allow")])
def test_multicast_has_a_sender_too(path: PacketPath, ends: Ends, word: str, reason: str) -> None:
    group = "ff05::1:3" if ends.is_v6 else "239.1.2.3"
    path.policy(OPEN + f"option antispoof {word}\n")
    assert path.ingress(eth(ip(ends.them, group, udp(5000, 5000)))).reason == "default_allow"
    assert path.ingress(eth(ip(ends.inside, group, udp(5000, 5000)))).reason == reason


@FAMILIES
def test_a_running_flow_is_not_asked_again(path: PacketPath, ends: Ends) -> None:
    """Its packets come by the way that was asked; by another they are, and the flow stays."""
    path.policy(OPEN + "option antispoof off\n")
    frame = eth(ip(ends.inside, ends.us, udp(4000, 53)))
    assert path.ingress(frame, on="wan").reason == "default_allow"
    path.policy(OPEN + "option antispoof strict\n")
    assert path.ingress(frame, on="wan").reason == "flow"
    assert path.ingress(frame, on="lan").reason == "flow"
    assert path.ingress(frame, on="wan").reason == "spoofed", "its way is lan now"


@FAMILIES
def test_another_way_into_a_flow_is_asked(path: PacketPath, ends: Ends) -> None:
    """The flow of a host behind lan cannot be spoken in from wan, though the rules would open it there."""
    path.policy(OPEN + "option antispoof strict\n")
    frame = eth(ip(ends.inside, ends.us, udp(4000, 53)))
    assert path.ingress(frame, on="lan").reason == "default_allow"
    assert path.ingress(frame, on="wan").reason == "spoofed"
    assert path.the_flow()[2].side[0].packets == 1
    assert path.ingress(frame, on="lan").reason == "flow"


@FAMILIES
def test_what_leaves_is_not_asked(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN + "option antispoof strict\n")
    talk = Talk(path, ends, we_open=True)
    assert talk.opener(udp(5000, 53)).reason == "default_allow"
    assert talk.responder(udp(53, 5000)).reason == "flow"
    assert path.egress(eth(ip(ends.them, ends.inside, udp(5000, 53))), on="lan").reason == "default_allow"


@pytest.fixture
def host(path: PacketPath) -> Iterator[PacketPath]:
    """wan does not forward."""
    files = [Path("/proc/sys/net/ipv4/conf/wan/forwarding"), Path("/proc/sys/net/ipv6/conf/wan/forwarding")]
    for file in files:
        file.write_text("0")
    yield path
    for file in files:
        file.write_text("1")


@FAMILIES
def test_where_nothing_is_forwarded_the_kernel_looks_nothing_up(host: PacketPath, ends: Ends) -> None:
    host.policy(OPEN + "option antispoof strict\n")
    assert from_(host, ends.them, ends) == "default_allow"
    assert from_(host, ends.inside, ends, port=23) == "default_allow"
    assert from_(host, ends.us, ends) == "land"
