# SPDX-License-Identifier: MIT
"""Many conversations at once, and what became of each: a script for the hosts of test_import.py.

`attempt SECONDS` reads a list of [protocol, source, source port, target, port, DSCP, mark, user], where the source port
of `icmp` is the identifier of an echo request, and prints what each came to: "answered", the name of the error that
the system reports, or "silence" where nothing has come for so long. `serve PORT...` gives the answers.
"""

import contextlib
import errno
import json
import os
import select
import socket
import sys
import time
from typing import Any

IP_RECVERR, IPV6_RECVERR = 11, 25  # ip(7), ipv6(7): errors that are no certain end are reported too
ECHO = {socket.AF_INET: bytes([8]) + bytes(7), socket.AF_INET6: bytes([128]) + bytes(7)}


def begin(proto: str, source: str, sport: int, dscp: int, mark: int, user: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    icmp = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    if user:
        os.seteuid(user)  # whose socket it is counts from when it was made
    sock = socket.socket(family, kind, icmp if proto == "icmp" else 0)
    if user:
        os.seteuid(0)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    if proto != "tcp" and family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    elif proto != "tcp":
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    sock.bind((source, sport))
    return sock


def outcome(sock: socket.socket) -> str:
    err = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode[err] if err else "answered"


def attempt(wanted: list[Any], silence_s: float) -> list[str]:
    results = ["silence"] * len(wanted)
    waiting: dict[int, int] = {}
    socks = []
    poll = select.poll()
    for number, (proto, source, sport, target, port, dscp, mark, user) in enumerate(wanted):
        sock = begin(proto, source, sport, dscp, mark, user)
        socks.append(sock)
        err = sock.connect_ex((target, port))
        if err not in (0, errno.EINPROGRESS):
            results[number] = errno.errorcode[err]
            continue
        if proto != "tcp":
            # The sender is told right here of what is dropped: EPERM by netfilter, ENOBUFS at TC. An answer, such as
            # that of a `reject`, is waited for all the same, and may be here already.
            try:
                sock.send(ECHO[sock.family] if proto == "icmp" else b"?")
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOBUFS):
                    results[number] = errno.errorcode[error.errno or 0]
                    continue
        waiting[sock.fileno()] = number
        poll.register(sock, select.POLLOUT if proto == "tcp" else select.POLLIN)
    end = time.monotonic() + silence_s
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
                with contextlib.suppress(OSError):  # what refuses an answer tells its sender
                    socks[fd].sendto(data, end)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve([int(port) for port in sys.argv[2:]])
    else:
        print(json.dumps(attempt(json.load(sys.stdin), float(sys.argv[2]))))
