# SPDX-License-Identifier: MIT
"""The commands of a firewall's life, each timed: loaded, looked at, changed, upgraded, unloaded, round after round."""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from firewall.errors import FwError
from firewall.paths import policy_path
from firewall.render import table
from tests.packet.path import Namespace

SCHEMA = 1

PYTHON, ISOLATED = "python3 -c pass", "python3 -IS -c pass"  # fw starts as the second does
# `check` reads the file CANDIDATE and `apply` puts it in force. What changes something is followed by what undoes it.
_ROUND = (
    *(PYTHON, ISOLATED, "--help", "check CANDIDATE", "load wan", "load lan"),
    *("status", "rules", "options", "option load.grace", "mode", "show", "flow list", "log", "doctor"),
    *(
        "rule add allow in tcp to port 8443",
        "rule delete allow in tcp to port 8443",
        "apply CANDIDATE",
        "apply",
    ),
    *("default in reject", "option log.rate 50", "mode observe", "flow flush", "upgrade"),
    *("unload lan", "unload --all"),
)


class Plan(NamedTuple):
    """How much is measured, and of which fw."""

    rounds: int
    rules: int
    flows: int
    attach: str  # "tcx" or "clsact"
    fw: Path


class Run(NamedTuple):
    """One command: from start to end, what it and its children took of all processors, and the most memory."""

    wall_s: float
    cpu_s: float
    peak_mb: int


Result = dict[str, list[Run]]  # by command, in the order of a round


def measure(plan: Plan) -> Result:
    """Measures in a namespace that is gone afterwards. Raises FwError if a command does not succeed."""
    result: Result = {command: [] for command in _ROUND}
    with ExitStack() as stack:
        stack.enter_context(Namespace())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        saved = stack.enter_context(own_policy_file())
        candidate = scratch / "rules.fw"
        stack.callback(subprocess.run, [str(plan.fw), "unload", "--all"], capture_output=True)
        for _ in range(plan.rounds):
            _write_policy(saved, plan.rules, "wan")
            _write_policy(candidate, plan.rules - 1, "wan, lan")
            for command, runs in result.items():
                if command == "status":
                    _open_flows(plan.flows)
                runs.append(run(_words(plan, command, candidate)))
    return result


def text(plan: Plan, result: Result) -> str:
    """A table, and a last line that says it all."""
    rows = []
    for command, runs in result.items():
        walls = [run.wall_s for run in runs]
        cpu = min(run.cpu_s for run in runs)
        rows.append((_name(command), _ms(min(walls)), _ms(statistics.median(walls)), _ms(cpu)))
    header = ("", "least", "median", "cpu")
    return "\n".join(
        [
            f"ms a command; {plan.rounds} runs of each, {plan.rules} rules, {plan.flows} flows, "
            f"{plan.attach}, Linux {os.uname().release}",
            "cpu: the least that the command took of all processors together",
            "",
            *table(header, rows, right=header[1:]),
            "",
            headline(result),
        ]
    )


def headline(result: Result) -> str:
    """The whole result in a sentence."""
    least = {c: min(run.wall_s for run in runs) for c, runs in result.items() if c not in (PYTHON, ISOLATED)}
    within = sum(wall_s < 0.1 for wall_s in least.values())
    longest = max(least, key=lambda command: least[command])
    return (
        f"commands: {within} of {len(least)} take less than 100 ms; the longest is {_name(longest)} "
        f"with {_ms(least[longest])} ms; Python alone takes {_ms(min(run.wall_s for run in result[PYTHON]))} ms"
    )


def document(plan: Plan, result: Result) -> dict[str, Any]:
    """The same, complete, for programs."""
    return {
        "schema": SCHEMA,
        "kernel": os.uname().release,
        "fw": str(plan.fw),
        "attach": plan.attach,
        "rounds": plan.rounds,
        "rules": plan.rules,
        "flows": plan.flows,
        "measured": [
            {
                "command": _name(command),
                "least_ms": round(min(run.wall_s for run in runs) * 1e3, 2),
                "median_ms": round(statistics.median(run.wall_s for run in runs) * 1e3, 2),
                "cpu_ms": round(min(run.cpu_s for run in runs) * 1e3, 2),
            }
            for command, runs in result.items()
        ],
    }


def _name(command: str) -> str:
    return command if command in (PYTHON, ISOLATED) else f"fw {command.replace('CANDIDATE', 'FILE')}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def _words(plan: Plan, command: str, candidate: Path) -> list[str]:
    if command in (PYTHON, ISOLATED):
        # The interpreter itself, not a wrapper that may stand before it in PATH.
        return [getattr(sys, "_base_executable", sys.executable), *command.split()[1:]]
    words = command.replace("CANDIDATE", str(candidate)).split()
    if words[0] == "load":
        words += ["--attach", plan.attach]
    if words[0] in ("load", "apply", "rule", "mode", "default", "upgrade"):
        words.append("--yes")
    return [str(plan.fw), *words]


def run(words: list[str]) -> Run:
    """Runs it to its end. Raises FwError with its complaint unless that is a success."""
    with tempfile.TemporaryFile() as said, open(os.devnull, "r+b") as null:
        files = [
            (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, null.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, said.fileno(), 2),
        ]
        began_s = time.perf_counter()
        child = os.posix_spawn(words[0], words, os.environ, file_actions=files)
        _, status, usage = os.wait4(child, 0)
        wall_s = time.perf_counter() - began_s
        if status:
            said.seek(0)
            complaint = " ".join(said.read().decode(errors="replace").split())
            raise FwError(f"`{' '.join(words)}` failed: {complaint}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024)


@contextmanager
def own_policy_file() -> Iterator[Path]:
    """The path of the saved policy of the namespace that we are in, which has none before and after."""
    path = policy_path()
    path.parent.mkdir(parents=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()
        path.parent.parent.rmdir()


def _write_policy(path: Path, rules: int, protect: str) -> None:
    """A policy of so many rules, no two alike, that protects these interfaces."""
    lines = [f"protect {protect}", "default in drop", "default forward drop", "allow in tcp to port 22"]
    for number in range(1, rules):
        network = f"10.{number >> 8}.{number & 255}.0/24"
        lines.append(f'allow in tcp to port {1024 + number} from {network} comment "customer {number}"')
    path.write_text("\n".join(lines) + "\n")


def _open_flows(count: int) -> None:
    """So many datagrams that open a flow each, by an interface that is protected."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(count):
            sock.sendto(b"", ("192.0.2.2", 10_000 + number))
