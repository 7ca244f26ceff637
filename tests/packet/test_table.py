# SPDX-License-Identifier: MIT
"""The flow table under pressure and under attack: what displaces what, and what a forger cannot do."""

import struct

import pytest

from tests.packet.ends import FAMILIES, V4, Connection, Ends, Talk
from tests.packet.path import PacketPath
from tests.packets import eth, ip, tcp, udp

OPEN = "default in drop\ndefault out allow\nallow in tcp, udp to port 22\nallow in icmp, icmp6\n"


def establish_many(path: PacketPath, count: int) -> list[Connection]:
    talks = []
    for i in range(count):
        talk = Connection(path, V4._replace(them=f"198.51.100.{i + 1}"))
        talk.o("S", 100)
        talk.r("SA", 900, 101)
        talk.o("A", 101, 901)
        talks.append(talk)
    return talks


def flood(path: PacketPath, count: int, segment: bytes) -> None:
    """From so many forged sources, none of which answers."""
    for i in range(count):
        path.ingress(eth(ip(f"172.20.{i >> 8}.{i & 255}", V4.us, segment)))


def test_syn_flood_displaces_no_confirmed_flow(path: PacketPath) -> None:
    path.policy(OPEN)
    talks = establish_many(path, 50)
    flood(path, 2 * path.maps["embryonic"].max_entries, tcp(4000, 22))
    assert len(list(path.maps["embryonic"].keys())) <= path.maps["embryonic"].max_entries
    for talk in talks:
        assert talk.o("PA", 101, 901, b"x").reason == "flow"
        assert talk.r("PA", 901, 102, b"x").reason == "flow"


def test_flood_that_is_refused_or_answered_confirms_nothing(path: PacketPath) -> None:
    """A closed port answers each SYN, an echo each request: still no flow of theirs has shown to be wanted."""
    path.policy(OPEN)
    for i in range(200):
        ends = V4._replace(them=f"172.20.0.{i + 1}")
        port = Connection(path, ends)
        port.o("S", 100)
        port.r("RA", 0, 101)
        echo = Talk(path, ends)
        echo.opener(ends.echo())
        echo.responder(ends.echo("reply"))
        query = Talk(path, ends)
        query.opener(udp(4000, 22))
        query.responder(udp(22, 4000))
    assert list(path.maps["flows"].keys()) == []


@FAMILIES
def test_forged_packet_of_ours_from_outside(path: PacketPath, ends: Ends) -> None:
    """It has our address, and comes in where only others send: it is no answer of ours."""
    path.policy(OPEN)
    talk = Connection(path, ends)
    talk.establish()
    before = path.the_flow()
    for flags in ("PA", "R", "FA"):
        forged = eth(ip(ends.us, ends.them, tcp(22, 4000, flags, seq=901, ack=101)))
        assert not path.ingress(forged).passed
    assert path.the_flow() == before


@FAMILIES
def test_forged_packet_of_theirs_from_inside(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\nallow in tcp to port 22 on wan\n")
    talk = Connection(path, ends)
    talk.establish()
    before = path.the_flow()
    for flags in ("PA", "R", "FA"):
        forged = ends.arriving(tcp(4000, 22, flags, seq=101, ack=901))
        assert path.ingress(forged, on="lan").reason == "default_drop"
    assert path.the_flow() == before


@FAMILIES
@pytest.mark.parametrize("table", ["flows", "embryonic"])
def test_entry_that_is_another_flows_is_not_believed(path: PacketPath, ends: Ends, table: str) -> None:
    """A node that was used again under our feet: its tag is not that of the key it was found by."""
    path.policy(OPEN)
    talk = Connection(path, ends)
    if table == "flows":
        talk.establish()
    else:
        talk.o("S", 100)
    found, key, flow = path.the_flow()
    assert found == table
    assert flow.tag == _xor(key.pack())
    flow.tag ^= 1
    path.maps[table].update(key.pack(), flow.pack())
    assert talk.o("PA", 101, 901).reason == "no_flow"


@FAMILIES
def test_confirmed_entry_is_looked_up_first(path: PacketPath, ends: Ends) -> None:
    """While a flow is promoted it is in both tables."""
    path.policy(OPEN)
    talk = Connection(path, ends)
    talk.establish()
    _, key, flow = path.the_flow()
    path.maps["embryonic"].update(key.pack(), flow.pack())
    assert talk.o("PA", 101, 901, b"hello").reason == "flow"
    packets = {name: entry.side[0].packets for name, _, entry in path.flows()}
    assert packets == {"flows": 3, "embryonic": 2}


@FAMILIES
def test_each_opening_has_an_incarnation(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    seen = set()
    for _ in range(5):
        path.ingress(ends.arriving(udp(4000, 22)))
        table, key, flow = path.the_flow()
        seen.add(flow.incarnation)
        path.maps[table].delete(key.pack())
    assert len(seen) == 5


def _xor(key: bytes) -> int:
    tag = 0
    for word in struct.unpack(f"={len(key) // 4}I", key):
        tag ^= word
    return tag
