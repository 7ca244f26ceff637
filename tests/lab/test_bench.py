# SPDX-License-Identifier: MIT
"""bench/packet_cost measures what it says: each packet through the real programs, by an established flow."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "packet_cost"
PACKETS, FLOWS = 300, 500


def measure(*words: str) -> str:
    """What it prints after a single small round."""
    few = ("--rounds", "1", "--packets", str(PACKETS), "--flows", str(FLOWS))
    with subprocess.Popen([sys.executable, SCRIPT, *few, *words], stdout=-1, stderr=-1, text=True) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert f"-{process.pid}-" not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    return out


@pytest.mark.parametrize("attach", ["tcx", "clsact"])
def test_packets_are_those_of_established_flows(attach: str) -> None:
    said = json.loads(measure("--json", "--attach", attach))
    assert [(row["what"], row["flows"]) for row in said["measured"]] == [
        ("alone", 1),
        ("alone", FLOWS),
        ("forwarded", 1),
        ("forwarded", FLOWS),
    ]
    # By itself: ten times as many for one flow. Forwarded: at ingress by their flow, at egress handed on.
    assert said["counted"]["flow"] == (10 + 1 + 2) * PACKETS
    assert said["counted"]["handed_on"] == 2 * PACKETS
    for row in said["measured"]:
        assert row["least"]["fw_ns"] > 0 and row["least"]["empty_ns"] > 0
        assert (row["least"]["plain_ns"] is None) == (row["what"] == "alone")


def test_table_and_last_line() -> None:
    lines = measure().splitlines()
    assert [line.split()[:2] for line in lines if "median" in line] == [
        ["by", "itself"],
        ["by", "itself"],
        ["forwarding", "1"],
        ["forwarding", str(FLOWS)],
    ]
    assert lines[-1].startswith("packet_cost: a packet costs ")


def test_without_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["packet_cost"])
    assert runpy.run_path(str(SCRIPT))["main"]() == 4
    assert capsys.readouterr().err == "packet_cost: measuring needs root; sudo make bench\n"
