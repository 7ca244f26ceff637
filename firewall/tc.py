# SPDX-License-Identifier: MIT
"""The kernel's traffic control at ingress and egress: the clsact qdisc and the filters in it.

Lists are read by `netlink`, which is quick; changes are made through pyroute2, imported where one is made.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from socket import htons
from typing import TYPE_CHECKING, NamedTuple

from firewall import netlink
from firewall.errors import fault

if TYPE_CHECKING:
    from pyroute2 import IPRoute

ETH_P_ALL = 0x0003

# include/uapi/linux/pkt_sched.h: the parents are TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS
_CLSACT_HANDLE = 0xFFFF0000
_PARENTS = {True: 0xFFFFFFF2, False: 0xFFFFFFF3}
# include/uapi/linux/rtnetlink.h, pkt_cls.h
_TCA_KIND, _TCA_OPTIONS, _TCA_CHAIN = 1, 2, 11
_TCA_BPF_NAME, _TCA_BPF_ID = 7, 11


class Filter(NamedTuple):
    """A TC filter. For kinds other than "bpf" one stands for all of the same preference."""

    kind: str
    pref: int  # the lower, the earlier
    protocol: int  # EtherType, ETH_P_ALL for any
    chain: int  # filters in chains other than 0 run when another filter sends packets there
    handle: int
    name: str  # "" unless kind is "bpf"
    prog_id: int  # 0 unless kind is "bpf"


def _tcmsg(ifindex: int, parent: int) -> bytes:
    return struct.pack("=BxHiIII", 0, 0, ifindex, 0, parent, 0)  # struct tcmsg


def ingress_qdiscs() -> dict[int, str]:
    """ifindex → kind of the qdisc that holds its ingress filters, "clsact" or "ingress"; of those that have one."""
    found = {}
    for message in netlink.dump(netlink.RTM_GETQDISC, _tcmsg(0, 0), "qdiscs"):
        ifindex, handle = struct.unpack_from("=iI", message, 4)
        if handle == _CLSACT_HANDLE:
            found[ifindex] = netlink.text(netlink.attributes(message[20:]), _TCA_KIND)
    return found


def filters(ifindex: int, ingress: bool) -> list[Filter]:
    """The interface's filters in running order; none when it has no such qdisc, or is not there."""
    found: list[Filter] = []
    header = _tcmsg(ifindex, _PARENTS[ingress])
    for message in netlink.dump(netlink.RTM_GETTFILTER, header, "traffic control filters"):
        handle, _, info = struct.unpack_from("=III", message, 8)
        attrs = netlink.attributes(message[20:])
        kind, chain, pref = netlink.text(attrs, _TCA_KIND), netlink.u32(attrs, _TCA_CHAIN), info >> 16
        options = netlink.attributes(attrs.get(_TCA_OPTIONS, b"")) if kind == "bpf" else {}
        # A message with no handle announces the filters of one preference. Those of kind bpf each follow it.
        if (handle == 0) != (kind == "bpf"):
            name, program = netlink.text(options, _TCA_BPF_NAME), netlink.u32(options, _TCA_BPF_ID)
            found.append(Filter(kind, pref, htons(info & 0xFFFF), chain, handle, name, program))
    return found


@contextmanager
def _changing(what: str) -> Iterator["IPRoute"]:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise fault(error.code, what) from error


def make_clsact(ifindex: int) -> None:
    """Add the qdisc that gives room for filters. Errno EEXIST: there is one at ingress."""
    with _changing(f"add a clsact qdisc to interface {ifindex}") as route:
        route.tc("add", "clsact", ifindex)


def remove_clsact(ifindex: int) -> None:
    """Remove the qdisc, with all filters in it."""
    with _changing(f"remove the clsact qdisc of interface {ifindex}") as route:
        route.tc("del", "clsact", ifindex)


def put_bpf_filter(
    ifindex: int, ingress: bool, pref: int, handle: int, name: str, program_fd: int, replace: bool
) -> None:
    """Add a direct-action program for all protocols, or replace the one of that handle, between two packets.

    Errno EINVAL: filters of another kind or protocol are at that preference.
    """
    with _changing(f"put a filter on interface {ifindex}") as route:
        route.tc(
            "replace-filter" if replace else "add-filter",
            "bpf",
            ifindex,
            handle,
            parent=_PARENTS[ingress],
            info=pref << 16 | htons(ETH_P_ALL),
            fd=program_fd,
            name=name,
            direct_action=True,
        )


def remove_bpf_filter(ifindex: int, ingress: bool, pref: int, handle: int) -> None:
    """Remove the filter of that handle."""
    with _changing(f"remove a filter from interface {ifindex}") as route:
        info = pref << 16 | htons(ETH_P_ALL)
        route.tc("del-filter", "bpf", ifindex, handle, parent=_PARENTS[ingress], info=info)
