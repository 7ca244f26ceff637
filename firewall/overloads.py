# SPDX-License-Identifier: MIT
"""What `overload` of rules has put into sets: the prefixes in the trie `overloads`, to which the packet path adds."""

import struct
from collections.abc import Collection, Iterator, Mapping

from firewall import abi
from firewall.pins import Pins
from firewall.settable import KEY_BITS_AT, SetTable, raw_items

# struct overload: place, bits, timed[3], end_s[3]
_VALUE = struct.Struct("=I4B3I")
assert _VALUE.size == abi.Overload.SIZE
_BITS_AT = 4
_BATCH = 4096


class Overloads:
    """Of a directory of pins. Each prefix has the sets that it is in, by number, and when that ends (boot time, in
    seconds), which may be over.
    """

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._map = pins.map("overloads")

    def items(self) -> Iterator[tuple[bytes, Mapping[int, int]]]:
        """All of them. What comes meanwhile may be missed."""
        for key, raw in raw_items(self._map, _BATCH):
            yield key, _ends(raw)

    def match(self, key: bytes) -> tuple[int, Mapping[int, int]] | None:
        """The longest prefix around one: how many bits its key has, and its sets."""
        raw = self._map.lookup(key)
        return None if raw is None else (raw[_BITS_AT], _ends(raw))

    def of(self, number: int, now_s: int) -> dict[bytes, int]:
        """What is in a set yet, and when that ends."""
        return {key: ends[number] for key, ends in self.items() if ends.get(number, 0) > now_s}

    def release(self, keys: Collection[bytes], number: int) -> None:
        """Takes prefixes out of a set. Who is put into one in this very moment may have to pass the ceiling again."""
        for key in keys:
            raw = self._map.lookup(key)
            if raw is None or raw[_BITS_AT] != key[KEY_BITS_AT]:
                continue
            place, bits, *rest = _VALUE.unpack(raw)
            numbers, ends = rest[:3], rest[3:]
            ends = [0 if of == number else end for of, end in zip(numbers, ends, strict=True)]
            if any(ends):
                self._map.update(key, _VALUE.pack(place, bits, *numbers, *ends))
            else:
                self._map.delete(key)
                SetTable(self._pins).forget_counts([key])


def _ends(raw: bytes) -> Mapping[int, int]:
    _, _, one, two, three, *ends = _VALUE.unpack(raw)
    return {number: end_s for number, end_s in zip((one, two, three), ends, strict=True) if end_s}
