# SPDX-License-Identifier: MIT
"""The benchmarks measure what they say: each packet through the real programs by its flow, each command to its end."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SCRIPT = BENCH / "packet_cost"
PACKETS, FLOWS = 300, 500


def measure(*words: str) -> str:
    """What packet_cost prints after a single small round."""
    return run(SCRIPT, "--rounds", "1", "--packets", str(PACKETS), "--flows", str(FLOWS), *words)


def run(script: Path, *words: str) -> str:
    """What a benchmark prints that leaves no namespace behind."""
    with subprocess.Popen([sys.executable, script, *words], stdout=-1, stderr=-1, text=True) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert f"-{process.pid}-" not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert not list(Path("/etc/netns").glob(f"*-{process.pid}-*"))
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


@pytest.mark.parametrize("attach", ["tcx", "clsact"])
def test_every_command_is_run_to_its_end(attach: str) -> None:
    said = json.loads(
        run(BENCH / "commands", "--json", "--rounds", "2", "--rules", "3", "--flows", "5", "--attach", attach)
    )
    took = {row["command"]: row for row in said["measured"]}
    for command in (
        "python3 -c pass",
        "fw check FILE",
        "fw load wan",
        "fw flow list",
        "fw upgrade",
        "fw unload --all",
    ):
        assert 0 < took[command]["least_ms"] <= took[command]["median_ms"]
        assert took[command]["cpu_ms"] > 0


def test_a_command_that_fails_ends_the_measuring() -> None:
    words = [sys.executable, str(BENCH / "commands"), "--rounds", "1", "--fw", "/bin/false"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("commands: `/bin/false --help` failed: ")


def test_new_flows_take_turns_with_the_same_rules() -> None:
    """Each packet of each firewall is forwarded, or the script says so and fails."""
    lines = run(BENCH / "new_flows", "--rounds", "1", "--rules", "0", "40", "--turn", "0.001").splitlines()
    rows = [line.split() for line in lines if line.split()[:1] in (["0"], ["40"])]
    assert [row[0] for row in rows] == ["0", "40"]
    assert all(float(cell.replace(",", "")) > 0 for row in rows for cell in row[1:])
    assert lines[-1].startswith("new_flows: with 40 rules fw opens ")


def test_classifier_measures_each_ruleset() -> None:
    words = ("--kinds", "acl", "nested", "--rules", "10", "50", "--rounds", "1")
    lines = [line.split() for line in run(BENCH / "classifier", *words).splitlines()]
    rows = [line for line in lines if line[1:2] in (["IPv4"], ["IPv6"])]
    assert [row[:2] for row in rows] == [[kind, f"IPv{n}"] for kind in ("acl", "nested") for n in (4, 6)]
    assert all(int(cost) < 100_000 for row in rows for cost in row[2:])


def test_commands_on_sets_of_several_sizes() -> None:
    said = json.loads(run(BENCH / "sets", "--json", "--sizes", "5", "2000", "--rounds", "1"))
    assert [row["prefixes"] for row in said["measured"]] == [5] * 6 + [2000] * 6
    assert {row["command"] for row in said["measured"]} >= {"fw apply", "fw set add bad 198.51.100.7"}
    assert all(len(row["runs"]) == 1 and row["runs"][0]["wall_s"] > 0 for row in said["measured"])


def test_commands_on_policies_of_several_sizes() -> None:
    said = json.loads(run(BENCH / "policy", "--json", "--sizes", "3", "210", "--rounds", "1"))
    commands = (
        "check FILE",
        "apply FILE",
        "apply FILE again",
        "rule add",
        "rule delete",
        "rules",
        "show",
        "status",
    )
    assert [(row["command"], row["rules"]) for row in said["measured"]] == [
        (f"fw {command}", rules) for rules in (3, 210) for command in commands
    ]
    assert all(one["wall_s"] > 0 and one["peak_mb"] > 0 for row in said["measured"] for one in row["runs"])
