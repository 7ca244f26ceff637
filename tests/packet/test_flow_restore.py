# SPDX-License-Identifier: MIT
"""Restored flows before the packet path: keys as it makes them, rules judge them anew, nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from firewall import abi, flowrestore, flowsave
from firewall.flowrestore import Restored
from tests.packet.ends import FAMILIES, V4, Connection, Ends, Talk
from tests.packet.path import FLOWS_MAX, PacketPath
from tests.packet.places import books
from tests.packet.test_flow_listing import PathPins
from tests.packets import eth, ip, udp, wscale

OPEN = """
    default in drop
    default out allow
    allow in tcp, udp to port 22
    allow in icmp, icmp6
    allow in proto 89
"""


@pytest.fixture
def pins(path: PacketPath) -> Iterator[PathPins]:
    found = PathPins(path)
    path.policy(OPEN)
    yield found
    found.control.close()


def saved(pins: PathPins) -> list[bytes]:
    return [f"{line}\n".encode() for line in flowsave.save(pins)]


def restore(pins: PathPins, lines: list[bytes]) -> Restored:
    return flowrestore.restore(pins, flowrestore.read(pins, lines, "file"))


@FAMILIES
def test_a_connection_goes_on(path: PacketPath, pins: PathPins, ends: Ends) -> None:
    talk = Connection(path, ends)
    talk.establish()
    talk.r("PA", 901, 101, b"x" * 100)
    lines = saved(pins)
    path.reset_flows()
    assert talk.o("A", 101, 1001).reason == "no_flow"
    assert restore(pins, lines) == Restored(1, 0, 0, 0, 0)
    assert books(path) == 1
    # Much has been sent that we did not see.
    assert talk.r("PA", 1_000_001, 5101, b"y" * 10).reason == "flow"
    assert talk.o("A", 5101, 1_000_011).reason == "flow"
    assert talk.r("PA", 1_000_011, 5101, b"z" * 10).reason == "flow"
    _, _, flow = path.the_flow()
    assert flow.rule == 1 and flow.generation
    assert all(side.flags & abi.SideFlags.SIDE_SETTLED for side in flow.side)
    assert talk.r("PA", 1_000_021 + 2**30, 5101, b"!").reason == "out_of_window"


@pytest.mark.parametrize("quarters", [1, 4, 10, 14])
@pytest.mark.parametrize("start", [100, 2**31 + 100, 2**32 - 2])
def test_a_connection_that_has_sent_much_goes_on(
    path: PacketPath, pins: PathPins, start: int, quarters: int
) -> None:
    """However far it has come from its first numbers, both sides are measured again once both have spoken."""
    talk = Connection(path, V4)
    talk.o("S", start, options=wscale(14))
    talk.r("SA", 900, (start + 1) % 2**32, options=wscale(14))
    talk.o("A", (start + 1) % 2**32, 901)
    at = start + 1
    for _ in range(quarters):
        at += 2**28
        assert talk.r("A", 901, (at - 2**28) % 2**32).reason == "flow"
        assert talk.o("PA", (at - 1) % 2**32, 901, b"x").reason == "flow"
    at %= 2**32
    assert talk.r("A", 901, at).reason == "flow"
    lines = saved(pins)
    path.reset_flows()
    assert restore(pins, lines).restored == 1
    for _ in range(2):
        assert talk.o("PA", at, 901, b"x").reason == "flow"
        assert talk.r("PA", 901, at + 1, b"y").reason == "flow"
    _, _, flow = path.the_flow()
    assert all(side.flags & abi.SideFlags.SIDE_SETTLED for side in flow.side)
    assert talk.o("A", (at + 2**31) % 2**32, 901).reason == "out_of_window"


def test_a_forged_acknowledgement_stops_no_restored_connection(path: PacketPath, pins: PathPins) -> None:
    """Something that was sent before may be acknowledged: it passes, and is not believed."""
    talk = Connection(path, V4)
    talk.o("S", 100, options=wscale(7))
    talk.r("SA", 900, 101, options=wscale(7))
    talk.o("A", 101, 901, window=500)
    lines = saved(pins)
    path.reset_flows()
    restore(pins, lines)
    sent = answered = 0

    def exchange() -> None:
        nonlocal sent, answered
        assert talk.o("PA", 101 + sent, 901 + answered, b"k" * 36, window=500).reason == "flow"
        sent += 36
        assert talk.r("PA", 901 + answered, 101 + sent, b"e" * 100, window=500).reason == "flow"
        answered += 100
        assert talk.o("A", 101 + sent, 901 + answered, window=500).reason == "flow"

    for _ in range(1000):
        exchange()
    assert talk.o("A", 101 + sent, 901 + answered + 1_000_000, window=500).reason == "flow"
    for _ in range(10):
        exchange()
    assert talk.records()[1][0] == 901 + answered


def test_what_is_over_is_not_learnt_anew(path: PacketPath, pins: PathPins) -> None:
    talk = Connection(path, V4)
    talk.establish()
    lines = saved(pins)
    path.reset_flows()
    restore(pins, lines)
    for _ in range(2):
        talk.o("A", 101, 901)
        talk.r("A", 901, 101)
    talk.o("FA", 101, 901)
    talk.r("FA", 901, 102)
    talk.o("A", 102, 902)
    assert talk.sides() == ("FIN", "FIN")
    before = path.the_flow()
    assert talk.o("A", 102, 1902).reason == "flow"
    assert path.the_flow() == before


@FAMILIES
def test_each_kind_has_the_key_that_its_packets_have(path: PacketPath, pins: PathPins, ends: Ends) -> None:
    """What the first packet after a restore finds is its flow, whoever sends it."""
    kinds = [udp(4000, 22), ends.echo()]
    for low, high in ((ends.us, ends.them), (ends.us, ends.below)):
        path.policy(OPEN)
        for segment in kinds:
            assert path.ingress(eth(ip(high, low, segment))).reason == "rule_allow"
        assert path.ingress(eth(ip(high, low, b"x" * 8, proto=89))).reason == "rule_allow"
        lines = saved(pins)
        before = {key.pack() for _, key, _ in path.flows()}
        path.reset_flows()
        assert restore(pins, lines).restored == 3
        assert {key.pack() for _, key, _ in path.flows()} == before
        for segment in kinds:
            assert path.ingress(eth(ip(high, low, segment))).reason == "flow"
        assert path.ingress(eth(ip(high, low, b"x" * 8, proto=89))).reason == "flow"
        path.reset_flows()


def test_what_the_rules_forbid_ends_at_its_next_packet(path: PacketPath, pins: PathPins) -> None:
    talk = Connection(path, V4)
    talk.establish()
    lines = saved(pins)
    path.reset_flows()
    path.policy("default in drop\ndefault out drop\n")
    assert restore(pins, lines).restored == 1
    assert talk.r("PA", 901, 101, b"x").reason == "revoked"
    assert talk.o("PA", 101, 901, b"x").reason == "revoked"


def test_what_is_there_stays_as_it_is(path: PacketPath, pins: PathPins) -> None:
    talk = Connection(path, V4)
    talk.establish()
    embryo = Talk(path, V4)
    embryo.opener(udp(4000, 22))
    lines = saved(pins)
    talk.r("PA", 901, 101, b"x" * 100)
    embryo.opener(udp(4000, 22))
    before = sorted((name, key.pack(), flow.pack()) for name, key, flow in path.flows())
    assert restore(pins, lines) == Restored(0, 2, 0, 0, 0)
    assert sorted((name, key.pack(), flow.pack()) for name, key, flow in path.flows()) == before


def test_a_flow_in_the_other_table_is_there_too(path: PacketPath, pins: PathPins) -> None:
    """One that was confirmed when it was saved and has begun anew, and the other way round."""
    talk = Talk(path, V4)
    for _ in range(2):
        talk.opener(udp(4000, 22))
        talk.responder(udp(22, 4000))
    confirmed = saved(pins)
    path.reset_flows()
    talk.opener(udp(4000, 22))
    begun = saved(pins)
    assert restore(pins, confirmed) == Restored(0, 1, 0, 0, 0)
    assert [name for name, _, _ in path.flows()] == ["embryonic"]
    path.reset_flows()
    assert restore(pins, confirmed).restored == 1
    assert restore(pins, begun) == Restored(0, 1, 0, 0, 0)
    assert [name for name, _, _ in path.flows()] == ["flows"]


def test_no_place_is_said(path: PacketPath, pins: PathPins) -> None:
    from tests.packet.places import add, confirmed_flow

    talk = Connection(path, V4)
    talk.establish()
    lines = saved(pins)
    path.reset_flows()
    assert add(path, [confirmed_flow(f"10.9.{i >> 8}.{i & 255}", 9) for i in range(FLOWS_MAX)]) == FLOWS_MAX
    assert restore(pins, lines) == Restored(0, 0, 1, 0, 0)
    assert books(path) == FLOWS_MAX


def test_a_half_open_connection_can_complete(path: PacketPath, pins: PathPins) -> None:
    talk = Connection(path, V4)
    talk.o("S", 100)
    lines = saved(pins)
    path.reset_flows()
    assert restore(pins, lines).restored == 1
    assert talk.r("SA", 900, 101).passed
    assert talk.o("A", 101, 901).passed
    assert talk.r("PA", 901, 101, b"x").passed
    assert talk.o("A", 101, 902).passed
    assert talk.table == "flows"


def test_interfaces_must_not_change_between_reading_and_restoring(path: PacketPath, pins: PathPins) -> None:
    Talk(path, V4).opener(udp(4000, 22))
    flows = flowrestore.read(pins, saved(pins), "file")
    path.interface("lan", zone=5)
    with pytest.raises(Exception, match="the interfaces changed meanwhile"):
        flowrestore.restore(pins, flows)
