# SPDX-License-Identifier: MIT
"""`fw fmt`: a policy file in its canonical form."""

from contextlib import ExitStack
from typing import Annotated

import typer

from firewall.cli.base import Command, Session, new_app, session_of
from firewall.cli.policy import STDIN, File, read_text
from firewall.errors import WouldChange

app = new_app()

_FMT = """
fw fmt                       the saved file
fw fmt rules.fw
fw fmt rules.fw --check      only say whether it would change
fw show | fw fmt -           print the running policy so
"""


@app.command(cls=Command, epilog=_FMT)
def fmt(
    ctx: typer.Context,
    file: File = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it would change; exit 10 if so.")
    ] = False,
) -> None:
    """Bring a policy file into its canonical form.

    Each statement is written as it prints; comments and the order of lines stay.
    Without FILE: the saved one. Standard input is printed.
    """
    from firewall.form import formatted

    session = session_of(ctx)
    with ExitStack() as stack:
        path = file
        if path is None:
            from firewall.paths import Lock, policy_path

            path = str(policy_path())
            if not check:
                stack.enter_context(Lock())
        text, name = read_text(path)
        new = formatted(text, name)
        if check:
            if new != text:
                raise WouldChange(f"{name} is not in canonical form", "leave out --check to change it")
            session.say(f"{name} is in canonical form")
        elif path == STDIN:
            session.out.write(new)
        else:
            _replace(session, path, text, new)
            if file is None and new != text:
                session.say("what runs still has the text from before: 'fw apply' makes them the same")


def _replace(session: Session, path: str, text: str, new: str) -> None:
    if new == text:
        session.say(f"{path} was in canonical form already")
        return
    from pathlib import Path

    from firewall.replacement import Replacement

    with Replacement(Path(path), new_mode=0o644) as replacement:
        replacement.write((new.encode(),))
        replacement.commit()
    session.say(f"{path} is in canonical form now")
