# SPDX-License-Identifier: MIT
"""An object file of BPF programs: open, adjust, load."""

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from firewall.beside import Beside
from firewall.bindings import libbpf, libbpf_object
from firewall.bpfmap import Map
from firewall.bpfprog import Program
from firewall.errors import FwError, KernelRefused, fault


class VerifierRefused(KernelRefused):
    """The kernel's verifier refused a program. `log` is all that it said."""

    log = ""


class Object:
    """A BPF object file. What is taken from `maps` and `programs` outlives it.

    Names are those of the source, in full; data sections are maps named ".rodata", ".data", ".bss".
    """

    def __init__(self, handle: libbpf.Handle, path: str) -> None:
        self._handle = handle
        self._path = path
        self._programs = dict(libbpf_object.programs(handle))
        self._maps = dict(libbpf_object.maps(handle))
        self._left_out: set[str] = set()
        self.programs: dict[str, Program] = {}  # after load: those loaded
        self.maps: dict[str, Map] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str], name: str | None = None) -> Self:
        """Read the file. Nothing is in the kernel before `load`."""
        file = os.fspath(path)
        return cls(libbpf_object.open_file(file, name), file)

    @property
    def map_names(self) -> list[str]:
        """All maps of the file."""
        return list(self._maps)

    def _named(self, what: str, known: dict[str, libbpf.Handle], name: str) -> libbpf.Handle:
        if name not in known:
            raise FwError(
                f"{self._path} has no {what} {name}", "the program and the object are of different builds"
            )
        return known[name]

    def set_rodata(self, values: Mapping[str, int | bytes]) -> None:
        """Set `const volatile` variables before loading; an int takes its variable's size, in host order."""
        missing = dict(values)
        for section in [name for name in self._maps if name.startswith(".rodata")]:
            data = bytearray(libbpf_object.initial_value(self._maps[section]))
            for name, (offset, size) in libbpf_object.datasec_variables(self._handle, section).items():
                if name in missing:
                    data[offset : offset + size] = _encoded(name, missing.pop(name), size)
            libbpf_object.set_initial_value(self._maps[section], bytes(data))
        for name in missing:
            self._named("constant", {}, name)

    def resize(self, map_name: str, max_entries: int) -> None:
        """Give a map another size, before loading."""
        libbpf_object.set_max_entries(self._named("map", self._maps, map_name), max_entries)

    def reuse(self, map_name: str, existing: Map) -> None:
        """Use an existing map instead of making one; it must be of the same shape."""
        libbpf_object.reuse_fd(self._named("map", self._maps, map_name), existing.fd)

    def set_autoload(self, program_name: str, load: bool) -> None:
        """Say whether `load` loads a program."""
        self._named("program", self._programs, program_name)
        (self._left_out.discard if load else self._left_out.add)(program_name)

    def load(self) -> None:
        """Create the maps and load the programs, all or none. VerifierRefused tells why one was refused."""
        with self.loading():
            pass

    @contextmanager
    def loading(self, first: str | None = None) -> Iterator[None]:
        """Create the maps, then load the programs beside the block; `programs` has them after it, `first` in it too.

        The kernel verifies a program in the call that loads it, which takes longer than all the rest of a command:
        so each is loaded by a thread of its own, from a copy of the object that has the same maps.
        """
        for handle in self._programs.values():
            libbpf_object.set_autoload(handle, False)
        self._load()
        for name, handle in self._maps.items():
            fd = libbpf_object.map_fd(handle)
            if fd >= 0:
                self.maps[name] = Map(os.dup(fd))
        loaded: dict[str, Program] = {}
        with ExitStack() as beside:
            for name in self._programs:
                if name not in self._left_out and name != first:
                    beside.enter_context(Beside(partial(self._load_one, name, loaded)))
            if first is not None:
                self._load_one(first, loaded)
                self.programs = {first: loaded[first]}
            yield
        self.programs = {name: loaded[name] for name in self._programs if name in loaded}

    def _load_one(self, program_name: str, loaded: dict[str, Program]) -> None:
        with type(self).open(self._path) as copy:
            for name, handle in copy._programs.items():
                libbpf_object.set_autoload(handle, name == program_name)
            for name, each in self.maps.items():
                copy.reuse(name, each)
            copy._load()
            loaded[program_name] = Program(os.dup(libbpf_object.program_fd(copy._programs[program_name])))

    def _load(self) -> None:
        err = libbpf_object.load(self._handle)
        if err:
            raise self._explained(err, "".join(libbpf.messages.lines))

    def _explained(self, err: int, said: str) -> FwError:
        """What `load` failed of: the verifier's last useful line, or libbpf's."""
        program = _between(said, "prog '", "': BPF program load failed")
        # libbpf repeats the name of the program before its log.
        log = _between(said, "-- BEGIN PROG LOAD LOG --\n", "-- END PROG LOAD LOG --")
        if program and log:
            refused = VerifierRefused(
                f"the kernel refused program {program}: {verdict(log)}",
                "this is an error in fw or in the kernel: please report it with the output of 'fw doctor'",
            )
            refused.log, refused.errno = log, err
            return refused
        lines = [line.removeprefix("libbpf: ") for line in said.splitlines() if line.strip()]
        first = next((line for line in lines if "failed" in line or "not " in line), "")
        if err in (errno.EPERM, errno.EACCES) or not first:
            return fault(err, f"load {self._path}")
        return fault(err, f"load {self._path} ({first})")

    def close(self) -> None:
        """Free what libbpf holds."""
        if self._handle:
            libbpf_object.close(self._handle)
            self._handle = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def _encoded(name: str, value: int | bytes, size: int) -> bytes:
    try:
        data = value if isinstance(value, bytes) else value.to_bytes(size, sys.byteorder, signed=value < 0)
    except OverflowError:
        data = b""
    if len(data) != size:
        raise ValueError(f"{name} is {size} bytes, which {value!r} does not fit")
    return data


def _between(text: str, before: str, after: str) -> str:
    start = text.find(before)
    end = text.find(after, start)
    return text[start + len(before) : end] if start >= 0 and end >= 0 else ""


def verdict(log: str) -> str:
    """The line of a verifier log that says what was wrong: the last, but for statistics."""
    statistics = ("processed ", "verification time", "stack depth", "max_states", "mark_precise")
    lines = [line.strip() for line in log.splitlines()]
    useful = [line for line in lines if line and not line.startswith(statistics)]
    return useful[-1] if useful else "no reason given"
