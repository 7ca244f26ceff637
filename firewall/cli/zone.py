# SPDX-License-Identifier: MIT
"""`fw zone`: the names that stand for interfaces."""

from typing import Annotated

import typer

from firewall import render
from firewall.cli.base import (
    Command,
    DryRun,
    KeepFlows,
    Report,
    Runtime,
    Yes,
    new_app,
    run_default,
    session_of,
)
from firewall.errors import UsageError

app = new_app()

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A zone.")]

_ADD = """
fw zone add lan br-lan eth3
fw zone add outside not lan
"""
_DELETE = """
fw zone delete lan eth3
fw zone delete lan            the zone itself
"""
_LIST = """
fw zones                 the same
fw zone list --json
"""


@app.callback(invoke_without_command=True, epilog=_LIST + _ADD.lstrip() + _DELETE.lstrip())
def zone(ctx: typer.Context) -> None:
    """List and change the zones.

    Without a verb: list.
    """
    run_default(ctx, "list")


@app.command("list", cls=Report, epilog=_LIST)
def list_(ctx: typer.Context) -> None:
    """List the zones and their interfaces.

    In their last column are the interfaces that there are now.
    """
    from firewall.cli.reading import policy_in_force
    from firewall.links import list_links
    from firewall.policy import zones_of

    session = session_of(ctx)
    policy = policy_in_force(session)
    names = [link.name for link in list_links()]
    used = [name for one in policy.statements for name in zones_of(one.value, policy.zones)]
    present = {name: [other for other in names if zone.matches(other)] for name, zone in policy.zones.items()}
    if session.json:
        found = [
            {
                "name": name,
                "names": str(zone),
                "negated": zone.plain.negated,
                "interfaces": list(zone.plain.patterns),
                "present": present[name],
                "used": used.count(name),
            }
            for name, zone in policy.zones.items()
        ]
        session.print_json(zones=found)
        return
    rows = [
        (name, str(used.count(name)), str(zone), ", ".join(present[name]) or "-")
        for name, zone in policy.zones.items()
    ]
    session.print(*render.table(("zone", "used", "stands for", "now"), rows, right=["used"]))


@app.command(cls=Command, epilog=_ADD)
def add(
    ctx: typer.Context,
    name: _Name,
    interfaces: Annotated[
        list[str], typer.Argument(metavar="[not] IF...", help="Interfaces, or other zones.")
    ],
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
    keep_flows: KeepFlows = False,
) -> None:
    """Put interfaces into a zone.

    Where there is no such zone it is made.
    """
    from firewall.cli.changes import edit
    from firewall.policyfile import add_to_zone

    listed = _listed(interfaces)
    edit(
        session_of(ctx),
        lambda source: add_to_zone(source.text, name, listed, source.included),
        yes,
        runtime,
        dry_run,
        keep_flows,
    )


@app.command(cls=Command, epilog=_DELETE)
def delete(
    ctx: typer.Context,
    name: _Name,
    interfaces: Annotated[
        list[str] | None, typer.Argument(metavar="[IF...]", help="Those to go.", show_default=False)
    ] = None,
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
    keep_flows: KeepFlows = False,
) -> None:
    """Take interfaces out of a zone; without any, the zone itself.

    A zone that is used stays: without it its name would mean an interface.
    """
    from firewall.cli.changes import edit
    from firewall.policyfile import take_from_zone

    listed = _listed(interfaces or [])
    edit(
        session_of(ctx),
        lambda source: take_from_zone(source.text, name, listed, source.included),
        yes,
        runtime,
        dry_run,
        keep_flows,
    )


def _listed(words: list[str]) -> list[str]:
    """Names of interfaces, whether or not there are commas between them as in a policy."""
    names = [name for word in words for name in word.replace(",", " ").split()]
    if words and not names:
        raise UsageError("which interfaces?", "an empty word names none; a variable that is not set, perhaps")
    return names
