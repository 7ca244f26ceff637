# SPDX-License-Identifier: MIT
"""firewall/abi.py is what the object's BTF says, and nothing that someone typed."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from firewall import abi

ROOT = Path(__file__).resolve().parents[2]
NUMBERED = (6, "432a4c7d3daaee5e")  # LAYOUT_VERSION, and a digest of all else in firewall/abi.py


def test_abi_is_not_stale() -> None:
    generated = subprocess.run(
        [sys.executable, "scripts/gen-abi", "build/fw.bpf.o"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert generated.returncode == 0, generated.stderr
    assert generated.stdout == (ROOT / "firewall" / "abi.py").read_text(), "stale: run `make abi`"


def test_changed_layouts_have_a_new_number() -> None:
    """Pins of another build are told by it: two that differ may not have the same."""
    rest = re.sub(r"LAYOUT_VERSION = \d+", "", (ROOT / "firewall" / "abi.py").read_text())
    found = int(abi.Layout.LAYOUT_VERSION), hashlib.sha256(rest.encode()).hexdigest()[:16]
    assert found == NUMBERED, (
        "raise LAYOUT_VERSION in bpf_src/abi.h if the last release has it, and write it here"
    )
