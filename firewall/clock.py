# SPDX-License-Identifier: MIT
"""The packet path's clock: jiffies, as bpf_jiffies64 reads them."""

import time

# include/uapi/linux/time.h; Python's time module does not name it.
_CLOCK_MONOTONIC_COARSE = 6


def hz() -> int:
    """Jiffies per second: the coarse clock advances once a tick."""
    return round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))


def now_j(ticks_per_s: int | None = None) -> int:
    """jiffies64 now, to within a few ticks.

    It starts so that its low word wraps five minutes after boot (INITIAL_JIFFIES, include/linux/jiffies.h)
    and, like the monotonic clock, stands still in suspend.
    """
    ticks_per_s = ticks_per_s or hz()
    elapsed_j = time.clock_gettime_ns(time.CLOCK_MONOTONIC) * ticks_per_s // 1_000_000_000
    return (1 << 32) - 300 * ticks_per_s + elapsed_j
