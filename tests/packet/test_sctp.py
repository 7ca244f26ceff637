# SPDX-License-Identifier: MIT
"""SCTP associations: whose packets belong to them, and what begins, restarts, moves and ends them."""

from __future__ import annotations

import pytest

from tests import chunks
from tests.chunks import T_BIT, chunk
from tests.packet import association
from tests.packet.association import O_TAG, R_TAG, STATES, Association
from tests.packet.ends import FAMILIES, OPENERS, V4, Ends
from tests.packet.path import PacketPath
from tests.packet.test_flow_listing import listed
from tests.packets import eth, icmp_error, ip, sctp

POLICY = "default in drop\ndefault out allow\nallow in sctp to port 3868\n"
ECHO, COOKIE_ACK = chunk(chunks.COOKIE_ECHO, b"cookie"), chunk(chunks.COOKIE_ACK)
NEW_O, NEW_R = 0x1A1A1A1A, 0x1B1B1B1B


@pytest.fixture(params=[False, True], ids=["they open", "we open"])
def talk(path: PacketPath, request: pytest.FixtureRequest) -> Association:
    path.policy(POLICY)
    return Association(path, V4, we_open=request.param)


@FAMILIES
@OPENERS
def test_from_the_handshake_to_the_end(path: PacketPath, ends: Ends, we_open: bool) -> None:
    path.policy(POLICY)
    talk = Association(path, ends, we_open=we_open)
    assert talk.o(chunks.init(O_TAG), tag=0).reason == ("default_allow" if we_open else "rule_allow")
    steps = [
        (talk.r, [chunks.init_ack(R_TAG)], "embryonic", "cookie_wait"),
        (talk.o, [ECHO, chunks.data()], "embryonic", "cookie_echoed"),
        (talk.r, [COOKIE_ACK, chunk(chunks.SACK, bytes(12))], "flows", "established"),
        (talk.o, [chunks.data()], "flows", "established"),
        (talk.r, [chunks.heartbeat()], "flows", "established"),
        (talk.r, [chunk(chunks.SHUTDOWN, bytes(4))], "flows", "shutdown_sent"),
        (talk.o, [chunk(chunks.SHUTDOWN_ACK)], "flows", "shutdown_ack_sent"),
        (talk.r, [chunk(chunks.SHUTDOWN_COMPLETE)], "flows", "closed"),
    ]
    for send, parts, table, state in steps:
        assert send(*parts).reason == "flow"
        assert (talk.table, listed(path)[0].state) == (table, state)
    assert talk.tags() == [(O_TAG, R_TAG), (R_TAG, O_TAG)]


def test_a_lost_cookie_ack_is_made_good_by_what_follows(talk: Association) -> None:
    association.cookie_echoed(talk)
    assert talk.r(chunks.data()).reason == "flow"
    assert talk.table == "flows"


def test_a_refused_cookie_completes_nothing(talk: Association) -> None:
    """The cookie was stale (RFC 9260 section 5.2.6); the opener begins anew, with another tag."""
    association.cookie_echoed(talk)
    assert talk.r(chunk(chunks.ERROR, bytes(8))).reason == "flow"
    assert talk.table == "embryonic"
    assert talk.o(chunks.init(NEW_O), tag=0).reason == "flow"
    assert talk.r(chunks.init_ack(NEW_R), tag=NEW_O).reason == "flow"
    assert talk.o(ECHO, tag=NEW_R).reason == "flow"
    assert talk.r(COOKIE_ACK, tag=NEW_O).reason == "flow"
    assert talk.tags() == [(NEW_O, NEW_R), (NEW_R, NEW_O)]
    assert talk.table == "flows"


@pytest.mark.parametrize("forged_first", [False, True])
def test_the_cookie_tells_which_init_was_true(talk: Association, forged_first: bool) -> None:
    """Somebody forges the opener's INIT; the responder, which keeps nothing, answers both."""
    true, forged = (O_TAG, R_TAG), (0x666, 0x777)
    for tag, answer in (forged, true) if forged_first else (true, forged):
        assert talk.o(chunks.init(tag), tag=0).passed
        assert talk.r(chunks.init_ack(answer), tag=tag).reason == "flow"
    assert talk.o(ECHO).reason == "flow"
    assert talk.r(COOKIE_ACK).reason == "flow"
    assert talk.tags() == [(O_TAG, R_TAG), (R_TAG, O_TAG)]
    assert talk.o(chunks.data(), tag=0x777).reason == "bad_tag"


def test_both_at_once(talk: Association) -> None:
    """Each answers the other's INIT by the tag of its own (RFC 9260 section 5.2.1)."""
    assert talk.o(chunks.init(O_TAG), tag=0).passed
    assert talk.r(chunks.init(R_TAG), tag=0).reason == "flow"
    assert talk.o(chunks.init_ack(O_TAG)).reason == "flow"
    assert talk.r(chunks.init_ack(R_TAG)).reason == "flow"
    assert talk.o(ECHO).reason == talk.r(ECHO).reason == "flow"
    assert talk.r(COOKIE_ACK).reason == talk.o(COOKIE_ACK).reason == "flow"
    assert talk.tags() == [(O_TAG, R_TAG), (R_TAG, O_TAG)]
    assert listed(talk.path)[0].state == "established"


@pytest.mark.parametrize("state", ["established", "shutdown_sent", "another path"])
@pytest.mark.parametrize("who", ["opener", "responder"])
def test_an_end_that_has_restarted(talk: Association, state: str, who: str) -> None:
    """The old tags hold until its cookie comes back, then the new ones do."""
    STATES[state][0](talk)
    again, peer = (talk.o, talk.r) if who == "opener" else (talk.r, talk.o)
    old, old_peer = (O_TAG, R_TAG) if who == "opener" else (R_TAG, O_TAG)
    assert again(chunks.init(NEW_O), tag=0).reason == "flow"
    assert peer(chunks.data(), tag=old).reason == "flow"
    assert peer(chunks.init_ack(NEW_R), tag=NEW_O).reason == "flow"
    assert peer(chunks.data(), tag=NEW_O).reason == "bad_tag"
    assert again(ECHO, tag=0x12345).reason == "bad_tag"
    assert again(chunks.data(), tag=old_peer).reason == "flow"
    assert again(ECHO, tag=NEW_R).reason == "flow"
    assert peer(COOKIE_ACK, tag=NEW_O).reason == "flow"
    assert sorted(talk.tags()) == sorted([(NEW_O, NEW_R), (NEW_R, NEW_O)])
    assert listed(talk.path)[0].state == "established"
    assert peer(chunks.data(), tag=old).reason == again(chunks.data(), tag=old_peer).reason == "bad_tag"
    assert again(chunks.data(), tag=NEW_R).reason == peer(chunks.data(), tag=NEW_O).reason == "flow"


def test_a_refused_restart_leaves_the_old_one_alone(talk: Association) -> None:
    """An end may refuse addresses that were not there before (RFC 9260 section 5.2.4.1)."""
    association.established(talk)
    talk.o(chunks.init(NEW_O), tag=0)
    assert talk.r(chunk(chunks.ABORT), tag=NEW_O).reason == "flow"
    assert listed(talk.path)[0].state == "established"


def test_init_in_a_live_one_does_not_prolong_it(talk: Association) -> None:
    association.established(talk)
    talk.path.age(7430)
    assert talk.o(chunks.init(NEW_O), tag=0).reason == "flow"
    assert listed(talk.path)[0].expires_s <= 10


@pytest.mark.parametrize("sent_by", ["opener", "responder"])
@pytest.mark.parametrize("flags", [0, T_BIT])
def test_abort(talk: Association, sent_by: str, flags: int) -> None:
    """By the other's tag, or with the T bit by one's own: what an end answers that knows nothing (section 8.4)."""
    association.established(talk)
    send, own, other = (talk.o, O_TAG, R_TAG) if sent_by == "opener" else (talk.r, R_TAG, O_TAG)
    assert send(chunk(chunks.ABORT, flags=flags), tag=other if flags else own).reason == "bad_tag"
    assert listed(talk.path)[0].state == "established"
    assert send(chunk(chunks.ABORT, flags=flags), tag=own if flags else other).reason == "flow"
    assert listed(talk.path)[0].state == "closed"


def test_abort_behind_other_chunks_counts(talk: Association) -> None:
    association.established(talk)
    assert talk.o(chunk(chunks.SACK, bytes(12)), chunk(chunks.ERROR, bytes(4)), chunk(chunks.ABORT)).passed
    assert listed(talk.path)[0].state == "closed"


def test_an_init_that_is_refused(talk: Association) -> None:
    association.cookie_wait(talk)
    assert talk.r(chunk(chunks.ABORT), tag=0x999).reason == "bad_tag"
    assert talk.r(chunk(chunks.ABORT)).reason == "flow"
    assert listed(talk.path)[0].state == "closed"


def test_a_new_association_in_the_place_of_one_that_has_ended(talk: Association) -> None:
    association.closed(talk)
    assert talk.o(chunks.init(NEW_O), tag=0).reason == ("default_allow" if talk.we_open else "rule_allow")
    assert listed(talk.path)[0].state == "cookie_wait"


def test_the_old_shutdown_of_an_end_that_has_forgotten_it(talk: Association) -> None:
    """RFC 9260 section 8.5.1 E: both have the tags of the association that was there before."""
    association.cookie_wait(talk)
    before = talk.path.the_flow()
    assert talk.r(chunk(chunks.SHUTDOWN_ACK), tag=0x5151).reason == "flow"
    assert talk.o(chunk(chunks.SHUTDOWN_COMPLETE, flags=T_BIT), tag=0x5151).reason == "flow"
    assert talk.path.the_flow() == before


def test_another_path(talk: Association) -> None:
    """A pair of addresses without an INIT: its tags are those of the first heartbeat and of its answer."""
    answer = chunks.heartbeat(kind=chunks.HEARTBEAT_ACK)
    assert talk.o(chunks.heartbeat()).reason == ("default_allow" if talk.we_open else "rule_allow")
    assert listed(talk.path)[0].state == "heartbeat_sent"
    assert talk.r(chunks.data()).reason == "bad_handshake"
    assert talk.r(chunks.heartbeat(b"guessed", chunks.HEARTBEAT_ACK), tag=0x999).reason == "bad_tag"
    assert talk.r(answer).reason == "flow"
    assert (talk.table, listed(talk.path)[0].state) == ("flows", "established")
    assert talk.o(chunks.data()).reason == talk.r(chunks.data()).reason == "flow"
    assert talk.o(chunks.data(), tag=1).reason == talk.r(chunks.data(), tag=1).reason == "bad_tag"


def test_a_forged_heartbeat_does_not_keep_the_true_one_out(talk: Association) -> None:
    assert talk.o(chunks.heartbeat(b"forged"), tag=0x999).passed
    assert talk.o(chunks.heartbeat()).reason == "flow"
    assert talk.r(chunks.heartbeat(kind=chunks.HEARTBEAT_ACK)).reason == "flow"
    assert talk.o(chunks.heartbeat(), tag=0x999).reason == "bad_tag"


def test_translated_by_the_host(path: PacketPath) -> None:
    """Both hooks follow their own flow; one that is gone is proven anew by the next heartbeat."""
    path.policy("default in drop\ndefault forward drop\nallow forward on lan via wan\n")

    def out(*parts: bytes, tag: int = R_TAG) -> list[str]:
        inner, outer = sctp(5000, 3868, *parts, tag=tag), sctp(6000, 3868, *parts, tag=tag)
        came = path.ingress(eth(ip(V4.inside, V4.them, inner)), on="lan")
        return [came.reason, path.egress(eth(ip(V4.us, V4.them, outer)), came_by="lan").reason]

    def back(*parts: bytes) -> list[str]:
        came = path.ingress(eth(ip(V4.them, V4.us, sctp(3868, 6000, *parts, tag=O_TAG))))
        if not came.passed:
            return [came.reason]
        inner = eth(ip(V4.them, V4.inside, sctp(3868, 5000, *parts, tag=O_TAG)))
        return [came.reason, path.egress(inner, on="lan", came_by="wan").reason]

    assert out(chunks.init(O_TAG), tag=0) == ["rule_allow", "translated"]
    assert back(chunks.init_ack(R_TAG)) == ["flow", "translated"]
    assert out(ECHO) == back(COOKIE_ACK) == out(chunks.data()) == ["flow", "translated"]
    assert {flow.state for flow in listed(path)} == {"established"}
    path.maps["flows"].delete_batch(
        [key.pack() for _, key, _ in path.flows() if 6000 in (key.lo_port, key.hi_port)]
    )
    assert out(chunks.data()) == ["flow", "translated"]
    assert back(chunks.data()) == ["bad_handshake"]
    assert out(chunks.heartbeat()) == ["flow", "translated"]
    assert back(chunks.heartbeat(kind=chunks.HEARTBEAT_ACK)) == ["flow", "translated"]
    assert back(chunks.data()) == ["flow", "translated"]


@pytest.mark.parametrize(
    "parts",
    [
        [chunks.data()],
        [ECHO],
        [COOKIE_ACK],
        [chunk(chunks.ABORT)],
        [chunk(chunks.SHUTDOWN_ACK)],
        [chunks.init_ack(7)],
        [chunks.heartbeat(kind=chunks.HEARTBEAT_ACK)],
    ],
)
def test_out_of_the_blue(talk: Association, parts: list[bytes]) -> None:
    assert talk.o(*parts).reason == "no_flow"
    assert list(talk.path.flows()) == []


@pytest.mark.parametrize(
    ("parts", "tag", "reason"),
    [
        ([chunks.init(1), chunks.data()], 0, "bad_chunks"),
        ([chunk(chunks.SACK, bytes(12)), chunks.init(1)], 0, "bad_chunks"),
        ([chunks.init_ack(1), chunks.data()], R_TAG, "bad_chunks"),
        ([chunk(chunks.SHUTDOWN_COMPLETE)] * 2, R_TAG, "bad_chunks"),
        ([chunks.init(0)], 0, "bad_chunks"),
        ([chunks.init(1)], 5, "bad_chunks"),
        ([chunks.data()], 0, "bad_chunks"),
        ([chunk(chunks.INIT, bytes(12))], 0, "bad_header_length"),
        ([chunk(chunks.SACK, bytes(12)), chunk(chunks.ERROR, length=3)], R_TAG, "bad_header_length"),
        ([chunk(chunks.SACK, bytes(12)), chunk(chunks.ERROR, length=9)], R_TAG, "dishonest_length"),
    ],
)
def test_chunks_that_lie(talk: Association, parts: list[bytes], tag: int, reason: str) -> None:
    association.established(talk)
    before = talk.path.the_flow()
    assert talk.o(*parts, tag=tag).reason == reason
    assert talk.path.the_flow() == before


def test_chunks_of_other_kinds_and_many_of_them(talk: Association) -> None:
    """Authenticated, extended, unknown ones; the last without its padding; more than are looked at."""
    association.established(talk)
    assert talk.o(chunk(15, bytes(20)), chunk(0xC1, bytes(8)), chunk(63)).reason == "flow"
    assert talk.o(chunk(chunks.ERROR, b"odd")[:-1]).reason == "flow"
    assert talk.o(*[chunk(chunks.SACK, bytes(12))] * 40, chunks.data(bytes(600))).reason == "flow"


@pytest.mark.parametrize(("tag", "reason"), [(R_TAG, "related"), (0, "unrelated"), (0x999, "unrelated")])
def test_an_icmp_error_quotes_the_tag(path: PacketPath, tag: int, reason: str) -> None:
    """RFC 9260 section 10."""
    path.policy(POLICY)
    talk = Association(path, V4, we_open=True)
    association.established(talk)
    quoted = ip(V4.us, V4.them, sctp(5000, 3868, chunks.data(), tag=tag))
    assert path.ingress(eth(ip(V4.hop, V4.us, icmp_error(quoted)))).reason == reason


@pytest.mark.parametrize("state", STATES)
def test_timeouts(path: PacketPath, state: str) -> None:
    story, name = STATES[state]
    names = dict.fromkeys(name for _, name in STATES.values())
    timeouts_s = {name: 130 + 10 * number for number, name in enumerate(names)}
    path.policy(
        POLICY + "".join(f"option timeout.sctp-{n.replace('_', '-')} {s}s\n" for n, s in timeouts_s.items())
    )
    talk = Association(path, V4)
    story(talk)
    (flow,) = listed(path)
    assert flow.state == name and timeouts_s[name] - 3 <= flow.expires_s <= timeouts_s[name]
    path.age(timeouts_s[name] - 3)
    assert talk.r(chunk(chunks.SACK, bytes(12)), tag=0x999).reason in ("bad_tag", "bad_handshake")
    path.age(4)
    assert listed(path) == []
    assert talk.r(chunk(chunks.SACK, bytes(12)), tag=0x999).reason == "no_flow"
