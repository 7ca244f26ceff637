# SPDX-License-Identifier: MIT
"""Where things are for the network namespace that we are in: the saved policy, the pins, the lock.

A network namespace is known by itself, not by its name: `ip netns exec N fw` and `fw --netns N` are the same.
"""

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from firewall.errors import Busy, FwError, UsageError, fault

RUN_DIR = "/run/fw"
_BPFFS = f"{RUN_DIR}/bpf"
ETC_DIR = "/etc"
LIB_DIR = "/var/lib/fw"
NETNS_DIR = "/run/netns"  # where iproute2 keeps named namespaces
SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h, since 5.14
_HERE, _INIT = "/proc/thread-self/ns/net", "/proc/1/ns/net"


def built_file(name: str) -> Path:
    """A file that `make` builds: beside the package when installed, in the build directory of a source tree."""
    here = Path(__file__).resolve().parent
    for path in (here / name, here.parent / "build" / name):
        if path.exists():
            return path
    raise FwError(f"there is no {name} in {here}", "'make' builds it; an installed fw brings it")


def _failed(error: OSError, what: str) -> FwError:
    return fault(error.errno or 0, what, otherwise=FwError)


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def netns_names() -> list[str]:
    """Names of the network namespaces that have one, sorted."""
    try:
        return sorted(os.listdir(NETNS_DIR))
    except OSError:
        return []


def namespace_name() -> str | None:
    """The name of the network namespace that we are in; None for the machine's own and for unnamed ones."""
    if _same(_HERE, _INIT):
        return None
    return next((name for name in netns_names() if _same(_HERE, f"{NETNS_DIR}/{name}")), None)


def namespace_id() -> str:
    """What tells this network namespace from all others since boot, as "INODE-COOKIE".

    The inode alone, which is all there is before 5.14, can be that of a namespace that has gone.
    """
    inode = os.stat(_HERE).st_ino
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            (cookie,) = struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))
        except OSError:
            return str(inode)
    return f"{inode}-{cookie}"


def enter_netns(name: str) -> None:
    """Move this thread into the network namespace that `ip netns` calls `name`."""
    from firewall.bindings import libc

    if name not in netns_names():
        known = ", ".join(netns_names())
        raise UsageError(
            f"there is no network namespace '{name}'",
            f"there are: {known}" if known else "'ip netns' lists none",
        )
    try:
        with open(f"{NETNS_DIR}/{name}", "rb") as file:
            libc.setns(file.fileno(), libc.CLONE_NEWNET)
    except OSError as error:
        raise _failed(error, f"enter network namespace {name}") from error


def policy_path() -> Path:
    """The saved policy of the network namespace that we are in."""
    name = namespace_name()
    return Path(ETC_DIR, "netns", name, "fw/rules.fw") if name else Path(ETC_DIR, "fw/rules.fw")


def flows_path() -> Path:
    """Where `fw flow save` puts the flows of the network namespace that we are in."""
    name = namespace_name()
    return Path(LIB_DIR, "netns", name, "flows.jsonl") if name else Path(LIB_DIR, "flows.jsonl")


def sets_path() -> Path:
    """Where the last good copies of the files of sets are, of the network namespace that we are in."""
    return flows_path().with_name("sets")


def _mount_keeper() -> str:
    """The /proc directory of a process whose mount namespace outlives us: init, or our first ancestor.

    `ip netns exec`, service managers and the like give us a mount namespace of our own: a bpffs mounted there
    would end with us, and with it all that is pinned.
    """
    if _shows_mounts("/proc/1"):
        return "/proc/1"
    reachable, pid = "/proc/self", os.getpid()
    while pid > 0:
        if _shows_mounts(f"/proc/{pid}"):
            reachable = f"/proc/{pid}"
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return reachable


def _shows_mounts(process: str) -> bool:
    """Whether we may look through another process's root directory; `process` is its place in /proc."""
    return os.access(os.path.join(process, "root", "."), os.X_OK)


def _views() -> Iterator[str]:
    """RUN_DIR as we see it, and as init does."""
    yield RUN_DIR
    keeper = _mount_keeper()
    if not _same(f"{keeper}/ns/mnt", "/proc/self/ns/mnt"):
        yield f"{keeper}/root{RUN_DIR}"


def _is_bpffs(path: str) -> bool:
    from firewall.bindings import libc

    try:
        return libc.filesystem_magic(path) == libc.BPF_FS_MAGIC
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise _failed(error, f"look at {path}") from error


def find_bpffs() -> Path | None:
    """Our bpffs where it is mounted, None where it is not."""
    return next((Path(view, "bpf") for view in _views() if _is_bpffs(f"{view}/bpf")), None)


def _mount_bpffs() -> None:
    from firewall.bindings import libc

    for path in (RUN_DIR, _BPFFS):
        os.makedirs(path, 0o700, exist_ok=True)
    lock = os.open(RUN_DIR, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two mounts the later would hide the earlier's pins
        if libc.filesystem_magic(_BPFFS) != libc.BPF_FS_MAGIC:
            libc.mount("bpf", _BPFFS, "bpf", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC, "mode=0700")
    finally:
        os.close(lock)


def _mount_bpffs_in(keeper: str) -> None:
    """`_mount_bpffs` in another process's mount namespace, by a child: who goes there does not come back."""
    from firewall.bindings import libc

    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        err = errno.EIO
        try:
            with open(f"{keeper}/ns/mnt", "rb") as file:
                libc.setns(file.fileno(), libc.CLONE_NEWNS)
            _mount_bpffs()
            err = 0
        except OSError as error:
            err = error.errno or err
        finally:
            os.write(write_end, str(err).encode())
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as answer:
        err = int(answer.read() or errno.EIO)
    os.waitpid(child, 0)
    if err:
        raise OSError(err, os.strerror(err))


def bpffs() -> Path:
    """The bpffs that holds our pins, mounted if need be where it outlives us."""
    found = find_bpffs()
    if found:
        return found
    keeper = _mount_keeper()
    try:
        if _same(f"{keeper}/ns/mnt", "/proc/self/ns/mnt"):
            _mount_bpffs()
        else:
            _mount_bpffs_in(keeper)
    except OSError as error:
        raise _failed(error, f"mount a bpffs at {_BPFFS}") from error
    found = find_bpffs()
    if not found:
        raise FwError(f"a bpffs was mounted at {_BPFFS}, but it cannot be seen from here")
    return found


def pin_dir() -> Path:
    """The directory for the pins of this network namespace; it may not exist. Mounts our bpffs if need be."""
    return bpffs() / namespace_id()


def find_pin_dir() -> Path | None:
    """The pin directory of this network namespace, None when there is none. Changes nothing."""
    root = find_bpffs()
    path = root / namespace_id() if root else None
    return path if path and path.is_dir() else None


def lock_path() -> Path:
    """The lock file of this network namespace; its directory is made if need be."""
    try:
        os.makedirs(RUN_DIR, 0o700, exist_ok=True)
    except OSError as error:
        raise _failed(error, f"make {RUN_DIR}") from error
    return Path(RUN_DIR, f"{namespace_id()}.lock")


class Lock:
    """Held by whoever changes this network namespace's firewall; waits up to `wait_s` for it, then is Busy.

    The file holds the pid of the holder. It is never removed: whoever waits on it would then hold nothing.
    """

    def __init__(self, path: Path | None = None, wait_s: float = 5.0) -> None:
        self._path = path
        self._wait_s = wait_s
        self._fd = -1

    def __enter__(self) -> Self:
        path = self._path or lock_path()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _failed(error, f"open {path}") from error
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = _described(os.pread(self._fd, 32, 0))
                    self._close()
                    raise Busy(
                        f"another fw is changing this firewall: {holder}",
                        "wait until it has finished, and try again",
                    ) from None
                time.sleep(0.02)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        os.ftruncate(self._fd, 0)
        self._close()

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1


def _described(pid: bytes) -> str:
    try:
        words = Path(f"/proc/{int(pid)}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"process {int(pid)} ({' '.join(words.split())})"
    except (OSError, ValueError):
        return "a process that just ended"
