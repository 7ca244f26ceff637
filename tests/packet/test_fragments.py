# SPDX-License-Identifier: MIT
"""Fragments, seen before anybody puts them together: the first decides, later ones follow it."""

import itertools

import pytest

from firewall import abi, clock
from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath
from tests.packets import (
    DEST_OPTIONS,
    Layer,
    eth,
    fragment_header,
    fragments,
    ip,
    ipv4,
    ipv6,
    options_header,
    tcp,
    udp,
)

EARLY_DROP = "option fragments.early drop\n"
OPEN = EARLY_DROP + "default in drop\ndefault out drop\nallow in tcp, udp to port 22\n"
LIFE_S = {V4: 30, V6: 60}


def pieces(ends: Ends, segment: Layer, *, size: int = 24, ident: int = 0x1234) -> list[Layer]:
    """Frames of the fragments of a packet from them to us."""
    return [eth(piece) for piece in fragments(ip(ends.them, ends.us, segment), size, ident)]


def reasons(path: PacketPath, frames: list[Layer]) -> list[str]:
    return [path.ingress(frame).reason for frame in frames]


def age_fragments(path: PacketPath, seconds: float) -> None:
    table = path.maps["fragments"]
    for key, value in list(table.items()):
        first = abi.Fragment.unpack(value)
        first.when_j -= round(seconds * clock.hz())
        table.update(key, first.pack())


@FAMILIES
def test_later_ones_follow_the_first(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    assert reasons(path, pieces(ends, udp(4000, 22, bytes(64)))) == ["rule_allow", "fragment", "fragment"]
    assert path.the_flow()[2].side[0].packets == 1
    assert reasons(path, pieces(ends, udp(4000, 22, bytes(64)), ident=9)) == ["flow", "fragment", "fragment"]


@FAMILIES
def test_later_ones_of_a_refused_first_are_refused(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    frames = pieces(ends, udp(4000, 23, bytes(64)))
    assert reasons(path, frames) == ["default_drop", "fragment_unknown", "fragment_unknown"]


@FAMILIES
def test_later_one_that_overtakes_its_first_is_dropped(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    first, second, last = pieces(ends, udp(4000, 22, bytes(64)))
    order = reasons(path, [last, first, second, last])
    assert order == ["fragment_unknown", "rule_allow", "fragment", "fragment"]
    assert list(path.maps["early_fragments"].keys()) == []


@FAMILIES
def test_later_ones_may_come_in_any_order(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    for ident, order in enumerate(itertools.islice(itertools.permutations(range(6)), 0, None, 17)):
        first, *others = pieces(ends, udp(4000, 22, bytes(160)), ident=ident)
        path.ingress(first)
        assert set(reasons(path, [others[i] for i in order])) == {"fragment"}


@FAMILIES
def test_fragment_of_another_packet(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    first, second, _ = pieces(ends, udp(4000, 22, bytes(64)))
    _, other_id, _ = pieces(ends, udp(4000, 22, bytes(64)), ident=0x1235)
    path.ingress(first)
    assert path.ingress(other_id).reason == "fragment_unknown"
    neighbour = fragments(ip(ends.below, ends.us, udp(4000, 22, bytes(64))), 24)[1]
    assert path.ingress(eth(neighbour)).reason == "fragment_unknown"
    elsewhere = fragments(ip(ends.them, ends.hop, udp(4000, 22, bytes(64))), 24)[1]
    assert path.ingress(eth(elsewhere)).reason == "fragment_unknown"
    reverse = fragments(ip(ends.us, ends.them, udp(22, 4000, bytes(64))), 24)[1]
    assert path.egress(eth(reverse)).reason == "fragment_unknown", "each direction has ids of its own"
    assert path.ingress(second).reason == "fragment"


def test_ids_of_ipv4_belong_to_a_protocol(path: PacketPath) -> None:
    """RFC 791 section 3.2; in IPv6 later fragments may name another header (RFC 8200 section 4.5)."""
    path.policy(OPEN)
    first, second, _ = pieces(V4, udp(4000, 22, bytes(64)))
    path.ingress(first)
    as_tcp = ipv4(V4.them, V4.us, second[34:], proto=6, ident=0x1234, mf=True, frag_offset=24)
    assert path.ingress(eth(as_tcp)).reason == "fragment_unknown"


def test_id_of_ipv6_is_of_32_bits(path: PacketPath) -> None:
    path.policy(OPEN)
    first, second, _ = pieces(V6, udp(4000, 22, bytes(64)), ident=0x10001)
    _, other, _ = pieces(V6, udp(4000, 22, bytes(64)), ident=0x20001)
    path.ingress(first)
    assert path.ingress(other).reason == "fragment_unknown"
    assert path.ingress(second).reason == "fragment"


@FAMILIES
@pytest.mark.parametrize("size", [8, 16])
def test_first_without_its_whole_tcp_header(path: PacketPath, ends: Ends, size: int) -> None:
    """RFC 1858 section 3: the flags would be in the next one."""
    path.policy("default in allow\n" + EARLY_DROP)
    found = reasons(path, pieces(ends, tcp(4000, 22, "S"), size=size))
    assert found == ["fragment_tiny"] + ["fragment_hole"] * (20 // size)
    assert list(path.flows()) == []


@FAMILIES
def test_first_without_all_tcp_options(path: PacketPath, ends: Ends) -> None:
    path.policy("default in allow\n")
    first, *_ = pieces(ends, tcp(4000, 22, "S", options=bytes(20)), size=24)
    assert path.ingress(first).reason == "fragment_tiny"


@FAMILIES
def test_first_with_its_whole_header_may_be_small(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    assert path.ingress(pieces(ends, udp(4000, 22, bytes(64)), size=8)[0]).reason == "rule_allow"


@FAMILIES
@pytest.mark.parametrize("offset", [8, 16])
def test_later_one_that_lies_over_the_tcp_header(path: PacketPath, ends: Ends, offset: int) -> None:
    """RFC 1858 section 4, RFC 3128: put together by an old stack, it turns an allowed segment into another."""
    path.policy(OPEN)
    first, *_ = pieces(ends, tcp(4000, 22, "S", bytes(24)), size=24)
    assert path.ingress(first).reason == "rule_allow"
    evil = bytes(tcp(4000, 23, "S"))[offset:] + bytes(16)
    evil = evil[: len(evil) // 8 * 8]
    if ends.is_v6:
        header = fragment_header(0x1234, offset=offset, more=True)
        over = ipv6(ends.them, ends.us, evil, proto=6, ext=[header])
    else:
        over = ipv4(ends.them, ends.us, evil, proto=6, ident=0x1234, mf=True, frag_offset=offset)
    assert path.ingress(eth(over)).reason == "fragment_hole"


@FAMILIES
def test_expiry(path: PacketPath, ends: Ends) -> None:
    """No end waits longer for the rest (net.ipv4.ipfrag_time, RFC 8200 section 4.5)."""
    path.policy(OPEN)
    first, second, last = pieces(ends, udp(4000, 22, bytes(64)))
    path.ingress(first)
    age_fragments(path, LIFE_S[ends] - 5)
    assert path.ingress(second).reason == "fragment"
    age_fragments(path, 5.1)
    assert path.ingress(last).reason == "fragment_unknown", "a later one refreshes nothing"
    assert path.ingress(first).reason == "flow"
    assert path.ingress(last).reason == "fragment"


@FAMILIES
def test_first_that_another_cpu_saw_a_tick_later(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    first, *later = pieces(ends, udp(4000, 22, bytes(64)))
    path.ingress(first)
    age_fragments(path, -1)
    assert reasons(path, later) == ["fragment"] * len(later)


@FAMILIES
def test_later_ones_count_for_the_rule(path: PacketPath, ends: Ends) -> None:
    (rule,) = path.policy(OPEN).rules
    before = path.rule_counter(rule.counter)
    frames = pieces(ends, udp(4000, 22, bytes(64)))
    reasons(path, frames)
    after = path.rule_counter(rule.counter)
    assert after.packets - before.packets == len(frames)
    assert after.bytes - before.bytes == sum(map(len, frames))


@FAMILIES
def test_both_directions(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    path.ingress(ends.arriving(udp(4000, 22)))
    answer = fragments(ip(ends.us, ends.them, udp(22, 4000, bytes(64))), 24)
    assert [path.egress(eth(piece)).reason for piece in answer] == ["flow", "fragment", "fragment"]


@FAMILIES
def test_fragmented_echo(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\nallow in icmp, icmp6 icmp-type echo-request\n")
    frames = pieces(ends, ends.echo(payload=bytes(64)))
    assert reasons(path, frames) == ["rule_allow", "fragment", "fragment"]


@FAMILIES
def test_first_fragment_of_an_answered_refusal_opens_nothing(path: PacketPath, ends: Ends) -> None:
    path.policy("default in reject\n" + EARLY_DROP)
    frames = pieces(ends, udp(4000, 23, bytes(64)))
    assert reasons(path, frames) == ["default_reject", "fragment_unknown", "fragment_unknown"]
    assert list(path.maps["fragments"].keys()) == []


def test_fragments_behind_other_extension_headers(path: PacketPath) -> None:
    path.policy(OPEN)
    body = bytes(udp(4000, 22, bytes(64)))
    found = []
    for offset, more in ((0, True), (24, True), (48, False)):
        ext = [options_header(DEST_OPTIONS), fragment_header(7, offset=offset, more=more)]
        piece = ipv6(V6.them, V6.us, body[offset : offset + 24 if more else None], proto=17, ext=ext)
        found.append(path.ingress(eth(piece)).reason)
    assert found == ["rule_allow", "fragment", "fragment"]


def test_later_fragment_is_not_read_as_a_transport_header(path: PacketPath) -> None:
    """Its first bytes are data, whatever they look like."""
    path.policy(OPEN)
    body = tcp(4000, 22, "S") + bytes(4)
    later = ipv4(V4.them, V4.us, body, proto=6, ident=5, frag_offset=64)
    assert path.ingress(eth(later)).reason == "fragment_unknown"
    ext = [fragment_header(5, offset=64)]
    assert path.ingress(eth(ipv6(V6.them, V6.us, body, proto=6, ext=ext))).reason == "fragment_unknown"
    assert list(path.flows()) == []


@FAMILIES
def test_observe_mode_lets_all_of_them_pass(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    path.control(mode=abi.Mode.MODE_OBSERVE)
    verdicts = [path.ingress(frame) for frame in pieces(ends, udp(4000, 23, bytes(64)))]
    assert [verdict.passed for verdict in verdicts] == [True] * 3
    assert list(path.maps["fragments"].keys()) == []
