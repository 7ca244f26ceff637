# SPDX-License-Identifier: MIT
"""Bytes to lines to tokens: what is no text is refused with its place, and nothing crashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.lang import MAX_FILE_BYTES, PolicyError, Source, closest, decode_policy, lex_line
from firewall.policy import parse_policy, parse_words
from firewall.written import split_lines
from tests.strategies import steady

# Bytes that are made of the language's own words reach further than random ones.
_WORDS = (
    *("allow", "drop", "reject", "in", "out", "forward", "on", "via", "not", "eth0", "eth+", ","),
    *("tcp", "icmp6", "proto", "47", "from", "to", "port", "any", "22", "ssh", "192.0.2.0/24", "::1", "1-9"),
    *("log", "comment", "icmp-type", "echo-request", '"', "#", "default", "option", "flows.max", "65536"),
    *("timeout.udp", "120s", "protect"),
)
_PIECES = (*_WORDS, "\t", "\n", "\r\n", "\0", "\ufeff", "\u00e9")


def test_tokens() -> None:
    cursor = lex_line(Source("f", 1, '\tallow in,out log "a, # b" # rest'))
    assert [(token.kind, token.text, token.column) for token in cursor.tokens] == [
        ("word", "allow", 2),
        ("word", "in", 8),
        ("comma", ",", 10),
        ("word", "out", 11),
        ("word", "log", 15),
        ("string", "a, # b", 19),
        ("end", "", 28),
    ]


@steady
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=30))
def test_any_text_is_a_policy_or_refused(pieces: list[str]) -> None:
    text = " ".join(pieces)
    try:
        policy = parse_policy(text)
    except PolicyError as error:
        for problem in error.problems:
            line = split_lines(text)[problem.line - 1] if problem.source else ""
            assert problem.source == line
            assert 1 <= problem.column <= len(line) + 2
            assert problem.length >= 1
    else:
        assert parse_policy(str(policy)) == policy


@steady
@given(st.lists(st.sampled_from(_WORDS) | st.text(max_size=3), max_size=12))
def test_any_words_are_a_statement_or_refused(words: list[str]) -> None:
    try:
        value = parse_words(words)
    except PolicyError as error:
        assert len(error.problems) == 1
    else:
        assert parse_words([str(value)]) == value


@steady
@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_refused(data: bytes) -> None:
    try:
        text = decode_policy(data)
    except PolicyError as error:
        (problem,) = error.problems
        assert 1 <= problem.line <= data.count(b"\n") + 1
    else:
        assert text.encode() == data


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"allow in\nallow \xff in\n", "f.fw:2:7: the byte 0xff is not UTF-8\n    save the file as UTF-8"),
        ("é\nallow é".encode() + b"\xe9", "f.fw:2:8: the byte 0xe9 is not UTF-8"),
        ("allow in".encode("utf-16"), "f.fw:1:1: the byte 0xff is not UTF-8\n    it looks like UTF-16: save"),
        (b"allow in\n\0", "f.fw:2:1: the file has a NUL byte: it is not text"),
        (b"#" * (MAX_FILE_BYTES + 1), "f.fw:1:1: the file has 67108865 bytes; the most is 67108864"),
    ],
)
def test_not_text(data: bytes, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        decode_policy(data, "f.fw")
    assert str(caught.value).startswith(said)


def test_lines() -> None:
    assert split_lines("") == []
    assert split_lines("\ufeff") == []
    assert split_lines("a\r\n\nb\x0c\u2028c\rd") == ["a", "", "b\x0c\u2028c\rd"]
    assert split_lines("a\n") == ["a"]


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("alow in\nallow in\ndefault x drop\n", "f.fw")
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(1, 1), (3, 9)]
    assert caught.value.hint is None


def test_closest() -> None:
    assert closest("FORWRAD", ["forward", "from"]) == "forward"
    assert closest("zzz", ["forward", "from"]) is None


@pytest.mark.parametrize("blanks", [" " * 65_000, "\t " * 32_000], ids=["spaces", "tabs"])
def test_blanks_at_the_end_cost_nothing(blanks: str) -> None:
    """Looked at once: in quadratic time this would take minutes."""
    tokens = lex_line(Source("", 1, "allow in" + blanks))
    assert [token.text for token in tokens.tokens][:2] == ["allow", "in"]
