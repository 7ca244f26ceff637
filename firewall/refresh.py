# SPDX-License-Identifier: MIT
"""Counts the times of the running policy's rules again, by the machine's clock, and looks up users and units.

The kernel knows when a rule ends by the time since boot alone. When the clock is set, that moment is
another; and a unit that was started anew has another cgroup.
"""

from firewall import interfaces
from firewall.edges import distinct_windows
from firewall.generations import next_generation
from firewall.publish import publish
from firewall.recover import locked
from firewall.resolve import names_owners
from firewall.settable import SetTable
from firewall.sparing import Flows, sparing_of
from firewall.state import Running, read


def refresh() -> int | None:
    """Puts what runs in force once more: ids, counters, buckets and flows stay, which are judged anew.

    Returns the new generation; None, and nothing is done, where no rule asks for the time, a user or a unit. Raises
    NotLoaded.
    """
    with locked(), read() as running:
        rules = running.policy.rules
        return renew(running) if distinct_windows(rules) or names_owners(rules) else None


def renew(running: Running, flows: Flows = Flows.LEAVE, *, sets_change: bool = False) -> int:
    """The same for who holds the lock, whatever the rules ask; the new generation. The rest is as in `sparing_of`."""
    known = interfaces.read(running.pins.map("interfaces"))
    classes = {one.name: one.class_id for one in known.values()}
    number = next_generation(running.pins)
    numbers = {name: one.number for name, one in SetTable(running.pins).known().items()}
    document = running.document
    spared = sparing_of(running.pins, flows, number, sets_change=sets_change)
    publish(running.pins, running.policy, document, classes, number, numbers, document, spared)
    return number
