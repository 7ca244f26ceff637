# SPDX-License-Identifier: MIT
"""What is told of drops: the journal of the last 4,096, which needs no reader, and the ring buffer for followers."""

import ipaddress
import time
from collections.abc import Iterator

import pytest

from firewall import abi, clock
from firewall.bpfmap import RingBuffer
from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath, let_time_pass
from tests.packets import SCTP, TCP, UDP, arp, eth, gre, ip, sctp, tcp, udp, vlan

SIZE = abi.Limits.JOURNAL_SIZE
CLOSED = "default in drop\ndefault out drop\ndefault forward drop\n"
NOBODY = bytes(16)


class Follower:
    """Reads the ring buffer; what was in it before is gone."""

    def __init__(self, path: PacketPath) -> None:
        self._records: list[bytes] = []
        self._ring = RingBuffer(path.maps["events"], self._records.append)
        self.read()

    def read(self) -> list[abi.Event]:
        """What has come since the last time."""
        self._ring.consume()
        events = [abi.Event.unpack(record) for record in self._records]
        self._records.clear()
        return events

    def close(self) -> None:
        self._ring.close()


@pytest.fixture
def follower(path: PacketPath) -> Iterator[Follower]:
    reader = Follower(path)
    yield reader
    reader.close()


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed.rjust(16, b"\0")


def drop_many(path: PacketPath, count: int) -> None:
    """So many drops, told apart by their source port, from 0 on."""
    for port in range(count):
        path.ingress(V4.arriving(udp(port, 53)))


@pytest.mark.parametrize("count", [1, 5, 100])
def test_all_of_a_few_are_kept_in_order(path: PacketPath, count: int) -> None:
    path.policy(CLOSED)
    drop_many(path, count)
    events = path.events()
    assert [event.sport for event in events] == list(range(count))
    assert (
        [event.number for event in events]
        == [event.number_end for event in events]
        == list(range(1, count + 1))
    )


def test_the_last_of_very_many_are_kept(path: PacketPath) -> None:
    path.policy(CLOSED)
    path.flood(V4.arriving(udp(60000, 53)), SIZE)
    drop_many(path, 150)
    events = path.events()
    assert [event.number for event in events] == list(range(151, SIZE + 151))
    assert [event.sport for event in events] == [60000] * (SIZE - 150) + list(range(150))
    assert all(event.number == event.number_end for event in events)
    times = [event.time_ns for event in events]
    assert times == sorted(times)


def test_what_a_rule_logs_displaces_no_drop(path: PacketPath) -> None:
    path.policy(CLOSED + "allow in udp to port 5000 log\n")
    drop_many(path, 20)
    path.flood(eth(ip(V4.them, V4.us, b"", proto=253)), 1)
    for port in range(SIZE + 10):
        path.ingress(V4.arriving(udp(port, 5000)))
    drop_many(path, 1)
    events = path.events()
    drops = [event for event in events if event.flags & abi.EventFlags.EVENT_DROP]
    assert [event.number for event in drops] == [*range(1, 22), SIZE + 32]
    passes = [event for event in events if event not in drops]
    assert [event.sport for event in passes] == list(range(10, SIZE + 10))
    assert path.last_event() == drops[-1]


def test_what_passes_is_not_told(path: PacketPath) -> None:
    path.policy("default in allow\n")
    for _ in range(3):
        path.ingress(V4.arriving(udp(4000, 53)))
    assert path.events() == []


def test_time_is_boot_time(path: PacketPath) -> None:
    path.policy(CLOSED)
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    drop_many(path, 1)
    assert before <= path.events()[0].time_ns <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@FAMILIES
@pytest.mark.parametrize(
    ("segment", "proto", "ports"),
    [
        (tcp(4000, 22, "S"), TCP, (4000, 22)),
        (udp(4000, 53), UDP, (4000, 53)),
        (sctp(4000, 36412), SCTP, (4000, 36412)),
        (gre(bytes(20), ethertype=0x0800), 47, (0, 0)),
    ],
    ids=["tcp", "udp", "sctp", "gre"],
)
def test_fields(path: PacketPath, ends: Ends, segment: bytes, proto: int, ports: tuple[int, int]) -> None:
    path.policy(CLOSED)
    frame = ends.arriving(segment)
    path.ingress(frame)
    (event,) = path.events()
    assert (event.src, event.dst) == (packed(ends.them), packed(ends.us))
    assert (event.proto, event.sport, event.dport) == (proto, *ports)
    assert event.family == (6 if ends.is_v6 else 4)
    assert event.eth_proto == (0x86DD if ends.is_v6 else 0x0800)
    assert (event.in_ifindex, event.out_ifindex) == (path.ifindex["wan"], 0)
    assert (event.hook, event.scope) == (abi.Hook.HOOK_INGRESS, abi.Scope.SCOPE_IN)
    assert (event.packets, event.bytes) == (1, len(frame))
    assert (event.rule, event.generation) == (0, path.generation)
    assert (event.reason, event.flags) == (abi.Reason.DEFAULT_DROP, abi.EventFlags.EVENT_DROP)
    assert event.tcp_flags == (0x02 if proto == TCP else 0)


@FAMILIES
def test_icmp_has_its_type_and_code_for_a_port(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED)
    path.ingress(ends.arriving(ends.echo(ident=0x1234)))
    (event,) = path.events()
    assert (event.proto, event.sport, event.dport) == (ends.icmp_proto, 0, (128 if ends.is_v6 else 8) << 8)


@FAMILIES
def test_forwarded_and_sent(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED)
    wan, lan = path.ifindex["wan"], path.ifindex["lan"]
    path.ingress(eth(ip(ends.inside, ends.them, udp(1, 2))), on="lan")
    path.egress(eth(ip(ends.inside, ends.them, udp(1, 2))), came_by="lan", tc_index=0)
    path.egress(ends.leaving(udp(1, 2)))
    ways = [(event.hook, event.scope, event.in_ifindex, event.out_ifindex) for event in path.events()]
    ingress, egress = abi.Hook.HOOK_INGRESS, abi.Hook.HOOK_EGRESS
    assert ways == [
        (ingress, abi.Scope.SCOPE_FORWARD, lan, wan),
        (egress, abi.Scope.SCOPE_FORWARD, lan, wan),
        (egress, abi.Scope.SCOPE_OUT, 0, wan),
    ]


def test_rule_that_dropped(path: PacketPath) -> None:
    document = path.policy("default in drop\nallow in tcp to port 1\ndrop in udp to port 53\n")
    path.ingress(V4.arriving(udp(4000, 53)))
    assert path.events()[0].rule == document.rules[1].id


def test_flags_of_a_segment(path: PacketPath) -> None:
    path.policy(CLOSED)
    path.ingress(V4.arriving(tcp(4000, 22, "SEC")))
    path.ingress(V4.arriving(tcp(4000, 22, "PA")))
    assert [event.tcp_flags for event in path.events()] == [0xC2, 0x18]


def test_frames_that_are_not_ip_have_no_addresses(path: PacketPath) -> None:
    """Nothing of the packet before shines through."""
    path.policy(CLOSED + "option builtin.arp off\n")
    path.ingress(V6.arriving(tcp(4000, 22)))
    path.ingress(eth(arp(1, ("02:00:00:00:00:01", V4.them), ("00:00:00:00:00:00", V4.us))))
    event = path.events()[-1]
    assert (event.family, event.src, event.dst, event.proto) == (0, NOBODY, NOBODY, 0)
    assert (event.sport, event.dport, event.tcp_flags) == (0, 0, 0)
    assert (event.eth_proto, event.reason) == (0x0806, abi.Reason.NOT_IP)


@pytest.mark.parametrize("kept", [0, 10, 19])
def test_packets_that_end_early_have_what_was_read(path: PacketPath, kept: int) -> None:
    path.policy(CLOSED)
    path.ingress(V6.arriving(tcp(4000, 22)))
    path.ingress(eth(vlan(10, ip(V4.them, V4.us, tcp(4000, 22))))[: 18 + kept])
    event = path.events()[-1]
    assert (event.reason, event.family, event.src) == (abi.Reason.TRUNCATED, 0, NOBODY)
    assert (event.eth_proto, event.sport, event.tcp_flags) == (0x0800, 0, 0)


@FAMILIES
def test_lie_about_the_transport_has_the_addresses(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED)
    path.ingress(ends.arriving(tcp(4000, 22, "S")))
    path.ingress(ends.arriving(udp(4001, 53, length=4)))
    event = path.events()[-1]
    assert (event.src, event.proto) == (packed(ends.them), UDP)
    assert (event.reason, event.tcp_flags) == (abi.Reason.BAD_HEADER_LENGTH, 0)


def test_observed_drops_are_marked(path: PacketPath) -> None:
    path.policy(CLOSED)
    path.control(mode=abi.Mode.MODE_OBSERVE)
    path.ingress(V4.arriving(tcp(4000, 22)))
    (event,) = path.events()
    assert event.flags == abi.EventFlags.EVENT_DROP | abi.EventFlags.EVENT_OBSERVED


def test_followers_get_the_same_records(path: PacketPath, follower: Follower) -> None:
    path.policy(CLOSED)
    let_time_pass(0.2)
    drop_many(path, 20)
    path.ingress(V6.arriving(tcp(4000, 22)))
    assert follower.read() == path.events()


def test_follower_that_does_not_read_holds_nothing_up(path: PacketPath, follower: Follower) -> None:
    """The ring is full, and the journal goes on."""
    path.policy(CLOSED + "option log.rate 1000000\n")
    room = abi.Limits.EVENT_BYTES // abi.Event.SIZE
    path.flood(V4.arriving(udp(4000, 53)), room + 100)
    assert path.events()[-1].number == room + 100
    got = follower.read()
    assert room * 0.8 < len(got) <= room
    assert [event.number for event in got] == list(range(1, len(got) + 1))
    drop_many(path, 1)
    assert [event.number for event in follower.read()] == [room + 101]


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize("rate", [0, 3])
def test_followers_are_told_of_few_a_second(path: PacketPath, follower: Follower, rate: int) -> None:
    """A second's worth at once, and then as many a second; the numbers show what was left out."""
    path.policy(CLOSED + f"option log.rate {rate}\n")
    let_time_pass(1)
    start_j = clock.now_j()
    drop_many(path, 50)
    elapsed_s = (clock.now_j() - start_j + 2) / clock.hz()
    told = follower.read()
    assert rate <= len(told) <= rate + rate * elapsed_s
    assert [event.number for event in told[:rate]] == list(range(1, rate + 1))
    assert len(path.events()) == 50, "the journal is not limited"


def test_logged_passes_are_told_too(path: PacketPath, follower: Follower) -> None:
    path.policy("default in drop\nallow in udp to port 53 log\n")
    let_time_pass(0.1)
    path.ingress(V4.arriving(udp(4000, 53)))
    (event,) = follower.read()
    assert (event.flags, event.reason) == (abi.EventFlags.EVENT_LOG, abi.Reason.RULE_ALLOW)
