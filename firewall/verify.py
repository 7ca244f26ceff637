# SPDX-License-Identifier: MIT
"""What is wrong with a policy as a whole: contradictions and limits are errors, what likely was not meant is
a warning.
"""

from collections.abc import Collection, Iterator, Sequence
from time import time
from typing import NamedTuple

from firewall.addresses import Addrs
from firewall.edges import MAX_WINDOWS, distinct_windows
from firewall.expand import (
    MAX_ENTRIES,
    MAX_PATTERNS,
    MAX_RATES,
    MAX_RULES,
    Entry,
    entry_count,
    interface_lists,
    sets_of,
)
from firewall.expect import Expectation, Unmet
from firewall.lang import PolicyError, Problem
from firewall.policy import LOOPBACK, Default, Policy, Protect, Setting, Statement, zones_of
from firewall.rule import Rule
from firewall.services import ICMP_ERRORS, ICMP_REPLIES, protocol_name
from firewall.setcheck import problem_at as _problem
from firewall.setcheck import set_problems
from firewall.setdef import SetDef
from firewall.shadow import TooMany, dead_by, dead_rules
from firewall.zones import Zone

_SHOWN_CHARS = 80
_DONE = {"allow": "allowed", "drop": "dropped", "reject": "rejected"}


class PolicyWarning(NamedTuple):
    """What is odd about the statement on `line` of `file`; the policy can be loaded all the same.

    `line` is 0 where it is no statement; `file` is empty for the policy's own file.
    """

    message: str
    line: int
    file: str = ""

    def told(self, name: str) -> str:
        """The warning with its place in the policy of that name."""
        name = self.file or name
        return f"{name}:{self.line}: {self.message}" if self.line else f"{name}: {self.message}"


def verify(policy: Policy, rules: Collection[int] | None = None) -> list[PolicyWarning]:
    """What is odd about the policy, in the order of its lines; with `rules`, about those few alone, by their positions.

    Raises PolicyError if it cannot be loaded: statements contradict each other, or it is larger than the
    kernel's tables; and Unmet if it is not what it says that it is to be.
    """
    boxes = policy.boxes
    problems = [*_contradictions(policy), *set_problems(policy), *_limits(policy, boxes)]
    if problems:
        raise PolicyError(problems)
    unmet = list(_unmet(policy))
    if unmet:
        raise Unmet(unmet)
    warnings = (
        [] if rules is not None else [*_repetitions(policy), *_unused_zones(policy), *_unused_sets(policy)]
    )
    asked, dead = range(len(policy.rules)) if rules is None else sorted(rules), {}
    if rules is not None:
        killers = ((index, dead_by(policy.rules, index)) for index in asked)
        dead = {index: killer for index, killer in killers if killer is not None}
    else:
        try:
            dead = dead_rules(policy.rules, boxes)
        except TooMany as error:
            dead = error.dead
            message = (
                f"only the first {error.done} of {len(policy.rules)} rules were compared with those before them: "
                "too many lie around each other"
            )
            warnings.append(PolicyWarning(message, 0))
    for index in asked:
        if index in dead:
            warnings.append(_dead(policy, index, dead[index]))
        rule = policy.rules[index]
        never_asked = _never_asked(policy, rule) if rule.icmp_types else ()
        for message in (*never_asked, *_oddities(rule, boxes[index])):
            warnings.append(PolicyWarning(message, policy.rule_lines[index], policy.rule_files[index]))
    return sorted(warnings, key=lambda warning: (warning.file, warning.line))


def _contradictions(policy: Policy) -> Iterator[Problem]:
    """A default or option that is given twice with different values."""
    first: dict[str, Statement] = {}
    for statement in policy.statements:
        value = statement.value
        if isinstance(value, Default):
            what, said = f"default {value.scope}", value.action
        elif isinstance(value, Setting):
            what, said = f"option {value.name}", value.value
        else:
            continue
        earlier = first.setdefault(what, statement)
        if earlier.value != value:
            place = policy.place(earlier.line, earlier.file, statement.file)
            hint = f"{place} says '{earlier.value}': keep one of them"
            yield _problem(policy, statement, f"'{what}' cannot be '{said}' too", hint)


def _unused_sets(policy: Policy) -> Iterator[PolicyWarning]:
    used = sets_of(policy.rules)
    for statement in policy.statements:
        if isinstance(statement.value, SetDef) and statement.value.name not in used:
            name = statement.value.name
            filled = any(rule.overload and rule.overload.name == name for rule in policy.rules)
            message = f"no rule uses the set '{name}'"
            if filled:
                message = f"no rule asks who is in '{name}', into which 'overload' puts who passes a ceiling"
            yield PolicyWarning(message, statement.line, statement.file)


def _limits(policy: Policy, boxes: Sequence[Entry | None]) -> Iterator[Problem]:
    rules = [statement for statement in policy.statements if isinstance(statement.value, Rule)]
    if len(rules) > MAX_RULES:
        message = (
            f"the policy has {len(rules)} rules; the most is {MAX_RULES}, and this is the first above it"
        )
        hint = "of rules that differ by addresses alone make one: 'from @NAME', and 'set NAME file PATH'"
        yield _problem(policy, rules[MAX_RULES], message, hint)
        return
    limited = [
        statement for statement in rules if isinstance(statement.value, Rule) and statement.value.limit
    ]
    if len(limited) > MAX_RATES:
        message = (
            f"{len(limited)} rules have a 'limit'; the most is {MAX_RATES}, and this is the first above it"
        )
        yield _problem(
            policy, limited[MAX_RATES], message, "'per source' counts each source by itself in one rule"
        )
    counts = [1 if box else entry_count(rule) for rule, box in zip(policy.rules, boxes, strict=True)]
    if sum(counts) > MAX_ENTRIES:
        widest = max(counts)
        message = (
            f"the rules come to {sum(counts)} combinations of addresses and ports; the most is {MAX_ENTRIES}"
        )
        hint = f"this rule alone has {widest}: use prefixes and ranges in place of long lists"
        yield _problem(policy, rules[counts.index(widest)], message, hint)
    lists = [*interface_lists(policy.rules)]
    if len(lists) > MAX_PATTERNS:
        first = lists[MAX_PATTERNS]
        culprit = next(index for index, rule in enumerate(policy.rules) if first in interface_lists([rule]))
        message = (
            f"the rules have {len(lists)} different lists of interfaces; the most is {MAX_PATTERNS}, and this is "
            "the first above it"
        )
        yield _problem(policy, rules[culprit], message, "a name that ends in '+' stands for many")
    windows = distinct_windows(policy.rules)
    if len(windows) > MAX_WINDOWS:
        extra = windows[MAX_WINDOWS]
        culprit = next(i for i, rule in enumerate(policy.rules) if extra in distinct_windows([rule]))
        message = (
            f"the rules ask for {len(windows)} different times, '{extra}' too many: the most is {MAX_WINDOWS}"
        )
        yield _problem(
            policy, rules[culprit], message, "let rules end at the same time, or delete those that have ended"
        )


def _unmet(policy: Policy) -> Iterator[Problem]:
    """Expectations that do not hold, each with a packet that shows it."""
    expected = [one for one in policy.statements if isinstance(one.value, Expectation)]
    if not expected:
        return
    from firewall.proof import TooComplex, counterexample, described

    for statement in expected:
        assert isinstance(statement.value, Expectation)
        if _loopback_alone(statement.value.rule):
            message = f"this says nothing: the loopback interface '{LOOPBACK}' is never filtered"
            yield _problem(policy, statement, message, "name an interface that can be protected")
            continue
        try:
            found = counterexample(policy, statement.value.rule)
        except TooComplex:
            message = "this cannot be proved: too many rules meet it in too many ways"
            yield _problem(policy, statement, message, "split it into narrower expectations")
            continue
        if found is None:
            continue
        if found.position is None:
            by = f"by 'default {found.question.scope} {found.action}'"
        else:
            line, file = policy.rule_lines[found.position], policy.rule_files[found.position]
            by = f"by {policy.place(line, file, statement.file)} ({_shown(policy.rules[found.position])})"
        may = "may be" if found.maybe else "is"
        packet = f"'{described(found.question)}'"
        if found.question.scope == "forward" and None in (found.question.on, found.question.via):
            packet += ", where the other interface is so new that fw does not know its name yet,"
        message = f"this does not hold: {packet} {may} {_DONE[found.action]}"
        yield _problem(policy, statement, message, by)


def _loopback_alone(rule: Rule) -> bool:
    """Whether no packet that is filtered has the interfaces that the rule names."""
    lists = [names.plain for names in (rule.on, rule.via) if names]
    return any(not names.negated and set(names.patterns) == {LOOPBACK} for names in lists)


def _repetitions(policy: Policy) -> Iterator[PolicyWarning]:
    """Statements other than rules that say what was said before."""
    seen: dict[object, Statement] = {}
    for statement in policy.statements:
        value = statement.value
        if isinstance(value, Rule):
            continue
        facts: list[object] = [value]
        if isinstance(value, Protect) and not value.names.plain.negated:
            facts = list(value.names.plain.patterns)
        for fact in facts:
            earlier = seen.setdefault(fact, statement)
            if earlier is not statement:
                place = policy.place(earlier.line, earlier.file, statement.file)
                yield PolicyWarning(f"'{fact}' was already said on {place}", statement.line, statement.file)


def _unused_zones(policy: Policy) -> Iterator[PolicyWarning]:
    used = {name for statement in policy.statements for name in zones_of(statement.value, policy.zones)}
    for statement in policy.statements:
        if isinstance(statement.value, Zone) and statement.value.name not in used:
            yield PolicyWarning(f"zone '{statement.value.name}' is not used", statement.line, statement.file)


def _dead(policy: Policy, index: int, earlier: int) -> PolicyWarning:
    rule, other = policy.rules[index], policy.rules[earlier]
    line, file = policy.rule_lines[index], policy.rule_files[index]
    place = policy.place(policy.rule_lines[earlier], policy.rule_files[earlier], file)
    shown = _shown(other)
    if rule.action == other.action:
        message = f"{place} covers it ({shown}); remove it"
    else:
        opposed = "the opposite" if "allow" in (rule.action, other.action) else "otherwise"
        advice = "move it above that line, or remove it"
        message = f"{place} covers it and says {opposed} ({shown}); {advice}"
    return PolicyWarning(f"this rule never decides: {message}", line, file)


def _shown(rule: Rule) -> str:
    text = str(rule)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."


def _oddities(rule: Rule, box: Entry | None) -> Iterator[str]:
    """Parts of a rule that can never match, or that match more than they seem to; `box` is the rule's only one."""
    if box and rule.on is None and rule.via is None and rule.until is None:
        return
    kinds = rule.kinds()
    families = {family for _, family in kinds}
    alive = {proto for proto, _ in kinds}
    for proto in rule.protos:
        if proto not in alive:
            untyped = rule.icmp_types and not rule.type_numbers(proto)
            reason = "it has none of these ICMP types" if untyped else "the addresses are not of its family"
            yield f"'{protocol_name(proto)}' never matches here: {reason}"
    for word, addrs in (("from", rule.src.addrs), ("to", rule.dst.addrs)):
        if addrs is None:
            continue
        listed = {span.family for span in addrs.spans}
        idle = [family for family in listed - families if addrs.ranges(family)]
        if idle:
            only = f"IPv{10 - idle[0]}"
            yield f"the IPv{idle[0]} addresses of '{word}' have no effect: the rest of the rule is {only}"
        elif addrs.negated and len(listed) == 1 and not addrs.sets and families == {4, 6}:
            yield _negation(word, addrs, 10 - min(listed))
    yield from _anywhere(rule)
    if rule.until is not None and rule.until.end_s <= time():
        yield f"it ended at {rule.until}, and matches nothing now"
    for word, names in (("on", rule.on), ("via", rule.via)):
        if names and not names.plain.negated and LOOPBACK in names.plain.patterns:
            yield f"'{word} {LOOPBACK}' never matches: the loopback interface is never filtered"


def _never_asked(policy: Policy, rule: Rule) -> Iterator[str]:
    """ICMP types that open no flow: no rule is asked about errors, and about answers only if one is `untracked`."""
    stateless = any(other.untracked for other in policy.rules)
    errors, replies = [], []
    for icmp_type in rule.icmp_types:
        numbers = [(proto, icmp_type.number_for(proto)) for proto in rule.protos]
        known = [(proto, number) for proto, number in numbers if number is not None]
        if all(number in ICMP_ERRORS[proto] for proto, number in known):
            errors.append(str(icmp_type))
        elif not stateless and all(number in ICMP_REPLIES[proto] for proto, number in known):
            replies.append(str(icmp_type))
    if errors:
        yield (
            f"'icmp-type {', '.join(errors)}' never matches: an error passes with the flow that it quotes,"
            " whatever the rules say, and is dropped where there is none"
        )
    if replies:
        yield (
            f"'icmp-type {', '.join(replies)}' never matches: an answer passes with the flow of its request,"
            " whatever the rules say, and is dropped where there is none"
        )


def _anywhere(rule: Rule) -> Iterator[str]:
    """Host parts without the interface behind which their hosts are: whoever is elsewhere may have the same."""
    for word, addrs, said, names, scopes in (
        ("from", rule.src.addrs, "on", rule.on, {"in", "forward"}),
        ("to", rule.dst.addrs, "via", rule.via, {"out", "forward"}),
    ):
        if addrs and addrs.hosts and names is None and scopes.intersection(rule.scopes):
            host = addrs.hosts[0]
            yield f"'{word} {host}' matches it in every network, the internet's too: say '{said} IF' as well"


def _negation(word: str, addrs: Addrs, other: int) -> str:
    """`other` is the family that the list does not speak of."""
    everything = "0.0.0.0/0" if other == 4 else "::/0"
    return f"'{word} {addrs}' matches every IPv{other} address; to leave those out, add '{everything}' to it"
