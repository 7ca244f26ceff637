# SPDX-License-Identifier: MIT
"""Long work shows how far it is on a terminal, and nowhere else."""

import io

import pytest

from firewall import progress
from firewall.progress import counted, shown

ITEMS = range(5000)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes 0.6 s."""
    times = iter(number * 0.6 for number in range(1000))
    monkeypatch.setattr(progress, "monotonic", lambda: next(times))


def test_a_terminal_shows_it_and_is_left_clear() -> None:
    terminal = Terminal()
    with shown(terminal):
        assert list(counted("reading", ITEMS)) == list(ITEMS)
    assert terminal.getvalue().split("\r\x1b[K") == [
        *("", "reading: 1,024 of 5,000", "reading: 2,048 of 5,000", "reading: 3,072 of 5,000"),
        *("reading: 4,096 of 5,000", ""),
    ]


def test_what_fails_midway_leaves_the_line_clear() -> None:
    terminal = Terminal()
    with pytest.raises(KeyError), shown(terminal):
        for item in counted("reading", ITEMS):
            if item == 3000:
                raise KeyError
    assert terminal.getvalue().endswith("reading: 2,048 of 5,000\r\x1b[K")


def test_what_has_no_length() -> None:
    terminal = Terminal()
    with shown(terminal):
        assert list(counted("reading", iter(ITEMS[:2500]))) == list(ITEMS[:2500])
        assert list(counted("again", iter(ITEMS[:2500]), 2500)) == list(ITEMS[:2500])
        assert list(counted("short", iter(ITEMS[:9]), 9)) == list(ITEMS[:9])
    assert terminal.getvalue().split("\r\x1b[K") == [
        *("", "reading: 1,024", "reading: 2,048", ""),
        *("again: 0 of 2,500", "again: 1,024 of 2,500", "again: 2,048 of 2,500", ""),
    ]


def test_short_work_shows_nothing() -> None:
    terminal = Terminal()
    with shown(terminal):
        assert list(counted("reading", ITEMS[:1024])) == list(ITEMS[:1024])
    assert terminal.getvalue() == ""


def test_what_is_no_terminal_shows_nothing() -> None:
    pipe = io.StringIO()
    with shown(pipe):
        assert counted("reading", ITEMS) is ITEMS
    assert pipe.getvalue() == ""
    assert counted("reading", ITEMS) is ITEMS
