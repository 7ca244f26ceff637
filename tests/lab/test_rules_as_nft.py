# SPDX-License-Identifier: MIT
"""The same rulesets in fw and in nftables, and the same packets through both: a rule means in fw what it says in nft.

Rulesets and packets are drawn anew each time; a run that fails names its seed, with which it can be repeated:

    SEED=1234 RULESETS=10000 .venv/bin/pytest tests/lab/test_rules_as_nft.py
"""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.differential.routers import FW, NFT, Routers
from tests.lab.differential.rulesets import Between, Ruleset, packets, ruleset
from tests.lab.differential.talk import Packet
from tests.lab.test_differential import fresh_seed, routers

RULESETS = int(os.environ.get("RULESETS") or 200)
PACKETS = 60  # for each ruleset
APPLIER = Path(__file__).with_name("applier.py")


class Judges:
    """Both routers, and what puts rulesets in force in them."""

    def __init__(self, both: Routers) -> None:
        self.both = both
        self.applier = both.fw.popen([sys.executable, str(APPLIER)], stdin=-1)

    def put(self, of: Ruleset) -> None:
        assert self.applier.stdin and self.applier.stdout
        self.both.nft.run("nft -f -", input=of.nft())
        self.applier.stdin.write(json.dumps(of.fw()) + "\n")
        self.applier.stdin.flush()
        said = self.applier.stdout.readline().strip()
        assert said == "done", f"{said}\n{of.fw()}"

    def differing(self, talk: list[tuple[Between, Packet]]) -> tuple[int, list[tuple[Between, Packet, bool]]]:
        """How many packets passed, and those about which they differ, with what fw said."""
        came = self.both.exchange(talk)
        odd = [
            (ends, packet, by_fw)
            for (ends, packet), by_nft, by_fw in zip(talk, came[NFT], came[FW], strict=True)
            if by_nft != by_fw
        ]
        return sum(came[FW]), odd


@pytest.mark.timeout(600 + RULESETS)
def test_rules_mean_what_they_mean_in_nft() -> None:
    seed = fresh_seed()
    dice = random.Random(seed)
    judged = passed = 0
    with routers() as both:
        judges = Judges(both)
        for number in range(RULESETS):
            drawn = ruleset(dice)
            judges.put(drawn)
            talk = packets(drawn, PACKETS, dice)
            through, odd = judges.differing(talk)
            judged, passed = judged + len(talk), passed + through
            if odd:
                pytest.fail(f"SEED={seed}, ruleset {number + 1}\n{told(drawn, odd)}", pytrace=False)
    assert judged > RULESETS * PACKETS * 0.9
    assert 0.2 < passed / judged < 0.8, "rules and packets have to do with each other"


def told(drawn: Ruleset, odd: list[tuple[Between, Packet, bool]]) -> str:
    lines = [
        f"{type(packet).__name__} from the {'server' if packet.side else 'client'} of {ends}: "
        f"fw {'passes' if by_fw else 'drops'} it, nft does not"
        for ends, packet, by_fw in odd
    ]
    return "\n".join([*lines, "", drawn.fw(), drawn.nft()])


def test_a_rule_that_is_another_in_one_of_them_shows() -> None:
    """Else the agreement of the two proves nothing."""
    dice = random.Random(1)
    with routers() as both:
        judges = Judges(both)
        shown = 0
        for _ in range(12):
            drawn = ruleset(dice)
            weaker = [
                replace(rule, action="drop" if rule.action == "allow" else "allow") for rule in drawn.rules
            ]
            judges.put(drawn)
            both.nft.run("nft -f -", input=Ruleset(drawn.default, weaker, drawn.sets).nft())
            shown += bool(judges.differing(packets(drawn, PACKETS, dice))[1])
    assert shown > 8
