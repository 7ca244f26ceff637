# SPDX-License-Identifier: MIT
"""Who talks in these tests, in both families, and the packets for which the family makes a difference."""

from __future__ import annotations

from typing import NamedTuple, TypedDict, Unpack

import pytest

from firewall import abi
from tests.packet.path import PacketPath, Verdict
from tests.packets import Layer, eth, icmp, icmp6, ip, tcp

ECHO_REQUEST, ECHO_REPLY = "request", "reply"


class Ends(NamedTuple):
    """Addresses of one family. `them` is higher than ours and `below` lower: keys are ordered by address."""

    us: str  # this host, on wan
    them: str  # far away, behind wan
    below: str
    inside: str  # behind lan
    hop: str  # a router on the way to them

    @property
    def is_v6(self) -> bool:
        return ":" in self.us

    @property
    def icmp_proto(self) -> int:
        return 58 if self.is_v6 else 1

    def echo(self, kind: str = ECHO_REQUEST, *, ident: int = 7, seq: int = 1, payload: bytes = b"") -> Layer:
        """An echo request or reply."""
        if self.is_v6:
            return icmp6(128 if kind == ECHO_REQUEST else 129, ident=ident, seq=seq, payload=payload)
        return icmp(8 if kind == ECHO_REQUEST else 0, ident=ident, seq=seq, payload=payload)

    def arriving(self, segment: bytes, **fields: int) -> Layer:
        """A frame from them to us."""
        return eth(ip(self.them, self.us, segment, **fields))

    def leaving(self, segment: bytes, **fields: int) -> Layer:
        """A frame from us to them."""
        return eth(ip(self.us, self.them, segment, **fields))


V4 = Ends("192.0.2.1", "198.51.100.7", "172.31.0.7", "10.0.0.9", "192.0.2.254")
V6 = Ends("2001:db8:1::1", "2001:db8:9::7", "2001:db8:0:5::7", "2001:db8:2::9", "2001:db8:1::fe")

FAMILIES = pytest.mark.parametrize("ends", [V4, V6], ids=["v4", "v6"])


class Talk:
    """A conversation between them and us over wan, opened by one of the two; packets are told by their sender."""

    def __init__(self, path: PacketPath, ends: Ends, *, we_open: bool = False) -> None:
        self.path, self.ends, self.we_open = path, ends, we_open

    def opener(self, segment: bytes) -> Verdict:
        return self._send(segment, self.we_open)

    def responder(self, segment: bytes) -> Verdict:
        return self._send(segment, not self.we_open)

    def _send(self, segment: bytes, by_us: bool) -> Verdict:
        if by_us:
            return self.path.egress(self.ends.leaving(segment))
        return self.path.ingress(self.ends.arriving(segment))


class More(TypedDict, total=False):
    """What few segments have."""

    options: bytes
    window: int


class Connection(Talk):
    """A TCP connection from port 4000 to port 22; segments are told by their flags and numbers.

    First sequence numbers are 100 for the opener and 900 for the responder unless a test says otherwise.
    """

    def o(
        self, flags: str, seq: int = 0, ack: int = 0, payload: bytes = b"", **more: Unpack[More]
    ) -> Verdict:
        """The opener sends."""
        return self.opener(tcp(4000, 22, flags, payload, seq=seq, ack=ack, **more))

    def r(
        self, flags: str, seq: int = 0, ack: int = 0, payload: bytes = b"", **more: Unpack[More]
    ) -> Verdict:
        """The responder sends."""
        return self.responder(tcp(22, 4000, flags, payload, seq=seq, ack=ack, **more))

    def establish(self, o_isn: int = 100, r_isn: int = 900) -> None:
        self.o("S", o_isn)
        self.r("SA", r_isn, o_isn + 1)
        self.o("A", o_isn + 1, r_isn + 1)
        assert self.sides() == ("OPEN", "SYN")

    def close(self) -> None:
        """Both sides end it in order, the opener first: TIME_WAIT."""
        self.establish()
        self.o("FA", 101, 901)
        self.r("A", 901, 102)
        self.r("FA", 901, 102)
        self.o("A", 102, 902)

    def sides(self) -> tuple[str, ...]:
        """What each side has sent."""
        _, _, flow = self.path.the_flow()
        return tuple(abi.SideState(side.state).name.removeprefix("SIDE_") for side in flow.side)

    def records(self) -> list[tuple[int, int, int]]:
        """Of each side: the end of what it sent, what it acknowledged, how many segments were counted."""
        _, _, flow = self.path.the_flow()
        return [(side.seq_end, side.ack, side.packets) for side in flow.side]

    def lives(self, seconds: float) -> bool:
        """Whether the flow is still there after so long a silence; one that is not is gone for good."""
        self.path.age(seconds)
        return self.o("A", 101, 901).reason == "flow"

    @property
    def table(self) -> str:
        return self.path.the_flow()[0]


OPENERS = pytest.mark.parametrize("we_open", [False, True], ids=["they open", "we open"])
