# SPDX-License-Identifier: MIT
"""Fragments that lie over each other, come too soon, too many, or are none."""

import itertools
import random
import struct
from collections import Counter

import pytest

from firewall import abi, clock
from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath, let_time_pass
from tests.packet.test_fragments import LIFE_S, age_fragments
from tests.packets import (
    DEST_OPTIONS,
    ESP,
    SCTP,
    TCP,
    UDP,
    Layer,
    ah,
    eth,
    fragment_header,
    fragments,
    ip,
    ipv4,
    ipv6,
    options_header,
    routing_header,
    udp,
)

OPEN = "default in drop\ndefault out drop\nallow in tcp, udp to port 22\n"
DROP = OPEN + "option fragments.early drop\n"
PER_SOURCE = int(abi.Limits.FRAGMENTS_PER_SOURCE)
EARLY_PER_S = 32


def piece(
    ends: Ends,
    at: int,
    size: int = 8,
    *,
    more: bool = True,
    ident: int = 7,
    proto: int = UDP,
    payload: bytes | None = None,
    src: str | None = None,
    dst: str | None = None,
) -> Layer:
    """A fragment of a packet from them to us."""
    body = bytes(size) if payload is None else payload
    src, dst = src or ends.them, dst or ends.us
    if ends.is_v6:
        header = fragment_header(ident, offset=at, more=more)
        return eth(ipv6(src, dst, body, proto=proto, ext=[header]))
    return eth(ipv4(src, dst, body, proto=proto, ident=ident, mf=more, frag_offset=at))


def first(ends: Ends, port: int = 22, size: int = 24, **fields: int | str) -> Layer:
    """The first of a UDP packet, with so many bytes in it."""
    datagram = bytes(udp(4000, port, bytes(size - 8), length=2000))
    return piece(ends, 0, payload=datagram, **fields)  # type: ignore[arg-type]


def see(path: PacketPath, *frames: Layer) -> list[str]:
    return [path.ingress(frame).reason for frame in frames]


def entries(path: PacketPath, table: str = "fragments") -> list[abi.Fragment]:
    return [abi.Fragment.unpack(value) for _, value in path.maps[table].items()]


def runs(entry: abi.Fragment) -> list[tuple[int, int]]:
    return sorted((run.start * 8, run.to * 8) for run in entry.runs if run.to)


@FAMILIES
@pytest.mark.parametrize(
    ("at", "size"),
    [(40, 16), (40, 8), (48, 8), (24, 24), (32, 16), (24, 64), (48, 64), (16, 8), (8, 16)],
)
def test_no_bytes_pass_twice(path: PacketPath, ends: Ends, at: int, size: int) -> None:
    """RFC 5722: also between later ones, and repeated ones too (RFC 8200 section 4.5)."""
    path.policy(DROP)
    assert see(path, first(ends), piece(ends, 40, 16)) == ["rule_allow", "fragment"]
    assert see(path, piece(ends, at, size)) == ["fragment_overlap"]
    (entry,) = entries(path)
    assert runs(entry) == [(0, 24), (40, 56)], "what is refused changes nothing"
    assert see(path, piece(ends, 24, 16), piece(ends, 56, 5, more=False)) == ["fragment", "fragment"]
    (entry,) = entries(path)
    assert runs(entry) == [(0, 64)]
    assert entry.whole


@FAMILIES
def test_nothing_lies_behind_the_last(path: PacketPath, ends: Ends) -> None:
    path.policy(DROP)
    see(path, first(ends), piece(ends, 40, 16, more=False))
    assert see(path, piece(ends, 56), piece(ends, 64, 8, more=False)) == ["fragment_overlap"] * 2
    assert see(path, piece(ends, 32, 3, more=False)) == ["fragment_overlap"], "there is one end"
    assert see(path, piece(ends, 24, 16)) == ["fragment"]
    see(path, first(ends, ident=8), piece(ends, 40, 16, ident=8))
    assert see(path, piece(ends, 24, 8, more=False, ident=8)) == ["fragment_overlap"]


@FAMILIES
def test_the_first_comes_once(path: PacketPath, ends: Ends) -> None:
    """A second one would be put over what was judged, though it is allowed itself."""
    path.policy(DROP)
    assert (
        see(path, first(ends), first(ends), first(ends, size=16)) == ["rule_allow"] + ["fragment_overlap"] * 2
    )
    assert path.the_flow()[2].side[0].packets == 1
    assert see(path, piece(ends, 24, 8, more=False)) == ["fragment"]
    assert see(path, first(ends), piece(ends, 24, 8, more=False)) == ["flow", "fragment"], (
        "all of it was there"
    )


@FAMILIES
def test_repetition_when_all_of_it_was_there(path: PacketPath, ends: Ends) -> None:
    """It belongs to no packet, and must not lie in the way of the next one with that ID."""
    path.policy(OPEN)
    parts = [first(ends), piece(ends, 24, 16), piece(ends, 40, 8, more=False)]
    assert see(path, *parts) == ["rule_allow", "fragment", "fragment"]
    assert see(path, parts[1]) == ["fragment_overlap"]
    assert see(path, *parts) == ["flow", "fragment", "fragment"]


def test_ids_of_16_bits_return_soon(path: PacketPath) -> None:
    """RFC 4963: a packet of which a fragment was lost does not block its ID for long."""
    path.policy(DROP)
    see(path, first(V4), first(V6), piece(V4, 40))
    age_fragments(path, 2.5)
    assert see(path, first(V4), first(V6)) == ["flow", "fragment_overlap"]
    assert see(path, piece(V4, 40)) == ["fragment"]


@FAMILIES
def test_random_pieces_against_a_reference(path: PacketPath, ends: Ends) -> None:
    """Every verdict is that of a plain set of units."""
    path.policy(DROP)
    dice = random.Random(5722)
    for ident in range(12):
        see(path, first(ends, ident=ident))
        seen, end, found = set(range(3)), 0, []
        for _ in range(20):
            at, units, more = dice.randrange(1, 12), dice.randrange(1, 4), dice.random() < 0.85
            these = set(range(at, at + units))
            fits = not these & seen and (not end or (at + units <= end and (more or at + units == end)))
            fits = fits and (more or not any(unit >= at + units for unit in seen))
            fits = fits and not (end and len(seen) == end)
            reason = path.ingress(piece(ends, at * 8, units * 8, more=more, ident=ident)).reason
            found.append(reason)
            whole = bool(end) and len(seen) == end
            assert reason == ("fragment" if fits else "fragment_unknown" if whole else "fragment_overlap"), (
                found
            )
            if fits:
                seen |= these
                end = end or (0 if more else at + units)


@FAMILIES
def test_large_packet_in_any_order(path: PacketPath, ends: Ends) -> None:
    """64 KiB in pieces of 1,480 bytes; 16 stretches are remembered."""
    path.policy(DROP)
    starts = list(range(24, 65000, 1480))
    dice = random.Random(1)
    for ident in range(4):
        see(path, first(ends, ident=ident))
        dice.shuffle(starts)
        for at in starts:
            assert see(path, piece(ends, at, 1480, more=at < 63000, ident=ident)) == ["fragment"], ident
    assert [entry.whole for entry in entries(path)] == [1] * 4


@FAMILIES
def test_too_many_gaps(path: PacketPath, ends: Ends) -> None:
    path.policy(DROP)
    see(path, first(ends))
    found = see(path, *[piece(ends, 40 + 16 * n) for n in range(20)])
    assert found == ["fragment"] * 15 + ["fragment_gaps"] * 5
    assert see(path, piece(ends, 24, 16)) == ["fragment"], "what closes one passes"
    assert see(path, piece(ends, 400)) == ["fragment"]


@FAMILIES
@pytest.mark.parametrize(
    ("proto", "soonest"), [(TCP, 24), (UDP, 8), (SCTP, 16), (33, 16), (ESP, 8), (1, 8), (58, 8)]
)
def test_holes_in_the_transport_header(path: PacketPath, ends: Ends, proto: int, soonest: int) -> None:
    """RFC 1858 section 3, RFC 3128: nothing may start where the first must reach, whether that has come or not."""
    path.policy(OPEN)
    for at in (8, 16, 24):
        reason = "fragment_hole" if at < soonest else "fragment_early"
        assert see(path, piece(ends, at, proto=proto, ident=at)) == [reason], at


@pytest.mark.parametrize("proto", [0, 43, 51, 60])
def test_holes_in_the_chain_of_headers(path: PacketPath, proto: int) -> None:
    path.policy(OPEN)
    assert see(path, piece(V6, 8, proto=proto), piece(V6, 16, proto=proto)) == [
        "fragment_hole",
        "fragment_early",
    ]


@pytest.mark.parametrize("size", [8, 16, 24])
@pytest.mark.parametrize(
    "header",
    [options_header(DEST_OPTIONS, bytes(22)), routing_header(data=bytes(20)), ah(9, icv=bytes(12))],
    ids=["destination", "routing", "ah"],
)
def test_chain_of_headers_that_does_not_end_in_the_first(path: PacketPath, header: Layer, size: int) -> None:
    """RFC 7112 section 5."""
    path.policy("default in allow\n")
    whole = bytes([UDP]) + header[1:] + bytes(udp(4000, 22))
    cut = piece(V6, 0, payload=whole[:size], proto=header.number or 0)
    assert see(path, cut) == ["fragment_headless"]
    assert list(path.flows()) == entries(path) == []
    assert see(path, piece(V6, 0, payload=whole[:32], proto=header.number or 0)) != ["fragment_headless"]


@FAMILIES
@pytest.mark.parametrize("size", [1, 7, 9, 20, 1479])
def test_lengths_that_are_no_multiple_of_8(path: PacketPath, ends: Ends, size: int) -> None:
    """RFC 8200 section 4.5; of IPv4 others cut the rest off."""
    path.policy(OPEN)
    assert see(path, piece(ends, 40, size)) == ["fragment_length"]
    assert see(path, piece(ends, 40, size, more=False)) == ["fragment_early"]
    assert see(path, piece(ends, 0, payload=bytes(udp(4000, 22, bytes(size + 3))))) == (
        ["fragment_length"] if (size + 11) % 8 else ["rule_allow"]
    )


@FAMILIES
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("at", [0, 40])
def test_fragments_of_nothing(path: PacketPath, ends: Ends, at: int, more: bool) -> None:
    path.policy("default in drop\n")
    expected = "default_drop" if not at and not more and not ends.is_v6 else "fragment_length"
    if not at and not more:
        return  # all of a packet, and none of a fragment
    assert see(path, piece(ends, at, 0, more=more)) == [expected]


@FAMILIES
def test_fragments_past_64_kib(path: PacketPath, ends: Ends) -> None:
    """The whole would be longer than its length field can say."""
    path.policy(OPEN)
    most = 65535 - (0 if ends.is_v6 else 20)
    for at in (65528, 65520, 65512, 65504):
        for size in (8, 12, 32):
            reason = "fragment_beyond" if at + size > most else "fragment_early"
            assert see(path, piece(ends, at, size, more=False, ident=at)) == [reason], (at, size)
            break_ = [f for f in entries(path, "early_fragments") if f.id == at]
            path.maps["early_fragments"].delete_batch(list(path.maps["early_fragments"].keys()))
            assert bool(break_) == (reason == "fragment_early")
    if ends.is_v6:
        before = [options_header(DEST_OPTIONS), fragment_header(9, offset=65512)]
        assert see(path, eth(ipv6(V6.them, V6.us, bytes(20), proto=UDP, ext=before))) == ["fragment_beyond"]
        assert see(path, eth(ipv6(V6.them, V6.us, bytes(15), proto=UDP, ext=before))) == ["fragment_early"]


@pytest.mark.parametrize(("one", "two"), [*itertools.product(("atomic", "first", "later"), repeat=2)])
def test_two_fragment_headers(path: PacketPath, one: str, two: str) -> None:
    path.policy("default in allow\n")
    kinds = {
        "atomic": fragment_header(1),
        "first": fragment_header(1, more=True),
        "later": fragment_header(1, offset=64),
    }
    frame = eth(ipv6(V6.them, V6.us, udp(4000, 22), ext=[kinds[one], kinds[two]]))
    expected = "fragment_early" if one == "later" else "fragment_twice"  # nothing is read behind a later one
    assert see(path, frame) == [expected]


def test_atomic_fragments_are_whole_packets(path: PacketPath) -> None:
    """RFC 6946: whatever others have their ID, and of any length."""
    path.policy(OPEN)
    see(path, first(V6))
    atomic = eth(ipv6(V6.them, V6.us, udp(4000, 22, bytes(5)), ext=[fragment_header(7)]))
    assert see(path, atomic, atomic) == ["flow", "flow"]
    assert [runs(entry) for entry in entries(path)] == [[(0, 24)]]


@FAMILIES
def test_early_ones_pass_and_join_their_first(path: PacketPath, ends: Ends) -> None:
    """RFC 4787 REQ-14."""
    path.policy(OPEN)
    last, second = piece(ends, 40, 5, more=False), piece(ends, 24, 16)
    assert see(path, last, first(ends), second) == ["fragment_early", "rule_allow", "fragment"]
    assert entries(path, "early_fragments") == []
    assert [entry.whole for entry in entries(path)] == [1]


@FAMILIES
def test_early_ones_are_dropped_by_an_option(path: PacketPath, ends: Ends) -> None:
    path.policy(DROP)
    last, second = piece(ends, 40, 5, more=False), piece(ends, 24, 16)
    assert see(path, last, first(ends), second) == ["fragment_unknown", "rule_allow", "fragment"]
    assert entries(path, "early_fragments") == []


@FAMILIES
def test_a_first_may_not_lie_over_early_ones(path: PacketPath, ends: Ends) -> None:
    """Planted before, they would be put in its place by an end that lets the first one win."""
    path.policy(OPEN)
    assert see(path, piece(ends, 16), piece(ends, 16)) == ["fragment_early", "fragment_overlap"]
    assert see(path, first(ends, size=24)) == ["fragment_overlap"]
    assert list(path.flows()) == [], "refused before it opens anything"
    assert see(path, first(ends, size=16)) == ["rule_allow"]
    assert see(path, piece(ends, 16), piece(ends, 24)) == ["fragment_overlap", "fragment"]


@FAMILIES
def test_early_ones_of_a_refused_first_complete_nothing(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    assert see(path, piece(ends, 24), first(ends, port=23)) == ["fragment_early", "default_drop"]
    assert entries(path) == []


@FAMILIES
def test_what_is_refused_takes_nothing_of_the_budget(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    assert see(path, piece(ends, 40)) == ["fragment_early"]
    path.flood(piece(ends, 40), 10 * EARLY_PER_S)
    assert see(path, piece(ends, 40, ident=5000)) == ["fragment_early"]
    assert path.reasons()["fragment_flood"] == 0


@FAMILIES
def test_budget_of_a_destination(path: PacketPath, ends: Ends) -> None:
    """Whoever sends them; other destinations and what follows its first have nothing to do with it."""
    path.policy(OPEN)
    see(path, first(ends, ident=999))
    sources = (ends.them, ends.below, ends.hop)
    found = Counter(
        see(path, *(piece(ends, 40, src=source, ident=i) for i in range(500) for source in sources))
    )
    assert set(found) == {"fragment_early", "fragment_flood"}
    assert found["fragment_flood"] > 1500 - 3 * EARLY_PER_S, (
        "a second's worth at once, and what little time brings"
    )
    assert see(path, piece(ends, 24, ident=999), first(ends, ident=1000)) == ["fragment", "flow"]
    assert see(path, piece(ends, 40, dst=ends.inside)) == ["fragment_early"]
    let_time_pass(0.2)
    assert see(path, piece(ends, 40, ident=5000)) == ["fragment_early"]


@FAMILIES
def test_budget_that_another_cpu_used_a_tick_later(path: PacketPath, ends: Ends) -> None:
    """An empty one stays so: less than no time brings nothing."""
    path.policy(OPEN)
    budgets = path.maps["early_budgets"]
    empty = struct.pack("=QQ", clock.now_j() + clock.hz() // 2, 0)
    budgets.update_batch([(struct.pack("=I", i), empty) for i in range(abi.Limits.EARLY_DESTINATIONS)])
    assert see(path, piece(ends, 24)) == ["fragment_flood"]


@FAMILIES
def test_no_source_fills_the_table(path: PacketPath, ends: Ends) -> None:
    """What one begins and never ends displaces its own alone."""
    path.policy(DROP + "allow in udp to port 53\n")
    other = ends.below
    assert see(path, first(ends, ident=77, src=other)) == ["rule_allow"]
    found = set(see(path, *[first(ends, ident=n) for n in range(4 * PER_SOURCE)]))
    assert found == {"rule_allow", "flow"}
    assert len(entries(path)) == PER_SOURCE + 1
    assert see(path, piece(ends, 24, ident=77, src=other)) == ["fragment"]
    assert see(path, piece(ends, 24, ident=4 * PER_SOURCE - 1)) == ["fragment"], "its newest is there"
    assert see(path, piece(ends, 24, ident=0)) == ["fragment_unknown"]


def test_a_network_of_64_bits_is_one_source(path: PacketPath) -> None:
    path.policy(DROP)
    for number in range(2 * PER_SOURCE):
        see(path, first(V6, ident=number * 31, src=f"2001:db8:9::{number + 1:x}"))
    assert len(entries(path)) <= PER_SOURCE
    see(path, first(V6, ident=1, src="2001:db8:9:1::1"))
    assert len(entries(path)) <= PER_SOURCE + 1


@FAMILIES
def test_early_ones_displace_no_allowed_ones(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    see(path, first(ends))
    for number in range(3):
        see(path, *[piece(ends, 40, ident=n, src=ends.below) for n in range(100 * number, 100 * number + 40)])
        let_time_pass(0.5)
    assert len(entries(path)) == 1
    assert see(path, piece(ends, 24)) == ["fragment"]


@FAMILIES
def test_they_leave_as_their_first_was_judged_to(path: PacketPath, ends: Ends) -> None:
    path.policy("default forward drop\nallow forward on lan via wan\noption fragments.early drop\n")
    path.interface("dmz", 7000, slot=3, class_id=0, flags=abi.IfaceFlags.IFACE_PROTECTED)
    whole = ip(ends.inside, ends.them, udp(5000, 53, bytes(64)))
    one, *others = (eth(part) for part in fragments(whole, 24))
    assert path.ingress(one, on="lan").reason == "rule_allow"
    assert path.egress(one, on="wan", came_by="lan").reason == "handed_on"
    for other in others:
        assert path.ingress(other, on="lan").reason == "fragment"
        assert path.tc_index() == 1
        assert path.egress(other, on="dmz", came_by="lan").reason == "fragment_unknown"
        assert path.egress(other, on="wan", came_by="lan", tc_index=1).reason == "handed_on"
        # something has taken the word away: the first has passed here too
        assert path.egress(other, on="wan", came_by="lan", tc_index=0).reason == "fragment"


@FAMILIES
def test_an_id_returns_at_once_through_a_router(path: PacketPath, ends: Ends) -> None:
    """Later ones leave unread, so that the packet is never known to be whole where it leaves."""
    path.policy("default forward drop\nallow forward on lan via wan\noption fragments.early drop\n")
    whole = ip(ends.inside, ends.them, udp(5000, 53, bytes(64)))
    for _ in range(3):
        for part in fragments(whole, 24):
            assert path.ingress(eth(part), on="lan").passed
            assert path.egress(eth(part), on="wan", came_by="lan").reason == "handed_on"


@FAMILIES
def test_they_come_as_their_first_did(path: PacketPath, ends: Ends) -> None:
    path.policy("default out allow\ndefault forward allow\ndefault in allow\noption fragments.early drop\n")
    whole = ip(ends.us, ends.them, udp(5000, 53, bytes(64)))
    one, second, last = (eth(part) for part in fragments(whole, 24))
    assert path.egress(one, on="wan").reason == "default_allow"
    assert path.egress(second, on="wan", came_by="lan", tc_index=0).reason == "fragment_unknown", "not ours"
    assert path.ingress(second, on="wan").reason == "fragment_unknown", "another hook"
    assert path.egress(second, on="lan").reason == "fragment_unknown"
    assert path.egress(second, on="wan").reason == "fragment"
    assert path.egress(last, on="wan").reason == "fragment"


@FAMILIES
def test_early_ones_are_forgotten(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    see(path, piece(ends, 24))
    table = path.maps["early_fragments"]
    for key, value in list(table.items()):
        entry = abi.Fragment.unpack(value)
        entry.when_j -= (LIFE_S[ends] + 1) * 1000
        table.update(key, entry.pack())
    assert see(path, first(ends, size=32)) == ["rule_allow"]
