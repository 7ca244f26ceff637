# SPDX-License-Identifier: MIT
"""The packets by which kernels are compared: they are many, and nothing but their seed decides on them."""

from __future__ import annotations

import pytest

from tests.packet.path import PacketPath, Verdict
from tests.packet.verdicts import Judged, judge


def reasons(judged: list[Judged]) -> set[str]:
    return {one.split()[0] for _, verdict in judged for one in verdict.split(", ")}


def test_they_follow_from_their_seed() -> None:
    first = judge(1, 100, 100)
    assert first == judge(1, 100, 100)
    packets = [{packet for packet, _ in judged} for judged in (first, judge(2, 100, 100))]
    assert len(packets[0] & packets[1]) < 50, "few frames remain as they were, and may be drawn again"


def test_they_show_much_of_the_path() -> None:
    shown = reasons(judge(1, 800, 800))
    assert len(shown) >= 25, shown
    assert {"flow", "related", "handed_on", "fragment", "out_of_window", "unrelated"} <= shown


def test_time_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute passes before each packet."""
    expected = judge(1, 100, 100)
    run = PacketPath._run

    def later(path: PacketPath, program: str, packet: bytes, **env: int) -> Verdict:
        path.age(60)
        return run(path, program, packet, **env)

    monkeypatch.setattr(PacketPath, "_run", later)
    assert judge(1, 100, 100) == expected
