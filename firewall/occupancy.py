# SPDX-License-Identifier: MIT
"""How full the flow tables are, and what became of entries: true figures, since the packet path keeps them with
each change (bpf_src/slots.h). Of a table that changes meanwhile they are as exact as the time that it takes to read.
"""

import heapq
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from firewall import abi
from firewall.pins import Pins, offset_of

BUSIEST = 5  # sources that are told by name
_RULE_AT = offset_of(abi.SourceKey, "rule")  # the last of its fields


class Occupancy(NamedTuple):
    """`used` of `max` places of confirmed flows are taken, also by flows whose time is up and that nobody has
    collected.

    `displaced`: embryonic flows that others took the place of; `evicted`: confirmed ones, by `option flows.full
    evict`; `collected`: confirmed ones whose time was up; `lost`: confirmed ones that went without a reason: none.
    `timeout_percent` is what is left of timeouts. `busiest` are sources with the flows that they have opened, most
    first; those of IPv6 are networks of 64 bits.
    """

    used: int
    max: int
    embryonic_max: int
    displaced: int
    evicted: int
    collected: int
    lost: int
    timeout_percent: int
    per_source: int
    busiest: tuple[tuple[str, int], ...]


class Use(NamedTuple):
    """The first figures of an `Occupancy`, which take no time."""

    used: int
    max: int
    timeout_percent: int


def use(pins: Pins, generation: int) -> Use:
    """How many places of confirmed flows are taken."""
    table = abi.Table.unpack(pins.map("table").lookup(_key(0)) or b"")
    slot = generation % abi.Limits.GENERATION_SLOTS
    settings = abi.Settings.unpack(pins.map("settings").lookup(_key(slot)) or b"")
    return Use(table.used, table.size, timeout_percent(table.used, settings))


def occupancy(pins: Pins, generation: int, embryonic_entries: int) -> Occupancy:
    """What the tables of confirmed and embryonic flows hold; of the latter it has been counted how many entries."""
    slot = generation % abi.Limits.GENERATION_SLOTS
    settings = abi.Settings.unpack(pins.map("settings").lookup(_key(slot)) or b"")
    totals = [abi.Totals.unpack(cpu) for cpu in pins.map("totals").lookup_percpu(_key(0))]
    made, gone = (sum(getattr(cpu, f"embryonic_{what}") for cpu in totals) for what in ("made", "gone"))
    return Occupancy(
        **use(pins, generation)._asdict(),
        embryonic_max=pins.map("embryonic").max_entries,
        displaced=max(0, made - gone - embryonic_entries),
        evicted=sum(cpu.evicted for cpu in totals),
        collected=sum(cpu.collected for cpu in totals),
        lost=sum(cpu.lost for cpu in totals),
        per_source=settings.per_source,
        busiest=_busiest(pins),
    )


def timeout_percent(used: int, settings: abi.Settings) -> int:
    """timeout_share() of bpf_src/slots.h."""
    start, end = settings.adaptive_start, settings.adaptive_end
    if used <= start:
        return 100
    return max(0, (end - used) * 100 // (end - start))


def _busiest(pins: Pins) -> tuple[tuple[str, int], ...]:
    """Of what `option flows.per-source` counts, not of the ceilings of rules."""
    found = (
        (abi.Source.unpack(value).flows, key)
        for key, value in pins.map("sources").items()
        if not any(key[_RULE_AT:])
    )
    return tuple((_source_text(key), flows) for flows, key in heapq.nlargest(BUSIEST, found))


def _source_text(raw: bytes) -> str:
    address = abi.SourceKey.unpack(raw).address
    return f"{IPv6Address(address)}/64" if any(address[:8]) else str(IPv4Address(address[12:]))


def _key(index: int) -> bytes:
    return index.to_bytes(4, sys.byteorder)
