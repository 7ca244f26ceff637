# SPDX-License-Identifier: MIT
"""Flows as text, to outlive a reboot or to go to another machine: `fw flow save`.

Lines of JSON: a header, a record a flow, and a last line with their number, so that a file cut short is noticed.
Nothing in it is true of one machine or one layout alone: fields go by their names, times are seconds of age or
idleness, interfaces are places in the header's list of names. `firewall.flowrestore` reads it.
"""

import json
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any

from firewall import abi
from firewall.clock import hz, now_j
from firewall.fields import picker
from firewall.flowkey import LINK_ZONE, is_icmp
from firewall.flows import Entry, Table
from firewall.flowstate import CLOSED, TIME_WAIT, state_of
from firewall.interfaces import Known
from firewall.interfaces import read as read_interfaces
from firewall.links import list_links
from firewall.pins import Pins
from firewall.services import PORT_PROTOCOLS, PROTOCOLS

KIND, SCHEMA = "flows", 1
SCOPES = ("in", "out", "forward")  # in the order of enum fw_scope
ROLES = ("opener", "responder")
SIDE_STATES = ("none", "syn", "open", "fin", "rst")  # in the order of enum fw_side_state
# What is known of a side's numbers. SIDE_SEEN is said by its way, SIDE_SETTLED is never kept.
SIDE_FLAGS = {
    "seq": int(abi.SideFlags.SIDE_SEQ),
    "ack": int(abi.SideFlags.SIDE_ACK),
    "wscale": int(abi.SideFlags.SIDE_WSCALE),
    "fragmented": int(abi.SideFlags.SIDE_FRAGMENTED),
}
FLOW_FLAGS = {
    "translated": int(abi.FlowFlags.FLOW_TRANSLATED),
    "revoked": int(abi.FlowFlags.FLOW_REVOKED),
    "counted": int(abi.FlowFlags.FLOW_COUNTED),
}
GRE = PROTOCOLS["gre"]
NUMBERS = ("seq_end", "ack", "window_end", "window_max", "scale", "syn_bytes", "syn_again")

_KNOWN = sum(SIDE_FLAGS.values())
_SIDE_SEEN = int(abi.SideFlags.SIDE_SEEN)
_OPENER_HI, _PARENT = int(abi.FlowFlags.FLOW_OPENER_HI), int(abi.FlowFlags.FLOW_PARENT)
_KEY = picker(abi.FlowKey, *(name for name, *_ in abi.FlowKey.FIELDS))
_SIDE = (
    *("seen_j", "packets", "bytes", "seq_end", "ack", "window_end", "window_max"),
    *("in_ifindex", "out_ifindex", "state", "scale", "flags", "syn_bytes", "syn_again"),
)
_FLOW = picker(
    abi.Flow,
    *("scope", "flags", "icmp", "created_j"),
    *(f"side.{role}.{field}" for role in (0, 1) for field in _SIDE),
    *(f"parent.0.{field}" for field in ("src", "dst", "sport", "dport")),
)
_WIDTH = len(_SIDE)


def save(pins: Pins) -> Iterator[str]:
    """The live flows of what is loaded, as lines; those that have ended are left out."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    writer = _Writer(read_interfaces(pins.map("interfaces")))
    yield encode(writer.header())
    count = 0
    for entry in Table(pins).entries():
        record = writer.record(entry)
        if record is not None:
            count += 1
            yield encode(record)
    yield encode({"end": count})


class _Writer:
    """Makes records of entries. Interfaces that are no more keep their names: they may come again."""

    def __init__(self, known: Mapping[int, Known]) -> None:
        names = {ifindex: one.name for ifindex, one in known.items()}
        names.update((link.ifindex, link.name) for link in list_links())
        self._names = sorted(set(names.values()))
        self._places = {ifindex: self._names.index(name) + 1 for ifindex, name in names.items()}
        self._places[0] = 0
        self._zones = {one.zone: self._places[ifindex] for ifindex, one in known.items() if one.is_vrf}
        self._zones |= {LINK_ZONE | one.slot: self._places[i] for i, one in known.items() if one.slot}
        self._zones[0] = 0
        self._hz, self._now_j = hz(), now_j()

    def header(self) -> dict[str, Any]:
        """The file's first line. Interface 0 of a record is this host, the others are counted from 1."""
        return {
            "fw": KIND,
            "schema": SCHEMA,
            "layout": int(abi.Layout.LAYOUT_VERSION),
            "saved_s": round(time.time(), 3),
            "interfaces": self._names,
        }

    def record(self, entry: Entry) -> dict[str, Any] | None:
        """A flow by the names of what is not zero; None if it has ended, or its zone is that of no interface."""
        key, value, confirmed = entry
        lo, hi, lo_port, hi_port, zone, proto, family = _KEY.unpack(key)
        fields = _FLOW.unpack(value)
        scope, flags, icmp, created_j = fields[:4]
        sides = fields[4 : 4 + _WIDTH], fields[4 + _WIDTH : 4 + 2 * _WIDTH]
        if zone not in self._zones or scope >= len(SCOPES) or _ended(proto, flags, *sides):
            return None
        src, dst, sport, dport = (
            (hi, lo, hi_port, lo_port) if flags & _OPENER_HI else (lo, hi, lo_port, hi_port)
        )
        record: dict[str, Any] = {
            "proto": proto,
            "src": _address(family, src),
            "dst": _address(family, dst),
            "scope": SCOPES[scope],
            "confirmed": confirmed,
            "age_s": self._seconds(created_j),
        }
        if proto in PORT_PROTOCOLS:
            record["sport"], record["dport"] = int.from_bytes(sport, "big"), int.from_bytes(dport, "big")
        elif is_icmp(proto, family):
            record["icmp_id"] = int.from_bytes(lo_port, "big")
            record["icmp_type"], record["icmp_code"] = icmp >> 8 & 255, icmp & 255
        elif proto == GRE:
            record["gre_key"] = int.from_bytes(lo_port + hi_port, "big")
        if zone:
            record["zone"] = self._zones[zone]
        for name, bit in FLOW_FLAGS.items():
            if flags & bit:
                record[name] = True
        if flags & _PARENT:
            record["parent"] = _parent(family, *fields[4 + 2 * _WIDTH :])
        for role, side in zip(ROLES, sides, strict=True):
            record[role] = self._side(side)
        return record

    def _side(self, side: tuple[int, ...]) -> dict[str, Any]:
        seen_j, packets, octets, seq_end, ack, window_end, window_max, in_, out, state, scale, flags, *syn = (
            side
        )
        record: dict[str, Any] = {}
        if seen_j:
            record["idle_s"] = self._seconds(seen_j)
        if packets:
            record["packets"], record["bytes"] = packets, octets
        if flags & _SIDE_SEEN and in_ in self._places and out in self._places:
            record["in"], record["out"] = self._places[in_], self._places[out]
        if state < len(SIDE_STATES) and state:
            record["state"] = SIDE_STATES[state]
        for name, number in zip(NUMBERS, (seq_end, ack, window_end, window_max, scale, *syn), strict=True):
            if number:
                record[name] = number
        if known := _known(flags & _KNOWN):
            record["known"] = known
        return record

    def _seconds(self, when_j: int) -> float:
        return max(0, self._now_j - when_j) * 1000 // self._hz / 1000


@lru_cache
def _known(flags: int) -> list[str]:
    return [name for name, bit in SIDE_FLAGS.items() if flags & bit]


def _ended(proto: int, flags: int, opener: tuple[int, ...], responder: tuple[int, ...]) -> bool:
    """Whether a connection is over, so that nothing can go on."""
    # As `state_of` takes sides: without windows, scale and SYNs.
    sides = ((*side[:5], *side[7:10], side[11]) for side in (opener, responder))
    return state_of(proto, flags, *sides) in (TIME_WAIT, CLOSED)


def _parent(family: int, src: bytes, dst: bytes, sport: bytes, dport: bytes) -> dict[str, Any]:
    return {
        "src": _address(family, src),
        "dst": _address(family, dst),
        "sport": int.from_bytes(sport, "big"),
        "dport": int.from_bytes(dport, "big"),
    }


def _address(family: int, words: bytes) -> str:
    return inet_ntop(AF_INET, words[12:]) if family == 4 else inet_ntop(AF_INET6, words)
