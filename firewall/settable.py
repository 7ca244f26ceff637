# SPDX-License-Identifier: MIT
"""The sets in the kernel: their names in the map `sets`, the prefixes of all of them in the trie `set_elements`.

A prefix is in it once, with a bit for each set that it is an element of; it goes with its last bit. Whoever writes
holds the lock. The packet path may add elements too, and takes none away.
"""

import struct
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from firewall import abi
from firewall.bindings import libbpf_map
from firewall.bpfmap import Map
from firewall.errors import FwError, KernelLacks
from firewall.evaluate import Membership
from firewall.pins import Pins, offset_of
from firewall.progress import counted
from firewall.setfile import KEY_BITS, host_keys

if TYPE_CHECKING:
    from firewall.overloads import Overloads

# struct element: listed, added, bits, timed[3], end_s[3]
_VALUE = struct.Struct("=QQ4B3I")
assert _VALUE.size == abi.Element.SIZE
_COUNTER = struct.Struct("=2Q")  # struct counter
assert _COUNTER.size == abi.Counter.SIZE
NO_DIGEST = bytes(16)
_CHANGED, _OPEN = (offset_of(abi.Control, name) for name in ("sets_changed", "sets_open"))
# The packet path moves the number on by one at a time, and may do so between our reading and our writing it.
_CHANGE_STEP = 256
_BATCH = 16_384
_COLLECTED = 512  # keys that one command looks at for elements whose time is up


class Known(NamedTuple):
    """A set in the kernel. `digest` is of what the policy lists for it; NO_DIGEST if that is not certain."""

    number: int
    digest: bytes
    timeout_s: int
    counters: bool = False


class Value(NamedTuple):
    """The sets that a prefix is in, by their numbers: as bits, and those for a time with its end (boot time)."""

    listed: int = 0
    added: int = 0
    ends_s: Mapping[int, int] = {}

    @classmethod
    def unpack(cls, raw: bytes) -> "Value":
        listed, added, _, one, two, three, *ends = _VALUE.unpack(raw)
        if not any(ends):
            return cls(listed, added)
        return cls(listed, added, {n: end for n, end in zip((one, two, three), ends, strict=True) if end})

    def pack(self, key: bytes) -> bytes:
        """Raises FwError if it is in too many sets for a time."""
        room = int(abi.Limits.ELEMENT_ENDS)
        if len(self.ends_s) > room:
            from firewall.setfile import span_of

            message = f"{span_of(key)} is in {room} sets for a time already, which is the most"
            raise FwError(message, "add it to one of them without --for")
        numbers = [*self.ends_s, 0, 0, 0][:room]
        ends = [*self.ends_s.values(), 0, 0, 0][:room]
        return _VALUE.pack(self.listed, self.added, key[KEY_BITS_AT], *numbers, *ends)

    def live(self, now_s: int) -> "Value":
        """Without what ended before `now_s`."""
        return self._replace(ends_s={n: end for n, end in self.ends_s.items() if end > now_s})

    def without(self, number: int, listed: bool = True) -> "Value":
        """Not in this set; with `listed` False only as far as it was added at run time."""
        keep = ~(1 << number)
        ends_s = {n: end_s for n, end_s in self.ends_s.items() if n != number}
        return Value(self.listed & keep if listed else self.listed, self.added & keep, ends_s)

    def sets(self, now_s: int) -> int:
        """The bits of all sets that the prefix is an element of."""
        bits = self.listed | self.added
        for number, end_s in self.ends_s.items():
            bits |= (end_s > now_s) << number
        return bits


KEY_BITS_AT = 0 if sys.byteorder == "little" else 3  # the low byte of a key's first word
_VALUE_BITS_AT = 16
_FEW = 20_000


class SetTable:
    """The sets of a directory of pins."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._names = pins.map("sets")
        self.elements = pins.map("set_elements")

    @cached_property
    def overloads(self) -> "Overloads":
        """What rules have put into the sets."""
        from firewall.overloads import Overloads

        return Overloads(self._pins)

    def known(self) -> dict[str, Known]:
        """The sets that there are, by name."""
        found = {}
        for key, raw in self._names.items():
            one = abi.Set.unpack(raw)
            name = one.name.split(b"\0")[0].decode()
            if name:
                number = int.from_bytes(key, sys.byteorder)
                found[name] = Known(number, one.digest, one.timeout_s, bool(one.counters))
        return found

    def name(self, name: str, known: Known) -> None:
        """Says what a set is called and what it has."""
        number, digest, timeout_s, counters = known
        one = abi.Set(name=name.encode(), digest=digest, timeout_s=timeout_s, counters=int(counters))
        self._names.update(_key(number), one.pack())

    def forget(self, number: int) -> None:
        """Takes a set away; none of its elements may be left."""
        self._names.update(_key(number), bytes(abi.Set.SIZE))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Each element, raw. What comes meanwhile may be missed; if another writer takes some away, others may be
        told twice.
        """
        return iter(counted("reading sets", raw_items(self.elements, _BATCH)))

    def get(self, key: bytes) -> Value:
        """The sets that exactly this prefix is in."""
        raw = self.elements.lookup(key)  # the longest match
        return Value() if raw is None or raw[_VALUE_BITS_AT] != key[KEY_BITS_AT] else Value.unpack(raw)

    @staticmethod
    def holds(raw: bytes, number: int) -> bool:
        """Whether a raw element is in a set or was until its time was up."""
        value = Value.unpack(raw)
        return bool((value.listed | value.added) >> number & 1) or number in value.ends_s

    def member_bits(self, address: IPv4Address | IPv6Address, listed: bool = True) -> int:
        """The bits of the sets that an address is in now, as the packet path finds them; of those that it was added to
        at run time, if not `listed`.
        """
        family, now, found = address.version, boot_s(), 0
        keys = host_keys(family, int(address))
        for key in keys:
            raw = self.elements.lookup(key)
            if raw is None:
                break
            value = Value.unpack(raw)
            found |= (value if listed else value._replace(listed=0)).sets(now)
            bits = raw[_VALUE_BITS_AT]
            if bits <= KEY_BITS[family]:
                break
            while key[KEY_BITS_AT] != bits:
                key = next(keys)
        return found | self._overloaded(family, int(address), now)

    def _overloaded(self, family: int, address: int, now_s: int) -> int:
        found, last = 0, 0
        for key in host_keys(family, address):
            if last and key[KEY_BITS_AT] >= last:
                continue
            match = self.overloads.match(key)
            if match is None:
                break
            last, ends_s = match
            found |= Value(ends_s=ends_s).sets(now_s)
        return found

    def write(self, values: Iterable[tuple[bytes, Value]]) -> None:
        """Sets what is given for each prefix; those that are in no set any more go. Packets see each at once.

        Running flows hear of it by `changed`, or, if whoever writes is killed before that, within some seconds.
        """
        self._open()
        self._write(values)

    def _open(self) -> None:
        if not self._pins.control.load_u32(_OPEN):
            self._pins.control.store_u32(_OPEN, 1)

    def _write(self, values: Iterable[tuple[bytes, Value]]) -> None:
        gone: list[bytes] = []

        def kept() -> Iterator[tuple[bytes, bytes]]:
            for key, value in values:
                if value.listed or value.added or value.ends_s:
                    yield key, value.pack(key)
                else:
                    gone.append(key)

        self.elements.update_batch(kept())
        self.elements.delete_batch(gone)
        self.forget_counts(gone)

    def forget_counts(self, keys: Collection[bytes]) -> None:
        """Of prefixes that are no elements any more."""
        counters = self._pins.map("element_counters")
        if keys and libbpf_map.next_key(counters.fd, None, counters.key_size) is not None:
            counters.delete_batch(keys)

    def counts(self) -> dict[bytes, tuple[int, int]]:
        """Packets and bytes of those elements that have any."""
        return {key: _COUNTER.unpack(raw) for key, raw in self._pins.map("element_counters").items()}

    def insert(self, keys: Iterable[bytes], value: Value) -> None:
        """Sets the same for many prefixes, of which none is in any set yet."""
        self._open()
        raw = value.pack(bytes(self.elements.key_size))
        # all but the byte that says how long a prefix is
        packed = [raw[:_VALUE_BITS_AT] + bytes([bits]) + raw[_VALUE_BITS_AT + 1 :] for bits in range(256)]
        listed = counted("writing sets", keys)
        self.elements.update_batch((key, packed[key[KEY_BITS_AT]]) for key in listed)

    def find(self, keys: Collection[bytes]) -> dict[bytes, Value]:
        """Those of the prefixes that are in any set; one by one if they are few, else by reading all."""
        if len(keys) > _FEW:
            return {key: Value.unpack(raw) for key, raw in self.items() if key in keys}
        found = ((key, self.get(key)) for key in keys)
        return {key: value for key, value in found if value != Value()}

    def changed(self) -> None:
        """Lets running flows be judged anew at their next packet. Before it returns the change is made."""
        control = self._pins.control
        control.store_u32(_CHANGED, (control.load_u32(_CHANGED) + _CHANGE_STEP) & 0xFFFFFFFF)
        control.store_u32(_OPEN, 0)

    def collect(self) -> None:
        """Removes elements whose time is up among some: those behind where the last call ended."""
        hand, now = self._pins.map("set_hand"), boot_s()
        key: bytes | None = hand.lookup(_key(0))
        stays = None
        over: list[tuple[bytes, Value]] = []
        for _ in range(_COLLECTED):
            key = libbpf_map.next_key(self.elements.fd, key, self.elements.key_size)
            if key is None:
                break
            value = self.get(key)
            live = value.live(now)
            if live != value:
                over.append((key, live))
            if live != Value():
                stays = key
        hand.update(_key(0), (key and stays) or bytes(self.elements.key_size))
        self._write(over)  # who had an end has been judged anew by then


def raw_items(table: Map, batch: int) -> Iterator[tuple[bytes, bytes]]:
    """Each key and value of a trie. What comes meanwhile may be missed; if another writer takes some away, others may
    be told twice.
    """
    size_k, size_v = table.key_size, table.value_size
    try:
        for count, keys, values in libbpf_map.read_batches(table.fd, size_k, size_v, batch):
            for i in range(count):
                yield keys[i * size_k : (i + 1) * size_k], values[i * size_v : (i + 1) * size_v]
    except KernelLacks:  # before 5.13; known at the first call
        yield from table.items()


def membership_of(pins: Pins, listed: bool = True) -> Membership:
    """Which address is in which set now; to which it was added at run time, if not `listed`."""
    table = SetTable(pins)
    known = table.known()

    def member(name: str, address: IPv4Address | IPv6Address) -> bool:
        return name in known and bool(table.member_bits(address, listed) >> known[name].number & 1)

    return member


def boot_s() -> int:
    """Seconds of boot time, as the packet path reads them."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


def _key(index: int) -> bytes:
    return index.to_bytes(4, sys.byteorder)
