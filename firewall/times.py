# SPDX-License-Identifier: MIT
"""Lengths of time with their unit: `90s`, `5m`, `2h`, `1d`."""

from typing import NamedTuple

from firewall.lang import Cursor, number

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
EXAMPLES = "as in 90s, 5m, 2h or 1d"
IDLE_MAX_S = 14 * 86400  # as of the options for timeouts


class Time(NamedTuple):
    """A number of one of the units of `UNITS_S`."""

    amount: int
    unit: str

    def __str__(self) -> str:
        return f"{self.amount}{self.unit}"

    @property
    def seconds(self) -> int:
        return self.amount * UNITS_S[self.unit]


def seconds(text: str) -> int | None:
    """The seconds that a text says; None if it is not a whole number with its unit."""
    amount = number(text[:-1])
    return None if amount is None or text[-1] not in UNITS_S else amount * UNITS_S[text[-1]]


def time_text(length_s: int) -> str:
    """The same in the largest unit of which it is a whole number."""
    unit = next(unit for unit in reversed(UNITS_S) if length_s % UNITS_S[unit] == 0)
    return f"{length_s // UNITS_S[unit]}{unit}"


def read_idle(cursor: Cursor) -> Time:
    """`NUM UNIT` without a blank: from 1s to 14d."""
    token = cursor.word("a time, like '90s' or '2h'")
    length_s = seconds(token.text)
    if length_s is None:
        bare = number(token.text)
        hint = f"did you mean '{bare}s'?" if bare is not None else EXAMPLES
        cursor.fail(f"{token} is not a time with its unit", token, hint)
    if not 1 <= length_s <= IDLE_MAX_S:
        cursor.fail(f"{token} is no time for a connection to be idle: it goes from 1s to 14d", token)
    return Time(int(token.text[:-1]), token.text[-1])
