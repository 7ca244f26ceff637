# SPDX-License-Identifier: MIT
"""Ceilings on what an `allow` lets in: `limit 10/second burst 20 per source`, `max-flows 100 per source/24/56`."""

from typing import NamedTuple

from firewall.lang import Cursor, closest, number

UNIT_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

_RATE_MAX = 1_000_000
_FLOWS_MAX = 1 << 24  # as `option flows.max`
_SHORT = {unit[0]: unit for unit in UNIT_S} | {"sec": "second", "min": "minute"}


class Per(NamedTuple):
    """Sources are counted each by itself: by the first bits of their addresses."""

    bits4: int = 32
    bits6: int = 64

    def __str__(self) -> str:
        return "per source" if self == Per() else f"per source/{self.bits4}/{self.bits6}"


class Limit(NamedTuple):
    """`openings` in each `unit`, and `burst` at once; `per` is None where all sources are one."""

    openings: int
    unit: str
    burst: int
    per: Per | None = None

    def __str__(self) -> str:
        words = [f"{self.openings}/{self.unit}"]
        if self.burst != self.openings:
            words.append(f"burst {self.burst}")
        return " ".join([*words, *map(str, filter(None, [self.per]))])


class MaxFlows(NamedTuple):
    """`flows` confirmed ones at a time; `per` is None where all sources are one."""

    flows: int
    per: Per | None = None

    def __str__(self) -> str:
        return " ".join([str(self.flows), *map(str, filter(None, [self.per]))])


def read_limit(cursor: Cursor) -> Limit:
    """`NUM "/" UNIT [ "burst" NUM ] [ per ]`; without `burst` it is NUM."""
    token = cursor.word("a rate, like '10/second'")
    count_text, slash, unit = token.text.partition("/")
    count = number(count_text)
    if count is None or not slash:
        hint = "a number and 'second', 'minute', 'hour' or 'day', with '/' between them"
        cursor.fail(
            f"{token} is not a rate", token, hint if count is None else f"did you mean '{count}/second'?"
        )
    if unit not in UNIT_S:
        near = _SHORT.get(unit) or closest(unit, UNIT_S)
        hint = f"did you mean '{count}/{near}'?" if near else "'second', 'minute', 'hour' or 'day'"
        cursor.fail(f"'{unit}' is not a unit of time here", token, hint)
    if not 1 <= count <= _RATE_MAX:
        cursor.fail(f"a rate goes from 1 to {_RATE_MAX}, not {count}", token)
    burst = _read_count(cursor, "a number of openings", _RATE_MAX) if cursor.take_if("burst") else count
    return Limit(count, unit, burst, _read_per(cursor))


def read_max_flows(cursor: Cursor) -> MaxFlows:
    """`NUM [ per ]`."""
    return MaxFlows(_read_count(cursor, "a number of flows", _FLOWS_MAX), _read_per(cursor))


def _read_count(cursor: Cursor, what: str, most: int) -> int:
    token = cursor.word(what)
    count = number(token.text)
    if count is None:
        cursor.fail(f"expected {what}, found {token}", token)
    if not 1 <= count <= most:
        cursor.fail(f"{what} goes from 1 to {most}, not {count}", token)
    return count


def _read_per(cursor: Cursor) -> Per | None:
    if not cursor.take_if("per"):
        return None
    token = cursor.word("'source' or 'source/V4LEN/V6LEN'")
    word, *lengths = token.text.split("/")
    if word != "source" or len(lengths) not in (0, 2):
        cursor.fail(
            f"expected 'source' or 'source/V4LEN/V6LEN' after 'per', found {token}",
            token,
            "'source' alone is 'source/32/64': each IPv4 address, each IPv6 network of 64 bits",
        )
    if not lengths:
        return Per()
    bits4, bits6 = map(number, lengths)
    if bits4 is None or bits6 is None or not (1 <= bits4 <= 32 and 1 <= bits6 <= 128):
        cursor.fail(f"{token}: the lengths go from 1 to 32 for IPv4 and from 1 to 128 for IPv6", token)
    return Per(bits4, bits6)
