# SPDX-License-Identifier: MIT
"""Bulk transfer at full speed: super-packets of 64 KiB pass whole and are counted as their segments."""

from __future__ import annotations

import contextlib
import os
import struct

import pytest

from tests.lab.attachment import flows, protect
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import Stream
from tests.lab.wait import until

BULK = 200_000_000
BIG = 180_000
HOME = """
    default in drop
    default forward drop
    default out allow
    allow forward on lan0 via wan0
"""
SEGMENTS_OUT_AT = 136
"""Offset of tcpi_segs_out in struct tcp_info (linux/tcp.h)."""


def one_cpu(*hosts: Host) -> None:
    """On two CPUs at once, two packets of one side may count as one (docs/conntrack.md)."""
    for host in hosts:
        os.sched_setaffinity(host.agent.pid, {min(os.sched_getaffinity(0))})


def segments_sent(stream: Stream) -> int:
    """Segments that this side's stack has sent, each counted as it would be on a wire, pure ACKs included."""
    info: bytes = stream.host.call("tcp_info", stream.number)
    (count,) = struct.unpack_from("=I", info, SEGMENTS_OUT_AT)
    return int(count)


def test_bulk_through_the_router_is_counted_to_the_segment(lab: RouterLab, family: str, attach: str) -> None:
    protect(lab.router, HOME, "wan0", "lan0", attach=attach)
    one_cpu(lab.client, lab.server)
    listener = lab.server.listen(7, any_address(family), mode="sink")
    before = lab.router.counters("wan0")
    stream = lab.client.connect(address(lab.server, family), 7)
    sink = listener.accepted(stream.local)
    stream.send_zeros(BULK)
    until(lambda: sink.swallowed() == BULK, 60, "all of it")
    after = lab.router.counters("wan0")
    with contextlib.suppress(TimeoutError):  # the numbers say more
        until(lambda: flow_of(lab, stream)["packets"] == segments_sent(stream))

    flow = flow_of(lab, stream)
    syn_ack = 1  # it was sent before the socket that counts existed
    assert (flow["packets"], flow["reply_packets"]) == (segments_sent(stream), syn_ack + segments_sent(sink))
    frames_sent, bytes_sent = after[2] - before[2], after[3] - before[3]
    assert frames_sent < flow["packets"] / 4, "super-packets went through whole"
    header = 20 if family == "ipv4" else 40
    least, most = header + 20, header + 60
    assert BULK + least * flow["packets"] <= flow["bytes"] <= BULK + (most + 14) * flow["packets"]
    assert flow["bytes"] >= bytes_sent - 18 * frames_sent, "no less than the interface saw"
    assert least * flow["reply_packets"] <= flow["reply_bytes"] <= (most + 14) * flow["reply_packets"]


def test_frames_of_more_than_64_kib_pass_and_are_counted(pair: PairLab) -> None:
    """BIG TCP: IPv6 super-packets whose length does not fit its field, from one end to the other."""
    one_cpu(pair.client, pair.server)
    for host in (pair.client, pair.server):
        host.ip(f"link set dev eth0 gso_max_size {BIG} gro_max_size {BIG}")
    protect(pair.client, "default in drop\ndefault out allow", "eth0")
    protect(pair.server, "default in drop\ndefault out drop\nallow in tcp to port 7", "eth0")
    listener = pair.server.listen(7, any_address("ipv6"), mode="sink")
    before = pair.client.counters("eth0")
    stream = pair.client.connect(address(pair.server, "ipv6"), 7)
    sink = listener.accepted(stream.local)
    stream.send_zeros(BULK)
    until(lambda: sink.swallowed() == BULK, 60, "all of it")
    after = pair.client.counters("eth0")
    assert (after[3] - before[3]) / (after[2] - before[2]) > 2**16, (
        "most were larger than an IP packet can be"
    )
    for host in (pair.client, pair.server):
        (flow,) = flows(host, proto="tcp", sport=stream.local[1])
        assert flow["packets"] == segments_sent(stream)
        assert BULK + 60 * flow["packets"] <= flow["bytes"] <= BULK + 114 * flow["packets"]


def interfaces(lab: RouterLab) -> list[tuple[Host, str]]:
    """All that the client's packets pass on their way to the server."""
    return [(lab.client, "eth0"), (lab.router, "lan0"), (lab.router, "wan0"), (lab.server, "eth0")]


def flow_of(lab: RouterLab, stream: Stream) -> dict[str, int]:
    (flow,) = flows(lab.router, proto="tcp", sport=stream.local[1])
    return flow


@pytest.mark.parametrize("size", [500, 9000, 60000], ids=str)
def test_large_mtus_pass_too(lab: RouterLab, family: str, size: int) -> None:
    """Small segments, jumbo frames, and a link as large as a super-packet."""
    protect(lab.router, HOME, "wan0", "lan0")
    if size > 1500:
        for host, interface in interfaces(lab):
            host.ip(f"link set {interface} mtu {size}")
    listener = lab.server.listen(7, any_address(family), mode="sink")
    stream = lab.client.connect(address(lab.server, family), 7)
    sink = listener.accepted(stream.local)
    rounds = 200
    for _ in range(rounds):
        stream.send(bytes(size))
    until(lambda: sink.swallowed() == rounds * size, what="all of it")
