# SPDX-License-Identifier: MIT
"""Ceilings on what an `allow` lets in: `limit 10/second burst 20 per source`, `max-flows 100 per source/24/56`.

`overload @bad for 1h` puts who passes one into a set.
"""

from typing import NamedTuple

from firewall.lang import Cursor, closest, number
from firewall.services import SCTP, TCP
from firewall.setdef import name_complaint, read_time
from firewall.times import EXAMPLES, time_text

UNIT_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}

_RATE_MAX = 1_000_000
_FLOWS_MAX = 1 << 24  # as `option flows.max`
_SHORT = {unit[0]: unit for unit in UNIT_S} | {"sec": "second", "min": "minute"}

# Whose opener has shown that he is who he says when the flow is confirmed.
_PROVEN = frozenset((TCP, SCTP))


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


class Overload(NamedTuple):
    """A source, or the network as which its ceiling counts it, is in the set of this name for so long."""

    name: str
    for_s: int

    def __str__(self) -> str:
        return f"@{self.name} for {time_text(self.for_s)}"


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


def read_overload(cursor: Cursor) -> Overload:
    """`"@" NAME "for" TIME`."""
    token = cursor.word("a set, like '@bad'")
    if not token.text.startswith("@"):
        hint = f"did you mean '@{token.text}'?" if name_complaint(token.text) is None else None
        cursor.fail(f"expected a set, like '@bad', found {token}", token, hint)
    name = token.text.removeprefix("@")
    complaint = name_complaint(name)
    if complaint:
        cursor.fail(complaint, token)
    if not cursor.take_if("for"):
        cursor.fail(f"expected 'for' and a time, found {cursor.next}", cursor.next, EXAMPLES)
    return Overload(name, read_time(cursor, cursor.word("a time", EXAMPLES), None))


def overload_complaint(
    protos: tuple[int, ...], scopes: tuple[str, ...], per_source: bool
) -> tuple[str, str] | None:
    """Why a rule cannot have it, and what to do; `per_source`: a ceiling of it counts each source by itself."""
    if not per_source:
        return (
            "'overload' needs a ceiling that counts each source by itself",
            "add 'limit NUM/UNIT per source' or 'max-flows NUM per source'",
        )
    if not protos or not _PROVEN.issuperset(protos):
        return (
            "'overload' needs 'tcp' or 'sctp' alone: what else is sent may have a forged sender",
            "else a stranger could have others put into the set",
        )
    if "out" in scopes:
        return (
            "'overload' puts who sends into a set: in scope 'out' that is this host",
            "use 'in' or 'forward'",
        )
    return None


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
