# SPDX-License-Identifier: MIT
"""The base of the generated classes in `abi`: C structs as Python objects, to bytes and back.

A field is (name, offset, form, count). A form is a `struct` code for a native number, "net16" for
a 16-bit number in network order, "bytes" for `count` raw bytes, or another layout. `count` 0 means a
single value, else a list. Everything starts as zero.
"""

import struct
from typing import Any, ClassVar, Self

Form = str | type["CStruct"]


def _zero(form: Form, count: int) -> Any:
    if form == "bytes":
        return bytes(count)
    if isinstance(form, str):
        return [0] * count if count else 0
    return [form() for _ in range(count)] if count else form()


class CStruct:
    """One C struct; its fields are attributes. SIZE is in bytes."""

    __slots__ = ()
    SIZE: ClassVar[int]
    FIELDS: ClassVar[tuple[tuple[str, int, Form, int], ...]]

    def __init__(self, **values: Any) -> None:
        for name, _, form, count in self.FIELDS:
            setattr(self, name, values.pop(name) if name in values else _zero(form, count))
        if values:
            raise TypeError(f"{type(self).__name__} has no field {next(iter(values))!r}")

    def pack_into(self, buffer: bytearray, base: int) -> None:
        """Write the struct at `base`."""
        for name, offset, form, count in self.FIELDS:
            at, value = base + offset, getattr(self, name)
            if form == "bytes":
                if len(value) > count:
                    raise ValueError(f"{name}: {len(value)} bytes do not fit {count}")
                buffer[at : at + len(value)] = value
            elif form == "net16":
                struct.pack_into(">H", buffer, at, value)
            elif isinstance(form, str):
                if count:
                    struct.pack_into(f"={len(value)}{form}", buffer, at, *value)
                else:
                    struct.pack_into(f"={form}", buffer, at, value)
            elif count:
                for i, item in enumerate(value):
                    item.pack_into(buffer, at + i * form.SIZE)
            else:
                value.pack_into(buffer, at)

    def pack(self) -> bytes:
        """The struct's SIZE bytes."""
        buffer = bytearray(self.SIZE)
        self.pack_into(buffer, 0)
        return bytes(buffer)

    @classmethod
    def unpack(cls, data: bytes, base: int = 0) -> Self:
        """Read the struct at `base` of `data`, which may be longer."""
        self = cls.__new__(cls)
        for name, offset, form, count in cls.FIELDS:
            at = base + offset
            value: Any
            if form == "bytes":
                value = bytes(data[at : at + count])
            elif form == "net16":
                value = data[at] << 8 | data[at + 1]
            elif isinstance(form, str):
                if count:
                    value = list(struct.unpack_from(f"={count}{form}", data, at))
                else:
                    value = struct.unpack_from(f"={form}", data, at)[0]
            elif count:
                value = [form.unpack(data, at + i * form.SIZE) for i in range(count)]
            else:
                value = form.unpack(data, at)
            setattr(self, name, value)
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.pack() == other.pack()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name, *_ in self.FIELDS)
        return f"{type(self).__name__}({fields})"
