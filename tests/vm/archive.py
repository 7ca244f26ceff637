# SPDX-License-Identifier: MIT
"""An initramfs made on the spot: what the guest's root file system holds, as a cpio archive."""

from __future__ import annotations

import io
import lzma
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

MERGED = ("bin", "sbin", "lib", "lib64")
"""Folders of / that are links into /usr, in the guest as in Debian."""


class Archive:
    """A cpio archive of the newc form, which the kernel unpacks (Documentation/driver-api/early-userspace)."""

    def __init__(self) -> None:
        self.out = io.BytesIO()
        self.seen: set[str] = set()
        self.inode = 0
        for name in MERGED:
            self.link(name, f"usr/{name}")
        for name in ("dev", "proc", "sys", "run", "tmp", "root", "etc"):
            self.directory(name)

    def _entry(self, name: str, mode: int, data: bytes = b"", mtime_s: int = 0) -> None:
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, mtime_s, len(data), 0, 0, 0, 0, len(encoded), 0)
        self.out.write(b"070701" + b"".join(b"%08x" % field for field in fields) + encoded)
        self.out.write(bytes(-self.out.tell() % 4) + data)
        self.out.write(bytes(-self.out.tell() % 4))

    def _new(self, name: str) -> str | None:
        """The name as the archive holds it, its folders made; None if it is there already."""
        name = name.strip("/")
        if name.split("/")[0] in MERGED and "/" in name:
            name = f"usr/{name}"
        if name in self.seen:
            return None
        self.seen.add(name)
        if "/" in name:
            self.directory(name.rpartition("/")[0])
        return name

    def directory(self, name: str) -> None:
        if (new := self._new(name)) is not None:
            self._entry(new, stat.S_IFDIR | 0o755)

    def link(self, name: str, target: str) -> None:
        if (new := self._new(name)) is not None:
            self._entry(new, stat.S_IFLNK | 0o777, target.encode())

    def data(self, name: str, data: bytes, mode: int = 0o644, mtime_s: int = 0) -> None:
        if (new := self._new(name)) is not None:
            self._entry(new, stat.S_IFREG | mode, data, mtime_s)

    def file(self, source: Path, name: str | None = None) -> None:
        """A file of the host, a link followed. It keeps its time, by which Python trusts compiled modules."""
        status = source.stat()
        self.data(name or str(source), source.read_bytes(), status.st_mode & 0o777, int(status.st_mtime))

    def program(self, source: Path, name: str | None = None) -> None:
        """A program or shared library of the host, with the libraries that it needs."""
        self.file(source, name)
        listed = subprocess.run(["ldd", str(source)], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+)", listed):
            self.file(Path(library))

    def tree(self, source: Path, name: str, leave_out: Callable[[Path], bool] = lambda path: False) -> None:
        """A folder of the host with all that is in it, but what `leave_out` says of; links are followed."""
        for folder, folders, files in os.walk(source, followlinks=True):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if not leave_out(here / name))
            for file in sorted(files):
                path = here / file
                if leave_out(path) or not path.is_file():
                    continue
                add = self.program if path.suffix == ".so" or ".so." in path.name else self.file
                add(path, f"{name}/{path.relative_to(source)}")

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return self.out.getvalue()


def add_modules(archive: Archive, tree: Path, wanted: Iterable[str]) -> None:
    """The kernel modules that are wanted and exist, with what they depend on; /modules.order lists them so
    that each comes after its dependencies. What is absent is built in, or the tests will miss it."""
    found = {path.name.split(".ko")[0].replace("-", "_"): path for path in tree.rglob("*.ko*")}
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in found:
            return
        path = found[name]
        data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for dependency in depends[1].decode().split(",") if depends else []:
            visit(dependency.replace("-", "_"))
        order.append(name)
        archive.data(f"modules/{name}.ko", data)

    for name in wanted:
        visit(name)
    archive.data("modules.order", "".join(f"/modules/{name}.ko\n" for name in order).encode())
