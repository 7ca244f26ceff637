# SPDX-License-Identifier: MIT
"""`python -m tests.vm [SERIES...]`: a line for each kernel and suite; what a failing one printed comes before it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

from tests.vm.check import ALL, Report, Suite, check, compile_tests
from tests.vm.kernels import SUITES, VmError


def _check(series: str, suite: Suite) -> Report:
    try:
        return check(series, suite)
    except VmError as error:
        return Report(False, f"Linux {series}: {suite.name}: {error}", "")


def main(wanted: list[str]) -> int:
    unknown = [series for series in wanted if series not in SUITES]
    if unknown:
        print(f"unknown kernel {unknown[0]}: one of {', '.join(SUITES)}", file=sys.stderr)
        return 2
    try:
        compile_tests(ALL)
    except VmError as error:
        print(error, file=sys.stderr)
        return 1
    status = 0
    with ThreadPoolExecutor(2) as pool:
        for report in pool.map(_check, *zip(*product(wanted or SUITES, ALL), strict=True)):
            if not report.passed:
                status = 1
                print(report.output, file=sys.stderr)
            print(report.line, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
