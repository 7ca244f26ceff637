# SPDX-License-Identifier: MIT
"""What is checked on another kernel, and how it is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tests.lab.device import MUST
from tests.vm import kernels, machine, verdicts
from tests.vm.kernels import VmError
from tests.vm.verdicts import SEEDS, Amount

TIMEOUT_S = 3600
"""Of one guest: an emulated machine on a machine that does other work, too."""
VERIFIED = "verified instructions: "
"""What a test of the suite prints before the counts of all programs."""
RECORD = machine.ROOT / "docs" / "design.md"
"""Has a table of these counts, by kernel."""


class Suite(NamedTuple):
    """What is run in one guest. `marks`: those of pytest that choose among the tests. `settings`: of its environment.
    `judged`: packets whose verdicts are compared with this machine's. `silence_s`: a guest that prints nothing for so
    long hangs.
    """

    name: str
    tests: tuple[str, ...]
    marks: str = (
        # what Hypothesis makes up says nothing of the kernel, and takes long
        "not alone and not compiler and not hypothesis"
    )
    settings: str = ""
    judged: Amount = Amount(0, 0)
    silence_s: float = 1200

    @property
    def script(self) -> str:
        """What the guest's shell runs. It ends with 0 if all went well."""
        words = f"-q -m '{self.marks}' -p no:xdist --color=no --tb=short --timeout=600 {' '.join(self.tests)}"
        environment = f"{MUST}=1 SEED={SEEDS['fresh']} {self.settings}"
        lines = ["status=0", f"{environment} python3 -m pytest {words} || status=$?"]
        if any(self.judged):
            words = " ".join(self.judged.words(*set(SEEDS.values()), packed=True))
            lines.append(f"python3 {words} || status=$?")
        return "\n".join([*lines, "exit $status"])


PACKETS = Suite("packets", ("tests/vm/smoke.py", "tests/packet"), settings="FW_MUTATIONS=2000 RULESETS=3")
DEVICES = Suite(
    "devices",
    (
        "tests/lab/test_vrf.py",
        "tests/lab/test_devices.py",
        "tests/lab/test_links.py",
        "tests/lab/test_sctp.py",
    ),
    "devices",
)
"""The lab's tests of devices and of SCTP, which are modules that the kernel at hand may lack."""
_DIFFERENTIAL = "tests/lab/test_differential.py::"
CONNTRACK = Suite(
    "conntrack",
    (
        f"{_DIFFERENTIAL}test_fw_judges_as_netfilter_does",
        f"{_DIFFERENTIAL}test_each_entry_of_the_list_is_needed",
        "tests/lab/test_rules_as_nft.py",
    ),
    settings="PACKETS=10000 RULESETS=30",
    judged=Amount(3000, 3000),
)
"""fw beside that kernel's conntrack, and beside itself on this kernel."""
ESSENTIAL = Suite(
    "essential",
    (
        "tests/vm/smoke.py",
        "tests/packet/test_reasons.py",
        "tests/packet/test_flow.py",
        "tests/packet/test_flow_restore.py",
        "tests/packet/test_verifier.py",
    ),
    judged=Amount(500, 500),
    silence_s=300,
)
"""fw on a real interface, each reason, the ways of a flow, what user space asks: minutes on an emulated machine."""
ALL = (PACKETS, DEVICES, CONNTRACK)


class Report(NamedTuple):
    """One kernel's result: `line` says it, `output` is all that the guest printed."""

    passed: bool
    line: str
    output: str


def compile_tests(suites: Sequence[Suite]) -> None:
    """What is compiled here needs not be compiled in the guests, where it takes a minute. Raises VmError."""
    paths = sorted({test.split("::")[0] for suite in suites for test in suite.tests})
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for words in (
        ["compileall", "-q", "bench", "firewall", "tests"],
        ["pytest", "-q", "--collect-only", *paths],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=machine.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise VmError(f"{words[0]} failed: {done.stdout.strip()[-1000:]}")


def check(series: str, suite: Suite) -> Report:
    """Runs tests on the newest kernel of `series`. Raises VmError."""
    kernel = kernels.fetch(series)
    outcome = machine.run(kernel, suite.script, TIMEOUT_S, suite.silence_s)
    hung = outcome.status is None
    if hung:  # QEMU's emulation at times stops a guest for good; a fault of ours would do so again
        outcome = machine.run(kernel, suite.script, TIMEOUT_S, suite.silence_s)
    passed, output = outcome.status == 0, outcome.output
    summary = re.findall(r"^\d+ (?:passed|failed|errors?).*", output, re.MULTILINE)
    said = [summary[-1] if summary else "no test ran"]
    if outcome.status is None:
        said = [
            f"crashed, printed nothing for {suite.silence_s:.0f} s, or did not end within {TIMEOUT_S} s: twice"
        ]
    elif hung:
        said.append("at the second attempt, as the guest hung")
    said += re.findall(rf"^{VERIFIED}.*[^\s]", output, re.MULTILINE)
    if any(suite.judged):
        against = verdicts.compare(series, suite.judged, output) if passed else ["not compared"]
        count = f"{len(SEEDS) * sum(suite.judged):,} verdicts"
        said.append(
            f"{count} {'NOT as' if against else 'as'} here, seeds {' and '.join(map(str, SEEDS.values()))}"
        )
        passed, output = not against, "\n".join([*against, output])
    return Report(passed, f"Linux {kernel.release}: {suite.name}: {'; '.join(said)}", output)
