# SPDX-License-Identifier: MIT
"""What stack the programs of an object need along each way of calls, as kernels count it whose limits are narrowest."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

STACK_BYTES, CALLS = 512, 8
"""MAX_BPF_STACK and MAX_CALL_FRAMES of include/linux/."""
_ROUNDED = 32
"""Bytes; a frame is rounded up, in check_max_stack_depth of kernel/bpf/verifier.c. Recent kernels round to less."""

_SECTION = re.compile(r"^Disassembly of section (\S+):")
_FUNCTION = re.compile(r"^([0-9a-f]+) <(?!LBB)(\S+)>:")
_FRAME = re.compile(r"r10 - (0x[0-9a-f]+|\d+)")
_STACK_POINTER = re.compile(r"(r\d+) = r10$")
_BELOW = re.compile(r"(r\d+) \+= -(0x[0-9a-f]+|\d+)")
_SET = re.compile(r":\s+(r\d+) = ")
_CALL = re.compile(r"\bcall (-?\w+)")
_CALLED = re.compile(r"R_BPF_64_32\s+(\S+)")


class Way(NamedTuple):
    """Calls from a program down, and the bytes of their frames together."""

    bytes: int
    calls: tuple[str, ...]


def deepest(file: Path) -> tuple[Way, Way]:
    """Of all ways through an object the one with the most bytes, and the one with the most calls."""
    frames, called = _functions(file)

    def ways(name: str) -> list[Way]:
        own = -(-max(frames[name], 1) // _ROUNDED) * _ROUNDED
        below = [way for callee in called[name] for way in ways(callee)] or [Way(0, ())]
        return [Way(own + way.bytes, (name, *way.calls)) for way in below]

    every = [way for name in frames for way in ways(name)]
    return max(every), max(every, key=lambda way: len(way.calls))


def _functions(file: Path) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Of each function the bytes of its frame and the functions that it calls, from the disassembly."""
    words = ["llvm-objdump", "-d", "-r", "--no-show-raw-insn", str(file)]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    frames: dict[str, int] = {}
    calls: dict[str, list[str]] = {}
    offsets: dict[int, str] = {}
    pointers: set[str] = set()  # registers that hold the frame's end
    section = name = target = ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section = found[1]
        elif found := _FUNCTION.match(line):
            name = found[2]
            frames[name], calls[name] = 0, []
            pointers.clear()
            if section == ".text":
                offsets[int(found[1], 16)] = name
        elif name:
            depths = _FRAME.findall(line)
            depths += [depth for register, depth in _BELOW.findall(line) if register in pointers]
            if found := _SET.search(line):
                pointers.discard(found[1])
            if found := _STACK_POINTER.search(line):
                pointers.add(found[1])
            frames[name] = max(frames[name], *(int(depth, 0) for depth in depths), 0)
            if (found := _CALLED.search(line)) and target:
                # a static function is called by its place in the section, in instructions and from the next one on
                calls[name].append(target if found[1] == ".text" else found[1])
            target = found[1] if (found := _CALL.search(line)) else ""
    named = {
        caller: {offsets[(int(to, 0) + 1) * 8] if to not in frames else to for to in callees}
        for caller, callees in calls.items()
    }
    return frames, named
