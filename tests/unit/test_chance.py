# SPDX-License-Identifier: MIT
"""Tests by chance have other examples in each run, also where Hypothesis finds a CI service and would repeat itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hypothesis")

ROOT = Path(__file__).resolve().parents[2]
ASK = """
import tests.conftest
from hypothesis import settings
from tests.packet.test_fuzz import thorough
from tests.packet.test_rules_agree import lively
from tests.strategies import steady
print([one.derandomize for one in (settings(), settings.default, steady, lively, thorough)])
"""


@pytest.mark.parametrize("ci", [{}, {"CI": "true"}], ids=["here", "CI"])
def test_no_run_repeats_another(ci: dict[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | ci
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[False, False, False, False, False]\n", "")
