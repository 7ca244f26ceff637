# SPDX-License-Identifier: MIT
"""A machine in QEMU that boots a kernel, runs one shell script as root, and is gone."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.vm.archive import Archive, add_modules
from tests.vm.kernels import Kernel, VmError

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(f"/usr/lib/python3.{sys.version_info.minor}")
PACKAGES = Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages")
PROGRAMS = ("dash", "ip", "tc", "nft", "nsenter", "mount", "umount", "ping")
MODULES = (
    "veth dummy tun sch_ingress cls_bpf act_gact 8021q bridge bonding wireguard vrf nf_conntrack "
    "nf_tables nft_ct nft_counter nft_nat nft_chain_nat nft_masq nft_reject_inet inet_diag tcp_diag udp_diag sctp"
).split()
BERLIN = Path("/usr/share/zoneinfo/Europe/Berlin")
"""The time zone that tests of times of day are in: the guest has no others but UTC."""
# What the guest never imports, and what would only make it larger.
UNUSED_LIBRARY = {"test", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data"}
UNUSED_PACKAGES = {"mypy", "mypyc", "pip", "setuptools", "clang_format", "rich", "markdown_it"}

MEMORY_MIB = 1536
CPU = "max,-cx16"
"""Without cmpxchg16b: an interrupt just after it leaves wrong flags in QEMU 7.2's emulation, and the guest dies."""
KERNEL_WORDS = "console=ttyS0 rdinit=/init panic=-1 quiet loglevel=3 mitigations=off no_timer_check"
"""no_timer_check: a guest that gets no time while it measures its timer takes it for broken."""
UP = "GUEST-IS-UP"
STATUS = "GUEST-STATUS"

INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir /applets
/bin/busybox --install -s /applets
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/applets HOME=/root PYTHONPATH={PACKAGES} PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/netns
for module in $(cat /modules.order); do insmod $module || echo "insmod $module failed"; done
ip link set lo up
echo {UP}
cd {ROOT}
dash /script.sh
echo {STATUS} $?
poweroff -f
"""


class Outcome(NamedTuple):
    """How the script ended (None: it did not), and what it printed."""

    status: int | None
    output: str


def root_file_system(kernel: Kernel, script: str) -> bytes:
    """The guest's initramfs: this interpreter, the virtual environment's packages and the tree, at their own paths."""
    archive = Archive()
    archive.data("init", INIT.encode(), 0o755)
    archive.data("script.sh", script.encode())
    archive.data("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    archive.link("usr/bin/sh", "dash")
    archive.data("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
    for name in ("busybox", *PROGRAMS):
        path = shutil.which(name)
        if path is None:
            raise VmError(f"{name} is missing: run make setup")
        archive.program(Path(path), f"usr/bin/{name}")
    archive.program(Path(sys.executable).resolve(), "usr/bin/python3")
    archive.tree(LIBRARY, str(LIBRARY), lambda path: path.name in UNUSED_LIBRARY)
    archive.program(_libbpf())
    archive.tree(PACKAGES, str(PACKAGES), _unused_package)
    _add_installed(archive)
    archive.file(ROOT / ".venv" / "bin" / "fw", f"{ROOT}/.venv/bin/fw")
    for name in ("bench", "docs", "firewall", "packaging", "tests"):
        archive.tree(ROOT / name, f"{ROOT}/{name}")
    archive.file(BERLIN)
    for name in ("build/fw.bpf.o", "build/libfwtree.so", "pyproject.toml"):
        archive.file(ROOT / name, f"{ROOT}/{name}")
    add_modules(archive, kernel.modules, MODULES)
    return archive.finish()


def _add_installed(archive: Archive) -> None:
    """What `make install` puts in place, where it puts it: the guest takes it away again."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["make", "-s", "install", "PREFIX=/usr/local", f"DESTDIR={folder}"]
        done = subprocess.run(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise VmError(f"make install failed: {(done.stderr or done.stdout).strip()}")
        archive.tree(Path(folder, "usr/local"), "usr/local")


def _unused_package(path: Path) -> bool:
    return path.parent == PACKAGES and (path.name in UNUSED_PACKAGES or "__mypyc." in path.name)


def _libbpf() -> Path:
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"libbpf\.so\.1 .*=> (\S+)", listed)
    if found is None:
        raise VmError("libbpf.so.1 is missing: run make setup")
    return Path(found[1])


def run(kernel: Kernel, script: str, timeout_s: float, silence_s: float) -> Outcome:
    """Boot `kernel`, run `script` in the repository's folder, give its end. The machine has no network device.

    It is ended when it prints nothing for `silence_s`.
    """
    with tempfile.NamedTemporaryFile(suffix=".cpio") as initramfs:
        initramfs.write(root_file_system(kernel, script))
        initramfs.flush()
        machine = subprocess.Popen(
            # /dev/kvm may open and yet not run another kernel: emulation always works.
            ["nice", "qemu-system-x86_64", "-accel", "tcg", "-cpu", CPU, "-smp", "1", "-m", str(MEMORY_MIB)]
            + ["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]
            + ["-kernel", str(kernel.image), "-initrd", initramfs.name]
            + ["-append", KERNEL_WORDS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            output = _printed(machine, time.monotonic() + timeout_s, silence_s)
        finally:
            machine.kill()
            machine.wait()
    lines = output.replace("\r", "").split("\n")
    ended = re.search(rf"^{STATUS} (\d+)$", output.replace("\r", ""), re.MULTILINE)
    if UP in lines:
        lines = lines[lines.index(UP) + 1 :]
    if ended:
        lines = lines[: lines.index(ended[0])]
    return Outcome(int(ended[1]) if ended else None, "\n".join(lines))


def _printed(machine: subprocess.Popen[bytes], deadline: float, silence_s: float) -> str:
    """All that it prints until its script has ended, it has, or it is out of time."""
    assert machine.stdout is not None
    pipe, output = machine.stdout.fileno(), b""
    end = re.compile(rb"^%s \d+\r?\n" % STATUS.encode(), re.MULTILINE)
    while (left_s := deadline - time.monotonic()) > 0:
        if not select.select([pipe], [], [], min(left_s, silence_s))[0]:
            break
        chunk = os.read(pipe, 65536)
        output += chunk
        if not chunk or end.search(output, max(0, len(output) - len(chunk) - len(STATUS) - 8)):
            break
    return output.decode(errors="replace")
