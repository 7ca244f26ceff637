# SPDX-License-Identifier: MIT
"""The connections that the kernel knows by itself: its sockets (inet_diag) and its conntrack (ctnetlink).

Both are read through pyroute2, and either may be missing from a kernel.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from firewall.sockets import TCP_LISTEN, Address

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
ICMP, ICMP6 = socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6

# include/net/tcp_states.h: all in which segments are still to be expected, from ESTABLISHED to NEW_SYN_RECV.
_ESTABLISHED, _SYN_SENT, _SYN_RECV, _FIN_WAIT1, _FIN_WAIT2 = 1, 2, 3, 4, 5
_CLOSE, _CLOSE_WAIT, _LAST_ACK, _CLOSING, _NEW_SYN_RECV = 7, 8, 9, 11, 12
_LIVE = (
    _ESTABLISHED,
    _SYN_SENT,
    _SYN_RECV,
    _FIN_WAIT1,
    _FIN_WAIT2,
    _CLOSE_WAIT,
    _LAST_ACK,
    _CLOSING,
    _NEW_SYN_RECV,
)

# include/uapi/linux/netfilter/nf_conntrack_common.h, nf_conntrack_tcp.h
_IPS_SEEN_REPLY = 1 << 1
_TCP_FLAG_BE_LIBERAL = 0x08
_TRACKED_LIVE = (2, 3, 4, 5, 6)  # SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK


class Ends(NamedTuple):
    """A conversation as its opener sees it: from `src` to `dst`. Ports are 0 where the protocol has none."""

    proto: int
    src: Address
    sport: int
    dst: Address
    dport: int

    def reversed(self) -> "Ends":
        """The same as the other end sees it."""
        return Ends(self.proto, self.dst, self.dport, self.src, self.sport)


class Connection(NamedTuple):
    """A connection of this host; `ifindex` is 0 unless the socket is bound to an interface."""

    ends: Ends
    ifindex: int


class Tracked(NamedTuple):
    """A conntrack entry: as it was sent, and as the answers are, which differ by more than direction if the host
    translates it. `certain` is False if conntrack met it halfway, and so may have the ends the wrong way round.
    """

    original: Ends
    reply: Ends
    replied: bool
    certain: bool


def connections() -> list[Connection] | None:
    """The TCP connections and the connected UDP sockets of this host; None if the kernel does not tell of TCP.

    Whoever has a socket open for everybody on the port was called; else this host has called.
    """
    tcp = _sockets(TCP, _LIVE, TCP_LISTEN)
    return None if tcp is None else tcp + (_sockets(UDP, (_ESTABLISHED,), _CLOSE) or [])


def tracked() -> list[Tracked] | None:
    """What conntrack has; None if the kernel has no conntrack or does not tell."""
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

    try:
        with NFCTSocket(nfgen_family=socket.AF_UNSPEC) as conntrack:
            return list(_entries(conntrack.dump()))
    except Exception:  # as above
        return None


def _sockets(proto: int, live: Sequence[int], waiting: int) -> list[Connection] | None:
    """Connections of one protocol; `waiting` is the state of sockets that take what comes from anywhere."""
    from pyroute2.netlink.diag import DiagSocket

    states = sum(1 << state for state in (*live, waiting))
    try:
        with DiagSocket() as diag:
            found = [
                message
                for family in (socket.AF_INET, socket.AF_INET6)
                for message in diag.get_sock_stats(family=family, states=states, protocol=proto)
            ]
    except Exception:  # pyroute2 has no common base for what a kernel without inet_diag makes it raise
        return None
    called = {message["idiag_sport"] for message in found if message["idiag_state"] == waiting}
    return [
        _connection(proto, message, message["idiag_sport"] in called)
        for message in found
        if message["idiag_state"] != waiting
    ]


def _connection(proto: int, message: Any, accepted: bool) -> Connection:
    ours = Ends(
        proto,
        _address(message["idiag_src"]),
        message["idiag_sport"],
        _address(message["idiag_dst"]),
        message["idiag_dport"],
    )
    return Connection(ours.reversed() if accepted else ours, message["idiag_if"])


def _entries(messages: Iterable[Any]) -> Iterator[Tracked]:
    for message in messages:
        original = _ends(message.get_attr("CTA_TUPLE_ORIG"))
        reply = _ends(message.get_attr("CTA_TUPLE_REPLY"))
        if original is None or reply is None or original.proto in (ICMP, ICMP6):
            continue
        certain = True
        if original.proto == TCP:
            info = message.get_attr("CTA_PROTOINFO")
            tcp = info and info.get_attr("CTA_PROTOINFO_TCP")
            if not tcp or tcp.get_attr("CTA_PROTOINFO_TCP_STATE") not in _TRACKED_LIVE:
                continue
            flags = tcp.get_attr("CTA_PROTOINFO_TCP_FLAGS_ORIGINAL") or (0, 0)
            certain = not flags[0] & _TCP_FLAG_BE_LIBERAL
        replied = bool((message.get_attr("CTA_STATUS") or 0) & _IPS_SEEN_REPLY)
        yield Tracked(original, reply, replied, certain)


def _ends(message: Any) -> Ends | None:
    if message is None:
        return None
    addresses, proto = message.get_attr("CTA_TUPLE_IP"), message.get_attr("CTA_TUPLE_PROTO")
    for version in ("V4", "V6"):
        src = addresses.get_attr(f"CTA_IP_{version}_SRC")
        if src is not None:
            return Ends(
                proto.get_attr("CTA_PROTO_NUM"),
                _address(src),
                proto.get_attr("CTA_PROTO_SRC_PORT") or 0,
                _address(addresses.get_attr(f"CTA_IP_{version}_DST")),
                proto.get_attr("CTA_PROTO_DST_PORT") or 0,
            )
    return None


def _address(text: str) -> Address:
    """An address; a socket for both families shows IPv4 peers as IPv6 addresses."""
    address = ip_address(text)
    return (address.ipv4_mapped or address) if address.version == 6 else address
