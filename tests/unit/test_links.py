# SPDX-License-Identifier: MIT
"""Interfaces of kinds that the kernel at hand may not have: read from messages that pyroute2 composes."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from firewall import links, netlink
from firewall.links import Link


def link(name: str, ifindex: int, *, kind: str = "", arphrd: int = 1, flags: int = 1, **more: Any) -> Link:
    """The interface that a message of the kernel tells of. `more`: its attributes, `data` those of its kind."""
    message = ifinfmsg()
    message["index"], message["ifi_type"], message["flags"] = ifindex, arphrd, flags
    info = [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": list(more.pop("data", {}).items())})]
    attrs = [(f"IFLA_{key.upper()}", value) for key, value in more.items()]
    message["attrs"] = [
        ("IFLA_IFNAME", name),
        *attrs,
        *([("IFLA_LINKINFO", {"attrs": info})] if kind else []),
    ]
    message.encode()
    return links.parse(bytes(message.data)[16:])


def test_plain() -> None:
    found = link("eth0", 3, address="02:00:00:00:00:07", mtu=1400)
    assert found == Link("eth0", 3, "", True, 1, 1, 1400, "02:00:00:00:00:07", 0, 0, None)
    assert found.has_link_header


@pytest.mark.parametrize("protocol", [0x8100, 0x88A8])
def test_vlan(protocol: int) -> None:
    found = link("eth0.10", 7, kind="vlan", link=3, data={"IFLA_VLAN_ID": 10, "IFLA_VLAN_PROTOCOL": protocol})
    assert (found.kind, found.lower, found.vlan) == ("vlan", 3, (3, protocol, 10))


def test_a_parent_in_another_namespace_has_no_number_here() -> None:
    data = {"IFLA_VLAN_ID": 10, "IFLA_VLAN_PROTOCOL": 0x8100}
    found = link("eth0.10", 7, kind="vlan", link=3, link_netnsid=0, data=data)
    assert (found.lower, found.vlan) == (0, (0, 0x8100, 10))


@pytest.mark.parametrize("arphrd", [512, 519, 768, 769, 776, 778, 823, 65534])
def test_without_link_header(arphrd: int) -> None:
    found = link("ppp0", 7, arphrd=arphrd)
    assert not found.has_link_header
    assert links.why_not_loadable(found, [found]) is None


def test_refused() -> None:
    masters = [link("bond0", 5, kind="bond"), link("team0", 6, kind="team"), link("vrf0", 7, kind="vrf")]
    why = [links.why_not_loadable(link("p0", 8, master=master.ifindex), masters) for master in masters]
    assert why == [
        "p0 is part of bond bond0: protect bond0 instead",
        "p0 is part of team team0: protect team0 instead",
        None,
    ]
    assert links.why_not_loadable(
        masters[2], [*masters, link("p0", 8, master=7), link("p1", 9, master=7)]
    ) == ("vrf0 is a VRF, which only chooses the routing table: protect p0, p1 instead")
    can = link("can0", 9, arphrd=280)
    assert links.why_not_loadable(can, [can]) == "can0 is neither Ethernet nor plain IP (hardware type 280)"
    loopback = link("lo", 1, arphrd=772, flags=9)
    assert links.why_not_loadable(loopback, [loopback]) is not None


def test_attributes_that_lie_about_their_size() -> None:
    assert netlink.attributes(b"\x03\x00\x01\x00" + bytes(8)) == {}
    assert netlink.attributes(b"\xff\x00\x01\x00ab") == {1: b"ab"}
    assert netlink.attributes(b"") == {}
