# SPDX-License-Identifier: MIT
"""`fw set`: sets of addresses that rules ask about, and what is in them."""

from typing import TYPE_CHECKING, Annotated

import typer

from firewall import render
from firewall.cli.base import Command, Report, Session, Yes, new_app, run_default, session_of
from firewall.errors import NotLoaded

if TYPE_CHECKING:
    from firewall.setops import Done, Element, Summary

app = new_app()

Name = Annotated[str, typer.Argument(metavar="NAME", help="A set that the policy defines.")]
Elements = Annotated[
    list[str],
    typer.Argument(
        metavar="ADDRESS...|-",
        help="Addresses, prefixes or ranges; - reads them from standard input, one a line.",
    ),
]
For = Annotated[
    str | None,
    typer.Option("--for", metavar="TIME", help="How long they stay in it, as in 90s, 5m, 2h or 1d."),
]

_LIST = """
fw sets                                 the same
fw set list --json
"""
_SHOW = """
fw set show blocked
"""
_ADD = """
fw set add blocked 198.51.100.7
fw set add blocked 198.51.100.0/24 2001:db8:bad::/48 --for 1h
fw set add blocked - < addresses.txt
"""
_DELETE = """
fw set delete blocked 198.51.100.7
"""
_FLUSH = """
fw set flush blocked
"""
_REPLACE = """
fw set replace blocked - < addresses.txt
fw set replace blocked 198.51.100.7 --for 1d
"""


@app.callback(invoke_without_command=True, epilog=_LIST + _SHOW.lstrip() + _ADD.lstrip() + _DELETE.lstrip())
def set_(ctx: typer.Context) -> None:
    """List sets of addresses, and change what is in them at run time.

    Without a verb: list. The policy defines them: set NAME.
    """
    run_default(ctx, "list")


@app.command("list", cls=Report, epilog=_LIST)
def list_(ctx: typer.Context) -> None:
    """List the sets and how many prefixes they have."""
    from firewall import setops

    session = session_of(ctx)
    try:
        found = setops.summaries()
    except NotLoaded:
        _list_saved(session)
        return
    if session.json:
        session.print_json(loaded=True, sets=[_fields(one) for one in found])
        return
    cells = [
        (
            one.name,
            render.count(one.listed),
            render.count(one.added),
            render.count(one.overload),
            render.duration(one.timeout_s) if one.timeout_s else "-",
        )
        for one in found
    ]
    session.print(
        *render.table(
            ("set", "listed", "added", "overload", "timeout"),
            cells,
            right=("listed", "added", "overload", "timeout"),
        )
    )


@app.command(cls=Report, epilog=_SHOW)
def show(ctx: typer.Context, name: Name) -> None:
    """List what is in a set, and for how long yet."""
    from firewall import setops

    session = session_of(ctx)
    found = setops.elements(name)
    if session.json:
        session.print_json(
            set=name.removeprefix("@"),
            elements=[{**one._asdict(), "span": str(one.span)} for one in found],
        )
        return
    cells: list[tuple[str, ...]] = [
        (
            str(one.span),
            _by(one),
            "-" if one.expires_s is None else render.duration(one.expires_s),
        )
        for one in found
    ]
    headings: tuple[str, ...] = ("address", "by", "for yet")
    if any(one.packets is not None for one in found):
        headings += ("packets", "bytes")
        cells = [
            (*cell, render.count(one.packets or 0), render.size(one.bytes or 0))
            for cell, one in zip(cells, found, strict=True)
        ]
    session.print(*render.table(headings, cells, right=headings[2:]))


@app.command(cls=Command, epilog=_ADD)
def add(ctx: typer.Context, name: Name, elements: Elements, for_: For = None, yes: Yes = False) -> None:
    """Add elements to a set, for ever or for a time."""
    from firewall import setops

    _say(session_of(ctx), setops.add(name, elements, for_, yes=yes), "added", f"were in '{name}' already")


@app.command(cls=Command, epilog=_DELETE)
def delete(ctx: typer.Context, name: Name, elements: Elements, yes: Yes = False) -> None:
    """Delete elements that were added at run time."""
    from firewall import setops

    _say(session_of(ctx), setops.delete(name, elements, yes=yes), "deleted", "")


@app.command(cls=Command, epilog=_FLUSH)
def flush(ctx: typer.Context, name: Name, yes: Yes = False) -> None:
    """Delete all elements that were added at run time."""
    from firewall import setops

    _say(session_of(ctx), setops.flush(name, yes=yes), "deleted", "")


@app.command(cls=Command, epilog=_REPLACE)
def replace(ctx: typer.Context, name: Name, elements: Elements, for_: For = None, yes: Yes = False) -> None:
    """Make these the only elements that were added at run time."""
    from firewall import setops

    _say(session_of(ctx), setops.replace(name, elements, for_, yes=yes), "changed", "were in it already")


def _by(one: "Element") -> str:
    who = {"policy": one.listed, "run time": one.added, "overload": one.overload}
    return ", ".join(name for name, did in who.items() if did)


def _say(session: Session, done: "Done", verb: str, same: str) -> None:
    more = f", {done.same} {same}" if done.same else ""
    session.say(f"{render.counted(done.changed, 'prefix', 'prefixes')} {verb}{more}")


def _fields(one: "Summary") -> dict[str, str | int | None]:
    return {**one._asdict(), "timeout_s": one.timeout_s or None}


def _list_saved(session: Session) -> None:
    """The sets that a load would make, whose files are not read for it."""
    from firewall.policy import parse_policy
    from firewall.saved import read_saved

    sets = parse_policy(read_saved() or "").sets
    if session.json:
        listed = [
            {"name": one.name, "listed": None, "added": None, "timeout_s": one.timeout_s, "overload": None}
            for one in sets.values()
        ]
        session.print_json(loaded=False, sets=listed)
        return
    session.say("nothing is loaded: these are the saved sets")
    session.print(*map(str, sets.values()))
