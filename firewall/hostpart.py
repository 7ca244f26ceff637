# SPDX-License-Identifier: MIT
"""Host parts behind changing IPv6 prefixes: `::10/-64` is whatever address ends in ::10, behind any 64 bits.

A provider that delegates prefixes may change them at any time; what a host chose for itself behind them stays.
"""

from ipaddress import IPv6Address
from typing import NamedTuple

from firewall.lang import Cursor, Token, number
from firewall.ranges import written_address

_BITS = 128
MARK = "/-"


class HostPart(NamedTuple):
    """IPv6 addresses whose bits behind the first `open_bits` are those of `value`, which has no others."""

    value: int
    open_bits: int

    def __str__(self) -> str:
        return f"{written_address(6, self.value)}{MARK}{self.open_bits}"

    @property
    def mask(self) -> int:
        """The bits that count."""
        return (1 << (_BITS - self.open_bits)) - 1

    def matches(self, family: int, address: int) -> bool:
        """Whether an address has this host part."""
        return family == 6 and address & self.mask == self.value


def read_host_part(cursor: Cursor, token: Token) -> HostPart:
    """A word with `/-` in it. Raises PolicyError."""
    text = token.text
    address_text, _, length_text = text.partition(MARK)
    try:
        address = IPv6Address(address_text)
        if address.scope_id is not None:
            raise ValueError
        value = int(address)
    except ValueError:
        hint = "the bits of the prefix that changes are zero, and how many they are follows: ::10/-64"
        cursor.fail(f"'{text}' is not a host part of IPv6", token, hint)
    open_bits = number(length_text)
    if open_bits is None or not 0 < open_bits < _BITS:
        cursor.fail(
            f"'/-{length_text}' does not say how many bits of a prefix are left open: 1 to 127", token
        )
    part = HostPart(value, open_bits)
    if value & ~part.mask:
        hint = f"did you mean '{HostPart(value & part.mask, open_bits)}'?"
        cursor.fail(f"'{text}' has bits set in the prefix that it leaves open", token, hint)
    return part
