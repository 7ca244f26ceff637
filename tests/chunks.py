# SPDX-License-Identifier: MIT
"""Chunks of SCTP packets (RFC 9260 section 3.3)."""

from __future__ import annotations

import struct

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR = range(10)
COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 10, 11, 14
T_BIT = 1


def chunk(kind: int, value: bytes = b"", flags: int = 0, *, length: int | None = None) -> bytes:
    """A chunk, padded to words; `length` is what it says of itself."""
    size = 4 + len(value) if length is None else length
    return struct.pack("!BBH", kind, flags, size) + value + bytes(-len(value) % 4)


def init(tag: int, kind: int = INIT) -> bytes:
    """An INIT by which its sender chooses that tag; or an INIT ACK, with a cookie."""
    cookie = b"" if kind == INIT else struct.pack("!HH", 7, 24) + bytes(20)
    return chunk(kind, struct.pack("!IIHHI", tag, 0xFFFF, 10, 10, 1) + cookie)


def init_ack(tag: int) -> bytes:
    return init(tag, INIT_ACK)


def data(payload: bytes = b"data") -> bytes:
    return chunk(DATA, struct.pack("!IHHI", 1, 0, 0, 0) + payload, 3)


def heartbeat(info: bytes = b"at random", kind: int = HEARTBEAT) -> bytes:
    """A heartbeat; or its answer, which repeats what it bore."""
    return chunk(kind, struct.pack("!HH", 1, 4 + len(info)) + info)
