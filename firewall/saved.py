# SPDX-License-Identifier: MIT
"""The saved policy: read and replaced whole, so that a kill or a full disk leaves the old file or the new."""

import os
from pathlib import Path

from firewall.errors import FwError, NotPermitted
from firewall.paths import ETC_DIR, namespace_name, policy_path
from firewall.replacement import Replacement, cannot_write
from firewall.written import Written

_NEW_FILE_MODE = 0o644
_INCLUDE = b"include"
_STILL = "what was in force still is"
_NOT_WRITTEN = f"{_STILL}; with --runtime nothing is written"


class Staged(Replacement):
    """A policy file on disk beside the saved one, not in its place yet. Use it as a context manager."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        """Writes the file. Raises FwError with that hint if it cannot be done, and then leaves nothing behind."""
        target = Path(os.path.realpath(policy_path()))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if namespace_name():
                # `ip netns exec` binds what is in /etc/netns/NAME over its like in /etc, which has to be there.
                Path(ETC_DIR, target.parent.name).mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(error, target, hint) from None
        super().__init__(target, hint=hint, new_mode=_NEW_FILE_MODE)
        self.write((text.encode(),))


def stage(text: str, has_runtime: bool) -> Staged:
    """The file to be of a policy that is about to be in force, for a command that takes --runtime or does not."""
    return Staged(text, _NOT_WRITTEN if has_runtime else _STILL)


def read_saved() -> Written | None:
    """The saved policy, None when there is no file. Raises FwError, PolicyError if it is no text or includes none."""
    from firewall.include import read_included
    from firewall.lang import decode_policy

    path = policy_path()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        kind = NotPermitted if isinstance(error, PermissionError) else FwError
        raise kind(f"cannot read {path}: {error.strerror}") from None
    return read_included(decode_policy(data, str(path)), str(path))


def is_saved(written: Written) -> bool:
    """Whether the saved policy is this one, byte for byte, with all that it includes."""
    try:
        data = policy_path().read_bytes()
        if _INCLUDE not in data and not written.included:
            return data == written.text.encode()
        saved = read_saved()
        return saved is not None and saved.flat() == written.flat()
    except (FwError, OSError):
        return False


def demand_saveable(written: Written, has_runtime: bool = False) -> None:
    """Raises FwError if the policy would include other files where it is saved than where it was read.

    `has_runtime` says whether the command takes --runtime, and something runs.
    """
    if not written.included:
        return
    from firewall.include import read_included
    from firewall.lang import PolicyError

    path = str(policy_path())
    runtime = ", or try it with --runtime" if has_runtime else ""
    hint = f"copy what it includes there too or give whole paths{runtime}; {path} was left as it was"
    try:
        same = read_included(written.text, path).flat() == written.flat()
    except PolicyError as error:
        raise FwError(f"saved as {path} the policy could not be read again:\n{error.message}", hint) from None
    if not same:
        raise FwError(f"saved as {path} the policy would include other files than it does here", hint)
