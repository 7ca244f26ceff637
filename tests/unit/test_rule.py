# SPDX-License-Identifier: MIT
"""A rule is a value: what it prints reads back as the same, in any order of clauses, from text or words."""

import shlex
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.addresses import Addrs, Span
from firewall.clauses import CLAUSES
from firewall.lang import CLAUSE_WORDS, PolicyError
from firewall.rule import Rule
from firewall.services import PROTOCOLS
from firewall.terms import End, IcmpType, Names, Ports
from tests.strategies import rules, steady


@steady
@given(rules())
def test_print_and_read(rule: Rule) -> None:
    assert Rule.parse(str(rule)) == rule
    assert str(Rule.parse(str(rule))) == str(rule)
    assert hash(Rule.parse(str(rule))) == hash(rule)


@steady
@given(rules())
def test_command_line(rule: Rule) -> None:
    """The printed rule given to a shell, to which no character but the quotes of a text means anything."""
    if not any(character in f"{rule.log}{rule.comment}" for character in "\\$`!"):
        assert Rule.from_words(shlex.split(str(rule))) == rule
    assert Rule.from_words([str(rule)]) == rule


@steady
@given(rules(), st.randoms(use_true_random=False))
def test_clauses_in_any_order(rule: Rule, random: Random) -> None:
    bare = rule._replace(**{clause.field: clause.absent for clause in CLAUSES.values()})
    clauses = [
        str(bare._replace(**{field: getattr(rule, field)})).removeprefix(str(bare)).strip()
        for field in (clause.field for clause in CLAUSES.values())
    ]
    random.shuffle(clauses)
    assert Rule.parse(" ".join([str(bare), *filter(None, clauses)])) == rule


def test_every_field() -> None:
    text = (
        "reject forward on br-lan, lan+ via not wan0 tcp, udp from not 192.0.2.0/24, 2001:db8::1-2001:db8::9"
        ' port 1024-65535 to 198.51.100.7 port not 22, 80 log "seen" comment "why"'
    )
    rule = Rule.parse(text)
    assert rule == Rule(
        action="reject",
        scopes=("forward",),
        on=Names(False, ("br-lan", "lan+")),
        via=Names(True, ("wan0",)),
        protos=(6, 17),
        src=End(
            Addrs(
                True,
                (Span(4, 0xC0000200, 0xC00002FF), Span(6, (0x20010DB8 << 96) + 1, (0x20010DB8 << 96) + 9)),
            ),
            Ports(False, ((1024, 65535),)),
        ),
        dst=End(Addrs(False, (Span(4, 0xC6336407, 0xC6336407),)), Ports(True, ((22, 22), (80, 80)))),
        log="seen",
        comment="why",
    )
    assert str(rule) == text


def test_icmp_types_of_both_families() -> None:
    rule = Rule.parse("allow in icmp, icmp6 icmp-type echo-request, 3/4, packet-too-big")
    assert rule.icmp_types == (IcmpType("echo-request"), IcmpType(None, 3, 4), IcmpType("packet-too-big"))
    assert rule.type_numbers(1) == [(8, None), (3, 4)]
    assert rule.type_numbers(58) == [(128, None), (3, 4), (2, None)]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["allow", "in", "tcp", "to", "port", "80,443"], "allow in tcp to port 80, 443"),
        (["allow", "in,", "forward", "icmp,icmp6"], "allow in, forward icmp, icmp6"),
        (["allow", "in", ",", "out"], "allow in, out"),
        (["drop", "in", "log", "no smtp, please"], 'drop in log "no smtp, please"'),
        (["drop", "in", "log", "smtp"], 'drop in log "smtp"'),
        (["drop", "in", "log", "tcp"], "drop in tcp log"),
        (["drop", "in", "log", '"tcp"'], 'drop in log "tcp"'),
        (["drop", "in", "log", "comment", "log"], 'drop in log comment "log"'),
        (["drop", "in", "comment", "tcp", "udp"], 'drop in udp comment "tcp"'),
        (["drop", "in", "comment", "# 1"], 'drop in comment "# 1"'),
        (["allow in tcp", "to port 22"], "allow in tcp to port 22"),
        (["allow in comment", "an office"], 'allow in comment "an office"'),
    ],
)
def test_words(words: list[str], text: str) -> None:
    assert str(Rule.from_words(words)) == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["allow", "in", "22"], "allow in 22\n             ^^\n    did you mean 'allow in tcp to port 22'?"),
        (["allow", "in", "comment", "two words", "tpc"], "did you mean 'tcp'?"),
        (["allow", "", "in"], 'allow "" in\n          ^^'),
        (["allow", "in", "# ssh"], '    allow in "# ssh"\n              ^\n    give comment "TEXT" instead'),
        (["allow", "in", "comment"], "expected a text in double quotes, found the end of the line"),
        (["allow", "in", "comment", 'a"b'], "cannot have a double quote"),
        (["allow", "in", "comment", "a\nb"], "U+000A"),
        (["allow", "in", "tcp\nudp"], "U+000A"),
        (["allow", "in", 'on "x'], "not closed"),
        ([], "expected a rule"),
        (["default", "in", "drop"], "expected a rule"),
    ],
)
def test_refused_words(words: list[str], said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Rule.from_words(words)
    assert said in str(caught.value)
    assert ":" not in str(caught.value).splitlines()[0], "a command line has no file name"


def test_a_caret_stands_under_the_word() -> None:
    with pytest.raises(PolicyError) as caught:
        Rule.from_words(["allow", "in", "comment", "two words", "tpc"])
    _, shown, carets, _ = str(caught.value).splitlines()
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "tpc"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("10.0.0.0-10.0.0.255", "10.0.0.0/24"),
        ("10.0.0.1-10.0.0.2", "10.0.0.1-10.0.0.2"),
        ("10.0.0.2-10.0.0.3", "10.0.0.2/31"),
        ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
        ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ("2001:DB8::0001", "2001:db8::1"),
        ("::ffff:0:0-::1:0:0:0", "::ffff:0:0-::1:0:0:0"),
    ],
)
def test_addresses_print_in_one_form(text: str, printed: str) -> None:
    assert str(Rule.parse(f"allow in from {text}")) == f"allow in from {printed}"


def test_words_that_begin_clauses_are_known() -> None:
    """On a command line they end a `log` without a text."""
    assert {*CLAUSES, *PROTOCOLS, "port"} == CLAUSE_WORDS
