# SPDX-License-Identifier: MIT
"""Numbers with units and columns that line up."""

import pytest

from firewall import render


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),  # not 1024.0 KiB
        (1024**2, "1.0 MiB"),
        (20 * 1024**3, "20.0 GiB"),
        (2**64 - 1, "16384.0 PiB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert render.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (245, "4m 5s"),
        (3600, "1h"),
        (3661, "1h 1m"),
        (86399, "23h 59m"),
        (86400 * 11 + 4 * 3600, "11d 4h"),
        (86400 * 400, "400d"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_counts() -> None:
    assert render.count(1234567) == "1,234,567"
    assert [render.counted(n, "rule") for n in (0, 1, 2, 1000)] == [
        "0 rules",
        "1 rule",
        "2 rules",
        "1,000 rules",
    ]
    assert render.counted(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("address", "port", "text"),
    [
        ("192.0.2.1", 80, "192.0.2.1:80"),
        ("2001:db8::1", 80, "[2001:db8::1]:80"),
        ("2001:db8::1", None, "2001:db8::1"),
        ("192.0.2.1", 0, "192.0.2.1:0"),
    ],
)
def test_endpoint(address: str, port: int | None, text: str) -> None:
    assert render.endpoint(address, port) == text


def test_table_lines_up() -> None:
    lines = render.table(
        ("id", "packets", "rule"), [("1", "9", "allow"), ("12", "1,000", "")], right=["id", "packets"]
    )
    assert lines == [
        "id  packets  rule",
        " 1        9  allow",
        "12    1,000",
    ]


def test_table_of_nothing_is_nothing() -> None:
    assert render.table(("id",), []) == []
    assert [*render.columns([])] == []
