# SPDX-License-Identifier: MIT
"""One end of the traffic while rulesets are swapped, or who swaps them.

    swapper.py serve ADDRESS ECHO SILENT...    echoes on port ECHO; counts what comes to the ports SILENT
    swapper.py ask CPU ADDRESS ECHO SILENT...  sends to a silent port, then asks, one question after the other
    swapper.py swap COUNT FILE FILE            puts two policies in force in turns

The first two go on until their standard input ends, and then print what they counted.
"""

from __future__ import annotations

import os
import random
import select
import socket
import sys
from pathlib import Path

PATIENCE_S = 10


def opened(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM)


def ended() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def serve(address: str, echo: int, silent: list[int]) -> None:
    leaks = 0
    bound = {port: opened(address) for port in (echo, *silent)}
    for port, one in bound.items():
        one.bind((address, port))
    print("ready", flush=True)
    while not ended():
        for one in select.select([*bound.values()], [], [], 0.1)[0]:
            data, peer = one.recvfrom(64)
            if one is bound[echo]:
                one.sendto(data, peer)
            else:
                leaks += 1
    print(leaks)


def ask(cpu: int, address: str, echo: int, silent: list[int]) -> None:
    """Each second question opens a flow of its own; the others belong to one that goes on."""
    os.sched_setaffinity(0, {cpu % (os.cpu_count() or 1)})
    lasting = opened(address)
    asked = unanswered = 0
    while not ended():
        fresh = opened(address)
        for one in (fresh, lasting):
            one.sendto(b"silent", (address, random.choice(silent)))
            number = asked.to_bytes(8, "big")
            one.sendto(number, (address, echo))
            asked += 1
            one.settimeout(PATIENCE_S)
            try:
                while one.recv(64) != number:
                    pass
            except TimeoutError:
                unanswered += 1
        fresh.close()
    print(asked, unanswered)


def swap(count: int, files: list[str]) -> None:
    from firewall import engine
    from firewall.written import Written

    os.nice(-10)  # else each swap waits until the traffic has had its turn
    policies = [Written(Path(file).read_text()) for file in files]
    for i in range(count):
        engine.apply(policies[i % 2], runtime=True, yes=True)
    print(count)


def main(words: list[str]) -> None:
    if words[0] == "serve":
        serve(words[1], int(words[2]), [int(port) for port in words[3:]])
    elif words[0] == "ask":
        ask(int(words[1]), words[2], int(words[3]), [int(port) for port in words[4:]])
    else:
        swap(int(words[1]), words[2:])


main(sys.argv[1:])
