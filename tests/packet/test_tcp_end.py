# SPDX-License-Identifier: MIT
"""How TCP connections end and begin anew: FIN, reset, silence, and the SYN that comes after."""

import pytest

from tests.packet import stories
from tests.packet.ends import FAMILIES, V4, Connection, Ends
from tests.packet.path import PacketPath

BOTH_WAYS = "default in drop\ndefault out allow\nallow in tcp to port 22\n"
WRAP = 2**32


@pytest.mark.parametrize("first", ["opener", "responder"])
def test_fin_both_ways(talk: Connection, first: str) -> None:
    talk.establish()
    if first == "opener":
        segments = [
            talk.o("FA", 101, 901),
            talk.r("A", 901, 102),
            talk.r("FA", 901, 102),
            talk.o("A", 102, 902),
        ]
    else:
        segments = [
            talk.r("FA", 901, 101),
            talk.o("A", 101, 902),
            talk.o("FA", 101, 902),
            talk.r("A", 902, 102),
        ]
    assert [segment.reason for segment in segments] == ["flow"] * 4
    assert talk.sides() == ("FIN", "FIN")
    assert [record[:2] for record in talk.records()] == [(102, 902), (902, 102)]
    assert talk.lives(235)
    assert not talk.lives(242), "TIME_WAIT lasts as long as RFC 5382 REQ-5 asks for"


def test_half_close(talk: Connection) -> None:
    """One side has sent all that it will; the other may take its time, and the first goes on to acknowledge."""
    talk.establish()
    talk.o("FA", 101, 901)
    for i in range(3):
        assert talk.r("PA", 901 + 5 * i, 102, b"hello").reason == "flow"
        assert talk.o("A", 102, 906 + 5 * i).reason == "flow"
    assert talk.sides() == ("FIN", "OPEN")
    assert talk.records()[1][0] == 916


def test_fin_sent_again(talk: Connection) -> None:
    talk.close()
    before = [record[:2] for record in talk.records()]
    assert talk.r("FA", 901, 102).reason == "flow"
    assert talk.o("A", 102, 902).reason == "flow"
    assert [record[:2] for record in talk.records()] == before


def test_nothing_is_sent_behind_a_fin(talk: Connection) -> None:
    """It passes without effect: else it would bring TIME_WAIT back to life."""
    talk.close()
    before = talk.path.the_flow()
    assert talk.r("PA", 902, 102, b"x").reason == "flow"
    assert talk.o("FA", 102, 902).reason == "flow"
    assert talk.path.the_flow() == before


def test_fin_where_all_was_acknowledged_ends_nothing(talk: Connection) -> None:
    """It is forged: the other end has had data there."""
    talk.establish()
    talk.o("PA", 101, 901, b"x" * 1000)
    talk.r("A", 901, 1101)
    for seq in (600, 1100):
        assert talk.o("FA", seq, 901).passed
        assert talk.sides() == ("OPEN", "OPEN")
    assert talk.o("PA", 1101, 901, b"y" * 1000).reason == talk.r("A", 901, 2101).reason == "flow"
    talk.o("FA", 2101, 901)
    assert talk.sides() == ("FIN", "OPEN")
    talk.r("A", 901, 2102)
    talk.o("FA", 2101, 901)
    assert talk.sides() == ("FIN", "OPEN"), "its own FIN sent again is one still"


@pytest.mark.parametrize("new_isn", [101, 5000, 3_000_000_000])
def test_syn_reopens_after_time_wait(talk: Connection, new_isn: int) -> None:
    talk.close()
    assert talk.o("S", new_isn).reason in ("rule_allow", "default_allow")
    assert (talk.table, talk.sides()) == ("embryonic", ("SYN", "NONE"))
    assert talk.records()[0] == (new_isn + 1, 0, 1)
    assert talk.r("SA", 70, new_isn + 1).reason == "flow"
    assert talk.o("A", new_isn + 1, 71).reason == "flow"
    assert talk.table == "flows"


def test_reopening_asks_the_rules(path: PacketPath) -> None:
    """The side that was asked may not open what only the other may."""
    path.policy("default in drop\ndefault out drop\nallow in tcp to port 22\n")
    talk = Connection(path, V4)
    talk.close()
    assert talk.r("S", 5000).reason == "default_drop"


def test_syn_does_not_reopen_what_is_half_closed(talk: Connection) -> None:
    talk.establish()
    talk.o("FA", 101, 901)
    before = talk.path.the_flow()
    assert talk.o("S", 5000).reason == "flow"
    assert talk.r("S", 5000).reason == "flow"
    assert talk.path.the_flow() == before


def test_reset_that_refuses_a_syn(talk: Connection) -> None:
    """RFC 9293 section 3.10.7.1: it acknowledges the SYN."""
    talk.o("S", 100)
    for flags, ack in (("R", 0), ("RA", 100), ("RA", 102)):
        assert talk.r(flags, 0, ack).reason == "bad_handshake", (flags, ack)
    assert talk.sides() == ("SYN", "NONE")
    assert talk.r("RA", 0, 101).reason == "flow"
    assert talk.sides() == ("SYN", "RST")
    assert talk.o("S", 500).reason in ("rule_allow", "default_allow"), "it may try again at once"


def test_refused_connection_is_not_confirmed(talk: Connection) -> None:
    """Only a handshake confirms: otherwise SYNs with forged sources to a closed port displace real flows."""
    talk.o("S", 100)
    talk.r("RA", 0, 101)
    assert talk.table == "embryonic"


def test_connection_reset_in_its_handshake_is_not_confirmed(talk: Connection) -> None:
    """A forger knows his own numbers, and so can send this reset without having seen the answer."""
    talk.o("S", 100)
    talk.r("SA", 900, 101)
    assert talk.o("R", 101).reason == "flow"
    assert talk.sides() == ("RST", "SYN")
    assert talk.table == "embryonic"


@pytest.mark.parametrize("sender", ["opener", "responder"])
def test_reset_closes_only_with_the_right_number(talk: Connection, sender: str) -> None:
    """RFC 5961 section 3.2: exactly the next one expected; any other is answered with a challenge."""
    talk.establish()
    talk.r("PA", 901, 101, b"hello")
    talk.o("PA", 101, 906, b"hi")
    talk.r("A", 906, 103)
    send, right = (talk.o, 103) if sender == "opener" else (talk.r, 906)
    before = talk.path.the_flow()
    for inside in (right + 1, right + 1000, right + 0xFFFF):
        assert send("R", inside).reason == "flow"
        assert talk.path.the_flow() == before, inside
    for outside in (0, right - 1, right + 0x10000, right + 2**31):
        assert send("R", outside % WRAP).reason == "out_of_window"
        assert talk.path.the_flow() == before, outside
    assert send("R", right).reason == "flow"
    assert "RST" in talk.sides()
    assert talk.lives(235)
    assert not talk.lives(242)


def test_reset_by_what_was_acknowledged(talk: Connection) -> None:
    """A closed socket answers a segment with a reset that begins where that segment's ACK says."""
    talk.establish()
    talk.o("PA", 101, 901, b"never acknowledged")
    assert talk.r("R", 901).reason == "flow"
    assert talk.sides() == ("OPEN", "RST")


STATES: dict[str, tuple[stories.Story, int]] = {
    "syn_sent": (stories.syn_sent, 20),
    "syn_recv": (stories.syn_recv, 30),
    "established": (stories.established, 7500),
    "fin_wait": (stories.fin_wait, 40),
    "last_ack": (stories.last_ack, 50),
    "last_ack of the opener": (stories.last_ack_of_opener, 50),
    "last_ack of the responder": (stories.last_ack_of_responder, 50),
    "time_wait": (stories.time_wait, 60),
    "closed": (stories.closed, 10),
}


@FAMILIES
@pytest.mark.parametrize("state", STATES)
def test_timeouts(path: PacketPath, ends: Ends, state: str) -> None:
    story, seconds = STATES[state]
    path.policy(
        BOTH_WAYS + "option timeout.tcp-syn-sent 20s\noption timeout.tcp-syn-recv 30s\n"
        "option timeout.tcp-established 7500s\noption timeout.tcp-fin-wait 40s\n"
        "option timeout.tcp-last-ack 50s\noption timeout.tcp-time-wait 60s\noption timeout.tcp-closed 10s\n"
    )
    talk = Connection(path, ends)
    story(talk)
    path.age(seconds - 5)
    # a reset out of place changes nothing, and belongs to a flow as long as there is one
    assert talk.r("R", 5).reason in ("flow", "bad_handshake", "out_of_window")
    path.age(5.1)
    assert talk.r("R", 5).reason == "no_flow"
