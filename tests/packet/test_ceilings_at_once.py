# SPDX-License-Identifier: MIT
"""`limit` and `max-flows` are exact with both CPUs opening flows at once: what passes is what the rule says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.packet.at_once import CPUS, Pace, context, on_both, send
from tests.packet.ends import V4
from tests.packet.path import PacketPath
from tests.packet.places import books, of_rules
from tests.packets import eth, ip, tcp

CLOSED = "default in drop\ndefault out allow\noption flows.per-source 1024\n"
SOURCES = ("198.51.100.7", "198.51.100.8")
BURST = 8000  # a token of each is contested, and a lost one or a double one is seen
OPENERS = 12_000
PLACES, CONNECTIONS = 300, 240
ROUNDS = 15

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="one processor: nothing happens at once")


def arriving(source: str, sport: int, flags: str, seq: int, ack: int = 0) -> bytes:
    return eth(ip(source, V4.us, tcp(sport, 22, flags, seq=seq, ack=ack)))


def leaving(source: str, sport: int) -> bytes:
    return eth(ip(V4.us, source, tcp(22, sport, "SA", seq=900, ack=101)))


def ports(worker: int, count: int) -> range:
    """Nobody else's."""
    return range(1024 + worker, 1024 + 2 * count, 2)


def counted(
    path: PacketPath, work: Callable[[int], Counter[str]]
) -> tuple[list[Counter[str]], dict[str, int]]:
    """What passed on each CPU, and how many packets were given which reason."""
    before = path.reasons()
    passed = on_both(work)
    after = path.reasons()
    return passed, {name: after[name] - before[name] for name in after if after[name] != before[name]}


@pytest.mark.parametrize("per", ["", " per source"])
def test_limit(live: PacketPath, per: str) -> None:
    """Each CPU has openers of all sources. A token comes back once a day."""
    frames = [
        [(source, arriving(source, port, "S", 100)) for port in ports(worker, OPENERS) for source in SOURCES]
        for worker in range(2)
    ]

    ctx, pace = context(live), Pace()

    def knock(worker: int) -> Counter[str]:
        passed: Counter[str] = Counter()
        for source, frame in frames[worker]:
            passed[source] += send(live, 0, frame, ctx)
            pace.step(worker)
        return passed

    tokens = BURST if per else BURST * len(SOURCES)
    live.policy(CLOSED + f"allow in tcp to port 22 limit 1/day burst {tokens}{per}\n")
    passed, reasons = counted(live, knock)
    assert all(one.total() for one in passed), "one CPU had nothing to do with it"
    total = passed[0] + passed[1]
    if per:
        assert total == dict.fromkeys(SOURCES, tokens)
    else:
        assert total.total() == tokens
    assert reasons == {"rule_allow": total.total(), "over_limit": 4 * OPENERS - total.total()}


@pytest.mark.parametrize("per", ["", " per source"])
def test_max_flows(live: PacketPath, per: str) -> None:
    """All handshakes are begun, and none is complete, when both CPUs complete theirs."""
    sent = [
        [
            (arriving(source, port, "S", 100), leaving(source, port), arriving(source, port, "A", 101, 901))
            for port in ports(worker, CONNECTIONS)
            for source in SOURCES[:1]
        ]
        for worker in range(2)
    ]
    ctx = context(live)
    document = live.policy(CLOSED + f"allow in tcp to port 22 max-flows {PLACES}{per}\n")
    ceiling = (document.rules[0].id, SOURCES[0] if per else "-")
    for _ in range(ROUNDS):
        live.reset_flows()
        for opened, answer, _ in (*sent[0], *sent[1]):
            assert send(live, 0, opened, ctx) and send(live, 1, answer, ctx)
        pace = Pace()

        def complete(worker: int, pace: Pace = pace) -> Counter[str]:
            passed: Counter[str] = Counter()
            for _, _, last in sent[worker]:
                passed["flows"] += send(live, 0, last, ctx)
                pace.step(worker)
            return passed

        passed, reasons = counted(live, complete)
        assert all(one["flows"] for one in passed), "one CPU had nothing to do with it"
        assert passed[0]["flows"] + passed[1]["flows"] == PLACES
        assert reasons == {"flow": PLACES, "over_limit": 2 * CONNECTIONS - PLACES}
        assert of_rules(live) == {ceiling: PLACES}
        assert books(live) == PLACES
