# SPDX-License-Identifier: MIT
"""Flow entries read as the packet path reads them. That both agree is shown in tests/packet/test_flow_listing.py."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import pytest

from firewall import abi, flowstate
from firewall.clock import hz, now_j
from firewall.flows import Filter, Flow, Table, address_text
from tests.fakepins import FakeMap, FakePins

LO4, HI4 = "192.0.2.1", "198.51.100.7"
LO6, HI6 = "2001:db8::1", "2001:db8::2"
TCP, UDP, ICMP, ICMP6, OSPF, SCTP = 6, 17, 1, 58, 89, 132
NONE, SYN, OPEN, FIN, RST = (int(state) for state in abi.SideState)
SEEN = int(abi.SideFlags.SIDE_SEEN)


def raw(address: str) -> bytes:
    """An address as a key has it: in the last word if it is IPv4's."""
    return ip_address(address).packed.rjust(16, b"\0")


def entry(
    proto: int = TCP,
    lo: str = LO4,
    hi: str = HI4,
    ports: tuple[int, int] = (22, 40000),
    sides: tuple[dict[str, Any], dict[str, Any]] = ({"state": OPEN}, {"state": OPEN}),
    idle_s: float = 1,
    age_s: float = 10,
    **fields: Any,
) -> tuple[bytes, bytes]:
    """Key and value of a flow whose opener is the `hi` end; `sides` are the opener's record and the other's."""
    family = ip_address(lo).version
    key = abi.FlowKey(lo=raw(lo), hi=raw(hi), lo_port=ports[0], hi_port=ports[1], proto=proto, family=family)
    seen_j = now_j() - round(idle_s * hz())
    flow = abi.Flow(
        flags=abi.FlowFlags.FLOW_OPENER_HI,
        created_j=now_j() - round(age_s * hz()),
        side=[abi.Side(**{"seen_j": seen_j, "flags": SEEN, **side}) for side in sides],
    )
    for name, value in fields.items():
        setattr(flow, name, value)
    return key.pack(), flow.pack()


def table(
    *confirmed: tuple[bytes, bytes],
    embryonic: tuple[tuple[bytes, bytes], ...] = (),
    options: Mapping[str, str] | None = None,
) -> Table:
    maps = {"flows": FakeMap(dict(confirmed)), "embryonic": FakeMap(dict(embryonic))}
    return Table(FakePins(maps, **(options or {})))


def only(*confirmed: tuple[bytes, bytes]) -> Flow:
    (flow,) = table(*confirmed).chosen()
    return flow


def test_the_opener_comes_first() -> None:
    flow = only(entry())
    assert (address_text(4, flow.src), flow.sport, address_text(4, flow.dst), flow.dport) == (
        HI4,
        40000,
        LO4,
        22,
    )
    flow = only(entry(flags=0))
    assert (address_text(4, flow.src), flow.sport, address_text(4, flow.dst), flow.dport) == (
        LO4,
        22,
        HI4,
        40000,
    )


def test_ipv6() -> None:
    flow = only(entry(lo=LO6, hi=HI6))
    assert (address_text(6, flow.src), address_text(6, flow.dst), flow.family) == (HI6, LO6, 6)


def test_what_went_each_way() -> None:
    sides = ({"packets": 3, "bytes": 300, "state": OPEN}, {"packets": 2, "bytes": 5000, "state": OPEN})
    flow = only(entry(sides=sides, rule=7, scope=abi.Scope.SCOPE_FORWARD, generation=4, age_s=100))
    assert (flow.opener.packets, flow.opener.bytes, flow.responder.packets, flow.responder.bytes) == (
        3,
        300,
        2,
        5000,
    )
    assert (flow.rule, flow.scope, flow.generation, flow.age_s) == (7, "forward", 4, 100)


def test_icmp_has_an_id_and_no_ports() -> None:
    flow = only(entry(ICMP, ports=(77, 8 << 8), icmp=8 << 8, sides=({}, {})))
    assert (flow.sport, flow.dport, flow.icmp_id, flow.icmp_type) == (None, None, 77, 8 << 8)
    flow = only(entry(ICMP6, lo=LO6, hi=HI6, ports=(77, 128 << 8), icmp=128 << 8, sides=({}, {}), flags=0))
    assert (flow.sport, flow.icmp_id) == (None, 77)


def test_protocols_without_ports() -> None:
    flow = only(entry(OSPF, ports=(0, 0)))
    assert (flow.sport, flow.dport, flow.icmp_id) == (None, None, None)


STATES = [
    ("syn_sent", {"state": SYN}, {"state": NONE, "flags": 0}),
    ("syn_recv", {"state": SYN}, {"state": SYN}),
    ("established", {"state": OPEN}, {"state": SYN}),
    ("established", {"state": OPEN}, {"state": OPEN}),
    ("fin_wait", {"state": FIN}, {"state": OPEN}),
    ("fin_wait", {"state": OPEN}, {"state": FIN}),
    ("last_ack", {"state": FIN, "seq_end": 10, "ack": 20}, {"state": FIN, "seq_end": 21, "ack": 10}),
    ("time_wait", {"state": FIN, "seq_end": 10, "ack": 21}, {"state": FIN, "seq_end": 21, "ack": 10}),
    ("closed", {"state": RST}, {"state": OPEN}),
    ("closed", {"state": OPEN}, {"state": RST}),
]


def test_every_state_has_its_name() -> None:
    assert [f"STATE_{name.upper()}" for name in flowstate.STATES] == [state.name for state in abi.State][:-1]


@pytest.mark.parametrize(("state", "opener", "responder"), STATES)
def test_tcp_states(state: str, opener: dict[str, int], responder: dict[str, int]) -> None:
    assert only(entry(sides=(opener, responder))).state == state


SCTP_STATES = [
    ("cookie_wait", {"state": SYN}, {"flags": 0}),
    ("cookie_wait", {"state": SYN}, {"state": SYN}),
    ("cookie_echoed", {"state": OPEN}, {"state": SYN}),
    ("cookie_echoed", {"state": SYN}, {"state": OPEN}),
    ("heartbeat_sent", {"state": OPEN}, {"flags": 0}),
    ("established", {"state": OPEN}, {"state": OPEN}),
    ("shutdown_sent", {"state": OPEN}, {"state": FIN}),
    ("shutdown_ack_sent", {"state": FIN}, {"state": FIN}),
    ("closed", {"state": RST}, {"state": FIN}),
    ("closed", {"state": SYN}, {"state": RST}),
]


@pytest.mark.parametrize(("state", "opener", "responder"), SCTP_STATES)
def test_sctp_states(state: str, opener: dict[str, int], responder: dict[str, int]) -> None:
    assert only(entry(SCTP, sides=(opener, responder))).state == state


@pytest.mark.parametrize("proto", [UDP, ICMP, OSPF])
def test_answered_or_not(proto: int) -> None:
    assert only(entry(proto, sides=({}, {"flags": 0}))).state == "one_way"
    assert only(entry(proto, sides=({}, {}))).state == "two_way"


TIMEOUTS = [
    (TCP, ({"state": SYN}, {"flags": 0}), "tcp-syn-sent"),
    (TCP, ({"state": SYN}, {"state": SYN}), "tcp-syn-recv"),
    (TCP, ({"state": OPEN}, {"state": OPEN}), "tcp-established"),
    (TCP, ({"state": FIN}, {"state": OPEN}), "tcp-fin-wait"),
    (TCP, ({"state": FIN, "seq_end": 5}, {"state": FIN}), "tcp-last-ack"),
    (TCP, ({"state": FIN}, {"state": FIN}), "tcp-time-wait"),
    (TCP, ({"state": RST}, {"state": OPEN}), "tcp-closed"),
    (UDP, ({}, {"flags": 0}), "udp-one-way"),
    (UDP, ({}, {}), "udp"),
    (ICMP, ({}, {}), "icmp"),
    *((SCTP, sides, f"sctp-{state.replace('_', '-')}") for state, *sides in SCTP_STATES[1:9]),
    (OSPF, ({}, {"flags": 0}), "other-one-way"),
    (OSPF, ({}, {}), "other"),
]


# Each its own, so that none is taken for another.
CHOSEN = {name: f"{7500 + 100 * number}s" for number, (_, _, name) in enumerate(TIMEOUTS)}


@pytest.mark.parametrize(("proto", "sides", "name"), TIMEOUTS)
def test_a_flow_past_its_timeout_is_absent(proto: int, sides: Any, name: str) -> None:
    options = {f"timeout.{name}": value for name, value in CHOSEN.items()}
    timeout_s = int(CHOSEN[name].removesuffix("s"))
    live = table(entry(proto, sides=sides, idle_s=timeout_s - 5), options=options)
    (flow,) = live.chosen()
    assert 3 <= flow.expires_s <= 5
    assert live.counts()[:2] == (1, 0)
    dead = table(entry(proto, sides=sides, idle_s=timeout_s + 1), options=options)
    assert list(dead.chosen()) == []
    assert dead.counts()[:2] == (0, 0)


def test_a_revoked_flow_is_remembered_for_a_minute() -> None:
    flags = abi.FlowFlags.FLOW_REVOKED | abi.FlowFlags.FLOW_OPENER_HI
    assert only(entry(flags=flags, idle_s=50)).state == "revoked"
    assert only(entry(UDP, flags=flags)).expires_s <= 60
    dead = table(entry(flags=flags, idle_s=62))
    assert (list(dead.chosen()), dead.counts()[:2]) == ([], (0, 0))


def test_either_side_keeps_it_alive() -> None:
    late = now_j() - 10 * hz()
    flow = only(entry(UDP, sides=({"seen_j": now_j() - 500 * hz()}, {"seen_j": late}), age_s=600))
    assert 168 <= flow.expires_s <= 170


def test_a_flow_in_both_tables_is_one() -> None:
    """While a flow is promoted both entries exist."""
    one = entry()
    found = list(table(one, embryonic=(one, entry(ports=(22, 40001)))).chosen())
    assert [(flow.sport, flow.confirmed) for flow in found] == [(40000, True), (40001, False)]


def test_counts_are_of_what_is_listed() -> None:
    dead = entry(UDP, idle_s=1000)
    mixed = table(
        entry(), dead, entry(UDP), embryonic=(entry(ports=(80, 1)), entry(UDP, ports=(53, 9), idle_s=999))
    )
    assert mixed.counts() == (2, 1, 2)
    assert [flow.confirmed for flow in mixed.chosen()] == [True, True, False]


FLOW = entry(
    rule=7,
    sides=(
        {"state": OPEN, "in_ifindex": 3, "out_ifindex": 4},
        {"state": OPEN, "in_ifindex": 4, "out_ifindex": 5},
    ),
)


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Filter(), True),
        (Filter(proto=TCP), True),
        (Filter(proto=UDP), False),
        (Filter(port=22), True),
        (Filter(port=40000), True),
        (Filter(port=4000), False),
        (Filter(state="established"), True),
        (Filter(state="closed"), False),
        (Filter(rule=7), True),
        (Filter(rule=0), False),
        (Filter(ifindexes=frozenset((5,))), True),
        (Filter(ifindexes=frozenset((0, 6))), False),
        (Filter(addresses={4: [(0xC0000200, 0xC00002FF)], 6: []}), True),
        (Filter(addresses={4: [(0xC0000202, 0xC00002FF)], 6: [(0, 1 << 127)]}), False),
        (Filter(proto=TCP, rule=7, port=23), False),
    ],
)
def test_filters(wanted: Filter, matches: bool) -> None:
    assert wanted.matches(only(FLOW)) is matches
    assert len(list(table(FLOW).chosen(wanted))) == matches
    if matches:
        assert wanted.may_match(FLOW[0])


@pytest.mark.parametrize(
    ("wanted", "may"),
    [
        (Filter(proto=UDP), False),
        (Filter(port=4000), False),
        (Filter(addresses={4: [(0xC0000202, 0xC00002FF)], 6: [(0, 1 << 127)]}), False),
        (Filter(rule=0, state="closed", ifindexes=frozenset()), True),
        (Filter(rule=0, port=22), True),
    ],
)
def test_a_key_alone_tells_most_that_are_not_wanted(wanted: Filter, may: bool) -> None:
    assert wanted.may_match(FLOW[0]) is may
