# SPDX-License-Identifier: MIT
"""The object file calls of libbpf.so.1, one thin wrapper each. `bpfobject.Object` is their user."""

import ctypes
import os
from collections.abc import Callable, Iterator
from ctypes import byref, c_size_t, c_uint32

from firewall.bindings.libbpf import Handle, OpenOptions, done, functions, made, messages

BTF_KIND_DATASEC = 15  # include/uapi/linux/btf.h


def open_file(path: str, name: str | None) -> Handle:
    """Read an object file; `name` (its file name's) begins the names of its .rodata and .data maps."""
    messages.lines.clear()
    options = OpenOptions(object_name=name.encode() if name else None)
    return made(functions().bpf_object__open_file(os.fsencode(path), byref(options)), f"open {path}")


def load(handle: Handle) -> int:
    """Create the maps, load the programs. 0 or an errno: what it means is in `messages`."""
    messages.lines.clear()
    result: int = functions().bpf_object__load(handle)
    return -result


def close(handle: Handle) -> None:
    """Free it; what was pinned, attached or duplicated stays."""
    functions().bpf_object__close(handle)


def _each(step: Callable[[Handle, Handle | None], Handle | None], handle: Handle) -> Iterator[Handle]:
    at = step(handle, None)
    while at:
        yield at
        at = step(handle, at)


def programs(handle: Handle) -> list[tuple[str, Handle]]:
    """Name and handle of each program."""
    lib = functions()
    return [(lib.bpf_program__name(p).decode(), p) for p in _each(lib.bpf_object__next_program, handle)]


def maps(handle: Handle) -> list[tuple[str, Handle]]:
    """Name and handle of each map; the name of a data section begins with its dot."""
    lib, found = functions(), []
    for each in _each(lib.bpf_object__next_map, handle):
        name = lib.bpf_map__name(each).decode()
        found.append((name[name.find(".") :] if lib.bpf_map__is_internal(each) else name, each))
    return found


def program_fd(program: Handle) -> int:
    """The fd that libbpf holds; negative when the program was not loaded."""
    fd: int = functions().bpf_program__fd(program)
    return fd


def set_autoload(program: Handle, load: bool) -> None:
    """Say whether `load` loads this program."""
    done(functions().bpf_program__set_autoload(program, load), "choose the programs to load")


def map_fd(each: Handle) -> int:
    """The fd that libbpf holds; negative when the map was not created."""
    fd: int = functions().bpf_map__fd(each)
    return fd


def set_max_entries(each: Handle, entries: int) -> None:
    """Size a map before it is created."""
    done(functions().bpf_map__set_max_entries(each, entries), "size a map")


def reuse_fd(each: Handle, fd: int) -> None:
    """Let the object use an existing map instead of making one."""
    done(functions().bpf_map__reuse_fd(each, fd), "share a map")


def initial_value(each: Handle) -> bytes:
    """What a data section holds before loading."""
    size = c_size_t()
    address = functions().bpf_map__initial_value(each, byref(size))
    return ctypes.string_at(made(address, "read a data section"), size.value)


def set_initial_value(each: Handle, data: bytes) -> None:
    """Set what a data section holds; all of it."""
    done(functions().bpf_map__set_initial_value(each, data, len(data)), "write a data section")


def datasec_variables(handle: Handle, section: str) -> dict[str, tuple[int, int]]:
    """name → (offset, size in bytes) of a section's variables, from the object's BTF."""
    lib = functions()
    btf = lib.bpf_object__btf(handle)
    number = lib.btf__find_by_name_kind(btf, section.encode(), BTF_KIND_DATASEC)
    if number < 0:
        return {}
    # struct btf_type { name_off; info, its low 16 bits a count; size }, then so many { type; offset; size }.
    kind = (c_uint32 * 3).from_address(lib.btf__type_by_id(btf, number))
    entries = (c_uint32 * (3 * (kind[1] & 0xFFFF))).from_address(ctypes.addressof(kind) + 12)
    found = {}
    for i in range(0, len(entries), 3):
        name_offset = c_uint32.from_address(lib.btf__type_by_id(btf, entries[i])).value
        found[lib.btf__name_by_offset(btf, name_offset).decode()] = entries[i + 1], entries[i + 2]
    return found
