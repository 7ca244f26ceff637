# SPDX-License-Identifier: MIT
"""The first load in a network namespace: from nothing to a policy in force on real interfaces."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from firewall import abi, interfaces
from firewall.change import limits_of
from firewall.document import place
from firewall.errors import FwError, UsageError
from firewall.heritage import Heritage
from firewall.links import Link
from firewall.neighbours import guard_neighbours
from firewall.paths import pin_dir, policy_path
from firewall.pins import Pins, offset_of, remove_predecessors, remove_tree, unfinished
from firewall.policy import Policy, parse_policy
from firewall.policyfile import add_protect
from firewall.programs import making_pins
from firewall.protect import (
    adopt_connections,
    attach_all,
    begin_grace,
    describe,
    detach_all,
    not_protected,
    targets,
)
from firewall.publish import publish
from firewall.reports import Loaded
from firewall.saved import Staged, read_saved
from firewall.setload import Read, SetPlan, plan_sets
from firewall.sshguard import guard
from firewall.starter import starter_for
from firewall.verify import verify
from firewall.written import Written

_FIRST_GENERATION = 1


def first_load(names: Sequence[str], links: Sequence[Link], attach: str, observe: bool, yes: bool) -> Loaded:
    """Protects `names` and what the saved policy protects. Raises FwError, and then nothing is loaded."""
    saved = read_saved()
    if saved is None and not names:
        raise UsageError(f"there is no {policy_path()} that names interfaces", "name one: fw load eth0")
    starter = None if saved else starter_for(names, links)
    text, included = saved or Written(starter or "")
    for name in names:
        text = add_protect(text, name, included)
    written = Written(text, included)
    policy = parse_policy(written, str(policy_path()))
    warnings = [warning.told(policy.name) for warning in verify(policy)]
    warnings += not_protected(policy, links)
    sets = plan_sets(policy, policy, {}, Read.COPIES)
    chosen = targets(policy, links)
    if not chosen:
        hint = "; ".join(not_protected(policy, links)) or "name one: fw load eth0"
        raise FwError(f"{policy_path()} protects no interface that exists", hint)
    if not yes and not observe:
        wanted, member = {link.name for link in chosen}, sets.membership(None)
        guard(policy, wanted, links, member)
        guard_neighbours(policy, wanted, links, member)
    with ExitStack() as undo:
        staged = undo.enter_context(Staged(text)) if written != saved else None
        seeded = _bring_up(policy, written, sets, chosen, links, attach, observe, undo)
        if staged:
            staged.commit()
        undo.pop_all()
    return Loaded(tuple(link.name for link in chosen), starter, seeded, (*warnings, *sets.warnings))


def _bring_up(
    policy: Policy,
    written: Written,
    sets: SetPlan,
    chosen: Sequence[Link],
    links: Sequence[Link],
    attach: str,
    observe: bool,
    undo: ExitStack,
) -> int:
    """Everything in the kernel; `undo` takes it back. Returns how many connections were taken over.

    The pins have their name before anything is attached: whoever is killed in between leaves what `fw status` shows
    and `fw load` completes, never a filter that nobody can find.
    """
    directory = pin_dir()
    remove_predecessors(directory)
    building = unfinished(directory)
    undo.callback(remove_tree, building)
    mode = abi.Mode.MODE_OBSERVE if observe else abi.Mode.MODE_ENFORCE
    seeded = build(building, policy, written, sets, chosen, links, mode)
    undo.callback(remove_tree, directory)
    os.rename(building, directory)
    with Pins(directory) as pins:
        undo.callback(detach_all, Pins(directory), [link.ifindex for link in chosen])
        attach_all(pins, chosen, attach)
        return seeded + adopt_connections(pins)


def build(
    building: Path,
    policy: Policy,
    written: Written,
    sets: SetPlan,
    chosen: Sequence[Link],
    links: Sequence[Link],
    mode: abi.Mode,
    heritage: Heritage | None = None,
) -> int:
    """Makes whole new pins, with a verified policy in force and live connections in the flow table.

    `chosen` are the links to be protected; nothing is attached yet. Returns how many connections were taken over, from
    the kernel or from a heritage.
    """
    with making_pins(building, limits_of(policy)), Pins(building) as pins, ExitStack() as nobody_knows:
        inherited = heritage.interfaces() if heritage else None
        if inherited:
            interfaces.write(pins.map("interfaces"), pins.map("hooks"), {}, inherited)
        known = describe(pins, policy, links, {link.ifindex for link in chosen})
        classes = {one.name: one.class_id for one in known.values()}
        document = place(policy, written, True, None, abi.Limits.RULE_COUNTERS)
        numbers = sets.begin(pins, nobody_knows)
        if heritage:
            heritage.sets_given = heritage.give_sets(pins, numbers)
        nobody_knows.pop_all()  # whoever fails from here on removes the pins
        publish(pins, policy, document, classes, _FIRST_GENERATION, numbers, None)
        sets.finish(pins)
        pins.control.store_u32(offset_of(abi.Control, "mode"), mode)
        begin_grace(pins, policy)
        given = heritage.give_flows(pins) if heritage and inherited else 0
        return given + adopt_connections(pins)
