# SPDX-License-Identifier: MIT
"""How far long work is, on one line of a terminal that is gone when the work is done.

Whoever has a terminal says so by `shown`; work counts what it does by `counted`, which costs nothing where nobody
looks.
"""

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from time import monotonic
from typing import TextIO, TypeVar

_AFTER_S = 1.0  # from when on work is long
_EVERY_S = 0.1
_STEP = 1024  # items between two looks at the clock
_CLEAR = "\r\x1b[K"  # ECMA-48: to the first column, erase the line

_Item = TypeVar("_Item")


class _Line:
    """The line of a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._due_s = monotonic() + _AFTER_S
        self._shown = False

    def show(self, text: str) -> None:
        """Shows a text, if the work is long and the last one stood for a while."""
        now_s = monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + _EVERY_S
            self._shown = True
            self._stream.write(f"{_CLEAR}{text}")
            self._stream.flush()

    def clear(self) -> None:
        if self._shown:
            self._shown = False
            self._stream.write(_CLEAR)
            self._stream.flush()


_line: _Line | None = None


@contextmanager
def shown(stream: TextIO) -> Iterator[None]:
    """Work done meanwhile shows how far it is, if `stream` is a terminal."""
    global _line
    before, _line = _line, _Line(stream) if stream.isatty() else None
    try:
        yield
    finally:
        if _line:
            _line.clear()
        _line = before


def counted(what: str, items: Iterable[_Item], total: int | None = None) -> Iterable[_Item]:
    """The items, counted as they are taken: `what` is done to them, as in "reading".

    `total` says how many they are where that is known but to them.
    """
    if _line is None:
        return items
    total = len(items) if isinstance(items, Sized) else total
    return items if total is not None and total <= _STEP else _count(what, items, total, _line)


def _count(what: str, items: Iterable[_Item], total: int | None, line: _Line) -> Iterator[_Item]:
    of_all = "" if total is None else f" of {total:,}"
    for number, item in enumerate(items):
        if number % _STEP == 0:
            line.show(f"{what}: {number:,}{of_all}")
        yield item
    line.clear()
