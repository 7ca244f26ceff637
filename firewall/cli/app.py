# SPDX-License-Identifier: MIT
"""The command `fw`: which words it has, and where each is found.

A command's module is imported when the command is called, so that none pays for another.
"""

from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Annotated, Any, NamedTuple, TextIO

from firewall.deferred import deferred
from firewall.errors import UsageError

with deferred(
    *("datetime", "difflib", "gettext", "linecache", "platform", "shellingham", "shutil", "subprocess"),
    *("tokenize", "traceback", "typer.completion", "urllib.parse", "uuid"),
):
    import typer

from firewall.cli.base import Group, Session, new_app, run_default, unknown


class _Place(NamedTuple):
    """Where a command is: a module of this package, and in its `app` the command's name; '' is the whole
    noun.
    """

    module: str
    name: str


_COMMANDS = {
    "status": _Place("status", "status"),
    "load": _Place("attach", "load"),
    "unload": _Place("attach", "unload"),
    "upgrade": _Place("attach", "upgrade"),
    "apply": _Place("policy", "apply"),
    "check": _Place("policy", "check"),
    "show": _Place("policy", "show"),
    "refresh": _Place("policy", "refresh"),
    "fmt": _Place("fmt", "fmt"),
    "import": _Place("importing", "import"),
    "mode": _Place("setting", "mode"),
    "default": _Place("setting", "default"),
    "option": _Place("setting", "option"),
    "options": _Place("setting", "options"),
    "rule": _Place("rule", ""),
    "rules": _Place("rule", "list"),
    "zone": _Place("zone", ""),
    "zones": _Place("zone", "list"),
    "set": _Place("set", ""),
    "sets": _Place("set", "list"),
    "flow": _Place("flow", ""),
    "flows": _Place("flow", "list"),
    "log": _Place("watch", "log"),
    "doctor": _Place("system", "doctor"),
    "version": _Place("system", "version"),
}

# Reserved for versions to come.
_LATER = frozenset(
    (
        "confirm",
        "rollback",
        "history",
        "explain",
        "why",
        "trace",
        "test",
        "top",
    )
    + ("export",)
)

# What other firewalls call it.
_INSTEAD = {
    "add": "rule add",
    "allow": "rule add allow",
    "block": "rule add drop",
    "delete": "rule delete",
    "deny": "rule add drop",
    "disable": "unload",
    "drop": "rule add drop",
    "enable": "load",
    "flush": "flow flush",
    "help": "--help",
    "insert": "rule insert",
    "list": "rule list",
    "logs": "log",
    "monitor": "log -f",
    "reject": "rule add reject",
    "reload": "apply",
    "restart": "upgrade",
    "save": "apply",
    "start": "load",
    "stop": "unload",
    "validate": "check",
}


class _Root(Group):
    """`fw` itself, which finds its commands by name."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        app = import_module(f"firewall.cli.{place.module}").app
        found: Any = typer.main.get_command(app)  # of an app with one command that command, else a group
        return found.commands[place.name] if place.name and isinstance(found, Group) else found

    def unknown_verb(self, ctx: Any, word: str) -> UsageError:
        if word in _LATER:
            return UsageError(f"'fw {word}' is not in this version", "'fw --help' lists what is")
        return unknown(f"fw {word}", word, _COMMANDS, _INSTEAD)


app = new_app(cls=_Root)


@app.callback(
    invoke_without_command=True,
    epilog="""
fw load eth0 --observe               try it: judge and count, drop nothing
fw mode enforce                      now drop
fw rule add allow in tcp to port 443
fw                                   how it is doing
fw log -f                            watch what is dropped
fw unload --all                      undo everything
""",
)
def fw(
    ctx: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    """A stateful firewall at the traffic-control hooks of Linux.

    Without a command: 'fw status'.
    """
    run_default(ctx, "version" if version else "status")


def run(argv: Sequence[str], out: TextIO, err: TextIO) -> int:
    """Runs one command line and gives its exit status. Raises FwError, and UsageError for words that do not
    parse.
    """
    # The class of all that the parser finds wrong; typer shows only its kin, and has moved it between its
    # versions.
    parsing_error: Any = typer.BadParameter.__mro__[1]
    root: Any = typer.main.get_command(app)
    try:
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            root.make_context("fw", list(argv), obj=Session(out, err)) as ctx,
        ):
            root.invoke(ctx)
    except typer.Exit as end:
        return end.exit_code
    except parsing_error as error:
        raise _usage_error(error) from None
    return 0


def _usage_error(error: Any) -> UsageError:
    """The parser's complaint in our form: what is wrong, and then what to do."""
    path = error.ctx.command_path if error.ctx else "fw"
    hint = f"'{path} --help' shows what it takes"
    message = error.format_message()
    if near := getattr(error, "possibilities", None):
        message, hint = f"no such option: {error.option_name}", f"did you mean {sorted(near)[0]}?"
    return UsageError(message[:1].lower() + message[1:].rstrip("."), hint)
