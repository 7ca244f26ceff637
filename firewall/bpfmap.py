# SPDX-License-Identifier: MIT
"""BPF maps and what is read from them: entries, mapped memory, ring buffers."""

import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from itertools import islice
from types import TracebackType
from typing import Self

from firewall.bindings import libbpf, libbpf_map
from firewall.errors import KernelLacks, fault

ANY, NOEXIST, EXIST = 0, 1, 2  # how an update treats a key that is there
F_NO_PREALLOC, F_MMAPABLE, F_INNER_MAP = 1 << 0, 1 << 10, 1 << 12

_BATCH = 16_384  # entries a call
_AnyPath = str | os.PathLike[str]

possible_cpus = libbpf.possible_cpus


class MapType(IntEnum):
    """enum bpf_map_type, as far as fw uses or tests it."""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    QUEUE = 22
    RINGBUF = 27


_PER_CPU = (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)
# Their batch cursor only moves forward: a reading ends, and meets each key once, whatever happens meanwhile.
_BATCH_READS = (MapType.HASH, MapType.ARRAY, MapType.LRU_HASH, *_PER_CPU)


class Owned:
    """A file descriptor that is closed with its owner."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Give up the descriptor. What is pinned, or in use elsewhere, lives on."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def pin(self, path: _AnyPath) -> None:
        """Give it a name in a bpffs, which keeps it alive; an existing name is KernelRefused with EEXIST."""
        libbpf.pin(self.fd, os.fspath(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()


class Map(Owned):
    """A BPF map. Keys and values are bytes of exactly `key_size` and `raw_value_size`.

    In a per-CPU map a raw value is one value for each possible CPU, padded to 8 bytes: see `split_percpu`.
    In a map of maps it is a u32: written as a map's fd, read as its id.
    """

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        facts = struct.unpack("=6I16s", libbpf.object_info(fd, 40))  # struct bpf_map_info
        self.type, self.id, self.key_size, self.value_size, self.max_entries, self.flags = facts[:6]
        self.name: str = facts[6].split(b"\0")[0].decode()
        self._stride = -(-self.value_size // 8) * 8
        self.raw_value_size = self._stride * possible_cpus() if self.type in _PER_CPU else self.value_size

    def _checked_key(self, key: bytes) -> bytes:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: a key of {len(key)} bytes, not {self.key_size}")
        return key

    def _checked_value(self, value: bytes) -> bytes:
        if len(value) != self.raw_value_size:
            raise ValueError(f"map {self.name}: a value of {len(value)} bytes, not {self.raw_value_size}")
        return value

    def lookup(self, key: bytes) -> bytes | None:
        """The raw value, or None when the key is absent."""
        return libbpf_map.lookup(self.fd, self._checked_key(key), self.raw_value_size)

    def lookup_percpu(self, key: bytes) -> list[bytes]:
        """One value a possible CPU; none when the key is absent."""
        return self.split_percpu(self.lookup(key) or b"")

    def split_percpu(self, raw: bytes) -> list[bytes]:
        """A per-CPU map's raw value, cut up: one value a possible CPU, without padding."""
        return [raw[at : at + self.value_size] for at in range(0, len(raw), self._stride)]

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Write an entry. KernelRefused with errno EEXIST (NOEXIST), ENOENT (EXIST) or E2BIG (full)."""
        libbpf_map.update(self.fd, self.name, self._checked_key(key), self._checked_value(value), flags)

    def delete(self, key: bytes) -> bool:
        """Remove an entry; False when it was not there."""
        return libbpf_map.delete(self.fd, self._checked_key(key))

    def push(self, value: bytes) -> None:
        """Append to a queue. KernelRefused with errno E2BIG when it is full."""
        libbpf_map.update(self.fd, self.name, None, self._checked_value(value), ANY)

    def pop(self) -> bytes | None:
        """Take from a queue what is oldest; None when it is empty."""
        return libbpf_map.lookup(self.fd, None, self.value_size, take=True)

    def keys(self) -> Iterator[bytes]:
        """Each key, once."""
        return (key for key, _ in self.items())

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Each entry, once, as (key, raw value). What comes or goes meanwhile may be missed.

        Reading does not disturb an LRU map's order.
        """
        if self.type in _BATCH_READS:
            chunk, k, v = min(self.max_entries, _BATCH), self.key_size, self.raw_value_size
            try:
                for count, keys, values in libbpf_map.read_batches(self.fd, k, v, chunk):
                    for i in range(count):
                        yield keys[i * k : (i + 1) * k], values[i * v : (i + 1) * v]
                return
            except KernelLacks:
                pass  # per-CPU arrays before 5.13: known at the first call, when nothing has been given out
        for key in self._walk_keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def reads_batches(self) -> bool:
        """Whether the kernel reads such a map many entries at a time."""
        try:
            next(libbpf_map.read_batches(self.fd, self.key_size, self.raw_value_size, 1), None)
        except KernelLacks:
            return False
        return True

    def _walk_keys(self) -> Iterator[bytes]:
        # The walk starts over whenever the key that it stands on has gone: under constant change it might not
        # end. So keys are told once, and the steps are bounded.
        seen: set[bytes] = set()
        key: bytes | None = None
        for _ in range(2 * self.max_entries + 1024):
            key = libbpf_map.next_key(self.fd, key, self.key_size)
            if key is None:
                return
            if key not in seen:
                seen.add(key)
                yield key

    def update_batch(self, pairs: Iterable[tuple[bytes, bytes]], flags: int = ANY) -> int:
        """Write many entries; how many. It may stop in the middle, with the error that `update` has."""
        total, rest = 0, iter(pairs)
        while chunk := list(islice(rest, _BATCH)):
            keys = b"".join(self._checked_key(key) for key, _ in chunk)
            values = b"".join(self._checked_value(value) for _, value in chunk)
            try:
                libbpf_map.update_batch(self.fd, self.name, len(chunk), keys, values, flags)
            except KernelLacks:
                for key, value in chunk:
                    self.update(key, value, flags)
            total += len(chunk)
        return total

    def delete_batch(self, keys: Iterable[bytes]) -> int:
        """Remove many entries; how many were there."""
        total, rest = 0, iter(keys)
        while chunk := list(islice(rest, _BATCH)):
            raw = b"".join(map(self._checked_key, chunk))
            try:
                while raw:
                    gone, all_there = libbpf_map.delete_batch(self.fd, len(raw) // self.key_size, raw)
                    total += gone
                    raw = b"" if all_there else raw[(gone + 1) * self.key_size :]
            except KernelLacks:
                total += sum(map(self.delete, chunk))
        return total

    def set_inner(self, key: bytes, inner: "Map") -> None:
        """Put a map into a map of maps. Returns when no program can still use the one that it replaces."""
        self.update(key, struct.pack("=I", inner.fd))

    def lookup_inner(self, key: bytes) -> "Map | None":
        """The map at `key` of a map of maps."""
        raw = self.lookup(key)
        return map_by_id(struct.unpack("=I", raw)[0]) if raw else None

    def drop_inner(self, key: bytes) -> bool:
        """Take a map out of a map of maps; whether there was one. Returns when no program can still use it."""
        held = self.lookup_inner(key)  # kernels before 6.8 would free it while it is in use
        if held is not None:
            with held:
                self.delete(key)
        return held is not None

    def freeze(self) -> None:
        """Forbid all further writes from user space."""
        libbpf_map.freeze(self.fd)

    def mmap(self) -> "MappedArray":
        """The memory of an array made with F_MMAPABLE."""
        return MappedArray(self.fd, self._stride, self._stride * self.max_entries)


class MappedArray:
    """The memory of an array map, shared with the kernel. Entry i begins at byte `i * stride`.

    A u32 or u64 is written in a single machine store: a program sees the old word or the new one.
    """

    def __init__(self, fd: int, stride: int, size: int) -> None:
        self.stride = stride
        try:
            self._memory = mmap.mmap(fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        except OSError as error:
            raise fault(error.errno or 0, "map an array's memory") from error
        self._bytes = memoryview(self._memory)
        # Stores through these views are one aligned C assignment each (CPython's pack_single).
        self._u32, self._u64 = self._bytes.cast("I"), self._bytes.cast("Q")

    @staticmethod
    def _index(offset: int, size: int) -> int:
        if offset % size:
            raise ValueError(f"offset {offset} is not a multiple of {size}")
        return offset // size

    def load_u32(self, offset: int) -> int:
        """The u32 at byte `offset`, a multiple of 4."""
        return self._u32[self._index(offset, 4)]

    def store_u32(self, offset: int, value: int) -> None:
        """Write the u32 at byte `offset`, a multiple of 4, in one store."""
        self._u32[self._index(offset, 4)] = value

    def store_u64(self, offset: int, value: int) -> None:
        """Write the u64 at byte `offset`, a multiple of 8, in one store (on 64-bit machines)."""
        self._u64[self._index(offset, 8)] = value

    def read(self, offset: int, size: int) -> bytes:
        """A copy of some bytes; others may be writing them."""
        return bytes(self._bytes[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes, in no particular order: for what no program reads yet."""
        self._bytes[offset : offset + len(data)] = data

    def close(self) -> None:
        """Unmap it."""
        for view in (self._u32, self._u64, self._bytes):
            view.release()
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


class RingBuffer:
    """A reader of a ring buffer map: hands each record to `callback`, in the order of their making.

    What the callback raises ends the round and comes out of `poll` or `consume`; that record is not repeated.
    """

    def __init__(self, ring_map: Map, callback: Callable[[bytes], object]) -> None:
        self._callback = callback
        self._raised: BaseException | None = None
        self._ring, self._kept = libbpf_map.ring_open(ring_map.fd, self._one)
        self.epoll_fd = libbpf_map.ring_epoll_fd(self._ring)

    def _one(self, record: bytes) -> bool:
        # An exception cannot travel through the C frames between here and `poll`.
        try:
            self._callback(record)
        except BaseException as error:
            self._raised = error
            return False
        return True

    def _reraise(self, count: int) -> int:
        if self._raised:
            error, self._raised = self._raised, None
            raise error
        return count

    def poll(self, timeout_ms: int) -> int:
        """Wait for records (-1: as long as it takes); how many there were. A signal ends the wait with 0."""
        return self._reraise(libbpf_map.ring_poll(self._ring, timeout_ms))

    def consume(self) -> int:
        """Take what is there without waiting; how many records."""
        return self._reraise(libbpf_map.ring_consume(self._ring))

    def close(self) -> None:
        """Stop reading. Records not yet taken stay in the map."""
        if self._ring:
            libbpf_map.ring_close(self._ring)
            self._ring = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def create_map(
    kind: MapType,
    name: str,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    *,
    inner: Map | None = None,
) -> Map:
    """A new map. `name` has at most 15 characters; `inner` is the template for what a map of maps holds."""
    inner_fd = inner.fd if inner else 0
    return Map(libbpf_map.create(kind, name, key_size, value_size, max_entries, flags, inner_fd))


def open_pinned(path: _AnyPath) -> Map:
    """The map that is pinned there; NotLoaded when nothing is."""
    return Map(libbpf.open_pin(os.fspath(path)))


def map_by_id(number: int) -> Map:
    """The map with this id; KernelRefused with errno ENOENT when it has gone."""
    return Map(libbpf_map.by_id(number))
