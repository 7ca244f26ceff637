# SPDX-License-Identifier: MIT
"""Flows on their way from one table to another, while packets go through both."""

import sys
from collections.abc import Iterable

from firewall import abi
from firewall.bpfmap import Map
from firewall.pins import offset_of
from firewall.requests import Requests

_INCARNATION = slice(offset_of(abi.Flow, "incarnation"), offset_of(abi.Flow, "incarnation") + 4)
_SIDES = offset_of(abi.Flow, "side")
_SIDE_PACKETS = offset_of(abi.Side, "packets")
_SIDE_GENERATION = offset_of(abi.Side, "generation")


def bring_up_to_date(
    table: Map, old: Iterable[tuple[bytes, bytes]], requests: Requests, confirmed: bool
) -> int:
    """Adds to a copied flow table what happened in the old one since it was copied; how many flows are new.

    Some packets have gone through the new table meanwhile: of each side's two records the one with more
    packets is the later, since only that side's packets write it. What the rules have said meanwhile is not a side's
    (by which rule, until when), so they are asked again. A flow opened anew there stays as it is.
    """
    copied, missing = dict(table.items()), []
    for key, value in old:
        known = copied.get(key)
        if known is None:
            missing.append((key, value))
        elif (merged := _merged(known, value)) != known:
            table.update(key, merged)
    return requests.add(missing, confirmed)


def _merged(known: bytes, other: bytes) -> bytes:
    merged = bytearray(known)
    if known[_INCARNATION] != other[_INCARNATION]:
        return known
    for start in range(_SIDES, _SIDES + 2 * abi.Side.SIZE, abi.Side.SIZE):
        end = start + abi.Side.SIZE
        if _packets(other, start) > _packets(known, start):
            merged[start:end] = other[start:end]
            judged = start + _SIDE_GENERATION
            merged[judged : judged + 4] = bytes(4)
    return bytes(merged)


def _packets(flow: bytes, side: int) -> int:
    at = side + _SIDE_PACKETS
    return int.from_bytes(flow[at : at + 8], sys.byteorder)
