# SPDX-License-Identifier: MIT
"""Rules that hold at some times only: what they admit, and what becomes of it when their time is over."""

from __future__ import annotations

import struct
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from firewall import abi, clock
from firewall.bpfmap import F_INNER_MAP, MapType, create_map
from tests.packet.ends import FAMILIES, V4, Connection, Ends, Talk
from tests.packet.path import PacketPath, let_time_pass
from tests.packets import eth, icmp_error, ip, tcp, udp

CLOSED = "default in drop\ndefault out allow\n"
END = "2030-06-01T12:00Z"
END_S = 1_906_545_600
SOON_S = 4.0  # more than what comes before the end takes, on a machine with other work too


class Soon:
    """A ruleset in force in which it is shortly before END; `come` waits for the end."""

    def __init__(
        self, path: PacketPath, text: str, end_s: float = END_S, zone: ZoneInfo | None = None
    ) -> None:
        self.path = path
        self.began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        path.policy(text, end_s - SOON_S, zone=zone)

    def _gone_s(self) -> float:
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self.began_ns) / 1e9

    def come(self) -> None:
        assert self._gone_s() < SOON_S, "this machine is too slow for the test"
        while self._gone_s() < SOON_S + 0.1:
            time.sleep(0.01)
        let_time_pass(2 / clock.hz())


def syn(ends: Ends, port: int = 22, sport: int = 4000) -> bytes:
    return ends.arriving(tcp(sport, port, "S", seq=100))


@FAMILIES
@pytest.mark.parametrize(
    ("before_s", "holds"), [(3600, True), (1e9, True), (0, False), (-1, False), (-1e9, False)]
)
def test_until(path: PacketPath, ends: Ends, before_s: float, holds: bool) -> None:
    path.policy(CLOSED + f"allow in tcp until {END}\n", END_S - before_s)
    assert path.ingress(syn(ends)).reason == ("rule_allow" if holds else "default_drop")


@pytest.mark.parametrize("action", ["allow", "drop"])
def test_the_end_comes_by_itself(path: PacketPath, action: str) -> None:
    """No process does anything: the same ruleset decides otherwise when its time has come."""
    before, after = ("rule_allow", "rule_drop") if action == "allow" else ("rule_drop", "rule_allow")
    other = "drop" if action == "allow" else "allow"
    soon = Soon(path, CLOSED + f"{action} in tcp to port 22 until {END}\n{other} in tcp\n")
    assert path.ingress(syn(V4)).reason == before
    soon.come()
    assert path.ingress(syn(V4, sport=4001)).reason == after


@FAMILIES
@pytest.mark.parametrize("we_are_next", [False, True])
def test_what_it_let_in_ends_with_it(path: PacketPath, ends: Ends, we_are_next: bool) -> None:
    """At the next packet of either side, for both sides, and for as long as they try."""
    soon = Soon(path, CLOSED + f"allow in tcp until {END}\nallow in udp\n")
    talk, other = Connection(path, ends), Talk(path, ends)
    talk.establish()
    other.opener(udp(5000, 53))
    assert talk.o("A", 101, 901).reason == talk.r("A", 901, 101).reason == "flow"
    soon.come()
    sides = [talk.r("A", 901, 101), talk.o("A", 101, 901)] if we_are_next else [talk.o("A", 101, 901)] * 2
    assert [verdict.reason for verdict in sides] == ["revoked"] * 2
    for _ in range(3):
        let_time_pass(2 / clock.hz())
        assert talk.o("A", 101, 901).reason == talk.r("A", 901, 101).reason == "revoked"
    error = icmp_error(ip(ends.us, ends.them, tcp(22, 4000, "A", seq=901)))
    assert path.ingress(eth(ip(ends.hop, ends.us, error))).reason == "unrelated"
    assert other.responder(udp(53, 5000)).reason == "flow"
    assert other.opener(udp(5000, 53)).reason == "flow"


@FAMILIES
def test_an_error_about_it_comes_no_more(path: PacketPath, ends: Ends) -> None:
    """Before any other packet: nothing has judged the flow anew yet."""
    soon = Soon(path, CLOSED + f"allow in udp until {END}\n")
    talk = Talk(path, ends)
    talk.opener(udp(5000, 53))
    talk.responder(udp(53, 5000))
    error = eth(ip(ends.hop, ends.us, icmp_error(ip(ends.us, ends.them, udp(53, 5000)))))
    assert path.ingress(error).reason == "related"
    soon.come()
    assert path.ingress(error).reason == "unrelated"


@FAMILIES
def test_another_rule_takes_it_over(path: PacketPath, ends: Ends) -> None:
    soon = Soon(path, CLOSED + f"allow in tcp until {END}\nallow in tcp to port 22\n")
    talk = Connection(path, ends)
    talk.establish()
    rule = path.the_flow()[2].rule
    soon.come()
    assert talk.o("A", 101, 901).reason == talk.r("A", 901, 101).reason == "flow"
    assert path.the_flow()[2].rule != rule


def test_when_its_drop_ends_a_flow_may_be_opened(path: PacketPath) -> None:
    path.policy(CLOSED + "allow in tcp\n")
    talk = Connection(path, V4)
    talk.establish()
    soon = Soon(path, CLOSED + f"drop in tcp until {END}\nallow in tcp\n")
    assert talk.o("A", 101, 901).reason == "revoked"
    soon.come()
    assert talk.o("A", 101, 901).reason == talk.r("A", 901, 101).reason == "flow"


def test_a_mark_and_an_end(path: PacketPath) -> None:
    """What speaks of the opener's packet holds for what the rule admitted, and the end holds nevertheless."""
    text = CLOSED + f"allow in tcp mark 1 until {END}\n"
    soon = Soon(path, text)
    path.ingress(syn(V4), mark=1)
    assert path.ingress(syn(V4)).reason == "flow"
    soon.come()
    assert path.ingress(syn(V4)).reason == "revoked"


BERLIN = ZoneInfo("Europe/Berlin")


def local_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@FAMILIES
@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("2030-06-03T07:59", False),
        ("2030-06-03T08:00", True),
        ("2030-06-03T17:59", True),
        ("2030-06-03T18:00", False),
        ("2030-06-01T12:00", False),
        ("2030-12-02T08:00", True),
        ("2030-12-02T07:59", False),
    ],
)
def test_between(path: PacketPath, ends: Ends, when: str, holds: bool) -> None:
    """Monday to Friday, in summer and in winter."""
    text = CLOSED + "allow in tcp between 08:00 and 18:00 on-days mon-fri\n"
    path.policy(text, local_s(when), zone=BERLIN)
    assert path.ingress(syn(ends)).reason == ("rule_allow" if holds else "default_drop")


def test_hours_begin_and_end_by_themselves(path: PacketPath) -> None:
    """What a drop of the night cuts comes back in the morning."""
    path.policy(CLOSED + "allow in tcp\n")
    talk = Connection(path, V4)
    talk.establish()
    text = CLOSED + "drop in tcp between 20:00 and 06:00\nallow in tcp\n"
    soon = Soon(path, text, local_s("2030-06-03T20:00"), BERLIN)
    assert talk.o("A", 101, 901).reason == "flow"
    soon.come()
    assert talk.o("A", 101, 901).reason == talk.r("A", 901, 101).reason == "revoked"
    assert path.ingress(syn(V4, sport=4001)).reason == "rule_drop"
    soon = Soon(path, text, local_s("2030-06-04T06:00"), BERLIN)
    assert talk.o("A", 101, 901).reason == "revoked"
    soon.come()
    assert talk.o("A", 101, 901).reason == talk.r("A", 901, 101).reason == "flow"


def test_an_unsynchronised_clock(path: PacketPath) -> None:
    text = "allow in tcp to port 22 between 00:00 and 24:00\n"
    text += "allow in tcp to port 23 between 08:00 and 08:01 unsynced on\n"
    for synced, expected in ((True, "default_drop"), (False, "rule_allow")):
        path.policy(CLOSED + text, local_s("2030-06-03T12:00"), synced=synced, zone=BERLIN)
        assert path.ingress(syn(V4, 23)).reason == expected
        assert path.ingress(syn(V4, 22)).reason == ("rule_allow" if synced else "default_drop")
        path.reset_flows()


def test_many_ends(path: PacketPath) -> None:
    """The right one is found among many, from wherever the search begins."""
    hours = range(64)
    text = "".join(
        f"allow in tcp to port {i} until 2030-06-{1 + i // 24:02}T{i % 24:02}:00Z\n" for i in hours
    )
    first_s = END_S - 12 * 3600
    for gone in (-1, 0, 1, 31, 32, 62, 63):
        path.policy(CLOSED + text, first_s + gone * 3600 + 600)
        open_ = [i for i in hours if path.ingress(syn(V4, i, 4000 + gone)).reason == "rule_allow"]
        assert open_ == list(hours)[gone + 1 :]


@pytest.mark.parametrize("past", [1, 2, 8, 9, 33, 64, 65])
def test_of_many_edges_the_last_that_is_past_counts(path: PacketPath, past: int) -> None:
    """As long after the ruleset was made: here its edges are put where they would be by then."""
    ports = range(64)
    ends = [f"2030-06-{1 + i // 24:02}T{i % 24:02}:00Z" for i in ports]
    path.policy(
        CLOSED + "".join(f"allow in tcp to port {i} until {end}\n" for i, end in enumerate(ends)), END_S - 1e6
    )
    with create_map(MapType.ARRAY, "edge", 4, abi.Edge.SIZE, len(ends) + 1, F_INNER_MAP) as edges:
        for i in range(len(ends) + 1):
            from_ns = i * 1_000_000 if i < past else 1 << 62
            edges.update(struct.pack("=I", i), abi.Edge(from_ns=from_ns, open=1 << i % 64).pack())
        slot = path.generation % abi.Limits.GENERATION_SLOTS
        path.maps["edges"].set_inner(struct.pack("=I", slot), edges)
    assert [i for i in ports if path.ingress(syn(V4, i)).reason == "rule_allow"] == [(past - 1) % 64]
