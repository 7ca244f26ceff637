# SPDX-License-Identifier: MIT
"""`fw zone`: the names that stand for interfaces."""

import typer

from firewall import render
from firewall.cli.base import Report, new_app, run_default, session_of

app = new_app()

_LIST = """
fw zones                 the same
fw zone list --json
"""


@app.callback(invoke_without_command=True, epilog=_LIST)
def zone(ctx: typer.Context) -> None:
    """List the zones.

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
