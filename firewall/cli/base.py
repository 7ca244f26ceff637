# SPDX-License-Identifier: MIT
"""What all commands share: the options --json and --netns, help that ends with examples, unknown words."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, TextIO

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from firewall.errors import UsageError

JSON_SCHEMA = 1
_WARNINGS_SHOWN = 20

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it even if it cuts this very connection.")]
Runtime = Annotated[bool, typer.Option("--runtime", help="Change what is running only, not the saved file.")]
KeepFlows = Annotated[
    bool, typer.Option("--keep-flows", help="Spare the connections that are open; later changes judge them.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would change; exit 10 if anything would.")
]


class Encoded(NamedTuple):
    """Items of a list that are JSON already."""

    items: Iterable[str]


def encoded(value: Any) -> str:
    """A value as JSON, on one line."""
    global _encode
    if _encode is None:
        import json

        # With `indent` the encoder is the slow one, which takes seconds for a full flow table.
        _encode = json.JSONEncoder(ensure_ascii=False).encode
    return _encode(value)


_encode: Callable[[Any], str] | None = None


class Session:
    """One run of the command line: where it prints, and the options that any command may have."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out = out
        self.err = err
        self.json = False
        self.netns: str | None = None

    def print(self, *lines: str) -> None:
        """Data, one item a line."""
        self.print_all(lines)

    def print_all(self, lines: Iterable[str]) -> None:
        """The same, of which there may be very many."""
        for line in lines:
            self.out.write(f"{line}\n")

    def print_json(self, **fields: Any) -> None:
        """The data of a command as one JSON object, an item a line."""
        before = "{"
        for name, value in {"schema": JSON_SCHEMA, **fields}.items():
            self.out.write(f"{before}\n  {encoded(name)}: ")
            before = ","
            if isinstance(value, dict):
                self._print_block("{}", (f"{encoded(one)}: {encoded(item)}" for one, item in value.items()))
            elif isinstance(value, list):
                self._print_block("[]", map(encoded, value))
            elif isinstance(value, Encoded):
                self._print_block("[]", value.items)
            else:
                self.out.write(encoded(value))
        self.out.write("\n}\n")

    def _print_block(self, brackets: str, items: Iterable[str]) -> None:
        before, after = brackets[0], brackets
        for item in items:
            self.out.write(f"{before}\n    {item}")
            before, after = ",", f"\n  {brackets[1]}"
        self.out.write(after)

    def say(self, *lines: str) -> None:
        """What is good to know but not asked for."""
        for line in lines:
            print(line, file=self.err)

    def warn(self, *messages: str) -> None:
        """The first of them, and how many more there are."""
        self.say(*(f"warning: {message}" for message in messages[:_WARNINGS_SHOWN]))
        if len(messages) > _WARNINGS_SHOWN:
            self.say(f"and {len(messages) - _WARNINGS_SHOWN:,} more warnings like these")


def session_of(ctx: typer.Context) -> Session:
    """The session that a command runs in."""
    session = ctx.obj
    assert isinstance(session, Session)
    return session


def refuse_json(session: Session, said: str) -> None:
    """Raises UsageError if JSON is wanted of a command that changes something; `said` is how it was called."""
    if session.json:
        raise UsageError(f"'{said}' prints no data, so there is no --json for it")


def new_app(cls: type[TyperGroup] | None = None) -> typer.Typer:
    """A Typer whose output is plain text and whose help also answers to -h."""
    return typer.Typer(
        cls=cls or Group,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _set_json(ctx: Any, _param: Any, value: bool) -> None:
    if value:
        ctx.obj.json = True


def _set_netns(ctx: Any, _param: Any, value: str | None) -> None:
    if value is not None:
        ctx.obj.netns = value


def _shared_options(with_json: bool) -> list[Any]:
    netns = TyperOption(
        param_decls=["--netns"],
        metavar="NAME",
        help="Act in this network namespace.",
        callback=_set_netns,
        expose_value=False,
    )
    if not with_json:
        return [netns]
    json = TyperOption(
        param_decls=["--json"],
        is_flag=True,
        default=False,
        help="Print JSON.",
        callback=_set_json,
        expose_value=False,
    )
    return [json, netns]


def _write_examples(command: TyperCommand | TyperGroup, formatter: Any) -> None:
    if not command.epilog:
        return
    with formatter.section("Examples"):
        for line in command.epilog.strip().splitlines():
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(TyperCommand):
    """A verb: it changes something. Its epilog is lines of examples."""

    reads = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_shared_options(self.reads))

    def invoke(self, ctx: Any) -> Any:
        session: Session = ctx.obj
        if not self.reads:
            refuse_json(session, ctx.command_path)
        if session.netns is not None:
            from firewall.paths import enter_netns

            enter_netns(session.netns)
        if not session.err.isatty():
            return super().invoke(ctx)
        from firewall.progress import shown

        with shown(session.err):
            return super().invoke(ctx)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self, formatter)


class Report(Command):
    """A command that only reads, and so can print JSON."""

    reads = True


class Group(TyperGroup):
    """A noun with its verbs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_shared_options(with_json=True))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if self.get_command(ctx, word) is None:
            raise self.unknown_verb(ctx, word)
        return super().resolve_command(ctx, args)

    def unknown_verb(self, ctx: Any, word: str) -> UsageError:
        """The error for a word that is no verb of this noun."""
        return unknown(f"{ctx.command_path} {word}", word, self.list_commands(ctx), {})

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(self, formatter)


def run_default(ctx: typer.Context, verb: str) -> None:
    """What a noun does when it is said alone: `verb`."""
    if ctx.invoked_subcommand is not None:
        return
    group = ctx.command
    assert isinstance(group, TyperGroup)
    command = group.get_command(ctx, verb)
    assert command is not None
    with command.make_context(verb, [], parent=ctx) as verb_ctx:
        command.invoke(verb_ctx)


def unknown(said: str, word: str, known: Iterable[str], instead: Mapping[str, str]) -> UsageError:
    """The error for a command that there is not; `said` is all of it, `word` the part that is none of
    `known`.
    """
    from firewall.lang import closest

    *before, _ = said.split()
    meant = instead.get(word) or closest(word, known)
    prefix = " ".join(before)
    hint = f"did you mean '{prefix} {meant}'?" if meant else f"'{prefix} --help' lists what there is"
    return UsageError(f"there is no '{said}'", hint)


def unknown_value(what: str, word: str, known: Iterable[str]) -> UsageError:
    """The error for a word that is none of those that an argument or option takes."""
    from firewall.lang import closest

    listed = list(known)
    meant = closest(word, listed)
    hint = f"did you mean '{meant}'?" if meant else "it is one of: " + ", ".join(listed)
    return UsageError(f"there is no {what} '{word}'", hint)
