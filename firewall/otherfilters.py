# SPDX-License-Identifier: MIT
"""Other packet filters on this machine: what of them is in the kernel, and which service puts it there.

A packet has to pass each of them: fw does not replace them, and none of them knows of fw.
"""

import os
import struct
from typing import NamedTuple

from firewall import netlink
from firewall.errors import FwError, NotPermitted

# include/uapi/linux/netlink.h and include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h
_NETLINK_NETFILTER = 12
_NFT_MSG_GETTABLE = 10 << 8 | 1
_NFTA_TABLE_NAME, _NFTA_TABLE_USE = 1, 3
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

_LEGACY = {"iptables": "ip_tables_names", "ip6tables": "ip6_tables_names", "arptables": "arp_tables_names"}

# systemd keeps a link for each unit that is active, also for those whose process has ended
# (RemainAfterExit).
_ACTIVE_UNIT = "/run/systemd/units/invocation:{}.service"
_SERVICES = ("firewalld", "ufw", "nftables", "iptables", "ip6tables", "netfilter-persistent", "ferm") + (
    "shorewall",
    "shorewall6",
    "fail2ban",
    "sshguard",
    "opensnitch",
)


class NftTable(NamedTuple):
    """A table of nftables; `chains` counts what is in it: chains, sets and other objects."""

    family: str
    name: str
    objects: int


def nft_tables() -> list[NftTable]:
    """The tables of nftables in this network namespace; none where the kernel has no nftables.

    Raises NotPermitted if they may not be seen.
    """
    try:
        messages = netlink.dump(_NFT_MSG_GETTABLE, bytes(4), "nft tables", _NETLINK_NETFILTER)
    except NotPermitted:
        raise
    except (FwError, OSError):
        return []
    tables = []
    for message in messages:
        found = netlink.attributes(message[4:])
        (objects,) = struct.unpack(">I", found.get(_NFTA_TABLE_USE, bytes(4)))
        name = netlink.text(found, _NFTA_TABLE_NAME)
        tables.append(NftTable(_FAMILIES.get(message[0], "?"), name, objects))
    return tables


def legacy_tables() -> list[str]:
    """Tables of iptables and its kin (the legacy ones, not those over nftables) that are loaded: 'iptables
    filter'.
    """
    found = []
    for tool, file in _LEGACY.items():
        try:
            with open(f"/proc/self/net/{file}") as names:
                found += [f"{tool} {name}" for name in names.read().split()]
        except OSError:  # the kernel has no such thing
            continue
    return found


def active_services() -> list[str]:
    """Services of systemd that manage packet filters and are active."""
    return [name for name in _SERVICES if os.path.islink(_ACTIVE_UNIT.format(name))]
