# SPDX-License-Identifier: MIT
"""Expectations are proved exactly: against every packet that a small language can tell apart, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firewall.evaluate import Question, evaluate, matches
from firewall.expand import asks_more_of_addresses
from firewall.expect import Expectation, Unmet
from firewall.policy import Policy, parse_policy
from firewall.proof import Box, TooComplex, _meet, counterexample, described, meets, too_many
from firewall.rule import Rule
from firewall.verify import verify
from tests.strategies import policies, questions, rules, steady

# What rules are made of, and packets on all sides of every edge of it.
INTERFACES = ["eth0", "eth+", "not eth0", "wg+, eth1", "not wg+, eth+"]
ADDRESSES = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "not 10.1.0.0/16",
    "not 10.0.0.0/8, ::/0",
    "2001:db8::/32",
    "10.0.0.1, ::1",
]
PORTS = ["22", "0-22", "not 22", "23-65535"]
HEADS = [
    "",
    "tcp",
    "tcp, udp",
    "icmp",
    "icmp icmp-type 8",
    "icmp, icmp6 icmp-type echo-request",
    "gre",
    "proto 89, tcp",
]
NAMES = ["eth0", "eth1", "eth2", "wg0", "ppp0"]
ENDS = {
    4: [
        "0.0.0.1",
        "10.0.0.0",
        "10.0.0.1",
        "10.0.255.255",
        "10.1.0.0",
        "10.1.255.255",
        "10.2.0.0",
        "11.0.0.0",
    ],
    6: ["::1", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff::", "2001:db9::"],
}
KINDS = [
    *((proto, sport, dport, 0) for proto in (6, 17) for sport in (40000,) for dport in (0, 22, 23)),
    *((proto, 0, 0, kind) for proto in (1, 58) for kind in (0, 8, 128)),
    *((proto, 0, 0, 0) for proto in (47, 89, 50)),
]


def every_packet() -> Iterator[Question]:
    for family, ends in ENDS.items():
        for src, (proto, sport, dport, kind), on in product(ends, KINDS, NAMES):
            one, other = ip_address(src), ip_address(ENDS[family][0])
            yield Question("in", proto, one, other, sport, dport, kind, 0, on=on)


PACKETS = list(every_packet())


@st.composite
def small_rules(draw: st.DrawFn) -> str:
    words = [draw(st.sampled_from(("allow", "drop", "reject"))), "in"]
    if draw(st.booleans()):
        words.append("on " + draw(st.sampled_from(INTERFACES)))
    head = draw(st.sampled_from(HEADS))
    words.append(head)
    ported = head in ("tcp", "tcp, udp")
    for word in ("from", "to"):
        # Packets differ in their source's address and in their destination's port.
        end = [draw(st.sampled_from(["", *ADDRESSES]))] if word == "from" and "icmp" not in head else [""]
        end += (
            ["port " + draw(st.sampled_from(PORTS))]
            if word == "to" and ported and draw(st.booleans())
            else []
        )
        if any(end):
            words.append(f"{word} {' '.join(filter(None, end))}")
    return " ".join(filter(None, words))


@settings(steady, max_examples=80)
@given(st.lists(small_rules(), max_size=5), st.sampled_from(("allow", "drop")), small_rules())
def test_as_if_every_packet_was_tried(lines: list[str], default: str, expected: str) -> None:
    policy = parse_policy("\n".join([f"default in {default}", *lines]))
    rule = Rule.parse(expected)
    wrong = [q for q in PACKETS if matches(rule, q) and evaluate(policy, q).action != rule.action]
    found = counterexample(policy, rule)
    assert (found is None) == (not wrong), found
    if found:
        demand_true(policy, rule, found.question, found.action, found.position)


@settings(steady, max_examples=150)
@given(small_rules(), small_rules())
def test_rules_meet_where_a_packet_matches_both(one: str, other: str) -> None:
    rule, expected = Rule.parse(one), Rule.parse(other)
    assert meets(rule, expected) == any(matches(rule, q) and matches(expected, q) for q in PACKETS)
    assert not meets(rule._replace(scopes=("out", "forward")), expected)


def demand_true(policy: Policy, rule: Rule, question: Question, action: str, position: int | None) -> None:
    """The packet is one of those described, and is decided otherwise, by that rule."""
    answer = evaluate(policy, question)
    if question.scope == "forward":  # an interface that is not known yet is another than those listed
        assert question.on or question.via
        rule = rule._replace(
            on=rule.on if question.on or not rule.on or not rule.on.plain.negated else None,
            via=rule.via if question.via or not rule.via or not rule.via.plain.negated else None,
        )
    assert matches(rule, question)
    assert (answer.action, answer.position) == (action, position)
    assert action != rule.action
    again = Rule.parse(f"allow {described(question)}")
    assert matches(again, question)


def one_scope(rule: Rule) -> Rule:
    return rule._replace(scopes=rule.scopes[:1], log=None)


@steady
@given(policies(), rules().map(one_scope), st.data())
def test_any_policy(policy: Policy, rule: Rule, data: st.DataObject) -> None:
    if rule.has_further or asks_more_of_addresses(rule):  # refused where an expectation is read
        return
    found = counterexample(policy, rule)
    if found is None:
        question = data.draw(questions(rule, *policy.rules))
        if matches(rule, question) and question.on != "lo" and question.via != "lo":
            assert evaluate(policy, question).action == rule.action
    elif not found.maybe:
        demand_true(policy, rule, found.question, found.action, found.position)


def test_a_rule_that_asks_more_may_match_or_not() -> None:
    policy = parse_policy("allow in tcp to port 22 mark 1\nallow in tcp to port 23\ndrop in udp mark 2\n")
    for text, position in (("allow in tcp to port 22", None), ("allow in udp", 2)):
        found = counterexample(policy, Rule.parse(text))
        assert found is not None and found.position == position and found.maybe
    # Whichever way it goes, the default drops as well.
    assert counterexample(policy, Rule.parse("drop in udp")) is None
    assert counterexample(policy, Rule.parse("allow in tcp to port 23")) is None
    found = counterexample(policy, Rule.parse("allow in tcp to port 24"))
    assert found is not None and not found.maybe


def test_a_ceiling_is_not_asked() -> None:
    """What is above it is dropped, by the rule that allows the others: none behind it decides."""
    policy = parse_policy("allow in tcp to port 22 limit 1/hour max-flows 1\nallow in tcp\n")
    assert counterexample(policy, Rule.parse("allow in tcp to port 22")) is None
    found = counterexample(policy, Rule.parse("drop in tcp to port 22"))
    assert found is not None and (found.position, found.maybe) == (0, False)


def test_many_names_of_interfaces() -> None:
    """However many lists there are, a name is found that none of them has."""
    lists = [f"x{letter}+" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    text = "".join(f"allow in on {name}\n" for name in lists)
    found = counterexample(parse_policy(text), Rule.parse("allow in on x+"))
    assert found is not None and found.question.on is not None and found.question.on.startswith("x")
    assert counterexample(parse_policy(text + "allow in on x+\n"), Rule.parse("allow in on x+")) is None


def test_what_cannot_be_proved_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.proof.MAX_STEPS", 10)
    text = "".join(f"allow in tcp to port {port}\n" for port in range(1, 20)) + "expect allow in tcp\n"
    policy = parse_policy(text)
    expected = [one.value.rule for one in policy.statements if isinstance(one.value, Expectation)]
    with pytest.raises(TooComplex):
        counterexample(policy, expected[0])
    with pytest.raises(Unmet, match=r"rules\.fw:20:1: this cannot be proved"):
        verify(policy)


def test_a_rule_that_meets_nothing_makes_no_proof_harder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless there are too many rules, whatever they are; a small policy says when."""
    monkeypatch.setattr("firewall.proof.MAX_STEPS", 40)
    expected = Rule.parse("drop in tcp from 192.0.2.1, 192.0.2.3, 192.0.2.5, 192.0.2.7 to port 22")
    for count in range(1, 16):
        text = "".join(f"allow in udp to port {port}\n" for port in range(1, count + 1))
        assert not meets(Rule.parse(f"allow in udp to port {count}"), expected)
        assert too_many(count, expected) == (4 * count > 40)
        if too_many(count, expected):
            with pytest.raises(TooComplex):
                counterexample(parse_policy(text), expected)
        else:
            assert counterexample(parse_policy(text), expected) is None
    both = Rule.parse("drop in tcp, udp from 192.0.2.1, 2001:db8::1 to port 22, 24")
    assert too_many(6, both) and not too_many(5, both)


def test_a_thousand_rules_with_holes() -> None:
    """Every port but one, rule by rule, and then all of what is left."""
    ports = "".join(f"allow in tcp to port {port}\n" for port in range(1, 1000) if port != 500)
    assert counterexample(parse_policy(ports), Rule.parse("allow in tcp to port 1-499, 501-999")) is None
    found = counterexample(parse_policy(ports), Rule.parse("allow in tcp to port 1-999"))
    assert found is not None and found.question.dport == 500


def test_ceilings_are_left_aside() -> None:
    policy = parse_policy("allow in tcp to port 22 limit 1/second\n")
    assert counterexample(policy, Rule.parse("allow in tcp to port 22")) is None
    found = counterexample(policy, Rule.parse("drop in tcp to port 22"))
    assert found is not None and not found.maybe


NOT_LAN = "drop forward on not lan0 via wan0"


@pytest.mark.parametrize(
    ("text", "by"),
    [
        (f"{NOT_LAN}\nexpect {NOT_LAN}", "default forward allow"),
        (f"{NOT_LAN}\ndrop forward on lan0\nexpect drop forward via wan0", "default forward allow"),
        ("drop forward via not wan0\nexpect drop forward on lan0 via not wan0", "default forward allow"),
        (f"allow forward on lan0\ndrop forward\nexpect {NOT_LAN}", None),
        (f"allow forward on lan0\ndrop forward via wan0\nexpect {NOT_LAN}", None),
        ("drop forward on lan0 via wan0\nexpect drop forward on lan0 via wan0", None),
        (
            "drop forward via not wan0\ndrop forward via wan0\nexpect drop forward on lan0 via wan0, eth0",
            None,
        ),
        ("default in drop\nallow in on lan0\nexpect drop in on not lan0", None),
        ("default out allow\ndrop out via not lan0\nexpect drop out via not lan0", None),
        # one end is known
        (
            "drop forward on not a\ndrop forward on a\ndrop forward via not b\ndrop forward via b\nexpect drop forward",
            None,
        ),
    ],
)
def test_interfaces_that_are_not_known_yet_match_no_list(text: str, by: str | None) -> None:
    """As in the packet path: an interface without a class."""
    policy = parse_policy("default forward allow\n" + text)
    if by is None:
        verify(policy)
        return
    with pytest.raises(
        Unmet, match="where the other interface is so new that fw does not know its name yet"
    ) as unmet:
        verify(policy)
    assert by in str(unmet.value)


def test_boxes_that_are_far_from_what_is_expected_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [f"10.{n >> 7}.{n % 128 * 2}.1" for n in range(2000)]
    compared = 0

    def counted(one: Box, other: Box) -> Box | None:
        nonlocal compared
        compared += 1
        return _meet(one, other)

    monkeypatch.setattr("firewall.proof._meet", counted)
    expectation = Rule.parse(f"allow in from {', '.join(listed[::20])}")
    assert counterexample(parse_policy(f"allow in from {', '.join(listed)}"), expectation) is None
    assert 0 < compared < 1000


@pytest.mark.parametrize("text", ["expect drop in on lo", "zone z = lo\nexpect allow out via z"])
def test_what_is_never_filtered_cannot_be_expected(text: str) -> None:
    with pytest.raises(Unmet, match="this says nothing: the loopback interface 'lo' is never filtered"):
        verify(parse_policy(text))
    verify(parse_policy("default in drop\nexpect drop in on lo, eth0\nexpect drop in on not eth0"))
