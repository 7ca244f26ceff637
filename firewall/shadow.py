# SPDX-License-Identifier: MIT
"""Which rules are dead: covered whole by one earlier rule, so that they can never decide anything.

A rule that only several earlier ones cover together is not found.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from firewall.expand import Entry, InSets, Sides, around, scope_mask, sides, single
from firewall.further import further_of
from firewall.progress import counted
from firewall.ranges import ADDRESS_MAX, Range, covers
from firewall.rule import Rule
from firewall.terms import End, Names

_Kept = TypeVar("_Kept")
_ALL4 = (0, ADDRESS_MAX[4])


# Pairs of rules that are compared at the most: in policies that tell rules apart as others do, few for each rule.
MAX_STEPS = 2_000_000
_SPANS_PER_STEP = 10  # those of two rules, to compare which takes about as long as to find a pair

# The smallest ranges around what a rule asks: of source and destination in IPv4 and in IPv6, and of both ports. None
# where it matches no packet of the family.
_Hulls = tuple[Range | None, Range | None, Range | None, Range | None, Range | None, Range | None]
_SRC4, _DST4, _SRC6, _DST6, _SPORT, _DPORT = range(6)


class TooMany(Exception):
    """The search takes more than MAX_STEPS: `done` rules were looked at, of which `dead` are dead."""

    def __init__(self, done: int, dead: dict[int, int]) -> None:
        super().__init__(done)
        self.done = done
        self.dead = dead


class _Shape:
    """A rule as ranges."""

    __slots__ = ("further", "on", "scopes", "sides", "size", "via")

    def __init__(self, rule: Rule) -> None:
        self.scopes = scope_mask(rule)
        self.on = rule.on and rule.on.plain
        self.via = rule.via and rule.via.plain
        self.further = further_of(rule)
        self.sides = sides(rule)
        self.size = sum(len(one.src) + len(one.dst) for one in self.sides.values())


class _Level:
    """Ranges by the smallest prefix around each: what is kept under those that are around another one."""

    __slots__ = ("_kept", "_lengths")

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}  # by the prefix, its free bits as a length below it
        self._lengths: list[int] = []  # of free bits, that occur

    def at(self, span: Range, make: Callable[[], _Kept]) -> _Kept:
        """What is kept for ranges like this one."""
        free = (span[0] ^ span[1]).bit_length()
        key = span[0] >> free << 8 | free
        if key not in self._kept:
            self._kept[key] = make()
            if free not in self._lengths:
                self._lengths.append(free)
        kept: _Kept = self._kept[key]
        return kept

    def around(self, span: Range) -> Iterator[Any]:
        """What is kept for ranges that may cover this one."""
        low, least, kept = span[0], (span[0] ^ span[1]).bit_length(), self._kept
        for free in self._lengths:
            if free >= least and (key := low >> free << 8 | free) in kept:
                yield kept[key]


class _Index:
    """Rules by where their addresses and ports are, in one family."""

    def __init__(self, src: int, dst: int) -> None:
        """`src` and `dst` say which of the hulls are of this family."""
        self._src, self._dst = src, dst
        self._level = _Level()

    def add(self, number: int, hulls: _Hulls) -> None:
        src, dst, dport = hulls[self._src], hulls[self._dst], hulls[_DPORT]
        if src and dst and dport:
            numbers: list[int] = self._level.at(src, _Level).at(dst, _Level).at(dport, list)
            numbers.append(number)

    def lists(self, hulls: _Hulls) -> Iterator[list[int]]:
        """The rules that may cover one with these hulls, in several lists, each ascending."""
        src, dst, dport = hulls[self._src], hulls[self._dst], hulls[_DPORT]
        if src and dst and dport:
            for of_src in self._level.around(src):
                for of_dst in of_src.around(dst):
                    yield from of_dst.around(dport)


def dead_by(rules: Sequence[Rule], index: int) -> int | None:
    """The index of the first rule before `rules[index]` that covers it; None if none does."""
    shape, hulls = _Shape(rules[index]), _hulls(rules[index], single(rules[index]))
    for earlier in range(index):
        rule = rules[earlier]
        if not _reaches(rule.src, hulls[_SRC4], hulls[_SRC6]):
            continue
        if _reaches(rule.dst, hulls[_DST4], hulls[_DST6]) and _covers(_Shape(rule), shape):
            return earlier
    return None


def dead_rules(rules: Sequence[Rule], boxes: Sequence[Entry | None] | None = None) -> dict[int, int]:
    """The indexes of all dead rules, each with that of the first rule that covers it. Raises TooMany.

    `boxes` has what `single` says of each rule, where that is known.
    """
    four, six = _Index(_SRC4, _DST4), _Index(_SRC6, _DST6)
    boxes = boxes or [single(rule) for rule in rules]
    every = [_hulls(rule, box) for rule, box in zip(rules, boxes, strict=True)]
    dead: dict[int, int] = {}
    shapes: dict[int, _Shape] = {}  # of those that may cover another
    steps = 0
    for index, hulls in enumerate(counted("comparing rules", every)):
        first = index
        shape = None
        for numbers in (four if hulls[_SRC4] else six).lists(hulls):
            for earlier in numbers:
                if earlier >= first:
                    break
                steps += 1
                if _around(every[earlier], hulls):
                    shape = shape or _Shape(rules[index])
                    if earlier not in shapes:
                        shapes[earlier] = _Shape(rules[earlier])
                    steps += (shape.size + shapes[earlier].size) // _SPANS_PER_STEP
                    if _covers(shapes[earlier], shape):
                        first = earlier
                        break
        if first < index:
            dead[index] = first
        if steps > MAX_STEPS and index + 1 < len(rules):
            raise TooMany(index + 1, dead)
        four.add(index, hulls)
        six.add(index, hulls)
    return dead


def _hulls(rule: Rule, box: Entry | None) -> _Hulls:
    """`box` is the rule's only one; None where it has several."""
    if box is not None:
        src, dst = (box.src_lo, box.src_hi), (box.dst_lo, box.dst_hi)
        ports = (box.sport_lo, box.sport_hi), (box.dport_lo, box.dport_hi)
        if box.family == 4:
            return src, dst, None, None, *ports
        return (_ALL4, _ALL4, src, dst, *ports) if box.family == 0 else (None, None, src, dst, *ports)
    asked = sides(rule)
    every = list(asked.values())
    four = [one for (_, family), one in asked.items() if family == 4]
    six = [one for (_, family), one in asked.items() if family == 6]
    return (
        _hull([around(one.src, one.src_sets, 4) for one in four]),
        _hull([around(one.dst, one.dst_sets, 4) for one in four]),
        _hull([around(one.src, one.src_sets, 6) for one in six]),
        _hull([around(one.dst, one.dst_sets, 6) for one in six]),
        _hull([one.sport for one in every]),
        _hull([one.dport for one in every]),
    )


def _around(outer: _Hulls, inner: _Hulls) -> bool:
    return all(
        there is None or (here is not None and here[0] <= there[0] and there[1] <= here[1])
        for here, there in zip(outer, inner, strict=True)
    )


def _reaches(end: End, four: Range | None, six: Range | None) -> bool:
    """Whether the end may cover these ranges; False is certain."""
    addrs = end.addrs
    if addrs is None or addrs.negated or addrs.sets or addrs.hosts or len(addrs.spans) != 1:
        return True
    ((family, low, high),) = addrs.spans
    hull, other = (four, six) if family == 4 else (six, four)
    return other is None and (hull is None or (low <= hull[0] and hull[1] <= high))


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
    taken = outer_sets.asked if outer_sets and outer_sets.negated else frozenset()
    if inner_sets is None or inner_sets.negated:
        return not taken or (inner_sets is not None and taken <= inner_sets.asked)
    if taken:
        return False
    given = outer_sets.asked if outer_sets else frozenset()
    return inner_sets.asked <= given or outer == [(0, ADDRESS_MAX[family])]


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
