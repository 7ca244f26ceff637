# SPDX-License-Identifier: MIT
"""Whether a change is dangerous for who makes it: it cuts the connection that he works through, or protects nothing."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from firewall.errors import NeedsYes
from firewall.links import Link
from firewall.neighbours import guard_neighbours
from firewall.settable import SetTable
from firewall.sparing import Flows
from firewall.sshguard import cuts_by, guard
from firewall.state import ENFORCE, Running

if TYPE_CHECKING:
    from firewall.change import Plan, Wishes


def demand_safe(running: Running, plan: "Plan", links: Sequence[Link], wishes: "Wishes") -> list[str]:
    """Raises NeedsYes if the change is dangerous for the caller; else what he should know of it."""
    if wishes.yes:
        return []
    demand_protection((interface.name for interface in plan.leaving), plan.staying)
    if running.mode != ENFORCE:
        return []
    member = plan.sets.membership(SetTable(running.pins))
    names = {link.name for link in links if link.ifindex in plan.staying}
    spared = set() if wishes.flows is Flows.JUDGE else _going_on(running, plan, links)
    guard(plan.policy, names - spared, links, member)
    guard_neighbours(plan.policy, names, links, member, None if plan.joining else running.policy)
    if wishes.flows is not Flows.KEEP:  # where the rules stay as they are there is nothing to be told
        return []
    return [cut.spared() for cut in cuts_by(plan.policy, spared, links, member)] if spared else []


def demand_protection(leaving: Iterable[str], staying: Collection[object]) -> None:
    """Raises NeedsYes if interfaces lose their protection and there are none that have it."""
    names = ", ".join(leaving)
    if names and not staying:
        raise NeedsYes(
            f"this policy protects no interface that exists: {names} would be open",
            f"keep 'protect {names}' in it, or give --yes",
        )


def _going_on(running: Running, plan: "Plan", links: Iterable[Link]) -> set[str]:
    """Where flows go on that are not judged by other rules: at interfaces that are filtered already, and whose names,
    which rules ask for, are the same.
    """
    joining = {link.ifindex for link in plan.joining}
    known = {(one.ifindex, one.name) for one in running.interfaces()}
    return {link.name for link in links if (link.ifindex, link.name) in known and link.ifindex not in joining}
