# SPDX-License-Identifier: MIT
"""How a run ends: exit codes, one line for each error, and never a traceback unless it is asked for."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firewall import errors
from firewall.__main__ import main
from tests.cli.conftest import Fw
from tests.cli.machine import Machine

ROOT = Path(__file__).resolve().parents[2]

CODES = {
    "FwError": 1,
    "UsageError": 2,
    "NotLoaded": 3,
    "NotPermitted": 4,
    "KernelLacks": 5,
    "KernelRefused": 6,
    "Busy": 7,
    "NeedsYes": 8,
    "ExpectationFailed": 9,
    "WouldChange": 10,
}


def fail(error: BaseException) -> Any:
    def raise_it(*_: object, **__: object) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_every_error_has_its_exit_code(
    fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    monkeypatch.setattr("firewall.state.read", fail(getattr(errors, name)("it is so", "do that")))
    done = fw("status")
    assert (done.status, done.out, done.err) == (code, "", "fw: it is so\nhint: do that\n")


def test_all_errors_are_known_here() -> None:
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.FwError)
    }
    assert {name: kind.exit_code for name, kind in kinds.items()} == CODES


def test_an_unexpected_error_is_one_line(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FW_DEBUG", raising=False)
    monkeypatch.setattr("firewall.state.read", fail(KeyError("many\n  lines")))
    done = fw("status")
    assert (done.status, done.out) == (1, "")
    said, hint = done.err.splitlines()
    assert said == "fw: unexpected KeyError: 'many\\n lines'" or said.startswith("fw: unexpected KeyError: ")
    assert hint.startswith("hint: run it again with FW_DEBUG=1")
    monkeypatch.setenv("FW_DEBUG", "1")
    assert "Traceback (most recent call last)" in fw("status").err


def test_a_system_error_is_one_line(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FW_DEBUG", raising=False)
    monkeypatch.setattr("firewall.state.read", fail(OSError(24, "Too many open files", "/proc/x")))
    done = fw("status")
    assert done.status == 1
    assert done.err.startswith("fw: [Errno 24] Too many open files: '/proc/x'\n")


def test_a_missing_module_is_named(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.state.read", fail(ModuleNotFoundError("No module", name="pyroute2")))
    done = fw("status")
    assert (done.status, done.err) == (
        1,
        "fw: fw needs the Python module 'pyroute2'\nhint: install it, or run 'make'\n",
    )


def test_interrupted(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.state.read", fail(KeyboardInterrupt()))
    done = fw("status")
    assert (done.status, done.out, done.err) == (130, "", "")


class Closed(io.StringIO):
    """A stream whose reader has left."""

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_reader_that_leaves_is_no_error(machine: Machine) -> None:
    err = io.StringIO()
    assert main(["status"], Closed(), err) == 0
    assert err.getvalue() == ""


BUFFERED = {**os.environ, "PYTHONUNBUFFERED": ""}  # as the installed fw is, whatever the environment says


def fw_process(*words: str, **streams: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "firewall", *words], cwd=ROOT, text=True, **streams)


def test_a_closed_pipe_in_earnest() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with fw_process("--help", stdout=write_end, stderr=subprocess.PIPE) as process:
        os.close(write_end)
        assert process.communicate()[1] == ""
        assert process.returncode == 0


def test_a_full_disk_in_earnest() -> None:
    with (
        open("/dev/full", "w") as full,
        fw_process("version", stdout=full, stderr=subprocess.PIPE, env=BUFFERED) as process,
    ):
        said = process.communicate()[1]
        assert process.returncode == 1
        assert said == "fw: cannot write standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("closed", "command", "status", "said"),
    [
        (1, "version", 1, "fw: cannot write standard output: Bad file descriptor\n"),
        (0, "check -", 0, "standard input is a policy: 0 rules, 0 warnings\n"),
        (2, "check", 1, ""),
    ],
)
def test_closed_streams(tmp_path: Path, closed: int, command: str, status: int, said: str) -> None:
    words = [sys.executable, "-m", "firewall", *command.split()]
    if command == "check":
        words.append(str(tmp_path / "none.fw"))
    done = subprocess.run(
        words,
        cwd=ROOT,
        text=True,
        env=BUFFERED,
        capture_output=True,
        preexec_fn=lambda: os.close(closed),
    )
    assert (done.returncode, done.stderr) == (status, said)


def test_problems_of_a_file_are_told_as_compilers_tell_them(fw: Fw, tmp_path: Path) -> None:
    file = tmp_path / "my.fw"
    file.write_text("default in drop\nallow in tcp to prot 22\nalow in\n")
    done = fw(f"check {file}")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"{file}:2:17: ") and f"\n{file}:3:1: " in done.err
    assert done.err.count("^") >= 2
    problems = fw(f"check {file} --json").json["problems"]
    assert [(problem["line"], problem["column"]) for problem in problems] == [(2, 17), (3, 1)]


@pytest.mark.parametrize("command", ["check", "apply"])
def test_a_file_that_is_not_there(fw: Fw, machine: Machine, tmp_path: Path, command: str) -> None:
    done = fw(f"{command} {tmp_path}/none.fw")
    assert (done.status, done.err) == (1, f"fw: cannot read {tmp_path}/none.fw: No such file or directory\n")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_what_is_no_text_is_printed_as_json(tmp_path: Path, locale: str) -> None:
    file = os.fsencode(tmp_path) + b"/\xff.fw"
    Path(os.fsdecode(file)).write_text("alow in\n")
    with fw_process(
        "check", os.fsdecode(file), "--json", stdout=subprocess.PIPE, env={**BUFFERED, "LC_ALL": locale}
    ) as process:
        said = json.loads(process.communicate()[0])
    assert said["file"].endswith("/\udcff.fw")


@pytest.mark.parametrize(
    ("err", "status", "said"),
    [
        (errno.EACCES, 4, "Permission denied"),
        (errno.EISDIR, 1, "Is a directory"),
        (errno.EIO, 1, "Input/output error"),
    ],
)
def test_a_saved_policy_that_cannot_be_read(
    fw: Fw, nothing_loaded: Path, monkeypatch: pytest.MonkeyPatch, err: int, status: int, said: str
) -> None:
    monkeypatch.setattr(Path, "read_bytes", fail(OSError(err, os.strerror(err))))
    for command in ("show --saved", "options", "rules", "sets", "zones"):
        done = fw(command)
        assert (done.status, done.err.splitlines()[-1]) == (
            status,
            f"fw: cannot read {nothing_loaded}: {said}",
        ), command


def test_the_source_tree_runs_as_a_module() -> None:
    with fw_process("version", stdout=subprocess.PIPE) as process:
        assert process.communicate()[0].startswith("fw ")
        assert process.returncode == 0
