# SPDX-License-Identifier: MIT
"""Packets on both CPUs at the same time: a process on each, which begin together and count what became of theirs."""

from __future__ import annotations

import json
import os
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable
from ctypes import c_uint64
from multiprocessing.sharedctypes import RawArray

from tests.packet.path import PASS, PacketPath

CPUS = sorted(os.sched_getaffinity(0))[:2]
SETTLE_S = 30  # a worker that has not begun or ended by then never will

AHEAD = 4  # packets

Work = Callable[[int], Counter[str]]


def context(path: PacketPath) -> bytes:
    """The beginning of a struct __sk_buff, of a packet at wan."""
    return bytes(40) + struct.pack("=I", path.ifindex["wan"])


def send(path: PacketPath, side: int, frame: bytes, ctx: bytes) -> bool:
    """Whether it passes. The opener's side, 0, arrives; the other one's leaves."""
    name = "fw_ingress" if side == 0 else "fw_egress"
    return path.programs[name].test_run(frame, ctx=ctx).retval == PASS


class Pace:
    """Keeps two workers within a few packets of each other: neither is done before the other has begun."""

    def __init__(self) -> None:
        self._sent = RawArray(c_uint64, len(CPUS))

    def step(self, worker: int) -> None:
        """It has sent one more."""
        self._sent[worker] += 1
        last, deadline = -1, 0.0
        while self._sent[worker] > self._sent[1 - worker] + AHEAD:
            if self._sent[1 - worker] != last:
                last, deadline = self._sent[1 - worker], time.monotonic() + SETTLE_S
            elif time.monotonic() > deadline:
                raise TimeoutError("the other CPU sends nothing")


def on_both(work: Work, meanwhile: Callable[[], object] | None = None) -> list[Counter[str]]:
    """What `work` counts on each CPU, by the number that it gets, while this process does something again and again."""
    begun = RawArray("B", len(CPUS))
    pipes, children = [], []
    for worker, cpu in enumerate(CPUS):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                os.sched_setaffinity(0, {cpu})
                begun[worker] = 1
                deadline = time.monotonic() + SETTLE_S
                while not all(begun):
                    if time.monotonic() > deadline:
                        raise TimeoutError("the other CPU has not begun")
                os.write(write, json.dumps(work(worker)).encode())
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(write)
        pipes.append(read)
        children.append(child)
    try:
        look = os.WEXITED | os.WNOWAIT
        while meanwhile and not all(os.waitid(os.P_PID, child, look | os.WNOHANG) for child in children):
            meanwhile()
        for child in children:
            os.waitid(os.P_PID, child, look)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    found = []
    for read in pipes:
        with os.fdopen(read, "rb") as pipe:
            found.append(Counter(json.load(pipe)))
    return found
