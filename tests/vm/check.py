# SPDX-License-Identifier: MIT
"""What is checked on another kernel, and how it is told."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.lab.device import MUST
from tests.vm import kernels, machine

TIMEOUT_S = 1800
VERIFIED = "verified instructions: "
"""What a test of the suite prints before the counts of all programs."""
RECORD = machine.ROOT / "docs" / "design.md"
"""Has a table of these counts, by kernel."""


class Suite(NamedTuple):
    """What is run in one guest. `marks`: those of pytest that choose among the tests."""

    name: str
    tests: tuple[str, ...]
    marks: str = (
        "not alone and not hypothesis"  # what Hypothesis makes up says nothing of the kernel, and takes long
    )


PACKETS = Suite("packets", ("tests/vm/smoke.py", "tests/packet"))
DEVICES = Suite(
    "devices", ("tests/lab/test_vrf.py", "tests/lab/test_devices.py", "tests/lab/test_links.py"), "devices"
)
"""The lab's tests of devices that are modules, which the kernel at hand may lack."""
ESSENTIAL = Suite(
    "essential", ("tests/vm/smoke.py", "tests/packet/test_reasons.py", "tests/packet/test_flow.py")
)
"""fw on a real interface, each reason, the ways of a flow: a few minutes on a machine that is emulated."""


class Report(NamedTuple):
    """One kernel's result: `line` says it, `output` is all that the guest printed."""

    passed: bool
    line: str
    output: str


def check(series: str, suite: Suite) -> Report:
    """Runs tests on the newest kernel of `series`. Raises VmError."""
    words = f"-q -m '{suite.marks}' -p no:xdist --color=no --tb=short --timeout=600 {' '.join(suite.tests)}"
    kernel = kernels.fetch(series)
    outcome = machine.run(kernel, f"{MUST}=1 python3 -m pytest {words}", TIMEOUT_S)
    summary = re.findall(r"^\d+ (?:passed|failed|errors?).*", outcome.output, re.MULTILINE)
    said = summary[-1] if summary else "no test ran"
    if told := re.search(rf"^{VERIFIED}.*", outcome.output, re.MULTILINE):
        said += f"; {told[0].strip()}"
    if outcome.status is None:
        said = f"did not end within {TIMEOUT_S} s, or crashed"
    return Report(outcome.status == 0, f"Linux {kernel.release}: {suite.name}: {said}", outcome.output)
