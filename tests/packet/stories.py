# SPDX-License-Identifier: MIT
"""How a TCP connection gets into each of its states, as the opener's and the responder's segments tell it."""

from __future__ import annotations

from collections.abc import Callable

from tests.packet.ends import Connection

Story = Callable[[Connection], None]


def syn_sent(talk: Connection) -> None:
    talk.o("S", 100)


def syn_recv(talk: Connection) -> None:
    syn_sent(talk)
    talk.r("SA", 900, 101)


def established(talk: Connection) -> None:
    """Both have acknowledged the other's SYN."""
    talk.establish()
    talk.r("A", 901, 101)


def fin_wait(talk: Connection) -> None:
    established(talk)
    talk.o("FA", 101, 901)


def last_ack(talk: Connection) -> None:
    """Both have sent their FIN, and neither has acknowledged the other's."""
    fin_wait(talk)
    talk.r("FA", 901, 101)


def last_ack_of_opener(talk: Connection) -> None:
    """The opener alone has still to acknowledge."""
    fin_wait(talk)
    talk.r("FA", 901, 102)


def last_ack_of_responder(talk: Connection) -> None:
    last_ack(talk)
    talk.o("A", 102, 902)


def time_wait(talk: Connection) -> None:
    last_ack_of_opener(talk)
    talk.o("A", 102, 902)


def closed(talk: Connection) -> None:
    established(talk)
    talk.o("R", 101, 901)
