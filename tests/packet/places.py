# SPDX-License-Identifier: MIT
"""What is kept beside the flow tables: who has which place, who is counted, and whether all of it agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address

from firewall import abi
from firewall.clock import hz, now_j
from firewall.live import Ends
from firewall.requests import Requests
from firewall.seed import Seed, Way, entry
from tests.packet.path import PacketPath

IN = Way(abi.Scope.SCOPE_IN, 0, 0)
TCP, UDP = 6, 17


def confirmed_flow(
    src: str, sport: int, *, proto: int = UDP, idle_s: float = 0, way: Way = IN
) -> tuple[bytes, bytes]:
    """Key and value of a confirmed flow to port 22 of this host."""
    dst = "2001:db8:1::1" if ":" in src else "192.0.2.1"
    ends = Ends(proto, ip_address(src), sport, ip_address(dst), 22)
    key, value = entry(Seed(ends, way), {}, now_j() - round(idle_s * hz()))
    made = abi.Flow.unpack(value)
    if way.scope != abi.Scope.SCOPE_OUT:
        made.flags |= abi.FlowFlags.FLOW_COUNTED
    for side in made.side:
        side.flags |= abi.SideFlags.SIDE_SEEN
    return key, made.pack()


def add(path: PacketPath, flows: Iterable[tuple[bytes, bytes]]) -> int:
    """Confirmed flows, as when connections are taken over; how many there was a place for."""
    with Requests(path.maps["requests"], path.programs["fw_request"]) as requests:
        return requests.add(flows)


def delete(path: PacketPath, keys: Iterable[bytes]) -> int:
    """As `fw flow delete`; how many there were."""
    with Requests(path.maps["requests"], path.programs["fw_request"]) as requests:
        return requests.delete(keys)


def sources(path: PacketPath) -> dict[str, int]:
    """How many confirmed flows are counted under each source."""
    found = {}
    for raw, value in path.maps["sources"].items():
        key = abi.SourceKey.unpack(raw)
        if not key.rule:
            found[_text(key.address)] = abi.Source.unpack(value).flows
    return found


def of_rules(path: PacketPath) -> dict[tuple[int, str], int]:
    """How many confirmed flows `max-flows` counts for each rule, by id, and source; "-" is all sources."""
    found = {}
    for raw, value in path.maps["sources"].items():
        key = abi.SourceKey.unpack(raw)
        if key.rule:
            text = _text(key.address) if any(key.address) else "-"
            found[key.rule, text] = abi.Source.unpack(value).flows
    return found


def _text(address: bytes) -> str:
    return str(ip_address(address if any(address[:8]) else address[12:]))


def books(path: PacketPath) -> int:
    """How many confirmed flows there are, once all that is kept of them has been seen to agree."""
    confirmed = {key: abi.Flow.unpack(value) for key, value in path.maps["flows"].items()}
    counted: Counter[bytes] = Counter()
    held = 0
    for raw, value in path.maps["slots"].items():
        slot = abi.Slot.unpack(value)
        if slot.incarnation:
            held += 1
            mine = confirmed[slot.key.pack()]
            assert mine.incarnation == slot.incarnation
            assert mine.slot == int.from_bytes(raw, "little")
            if slot.counted:
                counted[slot.source.pack()] += 1
            if slot.limited:
                counted[slot.ceiling.pack()] += 1
    table, totals = path.table(), path.totals()
    assert held == len(confirmed) == table.used
    assert {key: abi.Source.unpack(value).flows for key, value in path.maps["sources"].items()} == counted
    embryonic = len(list(path.maps["embryonic"].keys()))
    assert totals.embryonic_made - totals.embryonic_gone >= embryonic
    assert totals.lost == 0
    return held
