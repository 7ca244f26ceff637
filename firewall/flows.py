# SPDX-License-Identifier: MIT
"""The flow tables as the packet path sees them: what each flow is, whether it still counts, and taking
flows away.

A flow past its state's timeout is absent to the packet path, though its entry stays until the kernel reuses
it; so it is left out here too. State and timeout (`flowstate`) are computed as in bpf_src/flow.h, and a test
compares the two.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from socket import inet_ntoa
from typing import NamedTuple

from firewall import abi
from firewall.bpfmap import Map
from firewall.clock import hz, now_j
from firewall.fields import picker
from firewall.flowstate import IDLE_TIMEOUTS, STATES, Side, is_icmp, state_of, timeout_of
from firewall.pins import Pins, offset_of
from firewall.progress import counted
from firewall.ranges import Range
from firewall.requests import requests_of
from firewall.services import AH, ESP, GRE

_KEY = picker(abi.FlowKey, "lo", "hi", "lo_port", "hi_port", "proto", "family")
_SIDE = ("seen_j", "packets", "bytes", "seq_end", "ack", "in_ifindex", "out_ifindex", "state", "flags")
_FLOW = picker(
    abi.Flow,
    *("generation", "rule", "scope", "flags", "icmp", "created_j"),
    *(f"effects.0.{field}" for field in ("mark", "mark_mask", "idle_j")),
    *(f"side.{role}.{field}" for role in (0, 1) for field in _SIDE),
)
_SEEN = picker(abi.Flow, "effects.0.idle_j", "side.0.seen_j", "side.1.seen_j")
_OPENER, _RESPONDER = slice(9, 9 + len(_SIDE)), slice(9 + len(_SIDE), 9 + 2 * len(_SIDE))
_OPENER_HI = int(abi.FlowFlags.FLOW_OPENER_HI)
_SCOPES = ("in", "out", "forward")


class Flow(NamedTuple):
    """One flow; `src` and `sport` are its opener's.

    Addresses are numbers of `family` (4 or 6). ICMP has no ports: `icmp_id` and `icmp_type` (the query's
    type and code, as type << 8 | code) are None for all else, as the ports are for what has none. `gre_key` is
    None without one; `spi` and `reply_spi` are those that either side of ESP or AH used last. `rule` is 0 for a
    default. `mark` and `mark_mask` are what its rule sets in its packets' marks, no bits where the mask is 0;
    `idle_s` is its rule's `idle`, 0 if it has none.
    """

    key: bytes
    confirmed: bool
    proto: int
    family: int
    src: int
    sport: int | None
    dst: int
    dport: int | None
    icmp_id: int | None
    icmp_type: int | None
    gre_key: int | None
    spi: int | None
    reply_spi: int | None
    state: str
    scope: str
    rule: int
    generation: int
    age_s: int
    expires_s: int
    mark: int
    mark_mask: int
    idle_s: int
    opener: Side
    responder: Side


class Filter(NamedTuple):
    """What a flow must be like; None asks nothing. An address or port may be of either end."""

    proto: int | None = None
    addresses: Mapping[int, Sequence[Range]] | None = None  # by family
    port: int | None = None
    state: str | None = None
    rule: int | None = None
    ifindexes: frozenset[int] | None = None

    def may_match(self, key: bytes) -> bool:
        """False if no flow of this key is like that."""
        if self.proto is None and self.port is None and self.addresses is None:
            return True
        lo, hi, lo_port, hi_port, proto, family = _KEY.unpack(key)
        if self.proto is not None and proto != self.proto:
            return False
        if self.port is not None and self.port.to_bytes(2) not in (lo_port, hi_port):
            return False
        return self.addresses is None or self._has_end(family, int.from_bytes(lo), int.from_bytes(hi))

    def matches(self, flow: Flow) -> bool:
        """Whether the flow is like that."""
        if self.proto is not None and flow.proto != self.proto:
            return False
        if self.state is not None and flow.state != self.state:
            return False
        if self.rule is not None and flow.rule != self.rule:
            return False
        if self.port is not None and self.port not in (flow.sport, flow.dport):
            return False
        if self.ifindexes is not None and self.ifindexes.isdisjoint(_interfaces(flow)):
            return False
        return self.addresses is None or self._has_end(flow.family, flow.src, flow.dst)

    def _has_end(self, family: int, *ends: int) -> bool:
        ranges = self.addresses[family] if self.addresses else ()
        return any(low <= end <= high for end in ends for low, high in ranges)


EVERY = Filter()
Entry = tuple[bytes, bytes, bool]
"""Key and value of a flow as the tables hold them, and whether it is confirmed."""


class Counts(NamedTuple):
    """How many flows are live; of embryonic ones also how many have an entry."""

    confirmed: int
    embryonic: int
    embryonic_entries: int


class Table:
    """The flow tables of what is loaded. What is live is decided by the time of its making."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._maps = (pins.map("flows"), pins.map("embryonic"))
        self._timeouts_j = _timeouts(pins)
        self._surely_live_j, self._surely_dead_j = min(self._timeouts_j), max(self._timeouts_j)
        self._hz = hz()
        self._now_j = now_j(self._hz)

    def chosen(self, wanted: Filter = EVERY) -> Iterator[Flow]:
        """The live flows that are like that, confirmed ones first."""
        for key, value, confirmed in counted("reading flows", self.entries()):
            if wanted.may_match(key):
                found = self.flow(key, value, confirmed)
                if wanted.matches(found):
                    yield found

    def entries(self) -> Iterator[Entry]:
        """The live flows as the tables hold them, confirmed ones first."""
        # A flow that is promoted meanwhile is in both.
        embryonic = dict(self._maps[1].items())
        for key, value in self._maps[0].items():
            embryonic.pop(key, None)
            if self.is_live(key, value):
                yield key, value, True
        for key, value in embryonic.items():
            if self.is_live(key, value):
                yield key, value, False

    def counts(self) -> Counts:
        """How many there are."""
        confirmed, embryonic = (self._count(table) for table in self._maps)
        return Counts(confirmed[0], *embryonic)

    def delete(self, keys: Iterable[bytes]) -> int:
        """Takes flows away; how many were still there. Their next packet is that of a stranger."""
        with requests_of(self._pins) as requests:
            return requests.delete(keys)

    def _count(self, table: Map) -> tuple[int, int]:
        """Live flows, and all entries."""
        live = entries = 0
        for key, value in table.items():
            entries += 1
            live += self.is_live(key, value)
        return live, entries

    def is_live(self, key: bytes, value: bytes) -> bool:
        """Whether a flow still counts. Most are told by their idleness alone: a full table is quick to walk."""
        own_j, opener_j, responder_j = _SEEN.unpack(value)
        idle_j = self._now_j - (opener_j if opener_j > responder_j else responder_j)
        if not own_j and (idle_j <= self._surely_live_j or idle_j > self._surely_dead_j):
            return bool(idle_j <= self._surely_live_j)
        proto, family = _KEY.unpack(key)[4:]
        fields = _FLOW.unpack(value)
        state = state_of(proto, fields[3], fields[_OPENER], fields[_RESPONDER])
        return bool(idle_j <= self._lifetime_j(proto, family, state, own_j))

    def _lifetime_j(self, proto: int, family: int, state: int, own_j: int) -> int:
        """lifetime_j() of bpf_src/flow.h; `own_j` is what the flow's rule says, 0 for nothing."""
        timeout = timeout_of(proto, family, state)
        return own_j if own_j and timeout in IDLE_TIMEOUTS else self._timeouts_j[timeout]

    def flow(self, key: bytes, value: bytes, confirmed: bool) -> Flow:
        """What an entry says."""
        lo, hi, lo_port, hi_port, proto, family = _KEY.unpack(key)
        fields = _FLOW.unpack(value)
        generation, rule, scope, flags, icmp, created_j, mark, mark_mask, own_j = fields[:9]
        opener, responder = Side._make(fields[_OPENER]), Side._make(fields[_RESPONDER])
        state = state_of(proto, flags, opener, responder)
        last_j = max(opener.seen_j, responder.seen_j)
        left_j = self._lifetime_j(proto, family, state, own_j) - (self._now_j - last_j)
        ends = (int.from_bytes(lo, "big"), int.from_bytes(hi, "big"))
        ports: tuple[int | None, int | None] = (
            int.from_bytes(lo_port, "big"),
            int.from_bytes(hi_port, "big"),
        )
        if flags & _OPENER_HI:
            ends, ports = ends[::-1], ports[::-1]
        icmp_id = icmp_type = gre_key = spi = reply_spi = None
        if is_icmp(proto, family):
            icmp_id, icmp_type, ports = int.from_bytes(lo_port, "big"), icmp, (None, None)
        elif proto == GRE:
            gre_key, ports = int.from_bytes(lo_port + hi_port, "big") or None, (None, None)
        elif proto in (ESP, AH):
            spi, reply_spi, ports = opener.seq_end or None, responder.seq_end or None, (None, None)
        elif not any(ports):
            ports = (None, None)
        return Flow(
            key,
            confirmed,
            proto,
            family,
            ends[0],
            ports[0],
            ends[1],
            ports[1],
            icmp_id,
            icmp_type,
            gre_key,
            spi,
            reply_spi,
            STATES[state],
            _SCOPES[scope] if scope < len(_SCOPES) else "?",
            rule,
            generation,
            max(0, self._now_j - created_j) // self._hz,
            max(0, left_j) // self._hz,
            mark,
            mark_mask,
            own_j // self._hz,
            opener,
            responder,
        )


def address_text(family: int, address: int) -> str:
    """An address as it is written."""
    return inet_ntoa(address.to_bytes(4)) if family == 4 else str(IPv6Address(address))


def _interfaces(flow: Flow) -> set[int]:
    ways = (
        flow.opener.in_ifindex,
        flow.opener.out_ifindex,
        flow.responder.in_ifindex,
        flow.responder.out_ifindex,
    )
    return {ifindex for ifindex in ways if ifindex}


def _timeouts(pins: Pins) -> list[int]:
    """Timeouts of the ruleset in force, in jiffies, by enum fw_timeout."""
    generation = pins.control.load_u32(offset_of(abi.Control, "generation"))
    slot = generation % abi.Limits.GENERATION_SLOTS
    settings = abi.Settings.unpack(pins.map("settings").lookup(slot.to_bytes(4, sys.byteorder)) or b"")
    return settings.timeout_j[: abi.Timeout.TIMEOUT_COUNT]
