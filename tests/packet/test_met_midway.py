# SPDX-License-Identifier: MIT
"""Connections whose SYNs were not seen: no number counts until those of both sides fit each other."""

from __future__ import annotations

import pytest

from firewall import abi
from tests.packet.ends import V4, Connection
from tests.packet.path import PacketPath
from tests.packets import sack

SEQ, ACK = 1_000_000, 5_000_000


def meet(path: PacketPath) -> Connection:
    """Our own segment is the first that is seen; they are the responder."""
    path.policy("default out allow\noption tcp.pickup outbound\n")
    talk = Connection(path, V4, we_open=True)
    assert talk.o("PA", SEQ, ACK, b"x" * 10).reason == "pickup"
    return talk


def settled(path: PacketPath) -> list[bool]:
    return [bool(side.flags & abi.SideFlags.SIDE_SETTLED) for side in path.the_flow()[2].side]


def test_numbers_count_when_both_sides_fit(path: PacketPath) -> None:
    talk = meet(path)
    assert talk.r("A", ACK, SEQ + 10).reason == "flow"
    assert settled(path) == [False, True]
    assert talk.o("PA", SEQ + 10, ACK, b"y").reason == "flow"
    assert settled(path) == [True, True]
    assert talk.r("PA", ACK + 2**31, SEQ + 11, b"z").reason == "out_of_window"
    assert talk.r("PA", ACK, SEQ + 11 + (1 << 23), b"z").reason == "out_of_window"
    assert talk.r("PA", ACK, SEQ + 11, b"z").reason == "flow"


def test_unknown_scale_is_taken_for_the_largest(path: PacketPath) -> None:
    talk = meet(path)
    talk.r("A", ACK, SEQ + 10, window=1000)
    talk.o("PA", SEQ + 10, ACK, b"y")
    assert talk.o("PA", SEQ + 11 + (1000 << 14), ACK, b"y").reason == "out_of_window"
    assert talk.o("PA", SEQ + 10 + (999 << 14), ACK, b"y").reason == "flow"


@pytest.mark.parametrize("ours", [5, 2**31 - 3, 2**31 + 5, 2**32 - 3])
@pytest.mark.parametrize("theirs", [5, 2**31 - 3, 2**31 + 5, 2**32 - 3])
def test_any_numbers_settle(path: PacketPath, ours: int, theirs: int) -> None:
    path.policy("default out allow\noption tcp.pickup outbound\n")
    talk = Connection(path, V4, we_open=True)
    assert talk.o("PA", ours, theirs, b"x" * 10).reason == "pickup"
    assert talk.r("PA", theirs, ours + 10, b"y" * 10).reason == "flow"
    assert talk.o("A", ours + 10, theirs + 10).reason == "flow"
    assert settled(path) == [True, True]
    assert talk.r("PA", theirs + 2**31, ours + 10, b"z").reason == "out_of_window"


def test_far_sequence_number_with_a_near_acknowledgement(path: PacketPath) -> None:
    """It does not make both sides begin anew."""
    talk = meet(path)
    talk.r("A", ACK, SEQ + 10)
    talk.o("A", SEQ + 10, ACK)
    before = path.the_flow()
    assert talk.r("PA", ACK + 2**31, SEQ + 5000, b"forged").reason == "out_of_window"
    assert path.the_flow() == before


def test_forged_segments_do_not_spoil_it(path: PacketPath) -> None:
    """A segment with any numbers passes for now, but the true ones are never held against it."""
    talk = meet(path)
    for i in range(5):
        assert talk.r("PA", 77 + i * 800_000_000, 99, b"forged").reason == "flow"
        assert settled(path) == [False, False]
        assert talk.o("PA", SEQ + 10 * i, ACK, b"x" * 10).reason == "flow"
    assert talk.r("A", ACK, SEQ + 50).reason == "flow"
    assert talk.o("PA", SEQ + 50, ACK, b"x").reason == "flow"
    assert settled(path) == [True, True]
    assert talk.r("PA", ACK + 2**31, SEQ, b"forged").reason == "out_of_window"


def test_reset_and_syn_pass_without_effect_until_then(path: PacketPath) -> None:
    talk = meet(path)
    before = path.the_flow()
    for flags in ("R", "RA", "S", "SA"):
        assert talk.r(flags, ACK, SEQ + 10).reason == "flow"
    assert path.the_flow() == before


def test_end_of_it(path: PacketPath) -> None:
    talk = meet(path)
    talk.r("A", ACK, SEQ + 10)
    talk.o("FA", SEQ + 10, ACK)
    talk.r("FA", ACK, SEQ + 11)
    talk.o("A", SEQ + 11, ACK + 1)
    assert talk.sides() == ("FIN", "FIN")
    assert talk.o("S", 5).reason == "default_allow", "TIME_WAIT"


def test_reset_with_the_exact_number(path: PacketPath) -> None:
    talk = meet(path)
    talk.r("A", ACK, SEQ + 10)
    talk.o("A", SEQ + 10, ACK)
    assert talk.r("R", ACK + 1).reason == "flow"
    assert talk.sides() == ("OPEN", "OPEN")
    assert talk.r("R", ACK).reason == "flow"
    assert talk.sides() == ("OPEN", "RST")


def test_a_connection_in_loss_recovery_goes_on(path: PacketPath) -> None:
    """What was sent before is acknowledged, selectively and then as a whole, though it was not seen."""
    talk = meet(path)
    hole = SEQ + 10
    assert talk.r("A", ACK, hole, options=sack((SEQ + 2000, SEQ + 90_000))).reason == "flow"
    assert talk.o("PA", hole, ACK, b"y" * 1000).reason == "flow"
    assert talk.r("A", ACK, SEQ + 1010, options=sack((SEQ + 2000, SEQ + 200_000))).reason == "flow"
    assert talk.o("PA", SEQ + 1010, ACK, b"y" * 990).reason == "flow"
    assert talk.r("A", ACK, SEQ + 200_000).reason == "flow"
    assert talk.o("PA", SEQ + 200_000, ACK, b"z").reason == "flow"
    assert talk.r("A", ACK, SEQ + 200_001).reason == "flow"
    assert settled(path) == [True, True]


def test_late_arrivals_of_what_was_not_seen(path: PacketPath) -> None:
    """Both sides fit, and then comes an acknowledgement of what was under way before."""
    talk = meet(path)
    talk.r("A", ACK, SEQ + 10)
    talk.o("PA", SEQ + 10, ACK, b"y")
    assert settled(path) == [True, True]
    assert talk.r("A", ACK, SEQ + 11, options=sack((SEQ + 5000, SEQ + 60_000))).reason == "flow"
    assert talk.r("A", ACK, SEQ + 60_000).reason == "flow"
    assert talk.o("PA", SEQ + 60_000, ACK, b"y").reason == "flow"
    assert talk.r("A", ACK, SEQ + 60_001).reason == "flow"
    assert settled(path) == [True, True]


def test_closed_by_its_first_segments(path: PacketPath) -> None:
    path.policy("default out allow\noption tcp.pickup outbound\n")
    talk = Connection(path, V4, we_open=True)
    talk.o("FA", SEQ, ACK)
    talk.r("FA", ACK, SEQ + 1)
    talk.o("A", SEQ + 1, ACK + 1)
    assert talk.sides() == ("FIN", "FIN")
    assert talk.o("S", 5).reason == "default_allow"
