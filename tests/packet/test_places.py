# SPDX-License-Identifier: MIT
"""The places of confirmed flows: that the books are true, and what becomes of one flow too many."""

from __future__ import annotations

import struct

import pytest

from firewall import abi
from firewall.clock import hz, now_j
from firewall.seed import Way
from tests.packet.association import Association, established
from tests.packet.ends import FAMILIES, V4, Connection, Ends, Talk
from tests.packet.path import FLOWS_MAX, PacketPath
from tests.packet.places import TCP, add, books, confirmed_flow, delete, sources
from tests.packets import eth, icmp, ip, tcp, udp

OPEN = """
option flows.max 1024
# on an emulated machine the minute that a third of UDP's default is would soon be over
option timeout.udp 1800s
default in drop
default out allow
allow in tcp, udp to port 22
allow in icmp, icmp6
"""
LIMITED = OPEN + "option flows.per-source 3\n"
OUT = Way(abi.Scope.SCOPE_OUT, 0, 0)


def fill(path: PacketPath, count: int, *, idle_s: float = 0, start: int = 0) -> list[bytes]:
    """So many confirmed flows of as many sources; their keys."""
    flows = [
        confirmed_flow(f"172.{20 + (i >> 8)}.{i & 255}.1", 4000, idle_s=idle_s)
        for i in range(start, start + count)
    ]
    assert add(path, flows) == count
    return [key for key, _ in flows]


def knock(path: PacketPath, source: str = V4.them, sport: int = 4000) -> str:
    """A SYN; why it passed or not."""
    return path.ingress(eth(ip(source, V4.us, tcp(sport, 22, "S", seq=100)))).reason


def come_in(path: PacketPath, source: str, sport: int) -> list[str]:
    """A whole handshake; the reason of each segment."""
    there = [("S", 100, 0), ("A", 101, 901)]
    found = [path.ingress(eth(ip(source, V4.us, tcp(sport, 22, "S", seq=100)))).reason]
    found.append(path.egress(eth(ip(V4.us, source, tcp(22, sport, "SA", seq=900, ack=101)))).reason)
    flags, seq, ack = there[1]
    found.append(path.ingress(eth(ip(source, V4.us, tcp(sport, 22, flags, seq=seq, ack=ack)))).reason)
    return found


@FAMILIES
def test_one_flow_comes_and_goes(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    talk = Connection(path, ends)
    talk.o("S", 100)
    assert (path.table().used, path.totals().embryonic_made) == (0, 1)
    assert sources(path) == {}, "whoever has not completed a handshake may be forged"
    talk.r("SA", 900, 101)
    talk.o("A", 101, 901)
    assert books(path) == 1
    assert path.totals().confirmed == path.totals().embryonic_gone == 1
    (count,) = sources(path).values()
    assert count == 1
    path.age(100_000)
    assert talk.o("PA", 101, 901, b"x").reason == "no_flow"
    assert books(path) == 0
    assert sources(path) == {}
    talk.o("S", 5000)
    talk.r("SA", 900, 5001)
    talk.o("A", 5001, 901)
    assert books(path) == 1
    assert path.table().fresh == 1, "the place that was given back is used again"


@FAMILIES
def test_reopening_takes_one_place(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    talk = Connection(path, ends)
    talk.close()
    assert books(path) == 1
    assert talk.o("S", 90_000).reason == "rule_allow"
    assert books(path) == 0
    talk.r("SA", 900, 90_001)
    talk.o("A", 90_001, 901)
    assert books(path) == 1


def test_what_user_space_deletes_gives_its_place_back(path: PacketPath) -> None:
    path.policy(OPEN)
    keys = fill(path, 100)
    assert add(path, [confirmed_flow("172.20.0.1", 4000)]) == 0, "it is there already"
    assert books(path) == 100
    assert delete(path, [*keys[:70], b"\xff" * len(keys[0])]) == 70
    assert books(path) == 30
    fill(path, 20, start=2000)
    assert books(path) == 50
    assert path.table().fresh == 101, "places that were given back are used again"
    knock(path)
    ((_, key, _),) = [one for one in path.flows() if one[0] == "embryonic"]
    assert delete(path, [key.pack()]) == 1
    assert path.totals().embryonic_gone == 1


def test_full_table_refuses(path: PacketPath) -> None:
    """By default: who is connected stays so."""
    path.policy(OPEN)
    keys = fill(path, FLOWS_MAX)
    assert knock(path) == "table_full"
    assert path.egress(eth(ip(V4.us, V4.them, udp(4000, 53)))).reason == "table_full"
    assert add(path, [confirmed_flow("198.51.100.9", 1)]) == 0
    assert books(path) == FLOWS_MAX
    assert delete(path, keys[:1]) == 1
    assert come_in(path, V4.them, 4000) == ["rule_allow", "flow", "flow"]
    assert books(path) == FLOWS_MAX
    assert path.totals().evicted == 0


def test_handshakes_that_end_when_the_table_is_full(path: PacketPath) -> None:
    """All began while there was one place: the first gets it, of the others nothing is left."""
    path.policy(OPEN)
    fill(path, FLOWS_MAX - 1)
    talks = [Connection(path, V4._replace(them=f"198.51.100.{i + 1}")) for i in range(3)]
    for talk in talks:
        assert talk.o("S", 100).reason == "rule_allow"
        talk.r("SA", 900, 101)
    assert [talk.o("A", 101, 901).reason for talk in talks] == ["flow", "table_full", "table_full"]
    assert [talk.o("PA", 101, 901, b"x").reason for talk in talks] == ["flow", "no_flow", "no_flow"]
    assert books(path) == FLOWS_MAX
    assert list(path.maps["embryonic"].keys()) == []


def test_full_table_makes_room_by_time(path: PacketPath) -> None:
    """Flows whose time is up are collected as new ones knock, however they lie in the table."""
    path.policy(OPEN)
    fill(path, FLOWS_MAX - 40)
    fill(path, 40, start=FLOWS_MAX, idle_s=1000)
    for i in range(FLOWS_MAX):
        if knock(path, sport=5000 + i) == "rule_allow":
            break
    assert path.totals().collected > 0
    assert books(path) < FLOWS_MAX


def test_full_table_evicts(path: PacketPath) -> None:
    """The one of some that has been idle for longest; the table itself displaces none."""
    path.policy(OPEN + "option flows.full evict\n")
    fill(path, FLOWS_MAX // 2, idle_s=200)
    fill(path, FLOWS_MAX // 2, start=FLOWS_MAX)
    for i in range(50):
        assert come_in(path, f"198.51.100.{i + 1}", 4000) == ["rule_allow", "flow", "flow"]
    assert books(path) == FLOWS_MAX
    assert path.totals().evicted == 50
    long_idle = sum(now_j() - one.side[0].seen_j > 150 * hz() for _, _, one in path.flows())
    assert long_idle <= FLOWS_MAX // 2 - 45, "one of eight has been idle: but for 1 time in 256"


@FAMILIES
def test_source_has_a_limit(path: PacketPath, ends: Ends) -> None:
    path.policy(LIMITED)

    def handshake(sport: int, them: str = ends.them) -> list[str]:
        reasons = []
        for ours, flags, seq, ack in ((False, "S", 100, 0), (True, "SA", 900, 101), (False, "A", 101, 901)):
            body = (
                tcp(22, sport, flags, seq=seq, ack=ack) if ours else tcp(sport, 22, flags, seq=seq, ack=ack)
            )
            frame = eth(ip(ends.us, them, body) if ours else ip(them, ends.us, body))
            reasons.append((path.egress if ours else path.ingress)(frame).reason)
        return reasons

    for sport in (4000, 4001, 4002):
        assert handshake(sport) == ["rule_allow", "flow", "flow"]
    assert handshake(4003)[0] == "source_limit"
    assert path.ingress(ends.arriving(udp(4000, 22))).reason == "source_limit"
    neighbour = "2001:db8:9::ffff" if ends.is_v6 else "198.51.100.8"
    assert handshake(4000, neighbour)[0] == ("source_limit" if ends.is_v6 else "rule_allow")
    stranger = "2001:db8:9:1::7" if ends.is_v6 else "198.51.100.9"
    assert handshake(4000, stranger) == ["rule_allow", "flow", "flow"]
    assert path.egress(ends.leaving(tcp(4444, 80, "S", seq=1))).reason == "default_allow"
    reset = ends.arriving(tcp(4000, 22, "R", seq=101))
    assert path.ingress(reset).reason == "flow"
    assert handshake(4005) == ["rule_allow", "flow", "flow"], "what is over counts no more"
    assert handshake(4006)[0] == "source_limit"
    others = [1] if ends.is_v6 else [1, 1]
    assert sorted(sources(path).values()) == [*others, 3]
    assert books(path) == 4 + len(others)


def test_forged_senders_use_up_nobodys_limit(path: PacketPath) -> None:
    path.policy(LIMITED)
    for sport in range(4000, 4020):
        assert knock(path, sport=sport) == "rule_allow"
        path.egress(eth(ip(V4.us, V4.them, tcp(22, sport, "SA", seq=900, ack=101))))
    query = Talk(path, V4)
    for sport in range(4000, 4020):
        query.opener(udp(sport, 22))
        query.responder(udp(22, sport))
    assert books(path) == 0
    assert come_in(path, V4.them, 5000) == ["rule_allow", "flow", "flow"]


def test_handshakes_that_end_past_the_limit(path: PacketPath) -> None:
    """A source that opens many at once before it completes any."""
    path.policy(LIMITED)
    for sport in range(4000, 4006):
        knock(path, sport=sport)
        path.egress(eth(ip(V4.us, V4.them, tcp(22, sport, "SA", seq=900, ack=101))))
    done = [
        path.ingress(eth(ip(V4.them, V4.us, tcp(sport, 22, "A", seq=101, ack=901)))).reason
        for sport in range(4000, 4006)
    ]
    assert done == ["flow"] * 3 + ["source_limit"] * 3
    assert books(path) == 3


def test_who_is_counted(path: PacketPath) -> None:
    """Who comes in by a protected interface: not this host, nor whom it masquerades for an interface without us."""
    path.policy(OPEN + "allow forward\n")
    path.interface("lan", class_id=2)
    ask, answer, inner = udp(4000, 22), udp(22, 4000), "10.0.0.9"
    for _ in range(2):
        path.ingress(eth(ip("172.20.0.1", V4.us, ask)))
        path.egress(eth(ip(V4.us, "172.20.0.1", answer)))
        path.egress(eth(ip(V4.us, "172.20.0.2", ask)))
        path.ingress(eth(ip("172.20.0.2", V4.us, answer)))
        assert path.egress(eth(ip(inner, "172.20.0.3", ask)), came_by="lan", tc_index=0).passed
        assert path.ingress(eth(ip("172.20.0.3", inner, answer))).passed
    assert sources(path) == {"172.20.0.1": 1}
    assert books(path) == 3


@pytest.mark.parametrize(
    ("fill_percent", "idle_s", "lives"),
    [
        (50, 1700, True),
        (70, 1000, True),
        (70, 1600, False),
        (95, 600, True),
        (95, 1000, False),
        (95, 1.5, True),
    ],
)
def test_timeouts_shrink_as_the_table_fills(
    path: PacketPath, fill_percent: int, idle_s: float, lives: bool
) -> None:
    """UDP has half an hour: all of it up to 60 %, three quarters at 75 %, a third when full."""
    path.policy(OPEN)
    (key,) = fill(path, 1, idle_s=idle_s)
    fill(path, FLOWS_MAX * fill_percent // 100 - 1, start=1)
    # the hand goes once round
    for i in range(FLOWS_MAX // 4):
        add(path, [confirmed_flow("198.51.100.7", 7000 + i)])
        delete(path, [confirmed_flow("198.51.100.7", 7000 + i)[0]])
    assert (path.maps["flows"].lookup(key) is not None) == lives
    assert path.totals().collected == (not lives)
    books(path)


def test_what_is_over_gives_way_first(path: PacketPath) -> None:
    """Connections that follow each other quickly fill the table to where timeouts shrink, and no further."""
    path.policy(OPEN + "option flows.per-source 900\n")
    for i in range(2 * FLOWS_MAX):
        assert come_in(path, V4.them, 2000 + i) == ["rule_allow", "flow", "flow"]
        assert path.ingress(eth(ip(V4.them, V4.us, tcp(2000 + i, 22, "R", seq=101)))).reason == "flow"
        if i % 100 == 99:
            path.age(2)
    assert books(path) < FLOWS_MAX * 3 // 4
    assert sources(path) == {}


def test_what_is_over_keeps_no_place_by_going_on(path: PacketPath) -> None:
    """Each was reset, and somebody has sent by each a moment ago."""
    path.policy(OPEN)
    flows = []
    for i in range(FLOWS_MAX):
        key, value = confirmed_flow(V4.them, 2000 + i, proto=TCP, idle_s=0.1)
        flow = abi.Flow.unpack(value)
        flow.side[0].state = abi.SideState.SIDE_RST
        flows.append((key, flow.pack()))
    assert add(path, flows) == FLOWS_MAX
    assert books(path) < FLOWS_MAX * 9 // 10
    assert knock(path, "198.51.100.9") == "rule_allow"


@pytest.mark.parametrize("mode", ["log", "off"])
def test_what_is_over_stays_so_whatever_passes(path: PacketPath, mode: str) -> None:
    """Its source has been relieved of it: alive again it would be one more than it may have."""
    path.policy(LIMITED + f"option tcp.window {mode}\n")
    talk = Connection(path, V4)
    talk.close()
    assert (sources(path), talk.sides()) == ({}, ("FIN", "FIN"))
    assert talk.o("A", 90_000_000, 902).passed
    assert talk.r("PA", 90_000_000, 102, b"x").passed
    assert talk.sides() == ("FIN", "FIN")
    assert books(path) == 1


def test_timeouts_stay_where_they_shall(path: PacketPath) -> None:
    path.policy(OPEN + "option flows.adaptive 100\n")
    (key,) = fill(path, 1, idle_s=1700)
    fill(path, FLOWS_MAX - 2, start=1)
    for i in range(FLOWS_MAX // 4):
        add(path, [confirmed_flow("198.51.100.7", 7000 + i)])
        delete(path, [confirmed_flow("198.51.100.7", 7000 + i)[0]])
    assert path.maps["flows"].lookup(key)


def test_established_connection_outlives_a_flood_that_completes(path: PacketPath) -> None:
    """Ten times the table's size, from as many sources as it takes, and each handshake is complete."""
    path.policy(OPEN)
    talk = Connection(path, V4)
    talk.establish()
    fill(path, FLOWS_MAX - 1)
    for i in range(10 * FLOWS_MAX):
        assert knock(path, f"172.{28 + (i >> 12)}.{i >> 6 & 63}.{i & 63}") == "table_full"
    assert talk.o("PA", 101, 901, b"x").reason == "flow"
    assert talk.r("PA", 901, 102, b"x").reason == "flow"
    books(path)


def test_observed_flow_too_many_passes(path: PacketPath) -> None:
    path.policy(OPEN)
    fill(path, FLOWS_MAX)
    path.control(mode=abi.Mode.MODE_OBSERVE)
    verdict = path.ingress(eth(ip(V4.them, V4.us, icmp(8))))
    assert (verdict.reason, verdict.passed) == ("table_full", True)


def test_table_larger_than_its_places_displaces_none(path: PacketPath) -> None:
    """However full, and whichever CPU adds: an LRU table takes free entries for a CPU by the 128."""
    path.policy(OPEN + "option flows.full evict\n")
    fill(path, FLOWS_MAX)
    for i in range(4 * FLOWS_MAX):
        add(path, [confirmed_flow("198.51.100.7", 7000 + i % 60_000, proto=TCP)])
    assert books(path) == FLOWS_MAX
    assert path.totals().evicted == 4 * FLOWS_MAX


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_forged_queries_leave_half_a_limit_to_their_source(path: PacketPath, limit: int) -> None:
    """Who knows that a service answers need not see its answers to ask again."""
    path.policy(OPEN + f"option flows.per-source {limit}\n")
    query = Talk(path, V4)
    for sport in range(4000, 4020):
        assert query.opener(udp(sport, 22)).reason == "rule_allow"
        assert query.responder(udp(22, sport)).reason == "flow"
        assert query.opener(udp(sport, 22)).reason == "flow", "it stays, if not confirmed"
    assert books(path) == limit // 2
    for i in range(limit - limit // 2):
        assert come_in(path, V4.them, 5000 + i) == ["rule_allow", "flow", "flow"]
    assert knock(path, sport=6000) == "source_limit"


@FAMILIES
@pytest.mark.parametrize("full", ["refuse", "evict"])
def test_forged_queries_leave_a_quarter_of_the_places(path: PacketPath, ends: Ends, full: str) -> None:
    """They displace each other as others that nobody has confirmed."""
    path.policy(OPEN + f"option flows.full {full}\n")
    talk = Connection(path, ends)
    talk.establish()
    stem = "2001:db8:{}:{}::7" if ends.is_v6 else "172.{}.{}.7"
    for i in range(FLOWS_MAX):
        them = stem.format(20 + (i >> 8), i & 255)
        for _ in range(2):
            assert path.ingress(eth(ip(them, ends.us, udp(4000, 22)))).passed
            assert path.egress(eth(ip(ends.us, them, udp(22, 4000)))).passed
    assert books(path) == FLOWS_MAX * 3 // 4
    assert talk.o("PA", 101, 901, b"x").reason == "flow"
    for i in range(FLOWS_MAX // 4):
        assert come_in(path, f"198.51.{101 + (i >> 7)}.{i & 127}", 4000) == ["rule_allow", "flow", "flow"]
    assert books(path) == FLOWS_MAX
    assert path.totals().evicted == 0


def test_queries_are_confirmed_again_after_a_flood(path: PacketPath) -> None:
    """Though nothing but queries comes: they collect what is over as well."""
    path.policy(OPEN)
    fill(path, FLOWS_MAX * 3 // 4, idle_s=200)
    path.age(1300)
    query = Talk(path, V4)
    for _ in range(FLOWS_MAX):
        query.opener(udp(4000, 22))
        query.responder(udp(22, 4000))
        if sources(path).get(V4.them):
            break
    else:
        pytest.fail("never confirmed")
    books(path)


def test_nobody_is_evicted_beside_one_whose_time_is_up(path: PacketPath) -> None:
    path.policy(OPEN + "option flows.full evict\noption flows.adaptive 100\n")
    keys = fill(path, 8)
    fill(path, FLOWS_MAX - 8, start=FLOWS_MAX, idle_s=1700)
    path.age(110)
    # the hand stands before the eight whose time is not up
    table = path.table()
    table.hand = 0
    path.maps["table"].update(struct.pack("=I", 0), table.pack())
    assert come_in(path, V4.them, 4000) == ["rule_allow", "flow", "flow"]
    assert path.totals().evicted == 0
    assert all(path.maps["flows"].lookup(key) for key in keys)
    books(path)


def test_who_is_proven_has_the_last_quarter(path: PacketPath) -> None:
    """A cookie that came back, as a handshake; and whatever this host asks itself."""
    path.policy(OPEN + "allow in sctp to port 3868\n")
    fill(path, FLOWS_MAX * 3 // 4)
    established(Association(path, V4))
    query = Talk(path, V4, we_open=True)
    for sender in (query.opener, query.responder, query.opener):
        assert sender(udp(4000, 53) if sender == query.opener else udp(53, 4000)).passed
    assert books(path) == FLOWS_MAX * 3 // 4 + 2


def test_reopening_needs_no_further_place(path: PacketPath) -> None:
    path.policy(OPEN + "option flows.adaptive 100\n")
    talk = Connection(path, V4)
    talk.close()
    fill(path, FLOWS_MAX - 1)
    assert knock(path, "198.51.100.9") == "table_full"
    assert talk.o("S", 90_000).reason == "rule_allow"
    assert talk.r("SA", 900, 90_001).reason == "flow"
    assert talk.o("A", 90_001, 901).reason == "flow"
    assert books(path) == FLOWS_MAX
