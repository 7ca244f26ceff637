# SPDX-License-Identifier: MIT
"""A rule is called dead only if an earlier one covers it, and always if a single one does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall import shadow
from firewall.evaluate import matches
from firewall.rule import Rule
from firewall.shadow import TooMany, dead_by, dead_rules
from firewall.terms import ANY_END
from tests.strategies import questions, rules, steady


def widened(rule: Rule) -> list[Rule]:
    """The rule, and others that ask for less in one clause."""
    return [
        rule,
        rule._replace(on=None),
        rule._replace(via=None),
        rule._replace(src=ANY_END),
        rule._replace(dst=ANY_END, comment="wider"),
        rule._replace(icmp_types=()),
    ]


@st.composite
def related(draw: st.DrawFn) -> list[Rule]:
    """Rules of which some cover others."""
    bases = draw(st.lists(rules(), min_size=1, max_size=2))
    return [draw(st.sampled_from(widened(base))) for base in bases for _ in range(3)]


@steady
@given(st.data(), related())
def test_dead_rules_never_decide(data: st.DataObject, listed: list[Rule]) -> None:
    for index, earlier in dead_rules(listed).items():
        assert earlier < index
        for _ in range(5):
            question = data.draw(questions(listed[index], listed[earlier]))
            if matches(listed[index], question):
                assert matches(listed[earlier], question)


@steady
@given(related())
def test_one_rule_and_all_rules_agree(listed: list[Rule]) -> None:
    found = {index: dead_by(listed, index) for index in range(len(listed))}
    assert {index: earlier for index, earlier in found.items() if earlier is not None} == dead_rules(listed)


@steady
@given(rules(), st.data())
def test_a_wider_rule_covers(rule: Rule, data: st.DataObject) -> None:
    wide = data.draw(st.sampled_from(widened(data.draw(st.sampled_from(widened(rule))))))
    assert dead_by([wide, rule], 1) == 0
    assert dead_by([rule, wide], 0) is None


@pytest.mark.parametrize(
    ("earlier", "later", "dead"),
    [
        ("allow in", "drop in tcp", True),
        ("allow in tcp", "drop in", False),
        ("allow in, out", "drop out", True),
        ("allow in", "drop in, out", False),
        ("allow in tcp, udp", "drop in udp", True),
        ("allow in tcp", "drop in tcp, udp", False),
        ("allow in from 192.0.2.0/24", "drop in from 192.0.2.1, 192.0.2.9", True),
        ("allow in from 192.0.2.0/24", "drop in from 192.0.2.1, 192.0.3.9", False),
        ("allow in from 192.0.2.0/24", "drop in from not 192.0.2.0/24", False),
        ("allow in from not 192.0.2.0/24", "drop in from 2001:db8::/32", True),
        ("allow in from 192.0.2.0/24", "drop in from 192.0.2.0/24, 2001:db8::/32", False),
        ("allow in from 0.0.0.0/0, ::/0", "drop in", True),
        ("allow in from 0.0.0.0/0", "drop in icmp", True),
        ("allow in from 0.0.0.0/0", "drop in icmp, icmp6", False),
        ("allow in tcp to port 20-30", "drop in tcp to port 22, 25", True),
        ("allow in tcp to port not 22", "drop in tcp to port 23", True),
        ("allow in tcp to port not 22", "drop in tcp to port 20-24", False),
        ("allow in icmp", "drop in icmp icmp-type 8/0", True),
        ("allow in icmp icmp-type 8", "drop in icmp icmp-type echo-request", True),
        ("allow in icmp icmp-type 8/0", "drop in icmp icmp-type 8", False),
        ("allow in icmp, icmp6 icmp-type echo-request", "drop in icmp6 icmp-type 128", True),
        ("allow in on eth0", "drop in on eth0", True),
        ("allow in on eth0", "drop in", False),
        ("allow in on +", "drop in", True),
        ("allow in on eth+", "drop in on eth0, eth1+", True),
        ("allow in on eth0+", "drop in on eth+", False),
        ("allow in on eth0", "drop in on not eth1", False),
        ("allow in on not eth0", "drop in on eth1", True),
        ("allow in on not eth0", "drop in on eth+", False),
        ("allow in on not eth+", "drop in on eth0", False),
        ("allow in on not eth0", "drop in on not eth+", True),
        ("allow in on not eth+", "drop in on not eth0", False),
        ("allow forward on a via b", "drop forward on a via b, c", False),
        ("allow forward on a", "drop forward on a via b, c", True),
    ],
)
def test_examples(earlier: str, later: str, dead: bool) -> None:
    rules = [Rule.parse(earlier), Rule.parse(later)]
    assert dead_by(rules, 1) == (0 if dead else None)


def test_a_search_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MAX_STEPS", 3)
    # each lies within the ports of all before it, and none within their interfaces
    within = [Rule.parse(f"allow in on eth{n} tcp to port 100-{200 - n}") for n in range(4)]
    covered = Rule.parse("drop in on eth0 tcp to port 150")
    with pytest.raises(TooMany) as raised:
        dead_rules([within[0], covered, *within[1:], covered])
    assert (raised.value.done, raised.value.dead) == (4, {1: 0})
    assert dead_rules(within[:3]) == {}
