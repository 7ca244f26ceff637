# SPDX-License-Identifier: MIT
"""Parts of a long run of the differential test: they follow from its seed and size alone."""

from __future__ import annotations

import pytest

from tests.lab.differential.parts import LARGEST, Part, count, part


def all_of(seed: int, packets: int, name: str) -> list[Part]:
    return [part(seed, packets, name, number) for number in range(count(packets))]


@pytest.mark.parametrize("packets", [1, 10_000, LARGEST])
def test_a_run_of_one_part_is_what_its_seed_says(packets: int) -> None:
    assert all_of(7, packets, "both") == all_of(7, packets, "outer") == [Part(7, packets)]


@pytest.mark.parametrize("packets", [LARGEST + 1, 2 * LARGEST, 10 * LARGEST - 7])
def test_parts_are_of_one_size_and_make_up_the_whole(packets: int) -> None:
    parts = all_of(1, packets, "both")
    sizes = {one.packets for one in parts}
    assert len(sizes) == 1 and LARGEST / 2 < min(sizes) <= LARGEST
    assert packets <= sum(one.packets for one in parts) < packets + len(parts)


def test_no_part_is_like_another_or_like_one_of_the_next_seed() -> None:
    seeds = [
        one.seed for seed in (1, 2) for name in ("both", "outer") for one in all_of(seed, 4 * LARGEST, name)
    ]
    assert len(set(seeds)) == len(seeds) == 16


def test_a_part_is_the_same_on_each_machine() -> None:
    assert part(1, 2 * LARGEST, "both", 1) == Part(2868807575, LARGEST)


def test_a_part_can_be_had_again_alone() -> None:
    seed, packets = part(1, 10 * LARGEST, "outer", 6)
    assert all_of(seed, packets, "outer") == [Part(seed, packets)]
