# SPDX-License-Identifier: MIT
"""How far the verifier walks through both programs: far from where it gives up, and short enough to load quickly."""

from __future__ import annotations

import pytest

from firewall.bpfobject import Object
from firewall.clock import hz
from tests.packet.path import OBJECT
from tests.vm.check import VERIFIED

BOUND = 60_000
"""Instructions a program: the kernel refuses at 1,000,000, and each 1,000 take about a millisecond of every load."""


@pytest.mark.parametrize("scratch", [0, 1], ids=["live", "scratch"])
def test_few_instructions_are_walked(scratch: int, capsys: pytest.CaptureFixture[str]) -> None:
    with Object.open(OBJECT) as opened:
        opened.set_rodata({"hz": hz(), "answer_mark": 1, "env_from_map": scratch})
        opened.load()
        counts = {name: program.verified_insns for name, program in opened.programs.items()}
        for owned in (*opened.programs.values(), *opened.maps.values()):
            owned.close()
    if not any(counts.values()):
        pytest.skip("the kernel tells no counts: they came with Linux 5.16")
    if not scratch:
        with capsys.disabled():
            print(f"\n{VERIFIED}{', '.join(f'{name} {count:,}' for name, count in counts.items())}")
    assert set(counts) == {"fw_ingress", "fw_egress", "fw_request"}
    assert all(0 < count < BOUND for count in counts.values()), counts
