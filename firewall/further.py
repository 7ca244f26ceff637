# SPDX-License-Identifier: MIT
"""The further clauses of rules as records for the packet path: what no box of numbers holds."""

from collections.abc import Collection, Mapping

from firewall import abi
from firewall.ceilings import UNIT_S, Per
from firewall.clauses import FURTHER
from firewall.edges import Edges
from firewall.headers import MACS_MAX
from firewall.hostpart import HostPart
from firewall.resolve import Owners
from firewall.rule import Rule
from firewall.terms import End

_NO_MAC = _LOW_HALF = (1 << 64) - 1
assert MACS_MAX == abi.Limits.MACS_MAX


def further_of(rule: Rule) -> tuple[tuple[str, object], ...]:
    """What a rule asks beyond its boxes, each clause its field and its value; empty for most rules."""
    given = ((clause.field, getattr(rule, clause.field)) for clause in FURTHER if not clause.of_allow)
    return tuple((field, value) for field, value in given if value is not None)


class Furthers:
    """The different records of a policy, numbered from 1 as entries name them; 0 is a rule that has none."""

    def __init__(
        self,
        ticks_per_s: int,
        edges: Edges,
        owners: Owners,
        sets: Mapping[str, int],
        counting: Collection[str] = (),
    ) -> None:
        """`sets` has the numbers of the sets; those in `counting` count for their elements."""
        self._sets = sets
        self._counting = counting
        self._owners = owners
        self._ticks_per_s = ticks_per_s
        self._edges = edges
        self._numbers: dict[bytes, int] = {}

    def number(self, rule: Rule, src: HostPart | None = None, dst: HostPart | None = None) -> int:
        """What `entry.further` holds of an entry of the rule that asks for these host parts."""
        counted = [self._counted(end) for end in (rule.src, rule.dst)] if self._counting else [0, 0]
        if not rule.has_further and src is None and dst is None and not any(counted):
            return 0
        hosts = src, dst
        record = _record(rule, self._ticks_per_s, self._edges.mask(rule), self._owners, self._sets, hosts)
        record.counted = counted
        record.effects.counts = int(any(counted))
        packed = record.pack()
        return self._numbers.setdefault(packed, len(self._numbers) + 1)

    def _counted(self, end: End) -> int:
        names = end.addrs.sets if end.addrs else ()
        return sum(1 << self._sets[name] for name in names if name in self._counting)

    def asks(self) -> int:
        """What any of them asks, as FurtherAsks."""
        asked = 0
        for record in self.records():
            asked |= abi.Further.unpack(record).asks
        return asked

    def records(self) -> tuple[bytes, ...]:
        """The values of a map of `furthers` in order; the first belongs to no rule."""
        return (bytes(abi.Further.SIZE), *self._numbers)


def _record(
    rule: Rule,
    ticks_per_s: int,
    windows: int,
    owners: Owners,
    sets: Mapping[str, int],
    hosts: tuple[HostPart | None, HostPart | None],
) -> abi.Further:
    record = abi.Further(windows=windows)
    asked = abi.FurtherAsks.FURTHER_SRC_HOST, abi.FurtherAsks.FURTHER_DST_HOST
    for place, (host, ask) in enumerate(zip(hosts, asked, strict=True)):
        if host is not None:
            record.asks |= ask
            halves = [host.value >> 64, host.value & _LOW_HALF, host.mask >> 64, host.mask & _LOW_HALF]
            record.hosts[place] = abi.HostPart(value=halves[:2], mask=halves[2:])
    if windows:
        record.asks |= abi.FurtherAsks.FURTHER_TIME
    if rule.mark is not None:
        record.asks |= abi.FurtherAsks.FURTHER_MARK
        record.mark, record.mark_mask = rule.mark
    if rule.dscp is not None:
        record.asks |= abi.FurtherAsks.FURTHER_DSCP
        record.dscp = sum(1 << value for value in rule.dscp)
    if rule.macs is not None:
        record.asks |= abi.FurtherAsks.FURTHER_MAC
        record.macs = [*rule.macs, *[_NO_MAC] * (MACS_MAX - len(rule.macs))]
    # What is not known is not let in, and not let by.
    unknown = abi.FurtherAsks.FURTHER_NEVER if rule.action == "allow" else 0
    if rule.user in owners.uids:
        record.asks |= abi.FurtherAsks.FURTHER_USER
        record.uid = owners.uids[rule.user]
    elif rule.user is not None:
        record.asks |= unknown
    if rule.unit in owners.cgroups:
        record.asks |= abi.FurtherAsks.FURTHER_UNIT
        record.cgroup = owners.cgroups[rule.unit]
    elif rule.unit is not None:
        record.asks |= unknown
    if rule.limit is not None:
        record.rate, record.burst = rule.limit.openings, rule.limit.burst
        record.rate_j = UNIT_S[rule.limit.unit] * ticks_per_s
        record.rate_bits = _bits(rule.limit.per)
    if rule.max_flows is not None:
        record.most = rule.max_flows.flows
        record.most_bits = _bits(rule.max_flows.per)
    if rule.overload is not None:
        record.overload_set = sets[rule.overload.name] + 1
        record.overload_s = rule.overload.for_s
    if rule.untracked:
        record.asks |= abi.FurtherAsks.FURTHER_UNTRACKED
    if rule.set_mark is not None:
        record.effects.mark, record.effects.mark_mask = rule.set_mark
    if rule.idle is not None:
        record.effects.idle_j = rule.idle.seconds * ticks_per_s
    return record


def _bits(per: Per | None) -> bytes:
    """`rate_bits` and `most_bits`; 0 where all sources are one."""
    return bytes(per or (0, 0))
