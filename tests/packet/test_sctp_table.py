# SPDX-License-Identifier: MIT
"""The table of docs/conntrack.md, cell by cell, through the real program: what each chunk does in each state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import chunks
from tests.chunks import T_BIT, chunk
from tests.packet.association import O_TAG, R_TAG, STATES, Association
from tests.packet.ends import V4
from tests.packet.path import PacketPath

DOC = Path(__file__).resolve().parents[2] / "docs" / "conntrack.md"
NEW, WRONG = 0x0C0C0C0C, 0x0D0D0D0D
SENDERS = ("opener", "responder")
# What is sent; and by which tag: the other's, none, the sender's own, or another.
COLUMNS = {
    "INIT": (chunks.init(NEW), "none"),
    "INIT ACK": (chunks.init_ack(NEW), "right"),
    "COOKIE ECHO": (chunk(chunks.COOKIE_ECHO, b"cookie"), "right"),
    "COOKIE ACK": (chunk(chunks.COOKIE_ACK), "right"),
    "DATA": (chunks.data(), "right"),
    "HEARTBEAT": (chunks.heartbeat(b"another"), "right"),
    "SHUTDOWN": (chunk(chunks.SHUTDOWN, bytes(4)), "right"),
    "SHUTDOWN ACK": (chunk(chunks.SHUTDOWN_ACK), "right"),
    "SHUTDOWN COMPLETE": (chunk(chunks.SHUTDOWN_COMPLETE), "right"),
    "ABORT": (chunk(chunks.ABORT), "right"),
    "ABORT, T": (chunk(chunks.ABORT, flags=T_BIT), "own"),
    "INIT ACK, wrong tag": (chunks.init_ack(NEW), "wrong"),
    "COOKIE ECHO, wrong tag": (chunk(chunks.COOKIE_ECHO, b"cookie"), "wrong"),
    "DATA, wrong tag": (chunks.data(), "wrong"),
    "SHUTDOWN, wrong tag": (chunk(chunks.SHUTDOWN, bytes(4)), "wrong"),
    "ABORT, wrong tag": (chunk(chunks.ABORT), "wrong"),
    "ABORT, T, wrong tag": (chunk(chunks.ABORT, flags=T_BIT), "wrong"),
}


def walk(path: PacketPath, state: str, sender: str, column: str) -> str:
    """A word for what became of the packet."""
    path.reset_flows()
    path.policy("default in drop\ndefault out allow\n")
    talk = Association(path, V4, we_open=True)
    STATES[state][0](talk)
    before = path.the_flow()
    sent, which = COLUMNS[column]
    other, own = (R_TAG, O_TAG) if sender == "opener" else (O_TAG, R_TAG)
    tag = {"none": 0, "right": other, "own": own, "wrong": WRONG}[which]
    verdict = (talk.o if sender == "opener" else talk.r)(sent, tag=tag)
    after = path.the_flow()
    if not verdict.passed:
        assert after == before, "a packet that is not accepted changes no state"
        return verdict.reason
    if after[2].incarnation != before[2].incarnation:
        return "reopens"
    if after == before:
        return "passes"
    moved = [side.packets for side in after[2].side] != [side.packets for side in before[2].side]
    return "accepted" if moved else "noted"


def told() -> dict[tuple[str, str, str], str]:
    """The cells of the document's table: a row for each chunk, two columns for each state."""
    cells = {}
    states: list[str] = []
    section = DOC.read_text().split("### SCTP states\n")[1].split("\n### ")[0].split("\n## ")[0]
    for line in section.splitlines():
        first, *row = [cell.strip().strip("`") for cell in re.findall(r"\| ([^|]+) ", line)] or [""]
        if first == "state":
            states = row
        elif first and row and (first.rsplit(": ", 1)[0] in SENDERS):
            sender, column = first.split(": ", 1)
            cells.update({(state, sender, column): word for state, word in zip(states, row, strict=True)})
    return cells


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("state", STATES)
def test_each_cell(path: PacketPath, state: str, sender: str) -> None:
    cells = told()
    found = {column: walk(path, state, sender, column) for column in COLUMNS}
    assert found == {column: cells.get((state, sender, column)) for column in COLUMNS}


BLIND = [column for column in COLUMNS if "wrong tag" in column] + ["INIT"]


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("column", BLIND)
@pytest.mark.parametrize("state", ["established", "shutdown_sent", "shutdown_ack_sent", "another path"])
def test_who_does_not_know_the_tags_disturbs_nothing(
    path: PacketPath, state: str, sender: str, column: str
) -> None:
    """Neither its state nor what both ends send next, nor how long it lasts."""
    walk(path, state, sender, column)
    talk = Association(path, V4, we_open=True)
    _, _, flow = path.the_flow()
    path.reset_flows()
    STATES[state][0](talk)
    _, _, undisturbed = path.the_flow()
    assert [side.state for side in flow.side] == [side.state for side in undisturbed.side]
    walk(path, state, sender, column)
    assert talk.o(chunks.data()).reason == talk.r(chunks.data()).reason == "flow"
