# SPDX-License-Identifier: MIT
"""A call beside a block: both run at once, and what either raises comes out."""

from threading import Event

import pytest

from firewall.beside import Beside


def fail() -> None:
    raise ValueError("beside")


def test_both_run_at_once() -> None:
    here, there = Event(), Event()

    def answer() -> None:
        assert here.wait(30)
        there.set()

    with Beside(answer):
        here.set()
        assert there.wait(30)


def test_the_call_is_done_after_the_block() -> None:
    done: list[int] = []
    with Beside(lambda: done.append(1)):
        pass
    assert done == [1]


def test_its_error_comes_out_at_the_end_of_the_block() -> None:
    reached = []
    with pytest.raises(ValueError, match="beside"), Beside(fail):
        reached.append(1)
    assert reached == [1]


def test_an_error_of_the_block_goes_first() -> None:
    with pytest.raises(KeyError), Beside(fail):
        raise KeyError("block")


def test_who_is_interrupted_waits_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C, once in waiting for the result and once in waiting for the end."""
    may_end, done = Event(), []
    wait = Event.wait

    def call() -> None:
        assert wait(may_end, 30)
        done.append(1)

    interruptions = iter((may_end.is_set, may_end.set))

    def interrupted(event: Event, timeout_s: float | None = None) -> bool:
        for happens in interruptions:
            happens()
            raise KeyboardInterrupt
        return wait(event, timeout_s)

    with pytest.raises(KeyboardInterrupt), Beside(call) as slow:
        monkeypatch.setattr(Event, "wait", interrupted)
        slow.result()
    assert done == [1]


def test_what_the_call_returned_is_there_as_soon_as_it_is_asked_for() -> None:
    with Beside(lambda: 7) as seven:
        assert seven.result() == 7


def test_an_error_comes_out_where_the_result_is_asked_for() -> None:
    reached = []
    with pytest.raises(ValueError, match="beside"), Beside(fail) as failing:
        reached.append(1)
        failing.result()
        reached.append(2)
    assert reached == [1]
