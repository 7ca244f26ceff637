# SPDX-License-Identifier: MIT
"""The table of docs/conntrack.md, cell by cell, through the real program: what each segment does in each state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.packet import stories
from tests.packet.ends import V4, Connection
from tests.packet.path import PacketPath

DOC = Path(__file__).resolve().parents[2] / "docs" / "conntrack.md"
NEW_ISN = 3_000_000
# As each side's next segment would have them; a SYN is new unless the column says otherwise.
COLUMNS = ("SYN", "SYN again", "SYN-ACK", "ACK", "data", "FIN", "RST", "RST in window", "RST outside")
SENDERS = ("opener", "responder")


def midway(talk: Connection) -> None:
    talk.path.policy("default out allow\noption tcp.pickup outbound\n")
    talk.o("A", 101, 901)


STATES: dict[str, stories.Story] = {
    "syn_sent": stories.syn_sent,
    "syn_recv": stories.syn_recv,
    "established": stories.established,
    "fin_wait": stories.fin_wait,
    "last_ack": stories.last_ack_of_opener,
    "time_wait": stories.time_wait,
    "closed": stories.closed,
    "met midway": midway,
}


def walk(path: PacketPath, state: str, sender: str, column: str) -> str:
    """A word for what became of the segment."""
    path.reset_flows()
    path.policy("default in drop\ndefault out allow\n")
    talk = Connection(path, V4, we_open=True)
    STATES[state](talk)
    before = path.the_flow()
    own, other = before[2].side if sender == "opener" else reversed(before[2].side)
    first = (100 if sender == "opener" else 900) if own.state else NEW_ISN
    seq, ack = own.seq_end or NEW_ISN, other.seq_end
    flags, seq, ack, payload = {
        "SYN": ("S", NEW_ISN, 0, b""),
        "SYN again": ("S", first, 0, b""),
        "SYN-ACK": ("SA", first, ack, b""),
        "ACK": ("A", seq, ack, b""),
        "data": ("PA", seq, ack, b"x"),
        "FIN": ("FA", seq, ack, b""),
        "RST": ("RA", seq, ack, b""),
        "RST in window": ("RA", seq + 100, ack, b""),
        "RST outside": ("RA", seq + 2**31, ack, b""),
    }[column]
    verdict = (talk.o if sender == "opener" else talk.r)(flags, seq, ack, payload)
    after = path.the_flow()
    if not verdict.passed:
        assert after == before, "a segment that is not accepted changes nothing"
        return verdict.reason
    if after[2].incarnation != before[2].incarnation:
        return "reopens"
    return "passes" if after == before else "accepted"


def told() -> dict[tuple[str, str, str], str]:
    """The cells of the document's table."""
    cells = {}
    for line in DOC.read_text().split("### States\n")[1].split("\n### ")[0].splitlines():
        row = [cell.strip().strip("`") for cell in re.findall(r"\| ([^|]+) ", line)]
        if len(row) == 2 + len(COLUMNS) and row[1] in SENDERS:
            cells.update(
                {(row[0], row[1], column): word for column, word in zip(COLUMNS, row[2:], strict=True)}
            )
    return cells


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("state", STATES)
def test_each_cell(path: PacketPath, state: str, sender: str) -> None:
    cells = told()
    found = {column: walk(path, state, sender, column) for column in COLUMNS}
    assert found == {column: cells.get((state, sender, column)) for column in COLUMNS}
