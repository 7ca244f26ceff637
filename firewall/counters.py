# SPDX-License-Identifier: MIT
"""The counters of rules: pages of them in the kernel, which come and go with the rules that have a counter there.

A rule keeps its counter for as long as it is there, and a counter its place: nothing is copied when a policy grows
or shrinks, and no packet goes uncounted.
"""

import sys
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import ExitStack
from errno import ENOENT
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from firewall import abi
from firewall.beside import Beside
from firewall.bpfmap import F_INNER_MAP, F_MMAPABLE, Map, MappedArray, MapType, create_map
from firewall.clock import hz, now_j
from firewall.errors import KernelRefused

_PAGE, _SIZE = int(abi.Limits.COUNTERS_PAGE), abi.RuleCounter.SIZE
_WORDS = _SIZE // 8
_CPUS = Path("/sys/devices/system/cpu/possible")  # as in 0-3 or 0,2-3; the last is the highest
_DEFAULTS = range(abi.Scope.SCOPE_COUNT)


class Count(NamedTuple):
    """Sums over all CPUs; `last_j` is jiffies at the last packet, 0 if there was none."""

    packets: int
    bytes: int
    last_j: int


_NONE = Count(0, 0, 0)


class Counters:
    """The pages in the map `rule_counters`. Counters are named by their numbers, those of defaults are always there.

    Which pages are there is known by the rules that count in them: before 6.8 the kernel waits at each look into
    a map of maps until all packets that are on their way are done.
    """

    def __init__(self, pages: Map) -> None:
        self._pages = pages

    def prepare(self, used: Set[int] | None, new: Iterable[int]) -> None:
        """Makes room for what a policy counts, beside what is `used` by the one in force (None: there is none).

        What is `new`, and counts nothing yet, is 0.
        """
        fresh = sorted(set(new))
        wanted = _pages_of((*_DEFAULTS, *fresh))
        have = set() if used is None else {page for page in wanted if _is_needed(page, used)}
        self._zero([counter for counter in fresh if counter // _PAGE in have])
        with ExitStack() as beside:
            for page in wanted - have:
                inner = beside.enter_context(_new_page())
                beside.enter_context(Beside(partial(self._pages.set_inner, _key(page), inner)))

    def keep(self, used: Set[int], before: Set[int] = frozenset()) -> None:
        """Gives up the pages of what was used `before` in which none of these counters is, and no default's."""
        with ExitStack() as beside:
            for page in _pages_of(before - used):
                if not _is_needed(page, used):
                    beside.enter_context(Beside(partial(self._pages.drop_inner, _key(page))))
        # a killed command leaves those that come next
        left = max((*_DEFAULTS, max(used, default=0), max(before, default=0))) // _PAGE + 1
        while left < self._pages.max_entries and self._pages.drop_inner(_key(left)):
            left += 1

    def read(self, wanted: Sequence[int]) -> list[Count]:
        """What these have counted, in their order; nothing if there is no such counter."""
        found: dict[int, Count] = {}
        for page, numbers in groupby(sorted(set(wanted)), key=lambda number: number // _PAGE):
            inside = [number % _PAGE for number in numbers]
            inner = self._page(page)
            if inner is not None:
                with inner, inner.mmap() as memory:
                    counts = _sums(memory, inner.max_entries // _PAGE, inside[0], inside[-1] + 1)
                found.update((page * _PAGE + at, counts[at - inside[0]]) for at in inside)
        return [found.get(number, _NONE) for number in wanted]

    def _page(self, page: int) -> Map | None:
        try:
            return self._pages.lookup_inner(_key(page))
        except KernelRefused as error:
            if error.errno != ENOENT:
                raise
            return None  # given up since its number was read

    def _zero(self, numbers: Sequence[int]) -> None:
        for page, group in groupby(numbers, key=lambda number: number // _PAGE):
            inner = self._page(page)
            if inner is None:
                continue
            with inner, inner.mmap() as memory:
                for number in group:
                    for lane in range(0, inner.max_entries, _PAGE):
                        memory.write((lane + number % _PAGE) * _SIZE, bytes(_SIZE))


def ages() -> Callable[[Count], float | None]:
    """A function that tells how many seconds before now the last packet was; None if there was none.

    Time that the machine is suspended for is not in it.
    """
    ticks_per_s = hz()
    present_j = now_j(ticks_per_s)
    return lambda count: max(0, present_j - count.last_j) / ticks_per_s if count.last_j else None


def _pages_of(numbers: Iterable[int]) -> set[int]:
    return {number // _PAGE for number in numbers}


def _is_needed(page: int, used: Set[int]) -> bool:
    return page in _pages_of(_DEFAULTS) or not used.isdisjoint(range(page * _PAGE, (page + 1) * _PAGE))


def _new_page() -> Map:
    """Room for each CPU that there may ever be, one after the other."""
    cpus = int(_CPUS.read_text().replace(",", "-").split("-")[-1]) + 1
    return create_map(MapType.ARRAY, "counters_page", 4, _SIZE, cpus * _PAGE, F_INNER_MAP | F_MMAPABLE)


def _sums(memory: MappedArray, cpus: int, low: int, high: int) -> list[Count]:
    """Counters `low` to `high` - 1 of a page."""
    lanes = [
        memoryview(memory.read((cpu * _PAGE + low) * _SIZE, (high - low) * _SIZE)).cast("Q")
        for cpu in range(cpus)
    ]
    packets, octets, last = (
        zip(*(lane[word::_WORDS].tolist() for lane in lanes), strict=True) for word in range(_WORDS)
    )
    return list(map(Count, map(sum, packets), map(sum, octets), map(max, last)))


def _key(page: int) -> bytes:
    return page.to_bytes(4, sys.byteorder)
