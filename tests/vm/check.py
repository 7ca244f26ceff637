# SPDX-License-Identifier: MIT
"""What is checked on another kernel, and how it is told."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.vm import kernels, machine

TIMEOUT_S = 900
# What Hypothesis makes up says nothing of the kernel, and takes too long on a machine that is emulated.
SCRIPT = (
    "python3 -m pytest -q -m 'not alone and not hypothesis' -p no:xdist --color=no --tb=short --timeout=600 "
    "tests/vm/smoke.py tests/packet"
)


class Report(NamedTuple):
    """One kernel's result: `line` says it, `output` is all that the guest printed."""

    passed: bool
    line: str
    output: str


def check(series: str) -> Report:
    """Runs the packet tests and the smoke test on the newest kernel of `series`. Raises VmError."""
    kernel = kernels.fetch(series)
    outcome = machine.run(kernel, SCRIPT, TIMEOUT_S)
    summary = re.findall(r"^\d+ (?:passed|failed|errors?).*", outcome.output, re.MULTILINE)
    said = summary[-1] if summary else "no test ran"
    if outcome.status is None:
        said = f"did not end within {TIMEOUT_S} s, or crashed"
    return Report(outcome.status == 0, f"Linux {kernel.release}: {said}", outcome.output)
