# SPDX-License-Identifier: MIT
"""What one command takes."""

import os
import subprocess
import sys
import time
from pathlib import Path

FW = Path(__file__).resolve().parents[1] / ".venv/bin/fw"


def run(words: list[str]) -> tuple[float, float, int]:
    """Seconds from start to end, seconds of all processors, and the most memory in MB."""
    began_s = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        said = child.stderr.read() if child.stderr else b""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"`{' '.join(words)}` failed: {said.decode()}")
    return time.perf_counter() - began_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024
