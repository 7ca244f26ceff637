# SPDX-License-Identifier: MIT
"""Kills a command just before its Nth system call that can change the world, whichever N is asked for.

The command runs under ptrace with a seccomp filter that stops it at each system call, before the kernel does
it. Counting begins at a marker, the first time that a path is opened, so that the start of an interpreter is
passed over. Calls that change nothing outside the process are passed over too: to be killed before one of
them leaves the same world as to be killed before the next call that counts.

As a program it prints one JSON line:  killer.py MARKER N -- COMMAND...  (N = 0: let it run to its end).
From tests:  count(cmd, marker) and run_killed_at(cmd, n, marker).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

PTRACE_TRACEME, PTRACE_CONT, PTRACE_SETOPTIONS, PTRACE_GET_SYSCALL_INFO = 0, 7, 0x4200, 0x420E
O_TRACEFORK, O_TRACEVFORK, O_TRACECLONE, O_TRACEEXEC, O_TRACESECCOMP, O_EXITKILL = 2, 4, 8, 16, 128, 1 << 20
EVENT_SECCOMP = 7
WALL = 0x40000000

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP_RET_TRACE = 0x7FF00000
BPF_RET_K = 0x06

CALL_INFO = struct.Struct("@B3xIQQQ6Q")
"""struct ptrace_syscall_info (linux/ptrace.h): op, arch, instruction, stack pointer, number, arguments."""

NUMBERS = {
    "x86_64": {
        "write": 1, "open": 2, "ioctl": 16, "pwrite64": 18, "writev": 20, "connect": 42, "sendto": 44,
        "sendmsg": 46, "kill": 62, "flock": 73, "fsync": 74, "fdatasync": 75, "truncate": 76,
        "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84, "link": 86, "unlink": 87, "symlink": 88,
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "mount": 165, "umount2": 166,
        "exit_group": 231, "openat": 257, "mkdirat": 258, "fchownat": 260, "unlinkat": 263, "renameat": 264,
        "linkat": 265, "symlinkat": 266, "fchmodat": 268, "unshare": 272, "fallocate": 285, "setns": 308,
        "renameat2": 316, "bpf": 321, "copy_file_range": 326, "move_mount": 429, "fsmount": 432,
        "openat2": 437,
    },
    "aarch64": {
        "ioctl": 29, "flock": 32, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37,
        "renameat": 38, "umount2": 39, "mount": 40, "truncate": 45, "ftruncate": 46, "fallocate": 47,
        "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "openat": 56, "write": 64, "writev": 66,
        "pwrite64": 68, "fsync": 82, "fdatasync": 83, "exit_group": 94, "unshare": 97, "kill": 129,
        "connect": 203, "sendto": 206, "sendmsg": 211, "setns": 268, "renameat2": 276, "bpf": 280,
        "copy_file_range": 285, "move_mount": 429, "fsmount": 432, "openat2": 437,
    },
}  # fmt: skip
"""System calls that can change the world, by number (asm/unistd.h); of some only certain arguments can."""

NAMES = {number: name for name, number in NUMBERS[platform.machine()].items()}

BPF_READS = {1, 4, 7, 10, 11, 12, 13, 14, 15, 16, 19, 20, 23, 24, 31}
"""bpf() commands that only read: lookups, next keys and ids, file descriptors, information (linux/bpf.h)."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
IOCTL_OWN = {0x5401, 0x541B, 0x5421, 0x5450, 0x5451}
"""TCGETS (is it a terminal?), FIONREAD, FIONBIO, FIONCLEX and FIOCLEX (asm-generic/ioctls.h)."""
NLM_F_DUMP = 0x300
PATH_ARGUMENT = {"open": 0, "openat": 1, "openat2": 1}

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]


def ptrace(request: int, pid: int, address: int | None = None, data: object = None) -> int:
    result: int = libc.ptrace(request, pid, address, data)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace request {request:#x}: {os.strerror(ctypes.get_errno())}")
    return result


def become(cmd: Sequence[str]) -> None:
    """In the child: stop, so that the parent sets its options, then stop at each system call of `cmd`."""
    ptrace(PTRACE_TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    instruction = ctypes.create_string_buffer(struct.pack("@HBBI", BPF_RET_K, 0, 0, SECCOMP_RET_TRACE), 8)
    program = ctypes.create_string_buffer(struct.pack("@HxxxxxxP", 1, ctypes.addressof(instruction)), 16)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")
    os.execvp(cmd[0], list(cmd))


def text_at(pid: int, address: int) -> str:
    """The string that a pointer of the process points to."""
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        page_left = 4096 - address % 4096
        data = memory.read(page_left)
        if b"\0" not in data:
            data += memory.read(4096)
    return data.split(b"\0")[0].decode(errors="replace")


class Run:
    """One run of a command under the eyes of ptrace."""

    def __init__(self, marker: str, kill_at: int) -> None:
        self.marker = marker
        self.kill_at = kill_at
        self.marked = False
        self.calls: list[str] = []
        self.passed_over = 0
        self.tracees: set[int] = set()
        self.killed = False

    def go(self, cmd: Sequence[str]) -> int:
        """Returns the exit status of the command, negative for a signal."""
        first = os.fork()
        if first == 0:
            try:
                become(cmd)
            except OSError as error:
                print(error, file=sys.stderr)
            os._exit(127)
        os.waitpid(first, 0)
        options = O_TRACEFORK | O_TRACEVFORK | O_TRACECLONE | O_TRACEEXEC | O_TRACESECCOMP | O_EXITKILL
        ptrace(PTRACE_SETOPTIONS, first, None, options)
        self.tracees.add(first)
        ptrace(PTRACE_CONT, first)
        result = 0
        while self.tracees:
            pid, status = os.waitpid(-1, WALL)
            if os.WIFSTOPPED(status):
                self.tracees.add(pid)
                self.stopped(pid, status)
            else:
                self.tracees.discard(pid)
                if pid == first:
                    result = os.waitstatus_to_exitcode(status)
        return result

    def stopped(self, pid: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        if event == EVENT_SECCOMP and not self.killed:
            self.call(pid)
        # A new child stops once with SIGSTOP; other signals are handed on.
        deliver = number if not event and number not in (signal.SIGTRAP, signal.SIGSTOP) else 0
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile: waitpid will tell
            ptrace(PTRACE_CONT, pid, None, deliver)

    def call(self, pid: int) -> None:
        buffer = ctypes.create_string_buffer(CALL_INFO.size)
        ptrace(PTRACE_GET_SYSCALL_INFO, pid, CALL_INFO.size, buffer)
        _op, _arch, _ip, _sp, number, *arguments = CALL_INFO.unpack(buffer.raw)
        name = NAMES.get(number)
        if not self.marked:
            if name in PATH_ARGUMENT:
                self.marked = text_at(pid, arguments[PATH_ARGUMENT[name]]).endswith(self.marker)
            if not self.marked:
                return
        if name is None or not changes(name, arguments) or (name == "sendto" and is_dump(pid, arguments[1])):
            self.passed_over += 1
            return
        self.calls.append(describe(pid, name, arguments))
        if len(self.calls) == self.kill_at:
            self.killed = True
            for tracee in self.tracees:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(tracee, signal.SIGKILL)


def is_dump(pid: int, address: int) -> bool:
    """Is the message sent a netlink request that only lists (include/uapi/linux/rtnetlink.h: RTM_GET*)?"""
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        _length, kind, flags = struct.unpack("=IHH", memory.read(8))
    return bool(kind % 4 == 2 and flags & NLM_F_DUMP == NLM_F_DUMP)


def changes(name: str, arguments: Sequence[int]) -> bool:
    """Can this call change anything that outlives the process?"""
    match name:
        case "open":
            return bool(arguments[1] & WRITING)
        case "openat":
            return bool(arguments[2] & WRITING)
        case "ioctl":
            return arguments[1] not in IOCTL_OWN
        case "bpf":
            return arguments[0] not in BPF_READS
        case "write" | "writev":
            return arguments[0] not in (1, 2)
    return True


def describe(pid: int, name: str, arguments: Sequence[int]) -> str:
    """The call as it is named in reports."""
    if name == "bpf":
        return f"bpf({arguments[0]})"
    if name in PATH_ARGUMENT:
        return f"{name}({text_at(pid, arguments[PATH_ARGUMENT[name]])})"
    return name


# What tests call


@dataclass(frozen=True)
class Report:
    """calls: those that count, the last one not done if killed; exit_status: negative for a signal."""

    calls: tuple[str, ...]
    passed_over: int
    killed: bool
    exit_status: int


def run(cmd: Sequence[str], n: int, marker: str, timeout_s: float = 60) -> Report:
    """Run `cmd` and kill it before its `n`-th call that counts (0: never)."""
    words = [sys.executable, __file__, marker, str(n), "--", *cmd]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return Report(tuple(said["calls"]), said["passed_over"], said["killed"], said["exit_status"])


def count(cmd: Sequence[str], marker: str) -> Report:
    """Run `cmd` to its end: len(report.calls) is how often it can be killed."""
    return run(cmd, 0, marker)


def run_killed_at(cmd: Sequence[str], n: int, marker: str) -> bool:
    """Run `cmd`, killing it before its `n`-th call that counts; False if it ended before there was one."""
    return run(cmd, n, marker).killed


def main() -> None:
    marker, n, _dashes, *cmd = sys.argv[1:]
    watched = Run(marker, int(n))
    status = watched.go(cmd)
    report = {
        "calls": watched.calls,
        "passed_over": watched.passed_over,
        "killed": watched.killed,
        "exit_status": status,
    }
    print("\n" + json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
