# SPDX-License-Identifier: MIT
"""Edits change the lines that they speak of and no byte of any other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.errors import UsageError
from firewall.lang import PolicyError
from firewall.policy import parse_policy
from firewall.policyfile import (
    add_behind,
    add_protect,
    add_rule,
    add_to_zone,
    assign_ids,
    delete_rule,
    demand_nameable,
    insert_rule,
    remove_protect,
    set_default,
    set_option,
    take_from_zone,
    unset_option,
)
from firewall.rule import Rule
from firewall.written import Written
from tests.strategies import steady

WEB = Rule.parse("allow in tcp to port 80")

STARTER = """\
# How this machine is protected.

protect eth0
default in drop

# ssh
allow in tcp to port 22
#allow in tcp to port 443

# the rest is silence
"""


STATEMENTS = (
    *("allow in tcp to port 22", "allow in icmp", "drop forward", "reject out log", "allow in, out udp"),
    *("default in drop", "default out drop", "default forward allow"),
    *("option flows.max 65536", "option timeout.udp 3m", "protect eth0, ppp0", "protect not veth+"),
)
RULES = st.sampled_from(
    [Rule.parse(text) for text in ("allow in", "allow in icmp", 'drop out comment "x # y"')]
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Policies as people write them: remarks, blank lines, either line end, with or without the last one."""
    statements = draw(
        st.lists(st.sampled_from(STATEMENTS), max_size=6, unique_by=lambda one: " ".join(one.split()[:2]))
    )
    filler: st.SearchStrategy[list[str]] = st.lists(
        st.sampled_from(("", "# remark", "\t", "  # allow in")), max_size=2
    )
    lines: list[str] = []
    for statement in statements:
        lines += draw(filler)
        lines.append(
            draw(st.sampled_from(("", "  ", "\t"))) + statement + draw(st.sampled_from(("", " # x")))
        )
    lines += draw(filler)
    end = draw(st.sampled_from(("\n", "\r\n")))
    text = draw(st.sampled_from(("", "\ufeff"))) + end.join(lines)
    return text + draw(st.sampled_from(("", end))) if lines else text


@steady
@given(files(), RULES)
def test_add_and_delete_undo_each_other(text: str, rule: Rule) -> None:
    before = parse_policy(text)
    added = add_rule(text, rule)
    after = parse_policy(added)
    assert after.rules == (*before.rules, rule)
    if before.rules:
        assert add_behind(text, before.rule_lines[-1], rule) == added
    assert (after.defaults, after.options, after.protect) == (before.defaults, before.options, before.protect)
    back = delete_rule(added, after.rule_lines[-1])
    assert back.startswith(text)
    assert back.removeprefix(text) in ("", "\n", "\r\n")


@steady
@given(files(), RULES, st.data())
def test_insert_and_delete_undo_each_other(text: str, rule: Rule, data: st.DataObject) -> None:
    before = parse_policy(text)
    if not before.rules:
        return
    position = data.draw(st.integers(0, len(before.rules) - 1))
    inserted = insert_rule(text, before.rule_lines[position], rule)
    after = parse_policy(inserted)
    assert after.rules == (*before.rules[:position], rule, *before.rules[position:])
    assert delete_rule(inserted, after.rule_lines[position]) == text


@steady
@given(files(), st.sampled_from(("in", "out", "forward")), st.sampled_from(("allow", "drop", "reject")))
def test_set_default(text: str, scope: str, action: str) -> None:
    after = parse_policy(set_default(text, scope, action))
    assert after.defaults == {**parse_policy(text).defaults, scope: action}
    assert after.rules == parse_policy(text).rules
    assert set_default(set_default(text, scope, action), scope, action) == set_default(text, scope, action)


@steady
@given(files())
def test_set_and_unset_option(text: str) -> None:
    bare = unset_option(text, "flows.max")
    assert parse_policy(bare).options == {
        name: value for name, value in parse_policy(text).options.items() if name != "flows.max"
    }
    there = set_option(bare, "flows.max", "2048")
    assert parse_policy(there).options == {**parse_policy(bare).options, "flows.max": "2048"}
    assert unset_option(there, "flows.max").startswith(bare)
    assert parse_policy(there).rules == parse_policy(text).rules


@steady
@given(files())
def test_protect_and_unprotect(text: str) -> None:
    before = parse_policy(text)
    added = add_protect(text, "dummy7")
    assert parse_policy(added).protects("dummy7")
    if not before.protects("dummy7"):
        back = remove_protect(added, "dummy7")
        assert back.startswith(text)
        assert back.removeprefix(text) in ("", "\n", "\r\n")


def test_a_rule_goes_behind_the_last() -> None:
    expected = STARTER.replace("port 22\n", "port 22\nallow in tcp to port 80\n")
    assert add_rule(STARTER, WEB) == expected
    assert add_rule("", WEB) == "allow in tcp to port 80\n"
    assert add_rule("default in drop", WEB) == "default in drop\nallow in tcp to port 80\n"
    assert add_rule("\ufeff# a\r\n\r\n", WEB) == "\ufeff# a\r\n\r\nallow in tcp to port 80\r\n"


def test_a_rule_goes_before_another_and_its_remarks() -> None:
    expected = STARTER.replace("# ssh\n", "allow in tcp to port 80\n# ssh\n")
    assert insert_rule(STARTER, 7, WEB) == expected
    assert insert_rule("# head\nallow in\n", 2, WEB) == "# head\nallow in tcp to port 80\nallow in\n"
    assert insert_rule("\ufeffallow in", 1, WEB) == "\ufeffallow in tcp to port 80\nallow in"


def test_a_rule_goes_with_its_remark_on_the_same_line() -> None:
    assert delete_rule("allow in # x\n  allow out # y", 2) == "allow in # x\n"
    assert delete_rule("\ufeffallow in\r\n# y\r\n", 1) == "\ufeff# y\r\n"


@pytest.mark.parametrize("line", [0, 1, 2, 4, 6, 99])
def test_only_rules_are_deleted(line: int) -> None:
    with pytest.raises(UsageError, match=f"line {line} of the policy is not a rule"):
        delete_rule(STARTER, line)
    with pytest.raises(UsageError, match="is not a rule"):
        insert_rule(STARTER, line, WEB)


def test_defaults() -> None:
    assert set_default(STARTER, "in", "reject") == STARTER.replace("in drop", "in reject")
    assert set_default(STARTER, "out", "drop") == STARTER.replace("in drop\n", "in drop\ndefault out drop\n")
    assert set_default("\tdefault in  drop # x\r\n", "in", "allow") == "\tdefault in  allow # x\r\n"
    assert set_default("", "in", "allow") == "default in allow\n"
    assert (
        set_default("# head\n\n# ssh\nallow in", "in", "drop") == "# head\n\ndefault in drop\n# ssh\nallow in"
    )
    with pytest.raises(PolicyError, match="did you mean 'drop'"):
        set_default(STARTER, "in", "deny")


def test_options() -> None:
    text = set_option(STARTER, "flows.max", "02048")
    assert text == STARTER.replace("eth0\n", "eth0\noption flows.max 2048\n")
    text = set_option(text, "timeout.udp", "5m")
    assert "option flows.max 2048\noption timeout.udp 5m\ndefault" in text
    assert set_option("option flows.max 2048 # big\n", "flows.max", "4096") == "option flows.max 4096 # big\n"
    assert unset_option("option flows.max 2048\nallow in\noption flows.max 2048", "flows.max") == "allow in\n"
    assert unset_option(STARTER, "flows.max") == STARTER
    with pytest.raises(UsageError, match=r"no option 'flow.max'"):
        set_option(STARTER, "flow.max", "1")
    with pytest.raises(UsageError, match=r"no option 'flow.max'"):
        unset_option(STARTER, "flow.max")


def test_protected_names() -> None:
    assert add_protect(STARTER, "eth1") == STARTER.replace("eth0\n", "eth0\nprotect eth1\n")
    assert add_protect(STARTER, "eth0") == STARTER
    assert add_protect("protect eth+", "eth5") == "protect eth+"
    assert add_protect("# head\nallow in\n", "eth5") == "# head\nprotect eth5\nallow in\n"
    assert remove_protect(STARTER, "eth0") == STARTER.replace("protect eth0\n", "")
    assert remove_protect(STARTER, "eth1") == STARTER
    with pytest.raises(PolicyError, match="loopback"):
        add_protect(STARTER, "lo")


@pytest.mark.parametrize(
    "name",
    ["wan,lan", "lan+", "a+b", "not", "any", "tcp", 'e"0"', "e#0", "#", ",", "+", "\udcff", "\x1b[1m", "ä"],
)
def test_names_that_a_policy_cannot_say(name: str) -> None:
    with pytest.raises(UsageError, match="a policy cannot name the interface") as refused:
        demand_nameable(name)
    assert "\n" not in refused.value.message
    for plain in ("eth0", "br-lan", "eth0.10", "@x", "protect", "wg_0", "0"):
        demand_nameable(plain)
        assert parse_policy(add_protect("", plain)).protects(plain)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("protect a, b,c # x", "protect b,c # x"),
        ("protect b , a,c # x", "protect b , c # x"),
        ("protect b , c ,a # x", "protect b , c # x"),
        ("protect a\nprotect b, a\n", "protect b\n"),
        ("protect a", ""),
    ],
)
def test_a_name_leaves_its_list(before: str, after: str) -> None:
    assert remove_protect(before, "a") == after


@pytest.mark.parametrize("text", ["protect eth+", "protect not eth1", "protect eth0\nprotect eth+"])
def test_a_pattern_is_not_torn(text: str) -> None:
    line = len(text.splitlines())
    with pytest.raises(UsageError, match=f"'eth0' is protected by line {line} of the policy: protect"):
        remove_protect(text, "eth0")


def test_a_broken_file_is_not_edited() -> None:
    with pytest.raises(PolicyError, match=r"rules.fw:2:1: expected a statement"):
        add_rule("allow in\nalow out\n", WEB)


def test_ids() -> None:
    ids, free = assign_ids(["ssh", "web", "ssh"], {}, 1)
    assert (ids, free) == ([1, 2, 3], 4)
    known = {"ssh": [1, 3], "web": [2]}
    assert assign_ids(["mail", "web", "ssh", "ssh", "ssh"], known, 4) == ([4, 2, 1, 3, 5], 6)
    assert assign_ids(["ssh"], known, 9) == ([1], 9)
    assert known == {"ssh": [1, 3], "web": [2]}


@steady
@given(st.lists(RULES, max_size=6), st.lists(RULES, max_size=6), st.integers(1, 9))
def test_ids_are_kept_and_never_shared(before: list[Rule], after: list[Rule], first: int) -> None:
    texts = [str(rule) for rule in before]
    ids, free = assign_ids(texts, {}, first)
    previous: dict[str, list[int]] = {}
    for text, number in zip(texts, ids, strict=True):
        previous.setdefault(text, []).append(number)
    both = [*map(str, after), *texts]
    new_ids, new_free = assign_ids(both, previous, free)
    assert len(set(new_ids)) == len(both)
    assert set(ids) <= set(new_ids), "each old rule is still there"
    assert all(number < new_free for number in new_ids)
    assert new_free == free + len(after)


ZONES = """\
# Inside and out.
zone lan = eth1,  eth2 # home
zone outside = not lan
protect lan
zone spare = tun+
"""


@pytest.mark.parametrize(
    ("name", "interfaces", "line", "changed"),
    [
        ("lan", ["eth3", "eth1", "wg+"], 2, "zone lan = eth1,  eth2, eth3, wg+ # home"),
        ("lan", ["eth2"], 2, "zone lan = eth1,  eth2 # home"),
        ("lan", ["spare"], 2, "zone lan = eth1,  eth2, spare # home"),
        ("dmz", ["eth4", "eth5"], 6, "zone dmz = eth4, eth5"),
        ("dmz", ["not", "eth4", "eth5"], 6, "zone dmz = not eth4, eth5"),
    ],
)
def test_interfaces_of_a_zone(name: str, interfaces: list[str], line: int, changed: str) -> None:
    lines = ZONES.splitlines()
    lines[line - 1 : line] = [changed]
    assert add_to_zone(ZONES, name, interfaces) == "".join(f"{one}\n" for one in lines)


@pytest.mark.parametrize(
    ("name", "interfaces", "line", "changed"),
    [
        ("lan", ["eth1"], 2, ["zone lan = eth2 # home"]),
        ("lan", ["eth2", "eth2"], 2, ["zone lan = eth1 # home"]),
        ("outside", [], 3, []),
        ("spare", [], 5, []),
    ],
)
def test_less_of_a_zone(name: str, interfaces: list[str], line: int, changed: list[str]) -> None:
    lines = ZONES.splitlines()
    lines[line - 1 : line] = changed
    assert take_from_zone(ZONES, name, interfaces) == "".join(f"{one}\n" for one in lines)


@pytest.mark.parametrize(
    ("name", "interfaces", "said"),
    [
        ("lan", [], "zone 'lan' is used by line 3: zone outside = not lan"),
        ("lan", ["eth1", "eth2"], "zone 'lan' would have no interface"),
        ("lan", ["eth3"], "zone 'lan' does not have 'eth3': it is eth1, eth2"),
        ("outside", ["lan"], "zone 'outside' is every interface but some: not lan"),
        ("land", [], "the policy has no zone 'land'"),
    ],
)
def test_what_cannot_be_taken_from_a_zone(name: str, interfaces: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        take_from_zone(ZONES, name, interfaces)
    assert caught.value.message == said


@pytest.mark.parametrize(
    ("name", "interfaces"),
    [
        ("lan", ["not", "eth3"]),
        ("outside", ["eth3"]),
        ("l+", ["eth3"]),
        ("lan", ["a b"]),
        ("dmz", ["not"]),
        ("dmz", []),
    ],
)
def test_what_no_zone_can_have(name: str, interfaces: list[str]) -> None:
    with pytest.raises(UsageError):
        add_to_zone(ZONES, name, interfaces)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("eth1", "'eth1' is an interface in line 2: zone lan = eth1, eth2"),
        ("wan", "'wan' is an interface in line 6: allow forward on lan via not wan"),
        ("br0", "'br0' is an interface in line 7: expect drop in on br0"),
    ],
)
def test_what_means_an_interface_becomes_no_zone(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        add_to_zone(ZONES + "allow forward on lan via not wan\nexpect drop in on br0\n", name, ["eth7"])
    assert caught.value.message == said


def test_zones_of_included_files() -> None:
    """One that an included file uses stays, and one that it has is changed there."""
    text = "zone lan = eth1, eth2\ninclude more.fw\n"
    included = ((("more.fw", Written("zone dmz = eth4\ndrop in on lan\n")),),)
    with pytest.raises(UsageError, match=r"zone .lan. is used by more\.fw:2: drop in on lan"):
        take_from_zone(text, "lan", [], included)
    assert take_from_zone(text, "lan", ["eth2"], included).startswith("zone lan = eth1\n")
    for change in (add_to_zone, take_from_zone):
        with pytest.raises(UsageError, match=r"zone .dmz. is on line 1 of more\.fw"):
            change(text, "dmz", ["eth5"], included)
    included = ((("more.fw", Written("drop in on dmz\n")),),)
    with pytest.raises(UsageError, match=r"'dmz' is an interface in more\.fw:1: drop in on dmz"):
        add_to_zone(text, "dmz", ["eth5"], included)
