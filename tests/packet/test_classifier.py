# SPDX-License-Identifier: MIT
"""Rulesets of many sizes and shapes, hostile ones too: what trees find is what the reference finds, rule by rule."""

from __future__ import annotations

import os
import random

import pytest

pytest.importorskip("hypothesis")

from bench.rulesets import HOSTILE, SHAPES, made, policy_of, questions
from firewall.evaluate import Question
from tests.packet.path import PacketPath
from tests.packet.test_rules_agree import Asker, arriving, no_forwarding, opening

__all__ = ["no_forwarding"]

RULESETS = 5  # of each kind and family in a run
ASKED = 12
SIZES = (33, 47, 80, 150, 300, 600)
FRESH = int(os.environ.get("SEED", "") or random.SystemRandom().getrandbits(32))


@pytest.mark.parametrize("seed", [1, FRESH], ids=["known", "fresh"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [*SHAPES, *(kind for kind in HOSTILE if kind != "interfaces")])
@pytest.mark.usefixtures("no_forwarding")
def test_trees_find_what_the_reference_finds(path: PacketPath, kind: str, family: int, seed: int) -> None:
    print(f"{kind}, IPv{family}: SEED={seed}")
    dice = random.Random(f"{kind} {family} {seed}")
    for round_ in range(RULESETS):
        rules = made(kind, dice.choice(SIZES), family, seed + round_)
        asker = Asker(path, policy_of(rules))
        for question in questions(rules, ASKED, family, seed + round_):
            coming: Question = arriving(opening(question))
            asker.compare(coming, asker.arriving(coming))
