# SPDX-License-Identifier: MIT
"""`fw apply`, `fw check` and `fw show`: the policy as a whole, as a file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firewall import render
from firewall.cli.base import Command, DryRun, KeepFlows, Report, Runtime, Yes, new_app, session_of
from firewall.errors import FwError, NotPermitted

if TYPE_CHECKING:
    from firewall.written import Written

app = new_app()

STDIN = "-"

File = Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="A policy file; - is standard input.")]

Diff = Annotated[
    bool, typer.Option("--diff", help="Like --dry-run, line by line, with what stands around it.")
]

_APPLY = """
fw apply                                the saved file, after an edit
fw apply rules.fw --dry-run             what would change
fw apply rules.fw --diff                the same, as a diff
fw show | fw apply - --dry-run          nothing
fw apply rules.fw --runtime             try it, without saving it
fw apply rules.fw --keep-flows          for new connections alone
"""
_CHECK = """
fw check                                the saved file
fw check rules.fw
"""
_SHOW = """
fw show > rules.fw
fw show --saved
"""


@app.command(cls=Command, epilog=_APPLY)
def apply(
    ctx: typer.Context,
    file: File = None,
    dry_run: DryRun = False,
    diff: Diff = False,
    yes: Yes = False,
    runtime: Runtime = False,
    keep_flows: KeepFlows = False,
) -> None:
    """Put a policy file in force and save it.

    Without FILE: the saved one. The change is made all at once or not at all.
    """
    from firewall import engine
    from firewall.cli.changes import report, report_diff

    dry_run = dry_run or diff

    if file is None:
        done = engine.apply(runtime=runtime, yes=yes, dry_run=dry_run, keep_flows=keep_flows)
    else:
        written, name = read_policy(file)
        done = engine.apply(
            written, name=name, runtime=runtime, yes=yes, dry_run=dry_run, keep_flows=keep_flows
        )
    if diff:
        report_diff(session_of(ctx), done)
    else:
        report(session_of(ctx), done, dry_run)


@app.command(cls=Report, epilog=_CHECK)
def check(ctx: typer.Context, file: File = None) -> None:
    """Say what is wrong with a policy file, changing nothing.

    Without FILE: the saved one.
    """
    from firewall.expect import Unmet
    from firewall.lang import PolicyError
    from firewall.paths import policy_path
    from firewall.policy import parse_policy
    from firewall.setcheck import check_sets
    from firewall.surroundings import odd_here
    from firewall.verify import verify

    session = session_of(ctx)
    if file is None:
        file = str(policy_path())
    name = file
    try:
        written, name = read_policy(file)
        policy = parse_policy(written, name)
        listed = check_sets(policy, Path(file).parent if file != STDIN else policy_path().parent)
        warnings = verify(policy) + odd_here(policy, listed)
    except (PolicyError, Unmet) as error:
        if session.json:
            session.print_json(
                file=name, problems=[problem._asdict() for problem in error.problems], warnings=[]
            )
        raise
    if session.json:
        session.print_json(file=name, problems=[], warnings=[warning._asdict() for warning in warnings])
        return
    session.warn(*(warning.told(name) for warning in warnings))
    rules = render.counted(len(policy.rules), "rule")
    session.say(f"{name} is a policy: {rules}, {render.counted(len(warnings), 'warning')}")


@app.command(cls=Command, epilog=_SHOW)
def show(
    ctx: typer.Context,
    saved: Annotated[bool, typer.Option("--saved", help="The saved policy, which may differ.")] = False,
) -> None:
    """Print the policy in force as a file."""
    from firewall import state

    session_of(ctx).out.write(state.policy_text(saved))


@app.command(cls=Command, epilog="fw refresh\n")
def refresh(ctx: typer.Context) -> None:
    """Count the times of rules again, after the clock was set.

    What runs stays in force. A timer of systemd does this when the clock is
    set, and hourly.
    """
    from firewall.refresh import refresh as count_again

    number = count_again()
    session = session_of(ctx)
    if number is None:
        session.say("no rule asks for the time, a user or a unit")
    else:
        session.say(f"in force as generation {number}, with all times counted from now")


def read_policy(file: str) -> tuple["Written", str]:
    """A policy file with what it includes, and the name to use for it in messages.

    What standard input includes is looked for where it would be saved.
    """
    from firewall.include import read_included
    from firewall.paths import policy_path

    text, name = read_text(file)
    return read_included(text, name, str(policy_path().parent) if file == STDIN else None), name


def read_text(file: str, what: str = "a policy file") -> tuple[str, str]:
    """The text of a file alone, and the name to use for it in messages, as `what` it is to be."""
    from firewall.lang import decode_policy

    name = "standard input" if file == STDIN else file
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read()
        else:
            with open(file, "rb") as opened:
                data = opened.read()
    except PermissionError as error:
        raise NotPermitted(f"cannot read {name}: {error.strerror}") from None
    except OSError as error:
        raise FwError(f"cannot read {name}: {error.strerror}") from None
    return decode_policy(data, name, what), name
