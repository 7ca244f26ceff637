# SPDX-License-Identifier: MIT
"""Which rules are dead: covered whole by one earlier rule, so that they can never decide anything.

A rule that only several earlier ones cover together is not found.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from firewall.expand import SCOPE_BITS, InSets, Sides, around, scope_mask, sides
from firewall.further import further_of
from firewall.ranges import ADDRESS_MAX, Range, covers
from firewall.rule import Rule
from firewall.terms import Names


class _Shape:
    """A rule as ranges, and the smallest range around each of its lists."""

    __slots__ = ("further", "hulls", "on", "scopes", "sides", "via")

    def __init__(self, rule: Rule) -> None:
        self.scopes = scope_mask(rule)
        self.on = rule.on and rule.on.plain
        self.via = rule.via and rule.via.plain
        self.further = further_of(rule)
        self.sides = sides(rule)
        every = list(self.sides.values())
        four = [one for (_, family), one in self.sides.items() if family == 4]
        six = [one for (_, family), one in self.sides.items() if family == 6]
        self.hulls = [
            _hull([around(one.src, one.src_sets, 4) for one in four]),
            _hull([around(one.dst, one.dst_sets, 4) for one in four]),
            _hull([around(one.src, one.src_sets, 6) for one in six]),
            _hull([around(one.dst, one.dst_sets, 6) for one in six]),
            _hull([one.sport for one in every]),
            _hull([one.dport for one in every]),
        ]


class _Index:
    """For one of the hulls: which rules (as bits of a number) have one that covers a given hull."""

    __slots__ = ("_begins_by", "_ends_from", "_highs", "_lows")

    def __init__(self, hulls: Sequence[Range | None]) -> None:
        present = [(hull, 1 << index) for index, hull in enumerate(hulls) if hull]
        by_low = sorted((hull[0], bit) for hull, bit in present)
        by_high = sorted((hull[1], bit) for hull, bit in present)
        self._lows = [low for low, _ in by_low]
        self._highs = [high for high, _ in by_high]
        self._begins_by = [0]
        for _, bit in by_low:
            self._begins_by.append(self._begins_by[-1] | bit)
        self._ends_from = [0]
        for _, bit in reversed(by_high):
            self._ends_from.append(self._ends_from[-1] | bit)
        self._ends_from.reverse()

    def covering(self, hull: Range) -> int:
        return (
            self._begins_by[bisect_right(self._lows, hull[0])]
            & self._ends_from[bisect_left(self._highs, hull[1])]
        )


def dead_by(rules: Sequence[Rule], index: int) -> int | None:
    """The index of the first rule before `rules[index]` that covers it; None if none does."""
    shape = _Shape(rules[index])
    return next((earlier for earlier in range(index) if _covers(_Shape(rules[earlier]), shape)), None)


def dead_rules(rules: Iterable[Rule]) -> dict[int, int]:
    """The indexes of all dead rules, each with that of the first rule that covers it.

    Hulls narrow the search to few candidates for each rule, so that a thousand rules take milliseconds.
    """
    shapes = [_Shape(rule) for rule in rules]
    indexes = [_Index([shape.hulls[which] for shape in shapes]) for which in range(6)]
    scoped = {
        bit: sum(1 << index for index, shape in enumerate(shapes) if shape.scopes & bit)
        for bit in SCOPE_BITS.values()
    }
    dead: dict[int, int] = {}
    for index, shape in enumerate(shapes):
        candidates = (1 << index) - 1
        for bit, members in scoped.items():
            if shape.scopes & bit:
                candidates &= members
        for which, hull in enumerate(shape.hulls):
            if hull:
                candidates &= indexes[which].covering(hull)
        while candidates:
            earlier = (candidates & -candidates).bit_length() - 1
            if _covers(shapes[earlier], shape):
                dead[index] = earlier
                break
            candidates &= candidates - 1
    return dead


def _covers(outer: _Shape, inner: _Shape) -> bool:
    return (
        (not outer.further or outer.further == inner.further)
        and inner.scopes & ~outer.scopes == 0
        and _names_cover(outer.on, inner.on)
        and _names_cover(outer.via, inner.via)
        and all(_sides_cover(outer, key, one) for key, one in inner.sides.items())
    )


def _sides_cover(outer: _Shape, key: tuple[int, int], inner: Sides) -> bool:
    found = outer.sides.get(key) or outer.sides.get((0, key[1]))
    return (
        found is not None
        and covers(found.sport, inner.sport)
        and covers(found.dport, inner.dport)
        and _addresses_cover(found.src, found.src_sets, inner.src, inner.src_sets, key[1])
        and _addresses_cover(found.dst, found.dst_sets, inner.dst, inner.dst_sets, key[1])
    )


def _addresses_cover(
    outer: Sequence[Range],
    outer_sets: InSets | None,
    inner: Sequence[Range],
    inner_sets: InSets | None,
    family: int,
) -> bool:
    """Whether the addresses of one end are all among those of another, whatever elements the sets have."""
    if not covers(outer, inner):
        return False
    taken = outer_sets.names if outer_sets and outer_sets.negated else frozenset()
    if inner_sets is None or inner_sets.negated:
        return not taken or (inner_sets is not None and taken <= inner_sets.names)
    if taken:
        return False
    given = outer_sets.names if outer_sets else frozenset()
    return inner_sets.names <= given or outer == [(0, ADDRESS_MAX[family])]


def _names_cover(outer: Names | None, inner: Names | None) -> bool:
    """Whether every interface that `inner` matches is one that `outer` matches."""
    if outer is None or outer == inner or (not outer.negated and "+" in outer.patterns):
        return True
    if inner is None:
        return False
    if outer.negated and inner.negated:
        return all(any(_wider(theirs, ours) for theirs in inner.patterns) for ours in outer.patterns)
    if outer.negated:
        return not any(_wider(a, b) or _wider(b, a) for a in outer.patterns for b in inner.patterns)
    return not inner.negated and all(
        any(_wider(ours, theirs) for ours in outer.patterns) for theirs in inner.patterns
    )


def _wider(wide: str, narrow: str) -> bool:
    """Whether the name pattern `wide` matches every name that `narrow` does."""
    return narrow.removesuffix("+").startswith(wide[:-1]) if wide.endswith("+") else wide == narrow


def _hull(lists: Sequence[Sequence[Range]]) -> Range | None:
    if len(lists) == 1:
        return lists[0][0][0], lists[0][-1][1]
    found = [(ranges[0][0], ranges[-1][1]) for ranges in lists]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None
