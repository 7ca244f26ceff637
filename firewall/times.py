# SPDX-License-Identifier: MIT
"""Times with their unit as a rule has them: `idle 5m`."""

from typing import NamedTuple

from firewall.lang import Cursor, number

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
IDLE_MAX_S = 14 * 86400  # as of the options for timeouts


class Time(NamedTuple):
    """A number of one of the units of `SECONDS`."""

    amount: int
    unit: str

    def __str__(self) -> str:
        return f"{self.amount}{self.unit}"

    @property
    def seconds(self) -> int:
        return self.amount * SECONDS[self.unit]


def read_idle(cursor: Cursor) -> Time:
    """`NUM UNIT` without a blank: from 1s to 14d."""
    token = cursor.word("a time, like '90s' or '2h'")
    amount, unit = number(token.text[:-1]), token.text[-1]
    if amount is None or unit not in SECONDS:
        bare = number(token.text)
        hint = f"did you mean '{bare}s'?" if bare is not None else "as in 90s, 5m, 2h or 1d"
        cursor.fail(f"{token} is not a time with its unit", token, hint)
    time = Time(amount, unit)
    if not 1 <= time.seconds <= IDLE_MAX_S:
        cursor.fail(f"{token} is no time for a connection to be idle: it goes from 1s to 14d", token)
    return time
