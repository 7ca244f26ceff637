# SPDX-License-Identifier: MIT
"""The statements of a policy that has zones, with what each list of interfaces comes to."""

from collections.abc import Mapping

from firewall.expect import Expectation
from firewall.lang import Problem, Source, problem_at
from firewall.policy import Protect, Statement
from firewall.rule import Rule
from firewall.terms import Names
from firewall.zones import Misuse, Zone, define, resolve


def with_zones(statements: list[Statement], name: str) -> tuple[list[Statement], list[Problem]]:
    """The statements with all zones resolved, and what is wrong with zones."""
    zones = [
        (Source(one.file or name, one.line, one.source), one.value)
        for one in statements
        if isinstance(one.value, Zone)
    ]
    defined, problems = define(zones)
    resolved = []
    for statement in statements:
        value = statement.value
        try:
            if isinstance(value, Zone):
                value = value._replace(names=defined.get(value.name, value.names))
            elif isinstance(value, Protect):
                value = Protect(resolve(value.names, defined))
            elif isinstance(value, Rule):
                value = of_zones(value, defined)
            elif isinstance(value, Expectation):
                value = Expectation(of_zones(value.rule, defined))
        except Misuse as error:
            source = Source(statement.file or name, statement.line, statement.source)
            problems.append(problem_at(source, error.word, error.message, error.hint))
        resolved.append(statement._replace(value=value))
    return resolved, problems


def of_zones(rule: Rule, zones: Mapping[str, Names]) -> Rule:
    """The rule with what its lists of interfaces come to. Raises Misuse."""
    on, via = (names and resolve(names, zones) for names in (rule.on, rule.via))
    return rule._replace(on=on, via=via) if on or via else rule
