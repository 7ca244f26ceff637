# SPDX-License-Identifier: MIT
"""The process that lives in a host's namespace and holds its sockets.

Started by `lab.Host` as `agent.py FD` inside the namespace; it needs nothing but the standard library. Over
the socket FD come requests (name, arguments, keyword arguments), each answered with (True, result) or
(False, exception). What runs in the background (accepting, echoing, swallowing, keeping connections busy)
goes on between and during requests. It ends, and its sockets with it, when FD closes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
BUSY_PAYLOAD = bytes(range(256)) * 4
BUSY_REST_S = 0.01  # hundreds of busy connections shall not need all of the machine

IP_RECVERR, IPV6_RECVERR = 11, 25
SOL_PACKET, PACKET_AUXDATA, PACKET_STATISTICS = 263, 8, 6
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
AUXDATA = struct.Struct("@IIIHHHH")
"""struct tpacket_auxdata of linux/if_packet.h: status, len, snaplen, mac, net, vlan_tci, vlan_tpid."""
ETH_P_ALL = 3
ICMP_ECHO_REQUEST, ICMP6_ECHO_REQUEST = 8, 128

End = tuple[str, int]


class Held:
    """A socket that the test knows by a number, and what runs on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.peer: End | None = None
        self.task: asyncio.Task[None] | None = None
        self.accepted: list[int] = []
        self.bytes = 0  # swallowed by a sink
        self.rounds = 0  # of a busy connection: payloads sent and echoed


def resolve(address: str, port: int) -> Any:
    """The address as sockets want it: fe80::1%eth0 carries its scope."""
    found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    return found[0][4]


def make(address: str, kind: int, protocol: int = 0, device: str | None = None) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    if device is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


class Agent:
    def __init__(self, control: Connection) -> None:
        self.control = control
        self.loop = asyncio.get_running_loop()
        self.held: dict[int, Held] = {}
        self.last_number = 0
        self.over = self.loop.create_future()
        self.requests: set[asyncio.Task[None]] = set()
        self.loop.add_reader(control.fileno(), self.request)

    def request(self) -> None:
        try:
            name, args, kwargs = self.control.recv()
        except (EOFError, ConnectionResetError):
            self.loop.remove_reader(self.control.fileno())
            self.over.set_result(None)
            return
        task = self.loop.create_task(self.answer(getattr(self, "do_" + name)(*args, **kwargs)))
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)

    async def answer(self, work: Coroutine[None, None, object]) -> None:
        try:
            reply = (True, await work)
        except Exception as error:  # the test is told, whatever it was
            reply = (False, error)
        self.control.send(reply)

    def hold(self, sock: socket.socket) -> int:
        sock.setblocking(False)
        self.last_number += 1
        self.held[self.last_number] = Held(sock)
        return self.last_number

    def background(self, number: int, mode: str) -> None:
        """What a connection does by itself. hold: nothing; echo: sends back; sink: swallows; busy: below."""
        work = {"echo": self.echo, "sink": self.sink, "busy": self.busy}
        if mode in work:
            held = self.held[number]
            held.task = self.loop.create_task(work[mode](held))

    async def echo(self, held: Held) -> None:
        try:
            while data := await self.loop.sock_recv(held.sock, CHUNK):
                await self.loop.sock_sendall(held.sock, data)
        except OSError:
            pass  # the other side sees the end of it
        held.sock.close()

    async def sink(self, held: Held) -> None:
        buffer = bytearray(CHUNK)
        while count := await self.loop.sock_recv_into(held.sock, buffer):
            held.bytes += count

    async def busy(self, held: Held) -> None:
        """Send a payload, wait for its echo, rest for a moment, and again."""
        while True:
            await asyncio.sleep(BUSY_REST_S)
            await self.loop.sock_sendall(held.sock, BUSY_PAYLOAD)
            left = len(BUSY_PAYLOAD)
            while left:
                data = await self.loop.sock_recv(held.sock, left)
                if not data:
                    return
                left -= len(data)
            held.rounds += 1

    # TCP

    async def do_tcp_listen(self, address: str, port: int, mode: str, device: str | None) -> tuple[int, int]:
        sock = make(address, socket.SOCK_STREAM, device=device)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(resolve(address, port))
        sock.listen(4096)
        number = self.hold(sock)
        self.held[number].task = self.loop.create_task(self.accept(self.held[number], mode))
        return number, sock.getsockname()[1]

    async def accept(self, listener: Held, mode: str) -> None:
        while True:
            sock, peer = await self.loop.sock_accept(listener.sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self.hold(sock)
            self.held[number].peer = (peer[0], peer[1])
            listener.accepted.append(number)
            self.background(number, mode)

    async def do_tcp_accepted(self, number: int, peer: End, timeout_s: float) -> int:
        """The connection from `peer` that the listener accepted."""
        async with asyncio.timeout(timeout_s):
            while True:
                for candidate in self.held[number].accepted:
                    if candidate in self.held and self.held[candidate].peer == peer:
                        return candidate
                await asyncio.sleep(0.002)

    async def do_tcp_connect(
        self, address: str, port: int, timeout_s: float, source: str | None, sport: int, device: str | None
    ) -> tuple[int, End]:
        sock = make(address, socket.SOCK_STREAM, device=device)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source is not None or sport:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(resolve(source or ("::" if ":" in address else "0.0.0.0"), sport))
            async with asyncio.timeout(timeout_s):
                await self.loop.sock_connect(sock, resolve(address, port))
        except BaseException:
            sock.close()
            raise
        host, local_port = sock.getsockname()[:2]
        return self.hold(sock), (host, local_port)

    async def do_tcp_mode(self, number: int, mode: str) -> None:
        """What the connection does by itself from now on; no data may be under way."""
        task = self.held[number].task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.background(number, mode)

    async def do_tcp_send(self, number: int, data: bytes | int, timeout_s: float) -> None:
        """Send bytes, or that many zeros."""
        held = self.held[number]
        async with asyncio.timeout(timeout_s):
            if isinstance(data, int):
                chunk = bytes(CHUNK)
                for start in range(0, data, CHUNK):
                    await self.loop.sock_sendall(held.sock, chunk[: min(CHUNK, data - start)])
            else:
                await self.loop.sock_sendall(held.sock, data)

    async def do_tcp_recv(self, number: int, count: int, timeout_s: float) -> bytes:
        """Exactly `count` bytes, or fewer if the stream ends before."""
        held, got = self.held[number], b""
        async with asyncio.timeout(timeout_s):
            while len(got) < count:
                data = await self.loop.sock_recv(held.sock, count - len(got))
                if not data:
                    break
                got += data
        return got

    async def do_tcp_progress(self, number: int) -> tuple[int, int]:
        """(bytes swallowed as a sink, rounds done when busy)."""
        held = self.held[number]
        return held.bytes, held.rounds

    async def do_tcp_shutdown(self, number: int) -> None:
        self.held[number].sock.shutdown(socket.SHUT_WR)

    async def do_tcp_info(self, number: int) -> bytes:
        """struct tcp_info of linux/tcp.h."""
        return self.held[number].sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)

    async def do_close(self, number: int, reset: bool) -> None:
        held = self.held.pop(number)
        if held.task is not None:
            held.task.cancel()
            await asyncio.gather(held.task, return_exceptions=True)
        if reset:
            held.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        held.sock.close()

    # UDP and ping

    async def do_udp_bind(self, address: str, port: int, echo: bool, device: str | None) -> tuple[int, int]:
        sock = make(address, socket.SOCK_DGRAM, device=device)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(resolve(address, port))
        number = self.hold(sock)
        if echo:
            self.held[number].task = self.loop.create_task(self.udp_echo(self.held[number]))
        return number, sock.getsockname()[1]

    async def udp_echo(self, held: Held) -> None:
        while True:
            data, peer = await self.loop.sock_recvfrom(held.sock, 65536)
            await self.loop.sock_sendto(held.sock, data, peer)

    async def do_udp_connect(self, number: int, address: str, port: int) -> None:
        """From now on ICMP errors come back as this socket's errors."""
        self.held[number].sock.connect(resolve(address, port))

    async def do_udp_send(self, number: int, data: bytes, to: End | None) -> None:
        held = self.held[number]
        if to is None:
            held.sock.send(data)
        else:
            held.sock.sendto(data, resolve(*to))

    async def do_udp_recv(self, number: int, timeout_s: float) -> tuple[bytes, End]:
        async with asyncio.timeout(timeout_s):
            data, peer = await self.loop.sock_recvfrom(self.held[number].sock, 65536)
        return data, (peer[0], peer[1])

    async def do_ping(self, address: str, timeout_s: float, size: int, device: str | None) -> float:
        """Seconds until an echo request was answered. An ICMP error raises its OSError."""
        is_v6 = ":" in address
        protocol = socket.IPPROTO_ICMPV6 if is_v6 else socket.IPPROTO_ICMP
        with make(address, socket.SOCK_DGRAM, protocol, device) as sock:
            if is_v6:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            kind = ICMP6_ECHO_REQUEST if is_v6 else ICMP_ECHO_REQUEST
            began = self.loop.time()
            async with asyncio.timeout(timeout_s):
                await self.loop.sock_sendto(
                    sock, struct.pack("!BBHI", kind, 0, 0, 1) + bytes(size), resolve(address, 0)
                )
                await self.loop.sock_recv(sock, 65536)
            return self.loop.time() - began

    async def do_sysctl(self, settings: dict[str, str]) -> None:
        """Write below /proc/sys: the files show the writer's own namespace."""
        for name, value in settings.items():
            Path("/proc/sys", name).write_text(value)

    # Frames

    async def do_packet_open(self, interface: str) -> int:
        """A socket that sends and hears whole frames. Its buffer holds what nobody asked for yet."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.setblocking(False)
        sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        sock.bind((interface, ETH_P_ALL))
        self.drain(sock, [])  # what came between socket() and bind() was of any interface
        return self.hold(sock)

    async def do_packet_send(self, number: int, frames: list[bytes]) -> None:
        """Send frames. What a filter drops on the way out is not an error: its absence is what a test looks for."""
        for data in frames:
            try:
                await self.loop.sock_sendall(self.held[number].sock, data)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    async def do_packet_recv(self, number: int, timeout_s: float) -> list[tuple[bool, bytes]]:
        """The frames since the last call, as (sent by this host, bytes); waits for the first of them."""
        sock = self.held[number].sock
        frames: list[tuple[bool, bytes]] = []
        if not self.drain(sock, frames):
            ready = self.loop.create_future()
            self.loop.add_reader(sock, lambda: None if ready.done() else ready.set_result(None))
            try:
                async with asyncio.timeout(timeout_s):
                    await ready
                self.drain(sock, frames)
            except TimeoutError:
                pass
            finally:
                self.loop.remove_reader(sock)
        _packets, drops = struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if drops:
            raise OSError(f"the sniffer lost {drops} frames")
        return frames

    def drain(self, sock: socket.socket, frames: list[tuple[bool, bytes]]) -> bool:
        while True:
            try:
                data, extra, _flags, source = sock.recvmsg(1 << 18, 256)
            except BlockingIOError:
                return bool(frames)
            for level, kind, content in extra:
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    status, *_sizes, tci, tpid = AUXDATA.unpack(content[: AUXDATA.size])
                    if status & TP_STATUS_VLAN_VALID:  # the kernel took the tag out of the frame: put it back
                        tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                        data = data[:12] + struct.pack("!HH", tpid, tci) + data[12:]
            frames.append((source[2] == socket.PACKET_OUTGOING, data))


async def main() -> None:
    agent = Agent(Connection(int(sys.argv[1])))
    await agent.over


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
