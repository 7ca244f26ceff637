# SPDX-License-Identifier: MIT
"""Binding of the system's libbpf.so.1 (1.0 or later): one thin wrapper for each call that fw makes.

Maps and object files have theirs in `libbpf_map` and `libbpf_object`. Wrappers take and give ints, bytes and
opaque handles; `bpfmap`, `bpfprog` and `bpfobject` make classes of them. The library is opened at the first
call. Failures are exceptions. libbpf's own messages are kept in `messages` and never reach stderr, unless
FW_LIBBPF_DEBUG=1.
"""

import ctypes
import errno
import functools
import os
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

from firewall.errors import FwError, KernelLacks, KernelRefused, NotLoaded, fault

BPF_F_BEFORE = 1 << 3
_DEBUG = 2  # enum libbpf_print_level
_LIBBPF_ERRORS = 4000  # enum libbpf_errno begins here

Handle = int  # address of a struct that libbpf owns

_PrintCallback = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
SampleCallback = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)


# Option structs carry their own size: a prefix of what a newer libbpf has is valid too (libbpf_common.h).
class _Options(ctypes.Structure):
    def __init__(self, **fields: Any) -> None:
        super().__init__(sz=ctypes.sizeof(self), **fields)


class OpenOptions(_Options):
    """struct bpf_object_open_opts (libbpf.h), its beginning."""

    _fields_ = (("sz", c_size_t), ("object_name", c_char_p))


class MapCreateOptions(_Options):
    """struct bpf_map_create_opts (bpf.h), its beginning."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
    )


class BatchOptions(_Options):
    """struct bpf_map_batch_opts (bpf.h)."""

    _fields_ = (("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64))


class LinkCreateOptions(_Options):
    """struct bpf_link_create_opts (bpf.h), its beginning."""

    _fields_ = (("sz", c_size_t), ("flags", c_uint32), ("pad", c_uint32))


class TestRunOptions(_Options):
    """struct bpf_test_run_opts (bpf.h), its beginning."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_char_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_char_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
    )


_PROTOTYPES: dict[str, tuple[Any, ...]] = {  # name: (result, arguments...)
    "libbpf_set_print": (c_void_p, _PrintCallback),
    "libbpf_strerror": (c_int, c_int, c_char_p, c_size_t),
    "libbpf_version_string": (c_char_p,),
    "libbpf_num_possible_cpus": (c_int,),
    "bpf_map_create": (c_int, c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(MapCreateOptions)),
    "bpf_map_lookup_elem": (c_int, c_int, c_char_p, c_void_p),
    "bpf_map_lookup_and_delete_elem": (c_int, c_int, c_char_p, c_void_p),
    "bpf_map_update_elem": (c_int, c_int, c_char_p, c_char_p, c_uint64),
    "bpf_map_delete_elem": (c_int, c_int, c_char_p),
    "bpf_map_get_next_key": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_lookup_batch": (c_int, c_int, *[c_void_p] * 4, POINTER(c_uint32), POINTER(BatchOptions)),
    "bpf_map_update_batch": (c_int, c_int, c_char_p, c_char_p, POINTER(c_uint32), POINTER(BatchOptions)),
    "bpf_map_delete_batch": (c_int, c_int, c_char_p, POINTER(c_uint32), POINTER(BatchOptions)),
    "bpf_map_freeze": (c_int, c_int),
    "bpf_map_get_fd_by_id": (c_int, c_uint32),
    "bpf_prog_get_fd_by_id": (c_int, c_uint32),
    "bpf_btf_get_fd_by_id": (c_int, c_uint32),
    "bpf_obj_pin": (c_int, c_int, c_char_p),
    "bpf_obj_get": (c_int, c_char_p),
    "bpf_obj_get_info_by_fd": (c_int, c_int, c_void_p, POINTER(c_uint32)),
    "bpf_prog_load": (c_int, c_int, c_char_p, c_char_p, c_char_p, c_size_t, c_void_p),
    "bpf_prog_test_run_opts": (c_int, c_int, POINTER(TestRunOptions)),
    "bpf_prog_query": (c_int, c_int, c_int, c_uint32, c_void_p, c_void_p, POINTER(c_uint32)),
    "bpf_link_create": (c_int, c_int, c_int, c_int, POINTER(LinkCreateOptions)),
    "bpf_link_update": (c_int, c_int, c_int, c_void_p),
    "bpf_link_detach": (c_int, c_int),
    "bpf_object__open_file": (c_void_p, c_char_p, POINTER(OpenOptions)),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__btf": (c_void_p, c_void_p),
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_object__next_map": (c_void_p, c_void_p, c_void_p),
    "bpf_program__name": (c_char_p, c_void_p),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__set_autoload": (c_int, c_void_p, ctypes.c_bool),
    "bpf_map__name": (c_char_p, c_void_p),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__is_internal": (ctypes.c_bool, c_void_p),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
    "bpf_map__initial_value": (c_void_p, c_void_p, POINTER(c_size_t)),
    "bpf_map__set_initial_value": (c_int, c_void_p, c_char_p, c_size_t),
    "btf__find_by_name_kind": (c_int, c_void_p, c_char_p, c_uint32),
    "btf__type_by_id": (c_void_p, c_void_p, c_uint32),
    "btf__name_by_offset": (c_char_p, c_void_p, c_uint32),
    "ring_buffer__new": (c_void_p, c_int, SampleCallback, c_void_p, c_void_p),
    "ring_buffer__free": (None, c_void_p),
    "ring_buffer__poll": (c_int, c_void_p, c_int),
    "ring_buffer__consume": (c_int, c_void_p),
    "ring_buffer__epoll_fd": (c_int, c_void_p),
}

_MISSING = (
    "libbpf.so.1 is not installed",
    "install the package libbpf1 (Debian, Ubuntu) or libbpf (Fedora, Arch, Alpine, OpenWrt)",
)


class _Messages(threading.local):
    def __init__(self) -> None:
        self.lines: list[str] = []


messages = _Messages()  # this thread's warnings and verifier logs since it last opened or loaded an object


def _keep(level: int, form: bytes, arguments: int | None) -> int:
    # Formatting is left to C: a va_list is opaque, and may be read only once.
    if level >= _DEBUG and not _debugging:
        return 0
    text = c_char_p()
    if _vasprintf(byref(text), form, arguments) < 0:
        return 0
    line = (text.value or b"").decode(errors="replace")
    _free(text)
    messages.lines.append(line)
    if _debugging:
        sys.stderr.write(line)
    return 0


_keep_callback = _PrintCallback(_keep)
_debugging = os.environ.get("FW_LIBBPF_DEBUG") == "1"
_libc = ctypes.CDLL(None)
_vasprintf, _free = _libc.vasprintf, _libc.free
_vasprintf.argtypes, _free.argtypes = (POINTER(c_char_p), c_char_p, c_void_p), (c_char_p,)
_free.restype = None


@functools.cache
def functions() -> ctypes.CDLL:
    """The opened libbpf.so.1, with the types of all its calls set. KernelLacks when it is not installed."""
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise KernelLacks(*_MISSING) from error
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.libbpf_set_print(_keep_callback)
    return lib


def _fault(err: int, what: str) -> FwError:
    if err < _LIBBPF_ERRORS:
        return fault(err, what)
    text = ctypes.create_string_buffer(128)
    functions().libbpf_strerror(-err, text, len(text))
    return KernelRefused(f"cannot {what}: {text.value.decode()}")


def done(result: int, what: str) -> int:
    """`result`, unless it is a negative errno, which becomes an exception."""
    if result < 0:
        raise _fault(-result, what)
    return result


def made(handle: int | None, what: str) -> Handle:
    """`handle`, unless it is NULL, whose errno becomes an exception."""
    if not handle:
        raise _fault(ctypes.get_errno(), what)
    return handle


def version() -> str:
    """libbpf's own version, like "v1.1"; for people to read."""
    text: bytes = functions().libbpf_version_string()
    return text.decode()


@functools.cache
def possible_cpus() -> int:
    """How many values an entry of a per-CPU map has."""
    return done(functions().libbpf_num_possible_cpus(), "count the CPUs")


def object_info(fd: int, size: int) -> bytes:
    """The first `size` bytes of struct bpf_{map,prog,link}_info; zero where the kernel has none."""
    info, length = ctypes.create_string_buffer(size), c_uint32(size)
    done(functions().bpf_obj_get_info_by_fd(fd, info, byref(length)), "ask for a BPF object's facts")
    return info.raw


def btf_data(number: int) -> bytes:
    """The BTF with this id."""
    fd = done(functions().bpf_btf_get_fd_by_id(number), f"open BTF id {number}")
    try:
        # struct bpf_btf_info: the data's address, and how much there is room for
        size = int.from_bytes(object_info(fd, 16)[8:12], sys.byteorder)
        info, data = ctypes.create_string_buffer(16), ctypes.create_string_buffer(size)
        c_uint64.from_buffer(info, 0).value = ctypes.addressof(data)
        c_uint32.from_buffer(info, 8).value = size
        done(functions().bpf_obj_get_info_by_fd(fd, info, byref(c_uint32(16))), "read BTF")
    finally:
        os.close(fd)
    return data.raw


def pin(fd: int, path: str) -> None:
    """Give a map, program or link a name in a bpffs, which keeps it alive."""
    done(functions().bpf_obj_pin(fd, os.fsencode(path)), f"pin {path}")


def open_pin(path: str) -> int:
    """A new fd for what is pinned at `path`. NotLoaded when nothing is."""
    result: int = functions().bpf_obj_get(os.fsencode(path))
    if result == -errno.ENOENT:
        missing = NotLoaded(f"nothing is pinned at {path}")
        missing.errno = errno.ENOENT
        raise missing
    return done(result, f"open {path}")


def program_by_id(number: int) -> int:
    """fd of the program with this id."""
    return done(functions().bpf_prog_get_fd_by_id(number), f"open program id {number}")


def program_load(kind: int, name: str, instructions: bytes) -> int:
    """fd of a program of raw instructions, 8 bytes each."""
    count = len(instructions) // 8
    result = functions().bpf_prog_load(kind, name.encode(), b"GPL", instructions, count, None)
    return done(result, f"load program {name}")


def program_map_ids(fd: int, most: int) -> tuple[int, ...]:
    """Ids of the maps that a program uses, `most` at most."""
    # struct bpf_prog_info: nr_map_ids is the u32 at byte 52, map_ids the pointer at byte 56.
    info, ids = ctypes.create_string_buffer(64), (c_uint32 * most)()
    c_uint32.from_buffer(info, 52).value = most
    c_uint64.from_buffer(info, 56).value = ctypes.addressof(ids)
    done(functions().bpf_obj_get_info_by_fd(fd, info, byref(c_uint32(len(info)))), "ask for a program's maps")
    return tuple(ids[: c_uint32.from_buffer(info, 52).value])


def program_test_run(
    fd: int, data: bytes, ctx: bytes | None, repeat: int, data_out_size: int, ctx_out_size: int
) -> tuple[int, bytes, int, bytes]:
    """Run a program on a packet: (return value, packet after it, ns of an average run, context after it)."""
    data_out, ctx_out = ctypes.create_string_buffer(data_out_size), ctypes.create_string_buffer(ctx_out_size)
    options = TestRunOptions(
        data_in=data,
        data_size_in=len(data),
        data_out=ctypes.addressof(data_out),
        data_size_out=data_out_size,
        ctx_in=ctx,
        ctx_size_in=len(ctx or b""),
        ctx_out=ctypes.addressof(ctx_out) if ctx_out_size else None,
        ctx_size_out=ctx_out_size,
        repeat=repeat,
    )
    done(functions().bpf_prog_test_run_opts(fd, byref(options)), f"run a program on {len(data)} bytes")
    after, ctx_after = data_out.raw[: options.data_size_out], ctx_out.raw[: options.ctx_size_out]
    return options.retval, after, options.duration, ctx_after


def program_query(ifindex: int, attach_type: int) -> tuple[int, ...]:
    """Ids of the programs attached there, in the order in which they run."""
    room = 16
    while True:
        ids, count = (c_uint32 * room)(), c_uint32(room)
        result = functions().bpf_prog_query(ifindex, attach_type, 0, None, ids, byref(count))
        if result != -errno.ENOSPC:
            done(result, f"list the programs on interface {ifindex}")
            return tuple(ids[: count.value])
        room *= 4


def link_create(program_fd: int, ifindex: int, attach_type: int, first: bool) -> int:
    """fd of a link that runs the program there: before all others, or after them."""
    options = LinkCreateOptions(flags=BPF_F_BEFORE if first else 0)
    result = functions().bpf_link_create(program_fd, ifindex, attach_type, byref(options))
    return done(result, f"attach to interface {ifindex}")


def link_update(fd: int, program_fd: int) -> None:
    """Put another program in a link's place, between two packets."""
    done(functions().bpf_link_update(fd, program_fd, None), "replace an attached program")


def link_detach(fd: int) -> None:
    """End a link, whoever else holds it."""
    done(functions().bpf_link_detach(fd), "detach a program")
