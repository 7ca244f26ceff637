# SPDX-License-Identifier: MIT
"""Edits of a policy's text: pure functions from text to text that keep every other line byte for byte.

Texts come from `lang.decode_policy`, so line ends (LF or CRLF), a byte order mark and a missing final line
end are in them; a new line gets the line end of the text's first line. A text that is no policy raises
PolicyError.
"""

from collections.abc import Iterator, Mapping, Sequence

from firewall import options
from firewall.errors import UsageError
from firewall.include import Include
from firewall.lang import WORD, Source, Token, lex_line
from firewall.policy import Default, Protect, Setting, Statement, Value, lists_of, parse_policy, parse_words
from firewall.rule import Rule
from firewall.setdef import SetDef
from firewall.terms import Names, is_plain_name
from firewall.written import Included, Written
from firewall.zones import Zone, resolve

_ZONE_WORDS = 3  # in `zone NAME =`
_BOM = "\ufeff"
# The order in which kinds of statements stand, where a file does not have one of its own.
_ORDER = (Zone, Protect, Setting, Default, SetDef, Rule)


def add_rule(text: str, rule: Rule) -> str:
    """Adds a rule after the last one, or after the last file that is included; where there is none, at the end."""
    file = _File(text)
    lines = [one.line for one in file.own if isinstance(one.value, Rule | Include)]
    file.insert(lines[-1] + 1 if lines else len(file.lines) + 1, rule)
    return file.text()


def add_behind(text: str, line: int, rule: Rule) -> str:
    """Adds a rule after the last one of a policy, which is on `line`."""
    line_end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    end = len(text)
    for _ in range(text.count("\n") - line + 1):  # from the end, which is near
        end = text.rfind("\n", 0, end)
    before, behind = (text[: end + 1], text[end + 1 :]) if end < len(text) else (text + line_end, "")
    return f"{before}{rule}{line_end}{behind}"


def insert_rule(text: str, line: int, rule: Rule) -> str:
    """Adds a rule before the rule on `line`, and before comment lines right above it, likely its own."""
    file = _File(text)
    file.demand_rule(line)
    file.insert(file.above_comments(line), rule)
    return file.text()


def delete_rule(text: str, line: int) -> str:
    """Takes the rule on `line` away, with a comment that follows it on the same line."""
    file = _File(text)
    file.demand_rule(line)
    del file.lines[line - 1]
    return file.text()


def set_default(text: str, scope: str, action: str) -> str:
    """Makes the policy say `default SCOPE ACTION`."""
    return _set(text, Default, parse_words(["default", scope, action]))


def set_option(text: str, name: str, value: str) -> str:
    """Makes the policy say `option NAME VALUE`. Raises UsageError if there is no such option or value."""
    return _set(text, Setting, Setting(name, options.check(name, value)))


def unset_option(text: str, name: str) -> str:
    """Takes every `option NAME` away, so that the built-in default holds again."""
    options.find(name)
    file = _File(text)
    for statement in reversed(file.statements(Setting)):
        if _subject(statement.value) == name:
            del file.lines[statement.line - 1]
    return file.text()


def add_protect(text: str, ifname: str, included: Included = ()) -> str:
    """Makes the policy protect an interface, where it does not already by this name or a wider one.

    Raises UsageError where the name is that of a zone, which a `protect` would mean.
    """
    value = parse_words(["protect", ifname])
    file = _File(text, included)
    if ifname in file.policy.zones and not file.policy.protects(ifname):
        message = (
            f"'{ifname}' is a zone of the policy, so no statement of it can protect an interface of this name"
        )
        raise UsageError(message, "give the zone another name")
    if not file.policy.protects(ifname):
        file.insert(file.place(Protect), value)
    return file.text()


def demand_nameable(ifname: str) -> None:
    """Raises UsageError where a policy that says the name of this interface means another, several, or none."""
    if not is_plain_name(ifname):
        raise UsageError(
            f"a policy cannot name the interface '{ifname}': there that is no name, or stands for more than one",
            "give the interface another name: ip link set dev OLD name NEW",
        )


def remove_protect(text: str, ifname: str, included: Included = ()) -> str:
    """Takes an interface out of the `protect` statements; the text is unchanged where none names it.

    Raises UsageError where a pattern or a `not` protects it, since taking that away would change more, and where an
    included file does.
    """
    file = _File(text, included)
    for one in file.policy.statements:
        if one.file and isinstance(one.value, Protect) and one.value.names.matches(ifname):
            message = f"'{ifname}' is protected by line {one.line} of {one.file}: {one.value}"
            raise UsageError(message, "edit that file; then 'fw apply' puts it in force")
    found = [(one.line, one.value) for one in file.statements(Protect) if isinstance(one.value, Protect)]
    for line, value in found:
        others = tuple(name for name in value.names.patterns if name != ifname)
        if resolve(Names(value.names.negated, others), file.policy.zones).matches(ifname):
            message = f"'{ifname}' is protected by line {line} of the policy: {value}"
            raise UsageError(message, "edit that line; it may speak of other interfaces too")
    for line, value in reversed(found):
        file.remove_name(line, value.names, ifname)
    return file.text()


def add_to_zone(text: str, name: str, interfaces: Sequence[str], included: Included = ()) -> str:
    """Puts interfaces into a zone, which is made where there is none; those that it has already stay as they are.

    The first of them may be `not`, where the zone is new. Raises UsageError where it is every interface but some,
    where an included file has it, or where a new one's name means an interface already, by an included file too.
    """
    negation = interfaces[:1] if interfaces[:1] == ["not"] else []
    listed = ", ".join(interfaces[len(negation) :]).split(" ")
    wanted = parse_words(["zone", name, "=", *negation, *listed])
    assert isinstance(wanted, Zone)
    file = _File(text, included)
    found = file.zone(name)
    if found is None:
        user = file.user_of(name)
        if user:
            place = file.policy.place(user.line, user.file, "")
            message = f"'{name}' is an interface in {place}: {user.value}"
            raise UsageError(
                message, "give the zone another name, or change that first: it would mean the zone"
            )
        file.insert(file.place(Zone), wanted)
        return file.text()
    line, names = found
    if names.negated or wanted.names.negated:
        message = (
            f"zone '{name}' is every interface but some: {names}"
            if names.negated
            else "'not' is for a new zone"
        )
        raise UsageError(message, f"edit line {line} of the policy")
    fresh = [one for one in wanted.names.patterns if one not in names.patterns]
    last = file.words(line)[-1]
    end = last.column - 1 + last.width
    file.cut(line, end, end, "".join(f", {one}" for one in fresh))
    return file.text()


def take_from_zone(text: str, name: str, interfaces: Sequence[str], included: Included = ()) -> str:
    """Takes interfaces out of a zone; without any, the zone itself.

    Raises UsageError where it has them not, or is used, by an included file too, and would be gone: its name would mean
    an interface then.
    """
    file = _File(text, included)
    found = file.zone(name)
    if found is None:
        raise UsageError(f"the policy has no zone '{name}'", "'fw zone list' lists them")
    line, names = found
    if names.negated and interfaces:
        raise UsageError(
            f"zone '{name}' is every interface but some: {names}", f"edit line {line} of the policy"
        )
    for one in interfaces:
        if one not in names.patterns:
            raise UsageError(f"zone '{name}' does not have '{one}': it is {names}")
    if interfaces and set(names.patterns) <= set(interfaces):
        raise UsageError(f"zone '{name}' would have no interface", f"'fw zone delete {name}' takes it away")
    if not interfaces:
        user = file.user_of(name)
        if user:
            place = file.policy.place(user.line, user.file, "")
            hint = f"change that first: without the zone '{name}' would be an interface there"
            raise UsageError(f"zone '{name}' is used by {place}: {user.value}", hint)
        del file.lines[line - 1]
    for one in dict.fromkeys(interfaces):
        file.remove_name(line, names, one, _ZONE_WORDS)
        names = names._replace(patterns=tuple(other for other in names.patterns if other != one))
    return file.text()


def assign_ids(
    texts: Sequence[str], previous: Mapping[str, Sequence[int]], next_id: int
) -> tuple[list[int], int]:
    """An id for each rule, which `texts` says as it prints, and the first id that is still free.

    `previous` has the ids in use, in order, under the rules' texts: a rule whose text is in it keeps its id, the second
    of two equal ones the second id. Every other rule gets a new id from `next_id` on, so that none returns.
    """
    left = {text: iter(ids) for text, ids in previous.items()}
    none: Iterator[int] = iter(())
    assigned: list[int] = []
    for text in texts:
        known = next(left.get(text, none), None)
        if known is None:
            known, next_id = next_id, next_id + 1
        assigned.append(known)
    return assigned, next_id


class _Lines:
    """A policy's text as its lines, each with its end, while it is edited; line numbers count from 1."""

    def __init__(self, text: str) -> None:
        self.bom = _BOM if text.startswith(_BOM) else ""
        body = text.removeprefix(_BOM)
        self.lines = [line + "\n" for line in body.split("\n")]
        self.lines[-1] = self.lines[-1][:-1]
        if not self.lines[-1]:
            self.lines.pop()
        self.line_end = "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"

    def text(self) -> str:
        return self.bom + "".join(self.lines)

    def insert(self, line: int, value: Value) -> None:
        """Adds a statement as the line `line`, which may be one behind the last."""
        if line > len(self.lines) and self.lines and not self.lines[-1].endswith("\n"):
            self.lines[-1] += self.line_end
        self.lines.insert(line - 1, f"{value}{self.line_end}")


class _File(_Lines):
    """A policy's text and its statements."""

    def __init__(self, text: str, included: Included = ()) -> None:
        super().__init__(text)
        self.policy = parse_policy(Written(text, included), alone=True)
        self.own = [statement for statement in self.policy.statements if not statement.file]

    def statements(self, kind: type) -> list[Statement]:
        return [statement for statement in self.own if isinstance(statement.value, kind)]

    def demand_rule(self, line: int) -> None:
        if line not in self.policy.rule_lines:
            raise UsageError(f"line {line} of the policy is not a rule")

    def above_comments(self, line: int) -> int:
        """The first of the comment lines right above `line`; `line` itself if they are the file's heading."""
        first = line
        while first > 1 and self.lines[first - 2].lstrip(" \t").startswith("#"):
            first -= 1
        return line if first == 1 else first

    def place(self, kind: type) -> int:
        """The line for one more statement of this kind: behind its like, else behind what goes before."""
        for earlier in reversed(_ORDER[: _ORDER.index(kind) + 1]):
            found = self.statements(earlier)
            if found:
                return found[-1].line + 1
        everything = self.own
        return self.above_comments(everything[0].line) if everything else len(self.lines) + 1

    def words(self, line: int) -> list[Token]:
        """The words of the statement on a line, without the commas between them."""
        cursor = lex_line(Source(self.policy.name, line, self.lines[line - 1].rstrip("\r\n")))
        return [token for token in cursor.tokens if token.kind == WORD]

    def cut(self, line: int, start: int, end: int, text: str = "") -> None:
        """Puts `text` in place of the characters from `start` to before `end` of a line, counted from 0."""
        old = self.lines[line - 1]
        self.lines[line - 1] = old[:start] + text + old[end:]

    def zone(self, name: str) -> tuple[int, Names] | None:
        """The line of a zone, and what it says. Raises UsageError if it is of an included file."""
        for one in self.policy.statements:
            if isinstance(one.value, Zone) and one.value.name == name:
                if one.file:
                    message = f"zone '{name}' is on line {one.line} of {one.file}"
                    raise UsageError(message, "edit that file; then 'fw apply' puts it in force")
                return one.line, one.value.names
        return None

    def user_of(self, name: str) -> Statement | None:
        """A statement that has the name of a zone or an interface in a list."""
        statements = self.policy.statements
        return next((one for one in statements if any(name in n.patterns for n in lists_of(one.value))), None)

    def remove_name(self, line: int, listed: Names, ifname: str, before: int = 1) -> None:
        """Takes a name out of a list behind so many words; the whole line, if it is the only one."""
        if listed.negated or ifname not in listed.patterns:
            return
        names = self.words(line)[before:]
        index = listed.patterns.index(ifname)
        if len(names) == 1:
            del self.lines[line - 1]
        elif index + 1 < len(names):
            self.cut(line, names[index].column - 1, names[index + 1].column - 1)
        else:
            left = names[index - 1]
            self.cut(line, left.column - 1 + left.width, names[index].column - 1 + names[index].width)


def _set(text: str, kind: type, value: Value) -> str:
    """Changes the last word of the statements on the same subject, or adds one."""
    file = _File(text)
    found = [one for one in file.statements(kind) if _subject(one.value) == _subject(value)]
    for statement in found:
        last = file.words(statement.line)[-1]
        file.cut(statement.line, last.column - 1, last.column - 1 + last.width, str(value).split()[-1])
    if not found:
        file.insert(file.place(kind), value)
    return file.text()


def _subject(value: Value) -> str | None:
    """What a default or an option speaks of."""
    if isinstance(value, Default):
        return value.scope
    return value.name if isinstance(value, Setting) else None
