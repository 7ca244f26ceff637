# SPDX-License-Identifier: MIT
"""What pins of another layout leave to those that take their place: flows, interfaces, elements of sets, the mode.

The kernel knows the types of the maps, so fields are found by their names wherever they are. Numbers of states and
flags of a flow mean the same in all layouts; a field that one of the two does not have begins as zero.
"""

import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from firewall import abi
from firewall.bpfmap import Map, open_pinned
from firewall.btf import Shape, shape_of, shapes_of
from firewall.carry import bring_up_to_date
from firewall.errors import FwError, NotLoaded
from firewall.flowkey import key_tag
from firewall.interfaces import Known, decode
from firewall.layout import CStruct
from firewall.pins import Pins, offset_of
from firewall.requests import requests_of
from firewall.settable import SetTable, Value

_TABLES = {"flows": True, "embryonic": False}  # whether its flows are confirmed
_AT = {name: offset for name, (offset, _) in shape_of(abi.Flow).items()}
# No ruleset has this generation, so that the next packet has the flow judged.
_ANEW = [
    _AT[name]
    for name in (
        "generation",
        "admission",
        "rule",
        "slot",
        "further",
        "until_s",
        "side.0.generation",
        "side.1.generation",
    )
]
_ZERO = bytes(4)
_SOME = 100_000  # elements at a time


class Heritage:
    """Reads the pins in a directory, whose programs may be at work; each part is None if it cannot be read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.flows_given = False  # all that there are
        self.sets_given = False

    def mode(self) -> abi.Mode | None:
        """Whether they drop."""
        for _, value in self._read("control", abi.Control) or ():
            mode = int.from_bytes(value[offset_of(abi.Control, "mode") :][:4], sys.byteorder)
            return abi.Mode(mode) if mode in set(abi.Mode) else None
        return None

    def interfaces(self) -> dict[int, Known] | None:
        """The interfaces by index, with numbers that flows have in their keys."""
        found = self._read("interfaces", abi.Iface)
        return None if found is None else decode(found)

    def flows(self, table: str) -> Iterator[tuple[bytes, bytes]] | None:
        """Keys and values of a flow table, for packets to be judged anew."""
        found = self._read(table, abi.Flow, abi.FlowKey)
        return None if found is None else map(_anew, found)

    def give_flows(self, pins: Pins) -> int:
        """Brings tables of this layout up to date with the flows that can be read; how many are new to them."""
        count = 0
        with requests_of(pins) as requests:
            found = {table: self.flows(table) for table in _TABLES}
            for table, flows in found.items():
                if flows is not None:
                    count += bring_up_to_date(pins.map(table), flows, requests, _TABLES[table])
        self.flows_given = None not in found.values()
        return count

    def give_sets(self, pins: Pins, numbers: Mapping[str, int]) -> bool:
        """Adds to the sets of this layout, of these numbers, what was added to those of their names at run time;
        whether all of it could be read. What rules have put into them stays in them for its time.
        """
        found = self._read("sets", abi.Set)
        if found is None:
            return False
        names = {}
        for key, raw in found:
            name = abi.Set.unpack(raw).name.split(b"\0")[0].decode()
            if name in numbers:
                names[int.from_bytes(key, sys.byteorder)] = numbers[name]
        whole = True
        table = SetTable(pins)
        for map_name, layout in (("set_elements", abi.Element), ("overloads", abi.Overload)):
            if not (self._directory / map_name).exists():
                continue  # of before there was one
            elements = self._read(map_name, layout, abi.SetKey)
            if elements is None:
                whole = False
                continue
            added = ((key, _added(layout.unpack(raw), names)) for key, raw in elements)
            given = ((key, value) for key, value in added if value != Value())
            while some := dict(islice(given, _SOME)):
                known = table.find(some)
                table.write((key, _both(value, known.get(key, Value()))) for key, value in some.items())
        table.changed()
        return whole

    def _read(
        self, name: str, value: type[CStruct], key: type[CStruct] | None = None
    ) -> Iterator[tuple[bytes, bytes]] | None:
        try:
            opened = open_pinned(self._directory / name)
        except NotLoaded:
            return None
        shapes = shapes_of(opened)
        of_key = _same if key is None else _converter(shapes and shapes[0], key, whole=True)
        of_value = _converter(shapes and shapes[1], value)
        if of_key is None or of_value is None:
            return None
        return _converted(opened, of_key, of_value)


def _added(one: abi.Element | abi.Overload, names: Mapping[int, int]) -> Value:
    """What was added to the sets in `names`, under their new numbers."""
    bits = one.added if isinstance(one, abi.Element) else 0
    ends = {names[n]: end_s for n, end_s in zip(one.timed, one.end_s, strict=True) if end_s and n in names}
    return Value(added=sum(1 << new for old, new in names.items() if bits >> old & 1), ends_s=ends)


def _both(one: Value, other: Value) -> Value:
    """Those that end last, if there are too many ends."""
    added = one.added | other.added
    ends = {
        number: max(one.ends_s.get(number, 0), other.ends_s.get(number, 0))
        for number in (*one.ends_s, *other.ends_s)
        if not added >> number & 1
    }
    last = sorted(ends, key=ends.__getitem__)[-abi.Limits.ELEMENT_ENDS :]
    return Value(one.listed | other.listed, added, {number: ends[number] for number in last})


def _converted(
    opened: Map, of_key: Callable[[bytes], bytes], of_value: Callable[[bytes], bytes]
) -> Iterator[tuple[bytes, bytes]]:
    with opened:
        for key, value in opened.items():
            yield of_key(key), of_value(value)


def _same(raw: bytes) -> bytes:
    return raw


def _converter(
    theirs: Shape | None, layout: type[CStruct], whole: bool = False
) -> Callable[[bytes], bytes] | None:
    """From a struct of their shape to one of ours; None if it has nothing of it, or, if `whole`, not all."""
    ours = shape_of(layout)
    moves = [(*theirs[name], *ours[name]) for name in ours if name in theirs] if theirs else []
    if not moves or (whole and [size for _, size, _, _ in moves] != [size for _, size in ours.values()]):
        return None

    def convert(raw: bytes) -> bytes:
        made = bytearray(layout.SIZE)
        for source, size, target, room in moves:
            field = raw[source : source + size]
            if size != room:
                number = int.from_bytes(field, sys.byteorder) & (1 << 8 * room) - 1
                field = number.to_bytes(room, sys.byteorder)
            made[target : target + room] = field
        return bytes(made)

    return convert


def _anew(flow: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    key, value = flow[0], bytearray(flow[1])
    for at in _ANEW:
        value[at : at + 4] = _ZERO
    # as a default's, until a rule has judged it
    struct.pack_into("=I", value, _AT["counter"], value[_AT["scope"]])
    struct.pack_into("=I", value, _AT["tag"], key_tag(key))
    value[_AT["incarnation"]] |= 1
    return key, bytes(value)


def leave_flows(directory: Path, successor: Path) -> None:
    """What has come about since the successor was filled. Nothing that fails here may keep it from taking over."""
    try:
        with Pins(successor) as pins:
            Heritage(directory).give_flows(pins)
    except (FwError, ValueError):
        return
