# SPDX-License-Identifier: MIT
"""ICMP and ICMPv6 messages, and errors with the packet that they quote."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.differential.talk import CLIENT, ICMP, ICMP6, Ends, Packet, folded

_HEAD = struct.Struct("!BBHHH")

# Types as (ICMP, ICMPv6).
Kind = tuple[int, int]
ECHO, ECHO_REPLY = (8, 128), (0, 129)
UNREACHABLE, EXCEEDED, PARAMETER = (3, 1), (11, 3), (12, 4)
TOO_BIG = (3, 2)  # with code 4 in IPv4
QUENCH, REDIRECT = (4, 100), (5, 101)  # in IPv6 errors for private experiments (RFC 4443 section 2.1)
ERRORS = (UNREACHABLE, TOO_BIG, EXCEEDED, PARAMETER, QUENCH, REDIRECT)
_NAMES = {
    ECHO: "echo request",
    ECHO_REPLY: "echo reply",
    UNREACHABLE: "unreachable",
    EXCEEDED: "time exceeded",
}
_NAMES |= {PARAMETER: "parameter problem", TOO_BIG: "too big", QUENCH: "quench", REDIRECT: "redirect"}


def named(kind: Kind, code: int) -> str:
    return f"icmp {_NAMES.get(kind, f'{kind[0]} or {kind[1]}')}" + (f" code {code}" if code else "")


def summed(ends: Ends, body: bytes, lie: int = 0) -> bytes:
    """The message with its checksum, off by `lie`."""
    if ends.family == 6:
        return ends.summed(ICMP6, body, 2, lie)
    return body[:2] + ((0xFFFF - folded(body)) ^ lie).to_bytes(2, "big") + body[4:]


@dataclass(slots=True, kw_only=True)
class Message(Packet):
    """A message that quotes nothing. Its id is the client's port and `ident`."""

    kind: Kind
    code: int = 0
    ident: int = 0
    seq: int = 0
    size: int = 16
    lie: int = 0

    def protocol(self, ends: Ends) -> int:
        return ICMP if ends.family == 4 else ICMP6

    def body(self, ends: Ends) -> bytes:
        ident = self.ident + ends.ports[CLIENT] & 0xFFFF
        head = _HEAD.pack(self.kind[ends.family == 6], self.code, 0, ident, self.seq & 0xFFFF)
        return summed(ends, head + bytes(self.size), self.lie)

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        text = f"{named(self.kind, self.code)} id {self.ident:+} seq {self.seq} ({self.size})"
        return text + (" bad checksum" if self.lie else "")


@dataclass(slots=True, kw_only=True)
class Error(Packet):
    """An error about `quote`, which need not have been sent.

    quoted: bytes of the transport header and what follows it that are quoted.
    from_off: added to the address that it comes from: a router on the way, instead of the end.
    to_off: added to the address that it goes to.
    """

    quote: Packet
    kind: Kind = UNREACHABLE
    code: int = 0
    rest: int = 0
    quoted: int = 8
    from_off: int = 0
    to_off: int = 0
    lie: int = 0

    def protocol(self, ends: Ends) -> int:
        return ICMP if ends.family == 4 else ICMP6

    def packet(self, ends: Ends, tag: int) -> bytes:
        moved = Ends(ends.number, ends.family, ends.ports)
        addresses = list(ends.addresses)
        for side, off in ((self.side, self.from_off), (1 - self.side, self.to_off)):
            value = int.from_bytes(addresses[side], "big") + off
            addresses[side] = value.to_bytes(len(addresses[side]), "big")
        moved.addresses = (addresses[0], addresses[1])
        moved.address_sum = folded(addresses[0] + addresses[1])
        quote = self.quote.packet(ends, 1)
        quote = quote[: (20 if ends.family == 4 else 40) + self.quoted]
        head = struct.pack("!BBHI", self.kind[ends.family == 6], self.code, 0, self.rest)
        return moved.ip(self.side, self.protocol(ends), summed(moved, head + quote, self.lie), tag)

    def words(self, bases: Sequence[int] = (0, 0)) -> str:
        text = named(self.kind, self.code)
        if self.from_off:
            text += f" from {self.from_off:+}"
        if self.to_off:
            text += f" to {self.to_off:+}"
        who = "server's" if self.quote.side else "client's"
        text += f" quoting {self.quoted} bytes of the {who} {self.quote.words(bases)}"
        return text + (" bad checksum" if self.lie else "")
