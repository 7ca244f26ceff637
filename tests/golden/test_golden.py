# SPDX-License-Identifier: MIT
"""Policies and what fw makes of them, each a pair of files.

    NAME.fw          a good policy               NAME.out          the same in canonical words
    bad/NAME.fw      one that is refused         bad/NAME.err      what is said about it
    unmet/NAME.fw    one whose expectations fail   unmet/NAME.err    what is said about them
    warned/NAME.fw   one that is odd             warned/NAME.out   what is said about it

`UPDATE_GOLDEN=1 pytest tests/golden` writes the second file of each pair anew: read the
difference before keeping it.
"""

import os
from pathlib import Path

import pytest

from firewall.errors import ExpectationFailed
from firewall.include import read_included
from firewall.lang import PolicyError, decode_policy
from firewall.policy import Policy, parse_policy
from firewall.verify import verify

HERE = Path(__file__).parent
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


def policies(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.fw"))
    assert found, f"no policies in {folder}"
    return found


def read(path: Path) -> Policy:
    text = decode_policy(path.read_bytes(), path.name)
    return parse_policy(read_included(text, path.name, str(path.parent)), path.name)


def compare(expected: Path, text: str) -> None:
    if UPDATE:
        expected.write_text(text, newline="")
    assert text == expected.read_bytes().decode()


@pytest.mark.parametrize("path", policies(HERE), ids=lambda path: path.stem)
def test_good(path: Path) -> None:
    policy = read(path)
    verify(policy)
    compare(path.with_suffix(".out"), str(policy))


@pytest.mark.parametrize("path", policies(HERE), ids=lambda path: path.stem)
def test_canonical_text_is_its_own(path: Path) -> None:
    policy = read(path)
    again = parse_policy(str(policy))
    assert again == policy
    assert str(again) == str(policy)


@pytest.mark.parametrize("path", policies(HERE / "bad"), ids=lambda path: path.stem)
def test_bad(path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        verify(read(path))
    assert caught.value.exit_code == 2
    compare(path.with_suffix(".err"), f"{caught.value}\n")


@pytest.mark.parametrize("path", policies(HERE / "unmet"), ids=lambda path: path.stem)
def test_unmet(path: Path) -> None:
    with pytest.raises(ExpectationFailed) as caught:
        verify(read(path))
    assert caught.value.exit_code == 9
    compare(path.with_suffix(".err"), f"{caught.value}\n")


@pytest.mark.parametrize("path", policies(HERE / "warned"), ids=lambda path: path.stem)
def test_warned(path: Path) -> None:
    said = [f"{warning.told(path.name)}\n" for warning in verify(read(path))]
    assert said
    compare(path.with_suffix(".out"), "".join(said))


def test_every_expectation_has_its_policy() -> None:
    for expected in (*HERE.rglob("*.out"), *HERE.rglob("*.err")):
        assert expected.with_suffix(".fw").exists(), expected


def test_each_line_of_a_bad_policy_is_refused() -> None:
    """A bad line that is not in the .err file proves nothing: each must have its own problem."""
    several = {
        "times",
        "contradictions",
        "crlf",
        "endless",
        "characters",
        "zones-mixed",
        "zones-misused",
        "include-wrong",
        "unknown-sets",
    }
    for path in policies(HERE / "bad"):
        if path.stem in several:
            continue
        lines = [number for number, line in enumerate(path.read_text().splitlines(), 1) if line.strip()]
        with pytest.raises(PolicyError) as caught:
            read(path)
        assert [problem.line for problem in caught.value.problems] == lines, path
