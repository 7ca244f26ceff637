# SPDX-License-Identifier: MIT
"""What a guest has printed of its verdicts, read and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("hypothesis")

from tests.packet.verdicts import Judged, packed
from tests.vm import verdicts
from tests.vm.kernels import VmError

AMOUNT = verdicts.Amount(2, 1)
OURS = [
    Judged("00 arrives", "flow passes"),
    Judged("01: arrives", "not_ip drops"),
    Judged("udp", "no_flow drops"),
]


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One seed, and what this kernel says of it."""
    monkeypatch.setattr(verdicts, "SEEDS", {"known": 7})
    monkeypatch.setattr(verdicts, "FOLDER", tmp_path / "verdicts")
    monkeypatch.setattr(verdicts, "here", lambda seed, amount: ([v for _, v in OURS], [p for p, _ in OURS]))


def printed(judged: list[Judged]) -> str:
    return "\n".join(["12 passed", *(f"7: {line}" for line in packed(judged)), "8: AAAA"])


def test_the_same() -> None:
    assert verdicts.compare("5.10", AMOUNT, printed(OURS)) == []
    assert (verdicts.FOLDER / "5.10-known").read_text().splitlines()[1] == "not_ip drops: 01: arrives"


def test_another_verdict_is_named() -> None:
    theirs = [*OURS[:2], Judged("udp", "flow passes")]
    (said,) = verdicts.compare("5.10", AMOUNT, printed(theirs))
    assert said == "seed 7, packet 3: here no_flow drops, there flow passes: udp"


def test_of_many_the_first_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "SHOWN", 1)
    said = verdicts.compare("5.10", AMOUNT, printed([Judged(packet, "flow drops") for packet, _ in OURS]))
    assert said[0].startswith("seed 7, packet 1: ")
    assert said[1:] == [f"seed 7: 3 packets in all; {verdicts.FOLDER}/5.10-known has every verdict"]


@pytest.mark.parametrize("theirs", [OURS[:2], [*OURS[:2], Judged("tcp", "no_flow drops")]])
def test_other_packets_are_an_error(theirs: list[Judged]) -> None:
    with pytest.raises(VmError, match="other packets"):
        verdicts.compare("5.10", AMOUNT, printed(theirs))


def test_lines_that_were_torn_are_an_error() -> None:
    for output in ("", printed(OURS).replace("7: e", "7: [ 12.0] e")):
        with pytest.raises(VmError, match="cannot be read"):
            verdicts.compare("5.10", AMOUNT, output)
