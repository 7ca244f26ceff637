# SPDX-License-Identifier: MIT
"""`fw flow save` and `fw flow restore`: the flows in a file, for a reboot or another machine."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firewall import render
from firewall.cli.base import session_of
from firewall.errors import FwError, NotPermitted
from firewall.progress import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.flowrestore import Flows, Restored
    from firewall.pins import Pins

_STREAM = "-"

Target = Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="A file; - is standard output.")]
Origin = Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="A file; - is standard input.")]

SAVE = """
fw flow save                              in /var/lib/fw, before a reboot
fw flow save flows.jsonl
fw flow save - > flows.jsonl
"""
RESTORE = """
fw flow restore                           what 'fw flow save' wrote last
fw flow save - | fw flow restore -        nothing that is not there already
"""


def save(ctx: typer.Context, file: Target = None) -> None:
    """Write the live flows to a file.

    Without FILE: below /var/lib/fw. The file is replaced whole; connections
    that have ended are not in it.
    """
    from firewall.flowsave import save as saved_lines
    from firewall.paths import flows_path
    from firewall.pins import demand_pins
    from firewall.replacement import Replacement

    session = session_of(ctx)
    with demand_pins() as pins:
        if file == _STREAM:
            for line in saved_lines(pins):
                session.print(line)
            return
        target = flows_path() if file is None else Path(file)
        if file is None:
            _make_directory(target.parent)
        with Replacement(target) as replacement:
            count = -2  # the first line and the last are no flows

            def parts() -> "Iterator[bytes]":
                nonlocal count
                for line in counted("saving flows", saved_lines(pins)):
                    count += 1
                    yield f"{line}\n".encode()

            replacement.write(parts())
            replacement.commit()
    session.say(f"{render.counted(count, 'flow')} saved in {target}")


def restore(ctx: typer.Context, file: Origin = None) -> None:
    """Put flows from a file back.

    Without FILE: what 'fw flow save' wrote last. The rules in force judge each
    flow at its next packet; flows that are there stay as they are. All lines
    are checked first, and one that is wrong restores nothing.
    """
    from firewall.flowrestore import restore as restore_flows
    from firewall.pins import demand_pins
    from firewall.recover import locked

    with demand_pins() as pins:
        flows = _read(pins, file)
    with locked(), demand_pins() as pins:
        done = restore_flows(pins, flows)
    session_of(ctx).say(_said(done))


def _read(pins: "Pins", file: str | None) -> "Flows":
    from firewall.flowrestore import LINE_BYTES_MAX, read
    from firewall.paths import flows_path

    path = flows_path() if file is None else Path(file)
    with ExitStack() as stack:
        try:
            source = sys.stdin.buffer if file == _STREAM else stack.enter_context(open(path, "rb"))
            lines = iter(partial(source.readline, LINE_BYTES_MAX + 1), b"")
            return read(pins, lines, "standard input" if file == _STREAM else str(path))
        except FileNotFoundError:
            raise FwError(f"there is no {path}", "'fw flow save' writes one") from None
        except OSError as error:
            kind = NotPermitted if isinstance(error, PermissionError) else FwError
            raise kind(f"cannot read {path}: {error.strerror}") from None


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        kind = NotPermitted if isinstance(error, PermissionError) else FwError
        raise kind(f"cannot make {path}: {error.strerror}") from None


def _said(done: "Restored") -> str:
    others = (
        (done.known, "known already"),
        (done.expired, "expired"),
        (done.elsewhere, "of interfaces that are not here"),
        (done.refused, "without a place in the table"),
    )
    return ", ".join(
        [
            f"{render.counted(done.restored, 'flow')} restored",
            *(f"{render.count(number)} {what}" for number, what in others if number),
        ]
    )
