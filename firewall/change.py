# SPDX-License-Identifier: MIT
"""Puts another policy in the place of the one that runs: checked first, then all of it or nothing."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from firewall import abi
from firewall.compile import Compiled
from firewall.document import Document, PlacedRule, place
from firewall.errors import NotLoaded
from firewall.generations import generation, next_generation
from firewall.lang import PolicyError
from firewall.links import Link, list_links
from firewall.options import OPTIONS, effective
from firewall.paths import policy_path
from firewall.pins import Pins
from firewall.policy import Default, Policy, Setting, parse_policy
from firewall.protect import (
    adopt_connections,
    attach_all,
    begin_grace,
    describe,
    detach_all,
    not_protected,
    renamed,
    targets,
)
from firewall.publish import publish, return_to, settle
from firewall.refresh import renew
from firewall.reports import ApplyReport
from firewall.resolve import names_owners
from firewall.safety import demand_safe
from firewall.saved import Staged, demand_saveable, is_saved, read_saved, stage
from firewall.setcheck import check_sets
from firewall.setload import Read, SetPlan, plan_sets
from firewall.settable import SetTable
from firewall.shadow import dead_by
from firewall.sparing import NONE, Flows, in_force, sparing_of
from firewall.state import FlowLimits, Interface, Running
from firewall.surroundings import unknown_here
from firewall.verify import verify
from firewall.written import Written
from firewall.zones import Zone


class Wishes(NamedTuple):
    """How a change is to be made.

    `save` writes the file; `yes` does what is dangerous for the caller; `dry_run` only checks; `attach` is a mode of
    `firewall.attach`; `edited` warns of new rules alone; `name` is what messages call the text; `sets` tells which
    files of sets are read; `flows` is what becomes of running flows; with `has_runtime` hints speak of --runtime;
    `leave` are the indexes of interfaces that are to be open, whatever they are called.
    """

    save: bool = True
    yes: bool = False
    dry_run: bool = False
    attach: str = "auto"
    edited: bool = False
    name: str | None = None
    sets: Read = Read.NEW
    flows: Flows = Flows.LEAVE
    has_runtime: bool = True
    leave: Collection[int] = ()


class Plan(NamedTuple):
    """What differs between what runs and what is wanted; `ready` gives that compiled, by its generation."""

    policy: Policy
    document: Document
    joining: list[Link]
    leaving: list[Interface]
    staying: set[int]
    limits: FlowLimits
    sets: SetPlan
    writes: bool
    runs: bool
    ready: Callable[[int], Compiled] | None = None


def put(running: Running, written: Written, wishes: Wishes) -> ApplyReport:
    """Makes `written` the running policy. Raises FwError, and then the old one is in force and the file as it was."""
    policy = parse_policy(written, wishes.name or str(policy_path()))
    warnings = warnings_of(policy, running.document, wishes.edited)
    links = list_links()
    plan = _plan(running, policy, written, links, wishes)
    if plan.writes:
        demand_saveable(written, wishes.has_runtime)
    warnings += _without_a_place(running, plan.limits)
    warnings += renamed(
        running, policy, (link for link in links if link.ifindex in plan.staying), wishes.edited
    )
    changed = plan.writes or plan.runs
    seeded = 0
    if changed:
        warnings += demand_safe(running, plan, links, wishes)
    if changed and not wishes.dry_run:
        seeded = carry_out(running, plan, links, wishes)
    elif not wishes.dry_run:
        # Nothing to do but to look which interfaces there are now, and who the users and units of rules are.
        describe(running.pins, running.policy, links, plan.staying)
        if names_owners(policy.rules):
            renew(running)
    warnings += plan.sets.warnings
    if not wishes.edited:
        warnings += not_protected(policy, links)
    return ApplyReport(
        changed=changed,
        loaded=True,
        saved=plan.document.saved,
        generation=generation(running.pins),
        added=_without(plan.document.rules, running.document.rules),
        removed=_without(running.document.rules, plan.document.rules),
        attached=tuple(link.name for link in plan.joining),
        detached=tuple(interface.name for interface in plan.leaving),
        warnings=tuple(warnings),
        file=str(policy_path()),
        other=(*differences(running.policy, policy), *plan.sets.described(running.policy)),
        seeded=seeded,
        texts=(running.policy.render(), policy.render()) if wishes.dry_run else None,
    )


def save_only(written: Written, wishes: Wishes) -> ApplyReport:
    """Makes `written` the saved policy where nothing is loaded. Raises FwError, and then the file is as it was."""
    if not wishes.save:
        raise NotLoaded("nothing is loaded, so there is nothing to change at run time", "leave --runtime out")
    try:
        saved = read_saved()
        old_policy = parse_policy(saved or "")
    except PolicyError:  # which this may be to mend
        saved, old_policy = None, parse_policy("")
    old = place(old_policy, saved or "", True, None, abi.Limits.RULE_COUNTERS)
    policy = parse_policy(written, wishes.name or str(policy_path()))
    warnings = warnings_of(policy, old, wishes.edited)
    check_sets(policy, policy_path().parent)
    new = place(policy, written, True, old, abi.Limits.RULE_COUNTERS)
    changed = saved is None or written.flat() != saved.flat()
    if changed:
        demand_saveable(written)
    if changed and not wishes.dry_run:
        with Staged(written.text) as staged:
            staged.commit()
    return ApplyReport(
        changed=changed,
        loaded=False,
        saved=True,
        generation=0,
        added=_without(new.rules, old.rules),
        removed=_without(old.rules, new.rules),
        attached=(),
        detached=(),
        warnings=tuple(warnings),
        file=str(policy_path()),
        other=(*differences(old_policy, policy), *_other_sets(old_policy, policy)),
        seeded=0,
        texts=(old_policy.render(), policy.render()) if wishes.dry_run else None,
    )


def differences(old: Policy, new: Policy) -> tuple[str, ...]:
    """The zones, defaults and options of `new` that have other values than in `old`, as statements."""
    zones = [Zone(name, names) for name, names in new.zones.items() if str(old.zones.get(name)) != str(names)]
    defaults = [
        Default(scope, action) for scope, action in new.defaults.items() if old.defaults[scope] != action
    ]
    before = {name: old.options.get(name, option.default) for name, option in OPTIONS.items()}
    after = {name: new.options.get(name, option.default) for name, option in OPTIONS.items()}
    settings = [Setting(name, after[name]) for name in OPTIONS if before[name] != after[name]]
    return tuple(map(str, (*zones, *defaults, *settings)))


def _other_sets(old: Policy, new: Policy) -> tuple[str, ...]:
    """The sets that the saved policy says otherwise, as statements."""
    said = [str(one) for name, one in new.sets.items() if old.sets.get(name) != one]
    return (*said, *(f"no set {name}" for name in old.sets if name not in new.sets))


def limits_of(policy: Policy) -> FlowLimits:
    """The sizes that the policy's options give the flow tables."""
    values = effective(policy.options)
    return FlowLimits(values["flows.max"], values["flows.embryonic"])


def _plan(running: Running, policy: Policy, written: Written, links: Sequence[Link], wishes: Wishes) -> Plan:
    already_saved = is_saved(written)
    wanted = targets(policy, links)
    present = {link.name for link in wanted}
    current = {interface.ifindex: interface for interface in running.interfaces()}
    names = {link.ifindex: link.name for link in links}

    def leaves(old: Interface) -> bool:
        if old.attach == "gone":  # one that was made anew under its name has another index
            return old.name in present or not policy.protects(old.name)
        # One that the policy in force does not name was renamed: nobody has said that it is to be open.
        name = names.get(old.ifindex, old.name)
        return not policy.protects(name) and running.policy.protects(name)

    leaving = [old for old in current.values() if old.ifindex in wishes.leave or leaves(old)]
    joining = [
        link
        for link in wanted
        if link.ifindex not in current or current[link.ifindex].attach not in ("tcx", "clsact")
    ]
    staying = {link.ifindex for link in wanted} | current.keys() - {old.ifindex for old in leaving}
    saved = wishes.save or already_saved
    document = place(policy, written, saved, running.document, abi.Limits.RULE_COUNTERS)
    differs = written.flat() != running.document.written.flat()
    sets = plan_sets(policy, running.policy, SetTable(running.pins).known(), wishes.sets)
    limits = limits_of(policy)
    applied = wishes.flows is Flows.JUDGE and not wishes.edited and not wishes.dry_run
    judges_again = applied and in_force(running.pins) != NONE
    return Plan(
        policy=policy,
        document=document,
        joining=joining,
        leaving=leaving,
        staying=staying,
        limits=limits,
        sets=sets,
        writes=wishes.save and not already_saved,
        runs=bool(
            differs or joining or leaving or limits != running.flow_limits() or sets.changes or judges_again
        ),
    )


def carry_out(running: Running, plan: Plan, links: Sequence[Link], wishes: Wishes) -> int:
    """Returns how many connections were taken over."""
    pins = running.pins
    seeded = 0
    keeps = wishes.flows is Flows.KEEP and plan.sets.changes
    before = {interface.ifindex for interface in running.interfaces()}
    with ExitStack() as undo:
        staged = undo.enter_context(stage(plan.document.text, wishes.has_runtime)) if plan.writes else None
        undo.callback(describe, pins, running.policy, links, before)
        known = describe(pins, running.policy, links, before | plan.staying)
        classes = {one.name: one.class_id for one in known.values()}
        undo.callback(return_to, pins, running.generation)
        if keeps:  # nor are flows judged by sets of which half has changed
            renew(running, Flows.KEEP, sets_change=True)
        numbers = plan.sets.begin(pins, undo)
        new = next_generation(pins, running.generation)
        spared = sparing_of(pins, wishes.flows, new, sets_change=keeps)
        publish(
            pins,
            plan.policy,
            plan.document,
            classes,
            new,
            numbers,
            running.document,
            spared,
            plan.ready,
            running.generation,
        )
        if plan.joining:
            undo.callback(detach_all, pins, [link.ifindex for link in plan.joining])
            begin_grace(pins, plan.policy)
            seeded = adopt_connections(pins)
            attach_all(pins, plan.joining, wishes.attach)
            seeded += adopt_connections(pins)
        if plan.limits != running.flow_limits():
            from firewall.programs import finish_next, prepare_next

            prepare_next(pins, plan.limits)
            finish_next(pins)
        if staged:
            staged.commit()
        undo.pop_all()
    settle(pins, plan.document, running.document)
    plan.sets.finish(pins)
    if keeps:
        with Running(Pins(pins.directory)) as now:
            renew(now, Flows.KEEP)
    if plan.leaving:
        detach_all(pins, [interface.ifindex for interface in plan.leaving])
        describe(pins, plan.policy, links, plan.staying)
    return seeded


def _without_a_place(running: Running, limits: FlowLimits) -> list[str]:
    """That a smaller table cannot hold all flows."""
    if limits.max >= running.flow_limits().max:
        return []
    from firewall.occupancy import use

    used = use(running.pins, running.generation).used
    if used <= limits.max:
        return []
    return [
        f"{used} flows are in the table, of which {limits.max} have a place by 'option flows.max {limits.max}'"
    ]


def warnings_of(policy: Policy, old: Document, edited: bool) -> list[str]:
    """What is odd about the policy; after an edit only about its new rules, with the insertion that would work."""
    if not edited:
        return [warning.told(policy.name) for warning in verify(policy) + unknown_here(policy)]
    said = set(policy.rule_texts)
    before = Counter(filter(said.__contains__, old.texts))
    fresh = []
    for index, text in enumerate(policy.rule_texts):
        if before[text]:
            before[text] -= 1
        else:
            fresh.append(index)
    odd: dict[tuple[int, str], list[str]] = {}
    for warning in verify(policy, set(fresh)) + unknown_here(policy):
        odd.setdefault((warning.line, warning.file), []).append(warning.message)
    told = []
    for index in fresh:
        messages = odd.get((policy.rule_lines[index], policy.rule_files[index]), [])
        killer = dead_by(policy.rules, index) if messages else None
        if killer is None or policy.rules[killer].action == policy.rules[index].action:
            told += messages
        else:
            told.append(_say_dead(policy, index, killer, old))
    return told


def _say_dead(policy: Policy, index: int, killer: int, old: Document) -> str:
    text = str(policy.rules[killer])
    known = next((rule.id for rule in old.rules if rule.text == text), None)
    dead = str(policy.rules[index])
    if known is None:
        return f"'{dead}' never decides: '{text}' stands before it"
    return f"'{dead}' never decides: rule {known} ('{text}') stands before it; fw rule insert {known} {dead}"


def _without(rules: Iterable[PlacedRule], others: Iterable[PlacedRule]) -> tuple[PlacedRule, ...]:
    ids = {rule.id for rule in others}
    return tuple(rule for rule in rules if rule.id not in ids)
