# SPDX-License-Identifier: MIT
"""Sequence and acknowledgement numbers against both sides' windows: docs/conntrack.md has the four bounds."""

from __future__ import annotations

import pytest

from firewall import abi
from tests.packet.ends import V4, Connection
from tests.packet.path import PacketPath
from tests.packets import NOP, eth, fragments, icmp_error, ip, ipv4, mss, sack, tcp, timestamps, wscale

ISN, PEER = 1_000_000, 5_000_000
SEQ, ACK = ISN + 1, PEER + 1  # the first byte of each side
WRAP = 2**32
BOTH_WAYS = "default in drop\ndefault out allow\nallow in tcp to port 22\n"


def connect(
    talk: Connection, *, mine: int | None = None, theirs: int | None = None, window: int = 65535
) -> Connection:
    """A connection whose SYNs offer these scales; the responder's window is `window`."""
    talk.o("S", ISN, options=wscale(mine) if mine is not None else mss(1460))
    talk.r("SA", PEER, SEQ, options=wscale(theirs) if theirs is not None else mss(1460), window=window)
    assert talk.o("A", SEQ, ACK).reason == "flow"
    assert talk.r("A", ACK, SEQ, window=window).reason == "flow"
    return talk


def refused(talk: Connection, sender: str, *segment: object, **more: object) -> bool:
    """Whether a segment is dropped for its numbers; one that is must not change anything."""
    before = talk.path.the_flow()
    verdict = getattr(talk, sender)(*segment, **more)
    if verdict.reason == "flow":
        return False
    assert verdict.reason == "out_of_window"
    assert talk.path.the_flow() == before
    return True


def test_begins_where_the_receiver_allows(talk: Connection) -> None:
    """RFC 9293 section 3.10.7.4: some part of it lies in the window; what is too much the receiver cuts off."""
    connect(talk, window=1000)
    assert refused(talk, "o", "A", SEQ + 1001, ACK)
    assert refused(talk, "o", "PA", SEQ + 1001, ACK, b"x")
    assert refused(talk, "o", "PA", SEQ + 2**31, ACK, b"x")
    assert not refused(talk, "o", "PA", SEQ + 1000, ACK, b"x"), "a probe"


def test_ends_within_a_window_of_what_was_sent(talk: Connection) -> None:
    """All that may be on its way again lies within a window of the highest."""
    connect(talk, window=1000)
    talk.o("PA", SEQ, ACK, b"x" * 1000)
    talk.r("A", ACK, SEQ + 1000, window=1000)
    talk.o("PA", SEQ + 1000, ACK, b"y" * 1000)
    assert refused(talk, "o", "PA", SEQ + 898, ACK, b"x" * 100)
    assert not refused(talk, "o", "PA", SEQ + 900, ACK, b"x" * 100), (
        "sent again: its acknowledgement was lost"
    )
    assert refused(talk, "o", "PA", SEQ - 500_000, ACK, b"x" * 100)


@pytest.mark.parametrize("sent", [2, 10, 1400])
def test_half_of_all_numbers_away(talk: Connection, sent: int) -> None:
    """Neither before nor after anything, also where more has come at once than the window still held."""
    connect(talk, window=1)
    assert not refused(talk, "o", "PA", SEQ, ACK, b"x" * sent)
    for off in (-sent - 1, -2, -1, 0, 1, 2, sent, sent + 1):
        assert refused(talk, "o", "A", SEQ + 2**31 + off, ACK)
        assert refused(talk, "o", "PA", SEQ + 2**31 + off, ACK, b"x")


@pytest.mark.parametrize("flight", [0, 1 << 29])
def test_the_largest_windows_there_are(talk: Connection, flight: int) -> None:
    """RFC 7323 section 2.2: below 2^30, with as much sent and not acknowledged."""
    connect(talk, mine=14, theirs=14)
    widest = 65535 << 14
    assert not refused(talk, "o", "PA", SEQ + flight - 1, ACK, b"x")
    assert refused(talk, "o", "A", SEQ + widest + 1, ACK)
    assert refused(talk, "o", "A", SEQ + flight - widest - 1, ACK)
    assert not refused(talk, "o", "A", SEQ + flight - widest, ACK)
    assert not refused(talk, "o", "A", SEQ + widest, ACK)


def test_keep_alive(talk: Connection) -> None:
    """RFC 9293 section 3.8.4: one below what is next, with or without a byte of garbage."""
    connect(talk, window=1)
    assert not refused(talk, "o", "A", SEQ - 1, ACK)
    assert not refused(talk, "o", "A", SEQ - 1, ACK, b"\0")


def test_acknowledges_what_was_sent(talk: Connection) -> None:
    connect(talk)
    talk.r("PA", ACK, SEQ, b"x" * 100)
    assert refused(talk, "o", "A", SEQ, ACK + 101)
    assert refused(talk, "o", "A", SEQ, ACK + 2**31)
    assert not refused(talk, "o", "A", SEQ, ACK + 100)
    assert not refused(talk, "o", "A", SEQ, ACK), "overtaken by the one before"


def test_acknowledges_nothing_from_long_ago(talk: Connection) -> None:
    """RFC 5961 section 5.2: not more than a window behind, and 65,535 where the windows are small."""
    connect(talk)
    sent = ACK
    for _ in range(50):
        talk.r("PA", sent, SEQ, b"x" * 3000)
        sent += 3000
        talk.o("A", SEQ, sent)
    assert refused(talk, "o", "A", SEQ, sent - 65_536)
    assert refused(talk, "o", "PA", SEQ, sent - 65_536, b"x")
    assert not refused(talk, "o", "A", SEQ, sent - 65_535)


def test_overtaken_while_a_whole_window_is_on_its_way(talk: Connection) -> None:
    """RFC 5961 section 5.2 counts from what was acknowledged, not from what was sent: both sides may be sending."""
    connect(talk)
    talk.r("PA", ACK, SEQ, b"x" * 1000)
    acked = ACK + 1000
    talk.o("A", SEQ, acked)
    for start in range(0, 65_535, 3000):
        assert not refused(talk, "r", "PA", acked + start, SEQ, b"x" * min(3000, 65_535 - start))
    assert not refused(talk, "o", "PA", SEQ, acked - 1, b"overtaken")
    assert not refused(talk, "o", "PA", SEQ, acked - 65_535, b"x")
    assert refused(talk, "o", "PA", SEQ, acked - 65_536, b"x")


def test_selective_acknowledgement_of_what_was_sent(talk: Connection) -> None:
    connect(talk)
    talk.r("PA", ACK + 10, SEQ, b"x" * 10)
    block = (ACK + 10, ACK + 20)
    assert not refused(talk, "o", "A", SEQ, ACK, options=NOP + NOP + sack(block))
    assert refused(talk, "o", "A", SEQ, ACK, options=NOP + NOP + sack((ACK + 10, ACK + 21)))
    blocks = [(ACK + 1, ACK + 2), (ACK + 3, ACK + 4), (ACK + 5, ACK + 6)]
    assert not refused(talk, "o", "A", SEQ, ACK, options=sack(*blocks, block))
    assert refused(talk, "o", "A", SEQ, ACK, options=sack(*blocks, (ACK + 10, ACK + 21)))
    assert refused(talk, "o", "A", SEQ, ACK, options=timestamps(1, 2) + sack(*blocks[:2], (ACK, ACK + 99)))


def test_duplicate_that_is_acknowledged_selectively(talk: Connection) -> None:
    """RFC 2883: the first block lies below the acknowledgement."""
    connect(talk)
    talk.r("PA", ACK, SEQ, b"x" * 100)
    talk.o("A", SEQ, ACK + 100)
    assert not refused(talk, "o", "A", SEQ, ACK + 100, options=sack((ACK, ACK + 50)))


@pytest.mark.parametrize(
    ("mine", "theirs", "shift"), [(0, 7, 7), (7, 0, 0), (14, 14, 14), (3, 15, 14), (None, 7, 0), (7, None, 0)]
)
def test_scale(talk: Connection, mine: int | None, theirs: int | None, shift: int) -> None:
    """RFC 7323 section 2: in force if both SYNs offered one, 14 at most, and never on a SYN itself."""
    connect(talk, mine=mine, theirs=theirs, window=1000)
    assert refused(talk, "o", "A", SEQ + (1000 << shift) + 1, ACK)
    assert not refused(talk, "o", "A", SEQ + (1000 << shift), ACK)


def test_window_of_a_syn_is_not_scaled(talk: Connection) -> None:
    talk.o("S", ISN, options=wscale(7))
    talk.r("SA", PEER, SEQ, options=wscale(7), window=1000)
    assert refused(talk, "o", "PA", SEQ + 1001, ACK, b"x")
    assert not refused(talk, "o", "PA", SEQ + 1000, ACK, b"x")


def test_closed_window(talk: Connection) -> None:
    """RFC 9293 section 3.8.6.1: probed with one byte; the end may come into it too."""
    connect(talk, window=0)
    assert not refused(talk, "o", "A", SEQ, ACK, b"x")
    assert not refused(talk, "r", "A", ACK, SEQ, window=0)
    assert not refused(talk, "o", "FA", SEQ, ACK)
    assert refused(talk, "o", "A", SEQ + 2, ACK, b"x")
    talk.r("A", ACK, SEQ, window=500)
    assert not refused(talk, "o", "PA", SEQ, ACK, b"x" * 500)


def test_window_that_shrinks(talk: Connection) -> None:
    """RFC 9293 section 3.8.6: what was allowed before may be on its way."""
    connect(talk, window=5000)
    talk.r("A", ACK, SEQ, window=100)
    assert not refused(talk, "o", "PA", SEQ + 4000, ACK, b"x" * 1000)


def test_window_grows_with_acknowledgements(talk: Connection) -> None:
    connect(talk, window=1000)
    for i in range(200):
        assert not refused(talk, "o", "PA", SEQ + 1000 * i, ACK, b"x" * 1000)
        assert not refused(talk, "r", "A", ACK, SEQ + 1000 * (i + 1), window=1000)
    assert refused(talk, "o", "PA", SEQ, ACK, b"x" * 1000)


def test_numbers_wrap(path: PacketPath) -> None:
    path.policy(BOTH_WAYS)
    talk = Connection(path, V4)
    top = WRAP - 500
    talk.o("S", top - 1)
    talk.r("SA", top - 1, top, window=1000)
    assert not refused(talk, "o", "A", top, top)
    assert not refused(talk, "o", "PA", top, top, b"x" * 900)
    assert refused(talk, "o", "PA", 501, top, b"x")
    assert not refused(talk, "o", "PA", 400, top, b"x" * 100)
    assert refused(talk, "r", "A", top, 501)
    assert not refused(talk, "r", "A", top, 500)


def test_forged_answer_and_reset_do_not_spoil_a_handshake(talk: Connection) -> None:
    """Netfilter takes the reply's numbers from a segment that it calls invalid, and then drops the true one."""
    talk.o("S", ISN)
    before = talk.path.the_flow()
    for flags, seq, ack in (
        ("SA", 77, SEQ + 1),
        ("RA", 77, SEQ + 1),
        ("A", 77, SEQ),
        ("FA", 77, SEQ),
        ("R", 0, 0),
    ):
        talk.r(flags, seq, ack)
        assert talk.path.the_flow() == before, flags
    assert talk.r("SA", PEER, SEQ).reason == "flow"
    for flags, seq in (("A", SEQ + 70_000), ("R", SEQ + 70_000), ("S", 99)):
        talk.o(flags, seq, ACK)
    assert talk.sides() == ("SYN", "SYN")
    assert talk.o("A", SEQ, ACK).reason == "flow"
    assert talk.table == "flows"


def test_reset_inside_the_window_is_challenged(talk: Connection) -> None:
    """RFC 5961 section 3.2: the end answers it, and resets then with the right number."""
    connect(talk, window=1000)
    before = talk.path.the_flow()
    assert not refused(talk, "o", "R", SEQ + 500)
    assert talk.path.the_flow() == before
    assert not refused(talk, "r", "A", ACK, SEQ, window=1000)
    assert not refused(talk, "o", "R", SEQ)
    assert talk.sides()[0] == "RST"


@pytest.mark.parametrize("word", ["log", "off"])
def test_option(path: PacketPath, word: str) -> None:
    path.policy(f"{BOTH_WAYS}option tcp.window {word}\n")
    talk = connect(Connection(path, V4), window=1000)
    events = len(path.events())
    verdict = talk.o("PA", SEQ + 100_000, ACK, b"x")
    assert verdict.passed
    assert verdict.reason == ("out_of_window" if word == "log" else "flow")
    logged = path.events()[events:]
    assert [event.reason for event in logged] == ([abi.Reason.OUT_OF_WINDOW] if word == "log" else [])
    assert all(event.flags & abi.EventFlags.EVENT_OBSERVED for event in logged)
    assert talk.r("A", ACK, SEQ + 100_001, window=1000).reason == "flow", "what follows is measured by it"
    assert talk.o("PA", SEQ + 100_001, ACK, b"x").reason == "flow"


def test_observe_mode_follows_what_passes(path: PacketPath) -> None:
    path.policy(BOTH_WAYS)
    path.control(mode=abi.Mode.MODE_OBSERVE)
    talk = connect(Connection(path, V4), window=1000)
    verdict = talk.o("PA", SEQ + 100_000, ACK, b"x")
    assert verdict.passed and verdict.reason == "out_of_window"
    assert talk.r("A", ACK, SEQ + 100_001, window=1000).reason == "flow", "what follows is measured by it"
    assert talk.o("PA", SEQ + 100_001, ACK, b"x").reason == "flow"


@pytest.mark.parametrize(
    "options",
    [
        b"\x03\x00\x07\x00",
        b"\x03\x01\x07\x00",
        b"\x03\x04\x07\x00",
        b"\x00\x03\x03\x07",
        b"\x05\xff\x03\x03",
        b"\xfe\x28" + wscale(7) + b"\0" * 35,
        NOP * 39 + b"\x03",
        NOP * 38 + b"\x03\x03",
        b"\x03\x02" + b"\x08\x07",
    ],
    ids=lambda options: options[:6].hex(),
)
def test_options_that_cannot_be_read_offer_nothing(talk: Connection, options: bytes) -> None:
    talk.o("S", ISN, options=options)
    assert not talk.path.the_flow()[2].side[0].flags & abi.SideFlags.SIDE_WSCALE


@pytest.mark.parametrize(
    "options",
    [
        wscale(7),
        NOP * 37 + wscale(7),
        mss(1460) + sack() + timestamps(1, 0) + NOP + wscale(7),
        b"\xfd\x05abc" + wscale(7),
    ],
    ids=lambda options: options[:6].hex(),
)
def test_scale_is_found_among_other_options(talk: Connection, options: bytes) -> None:
    talk.o("S", ISN, options=options)
    side = talk.path.the_flow()[2].side[0]
    assert side.flags & abi.SideFlags.SIDE_WSCALE and side.scale == 7


@pytest.mark.parametrize("quoted", [0, 99, 100])
@pytest.mark.parametrize("by", ["us", "them"])
def test_icmp_error_quotes_what_is_on_its_way(path: PacketPath, quoted: int, by: str) -> None:
    """RFC 5927 section 4.1: from what is not acknowledged up to what was sent."""
    path.policy(BOTH_WAYS)
    talk = connect(Connection(path, V4, we_open=by == "us"))
    talk.o("PA", SEQ, ACK, b"x" * 100)
    assert error(path, by, SEQ + quoted) == "related"
    assert error(path, by, SEQ - 1) == error(path, by, SEQ + 101) == "unrelated"
    talk.r("A", ACK, SEQ + 50)
    assert error(path, by, SEQ + quoted) == ("unrelated" if quoted < 50 else "related")


def test_icmp_error_about_a_syn(path: PacketPath) -> None:
    path.policy(BOTH_WAYS)
    Connection(path, V4, we_open=True).o("S", ISN)
    assert error(path, "us", ISN) == "related"
    assert error(path, "us", ISN - 1) == error(path, "us", ISN + 2) == "unrelated"
    Connection(path, V4, we_open=True).o("S", ISN + 5000)
    assert error(path, "us", ISN) == error(path, "us", ISN + 5000) == "related"


def error(path: PacketPath, by: str, seq: int) -> str:
    """What becomes of an ICMP error about a segment of the connection's opener: us or them."""
    if by == "us":
        quote = ip(V4.us, V4.them, tcp(4000, 22, "A", seq=seq))
        return path.ingress(eth(ip("203.0.113.200", V4.us, icmp_error(quote)))).reason
    quote = ip(V4.them, V4.us, tcp(4000, 22, "A", seq=seq))
    return path.egress(eth(ip(V4.us, V4.them, icmp_error(quote)))).reason


@pytest.mark.parametrize("payload", [b"", b"\0"], ids=["empty", "one byte"])
def test_keep_alive_of_a_side_that_has_sent_no_data(talk: Connection, payload: bytes) -> None:
    """RFC 1122 section 4.2.3.6: it begins with the number of the SYN."""
    talk.o("S", ISN)
    talk.r("SA", PEER, SEQ)
    talk.o("A", SEQ, ACK)
    assert not refused(talk, "r", "A", PEER, SEQ, payload)
    assert not refused(talk, "o", "A", SEQ, ACK)
    assert not refused(talk, "o", "A", ISN, ACK, payload)
    assert not refused(talk, "r", "PA", ACK, SEQ, b"hello")
    assert not refused(talk, "o", "A", SEQ, ACK + 5)


def test_closed_window_is_not_scaled(talk: Connection) -> None:
    connect(talk, theirs=14, mine=14, window=0)
    assert refused(talk, "o", "A", SEQ + 2, ACK)


def send_in_fragments(talk: Connection, size: int) -> None:
    """The opener's first segment."""
    segment = tcp(4000, 22, "PA", b"x" * size, seq=SEQ, ack=ACK)
    sender, receiver = (V4.us, V4.them) if talk.we_open else (V4.them, V4.us)
    run = talk.path.egress if talk.we_open else talk.path.ingress
    reasons = [run(eth(part)).reason for part in fragments(ipv4(sender, receiver, segment), 600)]
    assert reasons == ["flow"] + ["fragment"] * (len(reasons) - 1)


def test_segment_in_fragments(talk: Connection) -> None:
    """The first fragment alone is counted when it passes; the acknowledgement is of the whole segment."""
    connect(talk)
    send_in_fragments(talk, 2000)
    assert not refused(talk, "r", "A", ACK, SEQ + 2000)
    assert not refused(talk, "o", "PA", SEQ + 2000, ACK, b"y")
    assert refused(talk, "r", "A", ACK, SEQ + 2000 + 65_537)


@pytest.mark.parametrize("below", [0, 1])
def test_reset_behind_a_segment_in_fragments(talk: Connection, below: int) -> None:
    """What was acknowledged is next: nothing closes with the last number that was counted, which is less."""
    connect(talk)
    send_in_fragments(talk, 2000)
    assert not refused(talk, "o", "A", SEQ + 1999, ACK), "a keep-alive is counted"
    assert not refused(talk, "r", "A", ACK, SEQ + 2000)
    assert refused(talk, "o", "R", SEQ + 2000 - below) == bool(below)
    assert talk.sides()[0] == ("OPEN" if below else "RST")


def test_oldest_segment_of_a_full_window_again_in_fragments(talk: Connection) -> None:
    connect(talk, window=2000)
    talk.o("PA", SEQ, ACK, b"x" * 2000)
    talk.r("A", ACK, SEQ + 2000, window=2000)
    talk.o("PA", SEQ + 2000, ACK, b"x" * 1000)
    sender, receiver = (V4.us, V4.them) if talk.we_open else (V4.them, V4.us)
    run = talk.path.egress if talk.we_open else talk.path.ingress
    again = ipv4(sender, receiver, tcp(4000, 22, "PA", b"x" * 2000, seq=SEQ, ack=ACK))
    assert [run(eth(part)).reason for part in fragments(again, 40)][:2] == ["flow", "fragment"]


def test_quote_behind_a_segment_in_fragments(talk: Connection) -> None:
    """All is acknowledged, and more than was counted: nothing is on its way."""
    connect(talk)
    send_in_fragments(talk, 2000)
    assert not refused(talk, "r", "A", ACK, SEQ + 2000)
    for seq in (SEQ, SEQ + 1999, SEQ + 5000, SEQ + 2**30, SEQ + 2**31, SEQ - 5000):
        quoted = tcp(4000, 22, "PA", b"x" * 8, seq=seq % WRAP, ack=ACK)
        ends = (V4.us, V4.them) if talk.we_open else (V4.them, V4.us)
        error = eth(ip(ends[1], ends[0], icmp_error(ip(*ends, quoted))))
        run = talk.path.ingress if talk.we_open else talk.path.egress
        assert run(error).reason == "unrelated", seq - SEQ


def test_fin_in_fragments(talk: Connection) -> None:
    """What follows it still counts, though its end is not where the first fragment ended."""
    connect(talk)
    segment = tcp(4000, 22, "FPA", b"x" * 2000, seq=SEQ, ack=ACK)
    sender, receiver = (V4.us, V4.them) if talk.we_open else (V4.them, V4.us)
    run = talk.path.egress if talk.we_open else talk.path.ingress
    assert {run(eth(part)).reason for part in fragments(ipv4(sender, receiver, segment), 600)} == {
        "flow",
        "fragment",
    }
    for i in range(100):
        assert not refused(talk, "r", "PA", ACK + 1000 * i, SEQ + 2001, b"y" * 1000)
        assert not refused(talk, "o", "A", SEQ + 2001, ACK + 1000 * (i + 1))
    assert talk.records()[0][:2] == (SEQ + 2001, ACK + 100_000)
    assert not refused(talk, "r", "FA", ACK + 100_000, SEQ + 2001)
    assert not refused(talk, "o", "A", SEQ + 2001, ACK + 100_001)
    assert talk.o("S", 77).reason in ("rule_allow", "default_allow"), "TIME_WAIT"


def test_what_the_receiver_takes_nothing_of_stops_nobody(talk: Connection) -> None:
    """It begins behind the window, as a probe does; what is not acknowledged is not too old after it."""
    connect(talk, window=1000)
    assert not refused(talk, "o", "PA", SEQ + 1000, ACK, b"?" * 1400)
    for sent in range(0, 1000, 100):
        assert not refused(talk, "o", "PA", SEQ + sent, ACK, b"x" * 100)
        assert not refused(talk, "r", "A", ACK, SEQ + sent + 100, window=1000)
    assert refused(talk, "o", "PA", SEQ, ACK, b"x" * 100), "acknowledged long ago"


def test_each_sack_edge_is_looked_at(talk: Connection) -> None:
    connect(talk)
    assert not refused(talk, "o", "PA", SEQ, ACK, b"x" * 1000)
    far = SEQ + 2**31 - 1
    assert refused(talk, "r", "A", ACK, SEQ, options=sack((far - 9, far)))
    assert refused(talk, "r", "A", ACK, SEQ, options=sack((far - 9, far), (SEQ - 9, SEQ - 2)))


def test_answers_to_data_on_a_syn_may_overtake_each_other(talk: Connection) -> None:
    """RFC 7413: the responder need not wait for the handshake's end."""
    assert talk.o("S", ISN, payload=b"GET /").passed
    assert talk.r("SA", PEER, SEQ + 5).reason == "flow"
    assert talk.r("PA", ACK + 1400, SEQ + 5, b"d" * 1400).reason == "flow"
    assert talk.r("PA", ACK, SEQ + 5, b"d" * 1400).reason == "flow"
    assert talk.o("A", SEQ + 5, ACK + 2800).reason == "flow"


def test_nothing_is_acknowledged_selectively_before_there_is_data(talk: Connection) -> None:
    talk.o("S", ISN)
    talk.r("SA", PEER, SEQ)
    assert talk.o("A", SEQ, ACK, options=sack((ACK + 1, ACK + 9))).reason == "bad_handshake"


def test_two_answers(talk: Connection) -> None:
    """The opener's acknowledgement tells which of the two it believes."""
    for believed in (PEER, 77):
        talk.path.reset_flows()
        talk.o("S", ISN)
        assert talk.r("SA", PEER, SEQ).reason == talk.r("SA", 77, SEQ).reason == "flow"
        assert talk.o("PA", SEQ, believed + 1, b"x").reason == "flow"
        assert talk.r("SA", 99, SEQ).reason == "flow", "without effect"
        assert talk.r("PA", believed + 1, SEQ + 1, b"y").reason == "flow"
        assert talk.records()[1][:2] == (believed + 2, SEQ + 1)


@pytest.mark.parametrize("word", ["log", "off"])
def test_option_does_not_bring_back_what_the_rules_end(path: PacketPath, word: str) -> None:
    path.policy(f"{BOTH_WAYS}option tcp.window {word}\n")
    talk = connect(Connection(path, V4))
    path.policy(f"default in drop\noption tcp.window {word}\n")
    for seq in (SEQ, SEQ + 2**30, SEQ):
        verdict = talk.o("PA", seq, ACK, b"x")
        assert verdict.reason == "revoked" and not verdict.passed


def test_off_believes_no_reset_but_the_exact_one(path: PacketPath) -> None:
    path.policy(f"{BOTH_WAYS}option tcp.window off\n")
    talk = connect(Connection(path, V4))
    for seq in (SEQ + 5, SEQ + 2**30):
        assert talk.o("R", seq).reason == "flow"
        assert talk.sides() == ("OPEN", "OPEN")
    assert talk.o("PA", SEQ + 2**30, ACK, b"x").reason == "flow"
    assert talk.o("PA", SEQ, ACK, b"x").reason == "flow"
    path.policy(BOTH_WAYS)
    assert talk.o("PA", SEQ + 1, ACK, b"x").reason == "flow", "strict again"
