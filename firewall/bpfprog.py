# SPDX-License-Identifier: MIT
"""Loaded BPF programs and the links that attach them.

Struct offsets in this file are those of include/uapi/linux/bpf.h, which never change.
"""

import errno
import os
import struct
from typing import NamedTuple

from firewall.bindings import libbpf
from firewall.bpfmap import Owned
from firewall.errors import FwError

SCHED_CLS = 3  # enum bpf_prog_type
TCX_INGRESS, TCX_EGRESS = 46, 47  # enum bpf_attach_type

libbpf_version = libbpf.version


class TestRun(NamedTuple):
    """What a program did with a packet."""

    retval: int
    data_out: bytes
    duration_ns: int  # average of a repetition
    ctx_out: bytes


class Program(Owned):
    """A loaded BPF program. `name` has at most 15 characters: the kernel keeps no more."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        info = libbpf.object_info(fd, 80)
        self.type, self.id = struct.unpack_from("=2I", info, 0)
        self.tag = info[8:16].hex()
        self.jited: bool = struct.unpack_from("=I", info, 16)[0] > 0
        self._map_count = struct.unpack_from("=I", info, 52)[0]
        self.name = info[64:80].split(b"\0")[0].decode()

    @property
    def map_ids(self) -> tuple[int, ...]:
        """Ids of the maps that it uses."""
        return libbpf.program_map_ids(self.fd, self._map_count)

    def test_run(
        self,
        data: bytes,
        *,
        ctx: bytes | None = None,
        repeat: int = 1,
        data_out_size: int | None = None,
        ctx_out_size: int = 0,
    ) -> TestRun:
        """Run it on a packet (BPF_PROG_TEST_RUN). `ctx` is a struct __sk_buff or its beginning.

        The packet may grow to `data_out_size` bytes, or by 512; more than that is an error, ENOSPC. To have the
        context back, give room for a whole struct __sk_buff: a `ctx_out_size` of 256.
        """
        room = len(data) + 512 if data_out_size is None else data_out_size
        return TestRun(*libbpf.program_test_run(self.fd, data, ctx, repeat, room, ctx_out_size))


class LinkInfo(NamedTuple):
    """What a TCX link connects."""

    id: int
    prog_id: int
    ifindex: int  # 0: the interface has gone
    attach_type: int  # TCX_INGRESS or TCX_EGRESS


class Link(Owned):
    """A program's attachment. It ends when its last descriptor closes, unless it is pinned."""

    def info(self) -> LinkInfo:
        """The state of it now."""
        _, number, program, _, ifindex, attach_type = struct.unpack("=6I", libbpf.object_info(self.fd, 24))
        return LinkInfo(number, program, ifindex, attach_type)

    def update(self, program: Program) -> None:
        """Put another program in its place, between two packets. ENOLINK: the device has gone."""
        libbpf.link_update(self.fd, program.fd)

    def detach(self) -> None:
        """End it now, pinned or not."""
        libbpf.link_detach(self.fd)


def open_pinned_program(path: str | os.PathLike[str]) -> Program:
    """The program that is pinned there; NotLoaded when nothing is."""
    return Program(libbpf.open_pin(os.fspath(path)))


def program_by_id(number: int) -> Program:
    """The program with this id; KernelRefused with errno ENOENT when it has gone."""
    return Program(libbpf.program_by_id(number))


def load_program(instructions: bytes, name: str) -> Program:
    """A TC classifier of raw instructions, 8 bytes each."""
    return Program(libbpf.program_load(SCHED_CLS, name, instructions))


def open_pinned_link(path: str | os.PathLike[str]) -> Link:
    """The link that is pinned there; NotLoaded when nothing is."""
    return Link(libbpf.open_pin(os.fspath(path)))


def link_create_tcx(program: Program, ifindex: int, ingress: bool, before_all: bool = True) -> Link:
    """Attach by TCX (kernel 6.6), before or after the programs that are there."""
    return Link(libbpf.link_create(program.fd, ifindex, TCX_INGRESS if ingress else TCX_EGRESS, before_all))


def tcx_programs(ifindex: int, ingress: bool) -> tuple[int, ...]:
    """Ids of the programs attached by TCX, in running order; none without TCX, or without the interface."""
    try:
        return libbpf.program_query(ifindex, TCX_INGRESS if ingress else TCX_EGRESS)
    except FwError as error:
        if error.errno in (errno.EINVAL, errno.ENODEV):
            return ()
        raise


def has_tcx() -> bool:
    """Whether the kernel knows TCX: it can tell what is attached to the loopback, whose ifindex is always 1."""
    try:
        libbpf.program_query(1, TCX_INGRESS)
    except FwError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True
