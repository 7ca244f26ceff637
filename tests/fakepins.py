# SPDX-License-Identifier: MIT
"""Pins without a kernel: maps that are dictionaries, for what only reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from firewall import abi
from firewall.clock import hz
from firewall.options import OPTIONS, effective
from firewall.pins import Pins

GENERATION = 5


class FakeMap:
    """What a reader asks of `bpfmap.Map`."""

    def __init__(self, entries: Mapping[bytes, bytes], max_entries: int = 0) -> None:
        self.entries = dict(entries)
        self.max_entries = max_entries or len(self.entries)

    def lookup(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self.entries.items()))

    def delete_batch(self, keys: Iterable[bytes]) -> int:
        return sum(self.entries.pop(key, None) is not None for key in keys)


class FakeControl:
    """The memory of a control record."""

    def __init__(self, record: abi.Control) -> None:
        self.record = record.pack()

    def load_u32(self, offset: int) -> int:
        return int(struct.unpack_from("=I", self.record, offset)[0])


class FakePins(Pins):
    """Pins that hold `maps`, and the settings of a policy with these options as the generation in force."""

    def __init__(self, maps: Mapping[str, Any], **options: str) -> None:
        super().__init__(Path("/nonexistent"))
        chosen = effective({**{name: option.default for name, option in OPTIONS.items()}, **options})
        settings = abi.Settings(generation=GENERATION)
        for timeout in abi.Timeout:
            if timeout != abi.Timeout.TIMEOUT_COUNT:
                name = timeout.name.removeprefix("TIMEOUT_").lower().replace("_", "-")
                settings.timeout_j[timeout] = chosen[f"timeout.{name}"] * hz()
        slot = struct.pack("=I", GENERATION % abi.Limits.GENERATION_SLOTS)
        self.fakes: dict[str, Any] = {"settings": FakeMap({slot: settings.pack()}), **maps}
        self.fake_control = FakeControl(abi.Control(generation=GENERATION))

    def map(self, name: str) -> Any:
        return self.fakes[name]

    @property
    def control(self) -> Any:
        return self.fake_control
