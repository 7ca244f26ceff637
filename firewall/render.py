# SPDX-License-Identifier: MIT
"""Numbers with units and columns that line up. Pure: text out, nothing printed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

GAP = "  "
_BINARY_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def count(number: int) -> str:
    """1234567 -> '1,234,567'."""
    return f"{number:,}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """'1 rule', '2 rules', '1,000 rules'; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: int) -> str:
    """Bytes: '512 B', '1.5 KiB', '20.0 GiB'."""
    if number < 1024:
        return f"{number} B"
    value = float(number)
    units = iter(_BINARY_UNITS)
    while True:
        value, unit = value / 1024, next(units)
        if value < 1023.95 or unit == _BINARY_UNITS[-1]:  # 1024.0 would belong to the next unit
            return f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """'0s', '59s', '4m 5s', '2h 3m', '11d 4h': two units, the smaller one left out when it is zero."""
    whole = max(0, int(seconds))
    for unit_s, unit, smaller_s, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= unit_s:
            rest = whole % unit_s // smaller_s
            return f"{whole // unit_s}{unit} {rest}{smaller}" if rest else f"{whole // unit_s}{unit}"
    return f"{whole}s"


def endpoint(address: str, port: int | None) -> str:
    """'192.0.2.1:80', '[2001:db8::1]:80', and the address alone where there is no port."""
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> list[str]:
    """Lines of a table whose columns line up; the columns named in `right` are aligned to the right.

    No line ends in blanks, and the last column is never padded. No rows give no lines.
    """
    cells = [tuple(row) for row in rows]
    if not cells:
        return []
    return [*columns([tuple(header), *cells], [i for i, name in enumerate(header) if name in set(right)])]


def columns(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> Iterator[str]:
    """Lines of `rows`, whose columns line up; those numbered in `right` are aligned to the right.

    The rows are gone through twice, and may be very many.
    """
    widths: list[int] = []
    for row in rows:
        widths = [*map(max, widths or repeat(0), map(len, row))]
    to_the_right = set(right)
    line = GAP.join(f"{{:{'>' if i in to_the_right else '<'}{width}}}" for i, width in enumerate(widths))
    return (line.format(*row).rstrip() for row in rows)
