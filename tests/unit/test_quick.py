# SPDX-License-Identifier: MIT
"""The quick reader makes of a line what the language's own does, or leaves it to that."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rulesets import KINDS, made
from firewall import policy as policies
from firewall.lang import PolicyError, Source, lex_line
from firewall.policy import parse_policy
from firewall.quick import Reader
from firewall.rule import Rule
from tests.strategies import rules, steady

# What lines of rules are made of, right and wrong.
PARTS = (
    *(
        "allow",
        "drop",
        "reject",
        "in",
        "out",
        "forward",
        "on",
        "via",
        "tcp",
        "udp",
        "tcp, udp",
        "icmp",
        "gre",
        "esp",
    ),
    *(
        "from",
        "to",
        "port",
        "not",
        "any",
        "log",
        'log "a text"',
        'log ""',
        "comment",
        'comment "office"',
        '"x"',
    ),
    *("eth0", "eth0, wan+", "not lo", "lan", "192.0.2.1", "192.0.2.0/24", "192.0.2.1/24", "192.0.2.1/32"),
    *("192.0.2.01", "192.0.2.256", "192.0.2.1-192.0.2.9", "2001:db8::1", "2001:DB8::/32", "::ffff:192.0.2.1"),
    *(
        "::1.2.3.4",
        "::/0",
        "0.0.0.0/0",
        "0.0.0.0/00",
        "@bad",
        "22",
        "022",
        "ssh",
        "80-90",
        "90-80",
        "80, 443",
    ),
    *(
        "65536",
        "80,443",
        "80 ,443",
        ",",
        "# note",
        "with rst",
        "limit 1/second",
        "idle 5m",
        "mark 1",
        "  ",
        "\t",
    ),
)


def slow(line: str) -> object:
    """What the language's own reader makes of a line; None of what is no policy."""
    try:
        cursor = lex_line(Source("rules.fw", 1, line))
        return policies.read_statement(cursor)
    except PolicyError:
        return None


def agree(line: str, reader: Reader) -> bool:
    """Whether the quick reader reads the line, and then as it is to be read."""
    found = reader.read(line)
    if found is None:
        return False
    rule, text = found
    assert rule == slow(line) and type(rule) is Rule
    assert text in ("", str(rule))
    return True


@steady
@given(st.lists(rules(), min_size=1, max_size=4))
def test_any_rule_as_it_prints(listed: list[Rule]) -> None:
    reader = Reader()
    for rule in [*listed, *listed]:
        agree(str(rule), reader)
        agree(f"{rule}  # a note", reader)


@steady
@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=9), min_size=1, max_size=8))
def test_any_line(lines: list[list[str]]) -> None:
    reader = Reader()
    for words in lines:
        agree(" ".join(["allow", "in", *words]), reader)
        agree(" ".join(words), reader)


@steady
@given(st.text("0123456789abcdef:./-, ", max_size=24), st.integers(0, (1 << 128) - 1), st.integers(0, 129))
def test_any_address(text: str, number: int, length: int) -> None:
    reader = Reader()
    low = number >> (128 - length) << (128 - length) if length <= 128 else number
    for address in (
        text,
        f"{IPv6Address(number)}",
        f"{IPv6Address(low)}/{length}",
        f"::{text}",
        f"1.2.3.{text}",
    ):
        agree(f"drop in from {address}", reader)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", [4, 6])
def test_large_rulesets_are_read_quickly_whole(kind: str, family: int) -> None:
    reader = Reader()
    lines = [str(rule) for rule in made(kind, 300, family)]
    assert all(agree(line, reader) for line in lines)
    assert [reader.read(line) for line in lines] == [(Rule.parse(line), line) for line in lines]


@pytest.mark.parametrize(
    "line",
    [
        "allow in on eth0 tcp from 192.0.2.0/24, 2001:db8::/32 port not 1-1023 to port 22, 80",
        'drop out via wan+ udp to @bad port dns log "dns" comment "no"',
        "reject forward on not lan via wan0, wan1 sctp",
        "allow forward udp from 192.0.2.1 to 198.51.100.0/24 port 53 on lan via wan # as many write it",
        "allow in tcp to port 22 on lan log",
        "allow in tcp to port 22  # ssh",
        "drop in log",
    ],
)
def test_usual_shapes_are_read(line: str) -> None:
    assert agree(line, Reader())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# allow in",
        "allow in icmp",
        "allow in, out",
        "allow out on eth0",
        "allow in via eth0",
        "allow in to port 22",
        "allow in gre to port 22",
        "allow in tcp, tcp",
        "allow in from 192.0.2.1 to 2001:db8::1",
        "allow in from 192.0.2.1, 192.0.2.1",
        "allow in from 192.0.2.1/24",
        "allow in from ::ffff:192.0.2.1",
        "allow in from to",
        "allow in tcp from port 99999",
        'allow in comment "' + "x" * 129 + '"',
        "allow in from 192.0.2.1" + " " * 70000 + "#",
        "allow in on e\u00a0th",
        "reject with rst in tcp",
    ],
)
def test_what_is_unusual_or_wrong_is_left(line: str) -> None:
    assert Reader().read(line) is None


def test_a_large_policy_is_what_its_lines_are(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [str(rule) for rule in made("acl", 300)]
    lines[7] = "allow   in tcp to port ssh # by name"
    lines[9:9] = ["", "# remark", "default in reject", "allow in icmp"]
    text = "\n".join(lines) + "\n"
    monkeypatch.setattr(policies, "_known", {})
    large = parse_policy(text)
    monkeypatch.setattr(policies, "_known", {})
    monkeypatch.setattr(policies, "_MANY_LINES", len(lines) + 1)
    small = parse_policy(text)
    assert large == small and large.rule_lines == small.rule_lines
    assert large.rule_texts == small.rule_texts == tuple(map(str, small.rules))


def test_a_large_policy_says_what_is_wrong() -> None:
    lines = [str(rule) for rule in made("acl", 300)]
    lines[123] = "allow in from 192.0.2.1/24"
    with pytest.raises(PolicyError, match=r"^rules\.fw:124:15: '192\.0\.2\.1/24' has bits set") as raised:
        parse_policy("\n".join(lines))
    assert len(raised.value.problems) == 1
