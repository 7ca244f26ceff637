# SPDX-License-Identifier: MIT
"""The form of the tree: linters, types, licence lines, and documents that name what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".py", ".c", ".h", ".toml", ".service", ".rules", ".bash", ".fish", ".8"}
NAMES = {"Makefile", "_fw"}
PYTHON_LINES_MAX = 350
C_LINES_MAX = 300
GENERATED = {"abi.py"}  # from all layouts, in one piece

LINTERS = {
    "ruff check": ["ruff", "check", "--no-cache", "."],
    "ruff format": ["ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["mypy"],
    "clang-format": ["clang-format", "--dry-run", "-Werror"],
}


def files(*which: str) -> list[Path]:
    """Files of the tree, not empty, by what `git ls-files` is to list."""
    words = ["git", "ls-files", "-z", *which]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return sorted(path for path in paths if path.is_file() and path.stat().st_size)


def sources() -> list[Path]:
    """Every source file, committed or about to be: by suffix, by name, or because it is a script."""
    return [path for path in files("--cached", "--others", "--exclude-standard") if is_source(path)]


def is_source(path: Path) -> bool:
    if path.suffix in SUFFIXES or path.name in NAMES:
        return True
    return path.read_bytes()[:2] == b"#!"


def c_files() -> list[Path]:
    return [path for path in sources() if path.suffix in {".c", ".h"}]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LINTERS)
def test_linter(name: str) -> None:
    program, *words = LINTERS[name]
    path = Path(sys.executable).with_name(program)
    assert path.exists(), f"{program} is missing from {path.parent}: run `make`"
    if program == "clang-format":
        words += [str(path) for path in c_files()]
    done = subprocess.run([path, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}".strip()


def test_licence_lines() -> None:
    wrong = []
    for path in sources():
        licence = "GPL-2.0-only" if path.is_relative_to(ROOT / "bpf_src") else "MIT"
        head = path.read_text().splitlines()[:2]
        if not any(f"SPDX-License-Identifier: {licence}" in line for line in head):
            wrong.append(f"{path.relative_to(ROOT)}: its first lines do not say {licence}")
    assert not wrong, "\n".join(wrong)


def test_nothing_left_for_later() -> None:
    words = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sources()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert not found, "\n".join(found)


def test_one_subject_a_file() -> None:
    limits = {".c": C_LINES_MAX, ".h": C_LINES_MAX, ".py": PYTHON_LINES_MAX}
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines, at most {limits[path.suffix]}"
        for folder in ("bpf_src", "firewall")
        for path in sources()
        if path.is_relative_to(ROOT / folder) and path.name not in GENERATED
        if (lines := len(path.read_text().splitlines())) > limits[path.suffix]
    ]
    assert not long, "\n".join(long)


def test_nothing_built_is_under_version_control() -> None:
    """All that is kept is text."""
    built = [str(path.relative_to(ROOT)) for path in files("--cached") if b"\0" in path.read_bytes()]
    assert not built


def test_ctypes_stays_in_the_bindings() -> None:
    users = {
        path
        for path in (ROOT / "firewall").rglob("*.py")
        if re.search(r"^\s*(import|from) ctypes|\bctypes\.", path.read_text(), re.MULTILINE)
    }
    assert users == {*(ROOT / "firewall" / "bindings").glob("lib*.py")}


def test_readme_names_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", _code_of(ROOT / "README.md")))
    assert {"demo", "test"} <= named
    assert named <= targets, f"README.md names {', '.join(sorted(named - targets))}"


def _code_of(document: Path) -> str:
    """What a Markdown file has in code: blocks and words between backquotes."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", document.read_text(), re.DOTALL))
