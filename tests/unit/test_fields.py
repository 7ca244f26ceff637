# SPDX-License-Identifier: MIT
"""Some fields of a struct at once: the same as the whole struct says."""

import pytest

from firewall import abi
from firewall.fields import picker


def test_picks_what_the_whole_struct_has() -> None:
    flow = abi.Flow(tag=1, rule=7, flags=3, created_j=99)
    flow.side[1].seen_j = 5
    flow.side[1].state = 2
    flow.parent.sport = 443
    pick = picker(abi.Flow, "rule", "flags", "created_j", "side.0.seen_j", "side.1.seen_j", "side.1.state")
    assert pick.size == abi.Flow.SIZE
    assert pick.unpack(flow.pack()) == (7, 3, 99, 0, 5, 2)


def test_ports_come_as_on_the_wire() -> None:
    key = abi.FlowKey(lo=bytes(range(16)), lo_port=0x1234, proto=6)
    assert picker(abi.FlowKey, "lo", "lo_port", "proto").unpack(key.pack()) == (
        bytes(range(16)),
        b"\x12\x34",
        6,
    )


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(StopIteration):
        picker(abi.FlowKey, "nothing")
