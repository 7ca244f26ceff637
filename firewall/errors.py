# SPDX-License-Identifier: MIT
"""Every failure that fw reports, as a short tree. Only `__main__` prints them."""

import errno
import os

ENOTSUPP = 524  # include/linux/errno.h: the kernel lets it escape to user space


class FwError(Exception):
    """One line that says what is wrong and where; `hint` says what to do about it.

    `exit_code` is the process's exit status, as documented in fw(8). `errno` is the system error behind it,
    0 when there is none.
    """

    exit_code = 1
    errno = 0

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FwError):
    """The words of a command or of a policy are not of the language."""

    exit_code = 2


class NotLoaded(FwError):
    """Nothing is loaded in this network namespace."""

    exit_code = 3


class NotPermitted(FwError):
    """The caller lacks a privilege."""

    exit_code = 4


class KernelLacks(FwError):
    """This kernel does not have a feature that is needed."""

    exit_code = 5


class KernelRefused(FwError):
    """The kernel has the feature but refused the request."""

    exit_code = 6


class Busy(FwError):
    """Another fw is changing the same thing."""

    exit_code = 7


class NeedsYes(FwError):
    """The change is dangerous for the caller; `--yes` does it all the same."""

    exit_code = 8


class ExpectationFailed(FwError):
    """An expectation that was asked for does not hold."""

    exit_code = 9


class WouldChange(FwError):
    """A dry run found something that would change."""

    exit_code = 10


def fault(err: int, what: str, hint: str | None = None, otherwise: type[FwError] = KernelRefused) -> FwError:
    """The exception for system error `err` (positive) of an attempt to do `what`, an infinitive: "open x"."""
    reason = "not supported" if err == ENOTSUPP else os.strerror(err).lower()
    kind = otherwise
    if err in (errno.EPERM, errno.EACCES):
        kind, hint = NotPermitted, hint or "run as root"
    elif err in (errno.ENOSYS, errno.EOPNOTSUPP, ENOTSUPP):
        kind, hint = KernelLacks, hint or "'fw doctor' lists what this kernel has"
    made = kind(f"cannot {what}: {reason}", hint)
    made.errno = err
    return made
