# SPDX-License-Identifier: MIT
"""Both directions of many connections on both CPUs at once, while rules are swapped and table nodes are reused.

What docs/conntrack.md says of two packets at once, shown by the real programs on two processors.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Iterator
from ctypes import Array, c_uint32
from multiprocessing.sharedctypes import RawArray
from typing import NamedTuple

import pytest

from firewall import abi
from tests.packet.at_once import CPUS, SETTLE_S, context, on_both, send
from tests.packet.ends import V4
from tests.packet.path import FLOWS_MAX, PacketPath
from tests.packet.places import TCP, add, books, confirmed_flow
from tests.packets import eth, ip, tcp

POLICIES = tuple(
    f"default in drop\ndefault out drop\nallow in tcp to port 22 from {net}\nallow in udp to port {port}\n"
    "option flows.max 1024\noption flows.full evict\noption flows.per-source 4096\n"
    for net, port in (("198.51.0.0/16", 53), ("198.51.100.0/24", 123))
)
DATA = b"x" * 10

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="one processor: nothing happens at once")


SWAPS = 4  # of the rules, spread over the segments of each connection


class Shared(NamedTuple):
    """What the workers know of each other: by connection, how many segments each side has sent; and how often the
    rules were swapped.
    """

    opener: Array[c_uint32]
    responder: Array[c_uint32]
    swaps: Array[c_uint32]


def isn(connection: int, side: int) -> int:
    """Numbers by which a record tells whose it is: no two connections are near each other."""
    return (connection * 2 + side) * 500_000 % 2**32


def segment(connection: int, side: int, sent: int, other_sent: int) -> bytes:
    """The frame that is number `sent` of its side: SYN or SYN-ACK, then ten bytes each."""
    seq = isn(connection, side) + (0 if sent == 0 else 1 + 10 * (sent - 1))
    ack = isn(connection, 1 - side) + 1 + 10 * max(0, other_sent - 1)
    flags = "PA" if sent else ("S" if side == 0 else "SA")
    ports = (2000 + connection, 22) if side == 0 else (22, 2000 + connection)
    body = tcp(*ports, flags, DATA if sent else b"", seq=seq, ack=0 if flags == "S" else ack)
    return eth(ip(V4.them, V4.us, body) if side == 0 else ip(V4.us, V4.them, body))


def play(path: PacketPath, side: int, shared: Shared, rounds: int) -> Counter[str]:
    """One side of all connections, each as soon as the other has answered."""
    ctx = context(path)
    mine, theirs = (shared.opener, shared.responder) if side == 0 else (shared.responder, shared.opener)
    verdicts: Counter[str] = Counter()
    waiting = set(range(len(mine)))
    deadline = time.monotonic() + SETTLE_S
    while waiting and time.monotonic() < deadline:
        for connection in list(waiting):
            sent, seen = mine[connection], theirs[connection]
            if seen < sent + side - (1 if side == 0 and sent == 0 else 0):
                continue
            if sent * SWAPS > rounds * (shared.swaps[0] + 1):
                continue
            passed = send(path, side, segment(connection, side, sent, seen), ctx)
            verdicts["passed" if passed else "dropped"] += 1
            mine[connection] = sent + 1
            if sent + 1 == rounds:
                waiting.discard(connection)
    verdicts["stuck"] = len(waiting)
    return verdicts


def both_sides(path: PacketPath, connections: int, rounds: int) -> list[Counter[str]]:
    """A process for each side on a CPU of its own, while this one swaps the rules."""
    shared = Shared(*(RawArray(c_uint32, size) for size in (connections, connections, 1)))

    def swap() -> None:
        path.policy(POLICIES[shared.swaps[0] % 2])
        shared.swaps[0] += 1

    return on_both(lambda side: play(path, side, shared, rounds), meanwhile=swap)


def numbers(path: PacketPath) -> Iterator[tuple[int, abi.Flow]]:
    """Each flow that is left and its connection; a record's tag is always its key's."""
    for _, key, flow in path.flows():
        words = struct.unpack("=10I", key.pack())
        tag = 0
        for word in words:
            tag ^= word
        assert flow.tag == tag
        if key.proto != TCP:
            continue
        ports = {key.lo_port, key.hi_port}
        yield (ports - {22}).pop() - 2000, flow


def is_its_own(connection: int, side: int, record: abi.Side, rounds: int) -> bool:
    return not record.seq_end or 0 < record.seq_end - isn(connection, side) <= 1 + 10 * rounds


def test_nothing_is_dropped_or_mixed_up(live: PacketPath) -> None:
    """Without reuse not one packet is lost, and each side's record is what that side has sent."""
    connections, rounds = 300, 40
    live.policy(POLICIES[1])
    for verdicts in both_sides(live, connections, rounds):
        assert verdicts == {"passed": connections * rounds, "stuck": 0}
    flows = dict(numbers(live))
    assert len(flows) == connections == books(live)
    for connection, flow in flows.items():
        for side, record in enumerate(flow.side):
            assert record.seq_end == isn(connection, side) + 1 + 10 * (rounds - 1)
            assert rounds - 1 <= record.packets <= rounds, "promotion may lose one"


def test_reuse_under_our_feet(live: PacketPath) -> None:
    """Four times as many connections as the tables hold, which are full of others: nodes change hands all the time."""
    connections, rounds = 4096, 8
    live.policy(POLICIES[1])
    assert add(live, (confirmed_flow(f"172.20.{i >> 8}.{i & 255}", 9) for i in range(FLOWS_MAX))) == FLOWS_MAX
    both_sides(live, connections, rounds)
    assert books(live) == FLOWS_MAX
    flows = list(numbers(live))
    assert live.totals().evicted >= len(flows) > 100
    strange = sum(
        not is_its_own(connection, side, record, rounds)
        for connection, flow in flows
        for side, record in enumerate(flow.side)
    )
    assert strange <= len(flows) // 100
