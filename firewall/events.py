# SPDX-License-Identifier: MIT
"""What the packet path tells: its journal of the last drops and logged packets, and its ring buffer for who
follows.

Every event has a number. The journal keeps the last 4,096 drops and the last 4,096 passes that rules log, whether
anybody reads or not; the ring buffer holds what `option log.rate` lets through, for one reader. So a follower first
takes what lies in the ring from before, then reads the journal, and then waits at the ring for greater numbers.
"""

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import lru_cache
from ipaddress import IPv6Address
from struct import Struct
from typing import NamedTuple

from firewall import abi
from firewall.bpfmap import RingBuffer
from firewall.errors import Busy
from firewall.fields import picker
from firewall.paths import Lock, lock_path
from firewall.pins import Pins
from firewall.reasons import REASONS
from firewall.services import ICMP, ICMP6, PORT_PROTOCOLS, TCP

_HEAD = Struct("=3Q")
TCP_FLAGS = "FSRPAUEC"  # from bit 0, RFC 9293 section 3.1
_EVENT = picker(abi.Event, *(name for name, *_ in abi.Event.FIELDS if name != "reserved"))
_NAMES = ("none", *REASONS)
_SCOPES = ("in", "out", "forward")
_OBSERVED, _LOG = int(abi.EventFlags.EVENT_OBSERVED), int(abi.EventFlags.EVENT_LOG)
_OVERLOAD = int(abi.EventFlags.EVENT_OVERLOAD)
_IDLE_MS = 500
_FEW = 64  # fewer than this are looked up one by one, which is then quicker than reading all


class Event(NamedTuple):
    """One packet (or the segments of one super-packet) that was dropped or logged.

    `time_s` is seconds since the epoch; `observed` means that it would have been dropped, were the mode not
    observe, `overload` that who opened its flow was put into a set for it. `src` and `dst` are empty where no address
    was reached; ports are None where the protocol has none; interface indexes are 0 for this host.
    """

    number: int
    time_s: float
    reason: str
    observed: bool
    logged: bool
    overload: bool
    scope: str
    in_ifindex: int
    out_ifindex: int
    eth_proto: int
    proto: int
    src: str
    sport: int | None
    dst: str
    dport: int | None
    icmp_type: int | None
    tcp_flags: str
    rule: int
    packets: int
    bytes: int


class Journal:
    """The events of what is loaded."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._records = pins.map("journal")
        self._booted_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def read(self, after: int = 0, last: int | None = None) -> list[Event]:
        """The events that are kept with numbers greater than `after`, oldest first; at most the `last` ones.

        None that comes meanwhile: one before it might lie where the reading has been.
        """
        newest, *kept = self._head()
        size = self._records.max_entries // 2
        wanted = min(newest - after, 2 * size if last is None else last)
        if wanted <= 0:
            return []
        records: Iterable[bytes | None]
        if wanted < _FEW:
            places = (
                n % size + first
                for first, count in zip((0, size), kept, strict=True)
                for n in range(max(0, count - wanted), count)
            )
            records = [self._records.lookup(place.to_bytes(4, sys.byteorder)) for place in places]
        else:
            records = (record for _, record in self._records.items())
        events = (self._decoded(record) for record in records if record)
        found = sorted(event for event in events if event and after < event.number <= newest)
        return found if last is None else found[max(0, len(found) - last) :]

    def follow(self, on_events: Callable[[list[Event], int], None]) -> None:
        """Hands over the kept events, then new ones as they come, each once, until the firewall is unloaded.

        With each handful goes how many others were missed since the last one. Where nothing comes, nothing is handed
        over twice a second: what `on_events` raises ends it.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(Lock(lock_path().with_suffix(".follow"), wait_s=0))
                follow = self._follow_ring
            except Busy:  # someone else has the ring, which serves one reader; the journal serves all
                follow = self._follow_journal
            follow(on_events)

    def _follow_ring(self, on_events: Callable[[list[Event], int], None]) -> None:
        raw: list[bytes] = []
        with RingBuffer(self._pins.map("events"), raw.append) as ring:
            ring.consume()  # stale: what of it matters is in the journal
            raw.clear()
            kept = self.read()
            on_events(kept, 0)
            known = {event.number for event in kept}
            newest, gap = max(known, default=self._newest()), set[int]()
            while self._is_loaded():
                ring.poll(_IDLE_MS)
                events = sorted(
                    event for event in map(self._decoded, raw) if event and event.number not in known
                )
                raw.clear()
                # Two CPUs may hand in their events in another order than they were numbered: a number that is
                # left out now may come with the next handful.
                come = {event.number for event in events}
                missed = len(gap - come)
                greatest = max(come, default=newest)
                gap = set(range(newest + 1, greatest)) - come
                newest = max(newest, greatest)
                on_events(events, missed)

    def _follow_journal(self, on_events: Callable[[list[Event], int], None]) -> None:
        events = self.read()
        on_events(events, 0)
        newest = events[-1].number if events else self._newest()
        while self._is_loaded():
            time.sleep(_IDLE_MS / 1000)
            events = self.read(newest)
            last = events[-1].number if events else newest
            on_events(events, last - newest - len(events))
            newest = last

    def _is_loaded(self) -> bool:
        return (self._pins.directory / "events").exists()

    def _newest(self) -> int:
        return self._head()[0]

    def _head(self) -> tuple[int, int, int]:
        """The newest number, and how many drops and passes were written."""
        # struct journal_head of bpf_src/maps.h ends with them, behind the lock
        newest, drops, passes = _HEAD.unpack_from(
            self._pins.map("journal_head").lookup(bytes(4)) or bytes(32), 8
        )
        return newest, drops, passes

    def _decoded(self, record: bytes) -> Event | None:
        """The event, or None if it was being written just then."""
        number, time_ns, src, dst, rule, _, in_if, out_if, octets, packets, sport, dport, *rest = (
            _EVENT.unpack(record)
        )
        eth_proto, reason, _, scope, proto, family, tcp_flags, flags, number_end = rest
        if not number or number != number_end:
            return None
        is_icmp = proto == (ICMP if family == 4 else ICMP6)
        has_ports = proto in PORT_PROTOCOLS
        return Event(
            number,
            self._booted_s + time_ns / 1e9,
            _NAMES[reason] if reason < len(_NAMES) else f"reason {reason}",
            bool(flags & _OBSERVED),
            bool(flags & _LOG),
            bool(flags & _OVERLOAD),
            _SCOPES[scope] if scope < len(_SCOPES) else "",
            in_if,
            out_if,
            eth_proto,
            proto,
            _address(family, src),
            sport if has_ports else None,
            _address(family, dst),
            dport if has_ports else None,
            dport if is_icmp else None,
            _flags(tcp_flags) if proto == TCP else "",
            rule,
            packets,
            octets,
        )


@lru_cache(256)
def _flags(bits: int) -> str:
    return "".join(letter for bit, letter in enumerate(TCP_FLAGS) if bits >> bit & 1)


@lru_cache(1024)
def _address(family: int, raw: bytes) -> str:
    if family == 4:
        return ".".join(map(str, raw[12:]))
    return str(IPv6Address(raw)) if family == 6 else ""
