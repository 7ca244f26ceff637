# SPDX-License-Identifier: MIT
"""Kinds of devices that not every kernel has."""

from __future__ import annotations

import os

import pytest

from tests.lab.host import Host

MUST = "FW_TEST_ALL_DEVICES"
"""Set where the kernel is known to have them all: what is missing there is a failure."""


def need(host: Host, kind: str, options: str = "") -> None:
    """Skip the test if this kernel cannot make such a device: need(host, "vlan id 10", "link eth0")."""
    made = host.run(f"ip link add {options} name probe0 type {kind}", check=False)
    if made.returncode:
        missing = f"this kernel makes no {kind.split()[0]} device: {made.stderr.strip()}"
        pytest.fail(missing) if os.environ.get(MUST) else pytest.skip(missing)
    host.ip("link del probe0")
