# SPDX-License-Identifier: MIT
"""What each command imports: start-up is most of a command's time, and it grows by the module.

A command may import `MODULES[command]` modules, counted in a process of its own: a few more than it does. Some
modules are never worth their time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Slow, and of no use to a command that reads.
NEVER = (
    "asyncio click concurrent dataclasses difflib email html http logging multiprocessing optparse pyroute2 pydantic "
    "platform pygments rich shellingham subprocess tempfile traceback typing_extensions unittest uuid xml"
).split()
KERNEL = [
    "ctypes",
    "firewall.bpfmap",
    "firewall.bpfprog",
    "firewall.bindings.libbpf",
    "firewall.state",
    "firewall.engine",
]
LANGUAGE = ["firewall.lang", "firewall.rule", "firewall.policy"]

MODULES = {
    "--help": 138,
    "rule --help": 128,
    "check POLICY": 156,
    "version": 140,
    "status": 170,
    "mode": 155,
    "show": 165,
    "option": 181,
    "rule list": 181,
    "flow list": 146,
    "log": 160,
    "doctor": 162,
    "rule add allow in": 207,
    "load": 205,
}
FORBIDDEN = {"--help": KERNEL + LANGUAGE, "rule --help": KERNEL + LANGUAGE, "check POLICY": KERNEL}

# Where nothing is loaded, nothing is saved and nobody may change anything.
NOWHERE = """
import pathlib, firewall.paths, firewall.errors
def refuse(*_):
    raise firewall.errors.NotPermitted("not here")
firewall.paths.find_pin_dir = lambda: None
firewall.paths.policy_path = lambda: pathlib.Path("/nonexistent/rules.fw")
firewall.paths.Lock.__enter__ = refuse
"""
# What a command imports later, when it does what these do.
PARTS = {
    "import firewall.firstload, firewall.programs, firewall.seed": 209,
    "import firewall.upgrade": 209,
    "import firewall.tc, firewall.netlink\nfirewall.netlink.change = print\nfirewall.tc.make_clsact(1)": 172,
}
SCRIPT = """
import io
from firewall.__main__ import main
main(sys.argv[1:], io.StringIO(), io.StringIO())
print(" ".join(sys.modules))
"""


def imported(command: str, tmp_path: Path) -> list[str]:
    """The modules that a process has imported that ran the command."""
    policy = tmp_path / "rules.fw"
    policy.write_text("default in drop\nallow in tcp to port 22\n")
    words = command.replace("POLICY", str(policy)).split()
    place = "" if command in FORBIDDEN else NOWHERE
    script = f"import sys\nsys.path += {sys.path!r}\n{place}{SCRIPT}"
    words = [sys.executable, "-IS", "-c", script, *words]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("command", MODULES)
def test_within_budget(command: str, tmp_path: Path) -> None:
    modules = imported(command, tmp_path)
    assert len(modules) <= MODULES[command], " ".join(sorted(modules))
    unwanted = [*NEVER, *FORBIDDEN.get(command, [])]
    found = [m for m in modules if m in unwanted or m.partition(".")[0] in NEVER]
    assert not found


@pytest.mark.parametrize("part", PARTS)
def test_parts_within_budget(part: str) -> None:
    script = (
        f"import sys\nsys.path += {sys.path!r}\nimport firewall.cli.app\n{part}\nprint()\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-IS", "-c", script], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1].split()
    assert len(modules) <= PARTS[part], " ".join(sorted(modules))
    assert not {"asyncio", "multiprocessing", "pyroute2.iproute", "sqlite3", "ssl"}.intersection(modules)


def test_a_command_imports_no_other(tmp_path: Path) -> None:
    ours = [module for module in imported("check POLICY", tmp_path) if module.startswith("firewall.cli.")]
    assert sorted(ours) == ["firewall.cli.app", "firewall.cli.base", "firewall.cli.policy"]
