# SPDX-License-Identifier: MIT
"""What another kernel makes of packets, beside what this one makes of them, packet by packet.

The sequences are those of `tests.packet.verdicts`. A file for each kernel and seed, below build/verdicts, has all
packets with their verdicts.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

from tests.vm.kernels import VmError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "verdicts"
SEEDS = {"known": 1, "fresh": int(os.environ.get("SEED") or random.SystemRandom().randrange(2**32))}
"""SEED repeats a run."""
SHOWN = 5


class Amount(NamedTuple):
    """How many packets of each seed are judged: mutated frames, and packets of conversations."""

    frames: int
    packets: int

    def words(self, *seeds: int, packed: bool = False) -> list[str]:
        """What Python is to run."""
        form = ["--packed"] if packed else []
        return ["-m", "tests.packet.verdicts", *form, *map(str, (self.frames, self.packets, *seeds))]


def here(seed: int, amount: Amount) -> tuple[list[str], list[str]]:
    """The verdicts of this machine's kernel, and the packets. Raises VmError."""
    words = [sys.executable, *amount.words(seed)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VmError(f"the packets of seed {seed} were not judged here: {done.stderr.strip()}")
    rows = [line.split(": ", 2) for line in done.stdout.splitlines()]
    return [verdict for _, verdict, _ in rows], [packet for _, _, packet in rows]


def there(seed: int, output: str) -> tuple[str, list[str]]:
    """What a guest has printed: the sum of its packets, and their verdicts. Raises VmError."""
    text = "".join(re.findall(rf"^{seed}: (\S+)$", output, re.MULTILINE))
    try:
        packets, *verdicts = zlib.decompress(base64.b64decode(text)).decode().split("\n")
    except (ValueError, zlib.error):
        raise VmError(f"what it printed of seed {seed} cannot be read") from None
    return packets, verdicts


def differences(here: list[str], there: list[str], packets: list[str]) -> list[str]:
    """The packets that the two judge differently, each with its number from 1."""
    rows = enumerate(zip(here, there, packets, strict=True), 1)
    return [
        f"{number}: here {ours}, there {theirs}: {packet}"
        for number, (ours, theirs, packet) in rows
        if ours != theirs
    ]


def compare(series: str, amount: Amount, output: str) -> list[str]:
    """What is to be said against a guest that has printed its verdicts; nothing if they are ours. Raises VmError."""
    said = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for kind, seed in SEEDS.items():
        ours, packets = here(seed, amount)
        summed, theirs = there(seed, output)
        if summed != hashlib.sha256("\n".join(packets).encode()).hexdigest() or len(theirs) != len(ours):
            raise VmError(f"it judged other packets of seed {seed}")
        rows = zip(theirs, packets, strict=True)
        file = FOLDER / f"{series}-{kind}"
        file.write_text("".join(f"{verdict}: {packet}\n" for verdict, packet in rows))
        differing = differences(ours, theirs, packets)
        said += [f"seed {seed}, packet {line}" for line in differing[:SHOWN]]
        if len(differing) > SHOWN:
            said.append(f"seed {seed}: {len(differing)} packets in all; {file} has every verdict")
    return said
