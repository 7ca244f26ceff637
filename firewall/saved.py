# SPDX-License-Identifier: MIT
"""The saved policy: read and replaced whole, so that a kill or a full disk leaves the old file or the new."""

import os
from pathlib import Path

from firewall.errors import FwError, NotPermitted
from firewall.paths import ETC_DIR, namespace_name, policy_path

_NEW_FILE_MODE = 0o644
_STAGED = ".staged-"


class Staged:
    """A policy file on disk beside the saved one, not in its place yet. Use it as a context manager."""

    def __init__(self, text: str) -> None:
        """Writes the file. Raises FwError if that cannot be done, and then leaves nothing behind."""
        # A link, to a file in a configuration repository say, stays one.
        self.target = Path(os.path.realpath(policy_path()))
        self._path = self.target.with_name(f".{self.target.name}{_STAGED}{os.getpid()}")
        self._pending = True
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            if namespace_name():
                # `ip netns exec` binds what is in /etc/netns/NAME over its like in /etc, which has to be there.
                Path(ETC_DIR, self.target.parent.name).mkdir(exist_ok=True)
            self._drop_leftovers()
            self._write(text.encode())
        except OSError as error:
            self.discard()
            raise _failure(error, self.target) from None

    def commit(self) -> None:
        """Puts the file in the place of the saved one, for good once this returns. Raises FwError."""
        try:
            os.rename(self._path, self.target)
            self._pending = False
            _sync_directory(self.target.parent)
        except OSError as error:
            raise _failure(error, self.target) from None

    def discard(self) -> None:
        """Takes the file away again, unless it was committed."""
        if self._pending:
            self._path.unlink(missing_ok=True)
            self._pending = False

    def __enter__(self) -> "Staged":
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _write(self, data: bytes) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            try:
                old = os.stat(self.target)
                os.fchown(fd, old.st_uid, old.st_gid)
                os.fchmod(fd, old.st_mode & 0o7777)
            except FileNotFoundError:
                os.fchmod(fd, _NEW_FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(fd)

    def _drop_leftovers(self) -> None:
        """Writers hold the lock, so what another one staged belongs to one that was killed."""
        for path in self.target.parent.glob(f".{self.target.name}{_STAGED}*"):
            path.unlink(missing_ok=True)


def read_saved() -> str | None:
    """The saved policy's text, None when there is no file. Raises FwError, PolicyError if it is no text."""
    from firewall.lang import decode_policy

    path = policy_path()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FwError(f"cannot read {path}: {error.strerror}") from None
    return decode_policy(data, str(path))


def is_saved(text: str) -> bool:
    """Whether the saved policy is this text, byte for byte."""
    try:
        return policy_path().read_bytes() == text.encode()
    except OSError:
        return False


def _failure(error: OSError, target: Path) -> FwError:
    message = f"cannot write {target}: {error.strerror}"
    hint = "what was in force still is; with --runtime nothing is written"
    return NotPermitted(message, hint) if isinstance(error, PermissionError) else FwError(message, hint)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
