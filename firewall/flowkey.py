# SPDX-License-Identifier: MIT
"""Keys of the flow tables, made as the packet path makes them: make_key() in bpf_src/parse.h."""

import struct

from firewall import abi
from firewall.live import Ends
from firewall.services import ICMP, ICMP6, PORT_PROTOCOLS
from firewall.sockets import Address

LINK_ZONE = 0x8000  # plus the slot of the interface

_KEY = struct.Struct("=16s16s2s2sHBB")
_WORDS = struct.Struct("=10I")
_PORT = struct.Struct(">H")
_ASKED_BY_HI = int(abi.KeyPort.KEY_ASKED_BY_HI)


def flow_key(ends: Ends, zone: int) -> tuple[bytes, bool]:
    """The key of both directions, and whether the opener is its `hi` end."""
    src, dst = words(ends.src), words(ends.dst)
    return make_key(ends.proto, ends.src.version, (src, ends.sport), (dst, ends.dport), zone)


def make_key(
    proto: int, family: int, src: tuple[bytes, int], dst: tuple[bytes, int], zone: int
) -> tuple[bytes, bool]:
    """The key of a flow whose opener is `src`, and whether that is its `hi` end.

    An end is an address as four words in network order, and a port. ICMP has its id as the first port, the type of
    the opener's query as the second; GRE the upper and the lower half of its key.
    """
    if is_icmp(proto, family):
        opener_hi = src[0] > dst[0]
        ports = src[1], dst[1] | (_ASKED_BY_HI if opener_hi else 0)
    else:
        opener_hi = src > dst
        ports = (dst[1], src[1]) if opener_hi and proto in PORT_PROTOCOLS else (src[1], dst[1])
    lo, hi = (dst[0], src[0]) if opener_hi else (src[0], dst[0])
    return _KEY.pack(lo, hi, _PORT.pack(ports[0]), _PORT.pack(ports[1]), zone, proto, family), opener_hi


def key_tag(key: bytes) -> int:
    """All words of a key, xored: key_tag() in bpf_src/flow.h."""
    tag = 0
    for word in _WORDS.unpack(key):
        tag ^= word
    return tag


def is_icmp(proto: int, family: int) -> bool:
    """Whether it is the ICMP of its family."""
    return proto == (ICMP if family == 4 else ICMP6)


def words(address: Address) -> bytes:
    """Four words in network order; an IPv4 address is the last."""
    return address.packed.rjust(16, b"\0")


def link_scoped(family: int, src: bytes, dst: bytes) -> bool:
    """Whether addresses, as words, mean something on one link only: link_scoped() in bpf_src/parse.h."""
    if family == 4:
        link_local = b"\xa9\xfe"
        return (
            link_local in (src[12:14], dst[12:14])
            or src[12:] == bytes(4)
            or dst[12:] == b"\xff\xff\xff\xff"
            or dst[12:15] == b"\xe0\0\0"
        )
    return any(end[0] == 0xFE and end[1] & 0xC0 == 0x80 for end in (src, dst)) or dst[:2] == b"\xff\x02"
