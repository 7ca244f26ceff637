# SPDX-License-Identifier: MIT
"""How far the verifier walks through all programs: far from where it gives up, and short enough to load quickly."""

from __future__ import annotations

import ctypes
import os
import re

import pytest

from firewall.bindings import libbpf
from firewall.bpfobject import Object
from firewall.clock import hz
from tests.packet.path import OBJECT
from tests.vm.check import RECORD, VERIFIED
from tests.vm.kernels import SUITES

BOUND = 75_000
"""Instructions a program: the kernel refuses at 1,000,000, and each 1,000 take over a millisecond of a load."""
APART = 0.1
"""How far a count may be from what the record says of that kernel: compilers differ by less."""
_STATISTICS = 4  # BPF_LOG_STATS in tools/lib/bpf of the kernel's sources, since Linux 5.2
_ROOM = 1 << 16
PROGRAMS = ("fw_ingress", "fw_egress", "fw_request")


def walked(scratch: int) -> dict[str, int]:
    """Instructions of each program, from the verifier's log: before 5.16 the kernel tells them nowhere else."""
    lib = libbpf.functions()
    lib.bpf_program__set_log_buf.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    lib.bpf_program__set_log_level.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    logs = {name: ctypes.create_string_buffer(_ROOM) for name in PROGRAMS}
    with Object.open(OBJECT) as opened:
        opened.set_rodata({"hz": hz(), "answer_mark": 1, "env_from_map": scratch})
        for name, log in logs.items():
            assert lib.bpf_program__set_log_buf(opened._programs[name], log, _ROOM) == 0
            assert lib.bpf_program__set_log_level(opened._programs[name], _STATISTICS) == 0
        opened._load()
    counts = {name: re.search(rb"processed (\d+) insns", log.value) for name, log in logs.items()}
    return {name: int(count[1]) for name, count in counts.items() if count}


def recorded(series: str) -> list[int] | None:
    """The counts that the record has for a kernel."""
    row = re.search(rf"^ *\| {re.escape(series)} ((?:\| [\d,]+ )+)\|$", RECORD.read_text(), re.MULTILINE)
    return [int(count.replace(",", "")) for count in row[1].split("|")[1:]] if row else None


@pytest.mark.parametrize("series", SUITES)
def test_the_record_speaks_of_each_kernel_that_is_tested(series: str) -> None:
    assert recorded(series)


@pytest.mark.parametrize("scratch", [0, 1], ids=["live", "scratch"])
def test_few_instructions_are_walked(scratch: int) -> None:
    counts = walked(scratch)
    assert set(counts) == set(PROGRAMS)
    assert all(0 < count < BOUND for count in counts.values()), counts


def test_the_record_is_true(capsys: pytest.CaptureFixture[str]) -> None:
    counts = list(walked(0).values())
    series = ".".join(os.uname().release.split(".")[:2])
    with capsys.disabled():
        print(f"\n{VERIFIED}{', '.join(f'{n} {count:,}' for n, count in zip(PROGRAMS, counts, strict=True))}")
    record = recorded(series)
    if record is None:
        pytest.skip(f"{RECORD.name} does not speak of Linux {series}")
    true = f"| {series} | " + " | ".join(f"{count:,}" for count in counts) + " |"
    near = [abs(count - said) <= said * APART for count, said in zip(counts, record, strict=True)]
    assert all(near), f"{RECORD.name} says otherwise; if that is meant, write there: {true}"
