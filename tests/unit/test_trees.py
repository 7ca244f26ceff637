# SPDX-License-Identifier: MIT
"""The trees of tree_src, walked here as the packet path walks them, find what a search of all entries finds."""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

import pytest

from firewall import abi
from firewall.bindings.libtree import TooAlike, Trees, build

WIDTHS = {4: 32, 6: 128}
PORT_BITS = 16
LINE = int(abi.Tree.TREE_LINE)
LEAF = LAST = 1 << 31
NO_ENTRY = (1 << 32) - 1
ROUNDS = 120

Range = tuple[int, int]


class Box(NamedTuple):
    """An entry: closed ranges, a mask of scopes, and whether all that is in it matches."""

    family: int
    proto: int
    ranges: tuple[Range, Range, Range, Range]  # source, destination, their ports
    scopes: int
    sure: bool


class Packet(NamedTuple):
    family: int
    proto: int
    values: tuple[int, int, int, int]
    scope: int


def spread(rng: random.Random, bits: int, kind: str) -> Range:
    """A range of a kind: everything, a prefix, anything, or one value of few."""
    if kind == "all":
        return 0, (1 << bits) - 1
    if kind == "prefix":
        free = rng.randrange(bits + 1)
        base = rng.getrandbits(bits) >> free << free
        return base, base | (1 << free) - 1
    if kind == "one":
        value = rng.randrange(8) << rng.choice((0, bits // 2))
        return value, value
    ends = sorted((rng.getrandbits(bits), rng.getrandbits(bits)))
    return ends[0], ends[1]


def boxes(rng: random.Random) -> list[Box]:
    """Few kinds of ranges in one ruleset, so that it is shaped somehow."""
    kinds = rng.choices(("all", "prefix", "any", "one"), k=rng.randrange(1, 4))
    families = rng.choice(((4,), (6,), (4, 6), (0, 4, 6)))
    found = []
    for _ in range(rng.choice((33, 65, 200, 500))):
        family = rng.choice(families)
        bits = WIDTHS[family or 6]
        whole: Range = (0, (1 << bits) - 1)
        ends = [spread(rng, bits, rng.choice(kinds)) if family else whole for _ in range(2)]
        ports = [spread(rng, PORT_BITS, rng.choice(kinds)) for _ in range(2)]
        proto = rng.choice((0, 6, 17))
        ranges = ends[0], ends[1], ports[0], ports[1]
        found.append(Box(family, proto, ranges, rng.randrange(1, 8), rng.random() < 0.8))
    return found


def packed(found: list[Box]) -> bytes:
    return b"".join(
        abi.Entry(
            src=span(box.ranges[0]),
            dst=span(box.ranges[1]),
            sport_lo=box.ranges[2][0],
            sport_hi=box.ranges[2][1],
            dport_lo=box.ranges[3][0],
            dport_hi=box.ranges[3][1],
            family=box.family,
            proto=box.proto,
            scopes=box.scopes,
            flags=0 if box.sure else abi.EntryFlags.ENTRY_UNSURE,
        ).pack()
        for box in found
    )


def span(ends: Range) -> abi.Range:
    low, high = ([end >> 64, end & (1 << 64) - 1] for end in ends)
    return abi.Range(lo=low, hi=high)


def packet_near(rng: random.Random, found: list[Box]) -> Packet:
    """At an edge of some entries."""
    family = rng.choice(found).family or rng.choice((4, 6))
    values = []
    for axis in range(4):
        bits = WIDTHS[family] if axis < 2 else PORT_BITS
        edge = rng.choice(rng.choice(found).ranges[axis]) + rng.choice((-1, 0, 0, 1))
        values.append(min(max(edge, 0), (1 << bits) - 1))
    one, two, three, four = values
    return Packet(family, rng.choice((1, 6, 17)), (one, two, three, four), rng.randrange(3))


def matches(box: Box, packet: Packet) -> bool:
    return (
        box.family in (0, packet.family)
        and box.proto in (0, packet.proto)
        and bool(box.scopes >> packet.scope & 1)
        and all(low <= value <= high for (low, high), value in zip(box.ranges, packet.values, strict=True))
    )


def walked(trees: Trees, wanted: list[bool], packet: Packet) -> int:
    """classify.h: search()."""
    lines = [*struct.iter_unpack(f"={LINE}I", trees.lines)]
    src, dst, sport, dport = packet.values
    words = [value >> shift & 0xFFFFFFFF for value in (src, dst) for shift in (96, 64, 32, 0)]
    fields = [packet.proto, packet.scope, sport, dport, *words]
    best, groups = NO_ENTRY, int(abi.Tree.TREE_GROUPS)
    start = (packet.family == 6) * groups
    for pointer, first in trees.roots[start : start + groups]:
        if first >= best:
            break
        for _ in range(abi.Tree.TREE_CELLS):
            if pointer & LEAF:
                break
            cell, node = lines[pointer], 1
            for _ in range(3):
                node = 2 * node + (fields[cell[7] >> 4 * (node - 1) & 15] > cell[node - 1])
            pointer = cell[node]
        assert pointer & LEAF, "it is no deeper than the packet path walks"
        best = min(best, in_leaf(lines, pointer & ~LEAF, wanted))
    return best


def in_leaf(lines: list[tuple[int, ...]], line: int, wanted: list[bool]) -> int:
    for words in lines[line:] if line < len(lines) else ():
        for word in words:
            if wanted[word & ~LAST]:
                return word & ~LAST
            if word & LAST:
                return NO_ENTRY
    return NO_ENTRY


@pytest.mark.parametrize("chain_max", [None, 16])
def test_trees_find_what_a_search_finds(chain_max: int | None) -> None:
    seed = random.SystemRandom().getrandbits(32)
    rng, built = random.Random(seed), 0
    for _ in range(ROUNDS):
        found = boxes(rng)
        entries = packed(found)
        try:
            trees = build(entries, len(found), chain_max) if chain_max else build(entries, len(found))
        except TooAlike as error:
            assert chain_max and chain_max <= error.entry < len(found), f"seed {seed}"
            continue
        built += 1
        assert not chain_max or trees.longest <= chain_max
        for _ in range(20):
            packet = packet_near(rng, found)
            # of what is not sure some match and some do not
            wanted = [matches(box, packet) and (box.sure or rng.random() < 0.5) for box in found]
            expected = wanted.index(True) if any(wanted) else NO_ENTRY
            assert walked(trees, wanted, packet) == expected, f"seed {seed}: {packet}"
    assert built > ROUNDS // 4 and (built < ROUNDS) == bool(chain_max)
