# SPDX-License-Identifier: MIT
"""Tens of thousands of honest frames with something wrong in them, as a strict reader of the RFCs judges them.

FW_MUTATIONS says how many (50,000), FW_FUZZ_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable

import pytest

pytest.importorskip("hypothesis")

from tests.packet.path import PacketPath
from tests.packet.test_fuzz import HONEST, SEED, Checked, open_path, runs

MUTATIONS = int(os.environ.get("FW_MUTATIONS") or 50_000)
PARTS = 4
EDGES = (0, 1, 4, 5, 8, 20, 40, 127, 128, 254, 255)

__all__ = ["open_path"]


def flip(chance: random.Random, frame: bytearray) -> None:
    """One bit, most often of a header."""
    frame[chance.randrange(12, min(len(frame), 90))] ^= 1 << chance.randrange(8)


def set_byte(chance: random.Random, frame: bytearray) -> None:
    frame[chance.randrange(12, len(frame))] = chance.choice(EDGES)


def set_word(chance: random.Random, frame: bytearray) -> None:
    """Lengths and offsets are words: one near what it was, or at an end of its range."""
    at = chance.randrange(12, len(frame) - 1)
    old = int.from_bytes(frame[at : at + 2], "big")
    new = chance.choice(
        (old - 1, old + 1, old + 8, old - 8, 0, 0xFFFF, 0x8000, len(frame) - at, len(frame) - 14)
    )
    frame[at : at + 2] = (new % 2**16).to_bytes(2, "big")


def cut(chance: random.Random, frame: bytearray) -> None:
    del frame[chance.randrange(14, len(frame)) :]


def lengthen(chance: random.Random, frame: bytearray) -> None:
    frame += chance.randbytes(chance.randrange(1, 64))


def move(chance: random.Random, frame: bytearray) -> None:
    """Bytes of the frame once more, over others or between them."""
    source, size = chance.randrange(12, len(frame)), chance.choice((1, 2, 4, 8, 20))
    at = chance.randrange(12, len(frame))
    frame[at : at + chance.choice((0, size))] = frame[source : source + size]


def drop_bytes(chance: random.Random, frame: bytearray) -> None:
    at = chance.randrange(12, len(frame))
    del frame[at : at + chance.choice((1, 2, 4, 8))]


MUTATORS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    flip,
    set_byte,
    set_word,
    cut,
    lengthen,
    move,
    drop_bytes,
)


def mutated(chance: random.Random) -> bytes:
    frame = bytearray(chance.choice(HONEST))
    for mutate in chance.choices(MUTATORS, k=chance.choice((1, 1, 2, 3))):
        if len(frame) > 16:
            mutate(chance, frame)
    return bytes(frame)


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_dishonest_passes(open_path: PacketPath, part: int) -> None:
    chance = random.Random(f"{SEED}/{part}")
    reasons: Counter[str] = Counter()
    left = MUTATIONS // PARTS
    while left:
        frame = mutated(chance)
        if runs(frame):
            checked = Checked(open_path, frame, leaves=chance.random() < 0.5)
            checked.check()
            reasons[checked.verdict.reason] += 1
            left -= 1
    passed = sum(reasons[reason] for reason in ("default_allow", "related", "flow"))
    assert min(MUTATIONS // PARTS, 1000) // 20 < passed < MUTATIONS // PARTS, (
        "some are honest still, some are not"
    )
