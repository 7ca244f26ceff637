# SPDX-License-Identifier: MIT
"""The journal in the order in which it was written, whatever its place in the ring. Following is in tests/lab."""

from __future__ import annotations

import struct
import time
from ipaddress import ip_address
from typing import Any

import pytest

from firewall import abi
from firewall.events import Event, Journal
from tests.fakepins import FakeMap, FakePins

SIZE = int(abi.Limits.JOURNAL_SIZE)
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


def record(number: int, **fields: Any) -> tuple[bytes, bytes]:
    """A record and its place in the journal."""
    for end in ("src", "dst"):
        if isinstance(fields.get(end), str):
            fields[end] = ip_address(fields[end]).packed.rjust(16, b"\0")
    event = abi.Event(**{"number": number, "number_end": number, "reason": abi.Reason.DEFAULT_DROP, **fields})
    return place(number - 1), event.pack()


def place(index: int) -> bytes:
    return struct.pack("=I", index % SIZE)


def journal(newest: int, *records: tuple[bytes, bytes], passes: int = 0) -> Journal:
    """With so many passes, of which the records are behind those of the drops."""
    head = struct.pack("=II3Q", 0, 0, newest, newest - passes, passes)
    maps = {"journal": FakeMap(dict(records), 2 * SIZE), "journal_head": FakeMap({bytes(4): head})}
    return Journal(FakePins(maps))


def only(**fields: Any) -> Event:
    (event,) = journal(1, record(1, **fields)).read()
    return event


def numbers(events: list[Event]) -> list[int]:
    return [event.number for event in events]


def test_nothing_yet() -> None:
    assert journal(0).read() == []


@pytest.mark.parametrize("newest", [3, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 17])
def test_oldest_first_and_no_more_than_are_kept(newest: int) -> None:
    oldest = max(1, newest - SIZE + 1)
    kept = journal(newest, *(record(number) for number in range(oldest, newest + 1)))
    assert numbers(kept.read()) == list(range(oldest, newest + 1))
    assert numbers(kept.read(after=newest - 2)) == [newest - 1, newest]
    assert kept.read(after=newest) == []
    assert numbers(kept.read(last=2)) == [newest - 1, newest]
    assert numbers(kept.read(last=100)) == list(range(max(oldest, newest - 99), newest + 1))
    assert kept.read(last=0) == []


@pytest.mark.parametrize("last", [None, 100, 7])
def test_drops_and_passes_are_kept_apart_and_told_together(last: int | None) -> None:
    """Of 10,000 events the first ten and the last two were drops."""
    newest, drops = 10_000, [*range(1, 11), 9_999, 10_000]
    passes = range(11, 9_999)
    records = [(place(i), record(number)[1]) for i, number in enumerate(drops)]
    for i, number in list(enumerate(passes))[-SIZE:]:
        records.append((struct.pack("=I", i % SIZE + SIZE), record(number)[1]))
    told = sorted([*drops, *passes[-SIZE:]])
    kept = journal(newest, *records, passes=len(passes))
    assert numbers(kept.read(last=last)) == (told if last is None else told[-last:])
    assert numbers(kept.read(after=9_997)) == [9_998, 9_999, 10_000]


def test_a_record_that_is_being_written_is_left_out() -> None:
    torn = record(2, number_end=0)
    assert numbers(journal(3, record(1), torn, record(3)).read()) == [1, 3]


def test_what_comes_while_reading_waits_for_the_next_time() -> None:
    """Between reading the head and the record a newer one took its place; others before it may not have been seen."""
    assert journal(1, record(SIZE + 1)).read() == []


def test_tcp() -> None:
    event = only(
        family=4, proto=TCP, src="192.0.2.1", dst="198.51.100.7", sport=40000, dport=22, tcp_flags=0x12, rule=7,
        in_ifindex=3, out_ifindex=0, scope=abi.Scope.SCOPE_IN, packets=2, bytes=120, eth_proto=0x0800,
    )  # fmt: skip
    assert (event.src, event.sport, event.dst, event.dport) == ("192.0.2.1", 40000, "198.51.100.7", 22)
    assert (event.reason, event.tcp_flags, event.rule, event.scope) == ("default_drop", "SA", 7, "in")
    assert (event.in_ifindex, event.out_ifindex, event.packets, event.bytes) == (3, 0, 2, 120)
    assert not event.observed and not event.logged and event.icmp_type is None


def test_icmp_has_a_type_and_no_ports() -> None:
    event = only(family=6, proto=ICMP6, src="2001:db8::1", dst="2001:db8::2", dport=128 << 8, tcp_flags=0xFF)
    assert (event.src, event.sport, event.dport, event.icmp_type) == ("2001:db8::1", None, None, 128 << 8)
    assert event.tcp_flags == ""


def test_a_protocol_number_of_the_other_family_is_not_icmp() -> None:
    assert only(family=4, proto=ICMP6, src="192.0.2.1", dst="192.0.2.2", dport=5).icmp_type is None


def test_no_addresses() -> None:
    event = only(family=0, eth_proto=0x88CC, reason=abi.Reason.NOT_IP)
    assert (event.src, event.dst, event.reason, event.eth_proto) == ("", "", "not_ip", 0x88CC)


def test_flags() -> None:
    event = only(flags=abi.EventFlags.EVENT_OBSERVED | abi.EventFlags.EVENT_LOG)
    assert event.observed and event.logged


def test_a_reason_of_a_later_version() -> None:
    assert only(reason=200).reason == "reason 200"


def test_times_are_of_the_calendar() -> None:
    event = only(time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 5_000_000_000)
    assert 4 < time.time() - event.time_s < 60
