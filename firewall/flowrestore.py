# SPDX-License-Identifier: MIT
"""Flows from a file that `firewall.flowsave` wrote, back in the tables: `fw flow restore`.

The file is not trusted: every field is checked before anything is done, and what a program relies on (key, tag,
zone, slots, generation) is made here. A restored flow has generation 0, so its first packet has it judged by the
rules in force. What its numbers are by now nobody knows: FLOW_LIBERAL, as of a connection that is met midway.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, NamedTuple, NoReturn

from firewall import abi
from firewall.clock import hz, now_j
from firewall.errors import FwError, UsageError
from firewall.fields import picker
from firewall.flowkey import LINK_ZONE, is_icmp, key_tag, link_scoped, make_key
from firewall.flows import Table
from firewall.flowsave import FLOW_FLAGS, GRE, KIND, NUMBERS, ROLES, SCHEMA, SCOPES, SIDE_FLAGS, SIDE_STATES
from firewall.interfaces import Known
from firewall.interfaces import read as read_interfaces
from firewall.links import list_links
from firewall.pins import Pins
from firewall.progress import counted
from firewall.requests import Answers, requests_of
from firewall.services import PORT_PROTOCOLS, TCP

LINE_BYTES_MAX = 1 << 20  # the first line names all interfaces of a machine
_CLOCKS_DIFFER_S = 60  # what two machines' clocks may
_AGE_S_MAX = 100 * 365 * 86400
_U8, _U16, _U32, _U64 = ((1 << bits) - 1 for bits in (8, 16, 32, 64))
_WINDOW_MAX = 0xFFFF << 14  # the largest window by the largest scale (RFC 7323 section 2.3)
_SIDE_MAX = {"packets": _U64, "bytes": _U64} | dict.fromkeys(NUMBERS, _U32) | {"scale": 14, "syn_bytes": _U16}
_TCP_SIDE_MAX = _SIDE_MAX | {"window_max": _WINDOW_MAX}  # elsewhere it is no window

_LIBERAL = int(abi.FlowFlags.FLOW_LIBERAL)
_OPENER_HI, _PARENT = int(abi.FlowFlags.FLOW_OPENER_HI), int(abi.FlowFlags.FLOW_PARENT)
_SIDE_SEEN = int(abi.SideFlags.SIDE_SEEN)
_SIDE = tuple(name for name, *_ in abi.Side.FIELDS)
_FLOW = picker(
    abi.Flow,
    *("tag", "incarnation", "counter", "scope", "flags", "icmp", "created_j"),
    *(f"side.{role}.{field}" for role in (0, 1) for field in _SIDE),
    *(f"parent.0.{name}" for name, *_ in abi.Tuple.FIELDS),
)
_NO_PARENT = (bytes(16), bytes(16), bytes(2), bytes(2), 0, 0, 0)
_STRIDE = abi.FlowKey.SIZE + abi.Flow.SIZE


class Restored(NamedTuple):
    """What became of the flows of a file. `elsewhere`: they belong to interfaces that are not here."""

    restored: int
    known: int
    refused: int
    expired: int
    elsewhere: int


class Flows:
    """The flows of a file that live still, checked and in the form of the tables, 248 bytes each."""

    def __init__(self, known: Mapping[int, Known]) -> None:
        self.known = known
        self.confirmed, self.embryonic = bytearray(), bytearray()
        self.expired = self.elsewhere = 0


class _Wrong(Exception):
    """What is wrong with a line."""


def read(pins: Pins, lines: Iterable[bytes], name: str) -> Flows:
    """The flows of a file, for what is loaded. Raises UsageError that says which of its lines is wrong."""
    flows, number, rest = Flows(read_interfaces(pins.map("interfaces"))), 1, iter(lines)
    try:
        reader = _Reader(flows.known, _object(next(rest, b"")))
        table = Table(pins)
        for number, line in enumerate(counted("reading flows", rest), 2):
            record = _object(line)
            if "end" in record:
                _end(record, number, rest)
                return flows
            found = reader.entry(record)
            if found is None:
                flows.elsewhere += 1
            elif not table.is_live(*found[:2]):
                flows.expired += 1
            else:
                key, value, confirmed = found
                (flows.confirmed if confirmed else flows.embryonic).extend(key + value)
        number += 1
        raise _Wrong("the file ends before its last line: it was cut short")
    except _Wrong as wrong:
        raise UsageError(f"{name}:{number}: {wrong}", "nothing was restored") from None


def restore(pins: Pins, flows: Flows) -> Restored:
    """Adds the flows that are not there; what is there stays as it is. The lock must be held.

    Raises FwError if the interfaces are not those that the file was read for.
    """
    if read_interfaces(pins.map("interfaces")) != flows.known:
        raise FwError("the interfaces changed meanwhile", "nothing was restored: do it again")
    confirmed, embryonic = pins.map("flows"), pins.map("embryonic")
    pending = set(embryonic.keys())
    with requests_of(pins) as requests:
        fresh = [one for one in _pairs(flows.confirmed) if one[0] not in pending]
        done = requests.place(fresh, confirmed=True)
        fresh_embryonic = [one for one in _pairs(flows.embryonic) if confirmed.lookup(one[0]) is None]
        begun = requests.place(fresh_embryonic, confirmed=False)
    there = (len(flows.confirmed) + len(flows.embryonic)) // _STRIDE - sum(done) - sum(begun)
    answers = Answers(*map(sum, zip(done, begun, strict=True)))
    return Restored(answers.done, answers.known + there, answers.refused, flows.expired, flows.elsewhere)


def _pairs(packed: bytearray) -> Iterator[tuple[bytes, bytes]]:
    for at in range(0, len(packed), _STRIDE):
        middle = at + abi.FlowKey.SIZE
        yield bytes(packed[at:middle]), bytes(packed[middle : at + _STRIDE])


class _Reader:
    """Makes entries of records, for the interfaces as the packet path knows them."""

    def __init__(self, known: Mapping[int, Known], header: Mapping[str, Any]) -> None:
        if header.get("fw") != KIND:
            raise _Wrong("this is no file that 'fw flow save' wrote")
        if header.get("schema") != SCHEMA:
            raise _Wrong(f"its schema is {_said(header.get('schema'))}, this version of fw reads {SCHEMA}")
        self._elapsed_s = _elapsed_s(header)
        names = header.get("interfaces")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _Wrong("'interfaces' is no list of names")
        present = {link.name: link.ifindex for link in list_links()}
        self._ifindexes = [0, *(present.get(name, 0) for name in names)]
        self._known = known
        self._hz, self._now_j = hz(), now_j()

    def entry(self, record: Mapping[str, Any]) -> tuple[bytes, bytes, bool] | None:
        """Key and value of a record, and whether it is confirmed; None if its zone is not here. Raises _Wrong."""
        proto = _number(record, "proto", _U8)
        family, src = _address(record, "src")
        dst_family, dst = _address(record, "dst")
        if family != dst_family:
            raise _Wrong("'src' and 'dst' are of different families")
        zone = self._zone(record, link_scoped(family, src, dst))
        confirmed = record.get("confirmed")
        if not isinstance(confirmed, bool):
            raise _Wrong("'confirmed' is neither true nor false")
        scope = _word(record, "scope", SCOPES)
        sport, dport, icmp = _ports(record, proto, family)
        flags = sum(bit for name, bit in FLOW_FLAGS.items() if name in record and _flag(record, name))
        if proto == TCP:
            flags |= _LIBERAL
        parent = _NO_PARENT
        if "parent" in record:
            flags |= _PARENT
            parent = _parent(record, family, proto, zone or 0)
        opener, responder = (self._side(record, role, proto) for role in ROLES)
        created_j = self._when_j(record, "age_s")
        if zone is None:
            return None
        key, opener_hi = make_key(proto, family, (src, sport), (dst, dport), zone)
        if opener_hi:
            flags |= _OPENER_HI
        incarnation = int.from_bytes(os.urandom(4), "little") | 1
        head = (key_tag(key), incarnation, scope, scope, flags, icmp, created_j)  # a default's counter
        return key, _FLOW.pack(*head, *opener, *responder, *parent), confirmed

    def _side(self, record: Mapping[str, Any], role: str, proto: int) -> tuple[int, ...]:
        """The values of a struct side, in their order."""
        side = record.get(role)
        if not isinstance(side, dict):
            raise _Wrong(f"'{role}' is no object")
        seen_j = self._when_j(side, "idle_s") if "idle_s" in side else 0
        packets, octets, seq_end, ack, window_end, window_max, scale, syn_bytes, syn_again = _side_numbers(
            side, _TCP_SIDE_MAX if proto == TCP else _SIDE_MAX
        )
        state = _word(side, "state", SIDE_STATES) if "state" in side else 0
        flags = _known(side)
        in_ifindex = out_ifindex = 0
        if "in" in side or "out" in side:
            places = [_number(side, way, len(self._ifindexes) - 1) for way in ("in", "out")]
            ifindexes = [self._ifindexes[place] for place in places]
            if any(places) and all(
                ifindex or not place for ifindex, place in zip(ifindexes, places, strict=True)
            ):
                in_ifindex, out_ifindex = ifindexes
                flags |= _SIDE_SEEN
        out = self._known.get(out_ifindex)
        return (
            *(seen_j, packets, octets, seq_end, ack, window_end, window_max, in_ifindex, out_ifindex),
            *(state, scale, flags, out.slot if out else 0, syn_bytes, 0, syn_again),
        )

    def _zone(self, record: Mapping[str, Any], link_local: bool) -> int | None:
        """The zone that the packet path would give it; None if its interface is not here, or not protected."""
        place = _number(record, "zone", len(self._ifindexes) - 1, 0)
        one = self._known.get(self._ifindexes[place])
        if link_local:
            return LINK_ZONE | one.slot if one and one.slot else None
        if not place:
            return 0
        return one.zone if one and one.is_vrf else None

    def _when_j(self, fields: Mapping[str, Any], name: str) -> int:
        """The jiffies of so many seconds before the file was saved."""
        value: Any = fields.get(name)
        if type(value) not in (int, float) or not 0 <= value <= _AGE_S_MAX:
            _refuse(name, value)
        return max(1, self._now_j - int((value + self._elapsed_s) * self._hz))


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        raise _Wrong("the line is too long")
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise _Wrong("this is no JSON") from None
    if not isinstance(found, dict):
        raise _Wrong("this is no JSON object")
    return found


def _end(record: Mapping[str, Any], number: int, rest: Iterator[bytes]) -> None:
    if record["end"] != number - 2:
        raise _Wrong(f"{number - 2} flows are before this line, which says {_said(record['end'])}")
    if next(rest, b"").strip():
        raise _Wrong("more follows the last line")


def _elapsed_s(header: Mapping[str, Any]) -> float:
    """How long ago the file was saved, by the clock on the wall."""
    now_s = time.time()
    saved_s: Any = header.get("saved_s")
    if type(saved_s) not in (int, float) or not 0 <= saved_s < 1 << 40:
        _refuse("saved_s", saved_s)
    if saved_s > now_s + _CLOCKS_DIFFER_S:
        raise _Wrong("it was saved in the future: the clock of this machine, or of the other, is wrong")
    return float(max(0.0, now_s - saved_s))


def _number(fields: Mapping[str, Any], name: str, most: int, default: int | None = None) -> int:
    value: Any = fields.get(name, default)
    if type(value) is not int or not 0 <= value <= most:  # True is no number
        _refuse(name, value)
    return int(value)


def _word(fields: Mapping[str, Any], name: str, words: tuple[str, ...]) -> int:
    value = fields.get(name)
    if value not in words:
        _refuse(name, value)
    return words.index(value)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields[name]
    if not isinstance(value, bool):
        _refuse(name, value)
    return value


def _side_numbers(side: Mapping[str, Any], limits: Mapping[str, int]) -> list[int]:
    """The numbers of a side in the order of their names; 0 where it has none."""
    values = [side.get(name, 0) for name in limits]
    for value, (name, most) in zip(values, limits.items(), strict=True):
        if type(value) is not int or not 0 <= value <= most:
            _refuse(name, value)
    return values


def _known(side: Mapping[str, Any]) -> int:
    known = side.get("known", [])
    if type(known) is list:
        try:
            return sum(map(SIDE_FLAGS.__getitem__, set(known)))
        except (KeyError, TypeError):  # another word, or no word
            pass
    _refuse("known", known)


def _address(fields: Mapping[str, Any], name: str) -> tuple[int, bytes]:
    """Family and four words."""
    text = fields.get(name)
    try:
        if ":" in text:  # type: ignore[operator]
            return 6, inet_pton(AF_INET6, text)  # type: ignore[arg-type]
        return 4, bytes(12) + inet_pton(AF_INET, text)  # type: ignore[arg-type]
    except (TypeError, OSError, ValueError):
        _refuse(name, text)


def _ports(record: Mapping[str, Any], proto: int, family: int) -> tuple[int, int, int]:
    """The ports of the opener and the other end as a key has them, and what the opener asked by ICMP."""
    if proto in PORT_PROTOCOLS:
        return _number(record, "sport", _U16), _number(record, "dport", _U16), 0
    if is_icmp(proto, family):
        kind, code = _number(record, "icmp_type", _U8), _number(record, "icmp_code", _U8)
        return _number(record, "icmp_id", _U16), kind, kind << 8 | code
    if proto == GRE:
        key = _number(record, "gre_key", _U32)
        return key >> 16, key & _U16, 0
    return 0, 0, 0


def _parent(record: Mapping[str, Any], family: int, proto: int, zone: int) -> tuple[Any, ...]:
    """The values of a struct tuple, in their order."""
    fields = record["parent"]
    if not isinstance(fields, dict):
        raise _Wrong("'parent' is no object")
    (src_family, src), (dst_family, dst) = (_address(fields, name) for name in ("src", "dst"))
    if (src_family, dst_family) != (family, family):
        raise _Wrong("'parent' is of another family")
    ports = (_number(fields, name, _U16).to_bytes(2, "big") for name in ("sport", "dport"))
    return (src, dst, *ports, zone, proto, family)


def _refuse(name: str, value: object) -> NoReturn:
    raise _Wrong(f"'{name}' is missing" if value is None else f"'{name}' cannot be {_said(value)}")


def _said(value: object) -> str:
    try:
        said = json.dumps(value)
    except RecursionError:  # reading bears a little more than writing
        return "nested so deeply"
    return said if len(said) <= 40 else f"{said[:40]}..."
