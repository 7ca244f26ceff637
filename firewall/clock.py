# SPDX-License-Identifier: MIT
"""The packet path's clocks: jiffies, as bpf_jiffies64 reads them, and boot time, as bpf_ktime_get_boot_ns does."""

import time
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import tzinfo

# include/uapi/linux/time.h; Python's time module does not name it.
_CLOCK_MONOTONIC_COARSE = 6
_TIMERS, _TIMERS_BYTES = "/proc/timer_list", 1 << 16


class Moment(NamedTuple):
    """One moment by two clocks: Unix time and time since boot, suspend included, in nanoseconds.

    `synced`: something keeps the first right. `zone` is that of local times; None is the machine's.
    """

    wall_ns: int
    boot_ns: int
    synced: bool = True
    zone: "tzinfo | None" = None

    def boot_at(self, wall_s: int) -> int:
        """What the clock of boot time shows at that Unix time, in nanoseconds; 0 for all that was before boot."""
        return max(0, self.boot_ns + wall_s * 1_000_000_000 - self.wall_ns)


def now() -> Moment:
    """This moment."""
    from firewall.bindings.libc import clock_is_synchronised

    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Moment(time.time_ns(), boot_ns, clock_is_synchronised())


def hz() -> int:
    """Jiffies per second: the coarse clock advances once a tick."""
    return round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))


def now_j(ticks_per_s: int | None = None) -> int:
    """jiffies64 now, to within a few ticks.

    It starts so that its low word wraps five minutes after boot (INITIAL_JIFFIES, include/linux/jiffies.h)
    and, like the monotonic clock, stands still in suspend.
    """
    ticks_per_s = ticks_per_s or hz()
    return _jiffies_at(time.clock_gettime_ns(time.CLOCK_MONOTONIC), ticks_per_s) - _lost_j(ticks_per_s)


def _jiffies_at(monotonic_ns: int, ticks_per_s: int) -> int:
    return (1 << 32) - 300 * ticks_per_s + monotonic_ns * ticks_per_s // 1_000_000_000


@cache
def _lost_j(ticks_per_s: int) -> int:
    """How many ticks jiffies are behind the monotonic clock: a virtual machine may lose some as it boots.

    Root alone can tell, by kernel/time/timer_list.c; for others it is 0.
    """
    said = b""
    try:
        with open(_TIMERS, "rb", buffering=0) as file:
            while b"\njiffies: " not in said and (more := file.read(_TIMERS_BYTES)):
                said += more
        now_ns, jiffies = (
            int(said.split(word, 1)[1].split(None, 1)[0]) for word in (b"now at ", b"\njiffies: ")
        )
    except (OSError, ValueError, IndexError):
        return 0
    return _jiffies_at(now_ns, ticks_per_s) - jiffies
