# SPDX-License-Identifier: MIT
"""Netlink (netlink(7), rtnetlink(7)) with the standard library alone: the kernel's lists, and sending a change.

pyroute2 takes 280 ms to import, more than all the rest of a command, so what is read is read here. What changes
something is a message that pyroute2's classes compose, of which only those are imported.
"""

import socket
import struct
from collections.abc import Iterator

from firewall.errors import KernelRefused, fault

RTM_GETLINK, RTM_GETQDISC, RTM_GETTFILTER = 18, 38, 46  # include/uapi/linux/rtnetlink.h

_NLM_F_REQUEST, _NLM_F_DUMP, _NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_TYPE_MASK = 0x3FFF  # the upper bits say nested, and byte order
_TRIES = 5

Attributes = dict[int, bytes]


class _Interrupted(Exception):
    """The list changed while it was read: what came may be inconsistent."""


def dump(kind: int, header: bytes, what: str, protocol: int = socket.NETLINK_ROUTE) -> list[bytes]:
    """All messages of a list, without their struct nlmsghdr; `header` is the family's own, `what` a noun.

    A list that changed while it was read is read anew.
    """
    for _ in range(_TRIES):
        try:
            return list(_dump_once(kind, header, what, protocol))
        except _Interrupted:
            continue
    raise KernelRefused(f"cannot list {what}: they change all the time", "try again")


def _dump_once(kind: int, header: bytes, what: str, protocol: int) -> Iterator[bytes]:
    length = 16 + len(header)
    request = struct.pack("=IHHII", length, kind, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + header
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.bind((0, 0))
        sock.send(request)
        interrupted = False
        while True:
            data = sock.recv(1 << 17)  # the kernel fills up to 32 KiB a datagram
            while data:
                size, message, flags = struct.unpack_from("=IHH", data)
                interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                if message == _NLMSG_ERROR or (message == _NLMSG_DONE and size >= 20):
                    (err,) = struct.unpack_from("=i", data, 16)
                    if err:
                        raise fault(-err, f"list {what}")
                if message == _NLMSG_DONE:
                    if interrupted:
                        raise _Interrupted
                    return
                yield data[16:size]
                data = data[(size + 3) & ~3 :]


def ask(kind: int, body: bytes, what: str, protocol: int) -> bytes:
    """The one message that answers a question, without its struct nlmsghdr; `what` is a verb and a noun."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.bind((0, 0))
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, _NLM_F_REQUEST, 1, 0) + body)
        data = sock.recv(1 << 16)
    size, message = struct.unpack_from("=IH", data)
    if message == _NLMSG_ERROR:
        raise fault(-struct.unpack_from("=i", data, 16)[0], what)
    return data[16:size]


def attribute(kind: int, payload: bytes) -> bytes:
    """A struct rtattr with what it holds."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def change(message: bytes, what: str) -> None:
    """Sends a whole message that asks for a change and waits until it is made; `what` is a verb and a noun.

    Raises KernelRefused, NotPermitted. The message must have the flag NLM_F_ACK.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        sock.send(message)
        kind, err = struct.unpack_from("=4xH10xi", sock.recv(1 << 16))
    if kind != _NLMSG_ERROR or err:
        raise fault(-err, what)


def attributes(data: bytes) -> Attributes:
    """type → payload of a run of attributes (struct rtattr); of several of one type, the last."""
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            break
        found[kind & _TYPE_MASK] = data[4:size]
        data = data[(size + 3) & ~3 :]
    return found


def u32(attrs: Attributes, kind: int, default: int = 0) -> int:
    """An attribute that is a u32."""
    return struct.unpack("=I", attrs[kind][:4])[0] if kind in attrs else default


def text(attrs: Attributes, kind: int) -> str:
    """An attribute that is a string; "" when it is absent.

    What is not UTF-8, as an interface's name need not be, is as in the words of a command line: encoded with
    "surrogateescape" it is the same bytes again.
    """
    return attrs.get(kind, b"").split(b"\0")[0].decode(errors="surrogateescape")
