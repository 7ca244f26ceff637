# SPDX-License-Identifier: MIT
"""A policy as the bytes that the packet path reads: pure, no root, no system calls."""

import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import NamedTuple

from firewall import abi
from firewall.clock import Moment
from firewall.document import Document, PlacedRule
from firewall.edges import Edges
from firewall.errors import UsageError
from firewall.expand import SCOPE_BITS, Entry, InSets, expand, interface_lists, list_key
from firewall.further import Furthers
from firewall.hostpart import HostPart
from firewall.options import effective
from firewall.policy import Policy
from firewall.progress import counted
from firewall.ranges import ADDRESS_MAX
from firewall.resolve import Owners
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
_NO_SETS = 0, 0
_LOG, _UNSURE, _SRC, _DST = map(
    int,
    (
        abi.EntryFlags.ENTRY_LOG,
        abi.EntryFlags.ENTRY_UNSURE,
        abi.EntryFlags.ENTRY_SRC,
        abi.EntryFlags.ENTRY_DST,
    ),
)

NOBODY = Owners()
CHUNK_BYTES = abi.Limits.ENTRIES_PER_CHUNK * abi.Entry.SIZE  # a value of a classifier map
LINE_BYTES = abi.Tree.TREE_LINE * 4  # a value of a map of trees
_NO_TREES = [(0xFFFFFFFF, 0xFFFFFFFF)] * (abi.Tree.TREE_FAMILIES * abi.Tree.TREE_GROUPS)

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


# What `_entries` packs, in this order. A policy may have 500,000 entries, so they are not made as objects.
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
        """`verify` has seen that there are no more than a row has bits."""
        lists = interface_lists(rules)
        self._names = [*lists.values()]
        self._numbers = {key: number for number, key in enumerate(lists)}

    def number(self, names: Names | None) -> int:
        """What an entry's `on` or `via` holds for a list; PATTERN_ANY for None."""
        return abi.Limits.PATTERN_ANY if names is None else self._numbers[list_key(names)]

    def row(self, ifname: str) -> int:
        """The bits of all lists that an interface matches."""
        return sum(1 << number for number, names in enumerate(self._names) if names.matches(ifname))


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
        if src and src.names:
            flags |= abi.EntryFlags.ENTRY_SRC_SETS | src.negated * abi.EntryFlags.ENTRY_SRC_NOT
        if dst and dst.names:
            flags |= abi.EntryFlags.ENTRY_DST_SETS | dst.negated * abi.EntryFlags.ENTRY_DST_NOT
        return flags


class Compiled(NamedTuple):
    """`entries` are the values of a classifier map end to end, `lines` those of a map of trees, `furthers` and `edges`
    have those of maps of `furthers` and of `edges`, of which there may be none; `settings` is of the map `settings`.
    """

    entries: bytes
    lines: bytes
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
    owners: Owners = NOBODY,
    sparing: tuple[int, int, int] = (0, 0, 0),
) -> Compiled:
    """The bytes of a verified policy.

    `document` has the rules' ids and counters, in the policy's order; `classes` maps interface names to the
    classes that the map `interfaces` gives them, of which 0 (unknown) matches no list of names, not even a
    negated one. `moment` is now, from which on times are counted. `sets` has the numbers of the sets.
    `owners` are the users and units that rules name: one that is not there is known to nobody, so that an `allow` of
    it matches nothing, and a `drop` or `reject` whatever the rest of the rule does. `sparing` is a
    `firewall.sparing.Sparing`.
    """
    patterns, bits, times = Patterns(policy.rules), SetBits(sets), Edges(policy.rules, moment)
    counting = {name for name, one in policy.sets.items() if one.counters}
    furthers = Furthers(ticks_per_s, times, owners, sets, counting)
    entries, positions = _entries(policy, document, patterns, bits, furthers)
    linear = len(positions) <= abi.Limits.ENTRIES_PER_CHUNK
    lines, roots = (bytes(LINE_BYTES), _NO_TREES) if linear else _trees(policy, entries, positions)
    rows = [0] * abi.Limits.CLASSES_MAX
    for name, class_ in classes.items():
        if class_:
            rows[class_] = patterns.row(name)
    settings = _settings(policy, rows, generation, ticks_per_s)
    settings.linear = int(linear)
    settings.trees = [abi.TreeRoot(root=root, first=first) for root, first in roots]
    edges = times.records()
    settings.asks = furthers.asks()
    settings.edges = len(edges)
    settings.spares_from, settings.spares_to, settings.spares_admission = sparing
    if sets:
        settings.sets_of = ends_in_sets(policy.rules)
    return Compiled(entries, lines, furthers.records(), edges, settings.pack())


def ends_in_sets(rules: Iterable[Rule]) -> int:
    """What `settings.sets_of` holds: of which ends some rule asks whether they are in a set."""
    ends = [[end.addrs and end.addrs.sets for end in (rule.src, rule.dst)] for rule in rules]
    return any(src for src, _ in ends) | any(dst for _, dst in ends) << 1


def _entries(
    policy: Policy, document: Document, patterns: Patterns, bits: SetBits, furthers: Furthers
) -> tuple[bytes, Sequence[int]]:
    """The entries in whole chunks, of which there is at least one, and the position of each entry's rule.

    What is behind the last entry is zero, which ends the list where it is scanned in order.
    """
    packed, positions = bytearray(), array("I")
    rules = zip(counted("compiling", policy.rules), document.rules, policy.boxes, strict=True)
    for position, (rule, placed, box) in enumerate(rules):
        before = len(packed)
        pack_rule(packed, rule, placed, patterns, bits, furthers.number, box)
        positions.extend(repeat(position, (len(packed) - before) // _ENTRY.size))
    packed += bytes(-len(packed) % CHUNK_BYTES if packed else CHUNK_BYTES)
    return bytes(packed), positions


def _host(asked: InSets | None) -> HostPart | None:
    return next(iter(asked.hosts), None) if asked else None


def pack_rule(
    packed: bytearray,
    rule: Rule,
    placed: PlacedRule,
    patterns: Patterns,
    bits: SetBits,
    further: Callable[[Rule, HostPart | None, HostPart | None], int],
    box: Entry | None = None,
) -> None:
    """Adds the entries of a rule; `further` is `Furthers.number`, `box` its only entry if that is known."""
    action = _ANSWERS[rule.answer] if rule.action == "reject" else _ACTIONS[rule.action]
    on, via, of_all = patterns.number(rule.on), patterns.number(rule.via), further(rule, None, None)
    of_rule = _LOG if rule.log is not None else 0
    if of_all or rule.on is not None or rule.via is not None:
        of_rule |= _UNSURE
    for entry in (box,) if box else expand(rule):
        family, proto, src_lo, src_hi, dst_lo, dst_hi, *ports, scopes, _, _, src_sets, dst_sets = entry
        whole = ADDRESS_MAX[family or 6]
        flags, sets, number = of_rule, _NO_SETS, of_all
        if src_sets or dst_sets:
            flags |= _UNSURE | bits.flags(src_sets, dst_sets)
            sets = bits.mask(src_sets), bits.mask(dst_sets)
            if any(end.addrs and end.addrs.hosts for end in (rule.src, rule.dst)):
                number = further(rule, _host(src_sets), _host(dst_sets))
        if src_lo or src_hi != whole:
            flags |= _SRC
        if dst_lo or dst_hi != whole:
            flags |= _DST
        packed += _ENTRY.pack(
            *(src_lo >> 64, src_lo & _LOW_HALF, src_hi >> 64, src_hi & _LOW_HALF),
            *(dst_lo >> 64, dst_lo & _LOW_HALF, dst_hi >> 64, dst_hi & _LOW_HALF),
            *sets,
            *ports,
            *(family, proto, scopes, action, on, via, flags, placed.id, placed.counter, number, 0),
        )


def _trees(
    policy: Policy, entries: bytes, positions: Sequence[int]
) -> tuple[bytes, Sequence[tuple[int, int]]]:
    """Lines and roots. Raises UsageError if too many entries match the same packets."""
    from firewall.bindings.libtree import TooAlike, build

    try:
        trees = build(entries, len(positions))
    except TooAlike as error:
        line = policy.rule_lines[positions[error.entry]]
        most = abi.Tree.TREE_CHAIN * abi.Tree.TREE_LINE
        raise UsageError(
            f"line {line}: more than {most} combinations of addresses and ports, this rule's the last of them, "
            "can match the same packets",
            "tell these rules apart by addresses, ports or protocols, or join them to fewer",
        ) from None
    return trees.lines or bytes(LINE_BYTES), trees.roots


def _settings(policy: Policy, rows: list[int], generation: int, ticks_per_s: int) -> abi.Settings:
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
    )


assert {1 << number for number in _SCOPES.values()} == set(SCOPE_BITS.values())
