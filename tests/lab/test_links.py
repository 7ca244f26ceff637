# SPDX-License-Identifier: MIT
"""The facts of interfaces, against iproute2's, and which interfaces are refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from firewall import links, paths
from firewall.bindings import libc
from firewall.errors import UsageError
from firewall.links import Link
from tests.lab.device import need
from tests.lab.host import Host
from tests.lab.lab import PairLab


@contextlib.contextmanager
def inside(host: Host) -> Iterator[None]:
    """This thread is in the host's network namespace."""
    with open("/proc/thread-self/ns/net", "rb") as home:
        paths.enter_netns(host.netns)
        try:
            yield
        finally:
            libc.setns(home.fileno(), libc.CLONE_NEWNET)


def seen(host: Host) -> dict[str, Link]:
    with inside(host):
        return {link.name: link for link in links.list_links()}


def test_facts_are_those_of_iproute2(pair: PairLab) -> None:
    host = pair.server
    host.ip(
        "link add br0 type bridge",
        "link add v0 type veth peer name v1",
        "link set v0 master br0 up",
        "link add mv0 link v1 type macvlan",
        "tuntap add tun0 mode tun",
        "tuntap add tap0 mode tap",
        "link set v1 mtu 9000",
    )
    told = host.ip_json("-d link show")
    found = seen(host)
    assert list(found) == [each["ifname"] for each in told]
    by_index = {link.ifindex: link.name for link in found.values()}
    for each in told:
        link = found[each["ifname"]]
        assert (link.ifindex, link.mtu) == (each["ifindex"], each["mtu"])
        assert link.up == ("UP" in each["flags"])
        assert link.kind == each.get("linkinfo", {}).get("info_kind", "")
        assert link.address == (each["address"] if each["link_type"] != "none" else "")
        assert by_index.get(link.master) == each.get("master")
        assert by_index.get(link.lower) == each.get("link")
        assert link.has_link_header == (each["link_type"] == "ether")
        assert link.vlan is None
    assert (
        found["eth0"].lower == 0
    )  # its other end is in another namespace, where numbers mean other interfaces
    assert (found["tun0"].has_link_header, found["tap0"].has_link_header) == (False, True)


@pytest.mark.devices
@pytest.mark.parametrize(("protocol", "number"), [("802.1Q", 0x8100), ("802.1ad", 0x88A8)])
def test_vlan(pair: PairLab, protocol: str, number: int) -> None:
    kind = f"vlan id 10 protocol {protocol}"
    need(pair.server, kind, "link eth0")
    pair.server.ip(f"link add link eth0 name eth0.10 type {kind}")
    found = seen(pair.server)
    assert found["eth0.10"].vlan == (found["eth0"].ifindex, number, 10)
    assert links.why_not_loadable(found["eth0.10"], found.values()) is None


def test_what_is_refused(pair: PairLab) -> None:
    pair.server.ip(
        "link add br0 type bridge",
        "link add v0 type veth peer name v1",
        "link set v0 master br0",
        "tuntap add tun0 mode tun",
    )
    found = seen(pair.server)
    why = {name: links.why_not_loadable(link, found.values()) for name, link in found.items()}
    assert why.pop("lo") == "lo is the loopback: what a host says to itself is not filtered"
    assert why.pop("v0") == "v0 is part of bridge br0: protect br0 instead"
    assert why == {"eth0": None, "br0": None, "v1": None, "tun0": None}


@pytest.mark.devices
@pytest.mark.parametrize("kind", ["bond", "vrf table 10"])
def test_members(pair: PairLab, kind: str) -> None:
    """A bond's members are refused; a VRF only chooses the routing table."""
    need(pair.server, kind)
    pair.server.ip(f"link add m0 type {kind}", "link add v0 type veth peer name v1", "link set v0 master m0")
    found = seen(pair.server)
    why = [links.why_not_loadable(found[name], found.values()) for name in ("m0", "v0")]
    if kind == "bond":
        assert why == [None, "v0 is part of bond m0: protect m0 instead"]
    else:
        assert why == ["m0 is a VRF, which only chooses the routing table: protect v0 instead", None]


def test_many_interfaces(pair: PairLab) -> None:
    """More than one datagram of the list."""
    pair.server.ip(*(f"link add v{i} type veth peer name w{i}" for i in range(100)))
    found = seen(pair.server)
    assert {f"{side}{i}" for side in "vw" for i in range(100)} <= set(found)
    assert all(found[f"v{i}"].lower == found[f"w{i}"].ifindex for i in range(100))


def test_unknown_interface(pair: PairLab) -> None:
    with inside(pair.server):
        assert links.find("eth0").name == "eth0"
        with pytest.raises(UsageError) as caught:
            links.find("eht0")
        assert (caught.value.message, caught.value.hint) == (
            "there is no interface 'eht0'",
            "did you mean 'eth0'?",
        )
        with pytest.raises(UsageError) as caught:
            links.find("wlp3s0")
        assert caught.value.hint == "there are: eth0"
