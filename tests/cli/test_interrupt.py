# SPDX-License-Identifier: MIT
"""Ctrl-C ends what would go on for ever, wherever in the program it falls."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from firewall.cli.interrupt import Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = signal.getsignal(signal.SIGINT)
    yield Interruption()
    signal.signal(signal.SIGINT, before)


class Doomed:
    """What is interrupted while it is destroyed."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_it_raises_where_it_falls(interruption: Interruption) -> None:
    interruption.wait()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interruption.wait()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_is_not_lost_in_a_destructor(interruption: Interruption) -> None:
    doomed = Doomed()
    del doomed
    with pytest.raises(KeyboardInterrupt):
        interruption.wait(60)
