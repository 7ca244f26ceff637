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


def test_links_lead_to_pages_and_headings_that_exist() -> None:
    pages = [*DOCS.glob("*.md"), *(DOCS.parent / name for name in ("README.md", "CHANGELOG.md"))]
    for page in pages:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
            aim = page.parent / target if target else page
            assert aim.is_file(), f"{page.name}: {target}"
            assert not anchor or anchor in headings(aim), f"{page.name}: {target}#{anchor}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings: lower case, blanks as hyphens, without punctuation."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in found}
