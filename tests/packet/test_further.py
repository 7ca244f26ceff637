# SPDX-License-Identifier: MIT
"""Further clauses: what a rule asks of the opener's packet beyond its ends and its way."""

from __future__ import annotations

from typing import Any

import pytest

from firewall import abi
from firewall.resolve import Owners
from tests.packet.ends import FAMILIES, Ends
from tests.packet.path import PacketPath
from tests.packets import Layer, eth, ip, tcp, vlan

MARKED = "allow in tcp to port 22 mark 0x10/0xf0\n"
OTHERS = "default in drop\nallow in tcp to port 80\n"


def syn(ends: Ends, port: int = 22) -> Layer:
    return ends.arriving(tcp(4000, port))


@FAMILIES
@pytest.mark.parametrize(
    ("mark", "matches"), [(0x10, True), (0x1F, True), (0x110, True), (0x20, False), (0, False)]
)
def test_mark(path: PacketPath, ends: Ends, mark: int, matches: bool) -> None:
    path.policy("default in drop\n" + MARKED)
    assert path.ingress(syn(ends), mark=mark).reason == ("rule_allow" if matches else "default_drop")


@FAMILIES
def test_many_rules_that_differ_by_a_clause_alone(path: PacketPath, ends: Ends) -> None:
    """No tree tells them apart: they are in one leaf of many lines, and asked in turn."""
    marks = range(1, 601)
    rules = [f"drop in tcp to port 22 mark {mark}\n" for mark in marks]
    document = path.policy("default in reject\n" + "".join(rules))
    for mark in (1, 8, 9, 16, 17, 128, 129, 136, 137, 264, 265, 513, 600):
        assert path.ingress(syn(ends), mark=mark).reason == "rule_drop"
        assert path.last_event().rule == document.rules[mark - 1].id
    assert path.ingress(syn(ends), mark=601).reason == "default_reject"


@FAMILIES
@pytest.mark.parametrize(
    ("octet", "matches"),
    [(46 << 2, True), (46 << 2 | 3, True), (63 << 2, True), (0, False), (46, False), (47 << 2, False)],
)
def test_dscp(path: PacketPath, ends: Ends, octet: int, matches: bool) -> None:
    """The two bits beside it are of congestion (RFC 3168), and what surrounds the field is not of it."""
    path.policy("default in drop\nallow in tcp dscp ef, 63\n")
    fields = {"traffic_class": octet, "flow_label": 0xFFFFF} if ends.is_v6 else {"tos": octet}
    verdict = path.ingress(ends.arriving(tcp(4000, 22), **fields))
    assert verdict.reason == ("rule_allow" if matches else "default_drop")


MACS = ", ".join(f"02:00:00:00:00:{i:02x}" for i in range(1, 0x10)) + ", FE-ff-ff-ff-ff-ff"


@FAMILIES
@pytest.mark.parametrize(
    ("sender", "matches"),
    [
        ("02:00:00:00:00:01", True),
        ("02:00:00:00:00:0f", True),
        ("fe:ff:ff:ff:ff:ff", True),
        ("02:00:00:00:00:10", False),
        ("00:00:00:00:00:00", False),
        ("00:00:00:00:00:02", False),
    ],
)
@pytest.mark.parametrize("tagged", [False, True])
def test_mac(path: PacketPath, ends: Ends, sender: str, matches: bool, tagged: bool) -> None:
    path.policy(f"default in drop\nallow in tcp mac {MACS}\n")
    packet = ip(ends.them, ends.us, tcp(4000, 22))
    frame = eth(vlan(5, packet) if tagged else packet, src=sender)
    assert path.ingress(frame).reason == ("rule_allow" if matches else "default_drop")


@FAMILIES
def test_no_mac_without_a_link_header(path: PacketPath, ends: Ends) -> None:
    path.policy(f"default in allow\ndrop in tcp mac {MACS}\n")
    path.ingress(eth(ip(ends.them, ends.us, tcp(4000, 22)), src="02:00:00:00:00:01"))
    flags = abi.IfaceFlags.IFACE_PROTECTED | abi.IfaceFlags.IFACE_RAW_IP
    path.interface("wan", slot=1, class_id=1, flags=flags)
    assert path.ingress(ip(ends.them, ends.us, tcp(4000, 22))).reason == "default_allow"


@FAMILIES
def test_mac_of_a_forwarded_packet(path: PacketPath, ends: Ends) -> None:
    """It is the sender's where the packet comes in; where it leaves, the frame has this host's."""
    path.policy("allow forward tcp mac 02:00:00:00:00:0a\n")
    frame = eth(ip(ends.inside, ends.them, tcp(4000, 22)), src="02:00:00:00:00:0a")
    assert path.ingress(frame, on="lan").reason == "rule_allow"
    assert path.egress(frame, came_by="lan").reason == "handed_on"
    other = eth(ip(ends.inside, ends.them, tcp(4001, 22)), src="02:00:00:00:00:0a")
    assert path.egress(other, came_by="lan", tc_index=0).reason == "default_drop"


OWNERS = Owners({"www": 33, "nobody": 65534}, {"web.service": 1 << 40 | 7, "deep.slice": 9})


@FAMILIES
@pytest.mark.parametrize(
    ("clause", "env", "matches"),
    [
        ("user www", {"uid": 33, "has_user": 1}, True),
        ("user www", {"uid": 34, "has_user": 1}, False),
        ("user nobody", {"uid": 65534, "has_user": 1}, True),
        ("user nobody", {"uid": 65534, "has_user": 0}, False),
        ("unit web.service", {"cgroups": [1, 1 << 40 | 7, 5]}, True),
        ("unit web.service", {"cgroups": [1, 7, 5]}, False),
        ("unit web.service", {}, False),
        ("unit deep.slice", {"cgroups": [1, 2, 3, 4, 5, 6, 7, 9]}, True),
        ("user www unit deep.slice", {"uid": 33, "has_user": 1, "cgroups": [9]}, True),
        ("user www unit deep.slice", {"uid": 33, "has_user": 1}, False),
        ("user www unit deep.slice", {"uid": 3, "has_user": 1, "cgroups": [9]}, False),
    ],
)
def test_owner(path: PacketPath, ends: Ends, clause: str, env: dict[str, Any], matches: bool) -> None:
    path.policy(f"default out drop\nallow out tcp {clause}\n", owners=OWNERS)
    verdict = path.egress(ends.leaving(tcp(4000, 22)), **env)
    assert verdict.reason == ("rule_allow" if matches else "default_drop")


@FAMILIES
def test_owners_that_nobody_knows(path: PacketPath, ends: Ends) -> None:
    """They are not let in, and not let by; what is known beside them counts."""
    frame = ends.leaving(tcp(4000, 22))
    for name in ("user who", "unit who.service", "user www unit who.service"):
        path.policy(f"default out drop\nallow out tcp {name}\n", owners=OWNERS)
        assert path.egress(frame, uid=33, has_user=1).reason == "default_drop"
    path.policy("default out allow\ndrop out tcp user who\n", owners=OWNERS)
    assert path.egress(frame, uid=33, has_user=1).reason == "rule_drop"
    path.policy("default out allow\nreject out tcp user www unit who.service\n", owners=OWNERS)
    assert path.egress(frame, uid=34, has_user=1).reason == "default_allow"
    path.reset_flows()
    assert path.egress(frame, uid=33, has_user=1).reason == "rule_reject"


@FAMILIES
def test_a_flow_ends_when_its_owner_is_no_longer_known(path: PacketPath, ends: Ends) -> None:
    path.policy("default out drop\nallow out tcp user www\n", owners=OWNERS)
    frame = ends.leaving(tcp(4000, 22))
    assert path.egress(frame, uid=33, has_user=1).reason == "rule_allow"
    path.policy("default out drop\nallow out tcp user www\n")
    assert path.egress(frame, uid=33, has_user=1).reason == "revoked"


@FAMILIES
def test_the_search_goes_on_behind_what_does_not_hold(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\ndrop in tcp mark 1\nallow in tcp mark 2\nreject in tcp\n")
    assert [path.ingress(syn(ends, port), mark=port).reason for port in (1, 2, 3)] == [
        "rule_drop", "rule_allow", "rule_reject",
    ]  # fmt: skip


@FAMILIES
def test_a_flow_stays_with_the_rule_that_admitted_it(path: PacketPath, ends: Ends) -> None:
    """Its later packets have no mark, and a change elsewhere has it judged anew."""
    path.policy(OTHERS + MARKED)
    path.ingress(syn(ends), mark=0x10)
    path.policy(OTHERS + "drop in tcp mark 0/0xff\n" + MARKED)
    assert path.ingress(syn(ends)).reason == "flow", "a rule that asks for more is passed over, even a drop"
    path.policy(OTHERS + "drop in tcp to port 22\n" + MARKED)
    assert path.ingress(syn(ends)).reason == "revoked"


@FAMILIES
def test_a_flow_ends_with_the_rule_that_admitted_it(path: PacketPath, ends: Ends) -> None:
    path.policy(OTHERS + MARKED)
    path.ingress(syn(ends), mark=0x10)
    path.policy(OTHERS + "allow in tcp to port 22 mark 0x10\n")
    assert path.ingress(syn(ends), mark=0x10).reason == "revoked", "another rule, though it would match"
    path.policy(OTHERS + "allow in tcp to port 22\n")
    assert path.ingress(syn(ends)).reason == "flow", "what asks for no more matches it"


@FAMILIES
def test_a_flow_of_another_rule_is_not_taken_over(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\nallow in tcp to port 22\n" + MARKED)
    path.ingress(syn(ends), mark=0x10)
    path.policy("default in drop\n" + MARKED)
    assert path.ingress(syn(ends), mark=0x10).reason == "revoked"
