# SPDX-License-Identifier: MIT
"""The command line in this process: `fw("rule list --json")` runs it and gives what it printed."""

from __future__ import annotations

import io
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from firewall.__main__ import main
from tests.cli.machine import Machine, install


class Result(NamedTuple):
    """Exit status and what went to stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit {self.status}\n{self.out}---\n{self.err}"


Fw = Callable[[str], Result]


def run(line: str) -> Result:
    """Runs the words of `line`, quoted as for a shell."""
    out, err = io.StringIO(), io.StringIO()
    return Result(main(shlex.split(line), out, err), out.getvalue(), err.getvalue())


@pytest.fixture
def fw() -> Fw:
    return run


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """No pins, and a saved policy that the test may write: the path."""
    saved = tmp_path / "rules.fw"
    monkeypatch.setattr("firewall.pins.find_pin_dir", lambda: None)
    monkeypatch.setattr("firewall.saved.policy_path", lambda: saved)
    monkeypatch.setattr("firewall.paths.policy_path", lambda: saved)
    return saved


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    install(made, monkeypatch)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return made
