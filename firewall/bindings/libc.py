# SPDX-License-Identifier: MIT
"""System calls that Python 3.11's `os` does not offer, by ctypes on the C library. Failures are OSError."""

import ctypes
import os
from collections.abc import Callable
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8

# include/uapi/asm-generic/unistd.h, of one number on all machines; include/uapi/linux/mount.h
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSCONFIG_CMD_CREATE = 6

BPF_FS_MAGIC = 0xCAFE4A11  # include/uapi/linux/magic.h

# include/uapi/linux/timex.h: struct timex, whose status follows an int and four longs
_TIMEX_BYTES = 256
_TIMEX_STATUS = 5 * ctypes.sizeof(ctypes.c_long)
_STA_UNSYNC = 0x0040

_libc = ctypes.CDLL(None, use_errno=True)

_libc.syscall.restype = ctypes.c_long
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.statfs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
_libc.adjtimex.argtypes = (ctypes.c_void_p,)


def _call(function: Callable[..., int], *args: Any, path: str | None = None) -> None:
    if function(*args) != 0:
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err), path)


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace of `fd`, an open /proc/PID/ns/ file; see setns(2)."""
    _call(_libc.setns, fd, kind)


def unshare(flags: int) -> None:
    """Give the calling process namespaces of its own; see unshare(2)."""
    _call(_libc.unshare, flags)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """Mount a file system; see mount(2)."""
    names = source.encode(), os.fsencode(target), fstype.encode()
    _call(_libc.mount, *names, flags, data.encode(), path=target)


def clock_is_synchronised() -> bool:
    """Whether something keeps the clock right: STA_UNSYNC of adjtimex(2) is not set."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    _libc.adjtimex(timex)
    return not ctypes.c_int.from_buffer(timex, _TIMEX_STATUS).value & _STA_UNSYNC


def filesystem_magic(path: str) -> int:
    """The `f_type` of statfs(2), first in the struct; os.statvfs leaves it out."""
    buffer = ctypes.create_string_buffer(256)
    _call(_libc.statfs, os.fsencode(path), buffer, path=path)
    return ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF


def mount_nowhere(fstype: str) -> int:
    """A file system that no path leads to: a descriptor of its root, by the mount calls of Linux 5.2."""
    context = _numbered(_FSOPEN, fstype.encode(), 0)
    try:
        _numbered(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _numbered(_FSMOUNT, context, 0, 0)
    finally:
        os.close(context)


def _numbered(number: int, *args: int | bytes | None) -> int:
    longs = (ctypes.c_long(arg) if isinstance(arg, int) else ctypes.c_char_p(arg) for arg in args)
    result: int = _libc.syscall(ctypes.c_long(number), *longs)
    if result < 0:
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))
    return result
