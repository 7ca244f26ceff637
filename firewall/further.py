# SPDX-License-Identifier: MIT
"""The further clauses of rules as records for the packet path: what no box of numbers holds."""

from firewall import abi
from firewall.clauses import FURTHER
from firewall.headers import MACS_MAX
from firewall.rule import Rule

_NO_MAC = (1 << 64) - 1
assert MACS_MAX == abi.Limits.MACS_MAX


def further_of(rule: Rule) -> tuple[tuple[str, object], ...]:
    """The further clauses of a rule, each its field and its value; empty for most rules."""
    given = ((clause.field, getattr(rule, clause.field)) for clause in FURTHER)
    return tuple((field, value) for field, value in given if value is not None)


class Furthers:
    """The different records of a policy, numbered from 1 as entries name them; 0 is a rule that has none."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def number(self, rule: Rule) -> int:
        """What `entry.further` of the rule holds."""
        if not further_of(rule):
            return 0
        return self._numbers.setdefault(_record(rule), len(self._numbers) + 1)

    def records(self) -> tuple[bytes, ...]:
        """The values of a map of `furthers` in order; the first belongs to no rule."""
        return (bytes(abi.Further.SIZE), *self._numbers)


def _record(rule: Rule) -> bytes:
    record = abi.Further()
    if rule.mark is not None:
        record.asks |= abi.FurtherAsks.FURTHER_MARK
        record.mark, record.mark_mask = rule.mark
    if rule.dscp is not None:
        record.asks |= abi.FurtherAsks.FURTHER_DSCP
        record.dscp = sum(1 << value for value in rule.dscp)
    if rule.macs is not None:
        record.asks |= abi.FurtherAsks.FURTHER_MAC
        record.macs = [*rule.macs, *[_NO_MAC] * (MACS_MAX - len(rule.macs))]
    return record.pack()
