# SPDX-License-Identifier: MIT
"""Many connections at once, and what became of each: a script for the hosts of the lab.

It reads a list of [protocol, source, destination, port] and prints what each came to: "answered", the name of the error
that the system reports, or "silence" where nothing has come for a while. Services that answer are given by `serve`.
"""

import contextlib
import errno
import json
import select
import socket
import sys
import time
from typing import Any

SILENCE_S = 1.6  # longer than until the first retransmission of a SYN


def begin(proto: str, source: str, target: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((source, 0))
    return sock


def outcome(sock: socket.socket) -> str:
    err = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode[err] if err else "answered"


def attempt(wanted: list[Any]) -> list[str]:
    results = ["silence"] * len(wanted)
    waiting: dict[int, int] = {}
    socks = []
    poll = select.poll()
    for number, (proto, source, target, port) in enumerate(wanted):
        sock = begin(proto, source, target, port)
        socks.append(sock)
        try:
            err = sock.connect_ex((target, port))
            if err not in (0, errno.EINPROGRESS):
                raise OSError(err, "connect")
            if proto == "udp":
                # Netfilter tells the sender of what it drops right here; an answer is waited for all the same.
                with contextlib.suppress(PermissionError):
                    sock.send(b"?")
        except OSError as error:
            results[number] = errno.errorcode[error.errno or 0]
            continue
        waiting[sock.fileno()] = number
        poll.register(sock, select.POLLOUT if proto == "tcp" else select.POLLIN)
    end = time.monotonic() + SILENCE_S
    while waiting and (left := end - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            number = waiting.pop(fd)
            results[number] = outcome(socks[number])
            poll.unregister(fd)
    return results


def serve(ports: list[int]) -> None:
    """Accepts and echoes on all ports until it is killed; says when it is ready."""
    poll = select.poll()
    socks: dict[int, socket.socket] = {}
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            sock = socket.socket(socket.AF_INET6, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                sock.listen(512)
            socks[sock.fileno()] = sock
            poll.register(sock, select.POLLIN)
    print("ready", flush=True)
    while True:
        for fd, _ in poll.poll():
            if socks[fd].type == socket.SOCK_STREAM:
                socks[fd].accept()[0].close()
            else:
                data, end = socks[fd].recvfrom(100)
                socks[fd].sendto(data, end)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve([int(port) for port in sys.argv[2:]])
    else:
        print(json.dumps(attempt(json.load(sys.stdin))))
