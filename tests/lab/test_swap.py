# SPDX-License-Identifier: MIT
"""A change of rules is one change: no packet on any CPU is judged by half of one ruleset and half of another.

Two rulesets that differ in every line are swapped under traffic. Both drop what goes to the silent ports, one by its
rules and one by its default, and both let questions in, one by its default and one by its rules. The rules of one with
the defaults of the other would let something through, or keep something out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.attachment import protect
from tests.lab.conftest import address
from tests.lab.lab import PairLab

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("swapper.py")
SWAPS = int(os.environ.get("SWAPS", "2000"))
SILENT, ECHO = range(1000, 1040), 2020
RULES = 50  # more than are compared one after the other

BY_RULES = "default in allow\n" + "".join(
    f"drop in udp to port {port}, {port + 40}\n" for port in range(1000, 1000 + RULES)
)
BY_DEFAULT = "default in drop\n" + "".join(
    f"allow in udp to port {port}, {port + 100}\n" for port in range(2000, 2000 + RULES)
)


def stopped(process: subprocess.Popen[str]) -> list[int]:
    """The numbers that a swapper prints at its end."""
    out, _ = process.communicate("", timeout=500)
    return [int(word) for word in out.split() if word.isdigit()]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_no_verdict_belongs_to_neither(pair: PairLab, tmp_path: Path, family: str) -> None:
    to = address(pair.server, family)
    ports = [str(port) for port in (ECHO, *SILENT)]
    files = [tmp_path / "rules.fw", tmp_path / "default.fw"]
    for file, text in zip(files, (BY_RULES, BY_DEFAULT), strict=True):
        file.write_text("protect eth0\n" + text)
    protect(pair.server, BY_DEFAULT, "eth0")
    script = [sys.executable, str(SCRIPT)]
    server = pair.server.popen([*script, "serve", to, *ports], stdin=subprocess.PIPE)
    assert server.stdout is not None and server.stdout.readline() == "ready\n"
    clients = [
        pair.client.popen([*script, "ask", str(cpu), to, *ports], stdin=subprocess.PIPE) for cpu in (0, 1)
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    swapper = pair.server.popen([*script, "swap", str(SWAPS), *map(str, files)], env=environment)
    assert stopped(swapper)[-1:] == [SWAPS]
    for client in clients:
        asked, unanswered = stopped(client)
        assert asked >= SWAPS, "less than one question for each ruleset"
        assert not unanswered
    assert stopped(server) == [0], "something came through that both rulesets drop"
