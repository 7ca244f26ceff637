# SPDX-License-Identifier: MIT
"""A policy is a value: what it prints reads back as an equal one."""

import pytest
from hypothesis import given

from firewall.lang import PolicyError
from firewall.policy import DEFAULT_ACTIONS, Default, Policy, Protect, Setting, parse_policy, parse_words
from firewall.rule import Rule
from firewall.terms import Names
from tests.strategies import policies, steady


@steady
@given(policies())
def test_print_and_read(policy: Policy) -> None:
    again = parse_policy(str(policy))
    assert again == policy
    assert hash(again) == hash(policy)
    assert str(again) == str(policy)
    assert again.statements == policy.statements
    assert parse_policy(str(policy).replace("\n", "\r\n").encode()) == policy


def test_statements_and_their_lines() -> None:
    policy = parse_policy(
        "# head\nprotect eth0\n\nallow in  # first\noption flows.max 2048\ndefault in reject\ndrop out"
    )
    assert [(statement.line, statement.value) for statement in policy.statements] == [
        (2, Protect(Names(False, ("eth0",)))),
        (4, Rule("allow", ("in",))),
        (5, Setting("flows.max", "2048")),
        (6, Default("in", "reject")),
        (7, Rule("drop", ("out",))),
    ]
    assert policy.statements[1].source == "allow in  # first"
    assert policy.rules == (Rule("allow", ("in",)), Rule("drop", ("out",)))
    assert policy.rule_lines == (4, 7)
    assert policy.defaults == {"in": "reject", "forward": "drop", "out": "allow"}
    assert policy.options == {"flows.max": "2048"}
    assert policy.name == "rules.fw"


def test_equality_is_of_meaning() -> None:
    one = parse_policy("protect a, b\nallow in # x\n")
    assert one == parse_policy("default in drop\nprotect b\nallow in\nprotect a\noption timeout.udp 3m\n")
    assert parse_policy("option timeout.udp 180s") == parse_policy("option timeout.udp 3m")
    for other in ("protect a\nallow in", "protect a, b", "protect a, b\nallow in\ndefault out drop"):
        assert one != parse_policy(other)
    assert one != parse_policy("protect a, b\nallow in\noption flows.max 1024")
    assert parse_policy("allow in\ndrop out") != parse_policy("drop out\nallow in")
    assert parse_policy("protect not a, b") != parse_policy("protect not a")
    assert one != "protect a, b"


def test_nothing_said() -> None:
    policy = parse_policy("")
    assert policy == Policy.of()
    assert policy.defaults == DEFAULT_ACTIONS
    assert not policy.protects("eth0")


def test_protects() -> None:
    policy = parse_policy("protect eth0, ppp+\n")
    assert [name for name in ("eth0", "eth1", "ppp0", "ppp", "lo") if policy.protects(name)] == [
        "eth0",
        "ppp0",
        "ppp",
    ]
    others = parse_policy("protect not veth+")
    assert [name for name in ("eth0", "veth1", "lo") if others.protects(name)] == ["eth0"]


def test_words() -> None:
    assert parse_words(["default", "in", "drop"]) == Default("in", "drop")
    assert parse_words(["option", "timeout.udp", "120s"]) == Setting("timeout.udp", "120s")
    assert parse_words(["protect", "eth0,", "eth1"]) == Protect(Names(False, ("eth0", "eth1")))
    assert parse_words(["allow", "in", "log", "a b"]) == Rule("allow", ("in",), log="a b")
    with pytest.raises(PolicyError, match="did you mean 'drop'"):
        parse_words(["default", "in", "deny"])
