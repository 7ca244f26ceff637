# SPDX-License-Identifier: MIT
"""What the kernel says of the types of a map's keys and values: BTF, Documentation/bpf/btf.rst.

Only what the layouts of maps are made of is read: structs, arrays, numbers and names for these.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from firewall.bindings import libbpf
from firewall.bpfmap import Map
from firewall.layout import CStruct

# enum of BTF_KIND_*, and how many bytes follow a type's first twelve: so many, and so many for each member.
_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF, _VOLATILE, _CONST = 1, 3, 4, 5, 6, 8, 9, 10
_FOLLOWING = {1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12)}
_FOLLOWING |= {17: (4, 0), 19: (0, 12)}
_NAMES_FOR = (_TYPEDEF, _VOLATILE, _CONST)
_MAGIC = 0xEB9F

Shape = Mapping[str, tuple[int, int]]
"""Where each field is, and its size, both in bytes. Fields in structs and arrays are named like "side.0.ack"."""


class _Type(NamedTuple):
    kind: int
    size: int  # or the id of another type
    members: tuple[
        tuple[str, int, int], ...
    ]  # name, id of its type, offset in bits; of an array its one element
    elements: int = 0


class Types:
    """The types of one object, by id."""

    def __init__(self, raw: bytes) -> None:
        """Raises ValueError if it is not BTF."""
        magic, _, _, header, type_at, type_size, names_at, _ = struct.unpack_from("=HBBIIIII", raw)
        if magic != _MAGIC:
            raise ValueError("not BTF of this machine")
        self._names = raw[header + names_at :]
        self._types = [_Type(0, 0, ())]
        at, end = header + type_at, header + type_at + type_size
        while at < end:
            _, info, size = struct.unpack_from("=III", raw, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            fixed, each = _FOLLOWING.get(kind, (0, 0))
            at += 12
            self._types.append(self._read(raw, at, kind, count, size, bool(info >> 31)))
            at += fixed + each * count

    def shape(self, type_id: int) -> Shape:
        """The fields of a struct that are numbers or arrays of numbers."""
        return dict(self._fields(type_id, "", 0))

    def _read(self, raw: bytes, at: int, kind: int, count: int, size: int, has_bits: bool) -> _Type:
        if kind in (_STRUCT, _UNION):
            found = [struct.unpack_from("=III", raw, at + 12 * i) for i in range(count)]
            offsets = 0xFFFFFF if has_bits else 0xFFFFFFFF
            members = tuple((self._name(name), type_id, bits & offsets) for name, type_id, bits in found)
            return _Type(kind, size, members)
        if kind == _ARRAY:
            element, _, elements = struct.unpack_from("=III", raw, at)
            return _Type(kind, 0, (("", element, 0),), elements)
        return _Type(kind, size, ())

    def _fields(self, type_id: int, path: str, at: int) -> Iterator[tuple[str, tuple[int, int]]]:
        found = self._plain(type_id)
        if found.kind == _STRUCT:
            for name, member, bits in found.members:
                yield from self._fields(member, f"{path}.{name}" if path else name, at + bits // 8)
        elif found.kind == _ARRAY and self._plain(found.members[0][1]).kind == _STRUCT:
            element = found.members[0][1]
            for i in range(found.elements):
                yield from self._fields(element, f"{path}.{i}", at + i * self._size(element))
        else:
            yield path, (at, self._size(type_id))

    def _size(self, type_id: int) -> int:
        found = self._plain(type_id)
        return found.elements * self._size(found.members[0][1]) if found.kind == _ARRAY else found.size

    def _plain(self, type_id: int) -> _Type:
        found = self._types[type_id]
        while found.kind in _NAMES_FOR:
            found = self._types[found.size]
        return found

    def _name(self, at: int) -> str:
        return self._names[at : self._names.index(b"\0", at)].decode()


def shapes_of(of: Map) -> tuple[Shape, Shape] | None:
    """The shapes of a map's keys and values; None if the kernel has not been told."""
    # struct bpf_map_info: btf_id, btf_key_type_id, btf_value_type_id
    btf_id, key_type, value_type = struct.unpack_from("=3I", libbpf.object_info(of.fd, 80), 64)
    if not btf_id or not value_type:
        return None
    types = Types(libbpf.btf_data(btf_id))
    return types.shape(key_type), types.shape(value_type)


def shape_of(layout: type[CStruct]) -> Shape:
    """The shape that a struct has in this version."""
    return dict(_our_fields(layout, "", 0))


def _our_fields(layout: type[CStruct], path: str, at: int) -> Iterator[tuple[str, tuple[int, int]]]:
    for name, offset, form, count in layout.FIELDS:
        where = f"{path}.{name}" if path else name
        if not isinstance(form, str):
            for i in range(count or 1):
                inner = f"{where}.{i}" if count else where
                yield from _our_fields(form, inner, at + offset + i * form.SIZE)
            continue
        each = {"bytes": 1, "net16": 2}.get(form) or struct.calcsize(f"={form}")
        yield where, (at + offset, each * (count or 1))
