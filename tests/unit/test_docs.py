# SPDX-License-Identifier: MIT
"""What the pages say of the code is true."""

import re
from pathlib import Path

from firewall import abi
from firewall.reasons import REASONS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_each_reason_is_explained_in_its_words() -> None:
    page = (DOCS / "packet-flow.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:pass|drop) \| (.+) \|$", page, re.MULTILINE))
    assert rows == REASONS


def test_each_reason_has_its_verdict() -> None:
    page = (DOCS / "packet-flow.md").read_text()
    for name, verdict in re.findall(r"^\| `(\w+)` \| (pass|drop) \|", page, re.MULTILINE):
        assert (verdict == "drop") == (abi.Reason[name.upper()] >= abi.Reason.FIRST_DROP), name


def test_each_reason_is_in_the_drawing() -> None:
    drawing = (DOCS / "packet-flow.md").read_text().split("```")[1]
    for name in REASONS:
        assert re.search(rf"\b{name}\b", drawing) or name.startswith("builtin_"), name
