# SPDX-License-Identifier: MIT
"""What the list of differences between fw and netfilter explains, and what it does not, of conversations made here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.differential.allowed import ALLOWED
from tests.lab.differential.compare import Conversation
from tests.lab.differential.icmp import ECHO, ECHO_REPLY, Message
from tests.lab.differential.long_ago import uncounted
from tests.lab.differential.talk import ACK, CLIENT, RST, SERVER, SYN, Ends, Packet, Segment
from tests.lab.differential.tcp_history import History

CHUNK, CHUNKS = 60_000, 3  # bytes of the server's data
CLIENT_NEXT, SERVER_NEXT = 101, 901
HALF, SENT = (SERVER_NEXT + times * CHUNK * CHUNKS for times in (1, 2))
OLD, CURRENT = SERVER_NEXT, SENT
SCALED = bytes.fromhex("01 030307")


def conversation(packets: list[Packet], leaked: bool = True, dropped: tuple[int, ...] = ()) -> Conversation:
    """Of which the last packet is judged differently, and these were dropped by netfilter before."""
    nft = [at not in dropped for at in range(len(packets))]
    nft[-1] = not leaked
    fw = [True] * len(packets)
    fw[-1] = leaked
    return Conversation(Ends(1, 4, (4000, 80)), packets, (nft, fw))


def segment(side: int, flags: int, seq: int, ack: int = 0, **more: Any) -> Segment:
    return Segment(side=side, flags=flags, seq=seq, ack=ack, **more)


def data(seq: int) -> list[Segment]:
    return [
        segment(SERVER, ACK, seq + CHUNK * i, CLIENT_NEXT, size=CHUNK, window=2000) for i in range(CHUNKS)
    ]


def talk(*more: Segment) -> list[Packet]:
    """The server has sent much more than a window of the client's, of which half was acknowledged."""
    return [
        segment(CLIENT, SYN, CLIENT_NEXT - 1, options=SCALED),
        segment(SERVER, SYN | ACK, SERVER_NEXT - 1, CLIENT_NEXT, options=SCALED),
        segment(CLIENT, ACK, CLIENT_NEXT, SERVER_NEXT, window=2000),
        *data(SERVER_NEXT),
        segment(CLIENT, ACK, CLIENT_NEXT, HALF, window=2000),
        *data(HALF),
        *more,
    ]


def asked(ack: int = OLD) -> Segment:
    """The client sends a little, with an acknowledgement that netfilter takes for old, or not."""
    return segment(CLIENT, ACK, CLIENT_NEXT, ack, size=10, window=2000)


def answer(flags: int = ACK, ack: int = CLIENT_NEXT + 10, seq: int = SENT) -> Segment:
    return segment(SERVER, flags, seq, ack, window=2000)


@pytest.mark.parametrize("flags", [ACK, RST | ACK])
def test_what_netfilter_has_not_counted_explains_that_its_answer_is_dropped(flags: int) -> None:
    packets = talk(asked(), answer(flags))
    assert explains(packets)


def test_the_windows_of_old_data_and_of_what_lies_beyond_are_not_counted() -> None:
    old = segment(CLIENT, ACK, CLIENT_NEXT - 300_000, CURRENT, window=2000)
    assert explains(talk(old, answer(ack=CLIENT_NEXT, seq=SENT + 100_000)))
    assert not explains(talk(old, answer(ack=CLIENT_NEXT, seq=SENT)))
    beyond = segment(SERVER, ACK, SENT + 200_000, CLIENT_NEXT, window=4000)
    assert explains(talk(beyond, segment(CLIENT, ACK, CLIENT_NEXT + 300_000, SENT)))
    assert not explains(
        talk(beyond, segment(CLIENT, ACK, CLIENT_NEXT, SENT + 200_000))
    )  # where it ends is counted


def explains(packets: list[Packet]) -> bool:
    return uncounted(conversation(packets), len(packets) - 1)


@pytest.mark.parametrize(
    "packets",
    [
        talk(asked(), answer(ack=CLIENT_NEXT + 11)),
        talk(asked(), answer(ack=CLIENT_NEXT)),
        talk(asked(), answer(SYN | ACK)),
        talk(asked(CURRENT), answer()),
        talk(answer()),
    ],
    ids=["nobody has sent it", "counted before", "a SYN", "not old", "nothing was sent"],
)
def test_nothing_else_is_explained_by_what_was_not_counted(packets: list[Packet]) -> None:
    assert not explains(packets)


def test_what_netfilter_has_dropped_is_not_what_it_did_not_count() -> None:
    packets = talk(asked(), answer())
    at = len(packets) - 1
    assert not uncounted(conversation(packets, dropped=(at - 1,)), at)
    assert not uncounted(conversation(packets, leaked=False), at)


def explained(packets: list[Packet]) -> set[str]:
    c = conversation(packets)
    return {entry.name for entry in ALLOWED if entry.explains(c, len(packets) - 1)}


@pytest.mark.parametrize("code, name", [(0, None), (1, "an echo reply with another code than its request")])
def test_a_reply_with_another_code_is_explained(code: int, name: str | None) -> None:
    request = Message(side=CLIENT, kind=ECHO, seq=1)
    assert explained([request, Message(side=SERVER, kind=ECHO_REPLY, code=code)]) == {name} - {None}


@pytest.mark.parametrize("before", [[], [Message(side=CLIENT, kind=ECHO, ident=1)]])
def test_a_reply_that_nobody_asked_for_is_not(before: list[Packet]) -> None:
    for code in (0, 1):
        assert explained([*before, Message(side=SERVER, kind=ECHO_REPLY, code=code)]) == set()


def test_a_number_that_is_not_known_is_not_exact() -> None:
    """0 is a number as good as others."""
    packets: list[Packet] = [segment(CLIENT, SYN, 0), segment(SERVER, RST, 0)]
    c = conversation(packets)
    assert not History(c, 1).exact(segment(SERVER, RST, 0))
    assert not History(c, 0).exact(segment(CLIENT, RST, 0))


def test_a_reset_with_data_sends_nothing() -> None:
    packets = talk(segment(SERVER, RST | ACK, SENT, CLIENT_NEXT, size=100), answer())
    assert History(conversation(packets), len(packets) - 1).seen[SERVER].end == SENT
