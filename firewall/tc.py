# SPDX-License-Identifier: MIT
"""The kernel's traffic control at ingress and egress: the clsact qdisc and the filters in it.

Lists are read by `netlink`, which is quick; changes are composed by pyroute2, imported where one is made.
"""

import struct
from collections.abc import Mapping
from socket import htons
from typing import Any, NamedTuple

from firewall import netlink
from firewall.deferred import bare, deferred

ETH_P_ALL = 0x0003

# include/uapi/linux/pkt_sched.h: the parents are TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS
_CLSACT_HANDLE = 0xFFFF0000
_PARENTS = {True: 0xFFFFFFF2, False: 0xFFFFFFF3}
# include/uapi/linux/rtnetlink.h, pkt_cls.h
_TCA_KIND, _TCA_OPTIONS, _TCA_CHAIN = 1, 2, 11
_TCA_BPF_NAME, _TCA_BPF_ID = 7, 11
_TCA_BPF_FLAG_ACT_DIRECT = 1 << 0
_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_NEWTFILTER, _RTM_DELTFILTER = 36, 37, 44, 45

# include/uapi/linux/netlink.h
_NLM_F_REQUEST, _NLM_F_ACK = 0x1, 0x4
_NLM_F_REPLACE, _NLM_F_EXCL, _NLM_F_CREATE = 0x100, 0x200, 0x400

_CLSACT = {"parent": 0xFFFFFFF1, "handle": _CLSACT_HANDLE, "attrs": [["TCA_KIND", "clsact"]]}  # TC_H_CLSACT


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


def _change(what: str, kind: int, flags: int, ifindex: int, message: Mapping[str, Any]) -> None:
    # All of pyroute2 takes ten times as long to import as the messages of traffic control.
    with (
        bare("pyroute2"),
        deferred("multiprocessing", "platform", "pyroute2.netlink.rt_files", "traceback"),
    ):
        from pyroute2.netlink.rtnl.tcmsg import tcmsg

    request = tcmsg()
    request["index"] = ifindex
    for name, value in message.items():
        request[name] = value
    request["header"]["type"] = kind
    request["header"]["flags"] = _NLM_F_REQUEST | _NLM_F_ACK | flags
    request.encode()
    netlink.change(bytes(request.data), what)


def make_clsact(ifindex: int) -> None:
    """Add the qdisc that gives room for filters. Errno EEXIST: there is one at ingress."""
    what = f"add a clsact qdisc to interface {ifindex}"
    _change(what, _RTM_NEWQDISC, _NLM_F_CREATE | _NLM_F_EXCL, ifindex, _CLSACT)


def remove_clsact(ifindex: int) -> None:
    """Remove the qdisc, with all filters in it."""
    _change(f"remove the clsact qdisc of interface {ifindex}", _RTM_DELQDISC, 0, ifindex, _CLSACT)


def put_bpf_filter(
    ifindex: int, ingress: bool, pref: int, handle: int, name: str, program_fd: int, replace: bool
) -> None:
    """Add a direct-action program for all protocols, or replace the one of that handle, between two packets.

    Errno EINVAL: filters of another kind or protocol are at that preference.
    """
    options = [
        ["TCA_BPF_FD", program_fd],
        ["TCA_BPF_NAME", name],
        ["TCA_BPF_FLAGS", _TCA_BPF_FLAG_ACT_DIRECT],
    ]
    message = _bpf_filter(ingress, pref, handle)
    message["attrs"].append(["TCA_OPTIONS", {"attrs": options}])
    flags = _NLM_F_CREATE | (_NLM_F_REPLACE if replace else _NLM_F_EXCL)
    _change(f"put a filter on interface {ifindex}", _RTM_NEWTFILTER, flags, ifindex, message)


def remove_bpf_filter(ifindex: int, ingress: bool, pref: int, handle: int) -> None:
    """Remove the filter of that handle."""
    message = _bpf_filter(ingress, pref, handle)
    _change(f"remove a filter from interface {ifindex}", _RTM_DELTFILTER, 0, ifindex, message)


def _bpf_filter(ingress: bool, pref: int, handle: int) -> dict[str, Any]:
    return {
        "parent": _PARENTS[ingress],
        "handle": handle,
        "info": pref << 16 | htons(ETH_P_ALL),
        "attrs": [["TCA_KIND", "bpf"]],
    }
