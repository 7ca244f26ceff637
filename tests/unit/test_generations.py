# SPDX-License-Identifier: MIT
"""Numbers of rulesets: never used twice, and never built where the one in force is kept."""

from __future__ import annotations

from firewall import abi
from firewall.generations import free_number, slot_key

SLOTS = abi.Limits.GENERATION_SLOTS


def test_numbers_follow_each_other() -> None:
    assert [free_number(running, running) for running in range(1, 9)] == list(range(2, 10))


def test_the_slot_in_use_is_passed_over() -> None:
    """Change after change fails: each had its number, none came into force."""
    running = last = 5
    tried = []
    for _ in range(20):
        last = free_number(last, running)
        tried.append(last)
    assert tried == sorted(set(tried)) and min(tried) > running
    assert slot_key(running) not in {slot_key(number) for number in tried}
    assert len({slot_key(number) for number in tried}) == SLOTS - 1
