# SPDX-License-Identifier: MIT
"""Sets of integers as lists of closed ranges: sorted, apart from each other by at least one number."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

Range = tuple[int, int]

PORT_MAX = 0xFFFF
FULL_PORTS: Range = (0, PORT_MAX)
IPV4_MAPPED_HIGH = 0xFFFF  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2
ADDRESS_MAX = {4: (1 << 32) - 1, 6: (1 << 128) - 1}


def merge(ranges: Iterable[Range]) -> list[Range]:
    """The same numbers in the fewest ranges: overlapping and adjacent ones become one."""
    ordered = sorted(ranges)
    if len(ordered) < 2:
        return ordered
    merged: list[Range] = []
    for low, high in ordered:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def complement(ranges: Sequence[Range], top: int) -> list[Range]:
    """What of 0..`top` is not in `ranges`, which must be merged."""
    gaps: list[Range] = []
    start = 0
    for low, high in ranges:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= top:
        gaps.append((start, top))
    return gaps


def covers(outer: Sequence[Range], inner: Sequence[Range]) -> bool:
    """Whether each number of `inner` is in `outer`; both must be merged."""
    position = 0
    for low, high in inner:
        while position < len(outer) and outer[position][1] < high:
            position += 1
        if position == len(outer) or outer[position][0] > low:
            return False
    return True


def written_address(family: int, value: int) -> str:
    """An address as it is written, by every Python alike."""
    if family == 6 and value >> 32 == IPV4_MAPPED_HIGH:
        # Python 3.13 began to write the low half of these with dots.
        return f"::ffff:{value >> 16 & 0xFFFF:x}:{value & 0xFFFF:x}"
    return str(IPv4Address(value) if family == 4 else IPv6Address(value))
