# SPDX-License-Identifier: MIT
"""What is odd about a policy on this machine as it is now: nothing that makes the policy wrong.

The same policy may be right for another machine, or for a time when its interfaces exist. So these are warnings, and
what cannot be asked is left out.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from firewall.errors import FwError
from firewall.hours import broken_zone
from firewall.lang import closest
from firewall.policy import LOOPBACK, Default, Policy, Setting, Statement, lists_of
from firewall.resolve import find_owners
from firewall.verify import PolicyWarning
from firewall.zones import Zone

if TYPE_CHECKING:
    from firewall.evaluate import Membership
    from firewall.links import Link

_DIGITS = "0123456789"


def odd_here(policy: Policy, listed: "Membership | None" = None) -> list[PolicyWarning]:
    """Names that no interface, user or unit has, zones called like an interface, and what would cut the caller.

    `listed` tells what its sets have by their files too.
    """
    owners = unknown_here(policy)
    if not any(lists_of(statement.value) for statement in policy.statements):
        return owners
    from firewall.links import list_links

    try:
        links = list_links()
    except (FwError, OSError):
        return owners
    found = [*owners, *_unknown(policy, links), *_like_zones(policy, links), *_cuts(policy, links, listed)]
    return sorted(found, key=lambda warning: (warning.file, warning.line))


def unknown_here(policy: Policy) -> list[PolicyWarning]:
    """The users, units and local hours of rules that are not known on this machine now."""
    return [*_unknown_owners(policy), *_unknown_hours(policy)]


def _unknown_hours(policy: Policy) -> Iterator[PolicyWarning]:
    index = next((i for i, rule in enumerate(policy.rules) if rule.between is not None), None)
    broken = broken_zone() if index is not None else None
    if index is not None and broken:
        message = f"{broken}: hours are counted in UTC"
        yield PolicyWarning(message, policy.rule_lines[index], policy.rule_files[index])


def _unknown_owners(policy: Policy) -> list[PolicyWarning]:
    owners = find_owners(policy.rules)
    found = []
    for rule, line, file in zip(policy.rules, policy.rule_lines, policy.rule_files, strict=True):
        for what in owners.unknown(rule):
            effect = "allows nothing" if rule.action == "allow" else f"{rule.action}s whoever it is"
            message = (
                f"{what} is not known here now: until the policy is applied when it is, the rule {effect}"
            )
            found.append(PolicyWarning(message, line, file))
    return found


def _unknown(policy: Policy, links: Sequence["Link"]) -> Iterator[PolicyWarning]:
    """Once for each name, where it is first."""
    from firewall.render import counted

    present = {link.name for link in links}
    places: dict[str, list[Statement]] = {}
    for statement in policy.statements:
        named = [name for one in lists_of(statement.value) for name in one.patterns]
        for name in dict.fromkeys(named):
            if not (name in present or name in policy.zones or name.endswith("+")):
                places.setdefault(name, []).append(statement)
    for name, (first, *others) in places.items():
        near = closest(name, [*(present - {LOOPBACK}), *policy.zones])
        if near and near.rstrip(_DIGITS) == name.rstrip(_DIGITS):
            near = None  # the next of a kind is no slip
        hint = f"; did you mean '{near}'?" if near else ""
        more = f" ({counted(len(others), 'more line')} with it)" if others else ""
        yield PolicyWarning(f"no interface is called '{name}' now{more}{hint}", first.line, first.file)


def _like_zones(policy: Policy, links: Sequence["Link"]) -> Iterator[PolicyWarning]:
    present = {link.name for link in links}
    for statement in policy.statements:
        if isinstance(statement.value, Zone) and statement.value.name in present:
            name = statement.value.name
            message = f"zone '{name}' is called like an interface, which its name does not mean"
            yield PolicyWarning(message, statement.line, statement.file)


def _cuts(policy: Policy, links: Sequence["Link"], listed: "Membership | None") -> Iterator[PolicyWarning]:
    from firewall.links import why_not_loadable

    protected = {
        link.name for link in links if policy.protects(link.name) and why_not_loadable(link, links) is None
    }
    if not protected:
        return
    from firewall.neighbours import lost_by
    from firewall.sshguard import cuts_by

    member = _members(policy, listed)
    try:
        cuts = cuts_by(policy, protected, links, member) + lost_by(policy, protected, links, member)
    except (FwError, OSError):
        return
    for cut in cuts:
        line, file = _place(policy, cut.by)
        if cut.position is not None:
            line, file = policy.rule_lines[cut.position], policy.rule_files[cut.position]
        yield PolicyWarning(f"this would cut {cut}", line, file)


def _members(policy: Policy, listed: "Membership | None") -> "Membership | None":
    """With what was added to sets at run time, which they would go on to have."""
    if not policy.sets:
        return None
    from firewall.evaluate import listed_by, no_member
    from firewall.pins import open_pins
    from firewall.settable import membership_of

    first = listed or listed_by(policy)
    try:
        pins = open_pins()
        added = membership_of(pins, listed=False) if pins else no_member
    except (FwError, OSError):
        added = no_member
    return lambda name, address: first(name, address) or added(name, address)


def _place(policy: Policy, by: str) -> tuple[int, str]:
    """The line and the file of `default in`, or of the option that `by` is; line 0 where the policy does not say it."""
    for one in policy.statements:
        if isinstance(one.value, Default | Setting) and str(one.value) == by:
            return one.line, one.file
    return 0, ""
