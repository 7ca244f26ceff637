# SPDX-License-Identifier: MIT
"""Elements of sets: text to keys and back, and what is wrong with a file."""

import os
from pathlib import Path

import pytest
from hypothesis import given

from firewall.addresses import Span
from firewall.errors import FwError
from firewall.expect import Unmet
from firewall.lang import PolicyError
from firewall.policy import parse_policy
from firewall.ranges import merge
from firewall.setfile import host_keys, keys_of, read_elements, read_file, span_of
from firewall.verify import verify
from tests.strategies import spans, steady


@steady
@given(spans())
def test_the_prefixes_of_a_range_are_that_range(span: Span) -> None:
    parts = [span_of(key) for key in keys_of(span)]
    assert {part.family for part in parts} == {span.family}
    assert sum(part.high - part.low + 1 for part in parts) == span.high - span.low + 1
    assert merge((part.low, part.high) for part in parts) == [(span.low, span.high)]
    assert len(parts) <= 2 * (32 if span.family == 4 else 128)


@steady
@given(spans())
def test_what_is_around_an_address_is_found_among_its_keys(span: Span) -> None:
    for address in (span.low, span.high):
        around = set(host_keys(span.family, address))
        assert sum(key in around for key in keys_of(span)) == 1


def test_a_file() -> None:
    text = b"\xef\xbb\xbf# list\r\n192.0.2.1 # a host\r\n\r\n 2001:db8::/32\r\n10.0.0.1-10.0.0.2\r\n192.0.2.1"
    found = sorted(str(span_of(key)) for key in read_elements(text, "x"))
    assert found == ["10.0.0.1", "10.0.0.2", "192.0.2.1", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "x:1:1: this file has no addresses"),
        (b"# 192.0.2.1\n", "x:1:1: this file has no addresses"),
        (b"192.0.2.1\n  192.0.2.300\n", "x:2:3: '192.0.2.300' is not an IPv4 address"),
        (b"192.0.2.1/24", "x:1:1: '192.0.2.1/24' has bits set behind its prefix length"),
        (b"10.1\n", "x:1:1: '10.1' is not an IPv4 address"),
        (b"2001:db8::1/129", "x:1:1: '/129' is not a prefix length"),
        (b"::ffff:192.0.2.1", "x:1:1: '::ffff:192.0.2.1' is an IPv4 address in IPv6 clothes"),
        (b"192.0.2.1 192.0.2.2", "x:1:1: "),
        (b"192.0.2.1\n\xff\n", "x:2:1: this is no UTF-8 text"),
    ],
)
def test_a_bad_file(data: bytes, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_elements(data, "x")
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize(
    ("rules", "holds"),
    [
        ("drop in from @a\nallow in", False),  # an element is dropped
        ("allow in from @a\ndrop in", False),  # what is no element is
        ("allow in from @a\nallow in", True),
        ("allow in from not @a\nallow in from @a", False),  # not known to cover all
        ("drop in from 192.0.2.0/24\nallow in", True),
        ("drop in from not @a, 203.0.113.0/24\nallow in", True),
    ],
)
def test_an_expectation_does_not_rest_on_what_is_in_a_set(rules: str, holds: bool) -> None:
    policy = parse_policy(f"set a = 203.0.113.7\n{rules}\nexpect allow in from 203.0.113.0/24\n")
    if holds:
        verify(policy)
        return
    with pytest.raises(Unmet):
        verify(policy)


def test_what_may_have_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(FwError, match=f"cannot read {path}: it is no regular file"):
            read_file(str(path))


@pytest.mark.parametrize("text", ["set office =192.0.2.0/24", "set office 192.0.2.0/24"])
def test_what_was_likely_meant(text: str) -> None:
    with pytest.raises(PolicyError, match=r"did you mean 'set office = 192\.0\.2\.0/24'"):
        parse_policy(text)
