# SPDX-License-Identifier: MIT
"""What lies before the IP header: tags in the frame and beside it, devices without a link header, padding."""

import socket

import pytest

from firewall import abi
from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath, Verdict
from tests.packets import ETH_8021AD, ETH_8021Q, Layer, eth, ip, ipv4, tcp, vlan

OPEN_22 = "default in drop\nallow in tcp to port 22\n"
TPIDS = pytest.mark.parametrize("tpid", [ETH_8021Q, ETH_8021AD], ids=["802.1Q", "802.1ad"])


def tagged(packet: Layer, *tags: tuple[int, int]) -> Layer:
    """A frame with tags, each a VLAN and its protocol, the outermost first."""
    for vid, tpid in reversed(tags):
        packet = vlan(vid, packet, tpid=tpid, pcp=5)
    return eth(packet)


def arrive_beside(path: PacketPath, tag: tuple[int, int], frame: Layer) -> Verdict:
    """A frame arrives whose outermost tag was taken off by the device, and is told of."""
    vid, tpid = tag
    return path.ingress(frame, vlan_present=1, vlan_tci=5 << 13 | vid, vlan_proto=socket.htons(tpid))


def give_device(path: PacketPath, vid: int, tpid: int = ETH_8021Q, on: str = "wan") -> None:
    """Let a VLAN of an interface have a device of its own."""
    key = abi.VlanKey(ifindex=path.ifindex[on], proto=tpid, vid=vid)
    path.maps["vlan_devices"].update(key.pack(), b"\1")


@pytest.fixture
def syn() -> Layer:
    return ipv4(V4.them, V4.us, tcp(4000, 22))


@FAMILIES
@pytest.mark.parametrize(
    "tpids",
    [(ETH_8021Q,), (ETH_8021AD,), (ETH_8021AD, ETH_8021Q), (ETH_8021Q, ETH_8021Q)],
    ids=["Q", "ad", "ad Q", "Q Q"],
)
def test_tags_are_looked_through(path: PacketPath, ends: Ends, tpids: tuple[int, ...]) -> None:
    path.policy(OPEN_22)
    tags = [(10 + i, tpid) for i, tpid in enumerate(tpids)]
    for port, reason in ((22, "rule_allow"), (23, "default_drop")):
        packet = ip(ends.them, ends.us, tcp(4000, port))
        assert path.ingress(tagged(packet, *tags)).reason == reason
    _, key, _ = path.the_flow()
    assert sorted((key.lo_port, key.hi_port)) == [22, 4000]


@TPIDS
def test_three_tags_are_too_many(path: PacketPath, syn: Layer, tpid: int) -> None:
    path.policy(OPEN_22)
    assert path.ingress(tagged(syn, *[(i, tpid) for i in (1, 2, 3)])).reason == "many_tags"


@TPIDS
def test_offloaded_tag_is_beside_those_in_the_frame(path: PacketPath, syn: Layer, tpid: int) -> None:
    path.policy(OPEN_22)
    for tags, reason in ((0, "rule_allow"), (1, "flow"), (2, "flow"), (3, "many_tags")):
        frame = tagged(syn, *[(20 + i, tpid) for i in range(tags)])
        assert arrive_beside(path, (10, tpid), frame).reason == reason, f"{tags} tags in the frame"


@TPIDS
@pytest.mark.parametrize("offloaded", [False, True], ids=["in the frame", "offloaded"])
def test_tag_with_a_device_of_its_own_is_judged_there(
    path: PacketPath, syn: Layer, tpid: int, offloaded: bool
) -> None:
    path.policy("default in drop\n")
    give_device(path, 10, tpid)
    for vid, reason in ((10, "vlan_device"), (11, "default_drop")):
        if offloaded:
            verdict = arrive_beside(path, (vid, tpid), eth(syn))
        else:
            verdict = path.ingress(tagged(syn, (vid, tpid)))
        assert verdict.reason == reason, vid
    assert list(path.flows()) == []
    assert path.egress(tagged(syn, (10, tpid))).reason == "vlan_device"


def test_device_is_of_one_interface_and_one_protocol(path: PacketPath, syn: Layer) -> None:
    path.policy("default in drop\n")
    give_device(path, 10, ETH_8021Q, on="lan")
    give_device(path, 11, ETH_8021AD)
    assert path.ingress(tagged(syn, (10, ETH_8021Q))).reason == "default_drop"
    assert path.ingress(tagged(syn, (11, ETH_8021Q))).reason == "default_drop"


def test_device_of_an_inner_tag_belongs_to_the_outer_ones_device(path: PacketPath, syn: Layer) -> None:
    """VLAN 10 of this interface is not VLAN 10 inside its VLAN 20."""
    path.policy("default in drop\n")
    give_device(path, 10)
    assert path.ingress(tagged(syn, (20, ETH_8021Q), (10, ETH_8021Q))).reason == "default_drop"
    beside = arrive_beside(path, (20, ETH_8021Q), tagged(syn, (10, ETH_8021Q)))
    assert beside.reason == "default_drop"


def test_priority_tag_has_no_device(path: PacketPath, syn: Layer) -> None:
    """VLAN 0 carries a priority alone (IEEE 802.1Q section 6.9): the interface itself is meant."""
    path.policy(OPEN_22)
    give_device(path, 0)
    assert path.ingress(tagged(syn, (0, ETH_8021Q))).reason == "rule_allow"
    assert arrive_beside(path, (0, ETH_8021Q), eth(syn)).reason == "flow"


def test_tag_behind_a_priority_tag_has_its_device(path: PacketPath, syn: Layer) -> None:
    """The kernel takes the priority tag off and hands the frame to the device of the next."""
    path.policy(OPEN_22)
    give_device(path, 10)
    assert path.ingress(tagged(syn, (0, ETH_8021Q), (10, ETH_8021Q))).reason == "vlan_device"
    beside = arrive_beside(path, (0, ETH_8021Q), tagged(syn, (10, ETH_8021Q)))
    assert beside.reason == "vlan_device"


@pytest.mark.parametrize("tags", [1, 2])
def test_frame_that_ends_in_a_tag(path: PacketPath, syn: Layer, tags: int) -> None:
    path.policy(OPEN_22)
    frame = tagged(syn, *[(10, ETH_8021Q)] * tags)
    for end in range(14, 14 + 4 * tags):
        assert path.ingress(frame[:end]).reason == "truncated", end


@pytest.mark.parametrize("length", [0, 46, 1500, 1535])
def test_802_3_frames_are_not_ip(path: PacketPath, length: int) -> None:
    """Below 1536 the type is a length (IEEE 802.3 section 3.2.6), and no IP follows."""
    path.policy("default in allow\n")
    snap = b"\xaa\xaa\x03\0\0\0\x08\0" + ipv4(V4.them, V4.us, tcp(4000, 22))
    assert path.ingress(eth(snap, ethertype=length)).reason == "not_ip"
    for end in (14, 15):
        assert path.ingress(eth(snap, ethertype=length)[:end]).reason == "truncated"


@pytest.mark.parametrize("ethertype", [0x0801, 0x8847, 0x86DE, 0x0600, 0xFFFF])
def test_other_types_are_not_ip(path: PacketPath, ethertype: int) -> None:
    path.policy("default in allow\n")
    assert (
        path.ingress(eth(bytes(ipv4(V4.them, V4.us, tcp(4000, 22))), ethertype=ethertype)).reason == "not_ip"
    )


@FAMILIES
def test_device_without_a_link_header(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN_22)
    flags = abi.IfaceFlags.IFACE_PROTECTED | abi.IfaceFlags.IFACE_RAW_IP
    path.interface("wan", slot=1, class_id=1, flags=flags)
    assert path.ingress(ip(ends.them, ends.us, tcp(4000, 22))).reason == "rule_allow"
    assert path.egress(ip(ends.us, ends.them, tcp(22, 4000, "SA", ack=1))).reason == "flow"
    assert path.ingress(ip(ends.them, ends.us, tcp(4000, 23))).reason == "default_drop"


@pytest.mark.parametrize("version", [version for version in range(16) if version not in (4, 6)])
def test_device_without_a_link_header_and_a_packet_that_is_not_ip(path: PacketPath, version: int) -> None:
    path.policy("default in allow\n")
    flags = abi.IfaceFlags.IFACE_PROTECTED | abi.IfaceFlags.IFACE_RAW_IP
    path.interface("wan", slot=1, class_id=1, flags=flags)
    assert path.ingress(ipv4(V4.them, V4.us, tcp(4000, 22), version=version)).reason == "not_ip"


def test_families_are_told_by_the_packet_where_no_frame_tells(path: PacketPath) -> None:
    """A frame that names one family and carries the other is a lie; without a frame the packet is believed."""
    path.policy("default in allow\n")
    four, six = ipv4(V4.them, V4.us, tcp(4000, 22)), bytes(ip(V6.them, V6.us, tcp(4000, 22)))
    assert path.ingress(eth(four, ethertype=0x86DD)).reason == "bad_version"
    assert path.ingress(eth(six, ethertype=0x0800)).reason == "bad_version"


@FAMILIES
def test_padding_is_not_data(path: PacketPath, ends: Ends) -> None:
    """Ethernet fills frames to 60 bytes; what is behind the IP packet has no sequence numbers."""
    path.policy(OPEN_22)
    syn = tcp(4000, 22, "S", seq=100)
    for padding in (0, 6, 40):
        assert path.ingress(Layer(ends.arriving(syn) + bytes(padding), None)).passed
        assert path.the_flow()[2].side[0].seq_end == 101
