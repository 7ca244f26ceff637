# SPDX-License-Identifier: MIT
"""The map calls of libbpf.so.1, one thin wrapper each: ints and bytes in and out. `bpfmap.Map` is their user."""

import ctypes
import errno
from collections.abc import Callable, Iterator
from ctypes import byref, c_uint32

from firewall.bindings.libbpf import (
    BatchOptions,
    Handle,
    MapCreateOptions,
    SampleCallback,
    done,
    functions,
    made,
)
from firewall.errors import fault


def create(kind: int, name: str, key: int, value: int, entries: int, flags: int, inner_fd: int) -> int:
    """fd of a new map; `key` and `value` are sizes in bytes, `inner_fd` a map of maps' template or 0."""
    options = MapCreateOptions(map_flags=flags, inner_map_fd=inner_fd)
    result = functions().bpf_map_create(kind, name.encode(), key, value, entries, byref(options))
    return done(result, f"create map {name}")


def by_id(number: int) -> int:
    """fd of the map with this id."""
    return done(functions().bpf_map_get_fd_by_id(number), f"open map id {number}")


def lookup(fd: int, key: bytes | None, size: int, take: bool = False) -> bytes | None:
    """The `size` bytes stored under `key`, None when it is absent; `take` removes them (queues: no key)."""
    value = ctypes.create_string_buffer(size)
    call = functions().bpf_map_lookup_and_delete_elem if take else functions().bpf_map_lookup_elem
    result = call(fd, key, value)
    if result == -errno.ENOENT:
        return None
    done(result, "read a map entry")
    return value.raw


def _written(result: int, name: str) -> None:
    if result < 0:
        raise fault(-result, f"write to map {name}", "the map is full" if result == -errno.E2BIG else None)


def update(fd: int, name: str, key: bytes | None, value: bytes, flags: int) -> None:
    """Write one entry; `name` is for the error message."""
    _written(functions().bpf_map_update_elem(fd, key, value, flags), name)


def delete(fd: int, key: bytes) -> bool:
    """Remove one entry; False when it was not there."""
    result = functions().bpf_map_delete_elem(fd, key)
    if result == -errno.ENOENT:
        return False
    done(result, "delete a map entry")
    return True


def next_key(fd: int, key: bytes | None, size: int) -> bytes | None:
    """The key after `key` (the first for None, and, in hash maps, for one that has gone); None at the end."""
    following = ctypes.create_string_buffer(size)
    result = functions().bpf_map_get_next_key(fd, key, following)
    if result == -errno.ENOENT:
        return None
    done(result, "read a map's keys")
    return following.raw


def read_batches(fd: int, key_size: int, value_size: int, chunk: int) -> Iterator[tuple[int, bytes, bytes]]:
    """(count, keys, values) until the end of the map, `chunk` entries at a time. KernelLacks: no batch reads.

    A hash map hands out whole buckets; one with more entries than `chunk` is ENOSPC, which asks for room.
    """
    call, options = functions().bpf_map_lookup_batch, BatchOptions()
    place = [ctypes.create_string_buffer(max(key_size, 4)) for _ in range(2)]
    room, started = chunk, False
    keys, values = (ctypes.create_string_buffer(room * size) for size in (key_size, value_size))
    while True:
        count = c_uint32(room)
        result = call(fd, place[0] if started else None, place[1], keys, values, byref(count), byref(options))
        if result == -errno.ENOSPC:
            room *= 2
            keys, values = (ctypes.create_string_buffer(room * size) for size in (key_size, value_size))
            continue
        if result != -errno.ENOENT:
            done(result, "read a map")
        if count.value:
            yield (
                count.value,
                ctypes.string_at(keys, count.value * key_size),
                ctypes.string_at(values, count.value * value_size),
            )
        if result:  # ENOENT: that was the last of it
            return
        place.reverse()
        started = True


def update_batch(fd: int, name: str, count: int, keys: bytes, values: bytes, flags: int) -> None:
    """Write `count` entries, laid end to end, in one call."""
    options = BatchOptions(elem_flags=flags)
    _written(functions().bpf_map_update_batch(fd, keys, values, byref(c_uint32(count)), byref(options)), name)


def delete_batch(fd: int, count: int, keys: bytes) -> tuple[int, bool]:
    """Remove entries in order; (how many went, False when the next key was absent and stopped it)."""
    gone = c_uint32(count)
    result = functions().bpf_map_delete_batch(fd, keys, byref(gone), byref(BatchOptions()))
    if result != -errno.ENOENT:
        done(result, "delete map entries")
    return gone.value, result == 0


def freeze(fd: int) -> None:
    """Forbid further writes from user space."""
    done(functions().bpf_map_freeze(fd), "freeze a map")


def ring_open(fd: int, callback: Callable[[bytes], bool]) -> tuple[Handle, object]:
    """A reader of a ring buffer map, and what must live as long as it. `callback` returns False to stop."""

    def sample(_context: int | None, data: int, size: int) -> int:
        return 0 if callback(ctypes.string_at(data, size)) else -errno.ECANCELED

    kept = SampleCallback(sample)
    return made(functions().ring_buffer__new(fd, kept, None, None), "read a ring buffer"), kept


def ring_poll(ring: Handle, timeout_ms: int) -> int:
    """Wait for records and hand them out; how many. 0 when time, a signal or the callback ended it."""
    return _ring_done(functions().ring_buffer__poll(ring, timeout_ms))


def ring_consume(ring: Handle) -> int:
    """Hand out what is there, without waiting, even if the kernel was not asked to wake us; how many."""
    return _ring_done(functions().ring_buffer__consume(ring))


def _ring_done(result: int) -> int:
    return 0 if result in (-errno.EINTR, -errno.ECANCELED) else done(result, "read a ring buffer")


def ring_epoll_fd(ring: Handle) -> int:
    """Readable when `ring_poll` would not wait."""
    return done(functions().ring_buffer__epoll_fd(ring), "watch a ring buffer")


def ring_close(ring: Handle) -> None:
    """Stop reading."""
    functions().ring_buffer__free(ring)
