# SPDX-License-Identifier: MIT
"""Zones come to the interfaces that they name, in each place where interfaces are asked for."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.change import differences
from firewall.compile import Patterns
from firewall.errors import UsageError
from firewall.evaluate import Question, evaluate
from firewall.expand import interface_patterns
from firewall.lang import PolicyError
from firewall.policy import parse_policy
from firewall.policyfile import add_protect, remove_protect
from firewall.rule import Rule
from firewall.shadow import dead_rules
from firewall.terms import Names
from tests.strategies import IFNAMES, names, steady

ZONED = """protect inside
allow in on inside tcp to port 22
zone inside = lan, wg0
zone lan = eth1, vlan+
zone outside = not inside
drop forward via outside
allow forward via not outside
"""
# The same without zones.
PLAIN = """protect eth1, vlan+, wg0
allow in on eth1, vlan+, wg0 tcp to port 22
drop forward via not eth1, vlan+, wg0
allow forward via eth1, vlan+, wg0
"""
INTERFACES = ("eth0", "eth1", "eth10", "vlan", "vlan7", "wg0", "inside", "lan")


def question(scope: str, ifname: str) -> Question:
    one, other = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    on, via = (ifname, None) if scope == "in" else ("eth9", ifname)
    return Question(scope, 6, one, other, 1024, 22, on=on, via=via)


@pytest.mark.parametrize("ifname", INTERFACES)
def test_a_zone_decides_as_its_interfaces(ifname: str) -> None:
    zoned, plain = parse_policy(ZONED), parse_policy(PLAIN)
    for scope in ("in", "forward"):
        ours, theirs = (evaluate(policy, question(scope, ifname)) for policy in (zoned, plain))
        assert (ours.action, ours.position) == (theirs.action, theirs.position)
    assert zoned.protects(ifname) == plain.protects(ifname)


@pytest.mark.parametrize("ifname", INTERFACES)
def test_the_kernel_sees_interfaces(ifname: str) -> None:
    zoned, plain = parse_policy(ZONED), parse_policy(PLAIN)
    assert interface_patterns(zoned.rules) == interface_patterns(plain.rules)
    assert Patterns(zoned.rules).row(ifname) == Patterns(plain.rules).row(ifname)
    assert [Patterns(zoned.rules).number(rule.via) for rule in zoned.rules] == [
        Patterns(plain.rules).number(rule.via) for rule in plain.rules
    ]


def test_rules_keep_the_names_of_zones() -> None:
    policy = parse_policy(ZONED)
    assert [str(rule) for rule in policy.rules] == [
        "allow in on inside tcp to port 22",
        "drop forward via outside",
        "allow forward via not outside",
    ]
    again = parse_policy(str(policy))
    assert again == policy and str(again) == str(policy)


def test_a_zone_that_changes_changes_the_policy() -> None:
    assert parse_policy(ZONED) != parse_policy(ZONED.replace("eth1", "eth2"))


def test_what_changes_is_said_of_the_zone_that_is_written_otherwise() -> None:
    changed = parse_policy(ZONED.replace("eth1", "eth2"))
    assert differences(parse_policy(ZONED), changed) == ("zone lan = eth2, vlan+",)
    assert differences(changed, changed) == ()


def test_a_rule_is_shadowed_by_what_a_zone_comes_to() -> None:
    rules = parse_policy(
        "zone lan = eth1, eth2\ndrop in on lan\nallow in on eth2\nallow in on lan, eth3\n"
    ).rules
    assert dead_rules(rules) == {1: 0}


def test_protecting_what_a_zone_protects_changes_nothing() -> None:
    text = "protect lan\nzone lan = eth1, vlan+\n"
    assert add_protect(text, "eth1") == add_protect(text, "vlan7") == text
    assert add_protect(text, "eth2") == "protect lan\nprotect eth2\nzone lan = eth1, vlan+\n"


def test_an_interface_is_not_taken_out_of_a_zone() -> None:
    text = "zone lan = eth1, eth2\nprotect lan, eth3\n"
    assert remove_protect(text, "eth3") == "zone lan = eth1, eth2\nprotect lan\n"
    with pytest.raises(UsageError, match="'eth1' is protected by line 2 of the policy: protect lan, eth3"):
        remove_protect(text, "eth1")


def test_an_interface_that_is_called_like_a_zone_cannot_be_named() -> None:
    with pytest.raises(UsageError, match="'lan' is a zone of the policy"):
        add_protect("zone lan = eth1\nprotect lan\n", "lan")
    assert add_protect("zone lan = eth1, la+\nprotect lan\n", "lan") == "zone lan = eth1, la+\nprotect lan\n"


def expected(named: dict[str, Names], one: Names, ifname: str) -> bool:
    """Whether a list with zones matches, in the plainest way."""
    hits = [
        expected(named, named[name], ifname) if name in named else Names(False, (name,)).matches(ifname)
        for name in one.patterns
    ]
    return any(hits) != one.negated


@steady
@given(st.lists(names(), min_size=1, max_size=4), st.data())
def test_nested_zones(lists: list[Names], data: st.DataObject) -> None:
    """Each zone may have the one before it, alone where that is a negated one."""
    zones: dict[str, Names] = {}
    for i, one in enumerate(lists):
        if i and data.draw(st.booleans()):
            others = () if zones[f"z{i - 1}"].negated else one.patterns
            one = Names(data.draw(st.booleans()), (f"z{i - 1}", *others))
        zones[f"z{i}"] = one
    text = "".join(f"zone {name} = {one}\nallow in on {name}\n" for name, one in zones.items())
    try:
        policy = parse_policy(text)
    except PolicyError as error:
        # A list of one zone turned round twice is plain again, and may stand among others.
        assert all(
            "leaves no interface" in one.message or "one of several" in one.message for one in error.problems
        )
        return
    for one, rule in zip(zones.values(), policy.rules, strict=True):
        assert rule.on is not None
        for ifname in IFNAMES:
            assert rule.on.matches(ifname) == expected(zones, one, ifname)


def test_a_rule_by_itself_knows_no_zones() -> None:
    assert Rule.parse("allow in on lan").on == Names(False, ("lan",))


def test_zones_in_zones_may_be_many() -> None:
    lines = [f"zone z{n} = z{n + 1}, eth{n}" for n in range(1500)]
    policy = parse_policy("\n".join(["allow in on z0", *lines, "zone z1500 = wan0"]))
    on = policy.rules[0].on
    assert on is not None and on.matches("wan0") and on.matches("eth1499") and not on.matches("eth1500")
    lines[-1] = "zone z1499 = z0"
    with pytest.raises(PolicyError, match="zone 'z0' contains itself"):
        parse_policy("\n".join(["allow in on z0", *lines]))
