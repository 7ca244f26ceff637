# SPDX-License-Identifier: MIT
"""A compiled ruleset and one rule more behind its last: pure, and the same bytes as if all were compiled.

Of a large ruleset the entries are most of what compiling takes. Those of rules that stay are the same again, as long as
nothing is renumbered: the new rule names no list of interfaces, set or further clause that is not there yet.
"""

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from firewall import abi
from firewall.bindings.libtree import build
from firewall.compile import CHUNK_BYTES, Compiled, Patterns, SetBits, ends_in_sets, pack_rule
from firewall.document import PlacedRule
from firewall.expand import expand
from firewall.fields import picker
from firewall.rule import Rule
from firewall.terms import Names

_AT = {name: offset for name, offset, *_ in abi.Entry.FIELDS}
_ANY = int(abi.Limits.PATTERN_ANY)
_SIZE = abi.Entry.SIZE
_SRC = picker(abi.Entry, "src.0.lo", "src.0.hi")
_REST = picker(
    abi.Entry,
    "dst.0.lo",
    "dst.0.hi",
    "sport_lo",
    "sport_hi",
    "dport_lo",
    "dport_hi",
    "family",
    "proto",
    "scopes",
    "rule",
)
_HALF_BITS, _LOW_HALF = 64, (1 << 64) - 1


class Base(NamedTuple):
    """A compiled ruleset that has trees: `entries` are those of its rules end to end, with nothing behind them.

    `settings`, `furthers` and `edges` are as in `Compiled`.
    """

    entries: bytes
    settings: bytes
    furthers: tuple[bytes, ...]
    edges: tuple[bytes, ...]

    @classmethod
    def of(cls, compiled: Compiled) -> "Base":
        """Without the zeros behind the last entry, of which no rule has the id."""
        entries, end = compiled.entries, len(compiled.entries)
        while end and not _id_at(entries, end - _SIZE):
            end -= _SIZE
        return cls(entries[:end], compiled.settings, compiled.furthers, compiled.edges)

    @property
    def size(self) -> int:
        """How many entries it has."""
        return len(self.entries) // _SIZE

    def lists(self) -> dict[int, tuple[int, bool]]:
        """Where each list of interfaces is, by its number: the id of a rule that has it, and whether in `via`."""
        found: dict[int, tuple[int, bool]] = {}
        for via, field in enumerate(("on", "via")):
            numbers = self.entries[_AT[field] :: _SIZE]
            for number in set(numbers) - {_ANY} - found.keys():
                found[number] = _id_at(self.entries, numbers.index(number) * _SIZE), bool(via)
        return dict(sorted(found.items()))

    def around(self, rule: Rule) -> list[int]:
        """The ids of all rules that may cover a rule: those with an entry around the first of its entries."""
        box = expand(rule)[0]
        family = box.family or 4
        src, dst = ((low >> _HALF_BITS, low & _LOW_HALF) for low in (box.src_lo, box.dst_lo))
        # few are around the address that a packet comes from: of the others nothing more is read
        high, low = src
        near = [
            at
            for at, (low_high, low_low, high_high, high_low) in enumerate(_SRC.iter_unpack(self.entries))
            if (
                low_low <= low <= high_low
                if low_high == high == high_high
                else (low_high, low_low) <= src <= (high_high, high_low)
            )
        ]
        found: dict[int, None] = {}
        for entry in (_REST.unpack_from(self.entries, at * _SIZE) for at in near):
            if (
                (entry[2], entry[3]) >= dst >= (entry[0], entry[1])
                and entry[8] in (0, family)
                and entry[9] in (0, box.proto)
                and entry[4] <= box.sport_lo <= entry[5]
                and entry[6] <= box.dport_lo <= entry[7]
                and not box.scopes & ~entry[10]
            ):
                found[entry[11]] = None
        return list(found)


def extended(
    base: Base,
    lists: Sequence[Names],
    rule: Rule,
    placed: PlacedRule,
    sets: Mapping[str, int] = MappingProxyType({}),
) -> Compiled:
    """The ruleset with a rule behind its last, as of the same generation. Raises TooAlike.

    `lists` are the lists of interfaces in the order of their numbers, and those of the rule among them; `sets` has the
    numbers of the sets. The rule has neither host parts nor further clauses, and its sets do not count.
    """
    patterns = Patterns(Rule("allow", ("in",), on=names) for names in lists)
    packed = bytearray(base.entries)
    pack_rule(packed, rule, placed, patterns, SetBits(sets), lambda *_: 0)
    count = len(packed) // _SIZE
    packed += bytes(-len(packed) % CHUNK_BYTES)
    entries = bytes(packed)
    trees = build(entries, count)
    settings = abi.Settings.unpack(base.settings)
    settings.trees = [abi.TreeRoot(root=root, first=first) for root, first in trees.roots]
    settings.sets_of |= ends_in_sets([rule])
    return Compiled(entries, trees.lines, base.furthers, base.edges, settings.pack())


def renewed(compiled: Compiled, current: bytes, generation: int) -> Compiled:
    """The ruleset as a generation that comes later: what `current` settings say of interfaces may be new."""
    settings, grown = abi.Settings.unpack(current), abi.Settings.unpack(compiled.settings)
    settings.trees, settings.sets_of = grown.trees, grown.sets_of
    settings.generation = generation
    return compiled._replace(settings=settings.pack())


def _id_at(entries: bytes, offset: int) -> int:
    return int(struct.unpack_from("=I", entries, offset + _AT["rule"])[0])
