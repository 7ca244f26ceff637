# SPDX-License-Identifier: MIT
"""A packet that is dropped changes nothing of what is kept of any other: random packets around running flows.

What new rules end (`revoked`) is no part of it: that it was dropped is written to its flow. FW_MUTATIONS says how many
rounds, one for each thousand; FW_FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from tests import chunks
from tests.packet import stories
from tests.packet.association import Association, established
from tests.packet.ends import V4, V6, Connection, Ends, Talk
from tests.packet.path import PacketPath
from tests.packet.places import books
from tests.packets import (
    Layer,
    esp,
    eth,
    fragment_header,
    fragments,
    gre,
    icmp_error,
    ip,
    ipv4,
    ipv6,
    sack,
    sctp,
    tcp,
    udp,
    wscale,
)

SEED = int(os.environ.get("FW_FUZZ_SEED") or random.SystemRandom().randrange(2**32))
ROUNDS, PACKETS = int(os.environ.get("FW_MUTATIONS") or 50_000) // 1000, 60
MOD = 2**32
KEPT = (
    "flows", "embryonic", "sources", "fragments", "early_fragments", "expectations", "source_buckets", "rates",
)  # fmt: skip
POLICY = """
default in drop
default out allow
allow in tcp, udp to port 22 max-flows 50 per source
allow in sctp to port 3868
allow in icmp, icmp6
allow in gre limit 100/second per source
"""
STORIES = ("syn_sent", "syn_recv", "established", "fin_wait", "last_ack", "time_wait", "closed")
FLAGS = ("S", "SA", "A", "PA", "FA", "R", "RA", "SF", "", "F")
WHOLE = bytes(udp(6001, 22, bytes(200)))  # of which fragments come


class Stranger:
    """Sends what nearly fits: numbers, tags and pieces of packets near those that are in use."""

    def __init__(self, chance: random.Random, path: PacketPath, ends: Ends) -> None:
        self._chance, self._ends = chance, ends
        sides = [side for _, _, flow in path.flows() for side in flow.side]
        fields = ("seq_end", "ack", "window_end", "syn_again")
        self._numbers = sorted({getattr(side, field) for side in sides for field in fields} | {0, 1})

    def packet(self, by_us: bool) -> Layer:
        us, them = self._ends.us, self._ends.them
        src, dst = (us, them) if by_us else (them, us)
        kinds = (self._segment, self._error, self._chunk, self._piece, self._other)
        (kind,) = self._chance.choices(kinds, weights=(50, 15, 15, 15, 5))
        return kind(src, dst)

    def _number(self) -> int:
        near = (0, 0, 0, 1, -1, 100, -100, 65535, -65536, 2**31, 2**20, self._chance.randrange(MOD))
        return (self._chance.choice(self._numbers) + self._chance.choice(near)) % MOD

    def _segment(self, src: str, dst: str) -> Layer:
        pick = self._chance.choice
        options = (b"", b"", wscale(pick(range(16))), sack((self._number(), self._number())))
        segment = tcp(
            *pick(((22, 4000), (4000, 22))),
            pick(FLAGS),
            bytes(pick((0, 0, 1, 500))),
            seq=self._number(),
            ack=self._number(),
            window=pick((0, 1, 1000, 65535)),
            options=pick((*options, self._chance.randbytes(8))),
        )
        return ip(src, dst, segment)

    def _error(self, src: str, dst: str) -> Layer:
        ports = self._chance.choice(((22, 4000), (4000, 22), (22, 6000), (6000, 22)))
        quoted = udp(*ports) if 6000 in ports else tcp(*ports, "A", seq=self._number(), ack=self._number())
        return ip(src, dst, icmp_error(ip(dst, src, quoted)))

    def _chunk(self, src: str, dst: str) -> Layer:
        pick = self._chance.choice
        body = chunks.chunk(pick(range(16)), bytes(pick((0, 4, 16, 20))))
        part = pick((chunks.data(), chunks.heartbeat(), body))
        return ip(src, dst, sctp(*pick(((5000, 3868), (3868, 5000))), part, tag=pick(self._numbers)))

    def _piece(self, src: str, dst: str) -> Layer:
        pick = self._chance.choice
        at, more, ident = 8 * pick(range(40)), pick((True, True, False)), pick(range(4))
        body = WHOLE[at : at + pick((8, 16, 64, 5, 0, 12))]
        if self._ends.is_v6:
            return ipv6(src, dst, body, proto=17, ext=[fragment_header(ident, offset=at, more=more)])
        return ipv4(src, dst, body, proto=17, ident=ident, mf=more, frag_offset=at)

    def _other(self, src: str, dst: str) -> Layer:
        pick = self._chance.choice
        key = pick(range(3))
        return ip(src, dst, pick((gre(bytes(8), key=key, ethertype=0x800), esp(key), udp(22, 6000))))


def begin(path: PacketPath, chance: random.Random, ends: Ends) -> None:
    """Flows of each kind, in states that chance chooses."""
    path.reset_flows()
    path.reset_fragments()
    getattr(stories, chance.choice(STORIES))(Connection(path, ends, we_open=chance.random() < 0.5))
    if chance.random() < 0.4:
        established(Association(path, ends))
    asked = Talk(path, ends)
    asked.opener(udp(6000, 22))
    if chance.random() < 0.5:
        asked.responder(udp(22, 6000))
    path.ingress(ends.arriving(ends.echo()))
    some = fragments(ip(ends.them, ends.us, udp(6001, 22, bytes(200))), 64, ident=chance.randrange(4))
    for piece in some[: chance.randrange(1, 4)]:
        path.ingress(eth(piece))


def kept(path: PacketPath) -> dict[str, Any]:
    return {name: dict(path.maps[name].items()) for name in KEPT} | {"used": path.table().used}


@pytest.mark.parametrize("part", range(4))
def test_what_is_dropped_changes_nothing(path: PacketPath, part: int) -> None:
    chance = random.Random(f"{SEED}/{part}")
    path.policy(POLICY)
    dropped = 0
    for _ in range(ROUNDS):
        ends = chance.choice((V4, V6))
        begin(path, chance, ends)
        stranger = Stranger(chance, path, ends)
        for _ in range(PACKETS):
            by_us = chance.random() < 0.5
            packet = stranger.packet(by_us)
            before = kept(path)
            verdict = (path.egress if by_us else path.ingress)(eth(packet))
            if not verdict.passed:
                dropped += 1
                assert kept(path) == before, f"FW_FUZZ_SEED={SEED}: {verdict.reason} {bytes(packet).hex()}"
        books(path)
    assert dropped > ROUNDS * PACKETS // 10
