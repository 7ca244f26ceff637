# SPDX-License-Identifier: MIT
"""Who sends how much: what has changed in the flow tables since they were last looked at.

What is kept from one look to the next is a key and two numbers a live flow: some 300 bytes, so that it is bounded by
what the tables hold, whatever comes and goes between two looks.
"""

import heapq
import time
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from firewall import abi
from firewall.fields import picker
from firewall.flows import Entry, Filter, Flow, Table
from firewall.pins import offset_of

_BYTES = picker(abi.Flow, "side.0.bytes", "side.1.bytes")
# A key may be another flow's by the next look.
_INCARNATION = slice(offset_of(abi.Flow, "incarnation"), offset_of(abi.Flow, "incarnation") + 4)


class Rate(NamedTuple):
    """A flow, and the bytes a second that its opener and the other end have sent."""

    flow: Flow
    bytes_per_s: float
    reply_bytes_per_s: float


class Look(NamedTuple):
    """How many flows there are, how many came and went in `elapsed_s`, and those that sent most, most first."""

    elapsed_s: float
    flows: int
    opened: int
    ended: int
    top: tuple[Rate, ...]


class Rates:
    """Compares the live flows that are `wanted` with those of the look before; the first finds nothing changed."""

    def __init__(self, wanted: Filter) -> None:
        self._wanted = None if wanted == Filter() else wanted
        self._before: dict[bytes, tuple[int, int]] | None = None
        self._opened = 0
        self._last_s = 0.0

    def look(self, table: Table, limit: int) -> Look:
        """The flows as they are now, and the `limit` busiest."""
        now_s = time.monotonic()
        first, before = self._before is None, self._before or {}
        now: dict[bytes, tuple[int, int]] = {}
        self._opened = 0
        busiest = heapq.nlargest(limit, self._changes(table, before, now), key=itemgetter(0))
        elapsed_s = now_s - self._last_s
        self._before, self._last_s = now, now_s
        if first:
            return Look(0.0, len(now), 0, 0, ())
        top = (
            Rate(table.flow(*entry), sent / elapsed_s, answered / elapsed_s)
            for _, sent, answered, entry in busiest
        )
        return Look(elapsed_s, len(now), self._opened, len(before), tuple(top))

    def _changes(
        self, table: Table, before: dict[bytes, tuple[int, int]], now: dict[bytes, tuple[int, int]]
    ) -> Iterator[tuple[int, int, int, Entry]]:
        """Flows that have sent: bytes of both ends, of the opener, of the other.

        Fills `now`; what is left in `before` has ended.
        """
        wanted, unpack = self._wanted, _BYTES.unpack
        for entry in table.entries():
            key, value, _ = entry
            if wanted and not (wanted.may_match(key) and wanted.matches(table.flow(*entry))):
                continue
            identity = key + value[_INCARNATION]
            octets = now[identity] = unpack(value)
            old = before.pop(identity, None)
            if old is None:
                self._opened += 1
                old = (0, 0)
            # A packet that meets a flow in the making of its entry may not be counted, so it may seem to shrink.
            sent, answered = max(0, octets[0] - old[0]), max(0, octets[1] - old[1])
            if sent or answered:
                yield sent + answered, sent, answered, entry
