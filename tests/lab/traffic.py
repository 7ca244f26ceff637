# SPDX-License-Identifier: MIT
"""What tests hold in their hands: connections, listeners, UDP sockets and wires of a host's agent.

Each is used from one host and reads like prose:

    listener = lab.server.listen(8080)
    stream = lab.client.connect(lab.server.v4, 8080)
    stream.echo(b"hello")                        # sent, and came back
    assert no_ping(lab.server, lab.client.v4)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from tests import dissect
from tests import packets as p
from tests.lab.wait import until

if TYPE_CHECKING:
    from tests.lab.host import Host

Mode = Literal["hold", "echo", "sink", "busy"]
End = tuple[str, int]

SILENCE_S = 0.5
"""How long nothing must come for a packet to count as dropped. The lab's links take microseconds."""
PATIENCE_S = 10.0
"""How long to wait for what must come, on a machine that has much else to do."""


class Held:
    """A socket of `host`, known to its agent by a number."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.number = number

    def close(self, *, reset: bool = False) -> None:
        """Close it; a TCP connection by FIN, or by RST."""
        self.host.call("close", self.number, reset)


class Stream(Held):
    """One side of a TCP connection. local, peer: (address, port) as this side sees them."""

    def __init__(self, host: Host, number: int, local: End, peer: End) -> None:
        super().__init__(host, number)
        self.local = local
        self.peer = peer

    def send(self, data: bytes, timeout_s: float = PATIENCE_S) -> None:
        self.host.call("tcp_send", self.number, data, timeout_s)

    def send_zeros(self, count: int, timeout_s: float = 60.0) -> None:
        """Bulk: that many bytes, as fast as it goes."""
        self.host.call("tcp_send", self.number, count, timeout_s)

    def recv(self, count: int, timeout_s: float = PATIENCE_S) -> bytes:
        """Exactly `count` bytes, fewer if the stream ends; TimeoutError, or the connection's error."""
        data: bytes = self.host.call("tcp_recv", self.number, count, timeout_s)
        return data

    def echo(self, data: bytes = b"are you there?", timeout_s: float = PATIENCE_S) -> None:
        """Send, and have it sent back by a listener in echo mode."""
        self.send(data, timeout_s)
        got = self.recv(len(data), timeout_s)
        if got != data:
            raise AssertionError(f"sent {data!r}, came back as {got!r}")

    def become(self, mode: Mode) -> None:
        """What it does by itself from now on. "busy": sends and awaits the echo, over and over."""
        self.host.call("tcp_mode", self.number, mode)

    def swallowed(self) -> int:
        """Bytes that came in since it became a sink."""
        return int(self.host.call("tcp_progress", self.number)[0])

    def rounds(self) -> int:
        """Payloads sent and echoed since it became busy."""
        return int(self.host.call("tcp_progress", self.number)[1])

    def shutdown(self) -> None:
        """Send FIN; the other direction stays open."""
        self.host.call("tcp_shutdown", self.number)


class Listener(Held):
    """A TCP socket that accepts. address, port: what it is bound to."""

    def __init__(self, host: Host, number: int, address: str, port: int) -> None:
        super().__init__(host, number)
        self.address = address
        self.port = port

    def accepted(self, peer: End, timeout_s: float = PATIENCE_S) -> Stream:
        """This side of the connection that came from `peer`, as the listener sees it."""
        number = self.host.call("tcp_accepted", self.number, peer, timeout_s)
        return Stream(self.host, number, (self.address, self.port), peer)


class Datagrams(Held):
    """A bound UDP socket."""

    def __init__(self, host: Host, number: int, local: End) -> None:
        super().__init__(host, number)
        self.local = local

    def connect(self, address: str, port: int) -> None:
        """Take datagrams of this end alone; ICMP errors about it are raised by `recv`."""
        self.host.call("udp_connect", self.number, address, port)

    def send(self, data: bytes, to: End | None = None) -> None:
        """To the end given, or the one connected to."""
        self.host.call("udp_send", self.number, data, to)

    def recv(self, timeout_s: float = PATIENCE_S) -> tuple[bytes, End]:
        """(payload, from whom). TimeoutError if nothing comes."""
        result: tuple[bytes, End] = self.host.call("udp_recv", self.number, timeout_s)
        return result

    def ask(self, address: str, port: int, data: bytes = b"what?", timeout_s: float = PATIENCE_S) -> bytes:
        """Send, and return the answer that the same end gives."""
        self.send(data, (address, port))
        deadline = time.monotonic() + timeout_s
        while True:
            answer, peer = self.recv(max(0.0, deadline - time.monotonic()))
            if peer[1] == port:
                return answer


class Wire(Held):
    """An interface seen as frames: what this host sends and receives on it, and frames built by hand."""

    def __init__(self, host: Host, number: int, interface: str) -> None:
        super().__init__(host, number)
        self.interface = interface

    def send(self, *frames: bytes) -> None:
        self.host.call("packet_send", self.number, [bytes(frame) for frame in frames])

    def send_to(self, mac: str, *packets: bytes) -> None:
        """Send IP packets (or tagged ones) in frames from this interface to `mac`."""
        self.send(*(p.eth(packet, src=self.host.macs[self.interface], dst=mac) for packet in packets))

    def frames(self, timeout_s: float = 0.0) -> list[tuple[bool, bytes]]:
        """Frames caught since the last call as (sent by this host, bytes); waits for the first, no longer."""
        caught: list[tuple[bool, bytes]] = self.host.call("packet_recv", self.number, timeout_s)
        return caught

    def catch(
        self, wanted: Callable[[dissect.Packet], object], timeout_s: float = PATIENCE_S, *, sent: bool = False
    ) -> dissect.Packet:
        """The next received (or `sent`) frame that is wanted, dissected; TimeoutError if none comes."""
        found = self.caught(wanted, timeout_s, sent=sent, enough=1)
        if not found:
            raise TimeoutError(f"no such frame on {self.interface} of {self.host.name} within {timeout_s} s")
        return found[0]

    def caught(
        self,
        wanted: Callable[[dissect.Packet], object],
        timeout_s: float = SILENCE_S,
        *,
        sent: bool = False,
        enough: int | None = None,
    ) -> list[dissect.Packet]:
        """All wanted frames that come within `timeout_s`, or the first `enough` of them."""
        deadline = time.monotonic() + timeout_s
        found: list[dissect.Packet] = []
        while True:
            for was_sent, data in self.frames(max(0.0, deadline - time.monotonic())):
                if was_sent == sent and wanted(packet := dissect.frame(data)):
                    found.append(packet)
            if (enough is not None and len(found) >= enough) or time.monotonic() >= deadline:
                return found


def answered(attempt: Callable[[], object]) -> bool:
    """Did the attempt get an answer? False if it timed out; another failure is raised."""
    try:
        attempt()
    except TimeoutError:
        return False
    return True


def reaches(host: Host, address: str, port: int, timeout_s: float = PATIENCE_S) -> bool:
    """Can `host` open a TCP connection there and have an echo?"""

    def attempt() -> None:
        stream = host.connect(address, port, timeout_s=timeout_s)
        try:
            stream.echo(timeout_s=timeout_s)
        finally:
            stream.close(reset=True)

    return answered(attempt)


def pings(host: Host, address: str, timeout_s: float = PATIENCE_S) -> bool:
    """Is an echo request answered?"""
    return answered(lambda: host.ping(address, timeout_s=timeout_s))


def asks(host: Host, address: str, port: int, timeout_s: float = PATIENCE_S) -> bool:
    """Is a UDP question answered?"""
    socket = host.udp(address="::" if ":" in address else "0.0.0.0")
    try:
        return answered(lambda: socket.ask(address, port, timeout_s=timeout_s))
    finally:
        socket.close()


def no_tcp(host: Host, address: str, port: int) -> bool:
    """Is there silence when `host` tries to connect? What is refused aloud raises its error."""
    return not reaches(host, address, port, SILENCE_S)


def no_ping(host: Host, address: str) -> bool:
    """Is an echo request left without an answer?"""
    return not pings(host, address, SILENCE_S)


def no_udp(host: Host, address: str, port: int) -> bool:
    """Is a UDP question left without an answer?"""
    return not asks(host, address, port, SILENCE_S)


def all_busy(streams: list[Stream], more_rounds: int = 3, timeout_s: float = 30.0) -> None:
    """Until each busy connection has made some more rounds; TimeoutError naming those that have not."""
    before = [stream.rounds() for stream in streams]

    def moved() -> bool:
        return all(s.rounds() >= b + more_rounds for s, b in zip(streams, before, strict=True))

    until(moved, timeout_s, "data on every busy connection")
