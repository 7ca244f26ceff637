# SPDX-License-Identifier: MIT
"""`fw rule`: the rules in the order in which they are tried."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from firewall import render
from firewall.cli.base import Command, DryRun, Report, Runtime, Session, Yes, new_app, run_default, session_of
from firewall.errors import NotLoaded, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from firewall.engine import Source
    from firewall.rule import Rule

app = new_app()

Words = Annotated[
    list[str], typer.Argument(metavar="RULE", help="The words of a rule, as in the policy file.")
]
For = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="Let the rule end so long from now, as in 2h.")
]

_LIST = """
fw rules                               the same
fw rule list --json
"""
_ADD = """
fw rule add allow in tcp to port 22
fw rule add allow in tcp to port 80, 443 from 192.0.2.0/24 comment "office"
fw rule add reject out tcp to port 25 log "no smtp" --runtime
fw rule add allow forward on br-lan via wan0 --dry-run
fw rule add allow in tcp to port 8080 --for 2h
"""
_INSERT = """
fw rule insert 3 drop in from 198.51.100.7      to be tried before rule 3
"""
_DELETE = """
fw rule delete 3
fw rule delete allow in tcp to port 8080
"""


class _Line(NamedTuple):
    """What is listed: a built-in, a rule or a default, in the order in which they are tried."""

    id: str
    text: str
    packets: int
    bytes: int

    def fields(self) -> dict[str, str | int]:
        return {"text": self.text, "packets": self.packets, "bytes": self.bytes}


@app.callback(invoke_without_command=True, epilog=_LIST + _ADD.lstrip() + _DELETE.lstrip())
def rule(ctx: typer.Context) -> None:
    """List, add, insert and delete rules.

    Without a verb: list.
    """
    run_default(ctx, "list")


@app.command("list", cls=Report, epilog=_LIST)
def list_(ctx: typer.Context) -> None:
    """List the rules in force and what they decided."""
    from firewall import state
    from firewall.reasons import BUILTINS, REASONS

    session = session_of(ctx)
    try:
        running = state.read()
    except NotLoaded:
        _list_saved(session)
        return
    with running:
        reasons = running.reasons()
        rules = [_Line(str(rule.id), rule.text, rule.packets, rule.bytes) for rule in running.rules()]
        defaults = [
            _Line("-", f"default {default.scope} {default.action}", default.packets, default.bytes)
            for default in running.defaults()
        ]
        switches = running.policy.options
    builtins = [
        _Line("-", f"{option}: {REASONS[name]}", *counter)
        for name, counter in reasons.items()
        if name in BUILTINS and switches.get(option := name.replace("_", "."), "on") == "on"
    ]
    if session.json:
        session.print_json(
            loaded=True,
            rules=[{"id": int(line.id), **line.fields()} for line in rules],
            builtins=[line.fields() for line in builtins],
            defaults=[line.fields() for line in defaults],
        )
    else:
        cells = [
            (line.id, render.count(line.packets), render.size(line.bytes), line.text)
            for line in (*builtins, *rules, *defaults)
        ]
        session.print(
            *render.table(("id", "packets", "bytes", "rule"), cells, right=("id", "packets", "bytes"))
        )


@app.command(cls=Command, epilog=_ADD)
def add(
    ctx: typer.Context,
    words: Words,
    length: For = None,
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
) -> None:
    """Add a rule after the last one."""
    from firewall import policyfile

    new = _read(words, length)
    _edit(ctx, lambda source: policyfile.add_rule(source.text, new), yes, runtime, dry_run)


@app.command(cls=Command, epilog=_INSERT)
def insert(
    ctx: typer.Context,
    before: Annotated[int, typer.Argument(metavar="ID", help="The rule to stand before.")],
    words: Words,
    length: For = None,
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
) -> None:
    """Add a rule before another one."""
    from firewall import policyfile

    new = _read(words, length)
    _edit(
        ctx,
        lambda source: policyfile.insert_rule(source.text, source.line_of(before), new),
        yes,
        runtime,
        dry_run,
    )


@app.command(cls=Command, epilog=_DELETE)
def delete(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="ID|RULE", help="The rule's id, or all its words.")],
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
) -> None:
    """Delete a rule; what it let in is cut at its next packet."""
    from firewall import policyfile
    from firewall.lang import number

    rule_id = number(words[0]) if len(words) == 1 else None
    find = _by_text(words) if rule_id is None else _by_id(rule_id)
    _edit(ctx, lambda source: policyfile.delete_rule(source.text, find(source)), yes, runtime, dry_run)


def _read(words: list[str], length: str | None) -> "Rule":
    """The rule that the words say, to end so long from now."""
    from firewall.rule import Rule

    new = Rule.from_words(words)
    if length is None:
        return new
    from math import ceil
    from time import time

    from firewall.times import seconds
    from firewall.until import LAST_S, Until

    length_s = seconds(length)
    if not length_s:
        raise UsageError(f"--for takes a time with its unit, not '{length}'", "as in 90s, 5m, 2h or 1d")
    if new.until is not None:
        raise UsageError("the rule says itself when it ends", "leave out --for, or 'until'")
    end = Until(ceil(time()) + length_s)
    if end.end_s > LAST_S:
        raise UsageError(f"--for {length} is too long")
    return new._replace(until=end)


def _by_id(rule_id: int) -> "Callable[[Source], int]":
    return lambda source: source.line_of(rule_id)


def _by_text(words: list[str]) -> "Callable[[Source], int]":
    from firewall.rule import Rule

    wanted = Rule.from_words(words)
    return lambda source: source.line_like(wanted)


def _edit(
    ctx: typer.Context, change: "Callable[[Source], str]", yes: bool, runtime: bool, dry_run: bool
) -> None:
    from firewall import engine
    from firewall.cli.changes import report

    done = engine.edit(change, yes=yes, runtime=runtime, dry_run=dry_run)
    report(session_of(ctx), done, dry_run)


def _list_saved(session: Session) -> None:
    """The rules that a load would put in force, which have counted nothing."""
    from firewall import state

    rules = state.numbered()
    if session.json:
        listed = [{"id": rule.id, "text": rule.text, "packets": None, "bytes": None} for rule in rules]
        session.print_json(loaded=False, rules=listed, builtins=[], defaults=[])
        return
    session.say("nothing is loaded: these are the saved rules")
    session.print(*render.table(("id", "rule"), [(str(rule.id), rule.text) for rule in rules], right=["id"]))
