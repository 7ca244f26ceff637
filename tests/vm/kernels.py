# SPDX-License-Identifier: MIT
"""Debian's cloud kernels, fetched by apt-get from the Debian mirror that this machine already uses.

Each suite gets lists and a cache of its own below build/kernels, so the machine's apt is left as it is.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).resolve().parents[2] / "build" / "kernels"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
META_PACKAGE = "linux-image-cloud-amd64"

SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}
"""Kernel series → the Debian suite that has it: our floor, the first with what most use, the first with TCX."""


class VmError(Exception):
    """What keeps a kernel from being tested, in one line."""


class NoMirror(VmError):
    """Debian's kernels are out of reach: the machine runs something else."""


class Kernel(NamedTuple):
    """An unpacked kernel package: `release` as `uname -r` has it, `modules` the folder of its modules."""

    series: str
    release: str
    image: Path
    modules: Path


def _output(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise VmError(f"`{' '.join(words[:1] + words[-2:])}` ended with {done.returncode}: {last}")
    return done.stdout


def mirror() -> str:
    """The address of the Debian mirror in this machine's apt sources, or FW_DEBIAN_MIRROR. Raises NoMirror."""
    given = os.environ.get("FW_DEBIAN_MIRROR")
    if given:
        return given
    for attempt in range(2):
        if attempt:  # a machine whose apt was never updated knows no labels
            _output("apt-get", "-q", "update")
        rows = _output("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
        for row in rows.splitlines():
            label, _, address = row.partition(" ")
            if label == "Debian":
                return address
    raise NoMirror("this machine's apt has no Debian mirror: give one in FW_DEBIAN_MIRROR")


def fetch(series: str) -> Kernel:
    """The newest cloud kernel of a series, from the cache or else from the mirror. Raises VmError."""
    folder = CACHE / SUITES[series]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{SUITES[series]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _download(SUITES[series], folder)
    image = next((folder / "boot").glob("vmlinuz-*"))
    trees = [tree for name in ("usr/lib/modules", "lib/modules") if (tree := folder / name).is_dir()]
    return Kernel(series, image.name.removeprefix("vmlinuz-"), image, trees[0])


def _download(suite: str, folder: Path) -> None:
    """Unpack the kernel package of `suite` as `folder`, which appears whole or not at all."""
    address = mirror()
    if not KEYRING.exists():
        raise VmError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    work = CACHE / f"{suite}.work"
    shutil.rmtree(work, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "state"):
        (work / part).mkdir(parents=True)
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {address} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    _output("apt-get", *words, "-q", "update")
    depends = _output("apt-cache", *words, "show", META_PACKAGE)
    package = re.search(r"^Depends:.*?(linux-image-[0-9][^\s,]*)", depends, re.MULTILINE)
    if package is None:
        raise VmError(f"{META_PACKAGE} of {suite} names no kernel")
    _output("apt-get", *words, "-q", "download", package[1], cwd=work)
    _output("dpkg-deb", "-x", str(next(work.glob("linux-image-*.deb"))), str(work / "tree"))
    (work / "tree").rename(folder)
    shutil.rmtree(work)
