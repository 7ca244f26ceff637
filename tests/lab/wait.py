# SPDX-License-Identifier: MIT
"""Waiting: always for a condition, always with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], timeout_s: float = 20.0, what: str = "") -> T:
    """The first true result of `condition`, tried again and again; else TimeoutError naming `what`."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.002
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {what or condition}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)
    return result
