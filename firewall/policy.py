# SPDX-License-Identifier: MIT
"""A policy as a value: the statements of a file in order, and what they come to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from firewall import options
from firewall.errors import UsageError
from firewall.expect import Expectation, read_expectation
from firewall.include import Include, file_name, read_include
from firewall.lang import (
    COMMA,
    END,
    WORD,
    Cursor,
    PolicyError,
    Problem,
    Source,
    decode_policy,
    lex_line,
    lex_words,
    problem_at,
)
from firewall.progress import counted
from firewall.rule import Rule
from firewall.setdef import SetDef, read_set
from firewall.terms import Names, read_names
from firewall.words import ACTIONS, SCOPES, refuse
from firewall.written import Written, split_lines
from firewall.zones import Zone, read_zone

if TYPE_CHECKING:  # which small policies do not need
    from firewall.expand import Entry
    from firewall.quick import Reader

# What becomes of a packet that no rule matches, where the policy does not say.
DEFAULT_ACTIONS = {"in": "drop", "forward": "drop", "out": "allow"}

LOOPBACK = "lo"


class Default(NamedTuple):
    """`default SCOPE ACTION`."""

    scope: str
    action: str

    def __str__(self) -> str:
        return f"default {self.scope} {self.action}"


class Setting(NamedTuple):
    """`option NAME VALUE`."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"option {self.name} {self.value}"


class Protect(NamedTuple):
    """`protect NAMES`."""

    names: Names

    def __str__(self) -> str:
        return f"protect {self.names}"


Value = Rule | Default | Setting | Protect | Zone | Expectation | Include | SetDef

# Good lines that were read before: one command reads the saved, the running and the new policy, which differ little.
_KNOWN_LINES = 1 << 18
_MANY_LINES = 200  # from which on it pays to import the reader for them
_new = tuple.__new__
_known: dict[str, tuple[Value | None, str]] = {}


class Statement(NamedTuple):
    """A statement, the number of its line from 1, and that line as it was written.

    `file` is the name of the included file that it stands in, and empty in the policy's own file. `text` is what the
    value prints as; where that is not known yet it is empty.
    """

    line: int
    source: str
    value: Value
    file: str = ""
    text: str = ""


class Policy:
    """The statements of one policy, in order. Immutable.

    Two are equal if they decide alike word for word: the same rules in the same order, and the same defaults, options,
    sets and protected names, whether said or left to their defaults. Lines and comments do not count.
    """

    __slots__ = (
        "_boxes",
        "_rule_texts",
        "defaults",
        "name",
        "options",
        "protect",
        "rule_files",
        "rule_lines",
        "rules",
        "sets",
        "statements",
        "zones",
    )

    def __init__(self, statements: Iterable[Statement], name: str = "rules.fw") -> None:
        self.name = name
        self.statements = tuple(statements)
        said = [statement for statement in self.statements if isinstance(statement.value, Rule)]
        values = [statement.value for statement in self.statements if not isinstance(statement.value, Rule)]
        # A policy may have 100,000 rules, and nearly everything asks for one of these.
        self.rules = tuple([statement.value for statement in said if isinstance(statement.value, Rule)])
        self.rule_lines = tuple([statement.line for statement in said])
        self.rule_files = tuple([statement.file for statement in said])
        self._rule_texts: tuple[str, ...] | None = None
        self._boxes: tuple[Entry | None, ...] | None = None
        self.protect = tuple(value.names for value in values if isinstance(value, Protect))
        self.zones = {value.name: value.names for value in values if isinstance(value, Zone)}
        self.sets = {value.name: value for value in values if isinstance(value, SetDef)}
        self.options = {value.name: value.value for value in values if isinstance(value, Setting)}
        defaults = {value.scope: value.action for value in values if isinstance(value, Default)}
        self.defaults = {**DEFAULT_ACTIONS, **defaults}

    @classmethod
    def of(
        cls,
        rules: Iterable[Rule] = (),
        defaults: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        protect: Iterable[Names] = (),
        sets: Iterable[SetDef] = (),
    ) -> "Policy":
        """A policy of values that did not come from a file, with the lines that `str` will give them."""
        values: list[Value] = [Protect(names) for names in protect]
        values += [Setting(name, value) for name, value in (options or {}).items()]
        values += [
            Default(scope, action) for scope, action in {**DEFAULT_ACTIONS, **(defaults or {})}.items()
        ]
        values += sets
        values += rules
        return cls(Statement(line, str(value), value) for line, value in enumerate(values, 1))

    @property
    def rule_texts(self) -> tuple[str, ...]:
        """What the rules print as."""
        if self._rule_texts is None:
            said = [statement for statement in self.statements if isinstance(statement.value, Rule)]
            self._rule_texts = tuple([statement.text or str(statement.value) for statement in said])
        return self._rule_texts

    @property
    def boxes(self) -> "tuple[Entry | None, ...]":
        """What `firewall.expand.single` says of each rule: who verifies a policy and who compiles it ask for it."""
        if self._boxes is None:
            from firewall.expand import scope_mask, single

            self._boxes = tuple([single(rule, scope_mask(rule)) for rule in self.rules])
        return self._boxes

    def protects(self, ifname: str) -> bool:
        """Whether a `protect` statement names this interface; the loopback interface never is."""
        return ifname != LOOPBACK and any(names.matches(ifname) for names in self.protect)

    def place(self, line: int, file: str, seen_from: str) -> str:
        """A line of the file `file`, as told of in `seen_from`, both as in `Statement`."""
        return f"line {line}" if file == seen_from else f"{file or self.name}:{line}"

    def render(self) -> str:
        """The policy as a file: zones, protected names, options, defaults, sets, rules, expectations.

        It parses to an equal policy.
        """
        lines = [str(Zone(name, names)) for name, names in self.zones.items()]
        lines += [str(Protect(names)) for names in self.protect]
        lines += [str(Setting(name, value)) for name, value in self.options.items()]
        lines += [str(Default(scope, action)) for scope, action in self.defaults.items()]
        lines += map(str, self.sets.values())
        lines += self.rule_texts
        lines += [str(one.value) for one in self.statements if isinstance(one.value, Expectation)]
        return "".join(line + "\n" for line in lines)

    __str__ = render

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Policy) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self.rules)

    def __repr__(self) -> str:
        return f"<Policy {self.name}: {len(self.rules)} rules>"

    def _meaning(self) -> tuple[object, ...]:
        protect = [names.plain for names in self.protect]
        names = {names for names in protect if names.negated}
        plain = {pattern for names in protect if not names.negated for pattern in names.patterns}
        return self.rules, self.defaults, options.effective(self.options), self.sets, names, plain


def parse_policy(text: str | bytes | Written, name: str = "rules.fw", alone: bool = False) -> Policy:
    """The policy that is written. Raises PolicyError with all the lines that are wrong.

    With `alone` what is included may be missing, and the policy is then what its own file says.
    """
    if not isinstance(text, Written):
        text = Written(decode_policy(text, name) if isinstance(text, bytes) else text)
    statements: list[Statement] = []
    problems: list[Problem] = []
    _read_file(text, name, "", alone, statements, problems)
    misused: list[Problem] = []
    if any(isinstance(one.value, Zone) for one in statements):
        from firewall.zoned import with_zones

        statements, misused = with_zones(statements, name)
    if misused:
        problems = sorted(problems + misused, key=lambda one: (one.name != name, one.name, one.line))
    if problems:
        raise PolicyError(problems)
    return Policy(statements, name)


def _read_file(
    written: Written, name: str, file: str, alone: bool, statements: list[Statement], problems: list[Problem]
) -> None:
    included = iter(written.included)
    lines = split_lines(written.text)
    quick = None
    if len(lines) >= _MANY_LINES:
        from firewall.quick import Reader

        quick = Reader()
    for number, line in enumerate(counted("reading", lines), 1):
        try:
            value, printed = _known.get(line) or _read_line(line, name, number, quick)
        except PolicyError as error:
            problems += error.problems
            continue
        if value is None:
            continue
        statements.append(_new(Statement, (number, line, value, file, printed)))
        if isinstance(value, Include):
            files = next(included, None)
            if files is None and not alone:
                source = Source(name, number, line)
                message = f"{file_name(name, value.path)} cannot be included here"
                problems.append(problem_at(source, value.path, message, "give the policy as a file"))
            for path, inner in files or ():
                inner_name = file_name(name, path)
                _read_file(inner, inner_name, inner_name, alone, statements, problems)


def lists_of(value: Value) -> list[Names]:
    """The lists of interfaces in a statement."""
    if isinstance(value, Expectation):
        value = value.rule
    if isinstance(value, Rule):
        return [names for names in (value.on, value.via) if names]
    return [value.names] if isinstance(value, Protect | Zone) else []


def zones_of(value: Value, zones: Mapping[str, Names]) -> list[str]:
    """The zones that a statement names, each as often as it does."""
    return [name for names in lists_of(value) for name in names.patterns if name in zones]


def _read_line(line: str, name: str, number: int, quick: "Reader | None") -> tuple[Value | None, str]:
    """What a line says, None if it is blank or a remark; and the text that it prints as, if that is known."""
    found: tuple[Value | None, str] | None = quick.read(line) if quick else None
    if found is None:
        cursor = lex_line(Source(name, number, line))
        found = None if cursor.next.kind == END else read_statement(cursor), ""
    if len(_known) < _KNOWN_LINES:
        _known[line] = found
    return found


def parse_words(words: Sequence[str]) -> Value:
    """The statement that the words of a command line say. Raises PolicyError."""
    return read_statement(lex_words(words))


def read_statement(cursor: Cursor) -> Value:
    """The one statement of a line."""
    first = cursor.next
    if first.kind != WORD or first.text not in _READERS:
        refuse(cursor, first, _EXPECTED, _READERS)
    value: Value = _READERS[first.text](cursor)
    cursor.finish()
    return value


def _read_default(cursor: Cursor) -> Default:
    cursor.take()
    scope = cursor.take()
    if scope.text not in SCOPES:
        refuse(cursor, scope, "a scope ('in', 'out' or 'forward')", SCOPES)
    if cursor.next.text == ",":
        cursor.fail("a default speaks of one scope", cursor.next, "write one line for each scope")
    action = cursor.take()
    if action.text not in ACTIONS:
        refuse(cursor, action, "'allow', 'drop' or 'reject'", ACTIONS)
    return Default(scope.text, action.text)


def _read_setting(cursor: Cursor) -> Setting:
    cursor.take()
    name = cursor.word("the name of an option", "'fw option' lists them all")
    try:
        options.find(name.text)
    except UsageError as error:
        cursor.fail(error.message, name, error.hint)
    value = cursor.word(f"a value for '{name.text}'")
    if cursor.next.kind == COMMA:
        cursor.fail("an option has one value", cursor.next, "write numbers without commas")
    try:
        return Setting(name.text, options.check(name.text, value.text))
    except UsageError as error:
        cursor.fail(error.message, value, error.hint)


def _read_protect(cursor: Cursor) -> Protect:
    cursor.take()
    start = cursor.next
    names = read_names(cursor)
    if not names.negated and LOOPBACK in names.patterns:
        cursor.fail("the loopback interface cannot be protected", start)
    return Protect(names)


_EXPECTED = "a statement ('allow', 'drop', 'reject', 'default', 'protect', ...)"
_READERS: dict[str, Callable[[Cursor], Value]] = {
    "default": _read_default,
    "expect": read_expectation,
    "include": read_include,
    "option": _read_setting,
    "protect": _read_protect,
    "zone": read_zone,
    "set": read_set,
    **dict.fromkeys(ACTIONS, Rule.read),
}
