# SPDX-License-Identifier: MIT
"""What a change of the policy did, said the same way by every command that makes one."""

from typing import TYPE_CHECKING

from firewall.cli.base import Session
from firewall.errors import WouldChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from firewall.engine import Source
    from firewall.reports import ApplyReport
    from firewall.rule import Rule


def edit(
    session: Session,
    change: "Callable[[Source], str]",
    yes: bool,
    runtime: bool,
    dry_run: bool,
    keep_flows: bool,
    added: "Rule | None" = None,
) -> None:
    """Changes the policy's text, as `engine.edit`, and reports it."""
    from firewall import engine

    done = engine.edit(change, yes=yes, runtime=runtime, dry_run=dry_run, keep_flows=keep_flows, added=added)
    report(session, done, dry_run)


def report(session: Session, done: "ApplyReport", dry_run: bool) -> None:
    """Prints what was added and removed, and says on stderr where it went.

    Raises WouldChange after a dry run that found something to change.
    """
    session.print(*(f"- rule {rule.id}: {rule.text}" for rule in done.removed))
    session.print(*(f"+ rule {rule.id}: {rule.text}" for rule in done.added))
    session.print(*(f"* {text}" for text in done.other))
    session.warn(*done.warnings)
    if dry_run:
        _end_dry_run(session, done, "--dry-run")
        return
    # What was made anew under its name has gone and has come.
    for name in done.attached:
        session.say(f"{name} is protected {'again' if name in done.detached else 'now'}")
    for name in done.detached:
        if name not in done.attached:
            session.say(f"{name} is not protected any more")
    session.say(_where(done))


def report_diff(session: Session, done: "ApplyReport") -> None:
    """Prints the policies' canonical lines as a unified diff, in which a rule that has moved shows too.

    Raises WouldChange if there is something to change.
    """
    from difflib import unified_diff

    old, new = (text.splitlines() for text in done.texts or ("", ""))
    lines = list(unified_diff(old, new, "running" if done.loaded else "saved", "wanted", lineterm=""))
    session.print(*lines)
    if done.changed and not lines:
        session.say("only how it is written would change, or which interfaces are protected now")
    session.warn(*done.warnings)
    _end_dry_run(session, done, "--diff")


def _end_dry_run(session: Session, done: "ApplyReport", option: str) -> None:
    if done.changed:
        raise WouldChange("this would change the policy", f"leave out {option} to do it")
    session.say("nothing would change")


def _where(done: "ApplyReport") -> str:
    if not done.loaded:
        return f"saved in {done.file}; nothing is loaded, so it takes effect with the next 'fw load'"
    if not done.changed:
        return f"nothing changed; generation {done.generation} is in force"
    if not done.saved:
        return (
            f"in force as generation {done.generation}, but not saved: the next 'fw apply' or boot forgets it"
        )
    return f"in force as generation {done.generation}, and saved in {done.file}"
