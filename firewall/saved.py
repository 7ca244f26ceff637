# SPDX-License-Identifier: MIT
"""The saved policy: read and replaced whole, so that a kill or a full disk leaves the old file or the new."""

import os
from pathlib import Path

from firewall.errors import FwError
from firewall.paths import ETC_DIR, namespace_name, policy_path
from firewall.replacement import Replacement, cannot_write

_NEW_FILE_MODE = 0o644
_HINT = "what was in force still is; with --runtime nothing is written"


class Staged(Replacement):
    """A policy file on disk beside the saved one, not in its place yet. Use it as a context manager."""

    def __init__(self, text: str) -> None:
        """Writes the file. Raises FwError if that cannot be done, and then leaves nothing behind."""
        target = Path(os.path.realpath(policy_path()))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if namespace_name():
                # `ip netns exec` binds what is in /etc/netns/NAME over its like in /etc, which has to be there.
                Path(ETC_DIR, target.parent.name).mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(error, target, _HINT) from None
        super().__init__(target, hint=_HINT, new_mode=_NEW_FILE_MODE)
        self.write((text.encode(),))


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
