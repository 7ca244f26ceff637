# SPDX-License-Identifier: MIT
"""A long run is cut into parts, which follow from its seed and its number of packets alone, whoever runs them and when.

Each part has its own pair of routers, so as many run at once as there are processors. A run of one part is what its
seed says; so a part that fails can be had again without the others.
"""

from __future__ import annotations

import random
from typing import NamedTuple

LARGEST = 500_000
"""Packets of a part: conntrack's table has room for more, and beside it the making of the routers takes no time."""


class Part(NamedTuple):
    """A part of a run, itself a run: its seed, and how many packets it has at least."""

    seed: int
    packets: int


def count(packets: int) -> int:
    """Into how many parts a run is cut."""
    return -(-packets // LARGEST)


def part(seed: int, packets: int, name: str, number: int) -> Part:
    """Of the runs of that seed the one of this name: its part of that number. All its parts are of one size."""
    parts = count(packets)
    own = random.Random(f"{seed} {name} {number}").getrandbits(32) if parts > 1 else seed
    return Part(own, -(-packets // parts))
