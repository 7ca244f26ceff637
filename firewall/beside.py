# SPDX-License-Identifier: MIT
"""Work beside other work: system calls that take long, or wait for the kernel, while Python goes on."""

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Beside(Generic[_T]):
    """A call in a thread of its own, beside the block; what it raises comes out at the block's end."""

    def __init__(self, call: Callable[[], _T]) -> None:
        self._call = call
        self._returned: list[_T] = []
        self._error: BaseException | None = None
        self._done = Event()  # a thread that somebody was interrupted in waiting for counts as ended
        self._thread = Thread(target=self._run)

    def _run(self) -> None:
        try:
            self._returned.append(self._call())
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    def result(self) -> _T:
        """What the call returned, as soon as it has; what it raises comes out here."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._returned[0]

    def __enter__(self) -> "Beside[_T]":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        interrupted: KeyboardInterrupt | None = None
        while not self._done.is_set():
            try:
                self._done.wait()
            except KeyboardInterrupt as interruption:
                interrupted = interruption
        first = interrupted or self._error
        if first is not None and kind is None:
            raise first
