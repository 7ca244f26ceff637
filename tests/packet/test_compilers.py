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
from tests.stack import CALLS, STACK_BYTES, deepest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.compiler
COMPILERS = [name for version in range(14, 40) if shutil.which(name := f"clang-{version}")]


def made_by(compiler: str, where: Path) -> Path:
    made = where / "fw.bpf.o"
    words = ["make", "-s", "-B", f"CLANG={compiler}", f"OUT={where}", str(made)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("scratch", [0, 1], ids=["live", "scratch"])
def test_what_it_makes_is_accepted(compiler: str, scratch: int, tmp_path: Path) -> None:
    opened = Object.open(made_by(compiler, tmp_path))
    opened.set_rodata({"hz": hz(), "answer_mark": 1, "env_from_map": scratch})
    opened.load()
    opened.close()


@pytest.mark.parametrize("compiler", ["clang", *COMPILERS])
def test_what_it_makes_has_stack_enough_on_each_kernel(compiler: str, tmp_path: Path) -> None:
    """Kernels differ in how they round a frame, so what this one accepts may be too much for an older one."""
    most, longest = deepest(made_by(compiler, tmp_path))
    assert STACK_BYTES // 2 < most.bytes <= STACK_BYTES, most
    assert CALLS // 2 < len(longest.calls) <= CALLS, longest


SOURCE = """
#define NOINLINE __attribute__((noinline))
#define TOUCH(depth, with) __asm__ volatile("*(u64 *)(r10 - " #depth ") = %%0" : : "r"(with))
NOINLINE int leaf(long a) { TOUCH(%d, a); return a; }
NOINLINE int middle(long a) { TOUCH(40, a); return leaf(a) + 1; }
__attribute__((section("tc"))) int program(int *skb) { return middle(skb[0]) + leaf(skb[1]); }
"""


@pytest.mark.parametrize(("depth", "frame"), [(8, 32), (32, 32), (40, 64), (200, 224)])
def test_stack_is_counted_as_the_kernel_does(depth: int, frame: int, tmp_path: Path) -> None:
    source, made = tmp_path / "deep.c", tmp_path / "deep.o"
    source.write_text(SOURCE % depth)
    subprocess.run(["clang", "-O2", "-target", "bpf", "-c", str(source), "-o", str(made)], check=True)
    most, longest = deepest(made)
    assert most == longest == (32 + 64 + frame, ("program", "middle", "leaf"))
