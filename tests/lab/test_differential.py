# SPDX-License-Identifier: MIT
"""fw and netfilter judge the same packets: nothing leaks, nothing breaks, but by the list in `allowed`.

A run is drawn anew each time, and a long one goes on in parts (`parts`), each of which shows each entry of the list at
work. When one fails it names its seed, and with that it can be repeated:

    make test-differential SEED=1234 PACKETS=1000000
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.lab.device import MUST
from tests.lab.differential.allowed import ALLOWED
from tests.lab.differential.compare import Allowed, Comparison, Outcome, complaints
from tests.lab.differential.kinds import KINDS
from tests.lab.differential.parts import count, part
from tests.lab.differential.routers import NoConntrack, Routers

PACKETS = int(os.environ.get("PACKETS") or 10_000)
SEED = os.environ.get("SEED")
PATIENCE_S = 1200  # for one part: an emulated machine is slow
ENOUGH = 150_000  # packets in which every entry of the list is needed
KNOWN_SEED = 1
WEAK_PACKETS = 600_000  # at most: most weaknesses show in the first thousands

PROTECTED = {"both": ("lan0", "wan0"), "outer": ("wan0",)}


def fresh_seed() -> int:
    return int(SEED) if SEED else random.SystemRandom().getrandbits(32)


@contextmanager
def routers(**how: object) -> Iterator[Routers]:
    """The laboratory, or a skipped test where the kernel has nothing to compare with."""
    try:
        with Routers(**how) as both:  # type: ignore[arg-type]
            yield both
    except NoConntrack as nothing:
        said = f"nothing to compare fw with: {nothing}"
        pytest.fail(said) if os.environ.get(MUST) else pytest.skip(said)


def difference(seed: int, packets: int, outcome: Outcome, report: str) -> str:
    return (
        f"fw and netfilter differ in {len(outcome.unexplained)} conversations of {outcome.packets} packets; "
        f"again: make test-differential SEED={seed} PACKETS={packets}\n\n{report}"
    )


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("number", range(count(PACKETS)))
@pytest.mark.parametrize("protected", PROTECTED)
def test_fw_judges_as_netfilter_does(protected: str, number: int) -> None:
    seed, packets = part(fresh_seed(), PACKETS, protected, number)
    judge(seed, packets, protected)


@pytest.mark.timeout(PATIENCE_S)
def test_each_entry_of_the_list_is_needed() -> None:
    judge(KNOWN_SEED, ENOUGH, "both")


def judge(seed: int, packets: int, protected: str) -> None:
    """Fails if the two routers differ where the list does not say so, or if the list says too much."""
    with routers(protected=PROTECTED[protected]) as both:
        comparison = Comparison(both, KINDS, ALLOWED, seed)
        recent = comparison.suit_netfilter()
        outcome = comparison.run(packets)
        if outcome.unexplained:
            pytest.fail(difference(seed, packets, outcome, comparison.report()), pytrace=False)
    assert outcome.packets * 0.5 < outcome.passed < outcome.packets * 0.99
    doubts = complaints(outcome, ALLOWED, recent) if outcome.packets >= ENOUGH else []
    assert not doubts, "\n".join([f"SEED={seed} PACKETS={packets}", *doubts])


WEAKER_NFT: dict[str, dict[str, object]] = {
    "invalid packets pass": {"nft_extra": "ct state invalid accept"},
    "windows are not looked at": {"conntrack": {"netfilter/nf_conntrack_tcp_be_liberal": 1}},
    "connections are taken up in the middle": {"conntrack": {"netfilter/nf_conntrack_tcp_loose": 1}},
    "every acknowledgement passes": {"nft_extra": "tcp flags & (syn | rst | ack) == ack accept"},
    "every error passes": {"nft_extra": "icmp type { destination-unreachable, time-exceeded } accept"},
    "every answer passes": {"nft_extra": "udp sport 53 accept"},
}
WEAKER_FW: dict[str, dict[str, object]] = {
    "windows are not looked at": {"fw_extra": "option tcp.window off\n"},
    "every answer passes": {"fw_extra": "allow forward on wan0 via lan0 udp from any port 53\n"},
}


def is_shown(how: dict[str, object], leaked: bool) -> None:
    """Of two routers the weaker lets through what the other drops, and few packets are enough to show it."""
    with routers(**how) as both:
        comparison = Comparison(both, KINDS, ALLOWED, fresh_seed())
        comparison.suit_netfilter()
        outcome = comparison.run(WEAK_PACKETS, enough=2)
        shown = [(c, at) for c, at in outcome.unexplained if c.leaked(at) == leaked]
        assert shown, f"SEED={outcome.seed}: no difference in {outcome.packets} packets"
        short = comparison.shortest(*shown[0])
    assert len(short.packets) <= 8, str(short)
    assert (" <-- DROP  pass " if leaked else " <-- pass  DROP ") in str(short).splitlines()[-1]


@pytest.mark.parametrize("weakness", WEAKER_NFT)
def test_weaker_nft_rules_show(weakness: str) -> None:
    """Else the agreement of the two proves nothing."""
    is_shown(WEAKER_NFT[weakness], leaked=False)


@pytest.mark.parametrize("weakness", WEAKER_FW)
def test_a_weaker_fw_shows(weakness: str) -> None:
    is_shown(WEAKER_FW[weakness], leaked=True)


def test_a_run_follows_from_its_seed() -> None:
    def talk(seed: int) -> list[str]:
        comparison = Comparison(None, KINDS, ALLOWED, seed)  # type: ignore[arg-type]
        return [str(comparison.make()) for _ in range(200)]

    assert talk(1) == talk(1) != talk(2)


def test_entries_that_explain_nothing_or_too_much() -> None:
    entries: Sequence[Allowed] = [
        Allowed(name, "", lambda c, at: True) for name in ("never", "seldom", "often")
    ]
    outcome = Outcome(1, packets=1000, uses=Counter(seldom=10, often=11))
    assert complaints(outcome, entries) == [
        "not used in 1000 packets, so take it off the list: never",
        "explains 11 of 1000 packets, more than 1%: often",
    ]
    newer = [Allowed("newer", "", lambda c, at: True, recent=True)]
    assert complaints(outcome, newer) and not complaints(Outcome(1, packets=1), newer, recent=False)
    older = [Allowed("older", "", lambda c, at: True, older=True)]
    assert not complaints(Outcome(1, packets=1), older)
