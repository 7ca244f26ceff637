# SPDX-License-Identifier: MIT
"""A protected interface and the essential packet tests on other kernels; `make test-kernels` runs them all."""

import pytest

from tests.vm.check import ESSENTIAL, TIMEOUT_S, check
from tests.vm.kernels import SUITES, NoMirror


@pytest.mark.vm
@pytest.mark.timeout(TIMEOUT_S + 300)
@pytest.mark.parametrize("series", SUITES)
def test_kernel(series: str) -> None:
    try:
        report = check(series, ESSENTIAL)
    except NoMirror as missing:
        pytest.skip(str(missing))
    assert report.passed, f"{report.line}\n{report.output}"
