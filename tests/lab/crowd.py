# SPDX-License-Identifier: MIT
"""Many TCP connections that are open at once, of which each can be asked whether it still lives.

crowd.py serve ADDRESS PORT...         echoes on each port, until its standard input ends
crowd.py hold ADDRESS COUNT PORT...    opens COUNT connections to each port; for each line of its standard input
                                       it says something by all of them, and how many were answered
"""

from __future__ import annotations

import resource
import select
import socket
import sys
import time

PATIENCE_S = 30


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address: str, ports: list[int]) -> None:
    poll = select.epoll()
    listeners, held = {}, {}
    for port in ports:
        listener = socket.create_server((address, port), family=family(address), backlog=4096)
        listeners[listener.fileno()] = listener
        poll.register(listener, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    print("ready", flush=True)
    while True:
        for number, _ in poll.poll():
            if number == sys.stdin.fileno():
                return
            if number in listeners:
                accepted, _ = listeners[number].accept()
                held[accepted.fileno()] = accepted
                poll.register(accepted, select.EPOLLIN)
            elif data := held[number].recv(64):
                held[number].send(data)
            else:
                held.pop(number).close()


def hold(address: str, count: int, ports: list[int]) -> None:
    held = [
        socket.create_connection((address, port), timeout=PATIENCE_S) for port in ports for _ in range(count)
    ]
    print(len(held), flush=True)
    for number, _ in enumerate(sys.stdin):
        said = number.to_bytes(4, "big")
        for one in held:
            one.send(said)
        deadline = time.monotonic() + PATIENCE_S
        answered = 0
        for one in held:
            one.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                answered += one.recv(64) == said
            except (TimeoutError, ConnectionError):
                continue
        print(answered, flush=True)


most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
if sys.argv[1] == "serve":
    serve(sys.argv[2], [int(port) for port in sys.argv[3:]])
else:
    hold(sys.argv[2], int(sys.argv[3]), [int(port) for port in sys.argv[4:]])
