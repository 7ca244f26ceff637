# SPDX-License-Identifier: MIT
"""The pins of one network namespace: a directory of our bpffs that is the whole database of what is loaded.

    control settings classifiers policies ...   the object's maps, by name
    fw_ingress fw_egress fw_request             its programs
    layout -> N                                 a symbolic link to the number of the maps' layout
    links/ clsact/                              see `firewall.attach`
    next/                                       what an upgrade that has begun will put in their place

A directory comes into being under another name and is renamed once it is whole.
"""

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from firewall import abi
from firewall.bpfmap import Map, MappedArray, open_pinned
from firewall.bpfprog import Program, open_pinned_program
from firewall.errors import FwError, NotLoaded
from firewall.layout import CStruct
from firewall.paths import find_pin_dir

INGRESS, EGRESS, REQUEST = "fw_ingress", "fw_egress", "fw_request"
LAYOUT = "layout"
NEXT = "next"
# bpffs allows no dots in names.
_UNFINISHED = "-new-"

_Pinned = TypeVar("_Pinned", Map, Program)


class Pins:
    """Opens what is pinned when it is first asked for. Use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._maps: dict[str, Map] = {}
        self._control: MappedArray | None = None

    def map(self, name: str) -> Map:
        """The map of that name."""
        if name not in self._maps:
            self._maps[name] = self._opened(name, open_pinned)
        return self._maps[name]

    def program(self, name: str) -> Program:
        """The program of that name; the caller closes it."""
        return self._opened(name, open_pinned_program)

    def _opened(self, name: str, opener: Callable[[Path], _Pinned]) -> _Pinned:
        try:
            return opener(self.directory / name)
        except NotLoaded:
            if not self.directory.exists():  # unloaded meanwhile
                raise
            raise FwError(
                f"what is loaded is not whole: {self.directory} lacks {name}",
                "'fw unload --all' removes what is left of it, then 'fw load' begins anew",
            ) from None

    @property
    def control(self) -> MappedArray:
        """The memory of the control record: fields are at `offset_of(abi.Control, NAME)`."""
        if self._control is None:
            self._control = self.map("control").mmap()
        return self._control

    def forget(self, name: str) -> None:
        """The map of that name has been replaced by another."""
        if name in self._maps:
            self._maps.pop(name).close()

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        for opened in self._maps.values():
            opened.close()
        self._maps.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def offset_of(layout: type[CStruct], field: str) -> int:
    """Where a field of a struct is, in bytes."""
    return next(offset for name, offset, _, _ in layout.FIELDS if name == field)


def open_pins() -> Pins | None:
    """What is loaded in this network namespace; None when nothing is.

    Raises FwError when it was loaded by a version of fw whose maps have another layout.
    """
    directory = find_pin_dir()
    if directory is None:
        return None
    demand_layout(directory)
    return Pins(directory)


def demand_pins() -> Pins:
    """What is loaded in this network namespace. Raises NotLoaded when nothing is, else as `open_pins`."""
    pins = open_pins()
    if pins is None:
        raise NotLoaded("nothing is loaded in this network namespace", "'fw load IF' protects an interface")
    return pins


def layout_of(directory: Path) -> int | None:
    """The number of the layout that the maps in a pin directory have; None when it does not say."""
    try:
        return int(os.readlink(directory / LAYOUT))
    except (OSError, ValueError):
        return None


def demand_layout(directory: Path) -> None:
    """Raises FwError unless the maps in the directory have the layout that this version reads."""
    found, ours = layout_of(directory), int(abi.Layout.LAYOUT_VERSION)
    if found != ours:
        said = "no layout at all" if found is None else f"layout {found}"
        raise FwError(
            f"what is loaded has {said}, this version of fw reads layout {ours}; it filters on as before",
            "'fw upgrade' puts the saved policy in its place, 'fw unload --all' removes it",
        )


def unfinished(directory: Path) -> Path:
    """Where this process builds what is to become `directory`."""
    return directory.with_name(f"{directory.name}{_UNFINISHED}{os.getpid()}")


def remove_unfinished(directory: Path) -> None:
    """Removes what killed processes left behind that were to build `directory`. The lock must be held."""
    for path in directory.parent.glob(f"{directory.name}{_UNFINISHED}*"):
        remove_tree(path)


def remove_predecessors(directory: Path) -> None:
    """Removes the pins of network namespaces that have ended, as far as that is certain.

    It is where their inode, the first part of the name (see `paths.namespace_id`), has become that of `directory`'s.
    """
    inode, _, cookie = directory.name.partition("-")
    for path in directory.parent.glob(f"{inode}-*") if cookie else ():
        if path.name.split("-")[1] != cookie:
            remove_tree(path)


def remove_tree(directory: Path) -> None:
    """Removes a directory of pins with all that is in it; one that is not there is fine."""
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(Path(entry.path))
        else:
            os.unlink(entry.path)
    os.rmdir(directory)
