# SPDX-License-Identifier: MIT
"""Where a packet is going, by the routing table at ingress and by its way at egress; zones; ways that change."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firewall import abi
from tests.packet.ends import FAMILIES, V4, V6, Ends, Talk
from tests.packet.path import PacketPath
from tests.packets import eth, fragments, ip, ipv4, ipv6, tcp, udp

CLOSED = "default in drop\ndefault out drop\ndefault forward drop\n"
PROTECTED = abi.IfaceFlags.IFACE_PROTECTED
IN, OUT, FORWARD = (abi.Scope[f"SCOPE_{name}"] for name in ("IN", "OUT", "FORWARD"))


def scope_of(path: PacketPath) -> tuple[abi.Scope, str, str]:
    """Of the packet that was dropped last: its scope, the way in and the way out."""
    event = path.events()[-1]
    names = {number: name for name, number in path.ifindex.items()} | {0: ""}
    return abi.Scope(event.scope), names[event.in_ifindex], names[event.out_ifindex]


@contextmanager
def route(*words: str) -> Iterator[None]:
    """A route that is there for a while."""
    family = "-6" if any(":" in word for word in words) else "-4"
    subprocess.run(["ip", family, "route", "add", *words], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["ip", family, "route", "delete", *words], check=True, capture_output=True)


@pytest.fixture
def no_forwarding() -> Iterator[None]:
    files = [Path(f"/proc/sys/net/{name}") for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding")]
    for file in files:
        file.write_text("0")
    yield
    for file in files:
        file.write_text("1")


@FAMILIES
def test_local_addresses_are_in(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED)
    lan = "2001:db8:2::1" if ends.is_v6 else "10.0.0.1"
    for destination in (ends.us, lan):
        path.ingress(eth(ip(ends.them, destination, udp(1, 2))))
        assert scope_of(path) == (IN, "wan", "")


@FAMILIES
def test_others_are_forwarded_by_the_interface_of_their_route(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED)
    path.ingress(eth(ip(ends.them, ends.inside, udp(1, 2))))
    assert scope_of(path) == (FORWARD, "wan", "lan")
    path.ingress(eth(ip(ends.inside, ends.them, udp(1, 2))), on="lan")
    assert scope_of(path) == (FORWARD, "lan", "wan")


def test_no_neighbour_is_needed(path: PacketPath) -> None:
    """The link-layer address of the next hop is not known yet: the way is."""
    path.policy(CLOSED)
    path.ingress(eth(ipv4(V4.inside, "192.0.2.77", udp(1, 2))), on="lan")
    assert scope_of(path) == (FORWARD, "lan", "wan")


def test_too_big_for_the_way_out_is_forwarded_all_the_same(path: PacketPath) -> None:
    """The stack answers it with "fragmentation needed"; which rule it falls under does not change."""
    path.policy(CLOSED)
    subprocess.run(["ip", "link", "set", "wan", "mtu", "1280"], check=True)
    try:
        path.ingress(eth(ipv4(V4.inside, V4.them, udp(1, 2, bytes(1400)), df=True)), on="lan")
        path.ingress(eth(ipv6(V6.inside, V6.them, udp(1, 2, bytes(1400)))), on="lan")
    finally:
        subprocess.run(["ip", "link", "set", "wan", "mtu", "1500"], check=True)
    assert [event.scope for event in path.events()] == [FORWARD] * 2


@pytest.mark.parametrize(
    "destination",
    ["192.0.2.255", "255.255.255.255", "224.0.0.251", "239.1.2.3", "ff02::fb", "ff05::2", "ff0e::1"],
)
def test_broadcast_and_multicast_are_in(path: PacketPath, destination: str) -> None:
    path.policy(CLOSED)
    source = V6.hop if ":" in destination else V4.hop
    path.ingress(eth(ip(source, destination, udp(1, 2))))
    assert scope_of(path) == (IN, "wan", "")


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
@pytest.mark.parametrize("net", ["203.0.113.128/25", "2001:db8:dead::/48"], ids=["v4", "v6"])
def test_destinations_that_are_refused(path: PacketPath, kind: str, net: str) -> None:
    path.policy("default in allow\ndefault forward allow\n")
    destination = net.split("/")[0].replace("::", "::1").replace(".128", ".130")
    source = V6.inside if ":" in net else V4.inside
    with route(kind, net):
        assert path.ingress(eth(ip(source, destination, udp(1, 2))), on="lan").reason == "no_route"


@FAMILIES
@pytest.mark.usefixtures("no_forwarding")
def test_where_nothing_is_forwarded_all_is_in(path: PacketPath, ends: Ends) -> None:
    """The stack drops it, or takes it by translating; rules for `forward` do not let it in."""
    path.policy("default in drop\nallow forward\n")
    assert path.ingress(eth(ip(ends.them, ends.inside, udp(1, 2)))).reason == "default_drop"
    assert scope_of(path) == (IN, "wan", "")


@FAMILIES
def test_egress_knows_where_a_packet_came_from(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED)
    path.egress(ends.leaving(udp(1, 2)))
    assert scope_of(path) == (OUT, "", "wan")
    path.ifindex["unprotected"] = 7777
    path.egress(eth(ip(ends.inside, ends.them, udp(1, 2))), came_by="unprotected", tc_index=0)
    event = path.events()[-1]
    assert (event.scope, event.in_ifindex) == (FORWARD, 7777)


@pytest.mark.parametrize(
    ("here", "there"),
    [("fe80::1", "fe80::2"), ("169.254.1.1", "169.254.1.2"), ("fe80::1", "ff02::fb")],
    ids=["fe80", "169.254", "multicast"],
)
def test_link_local_pairs_are_of_one_link(path: PacketPath, here: str, there: str) -> None:
    """The same two addresses on another interface are two other hosts."""
    path.policy("default in drop\ndefault out allow\n")
    question = eth(ip(here, there, udp(5000, 53)))
    assert path.egress(question, on="wan").reason == "default_allow"
    assert path.egress(question, on="lan").reason == "default_allow"
    assert len(list(path.flows())) == 2
    assert len({key.zone for _, key, _ in path.flows()}) == 2
    answer = eth(ip(there, here, udp(53, 5000)))
    if there.startswith(("fe80", "169")):
        assert path.ingress(answer, on="wan").reason == "flow"
        assert path.ingress(answer, on="lan").reason == "flow"


def test_link_local_answer_from_another_link_is_unasked(path: PacketPath) -> None:
    path.policy("default in drop\ndefault out allow\n")
    path.egress(eth(ipv6("fe80::1", "fe80::2", udp(5000, 53))), on="wan")
    answer = eth(ipv6("fe80::2", "fe80::1", udp(53, 5000)))
    assert path.ingress(answer, on="lan").reason == "default_drop"
    assert path.ingress(answer, on="wan").reason == "flow"


@FAMILIES
def test_vrf_is_a_zone(path: PacketPath, ends: Ends) -> None:
    """Interfaces of one VRF share flows, those of two do not, though all addresses be equal."""
    path.policy("default in drop\ndefault out allow\n")
    for number, name in enumerate(("red1", "red2", "blue"), 100):
        zone = 5 if name.startswith("red") else 6
        path.interface(name, number, slot=number, class_id=0, flags=PROTECTED, zone=zone)
    question = ends.leaving(udp(5000, 53))
    for name, reason in (("red1", "default_allow"), ("blue", "default_allow"), ("red2", "flow")):
        assert path.egress(question, on=name).reason == reason
    assert sorted(key.zone for _, key, _ in path.flows()) == [5, 6]


@FAMILIES
def test_fragments_belong_to_their_interface(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\ndefault out allow\noption fragments.early drop\n")
    path.interface("blue", 100, slot=100, class_id=0, flags=PROTECTED, zone=6)
    whole = ip(ends.us, ends.them, udp(5000, 53, bytes(64)))
    first, second = (eth(piece) for piece in fragments(whole, 40))
    assert path.egress(first, on="wan").reason == "default_allow"
    assert path.egress(second, on="blue").reason == "fragment_unknown"
    assert path.egress(second, on="wan").reason == "fragment"


@FAMILIES
def test_answer_by_another_interface_is_judged_as_its_openers_packet(path: PacketPath, ends: Ends) -> None:
    """Two ways to the world: what was asked by one may be answered by the other if the rules would open it there."""
    path.policy(
        "default in drop\ndefault out drop\nallow out udp to port 53\nallow out tcp to port 22 via wan\n"
    )
    udp_talk, tcp_talk = Talk(path, ends, we_open=True), Talk(path, ends, we_open=True)
    udp_talk.opener(udp(5000, 53))
    tcp_talk.opener(tcp(5000, 22, "S", seq=100))
    assert path.ingress(ends.arriving(udp(53, 5000)), on="lan").reason == "flow"
    syn_ack = ends.arriving(tcp(22, 5000, "SA", seq=900, ack=101))
    assert path.ingress(syn_ack, on="lan").reason == "default_drop"
    assert path.ingress(syn_ack, on="wan").reason == "flow"


@FAMILIES
def test_each_direction_has_a_way_of_its_own(path: PacketPath, ends: Ends) -> None:
    """Once learnt, an asymmetric way costs no rule."""
    path.policy("default in drop\ndefault out drop\nallow out udp to port 53 log\n")
    path.egress(ends.leaving(udp(5000, 53)), on="wan")
    for _ in range(3):
        assert path.ingress(ends.arriving(udp(53, 5000)), on="lan").reason == "flow"
        assert path.egress(ends.leaving(udp(5000, 53)), on="wan").reason == "flow"
    _, _, flow = path.the_flow()
    wan, lan = path.ifindex["wan"], path.ifindex["lan"]
    ways = [(side.in_ifindex, side.out_ifindex) for side in flow.side]
    assert ways == [(0, wan), (lan, 0)]
    assert len([event for event in path.events() if event.reason == abi.Reason.RULE_ALLOW]) == 1


@FAMILIES
def test_opener_that_moves_is_judged_by_its_new_way(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\nallow in udp to port 53 on wan\n")
    question = ends.arriving(udp(5000, 53))
    assert path.ingress(question, on="wan").reason == "rule_allow"
    assert path.ingress(question, on="lan").reason == "default_drop"
    assert path.ingress(question, on="wan").reason == "flow", "the refusal has not ended the flow"


@FAMILIES
def test_packet_that_passes_through_is_none_of_ours(path: PacketPath, ends: Ends) -> None:
    """It has the addresses and ports of our own flow, and leaves as that does, but somebody else has sent it."""
    path.policy("default in drop\ndefault out allow\ndefault forward drop\n")
    frame = ends.leaving(udp(5000, 53))
    path.egress(frame, on="wan")
    assert path.egress(frame, on="wan", came_by="lan", tc_index=0).reason == "default_drop"
    assert path.egress(frame, on="wan").reason == "flow"


@FAMILIES
def test_new_way_does_not_renew_the_old_one(path: PacketPath, ends: Ends) -> None:
    """A change of the rules reaches each way: that one side has moved to an allowed one says nothing of the other."""
    path.policy("default in drop\ndefault out drop\nallow out udp to port 53\n")
    path.egress(ends.leaving(udp(5000, 53)), on="wan")
    path.ingress(ends.arriving(udp(53, 5000)), on="wan")
    path.policy("default in drop\ndefault out drop\nallow out udp to port 53 via lan\n")
    assert path.egress(ends.leaving(udp(5000, 53)), on="lan").reason == "flow"
    assert not path.ingress(ends.arriving(udp(53, 5000)), on="wan").passed
