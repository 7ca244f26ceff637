# SPDX-License-Identifier: MIT
"""`fw import`: other firewalls' rules as a policy, on standard output."""

from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from firewall import render
from firewall.cli.base import Command, new_app, session_of, unknown_value
from firewall.cli.policy import read_text
from firewall.errors import FwError

if TYPE_CHECKING:
    from firewall.importers.carried import Carried

app = new_app()

KINDS = ("iptables", "nft", "ufw", "aya")

_IMPORT = """
fw import iptables saved.v4 > rules.fw     what iptables-save has printed
fw import nft ruleset.json --partial       what nft -j list ruleset has
fw import ufw user.rules
fw import aya blocklist.yaml
"""


@app.command("import", cls=Command, epilog=_IMPORT)
def import_(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="[iptables|nft|ufw|aya]", help="What the file is of.")],
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="The file; - is standard input.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Print the policy even if something is missing from it.")
    ] = False,
) -> None:
    """Print another firewall's rules as a policy.

    What cannot be carried over is named, and then nothing is printed without --partial.
    """
    if kind not in KINDS:
        raise unknown_value("firewall to import from", kind, KINDS)
    session = session_of(ctx)
    text, name = read_text(file, f"a file for 'fw import {kind}'")
    carried: Carried = import_module(f"firewall.importers.{kind}").carry(text)
    for one in carried.implied:
        session.say(f"{name}, {one}")
    for one in carried.lost:
        session.warn(f"{name}, {one}")
    if carried.lost and not partial:
        missing = render.counted(len(carried.lost), "line")
        raise FwError(
            f"{missing} of {name} cannot be carried over", "--partial prints the policy without them"
        )
    session.out.write(carried.text())
