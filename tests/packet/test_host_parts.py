# SPDX-License-Identifier: MIT
"""Host parts behind changing prefixes: `to ::10/-64`. That trees and lists find them too is in test_rules_agree.py."""

from __future__ import annotations

import pytest

from tests.packet.path import PacketPath
from tests.packets import eth, ip, tcp

CLOSED = "default in drop\ndefault forward drop\ndefault out drop\n"
OUTSIDE = "2001:db8:9::7"


def forwarded(path: PacketPath, src: str, dst: str, port: int = 443, *, on: str = "wan") -> str:
    return path.ingress(eth(ip(src, dst, tcp(4000, port))), on=on).reason


@pytest.mark.parametrize(
    ("dst", "reason"),
    [
        ("2001:db8:2::10", "rule_allow"),
        ("2001:db8:2:0:8000::10", "default_drop"),
        ("2001:db8:2::11", "default_drop"),
        ("2001:db8:2::1:0:10", "default_drop"),
    ],
)
def test_the_last_bits_decide(path: PacketPath, dst: str, reason: str) -> None:
    path.policy(f"{CLOSED}allow forward via lan tcp to ::10/-64 port 443\n")
    assert forwarded(path, OUTSIDE, dst) == reason


def test_of_any_length(path: PacketPath) -> None:
    """The bits are counted across both halves of the address."""
    path.policy(f"{CLOSED}allow forward on lan from ::2:0:0:0:0:9/-40\n")
    assert forwarded(path, "2001:db8:2::9", OUTSIDE, on="lan") == "rule_allow"
    assert forwarded(path, "2001:db8:2:1::9", OUTSIDE, on="lan") == "default_drop"


def test_both_ends_and_lists(path: PacketPath) -> None:
    rule = "allow forward tcp from ::7/-64, ::8/-64 to ::10/-64, 10.0.0.9 port 443\n"
    path.policy(CLOSED + rule)
    assert forwarded(path, "2001:db8:9::8", "2001:db8:2::10") == "rule_allow"
    assert forwarded(path, "2001:db8:9::9", "2001:db8:2::10") == "default_drop"
    assert forwarded(path, "198.51.100.7", "10.0.0.9") == "default_drop", "no IPv4 address has a host part"
    path.policy(f"{CLOSED}allow forward tcp to ::10/-64, 10.0.0.9 port 443\n")
    assert forwarded(path, "198.51.100.7", "10.0.0.9") == "rule_allow"


def test_it_hides_no_rule_behind_it(path: PacketPath) -> None:
    many = "".join(f"drop forward tcp to 2001:db8:2::{i:x} port 80\n" for i in range(0x100, 0x140))
    for port, more in enumerate(("", many), 4000):
        path.policy(
            f"{CLOSED}drop forward to ::10/-64\n{more}allow forward tcp to 2001:db8:2::/64 port 443\n"
        )
        assert forwarded(path, OUTSIDE, "2001:db8:2::10") == "rule_drop"
        assert forwarded(path, OUTSIDE, f"2001:db8:2::{port}") == "rule_allow"


def test_a_running_flow_is_asked_for_it_again(path: PacketPath) -> None:
    """Unlike a mark: the flow keeps its addresses."""
    path.policy(f"{CLOSED}allow forward tcp to 2001:db8:2::10 port 443\n")
    assert forwarded(path, OUTSIDE, "2001:db8:2::10") == "rule_allow"
    path.policy(f"{CLOSED}allow forward tcp to ::10/-64 port 443 set-mark 7 max-flows 5\n")
    assert forwarded(path, OUTSIDE, "2001:db8:2::10") == "flow"
    assert path.the_flow()[2].effects.mark == 7
    path.policy(f"{CLOSED}allow forward tcp to ::11/-64 port 443\n")
    assert forwarded(path, OUTSIDE, "2001:db8:2::10") == "revoked"
