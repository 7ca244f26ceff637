# SPDX-License-Identifier: MIT
"""What the rules of a policy say of sets, against the sets that it has."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

from firewall import abi
from firewall.errors import FwError
from firewall.expand import sets_of
from firewall.lang import PolicyError, Problem, closest
from firewall.policy import Policy, Statement
from firewall.rule import Rule
from firewall.setdef import SetDef

if TYPE_CHECKING:
    from firewall.evaluate import Membership

MAX_SETS = int(abi.Limits.SETS_MAX)


def set_problems(policy: Policy) -> Iterator[Problem]:
    """Sets that there are not, or twice, or too many."""
    first: dict[str, str] = {}
    for statement in policy.statements:
        if not isinstance(statement.value, SetDef):
            continue
        name = statement.value.name
        if name in first:
            message = f"the set '{name}' is defined already, on {first[name]}"
            yield problem_at(policy, statement, message, "give this one another name, or one list to both")
        elif len(first) == MAX_SETS:
            yield problem_at(policy, statement, f"this is one set too many: the most is {MAX_SETS}")
        first.setdefault(name, policy.place(statement.line, statement.file, statement.file))
    for statement in policy.statements:
        rule = statement.value
        if isinstance(rule, Rule) and (
            rule.overload or any(end.addrs and end.addrs.sets for end in (rule.src, rule.dst))
        ):
            for name in sorted(_named(rule) - policy.sets.keys()):
                near = closest(name, policy.sets)
                hint = f"did you mean '@{near}'?" if near else f"define it with 'set {name} = ...'"
                yield problem_at(policy, statement, f"there is no set '{name}'", hint, f"@{name}")


def _named(rule: Rule) -> set[str]:
    asked = sets_of([rule])
    return asked | {rule.overload.name} if rule.overload else asked


def problem_at(
    policy: Policy, statement: Statement, message: str, hint: str | None = None, word: str = ""
) -> Problem:
    """A problem of a statement, shown at one of its words, else at its first."""
    text = statement.source
    word = word or text.split()[0]
    name = statement.file or policy.name
    return Problem(name, statement.line, text.index(word) + 1, len(word), text, message, hint)


def check_sets(policy: Policy, directory: Path) -> "Membership":
    """Reads the files of a policy's sets, whose paths are relative to `directory`: what the policy lists in all.

    Raises PolicyError.
    """
    from firewall.evaluate import listed_by
    from firewall.setfile import host_keys, read_elements, read_file

    problems: list[Problem] = []
    files: dict[str, set[bytes]] = {}
    for statement in policy.statements:
        definition = statement.value
        if not isinstance(definition, SetDef) or definition.path is None:
            continue
        try:
            path = str(directory / definition.path)
            files[definition.name] = read_elements(read_file(path), path)
        except PolicyError as error:
            problems += error.problems
        except FwError as error:
            problems.append(problem_at(policy, statement, error.message, None, definition.path))
    if problems:
        raise PolicyError(problems)
    in_lines = listed_by(policy)

    def member(name: str, address: IPv4Address | IPv6Address) -> bool:
        if name not in files:
            return in_lines(name, address)
        return any(key in files[name] for key in host_keys(address.version, int(address)))

    return member
