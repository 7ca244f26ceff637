# SPDX-License-Identifier: MIT
"""Only one fw changes a network namespace's firewall at a time, and it begins with what a killed one left."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from firewall import abi, attach
from firewall.bpfprog import open_pinned_program
from firewall.errors import FwError
from firewall.links import list_links
from firewall.paths import Lock, find_bpffs, namespace_id
from firewall.pins import EGRESS, INGRESS, NEXT, Pins, layout_of, remove_tree, remove_unfinished, unfinished

_SUCCESSOR = "-next"
_ATTACHMENTS = ("links", "clsact")  # what `firewall.attach` keeps


@contextmanager
def locked() -> Iterator[None]:
    """Holds the lock; what was begun and not finished is cleared away or completed first. Raises Busy."""
    with Lock():
        root = find_bpffs()
        if root is not None:
            directory = root / namespace_id()
            remove_unfinished(directory)
            finish_succession(directory)
            if layout_of(directory) == abi.Layout.LAYOUT_VERSION:
                with Pins(directory) as pins:
                    _finish_changes(pins)
        yield


def _finish_changes(pins: Pins) -> None:
    from firewall.sparing import spares_all

    for ifindex in attach.attached_twice(pins.directory):
        if attach.status(ifindex, pins.directory).mode:
            with pins.program(INGRESS) as ingress, pins.program(EGRESS) as egress:
                attach.replace(ifindex, ingress, egress, pins.directory)
    if (pins.directory / NEXT).exists():
        from firewall.programs import finish_next

        finish_next(pins)
    if spares_all(pins):
        from firewall.refresh import renew
        from firewall.state import Running

        with suppress(
            FwError
        ):  # what runs cannot be built any more: the command itself may mend that, or remove it
            renew(Running(pins))


def succeed(building: Path, directory: Path) -> None:
    """Puts whole new pins in the place of old ones, and their programs in the place of the old programs."""
    os.rename(building, _successor(directory))
    finish_succession(directory)


def finish_succession(directory: Path) -> None:
    """Does what `succeed` has not yet done, if it was interrupted."""
    successor = _successor(directory)
    if not successor.exists():
        return
    with (
        open_pinned_program(successor / INGRESS) as ingress,
        open_pinned_program(successor / EGRESS) as egress,
    ):
        for ifindex in attach.attached(directory):
            if not attach.status(ifindex, directory).gone:
                attach.replace(ifindex, ingress, egress, directory)
    if layout_of(successor) == abi.Layout.LAYOUT_VERSION:
        from firewall.heritage import leave_flows

        leave_flows(directory, successor)
    for name in _ATTACHMENTS:
        if (directory / name).exists():
            os.rename(directory / name, successor / name)
    remove_tree(directory)
    os.rename(successor, directory)


def remove_all() -> tuple[str, ...]:
    """Removes all of ours from this network namespace; returns the names of the interfaces that were protected."""
    root = find_bpffs()
    names = {link.ifindex: link.name for link in list_links()}
    directory = (root or Path("/nonexistent")) / namespace_id()
    # Of two, either may have what is known of an attachment.
    places = (_successor(directory), directory)
    held = [ifindex for path in places for ifindex in attach.attached(path)]
    # A filter may be left whose pins somebody removed, so every interface is looked at.
    removed = [i for i in sorted({*held, *names}) if sum(_detach(i, path) for path in places)]
    if root is not None:
        for path in places:
            if path.exists():
                # Under this name whoever comes next clears away what a kill leaves of it.
                os.rename(path, unfinished(directory))
            remove_unfinished(directory)
    return tuple(names.get(ifindex, f"interface {ifindex}") for ifindex in removed)


def _detach(ifindex: int, directory: Path) -> bool:
    try:
        return attach.detach(ifindex, directory)
    except FwError:
        if attach.status(ifindex, directory).gone:
            return True
        raise


def _successor(directory: Path) -> Path:
    return directory.with_name(directory.name + _SUCCESSOR)
