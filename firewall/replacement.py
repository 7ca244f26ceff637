# SPDX-License-Identifier: MIT
"""Files that are replaced whole, so that a kill or a full disk leaves the old one or the new."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from firewall.errors import FwError, NotPermitted

_STAGED = ".staged-"


class Replacement:
    """A file that is to take the place of `target`, beside it on disk. Use it as a context manager.

    With `new_mode` the file has the owner and the mode of the one that it replaces, or that mode where there was
    none; without, it is readable by the caller alone.
    """

    def __init__(self, target: Path, *, hint: str | None = None, new_mode: int | None = None) -> None:
        # A link, to a file in a configuration repository say, stays one.
        self.target = Path(os.path.realpath(target))
        if not self.target.name:
            raise FwError(f"cannot write {self.target}: it is no regular file", hint)
        self._path = self.target.with_name(f".{self.target.name}{_STAGED}{os.getpid()}")
        self._hint = hint
        self._new_mode = new_mode
        self._pending = False

    def write(self, parts: Iterable[bytes]) -> None:
        """Writes the file. Raises FwError if that cannot be done, and then leaves nothing behind."""
        try:
            if self.target.exists() and not self.target.is_file():
                raise FwError(f"cannot write {self.target}: it is no regular file", self._hint)
            self._drop_leftovers()
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._pending = True
            with open(fd, "wb") as file:
                self._own(fd)
                file.writelines(parts)
                file.flush()
                os.fsync(fd)
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError):
                raise cannot_write(error, self.target, self._hint) from None
            raise

    def commit(self) -> None:
        """Puts the file in the place of the old one, for good once this returns. Raises FwError."""
        try:
            os.rename(self._path, self.target)
            self._pending = False
            _sync_directory(self.target.parent)
        except OSError as error:
            raise cannot_write(error, self.target, self._hint) from None

    def discard(self) -> None:
        """Takes the file away again, unless it was committed."""
        if self._pending:
            self._path.unlink(missing_ok=True)
            self._pending = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.discard()

    def _own(self, fd: int) -> None:
        if self._new_mode is None:
            return
        try:
            old = os.stat(self.target)
            os.fchown(fd, old.st_uid, old.st_gid)
            os.fchmod(fd, old.st_mode & 0o7777)
        except FileNotFoundError:
            os.fchmod(fd, self._new_mode)

    def _drop_leftovers(self) -> None:
        """Removes what writers left behind that were killed."""
        prefix = f".{self.target.name}{_STAGED}"
        for path in self.target.parent.iterdir():
            name, pid = path.name, path.name.removeprefix(prefix)
            if name != pid and not Path("/proc", pid).exists():
                path.unlink(missing_ok=True)


def cannot_write(error: OSError, target: Path, hint: str | None) -> FwError:
    """The failure to write a file."""
    message = f"cannot write {target}: {error.strerror}"
    return NotPermitted(message, hint) if isinstance(error, PermissionError) else FwError(message, hint)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
