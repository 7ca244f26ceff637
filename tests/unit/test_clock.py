# SPDX-License-Identifier: MIT
"""Jiffies from the monotonic clock, less those that the machine has lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from firewall import clock

HZ = 250
TIMERS = """Timer List Version: v0.10
HRTIMER_MAX_CLOCK_BASES: 8
now at 1000000000000 nsecs

cpu: 0
 clock 0:
  .last_jiffies   : 4295142050
jiffies: {}

cpu: 1
"""
TRUE_J = (1 << 32) - 300 * HZ + 1000 * HZ


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (TIMERS.format(TRUE_J - 54), 54),
        (TIMERS.format(TRUE_J), 0),
        (TIMERS.format("many"), 0),
        (TIMERS.partition("jiffies: {")[0], 0),
        ("", 0),
    ],
)
def test_lost_jiffies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, lost: int) -> None:
    file = tmp_path / "timer_list"
    monkeypatch.setattr(clock, "_TIMERS", str(file))
    clock._lost_j.cache_clear()
    assert clock._lost_j(HZ) == 0, "there is no such file"
    clock._lost_j.cache_clear()
    file.write_text(text)
    before = clock._jiffies_at(time.clock_gettime_ns(time.CLOCK_MONOTONIC), HZ)
    assert clock._lost_j(HZ) == lost
    assert abs(clock.now_j(HZ) - before + lost) <= 2 * HZ
    clock._lost_j.cache_clear()
