# SPDX-License-Identifier: MIT
"""firewall/abi.py is what the object's BTF says, and nothing that someone typed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
