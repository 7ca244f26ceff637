# SPDX-License-Identifier: MIT
"""Idleness is right across the wrap of the kernel's tick counter, whose lower half starts 5 minutes before it."""

from __future__ import annotations

import pytest

from firewall import clock
from firewall.clock import hz
from tests.packet.ends import FAMILIES, Connection, Ends
from tests.packet.path import PacketPath

LOW_HALF = 1 << 32
MARGIN_S = 5


@FAMILIES
@pytest.mark.parametrize("dead", [False, True], ids=["live", "dead"])
def test_a_flow_from_before_the_wrap(path: PacketPath, ends: Ends, dead: bool) -> None:
    """Its last packet was seen before the lower half began anew, the next one comes after."""
    since_s = (clock.now_j() - LOW_HALF) // hz() + 1
    timeout_s = max(7440, since_s + (0 if dead else 2 * MARGIN_S))
    if not 0 < timeout_s <= 14 * 86400:
        pytest.skip("the counter's lower half has not wrapped yet, or longer ago than a timeout may last")
    path.policy(f"default in drop\nallow in tcp to port 22\noption timeout.tcp-established {timeout_s}s\n")
    talk = Connection(path, ends)
    talk.establish()
    path.age(timeout_s + MARGIN_S if dead else timeout_s - MARGIN_S)
    for _, _, flow in path.flows():
        assert all(side.seen_j < LOW_HALF for side in flow.side) or timeout_s == 7440
    assert talk.o("A", 101, 901).reason == ("no_flow" if dead else "flow")


def test_a_packet_that_another_cpu_saw_a_tick_later(path: PacketPath) -> None:
    """Its time is ahead of ours: that is no long silence."""
    path.policy("default in drop\nallow in tcp to port 22\n")
    talk = Connection(path, Ends("192.0.2.1", "198.51.100.7", "", "", ""))
    talk.establish()
    path.age(-3)
    assert talk.o("A", 101, 901).reason == "flow"
