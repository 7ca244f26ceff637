# SPDX-License-Identifier: MIT
"""Work beside other work: system calls that take long, or wait for the kernel, while Python goes on."""

from collections.abc import Callable
from threading import Thread
from types import TracebackType


class Beside:
    """A call in a thread of its own, beside the block; what it raises comes out at the block's end."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error
