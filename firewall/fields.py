# SPDX-License-Identifier: MIT
"""Some fields of a C struct read at once, for tables too long to make an object of every entry."""

import struct

from firewall.layout import CStruct


def picker(layout: type[CStruct], *paths: str) -> struct.Struct:
    """A `struct.Struct` of the size of `layout` that unpacks only the fields at `paths`, which are in its
    order.

    A path is a field's name, or "field.index.field" into an array of structs, as in "side.0.seen_j". A port
    in network order comes as two bytes.
    """
    codes, at = ["="], 0
    for path in paths:
        offset, size, code = _find(layout, path)
        codes += [f"{offset - at}x", code]
        at = offset + size
    codes.append(f"{layout.SIZE - at}x")
    return struct.Struct("".join(codes))


def _find(layout: type[CStruct], path: str) -> tuple[int, int, str]:
    """Offset, size and struct code of a field."""
    name, _, rest = path.partition(".")
    offset, form, count = next(field[1:] for field in layout.FIELDS if field[0] == name)
    if form == "bytes":
        return offset, count, f"{count}s"
    if form == "net16":
        return offset, 2, "2s"
    if isinstance(form, str):
        code = f"{count or 1}{form}"
        return offset, struct.calcsize(f"={code}"), code
    index, _, rest = rest.partition(".")
    inner, size, code = _find(form, rest)
    return offset + int(index) * form.SIZE + inner, size, code
