# SPDX-License-Identifier: MIT
"""Ids and counters of rules across changes of the policy."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall import abi
from firewall.document import FIRST_RULE_COUNTER, Document, place
from firewall.errors import FwError
from firewall.policy import parse_policy
from firewall.rule import Rule
from tests.strategies import rules, steady

COUNTERS = 2048


def placed(text: str, previous: Document | None = None, counters: int = COUNTERS) -> Document:
    return place(parse_policy(text), text, True, previous, counters)


def ids(document: Document) -> dict[str, int]:
    return {rule.text: rule.id for rule in document.rules}


def counters(document: Document) -> dict[str, int]:
    return {rule.text: rule.counter for rule in document.rules}


def test_the_first_rules_are_numbered_from_one() -> None:
    document = placed("# heading\nallow in tcp to port 22\n\nallow in icmp\n")
    assert [(rule.id, rule.line, rule.counter) for rule in document.rules] == [(1, 2, 3), (2, 4, 4)]
    assert document.next_id == 3


def test_a_rule_keeps_id_and_counter_wherever_it_moves() -> None:
    before = placed("allow in tcp\nallow in udp\nallow in icmp\n")
    after = placed("# moved\nallow in icmp\nallow  in   tcp\n", before)
    assert ids(after) == {"allow in icmp": 3, "allow in tcp": 1}
    assert counters(after) == {text: counters(before)[text] for text in counters(after)}


def test_an_id_never_returns() -> None:
    first = placed("allow in tcp\nallow in udp\n")
    second = placed("allow in tcp\n", first)
    third = placed("allow in tcp\nallow in udp\n", second)
    assert ids(third) == {"allow in tcp": 1, "allow in udp": 3}


def test_a_new_rule_takes_no_counter_that_still_counts() -> None:
    before = placed("allow in tcp\n")
    after = placed("allow in udp\n", before)
    assert counters(after)["allow in udp"] != counters(before)["allow in tcp"]
    again = placed("allow in icmp\n", after)
    assert counters(again)["allow in icmp"] == counters(before)["allow in tcp"], "free since the last change"


def test_equal_rules_keep_their_ids_in_order() -> None:
    before = placed("allow in tcp\nallow in tcp\n")
    after = placed("allow in udp\nallow in tcp\nallow in tcp\n", before)
    assert [rule.id for rule in after.rules] == [3, 1, 2]


def test_every_rule_can_change_at_once() -> None:
    last = FIRST_RULE_COUNTER + 1024 + 1000
    before = placed("".join(f"allow in tcp to port {port}\n" for port in range(1, 1025)), counters=last)
    after = placed("".join(f"allow in udp to port {port}\n" for port in range(1, 1025)), before, last)
    used = [rule.counter for rule in after.rules]
    assert len(set(used)) == 1024 and min(used) >= FIRST_RULE_COUNTER and max(used) < last
    assert len(set(used) & {rule.counter for rule in before.rules}) == 24


def test_bytes_and_back() -> None:
    document = placed('allow in tcp comment "Grüße"\r\n# end without a line end')
    data = document.encode()
    assert Document.decode(data.ljust(4096, b"\0")) == document


def test_a_document_that_is_cut_off_is_none() -> None:
    with pytest.raises(FwError, match="cannot be read"):
        Document.decode(placed("allow in tcp\n").encode()[:-1])


@pytest.mark.parametrize("data", [b"", bytes(4096), b"\x05\0\0\0{}{}{", b"\x02\0\0\0{}", b"\x04\0\0\0null"])
def test_what_is_no_document_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(FwError, match="cannot be read"):
        Document.decode(data)


DAMAGED: list[tuple[int | slice | str, object]] = [
    *((column, [["1", 2]]) for column in range(3)),
    *((column, [[1.0, 2]]) for column in range(3)),
    *((column, [[1, True], [3, 1]]) for column in range(3)),
    *((column, [[1, -1], [3, 3]]) for column in range(3)),
    *((column, [[0, 2]]) for column in range(3)),
    *((column, [[1, 3]]) for column in range(3)),
    *((column, [[1, 10**15]]) for column in range(3)),
    (1, [[2, 2]]),
    (slice(0, 3), [[[1, 3]]] * 3),
    (3, {"2": "allow in"}),
    (3, {"-1": "allow in"}),
    (3, {"0": 7}),
    (3, ["allow in"]),
    (4, ["rules.d/a.fw"]),
    (4, ["a", "b", "c"]),
    ("schema", 3),
    ("next_id", 2),
    ("next_id", "3"),
    ("text_bytes", 10**6),
]


@pytest.mark.parametrize(("column", "value"), DAMAGED)
def test_columns_that_say_nonsense_are_no_document(column: int | slice | str, value: object) -> None:
    data = placed("allow in tcp\ndrop in\n").encode()
    body = zlib.decompress(data[4:])
    end = 4 + int.from_bytes(body[:4], "little")
    fields = json.loads(body[4:end])
    assert fields["rules"][:3] == [[[1, 2]], [[1, 2]], [[3, 2]]]
    if isinstance(column, str):
        fields[column] = value
    else:
        fields["rules"][column] = value
    head = json.dumps(fields).encode()
    damaged = zlib.compress(len(head).to_bytes(4, "little") + head + body[end:])
    with pytest.raises(FwError, match="cannot be read"):
        Document.decode(len(damaged).to_bytes(4, "little") + damaged)


def test_the_most_rules_fit_their_counters() -> None:
    """Twice as many, so that each rule of a policy may be new."""
    limits = abi.Limits
    assert limits.RULE_COUNTERS >= 2 * limits.RULES_MAX + abi.Scope.SCOPE_COUNT
    assert limits.RULE_COUNTERS % limits.COUNTERS_PAGE == 0


@steady
@given(st.lists(rules(), max_size=8), st.lists(st.booleans(), min_size=16, max_size=16))
def test_any_document_and_back(listed: list[Rule], spread: list[bool]) -> None:
    lines = [f"{rule}{'  # a note' * noted}" for rule, noted in zip(listed, spread, strict=False)]
    text = "".join(f"{line}\r\n{'# remark' * gap}\r\n" for line, gap in zip(lines, spread[8:], strict=False))
    first = placed(text)
    assert Document.decode(first.encode()) == first
    second = placed("".join(f"{line}\n" for line in reversed(lines[::2])) + text, first)
    assert Document.decode(second.encode()) == second


def test_a_rule_behind_the_last() -> None:
    before = placed("allow in tcp\n# a remark\nallow in udp # why\n")
    before = placed("allow in udp\n", placed("allow in icmp\n", before))
    text = "allow in udp\nallow in tcp to port 22\n"
    rule = "allow in tcp to port 22"
    after = placed(text, before)
    last = before.next_rule(rule, COUNTERS)
    assert (before.with_last(last, text, True), last) == (after, after.rules[-1])
