# SPDX-License-Identifier: MIT
"""The object as other versions of clang make it: each places things on the stack and keeps bounds in its own way,
and the verifier must find the same safety in all of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from firewall.bpfobject import Object
from firewall.clock import hz

ROOT = Path(__file__).resolve().parents[2]
COMPILERS = [name for version in range(14, 40) if shutil.which(name := f"clang-{version}")]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("scratch", [0, 1], ids=["live", "scratch"])
def test_what_it_makes_is_accepted(compiler: str, scratch: int, tmp_path: Path) -> None:
    made = tmp_path / "fw.bpf.o"
    words = ["make", "-s", "-B", f"CLANG={compiler}", f"OUT={tmp_path}", str(made)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    opened = Object.open(made)
    opened.set_rodata({"hz": hz(), "answer_mark": 1, "env_from_map": scratch})
    opened.load()
    opened.close()
