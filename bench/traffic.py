# SPDX-License-Identifier: MIT
"""The packets that are measured, and what makes them: the programs of harness.bpf.c.

All are acknowledgements in established TCP connections to one server, each from a client of its own:

    198.18.0.0 + n, port 1024 + n % 16384  ── wan  this host  lan ──  10.0.0.2, port 443
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_uint32
from pathlib import Path
from typing import Self

from firewall.bindings import libbpf
from firewall.bpfobject import Object
from firewall.bpfprog import Link, Program
from firewall.errors import FwError, KernelLacks
from tests.packet.path import PASS
from tests.packets import MAC_A, MAC_B, eth, ip, tcp

SERVER, SERVER_PORT = "10.0.0.2", 443
FIRST_CLIENT, FLOWS_MAX = 0xC6120000, 1 << 17  # as in harness.bpf.c
SYN, ANSWER, ACK = range(3)  # of the handshake

_FIRST_PORT, _PORTS = 1024, 16384  # as in harness.bpf.c
_SOURCE = Path(__file__).with_name("harness.bpf.c")
_BUILD = Path(__file__).resolve().parents[1] / "build"
_FLAGS = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-std=gnu11", "-Wall", "-Werror")
_BPF_F_TEST_XDP_LIVE_FRAMES = 1 << 1  # include/uapi/linux/bpf.h
_BPF_XDP = 37  # enum bpf_attach_type
_SIOCGIFHWADDR = 0x8927
_BATCH = 64  # frames that the stack is handed at a time, as a driver's poll would


def client(n: int) -> tuple[int, int]:
    """Address and port of a connection's opener."""
    return FIRST_CLIENT + n, _FIRST_PORT + n % _PORTS


def frame(n: int, step: int = ACK, gateway: str = MAC_B) -> bytes:
    """A packet of connection n: one of its handshake, of which the last may come again and again."""
    address, port = client(n)
    theirs = socket.inet_ntoa(address.to_bytes(4, "big"))
    if step == ANSWER:
        answer = tcp(SERVER_PORT, port, "SA", seq=900, ack=101)
        return eth(ip(SERVER, theirs, answer), src=MAC_A, dst=gateway)
    segment = tcp(
        port, SERVER_PORT, "A" if step == ACK else "S", seq=100 + (step == ACK), ack=901 * (step == ACK)
    )
    return eth(ip(theirs, SERVER, segment), src=MAC_A, dst=gateway)


def hardware_address(interface: str) -> bytes:
    """The interface's own address on its link."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16s24x", interface.encode())
        return fcntl.ioctl(any_socket, _SIOCGIFHWADDR, request)[18:24]


def on_interface(ifindex: int) -> bytes:
    """The beginning of a struct __sk_buff that has come by an interface."""
    return struct.pack("=40xI", ifindex)


def cpu_ns(work: Callable[[], object]) -> int:
    """Processor time that a call takes; what runs in between on this processor is not in it."""
    before = time.thread_time_ns()
    work()
    return time.thread_time_ns() - before


class Harness:
    """The programs of harness.bpf.c, which spread packets over `flows` connections. Inside a namespace.

    With 0 flows each packet is the SYN of a connection that has never been.
    """

    def __init__(self, flows: int) -> None:
        self._gateway = hardware_address("wan")
        self._template = frame(0, ACK if flows else SYN, self._gateway.hex(":"))
        with Object.open(_compiled()) as file:
            head = struct.unpack_from("=10H", self._template, 14)
            file.set_rodata(
                {"flows": flows, "header_sum": sum(head[:5]) + sum(head[8:]), "gateway": self._gateway}
            )
            file.load()
            self.empty, self.lookup = file.programs["empty"], file.programs["lookup"]
            self._shuffle, self._inject = file.programs["shuffle"], file.programs["inject"]
            self._next, self._table = file.maps["next"], file.maps["table"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for owned in (self.empty, self.lookup, self._shuffle, self._inject, self._next, self._table):
            owned.close()

    def know(self, keys: Iterable[bytes]) -> None:
        """Fill the table in which `lookup` looks with the keys of fw's flows."""
        value = bytes(self._table.value_size)
        self._table.update_batch((key, value) for key in keys)
        if self.lookup.test_run(frame(0)).retval != PASS:
            raise FwError("flow keys are made otherwise than the benchmark knows")

    def alone_ns(self, program: Program, packets: int, on: int) -> float:
        """Time that a program takes for a packet of connection 0 that comes by interface `on`."""
        packet, ctx = frame(0), on_interface(on)
        return cpu_ns(lambda: program.test_run(packet, ctx=ctx, repeat=packets)) / packets

    def shuffled_ns(self, program: Program, packets: int, on: int) -> float:
        """The same for packets of connections at random; choosing them is in it."""
        self._next.update(bytes(4), struct.pack("=I", program.fd))
        return self.alone_ns(self._shuffle, packets, on)

    @contextmanager
    def taking_frames(self, on: int) -> Iterator[None]:
        """Meanwhile an interface takes frames from any harness: it must have a program at XDP for that."""
        with Link(libbpf.link_create(self._inject.fd, on, _BPF_XDP, False)):
            yield

    def forwarded_ns(self, packets: int, on: int) -> float:
        """Time that the host takes to receive and forward a packet that comes by interface `on`."""
        return cpu_ns(lambda: self._receive(packets, on)) / packets

    def _receive(self, packets: int, on: int) -> None:
        data = self._template
        ctx = struct.pack("=6I", 0, len(data), 0, on, 0, 0)  # struct xdp_md
        options = _LiveOptions(
            data_in=data,
            data_size_in=len(data),
            ctx_in=ctx,
            ctx_size_in=len(ctx),
            repeat=packets,
            flags=_BPF_F_TEST_XDP_LIVE_FRAMES,
            batch_size=_BATCH,
        )
        result = libbpf.functions().bpf_prog_test_run_opts(self._inject.fd, byref(options))
        try:
            libbpf.done(result, "inject frames")
        except FwError as error:
            raise KernelLacks(f"{error}; live frames came with Linux 5.18") from error


class _LiveOptions(libbpf.TestRunOptions):
    """struct bpf_test_run_opts of libbpf 0.8, all of it."""

    _fields_ = (("cpu", c_uint32), ("batch_size", c_uint32))  # type: ignore[assignment]  # after the base's


def _compiled() -> Path:
    """The object of harness.bpf.c, made if there is none of this source."""
    made = _BUILD / "bench.bpf.o"
    if made.exists() and made.stat().st_mtime >= _SOURCE.stat().st_mtime:
        return made
    if shutil.which("clang") is None:
        raise FwError("clang is missing", "run `make setup`")
    fresh = made.with_suffix(f".{os.getpid()}")
    include = f"/usr/include/{os.uname().machine}-linux-gnu"
    words = ("clang", *_FLAGS, "-idirafter", include, "-c", str(_SOURCE), "-o", str(fresh))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FwError(f"clang refuses {_SOURCE}: {done.stderr.strip()}")
    fresh.rename(made)
    return made
