# SPDX-License-Identifier: MIT
"""Which class, slot and zone each interface has, as interfaces come and go."""

from __future__ import annotations

from typing import Any

from firewall import abi, netlink
from firewall.interfaces import Known, hook_places, plan, read, write
from firewall.links import ARPHRD_ETHER, Link

NO_LINK_HEADER = 0xFFFE


def link(ifindex: int, name: str, kind: str = "", master: int = 0, arphrd: int = ARPHRD_ETHER) -> Link:
    return Link(name, ifindex, kind, True, arphrd, 1, 1500, "", master, 0, None)


LO, ETH0, ETH1 = link(1, "lo"), link(2, "eth0"), link(3, "eth1")


def test_every_interface_has_a_class_and_protected_ones_a_slot() -> None:
    planned = plan({}, [LO, ETH0, ETH1], {3})
    assert {one.name: one.class_id for one in planned.values()} == {"lo": 1, "eth0": 2, "eth1": 3}
    assert {one.name: one.slot for one in planned.values()} == {"lo": 0, "eth0": 0, "eth1": 1}
    assert [one.name for one in planned.values() if one.protected] == ["eth1"]


def test_what_stays_keeps_its_numbers() -> None:
    before = plan({}, [LO, ETH0, ETH1], {2, 3})
    after = plan(before, [LO, ETH1, link(9, "eth9")], {3, 9})
    assert after[3] == before[3]
    assert after[9].slot != after[3].slot
    assert after[9].class_id not in {one.class_id for one in before.values()}, (
        "nor is a lost class reused at once"
    )
    assert plan(after, [LO, ETH1], {3})[3] == before[3]


def test_a_renamed_interface_is_another_one_to_rules() -> None:
    before = plan({}, [ETH0], {2})
    after = plan(before, [link(2, "wan0")], {2})
    assert after[2].name == "wan0" and after[2].class_id != before[2].class_id


def test_a_protected_interface_that_vanished_is_remembered() -> None:
    before = plan({}, [LO, ETH0, ETH1], {2})
    after = plan(before, [LO], {2})
    assert after[2] == before[2] and 3 not in after
    assert 2 not in plan(after, [LO], set())


def test_an_interface_without_a_link_header_is_raw() -> None:
    planned = plan({}, [ETH0, link(5, "tun0", "tun", arphrd=NO_LINK_HEADER)], {2, 5})
    assert planned[5].flags == abi.IfaceFlags.IFACE_RAW_IP | abi.IfaceFlags.IFACE_PROTECTED
    assert planned[2].flags == abi.IfaceFlags.IFACE_PROTECTED


def test_the_zone_is_that_of_the_vrf() -> None:
    links = [
        link(4, "blue", "vrf"),
        link(5, "eth5", master=4),
        link(6, "br0", "bridge"),
        link(7, "eth7", master=6),
    ]
    planned = plan({}, links, {5})
    assert planned[5].zone == planned[4].zone == planned[4].class_id != 0
    assert planned[6].zone == planned[7].zone == 0
    assert [i for i, one in planned.items() if one.is_vrf] == [4]


def test_the_vrf_of_a_protected_interface_has_a_number_in_any_crowd() -> None:
    crowd = [link(number, f"veth{number}") for number in range(10, 400)]
    planned = plan({}, [*crowd, link(500, "blue", "vrf"), link(501, "eth0", master=500)], {501})
    assert planned[501].zone == planned[500].class_id != 0


def test_names_that_rules_speak_of_get_the_classes_first() -> None:
    crowd = [link(number, f"veth{number}") for number in range(10, 400)]
    planned = plan({}, [*crowd, ETH0], set(), ["eth0", "veth399"])
    assert planned[2].class_id == 1 and planned[399].class_id == 2
    classes = [one.class_id for one in planned.values() if one.class_id]
    assert len(classes) == len(set(classes)) == 255 and max(classes) == 255
    assert Known("veth398", 0, 0, 0, 0) == planned[398], "one too many is unknown to rules"


def test_places_at_the_hooks_are_by_index_and_the_later_wins() -> None:
    size = abi.Limits.HOOKS_MAX
    links = [link(2, "eth0"), link(size + 2, "eth1"), link(size + 3, "eth2"), link(7, "eth7")]
    planned = plan({}, links, {2, size + 2, size + 3})
    assert hook_places(planned) == {2: size + 2, 3: size + 3}


class Entries(dict[bytes, bytes]):
    """What `read` and `write` ask of a map."""

    lookup = dict.get
    update: Any = dict.__setitem__


def test_a_name_that_is_no_text_comes_back_as_it_was() -> None:
    """The kernel takes any bytes but blanks, slashes and colons, up to 15."""
    name = netlink.text({3: b"\xff" * 15 + b"\0"}, 3)
    entries: Any = Entries()
    planned = plan({}, [ETH0, link(3, name)], {3})
    write(entries, Entries(), {}, planned)  # type: ignore[arg-type]
    assert read(entries) == planned
    assert name.encode(errors="surrogateescape") == b"\xff" * 15
