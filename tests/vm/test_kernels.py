# SPDX-License-Identifier: MIT
"""The packet tests and a protected interface on other kernels than the one at hand."""

import pytest

from tests.vm.check import TIMEOUT_S, check
from tests.vm.kernels import SUITES, NoMirror


@pytest.mark.vm
@pytest.mark.timeout(TIMEOUT_S + 300)
@pytest.mark.parametrize("series", SUITES)
def test_kernel(series: str) -> None:
    try:
        report = check(series)
    except NoMirror as missing:
        pytest.skip(str(missing))
    assert report.passed, f"{report.line}\n{report.output}"
