# SPDX-License-Identifier: MIT
"""When a rule holds, week by week: `between 08:00 and 18:00 on-days mon-fri`, in the machine's local time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from firewall.lang import Cursor, Token, number

if TYPE_CHECKING:
    from datetime import date, tzinfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY = tuple(range(7))
_DAY_MIN = 24 * 60
_LOCALTIME = "/etc/localtime"


class Between(NamedTuple):
    """From `begin` to `end`, in minutes of a day; an end that is not later is one of the next day.

    `days` are those on which it begins, 0 for Monday.
    """

    begin: int
    end: int
    days: tuple[int, ...] = _EVERY

    def __str__(self) -> str:
        text = f"{_clock(self.begin)} and {_clock(self.end)}"
        return text if self.days == _EVERY else f"{text} on-days {', '.join(_runs(self.days))}"

    def spans(self, first: "date", days: int, zone: "tzinfo") -> Iterator[tuple[int, int]]:
        """Begin and end in Unix seconds of each time that it holds, of those that begin on so many days from `first`.

        A local time that a change of the clocks leaves out is that much later; of one that comes twice the first
        counts.
        """
        from datetime import datetime, timedelta

        for day in (first + timedelta(n) for n in range(days)):
            if day.weekday() not in self.days:
                continue
            midnight = datetime(day.year, day.month, day.day)
            last = midnight + timedelta(minutes=self.end + (_DAY_MIN if self.end <= self.begin else 0))
            begin, end = (
                int(local.replace(tzinfo=zone).timestamp())
                for local in (midnight + timedelta(minutes=self.begin), last)
            )
            if begin < end:
                yield begin, end

    def holds(self, when_s: float, zone: "tzinfo") -> bool:
        """Whether it holds at that Unix time."""
        from datetime import datetime, timedelta

        today = datetime.fromtimestamp(when_s, zone).date()
        return any(begin <= when_s < end for begin, end in self.spans(today - timedelta(1), 2, zone))


def local_zone() -> "tzinfo":
    """The time zone of the machine, whatever the caller's is; UTC where it has none that can be read."""
    return _read_zone()[0]


def broken_zone() -> str | None:
    """Why hours are counted in UTC, if the machine has a time zone that cannot be read."""
    return _read_zone()[1]


def _read_zone() -> tuple["tzinfo", str | None]:
    from datetime import UTC
    from struct import error as StructError
    from zoneinfo import ZoneInfo

    try:
        with open(_LOCALTIME, "rb") as file:
            return ZoneInfo.from_file(file), None
    except FileNotFoundError:
        return UTC, None
    except OSError as error:
        return UTC, f"cannot read {_LOCALTIME}: {error.strerror}"
    except (ValueError, IndexError, EOFError, StructError):  # of a file that is cut short, say
        return UTC, f"{_LOCALTIME} is no description of a time zone"


def read_between(cursor: Cursor) -> Between:
    """`TIME "and" TIME [ "on-days" DAY [ "-" DAY ] { "," DAY [ "-" DAY ] } ]`."""
    begin = _read_time(cursor, _DAY_MIN - 1)
    if not cursor.take_if("and"):
        cursor.fail(f"expected 'and', found {cursor.next}", cursor.next, "as in 'between 08:00 and 18:00'")
    end = _read_time(cursor, _DAY_MIN)
    if begin == end:
        cursor.fail(
            "it would end when it begins", cursor.previous, "a whole day is 'between 00:00 and 24:00'"
        )
    return Between(begin, end, _read_days(cursor) if cursor.take_if("on-days") else _EVERY)


def read_unsynced(cursor: Cursor) -> bool:
    """`on` or `off`."""
    token = cursor.word("'on' or 'off'")
    if token.text not in ("on", "off"):
        cursor.fail(f"expected 'on' or 'off', found {token}", token)
    return token.text == "on"


def write_unsynced(on: bool) -> str:
    """The clause."""
    return f"unsynced {'on' if on else 'off'}"


def _read_time(cursor: Cursor, most: int) -> int:
    token = cursor.word("a time of day, like '08:00'")
    hour_text, colon, minute_text = token.text.partition(":")
    hour, minute = number(hour_text), number(minute_text)
    if hour is None or minute is None or not colon or len(minute_text) != 2 or minute > 59:
        bare = hour if not colon and hour is not None and hour < 24 else None
        hint = "hours and minutes, as in '08:00'" if bare is None else f"did you mean '{bare:02}:00'?"
        cursor.fail(f"{token} is not a time of day", token, hint)
    if hour * 60 + minute > most:
        cursor.fail(f"{token} is not a time of day: they go from 00:00 to {_clock(most)} here", token)
    return hour * 60 + minute


def _read_days(cursor: Cursor) -> tuple[int, ...]:
    found: dict[int, Token] = {}
    for token in cursor.items("a day of the week, like 'mon' or 'mon-fri'"):
        first, dash, last = token.text.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            cursor.fail(f"{token} is not a day of the week", token, ", ".join(_DAYS))
        start, stop = _DAYS.index(first), _DAYS.index(last if dash else first)
        for n in range((stop - start) % 7 + 1):
            cursor.add_once(token, found, (start + n) % 7)
    return tuple(sorted(found))


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _runs(days: tuple[int, ...]) -> list[str]:
    """The days, three or more in a row as a range."""
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    words = []
    for run in runs:
        words += [f"{_DAYS[run[0]]}-{_DAYS[run[-1]]}"] if len(run) > 2 else [_DAYS[day] for day in run]
    return words
