# SPDX-License-Identifier: MIT
"""Ctrl-C for commands that go on until it comes."""

import gc
import signal
import time
from types import FrameType

# Objects made and not gone after which to look. Python's own number is 700, which a look at a million flows feels.
_GARBAGE = 50_000


class Interruption:
    """Whether Ctrl-C has come. It raises KeyboardInterrupt wherever it falls, as it always does.

    From here on Python looks for garbage, too, which commands that end need not.

    But Python throws away what is raised in a destructor or in a callback from C: whoever goes on for ever must ask.
    """

    def __init__(self) -> None:
        self._came = False
        gc.set_threshold(_GARBAGE)
        gc.enable()
        signal.signal(signal.SIGINT, self._note)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True
        raise KeyboardInterrupt

    def wait(self, seconds: float = 0) -> None:
        """Rest for so long. Raises KeyboardInterrupt, also if it came before."""
        if not self._came:
            time.sleep(seconds)
        if self._came:
            raise KeyboardInterrupt
