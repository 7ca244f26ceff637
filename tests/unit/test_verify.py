# SPDX-License-Identifier: MIT
"""Limits of a whole policy; what is said about contradictions and oddities is in tests/golden."""

import pytest
from hypothesis import given

from firewall import abi, shadow
from firewall.expand import MAX_ENTRIES, MAX_PATTERNS, MAX_RATES, MAX_RULES
from firewall.lang import PolicyError
from firewall.policy import Policy, parse_policy
from firewall.verify import PolicyWarning, verify
from tests.strategies import policies, steady


def refused(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        verify(parse_policy(text))
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_RULES == abi.Limits.RULES_MAX
    monkeypatch.setattr("firewall.verify.MAX_RULES", 1000)
    lines = [f"allow in tcp to port {port}" for port in range(1000)]
    assert verify(parse_policy("\n".join(lines))) == []
    said = refused("default in drop\n" + "\n".join(lines) + "\nallow out")
    assert said.startswith("rules.fw:1002:1: the policy has 1001 rules; the most is 1000")
    assert "set NAME file PATH" in said, "what to do"


def test_rules_with_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_RATES == abi.Limits.RATES_MAX
    monkeypatch.setattr("firewall.verify.MAX_RATES", 2)
    lines = [f"allow in tcp to port {port} limit 1/second\nallow in udp to port {port}" for port in (1, 2)]
    assert verify(parse_policy("\n".join(lines))) == []
    said = refused("\n".join([*lines, "allow in limit 1/hour"]))
    assert said.startswith("rules.fw:5:1: 3 rules have a 'limit'; the most is 2")
    assert "per source" in said, "what to do"


def test_entries_name_the_widest_rule() -> None:
    ports = ", ".join(str(port) for port in range(0, 2 * 128, 2))
    hosts = ", ".join(f"10.0.0.{2 * number}" for number in range(32))
    full = f"allow in tcp from {hosts} port {ports} to port {ports}"
    assert MAX_ENTRIES == 32 * 128 * 128
    assert verify(parse_policy(full)) == []
    said = refused(f"allow out\n{full}\n")
    assert said.startswith(f"rules.fw:2:1: the rules come to {MAX_ENTRIES + 1} combinations")
    assert f"this rule alone has {MAX_ENTRIES}" in said


def test_a_rule_far_too_wide_is_counted_not_built() -> None:
    addresses = ", ".join(f"10.0.{number >> 7}.{number % 128 * 2}" for number in range(2000))
    assert "4000000 combinations" in refused(f"allow in from {addresses} to {addresses}")


def test_patterns() -> None:
    names = [f"eth{number}" for number in range(MAX_PATTERNS)]
    enough = f"allow in on {', '.join(names)}\n" + "".join(f"allow out via {name}\n" for name in names[1:])
    assert verify(parse_policy(enough)) == []
    again = f"allow in on {', '.join(reversed(names))} tcp\n"
    said = refused(f"{enough}{again}allow out via not {names[5]}\nallow out via eth5, eth6\n")
    assert said.startswith(
        "rules.fw:66:1: the rules have 66 different lists of interfaces; the most is 64, and"
    )


def test_warnings_are_in_the_order_of_lines() -> None:
    text = "allow in\nallow in tcp\nallow in on lo\ndefault in drop\ndefault in drop\n"
    assert [warning.line for warning in verify(parse_policy(text))] == [2, 3, 3, 5]
    assert isinstance(verify(parse_policy(text))[0], PolicyWarning)


@steady
@given(policies())
def test_any_policy_can_be_judged(policy: Policy) -> None:
    lines = {statement.line for statement in policy.statements}
    assert all(warning.line in lines for warning in verify(policy))


@steady
@given(policies())
def test_asked_about_some_lines_it_says_the_same_of_them(policy: Policy) -> None:
    try:
        everything = verify(policy)
    except PolicyError:
        return
    for position, line in enumerate(policy.rule_lines):
        assert verify(policy, {position}) == [warning for warning in everything if warning.line == line]
    assert verify(policy, ()) == []


def test_rules_that_were_not_compared_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MAX_STEPS", 2)
    lines = ["allow in tcp to port 100-200", "drop in tcp to port 150"]
    lines += [f"allow in on eth{n} tcp to port 100-{199 - n}" for n in range(5)]
    said = [warning.told("rules.fw") for warning in verify(parse_policy("\n".join(lines)))]
    assert said[0] == (
        "rules.fw: only the first 4 of 7 rules were compared with those before them: too many lie around each other"
    )
    assert [warning.partition(": this")[0] for warning in said[1:]] == [
        "rules.fw:2",
        "rules.fw:3",
        "rules.fw:4",
    ]
