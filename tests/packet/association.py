# SPDX-License-Identifier: MIT
"""An SCTP association, told packet by packet, and how it gets into each of its states."""

from __future__ import annotations

from collections.abc import Callable

from firewall import abi
from tests import chunks
from tests.chunks import chunk
from tests.packet.ends import Talk
from tests.packet.path import Verdict
from tests.packets import sctp

O_TAG, R_TAG = 0x0A0A0A0A, 0x0B0B0B0B
"""The tags that the opener and the responder choose."""


class Association(Talk):
    """Between port 5000 of the opener and port 3868."""

    def o(self, *parts: bytes, tag: int = R_TAG) -> Verdict:
        """The opener sends these chunks, by the responder's tag."""
        return self.opener(sctp(5000, 3868, *parts, tag=tag))

    def r(self, *parts: bytes, tag: int = O_TAG) -> Verdict:
        """The responder sends."""
        return self.responder(sctp(3868, 5000, *parts, tag=tag))

    def sides(self) -> tuple[str, ...]:
        """What each side has sent."""
        _, _, flow = self.path.the_flow()
        return tuple(abi.SideState(side.state).name.removeprefix("SIDE_") for side in flow.side)

    def tags(self) -> list[tuple[int, int]]:
        """Of each side: the tag that it has chosen, and the one that it puts into its packets."""
        _, _, flow = self.path.the_flow()
        return [(side.seq_end, side.ack) for side in flow.side]

    @property
    def table(self) -> str:
        return self.path.the_flow()[0]


Story = Callable[[Association], None]


def cookie_wait(talk: Association) -> None:
    talk.o(chunks.init(O_TAG), tag=0)


def answered(talk: Association) -> None:
    cookie_wait(talk)
    talk.r(chunks.init_ack(R_TAG))


def cookie_echoed(talk: Association) -> None:
    answered(talk)
    talk.o(chunk(chunks.COOKIE_ECHO, b"cookie"))


def established(talk: Association) -> None:
    cookie_echoed(talk)
    talk.r(chunk(chunks.COOKIE_ACK))


def shutdown_sent(talk: Association) -> None:
    established(talk)
    talk.o(chunk(chunks.SHUTDOWN, bytes(4)))


def shutdown_ack_sent(talk: Association) -> None:
    shutdown_sent(talk)
    talk.r(chunk(chunks.SHUTDOWN_ACK))


def closed(talk: Association) -> None:
    shutdown_ack_sent(talk)
    talk.o(chunk(chunks.SHUTDOWN_COMPLETE))


def heartbeat_sent(talk: Association) -> None:
    talk.o(chunks.heartbeat())


def path_established(talk: Association) -> None:
    heartbeat_sent(talk)
    talk.r(chunks.heartbeat(kind=chunks.HEARTBEAT_ACK))


STATES: dict[str, tuple[Story, str]] = {
    "cookie_wait": (cookie_wait, "cookie_wait"),
    "cookie_wait, answered": (answered, "cookie_wait"),
    "cookie_echoed": (cookie_echoed, "cookie_echoed"),
    "established": (established, "established"),
    "shutdown_sent": (shutdown_sent, "shutdown_sent"),
    "shutdown_ack_sent": (shutdown_ack_sent, "shutdown_ack_sent"),
    "closed": (closed, "closed"),
    "heartbeat_sent": (heartbeat_sent, "heartbeat_sent"),
    "another path": (path_established, "established"),
}
"""What the page calls it, how it comes about, and what `fw flow list` shows."""
