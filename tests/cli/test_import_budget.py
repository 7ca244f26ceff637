# SPDX-License-Identifier: MIT
"""What each command imports: start-up is most of a command's time, and it grows by the module.

A command may import `MODULES[command]` modules, counted in a process of its own: as many as it does with Python 3.13,
or a few more. Some modules are never worth their time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUTER = ROOT / "tests" / "golden" / "import" / "router"

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
    "--help": 103,
    "rule --help": 87,
    "check POLICY": 124,
    "version": 96,
    "status": 123,
    "mode": 114,
    "show": 113,
    "option": 141,
    "rule list": 140,
    "flow list": 109,
    "log": 119,
    "doctor": 121,
    "rule add allow in": 163,
    "load": 162,
    "unload --all": 162,
    "apply": 163,
    "apply POLICY": 163,
    "option timeout.udp 200s": 164,
    "upgrade": 174,
    "refresh": 149,
    "set list": 134,
    "set show blocked": 132,
    "set add blocked 192.0.2.1": 132,
    "fmt POLICY": 105,
    "import iptables --partial ROUTER.iptables": 106,
    "import nft --partial ROUTER.nft": 107,
}
FORBIDDEN = {
    **dict.fromkeys(("--help", "rule --help"), KERNEL + LANGUAGE),
    **{command: KERNEL for command in MODULES if command.startswith(("check ", "fmt ", "import "))},
}

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
    "import firewall.firstload, firewall.programs, firewall.seed": 168,
    "import firewall.upgrade": 168,
    "import firewall.tc, firewall.netlink\nfirewall.netlink.change = print\nfirewall.tc.make_clsact(1)": 128,
}
SCRIPT = """
import io
from firewall.__main__ import main
main(sys.argv[1:], io.StringIO(), io.StringIO())
print(" ".join(sys.modules))
"""


def weighed(modules: list[str]) -> list[str]:
    """What counts: of Python's own, whose insides differ by version, each package once and nothing private."""
    names = {
        m if m.partition(".")[0] not in sys.stdlib_module_names else m.partition(".")[0] for m in modules
    }
    return sorted(name for name in names if not name.startswith("_"))


def imported(command: str, tmp_path: Path) -> list[str]:
    """The modules that a process has imported that ran the command."""
    policy = tmp_path / "rules.fw"
    policy.write_text("default in drop\nallow in tcp to port 22\n")
    words = command.replace("POLICY", str(policy)).replace("ROUTER", str(ROUTER)).split()
    place = "" if command in FORBIDDEN else NOWHERE
    script = f"import sys\nsys.path += {sys.path!r}\n{place}{SCRIPT}"
    words = [sys.executable, "-IS", "-c", script, *words]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("command", MODULES)
def test_within_budget(command: str, tmp_path: Path) -> None:
    modules = imported(command, tmp_path)
    counted = weighed(modules)
    assert len(counted) <= MODULES[command], " ".join(counted)
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
    counted = weighed(modules)
    assert len(counted) <= PARTS[part], " ".join(counted)
    assert not {"asyncio", "multiprocessing", "pyroute2.iproute", "sqlite3", "ssl"}.intersection(modules)


def test_a_command_imports_no_other(tmp_path: Path) -> None:
    ours = [module for module in imported("check POLICY", tmp_path) if module.startswith("firewall.cli.")]
    assert sorted(ours) == ["firewall.cli.app", "firewall.cli.base", "firewall.cli.policy"]
