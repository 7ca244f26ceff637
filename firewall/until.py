# SPDX-License-Identifier: MIT
"""The end of a rule: `until 2026-12-01T12:00Z`."""

import re
from typing import NamedTuple

from firewall.lang import Cursor

_YEARS = range(1970, 2200)
LAST_S = 7_258_118_399  # the end of the last of them
_FORM = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d))?Z", re.ASCII)


class Until(NamedTuple):
    """A moment, in seconds of Unix time: the rule matches before it."""

    end_s: int

    def __str__(self) -> str:
        from datetime import UTC, datetime  # few rules end

        moment = datetime.fromtimestamp(self.end_s, UTC)
        return moment.strftime("%Y-%m-%dT%H:%MZ" if not moment.second else "%Y-%m-%dT%H:%M:%SZ")


def read_until(cursor: Cursor) -> Until:
    """`YYYY-MM-DDTHH:MM[:SS]Z`, which is UTC."""
    token = cursor.word("a time in UTC, like '2030-12-31T12:00Z'")
    found = _FORM.fullmatch(token.text)
    if not found:
        cursor.fail(
            f"{token} is not a time in UTC", token, "a date, 'T', hours and minutes, 'Z': '2030-12-31T12:00Z'"
        )
    from datetime import UTC, datetime

    try:
        moment = datetime(*(int(part or 0) for part in found.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
    except ValueError as error:
        cursor.fail(f"there is no {token}: {error}", token)
    if moment.year not in _YEARS:
        cursor.fail(f"{token} is too far away: years go from {_YEARS[0]} to {_YEARS[-1]}", token)
    return Until(int(moment.timestamp()))
