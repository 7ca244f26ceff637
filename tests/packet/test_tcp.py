# SPDX-License-Identifier: MIT
"""TCP connections: which segments open and complete one, as seen in the records of both sides."""

import pytest

from tests.packet.ends import FAMILIES, OPENERS, Connection, Ends
from tests.packet.path import PacketPath
from tests.packets import mss, sack, timestamps, wscale

BOTH_WAYS = "default in drop\ndefault out allow\nallow in tcp to port 22\n"
WRAP = 2**32


@FAMILIES
@OPENERS
def test_handshake(path: PacketPath, ends: Ends, we_open: bool) -> None:
    path.policy(BOTH_WAYS)
    talk = Connection(path, ends, we_open=we_open)
    assert talk.o("S", 100, options=mss(1460) + wscale(7)).reason in ("rule_allow", "default_allow")
    assert (talk.table, talk.sides()) == ("embryonic", ("SYN", "NONE"))
    assert talk.r("SA", 900, 101).reason == "flow"
    assert (talk.table, talk.sides()) == ("embryonic", ("SYN", "SYN"))
    assert talk.o("A", 101, 901).reason == "flow"
    assert (talk.table, talk.sides()) == ("flows", ("OPEN", "SYN"))
    assert talk.r("PA", 901, 101, b"hello", options=timestamps(1, 2)).reason == "flow"
    assert talk.r("PA", 910, 101, b"0123456789", options=timestamps(1, 2)).reason == "flow"
    assert talk.o("A", 101, 906, options=sack((910, 920))).reason == "flow"
    assert talk.sides() == ("OPEN", "OPEN")
    assert talk.records() == [(101, 906, 3), (920, 101, 3)]


def test_what_may_not_come_before_a_syn(talk: Connection) -> None:
    for flags in ("A", "SA", "FA", "R", "RA", "PA"):
        assert talk.o(flags, 100, 900).reason == "no_flow", flags
    assert list(talk.path.flows()) == []


def test_responder_that_has_not_accepted_sends_nothing_else(talk: Connection) -> None:
    talk.o("S", 100)
    assert talk.r("FA", 900, 101).reason == "bad_handshake"
    assert talk.r("PA", 900, 101, b"hello").reason == "bad_handshake"
    assert talk.sides() == ("SYN", "NONE")


def test_challenge_of_a_half_open_connection(talk: Connection) -> None:
    """RFC 9293 figure 9: a responder that still has the old connection; its ACK lets the opener reset that."""
    talk.o("S", 100)
    before = talk.path.the_flow()
    assert talk.r("A", 5000, 77).reason == "flow"
    assert talk.o("R", 77).reason == "flow"
    assert talk.path.the_flow() == before
    assert talk.sides() == ("SYN", "NONE")


@pytest.mark.parametrize("ack", [0, 100, 102, 101 + 2**31, WRAP - 1])
def test_syn_ack_that_acknowledges_something_else(talk: Connection, ack: int) -> None:
    """RFC 9293 section 3.10.7.3: ISS < SEG.ACK =< SND.NXT."""
    talk.o("S", 100)
    assert talk.r("SA", 900, ack).reason == "bad_handshake"
    assert talk.r("SA", 900, 101).reason == "flow"


@pytest.mark.parametrize("off", [1, 2**31, -70_000, -1_000_000_001])
@pytest.mark.parametrize("flags", ["A", "PA", "FA"])
def test_third_segment_that_acknowledges_something_else(talk: Connection, flags: str, off: int) -> None:
    isn = 1_000_000_000
    talk.o("S", 100)
    talk.r("SA", isn, 101)
    assert talk.o(flags, 101, isn + 1 + off).reason == "bad_handshake"
    assert (talk.table, talk.sides()) == ("embryonic", ("SYN", "SYN"))


def test_third_segment_that_does_not_acknowledge_the_syn(talk: Connection) -> None:
    """Just below the responder's SYN: RFC 9293 section 3.10.7.4, SND.UNA < SEG.ACK."""
    talk.o("S", 100)
    talk.r("SA", 900, 101)
    assert talk.o("A", 101, 900).reason == "bad_handshake"
    assert talk.table == "embryonic"


def test_syn_again_and_syn_ack_again(talk: Connection) -> None:
    for _ in range(3):
        assert talk.o("S", 100).passed
    for _ in range(3):
        assert talk.r("SA", 900, 101).reason == "flow"
        assert talk.o("S", 100).reason == "flow"
    assert talk.sides() == ("SYN", "SYN")
    assert talk.o("A", 101, 901).reason == "flow"
    assert talk.r("SA", 900, 101).reason == "flow", "the third segment was lost"
    assert (talk.table, talk.sides()) == ("flows", ("OPEN", "SYN"))


def test_syn_ack_again_after_the_opener_has_sent_data(talk: Connection) -> None:
    """What ended the handshake was lost behind us: the responder still acknowledges the SYN alone."""
    talk.establish()
    talk.o("PA", 101, 901, b"hello")
    before = talk.path.the_flow()
    assert talk.r("SA", 900, 101).reason == "flow"
    assert talk.path.the_flow()[2].side[1].seq_end == before[2].side[1].seq_end
    assert talk.sides() == ("OPEN", "SYN")


def test_opener_starts_over_with_another_number(talk: Connection) -> None:
    """As after a reboot, while the first SYN was lost."""
    talk.o("S", 4_000_000_000)
    assert talk.o("S", 100).reason == "flow"
    assert talk.r("SA", 900, 77).reason == "bad_handshake"
    assert talk.r("SA", 900, 101).reason == "flow"
    assert talk.o("A", 101, 901).reason == "flow"
    assert talk.table == "flows"


@pytest.mark.parametrize("first", [True, False])
def test_a_syn_with_the_last_number(talk: Connection, first: bool) -> None:
    """What is next is 0, which is a number as good as others."""
    syns = (2**32 - 1, 100) if first else (100, 2**32 - 1)
    for seq in syns:
        assert talk.o("S", seq).passed
    assert talk.r("SA", 900, 0).reason == "flow"
    assert talk.o("A", 0, 901).reason == "flow"
    assert talk.table == "flows"


def test_nobody_acknowledges_a_syn_by_nothing(talk: Connection) -> None:
    talk.o("S", 100)
    assert talk.r("SA", 900, 0).reason == "bad_handshake"
    assert talk.r("RA", 900, 0).reason == "bad_handshake"


def test_forged_syn_before_the_answer(talk: Connection) -> None:
    """The responder answers the first SYN and challenges the other: which one is forged it alone can tell."""
    talk.o("S", 100)
    for forged in (3_000_000_000, 5, 777_777):
        assert talk.o("S", forged).reason == "flow"
    assert talk.r("SA", 900, 101).reason == "flow"
    assert talk.o("PA", 101, 901, b"hello").reason == "flow"
    assert (talk.table, talk.records()[0][:2]) == ("flows", (106, 901))
    assert talk.r("PA", 901, 106, b"world").reason == "flow"


def test_other_syn_after_the_answer_changes_nothing(talk: Connection) -> None:
    talk.o("S", 100)
    talk.r("SA", 900, 101)
    before = talk.path.the_flow()
    assert talk.o("S", 5000).reason == "flow", "the end answers it with a challenge"
    assert talk.path.the_flow() == before
    assert talk.o("A", 101, 901).reason == "flow"


def test_challenge_before_the_handshake_is_complete_helps_no_forger(talk: Connection) -> None:
    """The number of the SYN-ACK must be guessed still, all of it."""
    talk.o("S", 100)
    talk.r("SA", 900, 101)
    talk.o("S", 50_000)
    before = talk.path.the_flow()
    assert talk.r("A", 901, 101).reason == "flow"
    assert talk.path.the_flow() == before
    for guess in (899, 900, 902, 901 - 30_000 & 0xFFFFFFFF):
        assert talk.o("A", 101, guess).reason == "bad_handshake"
    assert talk.table == "embryonic"
    assert talk.o("A", 101, 901).reason == "flow"
    assert (talk.table, talk.sides()) == ("flows", ("OPEN", "SYN"))


def test_challenge_then_reset_then_new_connection(talk: Connection) -> None:
    """RFC 9293 figure 9: a host comes back from a crash into its old connection's ports."""
    talk.establish()
    assert talk.o("S", 7000).reason == "flow"
    assert talk.r("A", 901, 101).reason == "flow"
    assert talk.o("R", 101).reason == "flow"
    assert talk.sides()[0] == "RST"
    assert talk.o("S", 7000).reason in ("rule_allow", "default_allow")
    assert (talk.table, talk.sides()) == ("embryonic", ("SYN", "NONE"))


def test_simultaneous_open(talk: Connection) -> None:
    """RFC 9293 figure 8."""
    assert talk.o("S", 100).passed
    assert talk.r("S", 300).reason == "flow"
    assert talk.sides() == ("SYN", "SYN")
    assert talk.o("SA", 100, 301).reason == "flow"
    assert talk.r("SA", 300, 101).reason == "flow"
    assert talk.o("A", 101, 301).reason == "flow"
    assert talk.r("PA", 301, 101, b"x").reason == "flow"
    assert (talk.table, talk.sides()) == ("flows", ("OPEN", "OPEN"))


def test_data_on_the_syn(talk: Connection) -> None:
    """RFC 7413: the responder may take the data, or only the SYN."""
    talk.o("S", 100, payload=b"12345")
    assert talk.r("SA", 900, 106).reason == "flow"
    assert talk.o("A", 106, 901).reason == "flow"
    assert talk.table == "flows"


@pytest.mark.parametrize("ack", [101, 103])
def test_data_on_the_syn_that_is_not_taken(talk: Connection, ack: int) -> None:
    """RFC 7413 section 4.2: a server without a valid cookie acknowledges the SYN alone."""
    talk.o("S", 100, payload=b"12345")
    assert talk.r("SA", 900, 100).reason == "bad_handshake"
    assert talk.r("SA", 900, 107).reason == "bad_handshake"
    assert talk.r("SA", 900, ack).reason == "flow"
    assert talk.o("PA", ack, 901, b"12345"[ack - 101 :]).reason == "flow"
    assert talk.table == "flows"


def test_responder_sends_before_the_third_segment(talk: Connection) -> None:
    """RFC 7413: it may, once it has taken the SYN's data."""
    talk.o("S", 100, payload=b"12345")
    talk.r("SA", 900, 106)
    assert talk.r("PA", 901, 106, b"abc").reason == "flow"
    assert talk.table == "embryonic"
    assert talk.o("A", 106, 904).reason == "flow"
    assert (talk.table, talk.sides()) == ("flows", ("OPEN", "OPEN"))


def test_syn_inside_a_live_connection_changes_nothing(talk: Connection) -> None:
    talk.establish()
    talk.r("PA", 901, 101, b"hello")
    before = talk.path.the_flow()
    for flags in ("S", "SA"):
        assert talk.o(flags, 7000, 1).reason == "flow"
        assert talk.r(flags, 7000, 1).reason == "flow"
    assert talk.path.the_flow() == before


def test_numbers_wrap(talk: Connection) -> None:
    top = WRAP - 3
    talk.establish(o_isn=top, r_isn=WRAP - 1)
    assert talk.records() == [(top + 1, 0, 2), (0, top + 1, 1)]
    assert talk.o("PA", top + 1, 0, b"0123456789").reason == "flow"
    assert talk.r("A", 0, 8).reason == "flow"
    assert talk.o("A", 8, 0).reason == "flow"
    assert talk.o("A", top + 1, 0).reason == "flow", "sent again from before the wrap"
    assert [record[:2] for record in talk.records()] == [(8, 0), (0, 8)]
    assert talk.o("FA", 8, 0).reason == "flow"
    assert talk.r("FA", 0, 9).reason == "flow"
    assert talk.o("A", 9, 1).reason == "flow"
    assert [record[:2] for record in talk.records()] == [(9, 1), (1, 9)]
