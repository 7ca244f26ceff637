# SPDX-License-Identifier: MIT
"""docs/requirements.md has each requirement of each RFC, and the tests that it names exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "requirements.md"
VERDICT = re.compile(r"met(?:: .+)?|(?:departs|does not apply): .+")


def numbered(prefix: str, letters: dict[int, str], last: int) -> list[str]:
    """PREFIX-1 to PREFIX-last, each followed by its lettered parts."""
    return [
        f"{prefix}-{number}{letter}"
        for number in range(1, last + 1)
        for letter in ("", *letters.get(number, ""))
    ]


# What each RFC numbers: its requirements, or the sections that have them.
REQUIREMENTS = {
    4787: numbered(
        "REQ", {3: "a", 5: "abc", 6: "a", 8: "a", 9: "a", 10: "a", 12: "ab", 13: "a", 14: "a"}, 14
    ),
    5382: numbered("REQ", {2: "a", 3: "ab", 4: "a", 5: "a", 8: "a"}, 10),
    5508: numbered("REQ", {1: "a", 2: "a", 3: "abcd", 4: "abc", 5: "abc", 7: "a", 10: "abcdef"}, 11),
    5961: ["3.2", "4.2", "5.2", "7", "9.1", "9.2", "9.3"],
    6092: numbered("REC", {}, 50),
    7857: ["2", "2.1", "2.2", *map(str, range(3, 14))],
}


class Row(NamedTuple):
    """A line of a table. tests: as FILE::NAME or FILE::CLASS::NAME."""

    rfc: int
    number: str
    verdict: str
    tests: list[str]


def rows() -> Iterator[Row]:
    for section in re.split(r"^## RFC ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        rfc = int(section.split(":")[0])
        table = [line for line in section.splitlines() if line.startswith("|")]
        for line in table[2:]:
            number, _, verdict, shown = (cell.strip() for cell in line.strip("|").split("|"))
            tests = re.findall(r"`([^`]+)`", shown)
            assert re.sub(r"`[^`]+`|, ", "", shown) == "", f"RFC {rfc} {number}: {shown}"
            yield Row(rfc, number, verdict, tests)


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the test functions of a file, those of classes behind CLASS::."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return frozenset(name for name in found if name.split("::")[-1].startswith("test_"))


@pytest.mark.parametrize("rfc", REQUIREMENTS)
def test_each_requirement_is_there_once_and_in_order(rfc: int) -> None:
    assert [row.number for row in rows() if row.rfc == rfc] == REQUIREMENTS[rfc]


def test_no_other_rfc_is_there() -> None:
    assert {row.rfc for row in rows()} == set(REQUIREMENTS)


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: f"{row.rfc}-{row.number}")
def test_what_a_row_says(row: Row) -> None:
    assert VERDICT.fullmatch(row.verdict), "met, or departs or does not apply and why"
    if row.verdict.startswith("met"):
        assert row.tests, "what is met is shown by a test"
    for test in row.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), file
        assert name in names_in(ROOT / file), test
