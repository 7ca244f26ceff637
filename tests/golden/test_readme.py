# SPDX-License-Identifier: MIT
"""The policies of the README can be used as they are."""

import re
from pathlib import Path

import pytest

from firewall.policy import parse_policy
from firewall.verify import verify

TEXT = (Path(__file__).parents[2] / "README.md").read_text()
POLICIES = re.findall(r"^```fw\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_there_are_four() -> None:
    assert len(POLICIES) == 4


@pytest.mark.parametrize("text", POLICIES)
def test_each_is_sound_and_keeps_its_promises(text: str) -> None:
    assert "expect " in text
    assert not verify(parse_policy(text))


@pytest.mark.parametrize("text", POLICIES)
def test_rules_are_written_as_they_print(text: str) -> None:
    assert all(str(rule) in text for rule in parse_policy(text).rules)
