# SPDX-License-Identifier: MIT
"""Members of a VRF: at egress the kernel gives the VRF as the way in, and the record says which member it was.

lan, slot 2 ──┐             ┌── wan, slot 1
              ├ this host ──┤
dmz, open   ──┘             └── lan, wan and dmz are members of the VRF blue
"""

import pytest

from firewall import abi
from tests.packet.ends import FAMILIES, Ends
from tests.packet.path import PacketPath
from tests.packets import Layer, eth, ip, tcp, udp

POLICY = "default in drop\ndefault out drop\ndefault forward drop\nallow forward on lan via wan\n"
CLOSED = "default in drop\ndefault out drop\ndefault forward drop\n"
BLUE, RED = 7, 8
PROTECTED, VRF = abi.IfaceFlags.IFACE_PROTECTED, abi.IfaceFlags.IFACE_VRF
RECORD = abi.TcIndex.TC_INDEX_HANDOFF
OURS, ANOTHERS = 0x5EED, 0xBAD


@pytest.fixture
def router(path: PacketPath) -> PacketPath:
    path.classes.update(dmz=3, blue=4)
    path.interface("wan", slot=1, class_id=1, zone=BLUE, flags=PROTECTED)
    path.interface("lan", slot=2, class_id=2, zone=BLUE, flags=PROTECTED)
    path.interface("dmz", 7000, class_id=3, zone=BLUE)
    path.interface("blue", 7001, class_id=4, zone=BLUE, flags=VRF)
    path.interface("red", 7002, class_id=5, zone=RED, flags=VRF)
    path.policy(POLICY)
    return path


def outward(ends: Ends, segment: Layer) -> Layer:
    return eth(ip(ends.inside, ends.them, segment))


def inward(ends: Ends, segment: Layer) -> Layer:
    return eth(ip(ends.them, ends.inside, segment))


def forget(path: PacketPath) -> None:
    """What egress can still believe is tc_index alone."""
    for table in ("flows", "embryonic"):
        path.maps[table].delete_batch(list(path.maps[table].keys()))
    path.policy(CLOSED)


@FAMILIES
def test_the_record_names_the_member(router: PacketPath, ends: Ends) -> None:
    """Of each packet, also of a confirmed flow: judged by the member's name, and counted once."""
    for frame, way_in, way_out in (
        (outward(ends, udp(5000, 53)), "lan", "wan"),
        (inward(ends, udp(53, 5000)), "wan", "lan"),
        (outward(ends, udp(5000, 53)), "lan", "wan"),
        (outward(ends, udp(5000, 53)), "lan", "wan"),
    ):
        assert router.ingress(frame, on=way_in, hash=OURS).passed
        assert router.tc_index() & RECORD
        assert router.egress(frame, on=way_out, came_by="blue", hash=OURS).reason == "handed_on"
    table, key, flow = router.the_flow()
    assert (table, key.zone) == ("flows", BLUE)
    assert [side.packets for side in flow.side] == [3, 1]
    assert [side.in_ifindex for side in flow.side] == [router.ifindex["lan"], router.ifindex["wan"]]


@FAMILIES
def test_another_way_out_is_judged_with_the_member_as_the_way_in(router: PacketPath, ends: Ends) -> None:
    router.interface("uplink", 7003, slot=5, class_id=6, zone=BLUE, flags=PROTECTED)
    router.classes["uplink"] = 6
    frame = outward(ends, tcp(5000, 22, "S", seq=77))
    assert router.ingress(frame, on="lan", hash=OURS).reason == "rule_allow"
    assert router.egress(frame, on="uplink", came_by="blue", hash=OURS).reason == "default_drop"
    router.policy(POLICY + "allow forward on lan via uplink\n")
    assert router.ingress(frame, on="lan", hash=OURS).reason == "flow"
    assert router.egress(frame, on="uplink", came_by="blue", hash=OURS).reason == "flow"


@FAMILIES
@pytest.mark.parametrize(
    ("came_by", "number"), [("blue", ANOTHERS), ("blue", 0), ("red", OURS)], ids=["hash", "no hash", "VRF"]
)
def test_record_of_another_packet_is_not_believed(
    router: PacketPath, ends: Ends, came_by: str, number: int
) -> None:
    """A member that is not protected passes on whatever stood in tc_index."""
    frame = outward(ends, udp(5000, 53))
    router.ingress(frame, on="lan", hash=OURS)
    index = router.tc_index()
    forget(router)
    refused = router.egress(frame, came_by=came_by, tc_index=index, hash=number)
    assert refused.reason == "default_drop"
    assert router.egress(frame, came_by="blue", tc_index=index, hash=OURS).reason == "handed_on"


@FAMILIES
def test_a_record_without_a_hash_is_nobodys(router: PacketPath, ends: Ends) -> None:
    """What came by an interface in no VRF leaves a record that VRFs cannot use."""
    router.interface("lan", slot=2, class_id=2, flags=PROTECTED)
    frame = outward(ends, udp(5000, 53))
    router.ingress(frame, on="lan", hash=OURS)
    index = router.tc_index()
    forget(router)
    router.interface("lan", slot=2, class_id=2, zone=BLUE, flags=PROTECTED)
    assert router.egress(frame, came_by="blue", tc_index=index, hash=0).reason == "default_drop"
    assert router.egress(frame, came_by="blue", tc_index=index, hash=OURS).reason == "default_drop"


@FAMILIES
@pytest.mark.parametrize("word", [1, abi.TcIndex.TC_INDEX_ANSWER], ids=["slot", "answer"])
def test_a_slot_says_nothing_of_a_vrf(router: PacketPath, ends: Ends, word: int) -> None:
    forget(router)
    frame = outward(ends, udp(5000, 53))
    assert router.egress(frame, came_by="blue", tc_index=word, hash=OURS).reason == "default_drop"


@FAMILIES
def test_an_open_member_is_the_vrf_to_rules(router: PacketPath, ends: Ends) -> None:
    frame = outward(ends, udp(5000, 53))
    router.policy(CLOSED + "allow forward on dmz via wan\n")
    assert router.egress(frame, came_by="blue", tc_index=0).reason == "default_drop"
    router.policy(CLOSED + "allow forward on blue via wan\n")
    assert router.egress(frame, came_by="blue", tc_index=0).reason == "rule_allow"
    assert router.ingress(inward(ends, udp(53, 5000))).reason == "flow"
    assert router.egress(frame, came_by="blue", tc_index=0).reason == "flow"


@FAMILIES
@pytest.mark.parametrize(
    ("flags", "reason"), [(0, "flow"), (PROTECTED, "default_drop")], ids=["open", "protected"]
)
def test_answers_of_an_open_member(router: PacketPath, ends: Ends, flags: int, reason: str) -> None:
    """The flow is known to go by lan. Were lan protected, its packets would have come with a record."""
    router.policy(CLOSED + "allow forward on wan via lan\n")
    router.interface("lan", slot=2 if flags else 0, class_id=2, zone=BLUE, flags=flags)
    assert router.ingress(inward(ends, udp(5000, 53))).reason == "rule_allow"
    answer = router.egress(outward(ends, udp(53, 5000)), came_by="blue", tc_index=0)
    assert answer.reason == reason


@FAMILIES
def test_between_a_vrf_and_the_main_table(router: PacketPath, ends: Ends) -> None:
    """Each zone has a flow of its own, under one rule, so that the answer finds its way back."""
    router.interface("wan", slot=1, class_id=1, flags=PROTECTED)
    out, back = outward(ends, udp(5000, 53)), inward(ends, udp(53, 5000))
    for _ in range(2):
        assert router.ingress(out, on="lan", hash=OURS).passed
        assert router.egress(out, came_by="blue", hash=OURS).reason == "translated"
        assert router.ingress(back, on="wan").reason == "flow"
        assert router.egress(back, on="lan", came_by="wan").reason == "translated"
    assert sorted(key.zone for _, key, _ in router.flows()) == [0, BLUE]
    router.policy(CLOSED)
    assert router.ingress(back, on="wan").reason == "revoked"
