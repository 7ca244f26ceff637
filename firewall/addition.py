# SPDX-License-Identifier: MIT
"""`fw rule add` to a policy of many rules: what the kernel has compiled of it is read, and not made again.

Whatever could change more than the new rule, or cannot be judged by it alone, is left to `change.put`, which comes to
the same. But that refuses any change while the policy in force would not let the caller's connection begin, and here
only what the new rule cuts is refused.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import partial

from firewall import abi
from firewall.beside import Beside
from firewall.bindings.libtree import TooAlike
from firewall.change import Plan, Wishes, carry_out, limits_of, warnings_of
from firewall.compile import CHUNK_BYTES, Compiled
from firewall.document import Document, PlacedRule
from firewall.expand import MAX_ENTRIES, MAX_RULES, entry_count, list_key, sets_of
from firewall.expect import Expectation
from firewall.extend import Base, extended, renewed
from firewall.generations import generation, slot_key
from firewall.include import Include
from firewall.lang import MAX_LINE_CHARS
from firewall.links import Link, list_links
from firewall.paths import policy_path
from firewall.pins import Pins
from firewall.policy import Default, Policy, Statement, parse_policy
from firewall.policyfile import add_behind
from firewall.protect import targets
from firewall.reports import ApplyReport
from firewall.rule import Rule
from firewall.saved import demand_saveable, is_saved
from firewall.setload import SetPlan, plan_sets
from firewall.settable import SetTable
from firewall.sparing import NONE, Flows, in_force
from firewall.sshguard import cuts_by
from firewall.state import ENFORCE, Running
from firewall.terms import Names
from firewall.written import Written
from firewall.zones import Misuse

_CANDIDATES_MAX = 1000  # rules that may cover the new one
# What rules ask that is looked up at each change.
_LOOKED_UP = (
    abi.FurtherAsks.FURTHER_TIME
    | abi.FurtherAsks.FURTHER_USER
    | abi.FurtherAsks.FURTHER_UNIT
    | abi.FurtherAsks.FURTHER_NEVER
)


def add(running: Running, rule: Rule, wishes: Wishes) -> ApplyReport | None:
    """Puts what runs in force with a rule behind its last; None, and nothing is done, if that is to go the usual way.

    Raises FwError, and then the old policy is in force and the file as it was.
    """
    document, pins = running.document, running.pins
    rest = _without_rules(document)
    if rest is None or wishes.dry_run or not _is_plain(rule):
        return None
    try:
        rule = _with_zones(rule, rest.zones)
    except Misuse:
        return None
    links = list_links()
    sets = plan_sets(rest, rest, SetTable(pins).known(), wishes.sets)
    if sets.changes or not _knows_sets(rest, rule) or _may_cut(rule, running, links, wishes, sets):
        return None
    base = _read_base(pins, running.generation)
    if base is None:
        return None
    lists = _lists(base, document, rest.zones)
    if (
        len(str(rule)) > MAX_LINE_CHARS
        or not _extends(base, lists, rule)
        or document.size >= MAX_RULES
        or not _stay(running, rest, links)
        or _concerns(rest, rule, document.size + 1)
        or limits_of(rest) != running.flow_limits()
        or wishes.flows is Flows.KEEP
        or in_force(pins) != NONE
    ):
        return None
    placed = document.next_rule(str(rule), abi.Limits.RULE_COUNTERS)
    try:
        numbers = {name: one.number for name, one in sets.known.items()}
        with Beside(partial(extended, base, lists, rule, placed, numbers)) as growing:
            around = set(base.around(rule))
            if len(around) > _CANDIDATES_MAX:
                return None
            plan = _plan(running, rest, rule, placed, around, wishes, sets)
            warnings = warnings_of(plan.policy, document, True)
            running.stand_in(Policy.of(Rule("allow", ("forward",), on=names) for names in lists))
            carry_out(running, plan._replace(ready=partial(_ready, running, growing)), links, wishes)
    except TooAlike:
        running.stand_in(None)
        return None
    return ApplyReport(
        changed=True,
        loaded=True,
        saved=plan.document.saved,
        generation=generation(pins),
        added=(placed,),
        removed=(),
        attached=(),
        detached=(),
        warnings=tuple(warnings),
        file=str(policy_path()),
        other=(),
        seeded=0,
        texts=None,
    )


def _plan(
    running: Running,
    rest: Policy,
    rule: Rule,
    placed: PlacedRule,
    around: set[int],
    wishes: Wishes,
    sets: SetPlan,
) -> Plan:
    """What is to be done, but for the compiled ruleset. Raises FwError if it could not be read where it is saved."""
    document = running.document
    written = Written(add_behind(document.text, document.last_line, rule))
    policy = _with_rules(rest, document.some(around), rule, placed.line)
    already = is_saved(written)
    writes = wishes.save and not already
    if writes:
        demand_saveable(written)
    return Plan(
        policy=policy,
        document=document.with_last(placed, written.text, wishes.save or already),
        joining=[],
        leaving=[],
        staying={interface.ifindex for interface in running.interfaces()},
        limits=running.flow_limits(),
        sets=sets,
        writes=writes,
        runs=True,
    )


def _is_plain(rule: Rule) -> bool:
    return not rule.has_further and not any(end.addrs and end.addrs.hosts for end in (rule.src, rule.dst))


def _with_zones(rule: Rule, zones: Mapping[str, Names]) -> Rule:
    """The rule as it is in a policy with these zones. Raises Misuse."""
    if not zones:
        return rule
    from firewall.zoned import of_zones

    return of_zones(rule, zones)


def _knows_sets(rest: Policy, rule: Rule) -> bool:
    """Whether the rule asks for sets of the policy alone, and of none that counts by its elements."""
    return sets_of([rule]) <= {name for name, one in rest.sets.items() if not one.counters}


def _may_cut(rule: Rule, running: Running, links: list[Link], wishes: Wishes, sets: SetPlan) -> bool:
    """Whether the rule might cut the caller's connection, which is to be asked of the whole policy.

    An `allow` behind all others cuts nobody, and what does not match a connection where all else is allowed does not
    cut it.
    """
    if rule.action == "allow" or wishes.yes or running.mode != ENFORCE:
        return False
    alone = Policy([Statement(1, "", Default("in", "allow")), Statement(2, str(rule), rule)])
    member = sets.membership(SetTable(running.pins))
    return bool(cuts_by(alone, running.names_now(links), links, member))


def _without_rules(document: Document) -> Policy | None:
    """The policy without its rules; None if it has them from several files."""
    if not document.size or document.included:
        return None
    others = document.beside_rules()
    small = parse_policy("\n".join(line for _, line in others) + "\n")
    if any(isinstance(one.value, Include) for one in small.statements):
        return None
    return Policy(one._replace(line=others[one.line - 1][0]) for one in small.statements)


def _with_rules(rest: Policy, placed: Iterable[PlacedRule], rule: Rule, line: int) -> Policy:
    """The new rule behind those that may cover it, each on its line; nothing that is to be proved of all rules."""
    others = [one for one in rest.statements if not isinstance(one.value, Expectation)]
    known = [Statement(one.line, one.text, _with_zones(Rule.parse(one.text), rest.zones)) for one in placed]
    return Policy([*others, *known, Statement(line, str(rule), rule)], str(policy_path()))


def _concerns(rest: Policy, rule: Rule, rules: int) -> bool:
    """Whether an expectation is to be proved anew of so many rules: it speaks of packets that the new one may match,
    or can no longer be proved for there being one more.
    """
    expected = [one.value.rule for one in rest.statements if isinstance(one.value, Expectation)]
    if not expected:
        return False
    from firewall.proof import meets, too_many

    return any(too_many(rules, one) or meets(rule, one) for one in expected)


def _stay(running: Running, rest: Policy, links: list[Link]) -> bool:
    """Whether the same interfaces are protected as before."""
    current = running.interfaces()
    attached = all(interface.attach in ("tcx", "clsact") for interface in current)
    wanted = {link.ifindex for link in targets(rest, links)}
    return attached and wanted == {interface.ifindex for interface in current}


def _extends(base: Base, lists: list[Names], rule: Rule) -> bool:
    settings = abi.Settings.unpack(base.settings)
    known = {*map(list_key, lists)}
    return (
        not settings.linear
        and not settings.asks & _LOOKED_UP
        and not settings.edges
        and base.size + entry_count(rule) <= MAX_ENTRIES
        and all(list_key(names) in known for names in (rule.on, rule.via) if names)
    )


def _lists(base: Base, document: Document, zones: Mapping[str, Names]) -> list[Names]:
    """The lists of interfaces that the rules name, in the order of their numbers."""
    places = base.lists()
    if not places:
        return []
    wanted = {rule_id for rule_id, _ in places.values()}
    found = {rule.id: _with_zones(Rule.parse(rule.text), zones) for rule in document.some(wanted)}
    lists = (found[rule_id].via if via else found[rule_id].on for rule_id, via in places.values())
    return [names for names in lists if names]


def _ready(running: Running, growing: Beside[Compiled], number: int) -> Compiled:
    """What is in force with the rule, as generation `number`; what its settings say of interfaces may be new by now."""
    settings = running.pins.map("settings").lookup(slot_key(running.generation)) or b""
    return renewed(growing.result(), settings, number)


def _read_base(pins: Pins, number: int) -> Base | None:
    """The ruleset of a generation in force, as the kernel has it."""
    key = slot_key(number)
    chunks, furthers = (pins.map(name).lookup_inner(key) for name in ("classifiers", "furthers"))
    settings = pins.map("settings").lookup(key)
    if chunks is None or furthers is None or settings is None:
        return None
    with chunks, furthers, chunks.mmap() as memory:
        entries = memory.read(0, chunks.max_entries * CHUNK_BYTES)
        records = sorted((int.from_bytes(number, sys.byteorder), value) for number, value in furthers.items())
    return Base.of(Compiled(entries, b"", tuple(value for _, value in records), (), settings))
