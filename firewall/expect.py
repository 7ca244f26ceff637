# SPDX-License-Identifier: MIT
"""Expectations: lines of a policy that say what the rest of it must come to.

`expect ACTION SCOPE { clause }` holds if every packet that its clauses describe is decided with that action, by the
first rule that matches or by the default. What is proved and how is in `firewall.proof`.
"""

from typing import NamedTuple

from firewall.errors import ExpectationFailed
from firewall.expand import sets_of
from firewall.lang import Cursor, Problem
from firewall.rule import Rule
from firewall.words import ACTIONS, refuse


class Expectation(NamedTuple):
    """`expect` and what would be a rule: its action is what is expected, its clauses are the packets."""

    rule: Rule

    def __str__(self) -> str:
        return f"expect {self.rule}"


class Unmet(ExpectationFailed):
    """Expectations of a policy do not hold. The message is ready to print: each with its line and a packet."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def read_expectation(cursor: Cursor) -> Expectation:
    """The statement at the cursor."""
    cursor.take()
    action = cursor.next
    if action.text not in ACTIONS:
        refuse(cursor, action, "an action ('allow', 'drop' or 'reject')", ACTIONS)
    rule = Rule.read(cursor)
    words = {token.text: token for token in cursor.tokens}
    if len(rule.scopes) > 1:
        cursor.fail(
            "an expectation speaks of one scope", words[rule.scopes[1]], "write one line for each scope"
        )
    if rule.log is not None:
        cursor.fail("an expectation has nothing to log", words["log"])
    if any(end.addrs and end.addrs.hosts for end in (rule.src, rule.dst)):
        hint = "write an address that has it: rules with host parts may match that or not"
        cursor.fail("an expectation speaks of addresses, not of host parts", action, hint)
    if sets_of([rule]):
        hint = "list them: what is in a set changes while the policy stays"
        cursor.fail("an expectation speaks of addresses, not of sets", action, hint)
    if rule.answer is not None:
        cursor.fail(
            "an expectation does not speak of what is answered", words["with"], "write 'reject' alone"
        )
    if rule.has_further:
        hint = "leave it out: rules that have such clauses must decide so whether they match or not"
        cursor.fail("an expectation speaks of addresses, ports, types and interfaces alone", action, hint)
    return Expectation(rule)
