# SPDX-License-Identifier: MIT
"""The connections that the kernel knows by itself: its sockets (inet_diag) and its conntrack (ctnetlink).

Stdlib netlink: see `firewall.netlink`. Either may be missing from a kernel.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from itertools import starmap
from typing import NamedTuple

from firewall import netlink
from firewall.errors import FwError
from firewall.sockets import TCP_LISTEN, Address

TCP, UDP, SCTP = socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP
ICMP, ICMP6, GRE = socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6, socket.IPPROTO_GRE

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
_AGREED = (_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT, _LAST_ACK, _CLOSING)  # both SYNs have been seen

# include/uapi/linux/netfilter/nf_conntrack_common.h, nf_conntrack_tcp.h
_IPS_SEEN_REPLY = 1 << 1
_TCP_FLAG_WINDOW_SCALE, _TCP_FLAG_BE_LIBERAL = 0x01, 0x08
_TRACKED_LIVE = (2, 3, 4, 5, 6)  # SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK

# include/uapi/linux/netfilter/nfnetlink_conntrack.h
_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY, _CTA_STATUS, _CTA_PROTOINFO = 1, 2, 3, 4
_CTA_TUPLE_IP, _CTA_TUPLE_PROTO = 1, 2
_CTA_IP_V4_SRC, _CTA_IP_V4_DST, _CTA_IP_V6_SRC, _CTA_IP_V6_DST = 1, 2, 3, 4
_CTA_PROTO_NUM, _CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT = 1, 2, 3
_CTA_PROTOINFO_TCP = 1
_TCP_STATE, _TCP_WSCALE_ORIGINAL, _TCP_WSCALE_REPLY, _TCP_FLAGS_ORIGINAL, _TCP_FLAGS_REPLY = 1, 2, 3, 4, 5
_CTA_PROTOINFO_SCTP = 3
_SCTP_STATE, _SCTP_VTAG_ORIGINAL, _SCTP_VTAG_REPLY = 1, 2, 3
_SCTP_ESTABLISHED = 4  # nf_conntrack_sctp.h
_IP_ATTRIBUTES = {4: (_CTA_IP_V4_SRC, _CTA_IP_V4_DST), 6: (_CTA_IP_V6_SRC, _CTA_IP_V6_DST)}
_NLA_F_NESTED = 1 << 15  # include/uapi/linux/netlink.h
_CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_count"
_NETLINK_NETFILTER, _CT_GET = 12, 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_NFGENMSG = struct.Struct("=BBH")  # struct nfgenmsg of nfnetlink.h: family, version, resource

# include/uapi/linux/sock_diag.h, inet_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_DIAG_REQUEST = struct.Struct("=BBBBI48x")  # struct inet_diag_req_v2: family, protocol, more, none, states
# struct inet_diag_msg: family, state, timer, retransmissions; ports, addresses and interface of the socket
_DIAG_ANSWER = struct.Struct("=BBxx2s2s16s16sI8x20x")
_DIAG_INFO = 2  # an attribute: struct tcp_info of tcp.h, whose bytes 5 and 6 are options and both scales
_TCPI_OPT_WSCALE = 4


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


class Scales(NamedTuple):
    """The window scale of each end of a TCP connection, from 0 to 14."""

    opener: int
    responder: int

    def reversed(self) -> "Scales":
        """The same as the other end sees it."""
        return Scales(self.responder, self.opener)


UNKNOWN_SCALES = Scales(14, 14)  # the largest: RFC 7323 section 2.3


class Tags(NamedTuple):
    """The verification tag that each end of an SCTP association puts into its packets (RFC 9260, section 3.1)."""

    opener: int
    responder: int


class Connection(NamedTuple):
    """A connection of this host; `ifindex` is 0 unless the socket is bound to an interface."""

    ends: Ends
    ifindex: int
    scales: Scales = UNKNOWN_SCALES


class Tracked(NamedTuple):
    """A conntrack entry: as it was sent, and as the answers are, which differ by more than direction if the host
    translates it. `certain` is False if conntrack met it halfway, and so may have the ends the wrong way round.
    """

    original: Ends
    reply: Ends
    replied: bool
    certain: bool
    scales: Scales = UNKNOWN_SCALES
    tags: Tags | None = None


def connections() -> list[Connection] | None:
    """The TCP connections and the connected UDP sockets of this host; None if the kernel does not tell of TCP.

    Whoever has a socket open for everybody on the port was called; else this host has called.
    """
    tcp = _sockets(TCP, _LIVE, TCP_LISTEN)
    return None if tcp is None else tcp + (_sockets(UDP, (_ESTABLISHED,), _CLOSE) or [])


def tracked() -> list[Tracked] | None:
    """What conntrack has; None if the kernel has no conntrack or does not tell."""
    request = _NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)
    try:
        messages = netlink.dump(_CT_GET, request, "tracked connections", _NETLINK_NETFILTER)
    except (FwError, OSError):
        return None
    return list(_entries(message[_NFGENMSG.size :] for message in messages))


def original(reply: Ends) -> Ends | None:
    """How conntrack has seen come what is answered so: otherwise addressed, if the host translates it.

    None if it has not, or cannot be asked. A kernel that has no conntrack by now is not made to load it.
    """
    if not os.path.exists(_CONNTRACK):
        return None
    version = reply.src.version
    ip = zip(_IP_ATTRIBUTES[version], (reply.src.packed, reply.dst.packed), strict=True)
    ports = ((_CTA_PROTO_SRC_PORT, reply.sport), (_CTA_PROTO_DST_PORT, reply.dport))
    proto = [
        (_CTA_PROTO_NUM, bytes([reply.proto])),
        *((kind, port.to_bytes(2, "big")) for kind, port in ports),
    ]
    parts = ((_CTA_TUPLE_IP, ip), (_CTA_TUPLE_PROTO, proto))
    nested = b"".join(_nested(kind, starmap(netlink.attribute, inner)) for kind, inner in parts)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    request = _NFGENMSG.pack(family, 0, 0) + _nested(_CTA_TUPLE_REPLY, [nested])
    try:
        found = netlink.ask(_CT_GET, request, "look up a tracked connection", _NETLINK_NETFILTER)
    except (FwError, OSError):
        return None
    attrs = netlink.attributes(found[_NFGENMSG.size :])
    first, back = (_ends(attrs[kind]) for kind in (_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY))
    # What conntrack met midway may have begun for it with an answer.
    return back if first == reply else first


def _nested(kind: int, parts: Iterable[bytes]) -> bytes:
    return netlink.attribute(kind | _NLA_F_NESTED, b"".join(parts))


def _sockets(proto: int, live: Sequence[int], waiting: int) -> list[Connection] | None:
    """Connections of one protocol; `waiting` is the state of sockets that take what comes from anywhere."""
    states = sum(1 << state for state in (*live, waiting))
    found = []
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _DIAG_REQUEST.pack(family, proto, 1 << _DIAG_INFO - 1, 0, states)
            answers = netlink.dump(_SOCK_DIAG_BY_FAMILY, request, "sockets", _NETLINK_SOCK_DIAG)
            found += [
                (*(head := _DIAG_ANSWER.unpack_from(answer)), _socket_scales(head[1], answer))
                for answer in answers
            ]
    except (FwError, OSError):
        return None
    called = {sport for _, state, sport, *_ in found if state == waiting}
    return [_connection(proto, one[0], one[2:], one[2] in called) for one in found if one[1] != waiting]


def _socket_scales(state: int, answer: bytes) -> Scales:
    """Of our end and of the other, as a socket's struct tcp_info has them once the handshake is over."""
    if state not in _AGREED:
        return UNKNOWN_SCALES
    info = netlink.attributes(answer[_DIAG_ANSWER.size :]).get(_DIAG_INFO, b"")
    if len(info) < 7:
        return UNKNOWN_SCALES
    if not info[5] & _TCPI_OPT_WSCALE:
        return Scales(0, 0)
    low, high = info[6] & 15, info[6] >> 4  # bit fields: what they scale to send, then what we do
    return Scales(high, low) if sys.byteorder == "little" else Scales(low, high)


def _connection(
    proto: int, family: int, socket_id: tuple[bytes, bytes, bytes, bytes, int, Scales], accepted: bool
) -> Connection:
    sport, dport, src, dst, ifindex, scales = socket_id
    ours = Ends(
        proto,
        _address(family, src),
        int.from_bytes(sport, "big"),
        _address(family, dst),
        int.from_bytes(dport, "big"),
    )
    if accepted:
        return Connection(ours.reversed(), ifindex, scales.reversed())
    return Connection(ours, ifindex, scales)


def _entries(bodies: Iterable[bytes]) -> Iterator[Tracked]:
    for body in bodies:
        attrs = netlink.attributes(body)
        if not {_CTA_TUPLE_ORIG, _CTA_TUPLE_REPLY} <= attrs.keys():
            continue
        original, reply = _ends(attrs[_CTA_TUPLE_ORIG]), _ends(attrs[_CTA_TUPLE_REPLY])
        if original.proto in (ICMP, ICMP6):
            continue
        certain, scales, tags = True, UNKNOWN_SCALES, None
        if original.proto == TCP:
            info = netlink.attributes(attrs.get(_CTA_PROTOINFO, b""))
            tcp = netlink.attributes(info.get(_CTA_PROTOINFO_TCP, b""))
            if tcp.get(_TCP_STATE, b"\0")[0] not in _TRACKED_LIVE:
                continue
            certain = not tcp.get(_TCP_FLAGS_ORIGINAL, b"\0")[0] & _TCP_FLAG_BE_LIBERAL
            scales = _tracked_scales(tcp) if certain else scales
        elif original.proto == SCTP:
            tags = _tracked_tags(netlink.attributes(attrs.get(_CTA_PROTOINFO, b"")))
            if tags is None:
                continue
        status = int.from_bytes(attrs.get(_CTA_STATUS, b""), "big")
        yield Tracked(original, reply, bool(status & _IPS_SEEN_REPLY), certain, scales, tags)


def _tracked_scales(tcp: netlink.Attributes) -> Scales:
    """In force if both SYNs offered one."""
    both = tcp.get(_TCP_FLAGS_ORIGINAL, b"\0")[0] & tcp.get(_TCP_FLAGS_REPLY, b"\0")[0]
    if not both & _TCP_FLAG_WINDOW_SCALE:
        return Scales(0, 0)
    return Scales(tcp.get(_TCP_WSCALE_ORIGINAL, b"\0")[0], tcp.get(_TCP_WSCALE_REPLY, b"\0")[0])


def _tracked_tags(info: netlink.Attributes) -> Tags | None:
    """Of an established association; else its next heartbeat or INIT has to open its flow."""
    sctp = netlink.attributes(info.get(_CTA_PROTOINFO_SCTP, b""))
    tags = Tags(
        *(int.from_bytes(sctp.get(tag, b""), "big") for tag in (_SCTP_VTAG_ORIGINAL, _SCTP_VTAG_REPLY))
    )
    return tags if sctp.get(_SCTP_STATE) == bytes([_SCTP_ESTABLISHED]) and all(tags) else None


def _ends(nested: bytes) -> Ends:
    attrs = netlink.attributes(nested)
    addresses, proto = netlink.attributes(attrs[_CTA_TUPLE_IP]), netlink.attributes(attrs[_CTA_TUPLE_PROTO])
    src, dst = (
        ip_address(addresses[four] if four in addresses else addresses[six])
        for four, six in ((_CTA_IP_V4_SRC, _CTA_IP_V6_SRC), (_CTA_IP_V4_DST, _CTA_IP_V6_DST))
    )
    sport, dport = (
        int.from_bytes(proto.get(port, b""), "big") for port in (_CTA_PROTO_SRC_PORT, _CTA_PROTO_DST_PORT)
    )
    if proto[_CTA_PROTO_NUM][0] == GRE:  # calls of PPTP, which are no ports; the key of a tunnel is not told
        sport = dport = 0
    return Ends(proto[_CTA_PROTO_NUM][0], src, sport, dst, dport)


def _address(family: int, words: bytes) -> Address:
    """An address; a socket for both families shows IPv4 peers as IPv6 addresses."""
    address = ip_address(words[:4] if family == socket.AF_INET else words)
    return (address.ipv4_mapped or address) if address.version == 6 else address
