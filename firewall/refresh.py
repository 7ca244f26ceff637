# SPDX-License-Identifier: MIT
"""Counts the times of the running policy's rules again, from what the machine's clock shows now.

The kernel knows when a rule ends by the time since boot alone. When the clock is set, that moment is another.
"""

from firewall import interfaces
from firewall.edges import distinct_windows
from firewall.generations import next_generation
from firewall.publish import publish
from firewall.recover import locked
from firewall.settable import SetTable
from firewall.state import read


def refresh() -> int | None:
    """Puts what runs in force once more: ids, counters, buckets and flows stay, which are judged anew.

    Returns the new generation; None, and nothing is done, where no rule asks for the time. Raises NotLoaded.
    """
    with locked(), read() as running:
        if not distinct_windows(running.policy.rules):
            return None
        known = interfaces.read(running.pins.map("interfaces"))
        classes = {one.name: one.class_id for one in known.values()}
        number = next_generation(running.pins)
        numbers = {name: one.number for name, one in SetTable(running.pins).known().items()}
        publish(running.pins, running.policy, running.document, classes, number, numbers)
        return number
