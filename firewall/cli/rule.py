# SPDX-License-Identifier: MIT
"""`fw rule`: the rules in the order in which they are tried."""

from math import inf
from time import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from firewall import render
from firewall.cli.base import (
    Command,
    DryRun,
    KeepFlows,
    Report,
    Runtime,
    Session,
    Yes,
    new_app,
    run_default,
    session_of,
)
from firewall.errors import NotLoaded, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firewall.document import PlacedRule
    from firewall.engine import Source
    from firewall.rule import Rule

app = new_app()

Words = Annotated[
    list[str], typer.Argument(metavar="RULE", help="The words of a rule, as in the policy file.")
]
For = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="Let the rule end so long from now, as in 2h.")
]

Unused = Annotated[bool, typer.Option("--unused", help="Only rules that have had no packet.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="With --unused: none in so long, as in 30d.")
]

_LIST = """
fw rules                               the same
fw rule list --json
fw rule list --unused                  rules that have had no packet
fw rule list --unused --since 30d      none in the last 30 days
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
fw rule delete 3 --keep-flows          what it let in stays
fw rule delete allow in tcp to port 8080
"""


class _Line(NamedTuple):
    """What is listed: a built-in, a rule or a default, in the order in which they are tried."""

    id: str
    text: str
    packets: int
    bytes: int
    hit_s_ago: float | None = None

    def fields(self) -> dict[str, str | int | None]:
        return {"text": self.text, "packets": self.packets, "bytes": self.bytes}

    def with_hit(self) -> dict[str, str | int | None]:
        hit_s = None if self.hit_s_ago is None else round(time() - self.hit_s_ago)
        return {**self.fields(), "last_hit_s": hit_s}

    def cells(self) -> tuple[str, ...]:
        ago = "-" if self.hit_s_ago is None else f"{render.duration(self.hit_s_ago)} ago"
        return self.id, render.count(self.packets), render.size(self.bytes), ago, self.text


@app.callback(invoke_without_command=True, epilog=_LIST + _ADD.lstrip() + _DELETE.lstrip())
def rule(ctx: typer.Context) -> None:
    """List, add, insert and delete rules.

    Without a verb: list.
    """
    run_default(ctx, "list")


@app.command("list", cls=Report, epilog=_LIST)
def list_(ctx: typer.Context, unused: Unused = False, since: Since = None) -> None:
    """List the rules in force and what they decided."""
    from firewall import state
    from firewall.reasons import REASONS

    session = session_of(ctx)
    longest_s = _longest_s(unused, since)
    try:
        running = state.read()
    except NotLoaded:
        if unused:
            raise
        _list_saved(session)
        return
    with running:
        rules = [
            _Line(str(rule.id), rule.text, rule.packets, rule.bytes, rule.hit_s_ago)
            for rule in running.rules()
            if longest_s is None or rule.hit_s_ago is None or rule.hit_s_ago > longest_s
        ]
        if unused:
            _print_unused(session, rules)
            return
        reasons = running.reasons()
        defaults = [
            _Line("-", f"default {one.scope} {one.action}", one.packets, one.bytes, one.hit_s_ago)
            for one in running.defaults()
        ]
        builtins = [
            _Line("-", f"{name.replace('_', '.')}: {REASONS[name]}", *reasons[name])
            for name in running.builtins()
        ]
    if session.json:
        session.print_json(
            loaded=True,
            rules=[{"id": int(line.id), **line.with_hit()} for line in rules],
            builtins=[line.fields() for line in builtins],
            defaults=[line.with_hit() for line in defaults],
        )
    else:
        session.print(*_table([*builtins, *rules, *defaults]))


@app.command(cls=Command, epilog=_ADD)
def add(
    ctx: typer.Context,
    words: Words,
    length: For = None,
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
    keep_flows: KeepFlows = False,
) -> None:
    """Add a rule after the last one."""
    from firewall import policyfile
    from firewall.cli.changes import edit

    new = _read(words, length)
    edit(
        session_of(ctx),
        lambda source: policyfile.add_rule(source.text, new),
        yes,
        runtime,
        dry_run,
        keep_flows,
        new,
    )


@app.command(cls=Command, epilog=_INSERT)
def insert(
    ctx: typer.Context,
    before: Annotated[int, typer.Argument(metavar="ID", help="The rule to stand before.")],
    words: Words,
    length: For = None,
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
    keep_flows: KeepFlows = False,
) -> None:
    """Add a rule before another one."""
    from firewall import policyfile
    from firewall.cli.changes import edit

    new = _read(words, length)
    edit(
        session_of(ctx),
        lambda source: policyfile.insert_rule(source.text, source.line_of(before), new),
        yes,
        runtime,
        dry_run,
        keep_flows,
    )


@app.command(cls=Command, epilog=_DELETE)
def delete(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="ID|RULE", help="The rule's id, or all its words.")],
    yes: Yes = False,
    runtime: Runtime = False,
    dry_run: DryRun = False,
    keep_flows: KeepFlows = False,
) -> None:
    """Delete a rule; what it let in is cut at its next packet."""
    from firewall import policyfile
    from firewall.cli.changes import edit
    from firewall.lang import number

    rule_id = number(words[0]) if len(words) == 1 else None
    left: list[PlacedRule] = []

    def change(source: "Source") -> str:
        if rule_id is not None:
            return policyfile.delete_rule(source.text, source.line_of(rule_id))
        wanted = _read(words, None)
        left.extend(source.like(wanted)[1:])
        return policyfile.delete_rule(source.text, source.line_like(wanted))

    edit(session_of(ctx), change, yes, runtime, dry_run, keep_flows)
    for rule in left:
        place = f"{rule.file}, line {rule.line}" if rule.file else "this file"
        session_of(ctx).warn(f"an equal rule is left in {place}, which decides as this one did")


def _longest_s(unused: bool, since: str | None) -> float | None:
    """How many seconds ago a packet may have been for its rule to be in use; None: it does not matter."""
    if since is None:
        return inf if unused else None
    if not unused:
        raise UsageError("--since says for how long rules have been unused", "give --unused with it")
    from firewall.times import EXAMPLES, seconds

    length_s = seconds(since)
    if length_s is None:
        raise UsageError(f"--since takes a time with its unit, not '{since}'", EXAMPLES)
    return length_s


def _print_unused(session: Session, rules: "Sequence[_Line]") -> None:
    if session.json:
        session.print_json(loaded=True, rules=[{"id": int(line.id), **line.with_hit()} for line in rules])
        return
    if not rules:
        session.say("every rule has had packets")
    session.print(*_table(rules))


def _table(lines: "Sequence[_Line]") -> list[str]:
    right = "id", "packets", "bytes", "last hit"
    return render.table((*right, "rule"), [line.cells() for line in lines], right=right)


def _read(words: list[str], length: str | None) -> "Rule":
    """The rule that the words say, to end so long from now."""
    from firewall.rule import Rule

    new = Rule.from_words(words)
    if length is None:
        return new
    from math import ceil

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


def _list_saved(session: Session) -> None:
    """The rules that a load would put in force, which have counted nothing."""
    from firewall import state

    rules = state.numbered()
    if session.json:
        unknown = dict.fromkeys(("packets", "bytes", "last_hit_s"))
        listed = [{"id": rule.id, "text": rule.text, **unknown} for rule in rules]
        session.print_json(loaded=False, rules=listed, builtins=[], defaults=[])
        return
    session.say("nothing is loaded: these are the saved rules")
    session.print(*render.table(("id", "rule"), [(str(rule.id), rule.text) for rule in rules], right=["id"]))
