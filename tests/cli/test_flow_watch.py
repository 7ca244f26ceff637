# SPDX-License-Identifier: MIT
"""`fw flow watch`, `save` and `restore`: what they print, and what they refuse."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from firewall.cli import flowwatch
from tests.cli.conftest import Fw, run
from tests.cli.machine import LINES, Machine, flow

FULL = """\
12:00:00  4 flows, 0 opened, 0 ended; 4 of 65,536 places used
proto  from             to                state        bytes/s  replies/s    age
tcp    192.0.2.1:40000  198.51.100.7:443  established  2.0 KiB  200.0 KiB  1m 1s
udp    192.0.2.1:5353   198.51.100.7:53   one_way        600 B        0 B  1m 1s
"""


def settled(text: str) -> str:
    """With one time of day for all."""
    return re.sub(r"\d\d:\d\d:\d\d", "12:00:00", text)


def test_watch(fw: Fw, machine: Machine) -> None:
    done = fw("flow watch --count 2")
    assert (done.status, done.err) == (0, "")
    assert settled(done.out) == f"{FULL}\n{FULL}"


def test_watch_goes_on_until_the_firewall_is_unloaded(fw: Fw, machine: Machine) -> None:
    done = fw("flow watch")
    assert done.out.count("places used") == 3
    assert (done.status, done.err) == (0, "fw was unloaded\n")


def test_watch_needs_something_loaded(fw: Fw, machine: Machine) -> None:
    machine.loaded = False
    assert fw("flow watch").status == 3


def test_watch_shows_the_busiest(fw: Fw, machine: Machine) -> None:
    assert fw("flow watch --count 1 --limit 1").out.splitlines()[2:] == FULL.splitlines()[2:3]


def test_watch_filters(fw: Fw, machine: Machine) -> None:
    (_, header, *lines) = fw("flow watch --count 1 --proto udp").out.splitlines()
    assert header.startswith("proto") and [line.split()[0] for line in lines] == ["udp"]


def test_watch_counts_who_came_and_went(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(_: float) -> None:
        # Instead of the first there is another with its key, the second stays, and a third comes.
        machine.flows = [flow(sport=1, age_s=0), machine.flows[1], flow(sport=3, age_s=1)]

    machine.flows = [flow(sport=1), flow(sport=2)]
    monkeypatch.setattr("time.sleep", change)
    monkeypatch.setattr("time.monotonic", iter(range(100)).__next__)
    (look,) = (json.loads(line) for line in fw("flow watch --count 1 --json").out.splitlines())
    assert (look["live"], look["opened"], look["ended"]) == (3, 2, 1)


def test_watch_json_is_one_object_a_line(fw: Fw, machine: Machine) -> None:
    looks = [json.loads(line) for line in fw("flow watch --count 2 --interval 2 --json").out.splitlines()]
    assert len(looks) == 2
    first = looks[0]
    assert abs(first.pop("time_s")) > 0
    busiest, _ = first.pop("flows")
    assert first == {
        "schema": 1, "elapsed_s": 2.0, "live": 4, "opened": 0, "ended": 0, "used": 4, "max": 65536,
        "timeout_percent": 100,
    }  # fmt: skip
    assert (busiest["proto"], busiest["bytes_per_s"], busiest["reply_bytes_per_s"]) == ("tcp", 1024, 102400)
    assert busiest["bytes"] == 1536 + 2048


def test_a_slow_look_stretches_the_interval(
    fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not more than half of the time is spent looking."""
    from tests.cli.machine import Clock

    clock = Clock(machine)
    monkeypatch.setattr("time.sleep", clock.sleep)
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    look = machine.read

    def slow() -> Any:
        clock.now_s += 3
        return look()

    monkeypatch.setattr("firewall.state.read", slow)
    fw("flow watch --count 2")
    assert clock.naps == [3, 3]
    clock.naps.clear()
    fw("flow watch --count 1 --interval 10")
    assert clock.naps == [7]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


def test_on_a_terminal_it_redraws(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from firewall.__main__ import main

    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((40, 4)))
    out, err = Terminal(), io.StringIO()
    assert main(["flow", "watch", "--count", "2"], out, err) == 0
    screens = out.getvalue().split("\x1b[H")
    assert screens[0] == "\x1b[2J" and len(screens) == 3
    for screen in screens[1:]:
        assert screen.endswith("\x1b[J")
        lines = screen.removesuffix("\x1b[J").splitlines()
        assert len(lines) == 3, "what fits"
        assert all(line.endswith("\x1b[K") and len(line) <= 43 for line in lines)


def test_a_terminal_that_does_not_tell_its_size(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from firewall.__main__ import main

    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    out = Terminal()
    assert main(["flow", "watch", "--count", "1"], out, io.StringIO()) == 0
    first, *rest = out.getvalue().splitlines()
    assert "places used" in first and len(rest) > 2


def test_names_that_cannot_be_those_of_files(fw: Fw, machine: Machine) -> None:
    assert ": it is no regular file" in fw("flow save ''").err, "not the file that is for none"
    assert fw("flow save /").err == "fw: cannot write /: it is no regular file\n"
    assert ": Is a directory" in fw("flow restore ''").err
    long = "x" * 300
    said = fw(f"flow save {long}")
    assert said.status == 1 and said.err.endswith(f"{long}: File name too long\n")


def test_ctrl_c_ends_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    done = run("flow watch")
    assert (done.status, done.out, done.err) == (130, "", "")


@pytest.mark.parametrize("words", ["--interval 0", "--interval -1", "--interval nan", "--interval 100000"])
def test_intervals_that_cannot_be(fw: Fw, machine: Machine, words: str) -> None:
    done = fw(f"flow watch {words}")
    assert done.status == 2 and done.err.startswith("fw: cannot look every ")


@pytest.mark.parametrize("words", ["--count 0", "--limit 0", "--limit x"])
def test_counts_that_cannot_be(fw: Fw, machine: Machine, words: str) -> None:
    assert fw(f"flow watch {words}").status == 2


def test_save(fw: Fw, machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "flows.jsonl"
    file.write_text("old")
    file.chmod(0o644)
    done = fw(f"flow save {file}")
    assert (done.status, done.out, done.err) == (0, "", f"2 flows saved in {file}\n")
    assert file.read_text().splitlines() == LINES
    assert file.stat().st_mode & 0o777 == 0o600
    assert fw("flow save -").out.splitlines() == LINES


def test_save_without_a_name(fw: Fw, machine: Machine) -> None:
    directory = machine.file.parent / "lib"
    assert fw("flow save").err == f"2 flows saved in {directory}/flows.jsonl\n"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert fw("flow restore").err == "2 flows restored, 3 known already, 12 expired\n"


def test_a_save_that_fails_leaves_the_old_file(
    fw: Fw, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "flows.jsonl"
    file.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = fw(f"flow save {file}")
    assert (done.status, done.err) == (1, f"fw: cannot write {file}: No space left on device\n")
    assert file.read_text() == "old" and [path.name for path in tmp_path.glob(".flows*")] == []


def test_a_save_removes_what_a_killed_one_left(fw: Fw, machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "flows.jsonl"
    dead, living = (
        tmp_path / f".flows.jsonl.staged-{pid}" for pid in (4_194_305, 1)
    )  # above any pid, and init
    dead.touch()
    living.touch()
    fw(f"flow save {file}")
    assert not dead.exists() and living.exists()


@pytest.mark.parametrize("target", ["/dev/null", "."])
def test_save_overwrites_no_device(fw: Fw, machine: Machine, target: str) -> None:
    done = fw(f"flow save {target}")
    assert done.status == 1 and done.err.endswith(": it is no regular file\n")


def test_restore(fw: Fw, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "flows.jsonl"
    fw(f"flow save {file}")
    assert fw(f"flow restore {file}").err == "2 flows restored, 3 known already, 12 expired\n"
    text = "\n".join(LINES).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert fw("flow restore -").status == 0
    assert machine.done == ["read flows.jsonl", "read standard input"]


def test_restore_of_nothing(fw: Fw, machine: Machine, tmp_path: Path) -> None:
    done = fw(f"flow restore {tmp_path}/no")
    assert (done.status, done.err) == (1, f"fw: there is no {tmp_path}/no\nhint: 'fw flow save' writes one\n")
    assert fw(f"flow restore {tmp_path}").err == f"fw: cannot read {tmp_path}: Is a directory\n"


def test_flow_verbs_that_print_no_data(fw: Fw, machine: Machine) -> None:
    for line in ("--json flow save", "--json flow restore"):
        assert fw(line).err.endswith("prints no data, so there is no --json for it\n")


def test_examples_are_given() -> None:
    assert all(line.startswith("fw flow watch") for line in flowwatch.WATCH.strip().splitlines())
