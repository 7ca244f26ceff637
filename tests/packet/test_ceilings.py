# SPDX-License-Identifier: MIT
"""`limit` and `max-flows`: how many a rule lets in, and that what it has let in stays."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from firewall import abi
from firewall.clock import hz
from tests.packet.ends import FAMILIES, V4, V6, Connection, Ends, Talk
from tests.packet.path import FLOWS_MAX, PacketPath
from tests.packet.places import add, books, confirmed_flow, delete, of_rules
from tests.packets import eth, ip, tcp, udp

CLOSED = "option timeout.udp 1800s\ndefault in drop\ndefault out allow\n"
BUCKET = abi.Bucket.SIZE


def knock(path: PacketPath, source: str = V4.them, sport: int = 4000, port: int = 22) -> str:
    us = V6.us if ":" in source else V4.us
    return path.ingress(eth(ip(source, us, tcp(sport, port, "S", seq=100)))).reason


def knocks(path: PacketPath, count: int, source: str = V4.them) -> list[str]:
    """From so many ports, each of its own."""
    return [knock(path, source, 10_000 + i) for i in range(count)]


def come_in(path: PacketPath, sport: int, source: str = V4.them, port: int = 22) -> list[str]:
    """A whole handshake; the reason of each segment."""
    ends = (V6 if ":" in source else V4)._replace(them=source)
    there = [
        path.ingress(ends.arriving(tcp(sport, port, "S", seq=100))),
        path.egress(ends.leaving(tcp(port, sport, "SA", seq=900, ack=101))),
        path.ingress(ends.arriving(tcp(sport, port, "A", seq=101, ack=901))),
    ]
    return [verdict.reason for verdict in there]


def come_in_by_udp(path: PacketPath, sport: int) -> list[str]:
    """A question, its answer, a question."""
    talk = Talk(path, V4)
    there = [talk.opener(udp(sport, 22)), talk.responder(udp(22, sport)), talk.opener(udp(sport, 22))]
    return [verdict.reason for verdict in there]


def buckets(path: PacketPath) -> Iterator[tuple[str, bytes, int]]:
    """Each bucket that is in use: its map, its key there, and where it is in the value."""
    of_sources = [key for key, _ in path.maps["source_buckets"].items()]
    yield from (("source_buckets", key, 0) for key in of_sources)
    at, locks = abi.Rate.SIZE - BUCKET, {key[-4:] for key in of_sources}
    yield from (("rates", key, at) for key, _ in path.maps["rates"].items() if key not in locks)


def wait(path: PacketPath, seconds: float) -> None:
    """Let every bucket have been asked so much earlier."""
    for name, key, at in list(buckets(path)):
        value = bytearray(path.maps[name].lookup(key) or b"")
        (last_j,) = struct.unpack_from("=Q", value, at)
        struct.pack_into("=Q", value, at, last_j - round(seconds * hz()))
        path.maps[name].update(key, bytes(value))


@FAMILIES
def test_rate(path: PacketPath, ends: Ends) -> None:
    """One each eight hours, three at once; the rule behind it is not asked."""
    path.policy(CLOSED + "allow in tcp to port 22 limit 3/day\nallow in tcp\n")
    assert knocks(path, 5, ends.them) == ["rule_allow"] * 3 + ["over_limit"] * 2
    assert knock(path, ends.them, 10_000) == "flow", "sent again: no opening"
    assert knock(path, "2001:db8:77::1") == knock(path, "198.18.0.1") == "over_limit", "all sources are one"
    assert knock(path, ends.them, 4000, 80) == "rule_allow"
    wait(path, 8 * 3600 - 60)
    assert knock(path, ends.them, 5000) == "over_limit"
    wait(path, 60)
    assert [knock(path, ends.them, 5000 + i) for i in range(2)] == ["rule_allow", "over_limit"]
    wait(path, 10 * 86400)
    assert [knock(path, ends.them, 6000 + i) for i in range(4)] == ["rule_allow"] * 3 + ["over_limit"]


def test_burst(path: PacketPath) -> None:
    path.policy(CLOSED + "allow in tcp limit 1/hour burst 4\n")
    assert knocks(path, 5) == ["rule_allow"] * 4 + ["over_limit"]
    wait(path, 2 * 3600)
    assert [knock(path, sport=5000 + i) for i in range(3)] == ["rule_allow"] * 2 + ["over_limit"]


@pytest.mark.parametrize(
    ("per", "source", "same", "other"),
    [
        ("", "198.51.100.7", None, "198.51.100.8"),
        ("", "2001:db8:9::7", "2001:db8:9::ffff", "2001:db8:9:1::7"),
        ("/24/56", "198.51.100.7", "198.51.100.200", "198.51.101.7"),
        ("/24/56", "2001:db8:9::7", "2001:db8:9:ff::1", "2001:db8:9:100::1"),
        ("/1/128", "198.51.100.7", "203.0.113.200", "100.64.0.1"),
        ("/1/128", "2001:db8:9::7", None, "2001:db8:9::8"),
        ("/31/33", "198.51.100.6", "198.51.100.7", "198.51.100.8"),
        ("/31/33", "2001:db8:9::7", "2001:db8:7fff::1", "2001:db8:8000::1"),
    ],
)
@pytest.mark.parametrize("clause", ["limit 1/day", "max-flows 1"])
def test_sources(path: PacketPath, clause: str, per: str, source: str, same: str | None, other: str) -> None:
    path.policy(CLOSED + f"allow in tcp {clause} per source{per}\n")
    assert come_in(path, 4000, source) == ["rule_allow", "flow", "flow"]
    assert knock(path, source, 4001) == "over_limit"
    if same:
        assert knock(path, same) == "over_limit"
    assert come_in(path, 4000, other) == ["rule_allow", "flow", "flow"]
    assert knock(path, other, 4001) == "over_limit"
    assert books(path) == 2


@pytest.mark.parametrize("clause", ["limit 1/day per source", "max-flows 1 per source"])
def test_rules_and_zones_count_for_themselves(path: PacketPath, clause: str) -> None:
    path.policy(CLOSED + f"allow in tcp to port 22 {clause}\nallow in tcp to port 80 {clause}\n")
    for zone in (0, 5):
        flags = abi.IfaceFlags.IFACE_PROTECTED
        path.interface("wan", slot=1, class_id=1, zone=zone, flags=flags)
        for port in (22, 80):
            assert come_in(path, 4000, port=port) == ["rule_allow", "flow", "flow"]
            assert knock(path, sport=4001, port=port) == "over_limit"


def test_what_is_refused_takes_nothing(path: PacketPath) -> None:
    limited = "option flows.per-source 1\nallow in tcp limit 2/day\n"
    path.policy(CLOSED + limited)
    add(path, [confirmed_flow(V4.them, 1)])
    assert [knock(path, sport=4000 + i) for i in range(5)] == ["source_limit"] * 5
    assert knocks(path, 3, "203.0.113.200") == ["rule_allow"] * 2 + ["over_limit"]
    for _ in range(5):
        assert knock(path, sport=5000, source="203.0.113.201") == "over_limit"
    wait(path, 43_200)
    assert knock(path, sport=5000, source="203.0.113.201") == "rule_allow"


def test_a_flow_refused_is_counted_for_its_rule(path: PacketPath) -> None:
    document = path.policy(CLOSED + "allow in tcp limit 1/day log\n")
    knocks(path, 2)
    event = path.events()[-1]
    assert (event.reason, event.rule) == (abi.Reason.OVER_LIMIT, document.rules[0].id)
    assert event.flags == abi.EventFlags.EVENT_DROP | abi.EventFlags.EVENT_LOG


def test_a_change_elsewhere_fills_no_bucket(path: PacketPath) -> None:
    limits = "allow in tcp to port 22 limit 2/day\nallow in tcp to port 80 limit 2/day per source\n"
    path.policy(CLOSED + limits)
    for port in (22, 80):
        assert [knock(path, sport=4000 + i, port=port) for i in range(3)][-1] == "over_limit"
    path.policy(CLOSED + "drop in udp\n" + limits)
    path.policy(CLOSED + limits)
    assert knock(path, sport=5000) == knock(path, sport=5000, port=80) == "over_limit"
    path.policy(CLOSED + limits.replace("2/day", "3/day"))
    for port in (22, 80):
        opened = [knock(path, sport=6000 + i, port=port) for i in range(4)]
        assert opened == ["rule_allow"] * 3 + ["over_limit"], "another text is another rule"


@pytest.mark.parametrize("clause", ["limit 1/day", "limit 1/day per source", "max-flows 1"])
def test_who_is_in_stays(path: PacketPath, clause: str) -> None:
    """A flow that is judged anew neither meets a ceiling nor counts against the next."""
    path.policy(CLOSED + "allow in tcp to port 22\n")
    talks = [Connection(path, V4._replace(them=f"198.51.100.{i}")) for i in range(1, 6)]
    for talk in talks:
        come_in(path, 4000, talk.ends.them)
    path.policy(CLOSED + f"allow in tcp to port 22 {clause}\n")
    for _ in range(2):
        assert [talk.o("A", 101, 901).reason for talk in talks] == ["flow"] * 5
        path.policy(CLOSED + f"drop in udp\nallow in tcp to port 22 {clause}\n")
    assert books(path) == 5
    first = "over_limit" if "max" in clause else "rule_allow"
    assert knocks(path, 2) == [first, "over_limit"]


def test_flows_are_counted_until_they_end(path: PacketPath) -> None:
    document = path.policy(CLOSED + "allow in tcp, udp to port 22 max-flows 3\n")
    ceiling = (document.rules[0].id, "-")
    talks = [Connection(path, V4._replace(them=f"198.51.100.{i}")) for i in range(1, 4)]
    for talk in talks:
        assert of_rules(path).get(ceiling, 0) == talks.index(talk)
        come_in(path, 4000, talk.ends.them)
    assert of_rules(path) == {ceiling: 3}
    assert knock(path) == "over_limit"
    # reset
    assert talks[0].o("R", 101).reason == "flow"
    assert of_rules(path) == {ceiling: 2}
    assert come_in_by_udp(path, 4000) == ["rule_allow", "flow", "flow"]
    assert knock(path) == "over_limit"
    # deleted
    ((_, key, _),) = [one for one in path.flows() if one[1].proto == 17]
    assert delete(path, [key.pack()]) == 1
    assert of_rules(path) == {ceiling: 2}
    # its time is up
    path.age(100_000)
    assert talks[1].o("A", 101, 901).reason == "no_flow"
    assert talks[2].o("A", 101, 901).reason == "no_flow"
    assert of_rules(path) == {}
    assert books(path) == 1
    assert come_in(path, 4000) == ["rule_allow", "flow", "flow"]
    assert of_rules(path) == {ceiling: 1}


def test_what_is_evicted_or_collected_gives_its_place_back(path: PacketPath) -> None:
    path.policy(
        CLOSED + "option flows.max 1024\noption flows.full evict\nallow in tcp to port 22 max-flows 50\n"
    )
    for sport in range(50):
        assert come_in(path, 1000 + sport) == ["rule_allow", "flow", "flow"]
    path.age(3000)
    others = [confirmed_flow(f"172.{20 + (i >> 8)}.{i & 255}.1", 4000) for i in range(3 * FLOWS_MAX)]
    add(path, others)
    assert path.totals().evicted > FLOWS_MAX
    left = sum(key.proto == 6 for _, key, _ in path.flows())
    assert sum(of_rules(path).values()) == left < 50
    assert books(path) == FLOWS_MAX
    assert come_in(path, 5000) == ["rule_allow", "flow", "flow"]


def test_handshakes_that_end_past_the_ceiling(path: PacketPath) -> None:
    """Six begin while none counts: three find a place, and of the others nothing is left."""
    path.policy(CLOSED + "allow in tcp to port 22 max-flows 3\n")
    for sport in range(4000, 4006):
        knock(path, sport=sport)
        path.egress(eth(ip(V4.us, V4.them, tcp(22, sport, "SA", seq=900, ack=101))))
    done = [
        path.ingress(V4.arriving(tcp(sport, 22, "A", seq=101, ack=901))).reason for sport in range(4000, 4006)
    ]
    assert done == ["flow"] * 3 + ["over_limit"] * 3
    assert books(path) == 3
    assert list(path.maps["embryonic"].keys()) == []


def test_udp_past_the_ceiling(path: PacketPath) -> None:
    path.policy(CLOSED + "allow in udp max-flows 2\n")
    talk = Talk(path, V4)
    for sport in range(4000, 4004):
        talk.opener(udp(sport, 22))
        talk.responder(udp(22, sport))
    assert [talk.opener(udp(sport, 22)).reason for sport in range(4000, 4004)] == [
        "flow", "flow", "over_limit", "over_limit",
    ]  # fmt: skip
    assert talk.opener(udp(4003, 22)).reason == "over_limit"
    assert books(path) == 2


def test_flows_move_with_a_change(path: PacketPath) -> None:
    """They count for the rule that allows them now, from their next packet on, and there may be more than it says."""
    path.policy(CLOSED + "allow in tcp max-flows 9\n")
    talks = [Connection(path, V4._replace(them=f"198.51.100.{i}")) for i in range(1, 5)]
    for talk in talks:
        come_in(path, 4000, talk.ends.them)
    text = CLOSED + "allow in tcp to port 22 max-flows 2 per source/24/64\n"
    document = path.policy(text)
    for talk in talks:
        talk.o("A", 101, 901)
    assert of_rules(path) == {(document.rules[0].id, "198.51.100.0"): 4}
    assert books(path) == 4
    assert knock(path) == "over_limit"
    talks[0].o("R", 101)
    talks[1].o("R", 101)
    assert knock(path) == "over_limit"
    talks[2].o("R", 101)
    assert knock(path) == "rule_allow"
    path.policy(CLOSED + "allow in tcp\n")
    talks[3].o("A", 101, 901)
    assert of_rules(path) == {}
    assert books(path) == 4


def test_what_was_running_before_is_counted_and_stays(path: PacketPath) -> None:
    """Connections that a load takes over come to the rule with their next packet; so do restored ones."""
    path.policy(CLOSED + "allow in tcp to port 22 max-flows 2\n")
    assert add(path, [confirmed_flow(f"198.51.100.{i}", 4000, proto=6) for i in range(1, 5)]) == 4
    assert of_rules(path) == {}
    for i in range(1, 5):
        assert (
            path.ingress(eth(ip(f"198.51.100.{i}", V4.us, tcp(4000, 22, "A", seq=1, ack=1)))).reason == "flow"
        )
    assert list(of_rules(path).values()) == [4]
    assert books(path) == 4
    assert knock(path) == "over_limit"


def test_a_connection_that_is_translated_counts_once(path: PacketPath) -> None:
    path.policy("default forward drop\nallow forward on lan via wan udp max-flows 3 limit 3/day\n")
    for sport in range(4000, 4004):
        inner, outer = udp(sport, 53), udp(sport + 1000, 53)
        for _ in range(2):
            reason = path.ingress(eth(ip("10.0.0.9", V4.them, inner)), on="lan").reason
            assert reason == ("over_limit" if sport == 4003 else "flow" if _ else "rule_allow")
            if sport == 4003:
                continue
            path.egress(eth(ip(V4.us, V4.them, outer)), came_by="lan")
            path.ingress(eth(ip(V4.them, V4.us, udp(53, sport + 1000))))
            path.egress(eth(ip(V4.them, "10.0.0.9", udp(53, sport))), on="lan", came_by="wan")
    assert sum(of_rules(path).values()) == 3
    books(path)


def test_observe_mode_lets_it_pass(path: PacketPath) -> None:
    path.policy(CLOSED + "allow in tcp limit 1/day\n")
    path.control(mode=abi.Mode.MODE_OBSERVE)
    verdicts = [path.ingress(V4.arriving(tcp(4000 + i, 22, "S"))) for i in range(2)]
    assert [(v.reason, v.passed) for v in verdicts] == [("rule_allow", True), ("over_limit", True)]


@pytest.mark.parametrize("clause", ["limit 7/day", "limit 7/day per source"])
def test_buckets_do_their_sums(path: PacketPath, clause: str) -> None:
    """Whatever the times between: each jiffy adds the rate, up to the burst, and a token is a day of jiffies."""
    path.policy(CLOSED + f"allow in tcp {clause}\n")
    unit_j = 86400 * hz()
    knock(path, sport=1)
    for i, hours in enumerate((0, 1, 0.5, 3.4, 3.5, 0, 0, 0, 7, 0, 30, 0, 0.1)):
        wait(path, hours * 3600)
        ((name, key, at),) = buckets(path)
        before = abi.Bucket.unpack(path.maps[name].lookup(key) or b"", at)
        reason = knock(path, sport=4000 + i)
        after = abi.Bucket.unpack(path.maps[name].lookup(key) or b"", at)
        filled = min(7 * unit_j, before.tokens_j + 7 * (after.last_j - before.last_j))
        assert reason == ("rule_allow" if filled >= unit_j else "over_limit")
        assert after.tokens_j == filled - (unit_j if reason == "rule_allow" else 0)
