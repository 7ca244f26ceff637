# SPDX-License-Identifier: MIT
"""Benchmarks of commands whose time follows the size of something: their options, their table, their JSON."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence

from bench.life import Run
from firewall.errors import FwError
from firewall.render import table

ROUNDS = 3
Measure = Callable[[list[int], int], dict[tuple[str, int], list[Run]]]
"""The runs of each command at each size, from sizes and a number of rounds."""


def main(name: str, about: str, unit: str, sizes: Sequence[int], measure: Measure) -> int:
    """Runs the benchmark `name` by the options of this process; its exit status."""
    parser = argparse.ArgumentParser(prog=name, description=about.split("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, metavar=unit.upper())
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(%(default)s)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    asked = parser.parse_args()
    try:
        runs = measure(asked.sizes, asked.rounds)
    except FwError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return int(error.exit_code)
    if asked.json:
        rows = [
            {"command": f"fw {command}", unit: size, "runs": [one._asdict() for one in found]}
            for (command, size), found in runs.items()
        ]
        print(json.dumps({"schema": 1, "kernel": os.uname().release, "measured": rows}, indent=1))
        return 0
    print(f"Linux {os.uname().release}; the least of {asked.rounds} runs")
    print()
    header = ("", unit, "s", "cpu s", "MB")
    lines = []
    for (command, size), found in runs.items():
        wall_s, cpu_s = min(one.wall_s for one in found), min(one.cpu_s for one in found)
        peak = max(one.peak_mb for one in found)
        lines.append((f"fw {command}", f"{size:,}", f"{wall_s:.2f}", f"{cpu_s:.2f}", str(peak)))
    print("\n".join(table(header, lines, right=header[1:])))
    return 0
