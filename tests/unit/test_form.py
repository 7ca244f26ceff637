# SPDX-License-Identifier: MIT
"""The canonical form says the same, keeps every comment, and is its own."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.form import formatted
from firewall.lang import PolicyError
from firewall.policy import Policy, parse_policy
from tests.strategies import policies, steady

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
PAGE = (ROOT / "docs" / "rules.md").read_text()


def test_the_example() -> None:
    section = PAGE.split("## Canonical form")[1].split("\n## ")[0]
    before, after = re.findall(r"\n\n((?:    .*\n|\n)+)(?=\n?[a-zW])", section)
    plain = [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in (before, after)]
    assert formatted(plain[0]) == plain[1].rstrip("\n") + "\n"


def remarks(text: str) -> list[str]:
    """Comments of lines that have no string in them."""
    return [
        line[line.index("#") :].rstrip(" \t\r")
        for line in text.splitlines()
        if "#" in line and '"' not in line
    ]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.fw")), ids=lambda path: path.stem)
def test_the_same_policy_with_its_comments(path: Path) -> None:
    text = path.read_bytes().decode()
    new = formatted(text)
    assert formatted(new) == new
    assert parse_policy(new, alone=True) == parse_policy(text, alone=True)
    assert remarks(new) == remarks(text)


GAPS = ["", "\n", "\n\n", "# a remark\n", "\t # indented\n", '#"quoted" # twice\n']


@steady
@given(policies(), st.randoms())
def test_any_policy(policy: Policy, rng: random.Random) -> None:
    lines = [
        rng.choice(("", " ", "\t")) + line + rng.choice(("", " ", " # why"))
        for line in str(policy).splitlines()
    ]
    text = "".join(rng.choice(GAPS) + line + rng.choice(("\n", "\r\n")) for line in lines)
    new = formatted(text)
    assert parse_policy(new) == policy
    assert formatted(new) == new
    assert new.count("#") == text.count("#")
    assert "\n\n\n" not in new and not new.startswith("\n") and not new.endswith("\n\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("\n\n", ""),
        ("\ufeffallow in", "allow in\n"),
        ("#", "#\n"),
        ("# a\r\r\nallow in # b \r\r\n", "# a\nallow in  # b\n"),
        ("allow in#x", "allow in  #x\n"),
        ('allow in comment "a # b"   #c', 'allow in comment "a # b"  #c\n'),
        ('allow in log comment "x" # \t', 'allow in log comment "x"  #\n'),
        ("zone lan=eth0", None),
        ('include "a.fw" # one', "include a.fw  # one\n"),
        ("expect drop in udp,tcp # so", "expect drop in udp, tcp  # so\n"),
    ],
)
def test_lines(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(PolicyError):
            formatted(text)
    else:
        assert formatted(text) == expected


def test_a_line_that_would_be_too_long_stays() -> None:
    ports = ",".join(map(str, range(10000, 20800)))
    text = f"allow  in tcp to port {ports} # all of them\nallow   out\n"
    new = formatted(text)
    assert new == text.replace("allow   out", "allow out")
    assert parse_policy(new) == parse_policy(text)
