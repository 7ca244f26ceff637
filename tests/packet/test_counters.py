# SPDX-License-Identifier: MIT
"""The counters of rules while policies grow and shrink, and when each of them last counted."""

from __future__ import annotations

import sys
import time

import pytest

from firewall import abi
from firewall.clock import hz
from firewall.counters import ages
from firewall.document import Document
from tests.packet.ends import V4
from tests.packet.path import PacketPath
from tests.packets import tcp, udp

PAGE = int(abi.Limits.COUNTERS_PAGE)
FEW = "default in drop\nallow in udp to port 53\nallow in udp to port 54\n"
MANY = FEW + "".join(f"drop in tcp to port {port}\n" for port in range(1, 2 * PAGE + 1))


def used(document: Document) -> list[int]:
    return [rule.counter for rule in document.rules]


def pages(path: PacketPath) -> list[int]:
    """Which there are."""
    outer = path.maps["rule_counters"]
    return [n for n in range(outer.max_entries) if outer.lookup(n.to_bytes(4, sys.byteorder)) is not None]


def test_a_counter_keeps_its_numbers_when_the_policy_grows_and_shrinks(path: PacketPath) -> None:
    """And a flow goes on counting for its rule, from which it learns nothing of the change."""
    kept, other = path.policy(FEW).rules
    path.rule_counters().keep(path.policy(FEW).counters)
    assert pages(path) == [0]
    talk = V4.arriving(udp(4000, 53))
    path.flood(talk, 10)
    assert path.rule_counter(kept.counter).packets == 10
    grown = path.policy(MANY)
    assert (grown.rules[0].id, grown.rules[0].counter) == (kept.id, kept.counter)
    assert len(set(used(grown))) == 2 * PAGE + 2 and pages(path) == [0, 1, 2]
    path.flood(talk, 5)
    assert path.rule_counter(kept.counter).packets == 15
    assert path.rule_counter(kept.counter).bytes == 15 * len(talk)
    shrunk = path.policy(FEW)
    path.rule_counters().keep(shrunk.counters)
    assert pages(path) == [0] and used(shrunk) == [kept.counter, other.counter]
    path.flood(talk, 1)
    assert [path.rule_counter(number).packets for number in used(shrunk)] == [16, 0]


def test_every_counter_is_one_of_its_own(path: PacketPath) -> None:
    """The first and the last of each page, and of what is read all at once."""
    document = path.policy(MANY)
    numbers = used(document)
    before = path.rule_counters().read(numbers)
    ports = {numbers.index(page + at) - 1 for page in (0, PAGE) for at in (PAGE - 1, PAGE)} | {1, 2 * PAGE}
    for port in ports:
        for _ in range(port % 5 + 1):
            path.ingress(V4.arriving(tcp(4000, port, "S")))
    after = path.rule_counters().read(numbers)
    grew = {i - 1: b.packets - a.packets for i, (a, b) in enumerate(zip(before, after, strict=True))}
    assert {port: more for port, more in grew.items() if more} == {port: port % 5 + 1 for port in ports}


def test_what_a_new_rule_finds_is_zero(path: PacketPath) -> None:
    """Its counter was another's, of which a page is left."""
    (first,) = path.policy("default in drop\nallow in udp to port 53\n").rules
    path.flood(V4.arriving(udp(4000, 53)), 3)
    path.policy("default in drop\n")
    (second,) = path.policy("default in drop\nallow in udp to port 54\n").rules
    assert second.counter == first.counter and second.id != first.id
    assert path.rule_counter(second.counter) == (0, 0, 0)


def test_a_counter_without_a_page_reads_zero_and_stops_nothing(path: PacketPath) -> None:
    """As for what is left of a rule that has gone."""
    document = path.policy(MANY)
    path.rule_counters().keep(frozenset())
    assert pages(path) == [0]
    assert path.rule_counter(document.rules[-1].counter) == (0, 0, 0)
    assert path.ingress(V4.arriving(tcp(4000, 2 * PAGE, "S"))).reason == "rule_drop"
    assert path.rule_counters().read([]) == []


@pytest.mark.parametrize("text", ["allow in udp to port 53", "drop in udp to port 53"])
def test_last_hit(path: PacketPath, text: str) -> None:
    hit, unhit = path.policy(f"default in drop\n{text}\nallow in udp to port 99\n").rules
    began = time.monotonic()
    path.ingress(V4.arriving(udp(4000, 53)))
    first = path.rule_counter(hit.counter)
    ago = ages()(first)
    assert ago is not None and 0 <= ago <= time.monotonic() - began + 1, "the clocks agree to some ticks"
    assert path.rule_counter(unhit.counter).last_j == 0 and ages()(path.rule_counter(unhit.counter)) is None
    _next_jiffy()
    path.ingress(V4.arriving(udp(4000, 53)))
    again = path.rule_counter(hit.counter)
    assert again.last_j > first.last_j, "each packet is a hit"
    later = path.policy(f"default in drop\nallow in udp to port 7\n{text}\n").rules[1]
    assert path.rule_counter(later.counter) == again, "kept with the rule"


def _next_jiffy() -> None:
    """Busy, until the coarse clock has moved on by two."""
    began = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    while time.clock_gettime_ns(time.CLOCK_MONOTONIC) - began < 2_000_000_000 // hz():
        pass
