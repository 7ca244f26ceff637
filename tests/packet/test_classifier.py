# SPDX-License-Identifier: MIT
"""Rulesets of many sizes and shapes, hostile ones too: what trees find is what the reference finds, rule by rule."""

from __future__ import annotations

import os
import random

import pytest

pytest.importorskip("hypothesis")

from bench.rulesets import KINDS, SHAPES, made, policy_of, questions
from firewall.evaluate import Question
from firewall.rule import Rule
from tests.packet.path import PacketPath
from tests.packet.test_rules_agree import Asker, arriving, no_forwarding, opening

__all__ = ["no_forwarding"]

RULESETS = {"known": 3, "fresh": int(os.environ.get("RULESETS") or 12)}  # of each kind and family in a run
ASKED = 12
SIZES = (33, 47, 80, 150, 300, 600)
FRESH = int(os.environ.get("SEED", "") or random.SystemRandom().getrandbits(32))
LARGE = 10_000


@pytest.mark.parametrize("which", RULESETS)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "interfaces"])
@pytest.mark.usefixtures("no_forwarding")
def test_trees_find_what_the_reference_finds(path: PacketPath, kind: str, family: int, which: str) -> None:
    seed = {"known": 1, "fresh": FRESH}[which]
    print(f"{kind}, IPv{family}: SEED={seed}")
    dice = random.Random(f"{kind} {family} {seed}")
    for round_ in range(RULESETS[which]):
        agree(path, made(kind, dice.choice(SIZES), family, seed + round_), ASKED, family, seed + round_)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", [*SHAPES, "apart"])
@pytest.mark.usefixtures("no_forwarding")
def test_large_trees_find_what_the_reference_finds(path: PacketPath, kind: str, family: int) -> None:
    print(f"{kind}, IPv{family}: SEED={FRESH}")
    agree(path, made(kind, LARGE, family, FRESH), 10 * ASKED, family, FRESH)


def agree(path: PacketPath, rules: list[Rule], asked: int, family: int, seed: int) -> None:
    """So many packets near the edges of the rules."""
    asker = Asker(path, policy_of(rules))
    for question in questions(rules, asked, family, seed):
        coming: Question = arriving(opening(question))
        asker.compare(coming, asker.arriving(coming))
