# SPDX-License-Identifier: MIT
"""A policy as the bytes that the packet path reads: pure, no root, no system calls."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from firewall import abi
from firewall.clock import Moment
from firewall.document import Document
from firewall.edges import Edges
from firewall.errors import UsageError
from firewall.expand import SCOPE_BITS, Entry, InSets, expand
from firewall.further import Furthers
from firewall.options import effective
from firewall.policy import Policy
from firewall.ranges import ADDRESS_MAX
from firewall.rule import Rule
from firewall.terms import Names

_ACTIONS = {
    "allow": abi.Action.ACTION_ALLOW,
    "drop": abi.Action.ACTION_DROP,
    "reject": abi.Action.ACTION_REJECT,
}
# A reset of what is TCP is what `reject` gives anyhow.
_ANSWERS = {
    None: abi.Action.ACTION_REJECT,
    "rst": abi.Action.ACTION_REJECT,
    "admin": abi.Action.ACTION_REJECT_ADMIN,
    "port": abi.Action.ACTION_REJECT_PORT,
    "host": abi.Action.ACTION_REJECT_HOST,
}
_SCOPES = {"in": abi.Scope.SCOPE_IN, "out": abi.Scope.SCOPE_OUT, "forward": abi.Scope.SCOPE_FORWARD}
_LOW_HALF = (1 << 64) - 1

CHUNK_BYTES = abi.Limits.ENTRIES_PER_CHUNK * abi.Entry.SIZE  # a value of a classifier map

# TIMEOUT_TCP_SYN_SENT is `option timeout.tcp-syn-sent`.
_TIMEOUTS = {
    "timeout." + timeout.name.removeprefix("TIMEOUT_").lower().replace("_", "-"): timeout
    for timeout in abi.Timeout
    if timeout != abi.Timeout.TIMEOUT_COUNT
}

_BUILTINS = {
    "builtin.arp": abi.Builtin.BUILTIN_ARP,
    "builtin.pppoe": abi.Builtin.BUILTIN_PPPOE,
    "builtin.eapol": abi.Builtin.BUILTIN_EAPOL,
    "builtin.lldp": abi.Builtin.BUILTIN_LLDP,
    "builtin.stp": abi.Builtin.BUILTIN_STP,
    "builtin.nd": abi.Builtin.BUILTIN_ND,
    "builtin.mld": abi.Builtin.BUILTIN_MLD,
    "builtin.igmp": abi.Builtin.BUILTIN_IGMP,
    "builtin.dhcp": abi.Builtin.BUILTIN_DHCP,
    "builtin.dhcp6": abi.Builtin.BUILTIN_DHCP6,
}


# What `_entry` packs, in this order. A policy may have thousands of entries, so they are not made as objects.
_ENTRY_FIELDS = (
    "src dst src_sets dst_sets sport_lo sport_hi dport_lo dport_hi "
    "family proto scopes action on via flags rule counter further reserved"
)
_ENTRY = struct.Struct("=10Q 4H 6B H 4I")
assert [name for name, *_ in abi.Entry.FIELDS] == _ENTRY_FIELDS.split()
assert _ENTRY.size == abi.Entry.SIZE


class Patterns:
    """The different `on` and `via` lists of a policy, numbered: the bits of a row of settings.patterns."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Raises UsageError if there are more than a row has bits."""
        self._numbers: dict[tuple[bool, frozenset[str]], int] = {}
        self._names: list[Names] = []
        for rule in rules:
            for names in (rule.on, rule.via):
                if names is not None and self._key(names) not in self._numbers:
                    self._numbers[self._key(names)] = len(self._names)
                    self._names.append(names)
        if len(self._names) > abi.Limits.PATTERNS_MAX:
            most = f"the most is {abi.Limits.PATTERNS_MAX}"
            raise UsageError(
                f"the rules have {len(self._names)} different lists of interfaces; {most}",
                "a name that ends in '+' stands for many",
            )

    def number(self, names: Names | None) -> int:
        """What an entry's `on` or `via` holds for a list; PATTERN_ANY for None."""
        return abi.Limits.PATTERN_ANY if names is None else self._numbers[self._key(names)]

    def row(self, ifname: str) -> int:
        """The bits of all lists that an interface matches."""
        return sum(1 << number for number, names in enumerate(self._names) if names.matches(ifname))

    @staticmethod
    def _key(names: Names) -> tuple[bool, frozenset[str]]:
        return names.plain.negated, frozenset(names.plain.patterns)


class SetBits:
    """The bits by which entries know the sets of a policy."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        """`numbers` has that of each set which a rule names: its place in the map `sets`."""
        self._numbers = numbers

    def mask(self, sets: InSets | None) -> int:
        """A bit for each of the sets."""
        return sum(1 << self._numbers[name] for name in sets.names) if sets else 0

    @staticmethod
    def flags(src: InSets | None, dst: InSets | None) -> int:
        """What the entry is to do with them."""
        flags = 0
        if src:
            flags |= abi.EntryFlags.ENTRY_SRC_SETS | src.negated * abi.EntryFlags.ENTRY_SRC_NOT
        if dst:
            flags |= abi.EntryFlags.ENTRY_DST_SETS | dst.negated * abi.EntryFlags.ENTRY_DST_NOT
        return flags


class Compiled(NamedTuple):
    """`chunks` are the values of a classifier map in order, `furthers` and `edges` those of a map of
    `furthers` and of `edges`, of which there may be none; `settings` is that of the map `settings`.
    """

    chunks: tuple[bytes, ...]
    furthers: tuple[bytes, ...]
    edges: tuple[bytes, ...]
    settings: bytes


def compile_policy(
    policy: Policy,
    document: Document,
    classes: Mapping[str, int],
    generation: int,
    ticks_per_s: int,
    moment: Moment,
    sets: Mapping[str, int] = MappingProxyType({}),
) -> Compiled:
    """The bytes of a verified policy.

    `document` has the rules' ids and counters, in the policy's order; `classes` maps interface names to the
    classes that the map `interfaces` gives them, of which 0 (unknown) matches no list of names, not even a
    negated one. `moment` is now, from which on times are counted. `sets` has the numbers of the sets.
    """
    patterns, bits, times = Patterns(policy.rules), SetBits(sets), Edges(policy.rules, moment)
    furthers = Furthers(ticks_per_s, times)
    entries = [
        _entry(entry, rule, placed.id, placed.counter, patterns, bits, furthers.number(rule))
        for rule, placed in zip(policy.rules, document.rules, strict=True)
        for entry in expand(rule)
    ]
    chunks = _chunks(entries)
    rows = [0] * abi.Limits.CLASSES_MAX
    for name, class_ in classes.items():
        if class_:
            rows[class_] = patterns.row(name)
    edges = times.records()
    settings = _settings(policy, rows, generation, len(chunks), len(edges), ticks_per_s)
    return Compiled(chunks, furthers.records(), edges, settings)


def _entry(
    entry: Entry, rule: Rule, rule_id: int, counter: int, patterns: Patterns, bits: SetBits, further: int
) -> bytes:
    whole = ADDRESS_MAX[entry.family or 6]
    flags = bits.flags(entry.src_sets, entry.dst_sets)
    if rule.log is not None:
        flags |= abi.EntryFlags.ENTRY_LOG
    if (entry.src_lo, entry.src_hi) != (0, whole):
        flags |= abi.EntryFlags.ENTRY_SRC
    if (entry.dst_lo, entry.dst_hi) != (0, whole):
        flags |= abi.EntryFlags.ENTRY_DST
    return _ENTRY.pack(
        *_halves(entry.src_lo),
        *_halves(entry.src_hi),
        *_halves(entry.dst_lo),
        *_halves(entry.dst_hi),
        bits.mask(entry.src_sets),
        bits.mask(entry.dst_sets),
        entry.sport_lo,
        entry.sport_hi,
        entry.dport_lo,
        entry.dport_hi,
        entry.family,
        entry.proto,
        entry.scopes,
        _ANSWERS[rule.answer] if rule.action == "reject" else _ACTIONS[rule.action],
        patterns.number(entry.on),
        patterns.number(entry.via),
        flags,
        rule_id,
        counter,
        further,
        0,
    )


def _halves(address: int) -> tuple[int, int]:
    """An address, the more significant half first."""
    return address >> 64, address & _LOW_HALF


def _chunks(entries: Sequence[bytes]) -> tuple[bytes, ...]:
    """At least one chunk; the zeros behind the last entry end the list, unless its chunk is full."""
    step = abi.Limits.ENTRIES_PER_CHUNK
    starts = range(0, max(1, len(entries)), step)
    return tuple(b"".join(entries[i : i + step]).ljust(CHUNK_BYTES, b"\0") for i in starts)


def _settings(
    policy: Policy, rows: list[int], generation: int, chunks: int, edges: int, ticks_per_s: int
) -> bytes:
    values = effective(policy.options)
    defaults = [0] * len(_SCOPES)
    for scope, number in _SCOPES.items():
        defaults[number] = _ACTIONS[policy.defaults[scope]]
    timeouts_j = abi.Settings().timeout_j
    for name, timeout in _TIMEOUTS.items():
        timeouts_j[timeout] = values[name] * ticks_per_s
    # pf's defaults are 60 % and 120 %
    start = values["flows.max"] * values["flows.adaptive"] // 100
    return abi.Settings(
        generation=generation,
        chunks=chunks,
        edges=edges,
        builtins=sum(1 << number for name, number in _BUILTINS.items() if values[name]),
        answers_per_s=values["reject.rate"],
        events_per_s=values["log.rate"],
        defaults=bytes(defaults),
        tcp_pickup=values["tcp.pickup"],
        tcp_window=values["tcp.window"],
        ip_options=values["ip.options"],
        antispoof=values["antispoof"],
        fragments_early=values["fragments.early"],
        flows_full=values["flows.full"],
        per_source=values["flows.per-source"],
        adaptive_start=start,
        adaptive_end=start + (values["flows.max"] - start) * 3 // 2,
        timeout_j=timeouts_j,
        patterns=rows,
    ).pack()


assert {1 << number for number in _SCOPES.values()} == set(SCOPE_BITS.values())
