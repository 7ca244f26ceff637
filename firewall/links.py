# SPDX-License-Identifier: MIT
"""The network interfaces of the network namespace that we are in, and which of them can be protected."""

import struct
from collections.abc import Collection, Iterable
from typing import NamedTuple

from firewall import netlink
from firewall.errors import UsageError

IFF_UP, IFF_LOOPBACK, IFF_NOARP = 1 << 0, 1 << 3, 1 << 7

# include/uapi/linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_LINKINFO, _IFLA_LINK_NETNSID = 18, 37
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_VLAN_ID, _IFLA_VLAN_PROTOCOL = 1, 5

ARPHRD_ETHER = 1
# dev_is_mac_header_xmit(), include/linux/if_arp.h: on these types a packet begins with its network header.
_NO_LINK_HEADER = {
    512,  # PPP
    519,  # RAWIP
    768,  # TUNNEL
    769,  # TUNNEL6
    776,  # SIT
    778,  # IPGRE
    779,  # PIMREG
    823,  # IP6GRE
    0xFFFE,  # NONE: tun, WireGuard
    0xFFFF,  # VOID
}


class Vlan(NamedTuple):
    """What makes an interface a VLAN device."""

    parent: int  # ifindex; 0 when it is in another network namespace
    protocol: int  # 0x8100 or 0x88a8
    vid: int


class Link(NamedTuple):
    """An interface."""

    name: str
    ifindex: int
    kind: str  # "veth", "bridge", "tun"...; "" for hardware
    up: bool
    arphrd: int  # ARPHRD_* of include/uapi/linux/if_arp.h
    flags: int
    mtu: int
    address: str  # "" when it has none
    master: int  # ifindex of the bridge, bond or VRF that it is part of, else 0
    lower: int  # ifindex of the interface that it runs on or is paired with, in this namespace, else 0
    vlan: Vlan | None

    @property
    def has_link_header(self) -> bool:
        """Whether its packets begin with an Ethernet header, not with that of IP."""
        return self.arphrd == ARPHRD_ETHER


def list_links() -> list[Link]:
    """All interfaces, by ifindex. Takes about a millisecond."""
    header = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    found = [parse(message) for message in netlink.dump(netlink.RTM_GETLINK, header, "interfaces")]
    return sorted(found, key=lambda link: link.ifindex)


def parse(message: bytes) -> Link:
    """The interface that a message of the list tells of: a struct ifinfomsg and attributes."""
    arphrd, ifindex, flags = struct.unpack_from("=HiI", message, 2)  # struct ifinfomsg
    attrs = netlink.attributes(message[16:])
    info = netlink.attributes(attrs.get(_IFLA_LINKINFO, b""))
    kind = netlink.text(info, _IFLA_INFO_KIND)
    lower = 0 if _IFLA_LINK_NETNSID in attrs else netlink.u32(attrs, _IFLA_LINK)
    vlan = None
    if kind == "vlan":
        data = netlink.attributes(info.get(_IFLA_INFO_DATA, b""))
        (vid,), (protocol,) = (
            struct.unpack("=H", data[_IFLA_VLAN_ID]),
            struct.unpack(">H", data[_IFLA_VLAN_PROTOCOL]),
        )
        vlan = Vlan(lower, protocol, vid)
    return Link(
        name=netlink.text(attrs, _IFLA_IFNAME),
        ifindex=ifindex,
        kind=kind,
        up=bool(flags & IFF_UP),
        arphrd=arphrd,
        flags=flags,
        mtu=netlink.u32(attrs, _IFLA_MTU),
        address=attrs.get(_IFLA_ADDRESS, b"").hex(":"),
        master=netlink.u32(attrs, _IFLA_MASTER),
        lower=lower,
        vlan=vlan,
    )


def find(name: str, links: Iterable[Link] | None = None) -> Link:
    """The interface of that name; UsageError, with the likely ones, when there is none."""
    known = {link.name: link for link in (list_links() if links is None else links)}
    if name in known:
        return known[name]
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    names = ", ".join(other for other in known if not known[other].flags & IFF_LOOPBACK)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {names}" if names else None
    raise UsageError(f"there is no interface '{name}'", hint)


def why_not_loadable(link: Link, links: Collection[Link]) -> str | None:
    """Why fw cannot protect this interface, None when it can.

    Rules and flows know layer-3 devices: the packets of a bridge port or bond member are delivered, and routed,
    as those of the device above it. A VRF is not such a device: it only chooses the routing table, and no packet
    of its members meets its own hooks.
    """
    if link.flags & IFF_LOOPBACK:
        return f"{link.name} is the loopback: what a host says to itself is not filtered"
    above = next((other for other in links if other.ifindex == link.master), None)
    if link.kind == "vrf":
        members = ", ".join(other.name for other in links if other.master == link.ifindex)
        return f"{link.name} is a VRF, which only chooses the routing table: protect {members or 'its members'} instead"
    if above and above.kind != "vrf":
        return f"{link.name} is part of {above.kind or 'device'} {above.name}: protect {above.name} instead"
    if not link.has_link_header and link.arphrd not in _NO_LINK_HEADER:
        return f"{link.name} is neither Ethernet nor plain IP (hardware type {link.arphrd})"
    return None
