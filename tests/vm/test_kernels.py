# SPDX-License-Identifier: MIT
"""The packet tests and a protected interface on other kernels than the one at hand."""

import pytest

from tests.vm.check import TIMEOUT_S, check
from tests.vm.kernels import SUITES


@pytest.mark.vm
@pytest.mark.timeout(TIMEOUT_S + 300)
@pytest.mark.parametrize("series", SUITES)
def test_kernel(series: str) -> None:
    report = check(series)
    assert report.passed, f"{report.line}\n{report.output}"
