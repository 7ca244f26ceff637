# SPDX-License-Identifier: MIT
"""`fw load`, `fw unload` and `fw upgrade`: the programs on the interfaces."""

from typing import TYPE_CHECKING, Annotated

import typer

from firewall import render
from firewall.cli.base import Command, Session, Yes, new_app, session_of, unknown_value
from firewall.errors import UsageError

if TYPE_CHECKING:
    from firewall.reports import LoadReport

app = new_app()

_ATTACH_MODES = ("auto", "tcx", "clsact")

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[IF...]", help="Names of interfaces.", show_default=False)
]

_LOAD = """
fw load eth0                 protect eth0
fw load eth0 --observe       try it: judge and count, drop nothing
fw load                      all that the saved policy protects
"""
_UNLOAD = """
fw unload eth0               the others stay protected
fw unload --all              leave nothing of fw in the kernel
"""


@app.command(cls=Command, epilog=_LOAD)
def load(
    ctx: typer.Context,
    names: Names = None,
    attach: Annotated[
        str, typer.Option("--attach", metavar="auto|tcx|clsact", help="How to attach.")
    ] = "auto",
    observe: Annotated[bool, typer.Option("--observe", help="Drop nothing until 'fw mode enforce'.")] = False,
    yes: Yes = False,
) -> None:
    """Protect interfaces with the saved policy.

    Without names: the interfaces that the saved policy protects. The first load writes a policy to begin
    with.
    """
    if attach not in _ATTACH_MODES:
        raise unknown_value("way to attach", attach, _ATTACH_MODES)
    from firewall import engine

    _say_loaded(session_of(ctx), engine.load(names or (), attach=attach, observe=observe, yes=yes))


@app.command(cls=Command, epilog=_UNLOAD)
def unload(
    ctx: typer.Context,
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="All interfaces, flows and counters.")] = False,
) -> None:
    """Stop protecting interfaces.

    The saved policy stays, but for the names of these interfaces.
    """
    if everything and names:
        raise UsageError("--all takes no names of interfaces")
    if not everything and not names:
        raise UsageError("which interface?", "'fw unload IF', or 'fw unload --all' for everything")
    from firewall import engine

    session = session_of(ctx)
    done = engine.unload_all() if everything else engine.unload(names or ())
    session.warn(*done.warnings)
    for name in done.removed:
        session.say(f"{name} is not filtered any more")
    if done.all_gone:
        session.say("nothing of fw is left in the kernel")


@app.command(cls=Command, epilog="fw upgrade\n")
def upgrade(ctx: typer.Context, yes: Yes = False) -> None:
    """Replace the running programs by this version's, keeping flows."""
    from firewall import engine

    session = session_of(ctx)
    done = engine.upgrade(yes=yes)
    session.warn(*done.warnings)
    flows = render.counted(done.flows, "flow")
    session.say(f"upgraded on {', '.join(done.interfaces) or 'no interface'}; {flows} kept")


def _say_loaded(session: Session, done: "LoadReport") -> None:
    from firewall.paths import namespace_name

    if done.starter is not None:
        session.say(f"wrote a policy to begin with, {done.file}:", "")
        session.say(*(f"    {line}".rstrip() for line in done.starter.splitlines()), "")
    session.warn(*done.warnings)
    rows = [("protected", ", ".join(f"{i.name} ({i.attach})" for i in done.protected) or "no interface")]
    if done.unprotected:
        rows.append(("not protected", ", ".join(done.unprotected)))
    rows += [("" if i else "open", text) for i, text in enumerate(done.open or ("nothing",))]
    if done.first:
        more = f"; in the next {render.duration(done.grace_s)} others are taken over as they show themselves"
        kept = render.counted(done.seeded, "connection")
        rows.append(("kept", kept + (more if done.grace_s else "")))
    if done.mode == "observe":
        rows.append(("mode", "observe: nothing is dropped until 'fw mode enforce'"))
    if namespace_name() is None:  # boot is about the machine's own network namespace
        rows.append(("at boot", "loaded again" if done.boot else "not loaded ('systemctl enable fw')"))
    rows.append(("undo", f"fw unload {'--all' if done.first else ' '.join(done.added) or '--all'}"))
    session.say(*render.columns(rows))
