# SPDX-License-Identifier: MIT
"""`fw mode`, `fw default` and `fw option`: single words of the policy, and the mode."""

from typing import TYPE_CHECKING, Annotated

import typer

from firewall import render
from firewall.cli.base import (
    DryRun,
    KeepFlows,
    Report,
    Runtime,
    Session,
    Yes,
    new_app,
    refuse_json,
    session_of,
    unknown_value,
)
from firewall.cli.reading import policy_in_force
from firewall.errors import UsageError

if TYPE_CHECKING:
    from firewall.engine import Source

app = new_app()

_MODE = """
fw mode                  which it is
fw mode observe
fw mode enforce
"""
_DEFAULT = """
fw default
fw default in drop
fw default out reject --dry-run
"""
_OPTION = """
fw option
fw option timeout.udp
fw option timeout.udp 120s
fw option builtin.lldp off --runtime
fw option timeout.udp --unset
"""


@app.command(cls=Report, epilog=_MODE)
def mode(
    ctx: typer.Context,
    new: Annotated[str | None, typer.Argument(metavar="[observe|enforce]", show_default=False)] = None,
    yes: Yes = False,
) -> None:
    """Show or set whether packets are really dropped.

    In 'observe' mode they are judged, counted and logged, but nothing is dropped.
    """
    from firewall import state

    session = session_of(ctx)
    if new is None:
        with state.read() as running:
            current = running.mode
        if session.json:
            session.print_json(mode=current)
        else:
            session.print(current)
        return
    if new not in (state.ENFORCE, state.OBSERVE):
        raise unknown_value("mode", new, (state.OBSERVE, state.ENFORCE))
    refuse_json(session, f"fw mode {new}")
    from firewall import engine

    changed = engine.set_mode(new, yes=yes)
    effect = "what the policy does not allow is dropped" if new == state.ENFORCE else "nothing is dropped"
    session.say(f"mode {new}{'' if changed else ', as before'}: {effect}")


@app.command(cls=Report, epilog=_DEFAULT)
def default(
    ctx: typer.Context,
    scope: Annotated[str | None, typer.Argument(metavar="[in|out|forward]", show_default=False)] = None,
    action: Annotated[str | None, typer.Argument(metavar="[allow|drop|reject]", show_default=False)] = None,
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
    keep_flows: KeepFlows = False,
) -> None:
    """Show or set what happens where no rule matches."""
    from firewall.words import SCOPES

    session = session_of(ctx)
    if scope is not None and scope not in SCOPES:
        raise unknown_value("scope", scope, SCOPES)
    if scope is not None and action is not None:
        refuse_json(session, f"fw default {scope} {action}")
        from firewall import policyfile
        from firewall.cli.changes import edit
        from firewall.policy import parse_words

        parse_words(["default", scope, action])
        edit(
            session,
            lambda source: policyfile.set_default(source.text, scope, action),
            yes,
            runtime,
            dry_run,
            keep_flows,
        )
        return
    found = policy_in_force(session).defaults
    shown = {name: found[name] for name in SCOPES if scope in (None, name)}
    if session.json:
        session.print_json(defaults=shown)
    else:
        session.print(*(f"default {name} {kept}" for name, kept in shown.items()))


Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="As 'fw options' lists them.", show_default=False)
]


@app.command(cls=Report, epilog=_OPTION)
def option(
    ctx: typer.Context,
    name: Name = None,
    value: Annotated[str | None, typer.Argument(metavar="[VALUE]", show_default=False)] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Return to the default.")] = False,
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
    keep_flows: KeepFlows = False,
) -> None:
    """List all options, show one, or set it."""
    from firewall import options, policyfile
    from firewall.cli.changes import edit

    session = session_of(ctx)
    if name is None:
        _list_options(session)
        return
    known = options.find(name)
    if value is None and not unset:
        current = policy_in_force(session).options.get(name, known.default)
        if session.json:
            session.print_json(name=name, value=current, default=known.default, help=known.help)
        else:
            session.print(current)
        return
    if value is not None and unset:
        raise UsageError("--unset takes no value")
    refuse_json(session, f"fw option {name} {'--unset' if value is None else value}")
    if value is not None:
        options.check(name, value)

    def change(source: "Source") -> str:
        if value is None:
            return policyfile.unset_option(source.text, name)
        return policyfile.set_option(source.text, name, value)

    edit(session, change, yes, runtime, dry_run, keep_flows)


@app.command("options", cls=Report, epilog="fw options\nfw options --json\n")
def options_(ctx: typer.Context) -> None:
    """List all options: the same as 'fw option'."""
    _list_options(session_of(ctx))


def _list_options(session: Session) -> None:
    from firewall.options import OPTIONS

    found = policy_in_force(session).options
    listed = [(option, found.get(option.name, option.default)) for option in OPTIONS.values()]
    if session.json:
        fields = [
            {"name": o.name, "value": value, "default": o.default, "help": o.help} for o, value in listed
        ]
        session.print_json(options=fields)
        return
    rows = [(o.name, value, "" if value == o.default else o.default, o.help) for o, value in listed]
    session.print(*render.table(("option", "value", "default", "meaning"), rows))
