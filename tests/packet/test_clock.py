# SPDX-License-Identifier: MIT
"""User space counts the packet path's jiffies, also where the machine has lost some."""

from __future__ import annotations

from firewall.clock import now_j
from tests.packet.path import PacketPath
from tests.packets import eth, ip, udp

EITHER_WAY = 2  # a clock is read, and ticks


def test_user_space_counts_the_same_jiffies(path: PacketPath) -> None:
    path.policy("default in allow\n")
    before = now_j()
    assert path.ingress(eth(ip("198.51.100.7", "192.0.2.1", udp(4000, 53)))).passed
    after = now_j()
    assert before - EITHER_WAY <= path.the_flow()[2].created_j <= after + EITHER_WAY
