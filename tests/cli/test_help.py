# SPDX-License-Identifier: MIT
"""Help of every command: it ends with examples, and the examples work."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from firewall import abi
from firewall.cli.app import app
from firewall.document import place
from firewall.policy import parse_policy
from tests.cli.conftest import Fw
from tests.cli.machine import Machine

IMPORTS = Path(__file__).parents[1] / "golden" / "import"
ROOT: Any = typer.main.get_command(app)


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    yield path, command
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from walk(command.get_command(None, name), f"{path} {name}")


COMMANDS = dict(walk(ROOT, "fw"))
# What stands behind two blanks says what an example is for.
EXAMPLES = [
    (path, line.partition("   ")[0].rstrip())
    for path, command in COMMANDS.items()
    for line in (command.epilog or "").strip().splitlines()
]


@pytest.mark.parametrize("path", COMMANDS)
def test_help_ends_with_examples(fw: Fw, path: str) -> None:
    for option in ("--help", "-h"):
        done = fw(f"{path.removeprefix('fw').strip()} {option}")
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith(f"Usage: {path} ")
        head, _, examples = done.out.partition("\nExamples:\n")
        assert "--netns NAME" in head
        lines = examples.splitlines()
        assert lines and all(line.startswith("  fw") for line in lines), done
        assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("path", COMMANDS)
def test_what_a_command_does_is_said_in_one_line(fw: Fw, path: str) -> None:
    *above, name = path.split()
    if above:
        (line,) = [
            line
            for line in fw(f"{' '.join(above[1:])} --help").out.splitlines()
            if line.startswith(f"  {name} ")
        ]
        assert not line.endswith("..."), line
        first, *_ = (COMMANDS[path].help or "").splitlines()
        assert line.split(maxsplit=1)[1] == first


@pytest.mark.parametrize(("path", "line"), EXAMPLES, ids=[f"{path}: {line}" for path, line in EXAMPLES])
def test_examples_work(
    fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch, path: str, line: str
) -> None:
    monkeypatch.chdir(machine.file.parent)
    saved_flows = machine.file.parent / "lib/flows.jsonl"
    saved_flows.parent.mkdir()
    saved_flows.touch()
    imported = {"saved.v4": "host6.iptables", "ruleset.json": "router.nft", "user.rules": "user6.ufw"}
    for name, golden in imported.items():
        text = (IMPORTS / golden).read_text()
        (machine.file.parent / name).write_text(text.replace(" -m hl --hl-eq 255", ""))
    (machine.file.parent / "blocklist.yaml").write_text("- 192.0.2.7\n")
    monkeypatch.setattr("firewall.links.find", lambda name: None)
    monkeypatch.setattr("firewall.doctor.examine", list)
    if path.startswith("fw zone"):
        text = "zone lan = br-lan, eth3\n" + machine.document.text
        machine.document = place(parse_policy(text), text, True, machine.document, abi.Limits.RULE_COUNTERS)
    output = ""
    for part in line.split(" | "):
        command, _, target = part.partition(" > ")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(output.encode())))
        assert command.startswith("fw")
        done = fw(command.removeprefix("fw").strip())
        would_change = "--dry-run" in command and done.status == 10
        assert done.status == 0 or would_change, done
        output = done.out
        assert not target or (machine.file.parent / target).parent.is_dir()


def test_what_show_prints_changes_nothing(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = fw("show")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(shown.out.encode())))
    done = fw("apply - --dry-run")
    assert (done.status, done.out, done.err) == (0, "", "nothing would change\n")
