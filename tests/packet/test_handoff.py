# SPDX-License-Identifier: MIT
"""What ingress says of a packet to egress, in tc_index: when it is believed, and when the packet is judged in full.

lan, slot 2 ── this host ── wan, slot 1
                 └───────── dmz, slot 3, to which no route leads: marks and policy routing do
"""

import struct

import pytest

from firewall import abi, clock
from tests.packet.ends import ECHO_REPLY, FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath
from tests.packets import Layer, arp, eth, fragments, icmp_error, ip, tcp, udp, vlan

VIA_WAN = "default in drop\ndefault out drop\ndefault forward drop\nallow forward on lan via wan\n"
CLOSED = "default in drop\ndefault out drop\ndefault forward drop\n"
WAN, LAN, DMZ = 1, 2, 3
RECORD = abi.TcIndex.TC_INDEX_HANDOFF
PROTECTED = abi.IfaceFlags.IFACE_PROTECTED


@pytest.fixture
def router(path: PacketPath) -> PacketPath:
    path.classes["dmz"] = 3
    path.interface("dmz", 7000, slot=DMZ, class_id=3, flags=PROTECTED)
    path.policy(VIA_WAN)
    return path


def outward(ends: Ends, segment: Layer) -> Layer:
    return eth(ip(ends.inside, ends.them, segment))


def inward(ends: Ends, segment: Layer) -> Layer:
    return eth(ip(ends.them, ends.inside, segment))


def confirm(path: PacketPath, ends: Ends) -> None:
    """A UDP flow from lan through wan that has shown itself two-way."""
    for frame, way_in, way_out in (
        (outward(ends, udp(5000, 53)), "lan", "wan"),
        (inward(ends, udp(53, 5000)), "wan", "lan"),
        (outward(ends, udp(5000, 53)), "lan", "wan"),
    ):
        assert path.ingress(frame, on=way_in).passed
        assert path.egress(frame, on=way_out, came_by=way_in).reason == "handed_on"
    assert path.the_flow()[0] == "flows"


def age_records(path: PacketPath, seconds: float) -> None:
    """Every record was written so long ago; its first word is when."""
    table = path.maps["handoffs"]
    for key, value in list(table.items()):
        (when_j,) = struct.unpack_from("=Q", value)
        table.update(key, struct.pack("=Q", max(0, when_j - round(seconds * clock.hz()))) + value[8:])


def forget(path: PacketPath) -> None:
    """What egress can still believe is tc_index alone."""
    for table in ("flows", "embryonic"):
        path.maps[table].delete_batch(list(path.maps[table].keys()))
    path.policy(CLOSED)


@FAMILIES
def test_first_packet_is_handed_on_by_a_record(router: PacketPath, ends: Ends) -> None:
    frame = outward(ends, tcp(5000, 22, "S", seq=77))
    assert router.ingress(frame, on="lan").reason == "rule_allow"
    assert router.tc_index() & RECORD
    assert router.egress(frame, came_by="lan").reason == "handed_on"
    assert router.the_flow()[2].side[0].packets == 1


@FAMILIES
def test_confirmed_flow_is_handed_on_by_its_slot(router: PacketPath, ends: Ends) -> None:
    confirm(router, ends)
    assert router.tc_index() == WAN
    router.ingress(inward(ends, udp(53, 5000)))
    assert router.tc_index() == LAN
    forget(router)
    assert router.egress(inward(ends, udp(53, 5000)), on="lan", came_by="wan").reason == "handed_on"


@FAMILIES
def test_what_is_handed_on_counts_once(router: PacketPath, ends: Ends) -> None:
    (rule,) = router.policy(VIA_WAN).rules
    before = router.rule_counter(rule.counter).packets
    confirm(router, ends)
    assert router.rule_counter(rule.counter).packets == before + 3
    assert [side.packets for side in router.the_flow()[2].side] == [2, 1]


@FAMILIES
@pytest.mark.parametrize("known", ["new flow", "confirmed flow"])
def test_leaving_by_another_way_is_judged_anew(router: PacketPath, ends: Ends, known: str) -> None:
    if known == "confirmed flow":
        confirm(router, ends)
    frame = outward(ends, udp(5000, 53))
    router.ingress(frame, on="lan")
    assert router.egress(frame, on="dmz", came_by="lan").reason == "default_drop"
    assert router.egress(frame, on="wan", came_by="lan").reason == "handed_on", "the old way is open"
    router.policy(VIA_WAN + "allow forward on lan via dmz\n")
    router.ingress(frame, on="lan")
    assert router.egress(frame, on="dmz", came_by="lan").reason == "flow"
    router.ingress(frame, on="lan")
    assert router.egress(frame, on="dmz", came_by="lan").reason == "handed_on", "the new way is known now"


@FAMILIES
def test_judged_for_this_host_but_forwarded(router: PacketPath, ends: Ends) -> None:
    """Something after us sent it on: `in` rules are no leave to pass through."""
    router.policy("default in allow\ndefault forward drop\n")
    frame = ends.arriving(udp(5000, 53))
    assert router.ingress(frame).reason == "default_allow"
    assert router.egress(frame, on="lan", came_by="wan").reason == "default_drop"


@FAMILIES
@pytest.mark.parametrize("word", [WAN, RECORD, abi.TcIndex.TC_INDEX_ANSWER], ids=["slot", "record", "answer"])
@pytest.mark.parametrize("flags", [None, 0], ids=["unknown", "known, not protected"])
def test_word_of_an_unprotected_interface_is_not_believed(
    router: PacketPath, ends: Ends, word: int, flags: int | None
) -> None:
    """There, anything may have written it."""
    router.ifindex["open"] = 7100
    if flags is not None:
        router.interface("open", slot=4, class_id=0, flags=flags)
    frame = outward(ends, udp(5000, 53))
    router.ingress(frame, on="lan")
    index = router.tc_index() if word == RECORD else word
    forget(router)
    assert router.egress(frame, came_by="open", tc_index=index).reason == "default_drop"


@FAMILIES
@pytest.mark.parametrize("word", [0, LAN, DMZ, 4, 0x7FFF])
def test_slot_of_another_interface_is_not_believed(router: PacketPath, ends: Ends, word: int) -> None:
    forget(router)
    frame = outward(ends, udp(5000, 53))
    assert router.egress(frame, came_by="lan", tc_index=word).reason == "default_drop"


@FAMILIES
def test_own_slot_is_believed_of_a_protected_interface(router: PacketPath, ends: Ends) -> None:
    """Which overwrites whatever was there: see below."""
    forget(router)
    frame = outward(ends, udp(5000, 53))
    assert router.egress(frame, came_by="lan", tc_index=WAN).reason == "handed_on"


def test_local_packets_have_no_word(router: PacketPath) -> None:
    forget(router)
    assert router.egress(V4.leaving(udp(1, 2)), tc_index=WAN).reason == "default_drop"


@FAMILIES
def test_record_is_believed_for_a_while(router: PacketPath, ends: Ends) -> None:
    """As long as a packet may wait for its neighbour's address."""
    frame = outward(ends, tcp(5000, 22, "S", seq=77))
    router.ingress(frame, on="lan")
    index = router.tc_index()
    forget(router)
    age_records(router, 1)
    assert router.egress(frame, came_by="lan", tc_index=index).reason == "handed_on"
    age_records(router, 2.5)
    assert router.egress(frame, came_by="lan", tc_index=index).reason == "default_drop"


@FAMILIES
@pytest.mark.parametrize(
    ("segment", "came_by"),
    [
        (udp(5000, 22), "lan"),
        (tcp(5000, 22, "S", seq=78), "lan"),
        (tcp(5001, 23, "S", seq=78), "lan"),
        (tcp(5000, 22, "S", seq=77), "dmz"),
    ],
    ids=["protocol", "sequence number", "flow", "way in"],
)
def test_record_of_another_packet_is_not_believed(
    router: PacketPath, ends: Ends, segment: Layer, came_by: str
) -> None:
    """Records are few and used again."""
    router.ingress(outward(ends, tcp(5000, 22, "S", seq=77)), on="lan")
    index = router.tc_index()
    forget(router)
    assert router.egress(outward(ends, segment), came_by=came_by, tc_index=index).reason == "default_drop"


def test_record_of_the_other_family_is_not_believed(router: PacketPath) -> None:
    router.ingress(outward(V4, udp(5000, 53)), on="lan")
    index = router.tc_index()
    forget(router)
    assert router.egress(outward(V6, udp(5000, 53)), came_by="lan", tc_index=index).reason == "default_drop"


@pytest.mark.parametrize("number", [0, 4095, 4096, 0x7FFE])
def test_record_that_was_never_written_is_not_believed(router: PacketPath, number: int) -> None:
    table = router.maps["handoffs"]
    for key in list(table.keys()):
        table.update(key, bytes(table.value_size))
    forget(router)
    frame = outward(V4, udp(5000, 53))
    assert router.egress(frame, came_by="lan", tc_index=RECORD | number).reason == "default_drop"


@FAMILIES
def test_ingress_overwrites_the_word_of_all_that_it_passes(router: PacketPath, ends: Ends) -> None:
    """For whatever comes to a later hook by a protected interface, its word is ours."""
    router.policy("default in drop\nallow in udp\ndefault out allow\nallow in icmp, icmp6\n")
    sent = ip(ends.us, ends.them, udp(6000, 53))
    router.egress(eth(sent))
    router.egress(ends.leaving(ends.echo(ident=3)))
    later = fragments(ip(ends.them, ends.us, udp(5001, 53, bytes(64))), 40)
    tagged = abi.VlanKey(ifindex=router.ifindex["wan"], proto=0x8100, vid=10).pack()
    router.maps["vlan_devices"].update(tagged, b"\1")
    neighbours = eth(arp(1, ("02:00:00:00:00:01", V4.them), ("00:00:00:00:00:00", V4.us)))
    stories = {
        "builtin_arp": neighbours,
        "related": ends.arriving(icmp_error(sent)),
        "flow": ends.arriving(ends.echo(ECHO_REPLY, ident=3)),
        "fragment": eth(later[1]),
    }
    router.ingress(eth(later[0]))
    for reason, frame in stories.items():
        assert router.ingress(frame, tc_index=LAN).reason == reason
        assert router.tc_index() != LAN, reason
    assert router.ingress(eth(vlan(10, sent)), tc_index=LAN).reason == "vlan_device"
    assert router.tc_index() == 0


@FAMILIES
def test_observed_refusals_have_no_word(router: PacketPath, ends: Ends) -> None:
    """What is let through though the rules refuse it is refused, and observed, at egress again."""
    forget(router)
    router.control(mode=abi.Mode.MODE_OBSERVE)
    frame = outward(ends, udp(5000, 53))
    verdict = router.ingress(frame, on="lan", tc_index=WAN)
    assert (verdict.reason, verdict.passed, router.tc_index()) == ("default_drop", True, 0)
    assert router.egress(frame, came_by="lan").reason == "default_drop"
