# SPDX-License-Identifier: MIT
"""`fw fmt`: files are replaced whole, standard input is printed, and --check changes nothing."""

from __future__ import annotations

import io

import pytest

from tests.cli.conftest import Fw
from tests.cli.machine import Machine

UGLY = "allow  in   tcp to port ssh # why\n\n\ndefault in drop"
FINE = "allow in tcp to port 22  # why\n\ndefault in drop\n"


@pytest.fixture(autouse=True)
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.paths.Lock.__enter__", lambda self: self)
    monkeypatch.setattr("firewall.paths.Lock.__exit__", lambda *_: None)


def test_a_file(fw: Fw, machine: Machine) -> None:
    machine.file.write_text(UGLY)
    machine.file.chmod(0o640)
    checked = fw(f"fmt {machine.file} --check")
    assert (checked.status, checked.out) == (10, "")
    assert checked.err.startswith(f"fw: {machine.file} is not in canonical form\n")
    assert machine.file.read_text() == UGLY
    done = fw(f"fmt {machine.file}")
    assert (done.status, done.out, done.err) == (0, "", f"{machine.file} is in canonical form now\n")
    assert machine.file.read_text() == FINE
    assert machine.file.stat().st_mode & 0o777 == 0o640
    assert fw(f"fmt {machine.file}").err == f"{machine.file} was in canonical form already\n"
    assert fw(f"fmt {machine.file} --check").status == 0


def test_the_saved_policy(fw: Fw, machine: Machine) -> None:
    machine.file.write_text(UGLY)
    assert "'fw apply' makes them the same" in fw("fmt").err
    assert machine.file.read_text() == FINE


def test_standard_input(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))
    done = fw("fmt -")
    assert (done.status, done.out, done.err) == (0, FINE, "")


def test_a_wrong_policy_stays_as_it_is(fw: Fw, machine: Machine) -> None:
    machine.file.write_text("alow in\nallow in 22\n")
    done = fw(f"fmt {machine.file}")
    assert done.status == 2 and done.err.count("^\n") == 2
    assert machine.file.read_text() == "alow in\nallow in 22\n"
    assert fw("fmt /nonexistent/rules.fw").status == 1
