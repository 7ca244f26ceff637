# SPDX-License-Identifier: MIT
"""Super-packets (GRO, GSO, BIG TCP): one frame here, many on the wire, and counted as those.

What the hook says of them comes from env: `gso_segs` and `gso_size`, the bytes of payload in a segment. Frames of
their true size are for the tests over veth: BPF_PROG_TEST_RUN takes no more than a page.
"""

from typing import NamedTuple

import pytest

from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath
from tests.packets import HOP_BY_HOP, SACK_PERMITTED, Layer, eth, ip, ipv4, ipv6, options_header, tcp, udp

OPEN = "default in drop\nallow in tcp, udp to port 22\n"
JUMBO = b"\xc2\x04\x00\x00\x0b\xe0"  # RFC 2675 section 2, as the kernel writes it into BIG TCP of IPv6


class Counts(NamedTuple):
    """What was counted, as packets and bytes, for the reason, the rule and the side of the flow."""

    reason: tuple[int, int]
    rule: tuple[int, int]
    side: tuple[int, int]


def counted(path: PacketPath, frame: bytes, **env: int) -> Counts:
    """The counts of a frame that arrives and opens a flow by the policy's only rule."""
    (rule,) = path.policy(OPEN).rules
    before, rule_before = path.counters()["rule_allow"], path.rule_counter(rule.counter)
    assert path.ingress(frame, "wan", **env).reason == "rule_allow"
    after, rule_after = path.counters()["rule_allow"], path.rule_counter(rule.counter)
    opener = path.the_flow()[2].side[0]
    return Counts(
        (after.packets - before.packets, after.bytes - before.bytes),
        (rule_after.packets - rule_before.packets, rule_after.bytes - rule_before.bytes),
        (opener.packets, opener.bytes),
    )


@FAMILIES
@pytest.mark.parametrize("segments", [1, 2, 3, 17, 45])
def test_udp_segments(path: PacketPath, ends: Ends, segments: int) -> None:
    """UDP_SEGMENT and UDP GRO."""
    size = 32
    frame = ends.arriving(udp(4000, 22, bytes(segments * size)))
    on_the_wire = segments * len(ends.arriving(udp(4000, 22, bytes(size))))
    counts = counted(path, frame, gso_segs=segments, gso_size=size)
    assert counts == ((segments, on_the_wire),) * 3


@FAMILIES
@pytest.mark.parametrize("last", [1, 100], ids=["short last one", "full last one"])
def test_tcp_segments(path: PacketPath, ends: Ends, last: int) -> None:
    path.policy(OPEN)
    path.ingress(ends.arriving(tcp(4000, 22, "S", seq=0)))
    path.egress(ends.leaving(tcp(22, 4000, "SA", seq=0, ack=1)))
    options = SACK_PERMITTED * 6  # of 12 bytes: in each segment
    frame = ends.arriving(tcp(4000, 22, "PA", bytes(900 + last), seq=1, ack=1, options=options))
    before, side_before = path.counters()["flow"], path.the_flow()[2].side[0]
    assert path.ingress(frame, gso_segs=10, gso_size=100).reason == "flow"
    after, side = path.counters()["flow"], path.the_flow()[2].side[0]
    on_the_wire = len(frame) + 9 * (len(frame) - 900 - last)
    assert (after.packets - before.packets, after.bytes - before.bytes) == (10, on_the_wire)
    assert (side.packets - side_before.packets, side.bytes - side_before.bytes) == (10, on_the_wire)
    assert side.seq_end == 901 + last


@FAMILIES
@pytest.mark.parametrize(
    ("payload", "segments"), [(1, 1), (100, 1), (101, 2), (200, 2), (201, 3), (1000, 10)]
)
def test_segments_that_nobody_has_counted(path: PacketPath, ends: Ends, payload: int, segments: int) -> None:
    """A guest's or driver's frame may have a size and no count; headers are no payload."""
    counts = counted(path, ends.arriving(udp(4000, 22, bytes(payload))), gso_size=100)
    assert counts.reason[0] == counts.rule[0] == counts.side[0] == segments


def test_dropped_segments_count_in_the_journal(path: PacketPath) -> None:
    path.policy("default in drop\n")
    frame = V4.arriving(udp(4000, 23, bytes(300)))
    assert path.ingress(frame, gso_segs=3, gso_size=100).reason == "default_drop"
    event = path.events()[-1]
    assert (event.packets, event.bytes) == (3, len(frame) + 2 * 42)


def test_headers_of_tags_and_options_are_in_each_segment(path: PacketPath) -> None:
    frame = eth(ipv4(V4.them, V4.us, udp(4000, 22, bytes(300)), options=b"\x01" * 8))
    assert counted(path, frame, gso_segs=3, gso_size=100).reason == (3, len(frame) + 2 * 50)


def big_tcp(ends: Ends, segment: Layer, *, jumbo: bool) -> Layer:
    """A packet whose length does not fit its field."""
    if not ends.is_v6:
        return eth(ipv4(ends.them, ends.us, segment, total_length=0))
    ext = [options_header(HOP_BY_HOP, JUMBO)] if jumbo else []
    return eth(ipv6(ends.them, ends.us, segment, payload_length=0, ext=ext))


@pytest.mark.parametrize(
    ("ends", "jumbo"), [(V4, False), (V6, False), (V6, True)], ids=["v4", "v6", "v6 with the jumbo option"]
)
def test_big_tcp(path: PacketPath, ends: Ends, jumbo: bool) -> None:
    path.policy(OPEN)
    path.ingress(ends.arriving(tcp(4000, 22, "S", seq=0)))
    path.egress(ends.leaving(tcp(22, 4000, "SA", seq=0, ack=1)))
    frame = big_tcp(ends, tcp(4000, 22, "PA", bytes(3000), seq=1, ack=1), jumbo=jumbo)
    assert path.ingress(frame, gso_segs=30, gso_size=100).reason == "flow"
    assert path.the_flow()[2].side[0].seq_end == 3001
    assert path.the_flow()[2].side[0].packets == 31


@pytest.mark.parametrize(
    ("ends", "jumbo"), [(V4, False), (V6, False), (V6, True)], ids=["v4", "v6", "v6 with the jumbo option"]
)
def test_no_length_without_segments_is_a_lie(path: PacketPath, ends: Ends, jumbo: bool) -> None:
    """From the wire no packet comes whose length is zero; a jumbogram needs a link that no hook here has."""
    path.policy("default in allow\n")
    frame = big_tcp(ends, tcp(4000, 22, "S"), jumbo=jumbo)
    assert path.ingress(frame).reason == "dishonest_length"


@FAMILIES
def test_udp_without_a_length(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    frame = ends.arriving(udp(4000, 22, bytes(300), length=0))
    assert path.ingress(frame).reason == "bad_header_length"
    assert path.ingress(frame, gso_segs=3, gso_size=100).reason == "rule_allow"


@FAMILIES
@pytest.mark.parametrize("env", [{}, {"gso_segs": 2, "gso_size": 100}], ids=["plain", "segments"])
def test_lengths_of_super_packets_do_not_lie_either(
    path: PacketPath, ends: Ends, env: dict[str, int]
) -> None:
    path.policy("default in allow\n")
    lie: dict[str, int] = {"payload_length": 300} if ends.is_v6 else {"total_length": 300}
    frame = eth(ip(ends.them, ends.us, tcp(4000, 22, "S", bytes(200)), **lie))
    assert path.ingress(frame, "wan", **env).reason == "dishonest_length"
