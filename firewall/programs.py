# SPDX-License-Identifier: MIT
"""Brings the object into the kernel: a whole set of pins at first, later new programs for the maps that run.

A replacement is prepared in the directory `next` of the pins and then carried out. It is carried out again by
whoever comes next if that was interrupted, so it ends in the new programs, with every flow.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firewall import abi, attach, features
from firewall.bpfmap import open_pinned, possible_cpus
from firewall.bpfobject import Object, VerifierRefused
from firewall.bpfprog import Program, open_pinned_program
from firewall.carry import bring_up_to_date
from firewall.clock import hz
from firewall.paths import built_file
from firewall.pins import EGRESS, INGRESS, LAYOUT, NEXT, REQUEST, Pins, remove_tree
from firewall.requests import Requests
from firewall.state import FlowLimits

_TABLES = {"flows": True, "embryonic": False}  # whether its flows are confirmed
# They make sense together alone.
_RENEWED = frozenset((*_TABLES, "slots", "vacant", "sources", "table", "totals"))
# What these hold can be done without; a build may give them another shape.
_SCRATCH = frozenset(("cpu", "handoffs", "env_map"))


def object_path() -> Path:
    """The object file."""
    return built_file("fw.bpf.o")


@contextmanager
def making_pins(directory: Path, limits: FlowLimits) -> Iterator[None]:
    """Loads the object and pins all of it in a new directory: no ruleset in force, nothing attached.

    In the block the maps are there, and requests are answered. The programs that are to be attached, which the
    kernel verifies meanwhile, are after it.
    """
    with _opened(limits) as ours:
        with ours.loading(first=REQUEST):
            _lay_out(ours, limits)
            directory.mkdir(0o700)
            for name in _shared_maps(ours):
                ours.maps[name].pin(directory / name)
            ours.programs[REQUEST].pin(directory / REQUEST)
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
    with _newest(pins, REQUEST) as program, Requests(pins.map("requests"), program) as requests:
        for name, confirmed in _TABLES.items():
            if (prepared / name).exists():
                with open_pinned(prepared / name) as table:
                    bring_up_to_date(table, pins.map(name).items(), requests, confirmed)
    for entry in os.listdir(prepared):
        os.rename(prepared / entry, pins.directory / entry)
        pins.forget(entry)
    os.rmdir(prepared)


def _opened(limits: FlowLimits) -> Object:
    ours = Object.open(object_path())
    try:
        ours.set_rodata({"hz": hz(), "answer_mark": int.from_bytes(os.urandom(4), "little") | 1})
        ours.set_rodata({"has_cgroups": int(features.cgroups())})
        for name, size in _sizes(limits).items():
            ours.resize(name, size)
    except BaseException:
        ours.close()
        raise
    return ours


def _sizes(limits: FlowLimits) -> dict[str, int]:
    """Of the maps whose sizes are chosen. An LRU table with fewer entries than this may displace some.

    Whoever is to be evicted for another gives way after the other's source has been counted.
    """
    more = limits.max + abi.Limits.LRU_BATCH * (possible_cpus() + 1)
    return {
        "flows": more,
        "embryonic": limits.embryonic_max,
        "slots": limits.max,
        "vacant": limits.max,
        "sources": 2 * more,  # counted by its source, and by its rule
    }


def _lay_out(ours: Object, limits: FlowLimits) -> None:
    """Says how many slots a new table has."""
    ours.maps["table"].update(bytes(4), abi.Table(size=limits.max).pack())


def _shared_maps(ours: Object) -> list[str]:
    """The maps to pin; data sections belong to their programs."""
    return [name for name in ours.map_names if not name.startswith(".")]


def _pin_programs(ours: Object, directory: Path) -> None:
    for name in (INGRESS, EGRESS):
        ours.programs[name].pin(directory / name)


def _load_beside(pins: Pins, limits: FlowLimits, building: Path, discard: frozenset[str]) -> None:
    """Loads with the maps that are pinned, but for those in `discard` and tables that are to have another size."""
    present = FlowLimits(pins.map("slots").max_entries, pins.map("embryonic").max_entries)
    if limits != present:
        discard |= _RENEWED
    with _opened(limits) as ours:
        renewed = []
        for name in _shared_maps(ours):
            if name not in discard and (pins.directory / name).exists():
                ours.reuse(name, pins.map(name))
            else:
                renewed.append(name)
        with ours.loading(first=REQUEST):
            if "table" in renewed:
                _lay_out(ours, limits)
            for name in renewed:
                ours.maps[name].pin(building / name)
            ours.programs[REQUEST].pin(building / REQUEST)
            with Requests(ours.maps["requests"], ours.programs[REQUEST]) as requests:
                for name, confirmed in _TABLES.items():
                    if name in renewed:
                        requests.add(pins.map(name).items(), confirmed)
        _pin_programs(ours, building)


def _newest(pins: Pins, name: str) -> Program:
    prepared = pins.directory / NEXT / name
    return open_pinned_program(prepared) if prepared.exists() else pins.program(name)
