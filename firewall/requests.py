# SPDX-License-Identifier: MIT
"""Changes of the flow tables from user space.

The packet path makes them, when the program `fw_request` is run: what it keeps beside the tables (places, counts of
sources) is true only if every change goes by it. One process at a time may ask: whoever holds the lock.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from firewall import abi
from firewall.bpfmap import Map
from firewall.bpfprog import Program
from firewall.pins import REQUEST, Pins, offset_of

_OP, _ANSWER = offset_of(abi.Request, "op"), offset_of(abi.Request, "answer")
_ANSWERS = (abi.Answer.ANSWER_DONE, abi.Answer.ANSWER_KNOWN, abi.Answer.ANSWER_REFUSED)
_FRAME = bytes(14)  # the shortest that a program can be run on


class Answers(NamedTuple):
    """What became of flows that were to be added: in the table, there already, or no place left."""

    done: int
    known: int
    refused: int


class Requests:
    """Asks a program, by the map `requests` that it uses. Use it as a context manager."""

    def __init__(self, requests: Map, program: Program) -> None:
        self._memory = requests.mmap()
        self._program = program

    def add(self, flows: Iterable[tuple[bytes, bytes]], confirmed: bool = True) -> int:
        """Flows with these keys and values; how many there was a place for, and none such before."""
        return self.place(flows, confirmed).done

    def place(self, flows: Iterable[tuple[bytes, bytes]], confirmed: bool) -> Answers:
        """As `add`, and what became of the others."""
        op = abi.RequestOp.REQUEST_ADD if confirmed else abi.RequestOp.REQUEST_ADD_EMBRYONIC
        return self._ask(op, (key + value for key, value in flows))

    def delete(self, keys: Iterable[bytes]) -> int:
        """No flows with these keys; how many there were."""
        return self._ask(abi.RequestOp.REQUEST_DELETE, keys).done

    def _ask(self, op: int, bodies: Iterable[bytes]) -> Answers:
        memory, stride, rest = self._memory, self._memory.stride, iter(bodies)
        answers: Counter[int] = Counter()
        head = op.to_bytes(4, sys.byteorder) + abi.Answer.ANSWER_REFUSED.to_bytes(4, sys.byteorder)
        while chunk := list(islice(rest, abi.Limits.REQUESTS_MAX)):
            for i, body in enumerate(chunk):
                memory.write(i * stride, head + body)
            if len(chunk) < abi.Limits.REQUESTS_MAX:
                memory.store_u32(len(chunk) * stride + _OP, abi.RequestOp.REQUEST_NONE)
            self._program.test_run(_FRAME)
            answers.update(memory.load_u32(i * stride + _ANSWER) for i in range(len(chunk)))
        return Answers(*(answers[one] for one in _ANSWERS))

    def close(self) -> None:
        """Give up the memory; the program is the caller's."""
        self._memory.close()

    def __enter__(self) -> "Requests":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def requests_of(pins: Pins) -> Iterator[Requests]:
    """Asks the program that is pinned."""
    with pins.program(REQUEST) as program, Requests(pins.map("requests"), program) as requests:
        yield requests
