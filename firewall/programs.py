# SPDX-License-Identifier: MIT
"""Brings the object into the kernel: a whole set of pins at first, later new programs for the maps that run.

A replacement is prepared in the directory `next` of the pins and then carried out. It is carried out again by
whoever comes next if that was interrupted, so it ends in the new programs, with every flow.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firewall import abi, attach
from firewall.bpfmap import Map, open_pinned
from firewall.bpfobject import Object, VerifierRefused
from firewall.bpfprog import Program, open_pinned_program
from firewall.clock import hz
from firewall.errors import FwError
from firewall.pins import EGRESS, INGRESS, LAYOUT, NEXT, Pins, offset_of, remove_tree
from firewall.state import FlowLimits

_TABLES = ("flows", "embryonic")
# What these hold can be done without; a build may give them another shape.
_SCRATCH = frozenset(("cpu", "handoffs", "env_map"))
_INCARNATION = slice(offset_of(abi.Flow, "incarnation"), offset_of(abi.Flow, "incarnation") + 4)
_SIDES = offset_of(abi.Flow, "side")
_SIDE_PACKETS = offset_of(abi.Side, "packets")
_PLACES = ("fw.bpf.o", "../build/fw.bpf.o")


def object_path() -> Path:
    """The object file: beside the package when installed, in the build directory of a source tree."""
    here = Path(__file__).resolve().parent
    for place in _PLACES:
        path = here / place
        if path.exists():
            return path.resolve()
    raise FwError(f"there is no fw.bpf.o in {here}", "'make' builds it; an installed fw brings it")


@contextmanager
def making_pins(directory: Path, limits: FlowLimits) -> Iterator[None]:
    """Loads the object and pins all of it in a new directory: no ruleset in force, nothing attached.

    In the block the maps are there. The programs, which the kernel verifies meanwhile, are after it.
    """
    with _opened(limits) as ours:
        with ours.loading():
            directory.mkdir(0o700)
            for name in _shared_maps(ours):
                ours.maps[name].pin(directory / name)
            yield
        _pin_programs(ours, directory)
    os.symlink(str(int(abi.Layout.LAYOUT_VERSION)), directory / LAYOUT)


def prepare_next(pins: Pins, limits: FlowLimits) -> frozenset[str]:
    """Loads the object once more for the maps in use, save that the flow tables are to have these sizes.

    What differs from what is pinned is pinned in `next`; a new flow table has all flows. Returns the names of
    maps whose contents are lost: scratch memory, if this build's has another shape.
    """
    building = pins.directory / f"{NEXT}-new"
    remove_tree(building)
    building.mkdir(0o700)
    try:
        try:
            _load_beside(pins, limits, building, frozenset())
            lost = frozenset[str]()
        except VerifierRefused:
            remove_tree(building)
            building.mkdir(0o700)
            _load_beside(pins, limits, building, _SCRATCH)
            lost = _SCRATCH
        os.rename(building, pins.directory / NEXT)
    except BaseException:
        remove_tree(building)
        raise
    return lost


def finish_next(pins: Pins) -> None:
    """Carries out what `prepare_next` prepared, if anything, from wherever it was cut off."""
    prepared = pins.directory / NEXT
    if not prepared.exists():
        return
    with _newest(pins, INGRESS) as ingress, _newest(pins, EGRESS) as egress:
        for ifindex in attach.attached(pins.directory):
            if not attach.status(ifindex, pins.directory).gone:
                attach.replace(ifindex, ingress, egress, pins.directory)
    for name in _TABLES:
        if (prepared / name).exists():
            with open_pinned(prepared / name) as table:
                _bring_up_to_date(table, pins.map(name))
    for entry in os.listdir(prepared):
        os.rename(prepared / entry, pins.directory / entry)
        pins.forget(entry)
    os.rmdir(prepared)


def _opened(limits: FlowLimits) -> Object:
    ours = Object.open(object_path())
    try:
        ours.set_rodata({"hz": hz(), "answer_mark": int.from_bytes(os.urandom(4), "little") | 1})
        ours.resize("flows", limits.max)
        ours.resize("embryonic", limits.embryonic_max)
    except BaseException:
        ours.close()
        raise
    return ours


def _shared_maps(ours: Object) -> list[str]:
    """The maps to pin; data sections belong to their programs."""
    return [name for name in ours.map_names if not name.startswith(".")]


def _pin_programs(ours: Object, directory: Path) -> None:
    for name in (INGRESS, EGRESS):
        ours.programs[name].pin(directory / name)


def _load_beside(pins: Pins, limits: FlowLimits, building: Path, discard: frozenset[str]) -> None:
    """Loads with the maps that are pinned, but for those in `discard` and flow tables of another size."""
    sizes = {"flows": limits.max, "embryonic": limits.embryonic_max}
    with _opened(limits) as ours:
        renewed = []
        for name in _shared_maps(ours):
            present = name not in discard and (pins.directory / name).exists()
            if present and pins.map(name).max_entries == sizes.get(name, pins.map(name).max_entries):
                ours.reuse(name, pins.map(name))
            else:
                renewed.append(name)
        with ours.loading():
            for name in renewed:
                ours.maps[name].pin(building / name)
                if name in _TABLES:
                    ours.maps[name].update_batch(pins.map(name).items())
        _pin_programs(ours, building)


def _newest(pins: Pins, name: str) -> Program:
    prepared = pins.directory / NEXT / name
    return open_pinned_program(prepared) if prepared.exists() else pins.program(name)


def _bring_up_to_date(table: Map, old: Map) -> None:
    """Adds to a copied flow table what happened in the old one since it was copied.

    Some packets have gone through the new table meanwhile: of each side's two records the one with more
    packets is the later, since only that side's packets write it. A flow opened anew there stays as it is.
    """
    copied = dict(table.items())
    for key, value in old.items():
        known = copied.get(key)
        if known is None:
            table.update(key, value)
        elif known != value:
            table.update(key, _merged(known, value))


def _merged(known: bytes, other: bytes) -> bytes:
    merged = bytearray(known)
    if known[_INCARNATION] != other[_INCARNATION]:
        return known
    for start in range(_SIDES, _SIDES + 2 * abi.Side.SIZE, abi.Side.SIZE):
        end = start + abi.Side.SIZE
        if _packets(other, start) > _packets(known, start):
            merged[start:end] = other[start:end]
    return bytes(merged)


def _packets(flow: bytes, side: int) -> int:
    at = side + _SIDE_PACKETS
    return int.from_bytes(flow[at : at + 8], sys.byteorder)
