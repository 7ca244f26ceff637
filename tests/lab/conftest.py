# SPDX-License-Identifier: MIT
"""Fixtures of the lab tests: a fresh laboratory for each test, and what the tests are repeated over."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from firewall import features
from tests.lab.host import Host
from tests.lab.lab import PairLab, RouterLab

FAMILIES = ["ipv4", "ipv6"]


@pytest.fixture(autouse=True, scope="session")
def _root() -> None:
    if os.geteuid() != 0:
        pytest.fail("the lab makes network namespaces: run its tests as root")


@pytest.fixture
def lab() -> Iterator[RouterLab]:
    with RouterLab() as lab:
        yield lab


@pytest.fixture
def pair() -> Iterator[PairLab]:
    with PairLab() as lab:
        yield lab


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """The test runs once with IPv4 and once with IPv6."""
    return str(request.param)


@pytest.fixture(params=["tcx", "clsact"])
def attach(request: pytest.FixtureRequest) -> str:
    """The test runs once with each way of attaching that this kernel has."""
    if request.param == "tcx" and not features.tcx():
        pytest.skip("this kernel has no TCX")
    return str(request.param)


def address(host: Host, family: str) -> str:
    return host.v4 if family == "ipv4" else host.v6


def any_address(family: str) -> str:
    return "0.0.0.0" if family == "ipv4" else "::"
