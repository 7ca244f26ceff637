# SPDX-License-Identifier: MIT
"""What is checked on another kernel, and how it is told."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.vm import kernels, machine

TIMEOUT_S = 1800
ALL = ("tests/vm/smoke.py", "tests/packet")
ESSENTIAL = ("tests/vm/smoke.py", "tests/packet/test_reasons.py", "tests/packet/test_flow.py")
"""fw on a real interface, each reason, the ways of a flow: a few minutes on a machine that is emulated."""


class Report(NamedTuple):
    """One kernel's result: `line` says it, `output` is all that the guest printed."""

    passed: bool
    line: str
    output: str


def check(series: str, tests: tuple[str, ...]) -> Report:
    """Runs tests on the newest kernel of `series`. Raises VmError."""
    # What Hypothesis makes up says nothing of the kernel, and takes long.
    words = "-q -m 'not alone and not hypothesis' -p no:xdist --color=no --tb=short --timeout=600"
    kernel = kernels.fetch(series)
    outcome = machine.run(kernel, f"python3 -m pytest {words} {' '.join(tests)}", TIMEOUT_S)
    summary = re.findall(r"^\d+ (?:passed|failed|errors?).*", outcome.output, re.MULTILINE)
    said = summary[-1] if summary else "no test ran"
    if outcome.status is None:
        said = f"did not end within {TIMEOUT_S} s, or crashed"
    return Report(outcome.status == 0, f"Linux {kernel.release}: {said}", outcome.output)
