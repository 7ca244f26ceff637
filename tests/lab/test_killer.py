# SPDX-License-Identifier: MIT
"""The killer itself, on a small script whose every effect can be seen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lab import killer

SCRIPT = """
import os, sys
os.mkdir("before-the-marker")
lock = open("lock", "w")
for name in ("one", "two"):
    with open(name + ".new", "wb", buffering=0) as new:
        new.write(b"whole")
    os.rename(name + ".new", name)
    open(name).read()
pid = os.fork()
if pid == 0:
    os.mkdir("child")
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.fixture
def cmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [sys.executable, "-I", "-S", "-c", SCRIPT]


EXPECTED = [
    "openat(lock)",
    *("openat(one.new)", "write", "rename"),
    *("openat(two.new)", "write", "rename"),
    *("mkdir", "exit_group", "exit_group"),
]


def test_it_counts_what_changes_the_world(cmd: list[str]) -> None:
    report = killer.count(cmd, "lock")
    assert list(report.calls) == EXPECTED
    assert report.exit_status == 0 and not report.killed
    assert report.passed_over > 10
    assert Path("child").is_dir()


def test_the_call_is_not_done_and_those_before_it_are(cmd: list[str], tmp_path: Path) -> None:
    worlds = []
    for n in range(1, len(EXPECTED) + 1):
        for entry in tmp_path.iterdir():
            entry.rmdir() if entry.is_dir() else entry.unlink()
        assert killer.run_killed_at(cmd, n, "lock")
        worlds.append({entry.name: entry.stat().st_size for entry in tmp_path.iterdir() if entry.is_file()})
    written = {"lock": 0, "one": 5, "two": 5}
    assert worlds == [
        {},
        {"lock": 0},
        {"lock": 0, "one.new": 0},
        {"lock": 0, "one.new": 5},
        {"lock": 0, "one": 5},
        {"lock": 0, "one": 5, "two.new": 0},
        {"lock": 0, "one": 5, "two.new": 5},
        *([written] * 3),
    ]


def test_past_the_last_call_nothing_is_killed(cmd: list[str]) -> None:
    assert not killer.run_killed_at(cmd, len(EXPECTED) + 1, "lock")


def test_the_status_of_the_command_is_told(cmd: list[str]) -> None:
    assert (
        killer.count([sys.executable, "-c", "open('lock', 'w'); raise SystemExit(7)"], "lock").exit_status
        == 7
    )
    assert killer.count(["sh", "-c", "kill -TERM $$"], "lock").exit_status == -15
