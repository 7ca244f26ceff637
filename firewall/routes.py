# SPDX-License-Identifier: MIT
"""This host's addresses, and by which interface it reaches others. Stdlib netlink: see `firewall.netlink`."""

import socket
import struct
from types import TracebackType
from typing import Self

from firewall import netlink
from firewall.sockets import Address

# include/uapi/linux/rtnetlink.h, if_addr.h, netlink.h
_RTM_GETADDR, _RTM_GETROUTE, _RTM_NEWROUTE = 22, 26, 24
_NLM_F_REQUEST = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF = 1, 4
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Routes:
    """Answers about this network namespace as it was when first asked. Use it as a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._ways: dict[tuple[Address, int], int] = {}
        self._addresses: dict[bytes, int] | None = None

    def owner(self, address: Address) -> int:
        """The index of the interface that has this address; 0 if none of this host's has."""
        if self._addresses is None:
            self._addresses = {}
            for message in netlink.dump(_RTM_GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0), "addresses"):
                ifindex = struct.unpack_from("=I", message, 4)[0]  # struct ifaddrmsg
                attrs = netlink.attributes(message[8:])
                # On point-to-point links IFA_ADDRESS is the other end's.
                self._addresses.setdefault(attrs.get(_IFA_LOCAL) or attrs.get(_IFA_ADDRESS, b""), ifindex)
        return self._addresses.get(address.packed, 0)

    def way_to(self, address: Address, vrf: int = 0) -> int:
        """The index of the interface by which the routing table reaches an address; 0 if it does not.

        `vrf`: the index of the VRF whose table is asked.
        """
        if (address, vrf) not in self._ways:
            self._ways[address, vrf] = self._look_up(address, vrf)
        return self._ways[address, vrf]

    def _look_up(self, address: Address, vrf: int) -> int:
        bits = 8 * len(address.packed)
        route = struct.pack(
            "=BBBBBBBBI", _FAMILIES[address.version], bits, 0, 0, 0, 0, 0, 0, 0
        )  # struct rtmsg
        body = route + struct.pack("=HH", 4 + len(address.packed), _RTA_DST) + address.packed
        if vrf:
            body += struct.pack("=HHI", 8, _RTA_OIF, vrf)
        header = struct.pack("=IHHII", 16 + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 0, 0)
        self._socket.send(header + body)
        answer = self._socket.recv(1 << 16)
        if struct.unpack_from("=H", answer, 4)[0] != _RTM_NEWROUTE:
            return 0
        return netlink.u32(netlink.attributes(answer[28:]), _RTA_OIF)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._socket.close()
