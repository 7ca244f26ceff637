# SPDX-License-Identifier: MIT
"""Other firewalls' rules and what fw makes of them: the files import/NAME.KIND and NAME.KIND.made.

Those of nft were printed by `nft -j list ruleset`, laid out anew. `UPDATE_GOLDEN=1` writes the second files.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from firewall.errors import UsageError
from firewall.form import formatted
from firewall.importers.carried import Carried
from firewall.policy import parse_policy
from tests.golden.test_golden import compare

Item = dict[str, Any]

HERE = Path(__file__).parent / "import"
DROPPING = "*filter\n:INPUT DROP [0:0]\n" + "".join(
    f"-A {chain} -m state --state ESTABLISHED,RELATED -j ACCEPT\n" for chain in ("INPUT", "FORWARD", "OUTPUT")
)
FILES = [path for path in sorted(HERE.iterdir()) if path.suffix != ".made"]


def carry(kind: str, text: str) -> Carried:
    carried: Carried = import_module(f"firewall.importers.{kind}").carry(text)
    return carried


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_import(path: Path) -> None:
    carried = carry(path.suffix[1:], path.read_text())
    said = [f"not needed: {one}\n" for one in carried.implied] + [f"missing: {one}\n" for one in carried.lost]
    compare(path.with_name(path.name + ".made"), carried.text() + "\n" + "".join(said))
    assert parse_policy(carried.text()).rules
    assert formatted(carried.text()) == carried.text()


@pytest.mark.parametrize("text", ["", "{}", "[]", "table inet filter {\n}\n", '{"nftables": 7}'])
def test_what_is_none_of_nfts_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="this is not what 'nft -j list ruleset' prints"):
        carry("nft", text)


@pytest.mark.parametrize("kind", ["iptables", "ufw", "aya"])
def test_nothing_comes_of_nothing(kind: str) -> None:
    carried = carry(kind, "")
    assert not parse_policy(carried.text()).rules and not carried.lost


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("-A INPUT -j ACCEPT", ["allow in from 0.0.0.0/0"]),
        ("-A INPUT -i eth+ ! -i eth0 -j ACCEPT", None),
        ("-A INPUT -s 10.0.0.0/255.0.0.0 -j DROP", ["drop in from 10.0.0.0/8"]),
        ("-A INPUT -s 10.0.0.1 -p 89 -j DROP", ["drop in proto 89 from 10.0.0.1"]),
        ("-A INPUT -s 10.0.0.1,10.0.0.2 -j DROP", ["drop in from 10.0.0.1-10.0.0.2"]),
        ("-A INPUT -m state --state NEW -j ACCEPT", ["allow in from 0.0.0.0/0"]),
        ("-A INPUT -p tcp --syn -j ACCEPT", ["allow in tcp from 0.0.0.0/0"]),
        ("-A INPUT -p tcp ! --syn -m state --state NEW -j DROP", []),
        ("-A INPUT ! -i lo -j DROP", ["drop in from 0.0.0.0/0"]),
        ("-A INPUT -i lo -j DROP", None),
        ("-A INPUT -p icmp --icmp-type 3/4 -j ACCEPT", ["allow in icmp icmp-type 3/4"]),
        ("-A INPUT -p icmp --icmp-type any -j ACCEPT", ["allow in icmp"]),
        ("-A INPUT -p icmp --icmp-type nonsense -j ACCEPT", None),
        ("-A INPUT ! -p tcp -j ACCEPT", None),
        ("-A INPUT -p tcp --dport :1023 -j DROP", ["drop in tcp from 0.0.0.0/0 to port 0-1023"]),
        ("-A INPUT -p tcp --dport ssh -j DROP", ["drop in tcp from 0.0.0.0/0 to port 22"]),
        ("-A INPUT -p tcp --dport 70000 -j DROP", None),
        ("-A INPUT -j NOWHERE", None),
        ("-A INPUT -m state --state ESTABLISHED -j DROP", []),
        ("-A INPUT -m state --state UNTRACKED -j ACCEPT", None),
        ("-A INPUT -j REJECT --reject-with icmp-proto-unreachable", None),
        ("-A INPUT -p tcp --tcp-flags ALL NONE -j DROP", None),
        ("-A INPUT -p tcp --dport", None),
        ('-A INPUT -m comment --comment "open', None),
        ("-A INPUT -s 2001:db8::1 -j DROP", ["drop in from 2001:db8::1"]),
        ("-I INPUT -j ACCEPT", None),
        (
            "-A INPUT -m mac --mac-source 02:00:00:00:00:0A -j DROP",
            ["drop in from 0.0.0.0/0 mac 02:00:00:00:00:0a"],
        ),
        ("-A INPUT -m mac --mac-source 01:00:5e:00:00:fb -j DROP", None),
        ("-A INPUT -m mac --mac-source nobody -j DROP", None),
        ("-A OUTPUT -m mac --mac-source 02:00:00:00:00:0a -j DROP", []),
        ("-A OUTPUT -m mark --mark 7 -j DROP", ["drop out from 0.0.0.0/0 mark 0x7"]),
        ("-A OUTPUT -m mark --mark 0/0 -j DROP", ["drop out from 0.0.0.0/0"]),
        ("-A OUTPUT -m mark ! --mark 0x2/0x2 -j DROP", ["drop out from 0.0.0.0/0 mark 0x0/0x2"]),
        ("-A OUTPUT -m mark ! --mark 0/0 -j DROP", None),
        ("-A OUTPUT -m mark --mark 0x100000000 -j DROP", None),
        ("-A FORWARD -m mark --mark 7 -j DROP", None),
        ("-A FORWARD -m dscp --dscp-class AF11 -j DROP", ["drop forward from 0.0.0.0/0 dscp af11"]),
        ("-A INPUT -m dscp --dscp-class AF44 -j DROP", None),
        ("-A OUTPUT -m owner --uid-owner www-data -j DROP", ["drop out from 0.0.0.0/0 user www-data"]),
        ("-A INPUT -m owner --uid-owner 33 -j DROP", None),
    ],
)
def test_lines_of_iptables(line: str, rules: list[str] | None) -> None:
    """None where the line cannot be carried over."""
    carried = carry("iptables", f"{DROPPING}{line}\nCOMMIT\n")
    assert [str(rule) for rule in parse_policy(carried.text()).rules] == (rules or [])
    assert (rules is None) == bool(carried.lost)


@pytest.mark.parametrize(
    ("left", "right", "rules"),
    [
        (
            {"payload": {"protocol": "ip", "field": "dscp"}},
            {"range": ["lephb", 2]},
            ["from 0.0.0.0/0 dscp le, 2"],
        ),
        ({"payload": {"protocol": "ip6", "field": "dscp"}}, {"range": [0, 63]}, ["from ::/0"]),
        ({"payload": {"protocol": "tcp", "field": "dport"}}, {"range": [5, 9]}, ["tcp to port 5-9"]),
        ({"payload": {"protocol": "ether", "field": "saddr"}}, {"set": []}, []),
    ],
)
def test_matches_of_nft(left: Item, right: object, rules: list[str]) -> None:
    carried = of_nft(rule(asks(left, right), ACCEPT))
    assert [*map(str, parse_policy(carried.text()).rules)] == [f"allow in {one}" for one in rules]
    assert not carried.lost


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"type": "icmp", "expr": "port-unreachable"}, "port in from 0.0.0.0/0"),
        ({"type": "icmpv6", "expr": "admin-prohibited"}, "admin in from ::/0"),
        ({"type": "icmpx", "expr": "host-unreachable"}, "host in"),
        ({"type": "tcp reset"}, "rst in tcp"),
    ],
)
def test_an_answer_of_nft_says_whose_it_is(answer: Item, said: str) -> None:
    """As nft prints it, without the match that the answer implies."""
    carried = of_nft(rule({"reject": answer}))
    assert [*map(str, parse_policy(carried.text()).rules)] == [f"reject with {said}"]


@pytest.mark.parametrize(
    ("op", "port", "said"),
    [
        ("<", 2, "0-1"),
        ("<=", 2, "0-2"),
        (">", 2, "3-65535"),
        (">=", 2, "2-65535"),
        ("<", 0, ""),
        (">", 65535, ""),
    ],
)
def test_ports_above_and_below(op: str, port: int, said: str) -> None:
    carried = of_nft(rule(asks(PORT, port, op), ACCEPT))
    assert [*map(str, parse_policy(carried.text()).rules)] == (
        [f"allow in tcp to port {said}"] if said else []
    )
    assert not carried.lost


def test_more_mac_addresses_than_a_rule_has_are_several_rules() -> None:
    listed = [f"02:00:00:00:00:{number:02x}" for number in range(18)]
    carried = of_nft(
        rule(asks({"payload": {"protocol": "ether", "field": "saddr"}}, {"set": listed}), ACCEPT)
    )
    assert [len(one.macs or ()) for one in parse_policy(carried.text()).rules] == [16, 2]


def test_a_limit_is_named_with_what_to_write() -> None:
    (left,) = carry("iptables", f"{DROPPING}-A INPUT -m limit --limit 3/hour -j ACCEPT\nCOMMIT\n").lost
    assert left.why == "fw does not carry limits over" and "'limit 3/hour burst 5'" in left.by_hand
    assert parse_policy("allow in limit 3/hour burst 5").rules


def test_ufw_resets_tcp_that_a_rule_names() -> None:
    everyone = "any 0.0.0.0/0 in"
    lines = [
        f"### tuple ### reject {proto} {port} 0.0.0.0/0 {everyone}"
        for proto, port in (("any", "7"), ("any", "any"))
    ]
    rules = [*map(str, parse_policy(carry("ufw", "\n".join(lines)).text()).rules)]
    assert rules == [
        "reject with rst in tcp from 0.0.0.0/0 to port 7",
        "reject with port in udp from 0.0.0.0/0 to port 7",
        "reject with port in from 0.0.0.0/0",
    ]


def test_chains_in_a_circle_end() -> None:
    text = f"{DROPPING}:A - [0:0]\n-A INPUT -j A\n-A A -p tcp -j ACCEPT\n-A A -j A\nCOMMIT\n"
    carried = carry("iptables", text)
    assert [one.why for one in carried.lost] == ["it jumps in a circle"]


def test_what_is_logged_and_not_decided_at_once_is_named() -> None:
    text = f"{DROPPING}-A INPUT -j LOG\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n"
    (left,) = carry("iptables", text).lost
    assert left.place == "line 6" and left.why.startswith("in fw the rule that decides is the one that logs")


def chain(table: str, policy: str, family: str = "inet") -> Item:
    base = {"family": family, "table": table, "name": "input", "hook": "input", "type": "filter"}
    return {"chain": {**base, "policy": policy}}


def rule(*expr: object, table: str = "a", family: str = "inet") -> Item:
    return {"rule": {"family": family, "table": table, "chain": "input", "handle": 1, "expr": list(expr)}}


def asks(left: Item, right: object, op: str = "==") -> Item:
    return {"match": {"op": op, "left": left, "right": right}}


ACCEPT = {"accept": None}
PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
OPENS = {"vmap": {"key": PORT, "data": {"set": [[22, ACCEPT]]}}}
FOLLOWED = rule(asks({"ct": {"key": "state"}}, {"set": ["established", "related"]}), ACCEPT)
EMPTY = {"set": {"family": "inet", "table": "a", "name": "none", "type": "ifname"}}


def of_nft(*items: Item) -> Carried:
    return carry("nft", json.dumps({"nftables": [chain("a", "drop"), FOLLOWED, *items]}))


@pytest.mark.parametrize(
    "expr",
    [
        # of answers alone, whatever the map says
        (asks({"ct": {"key": "state"}}, ["established"], "in"), OPENS),
        (asks({"meta": {"key": "protocol"}}, "arp"), ACCEPT),
        (asks({"meta": {"key": "nfproto"}}, {"set": ["ipv4", "ipv6"]}, "!="), ACCEPT),
        (asks({"meta": {"key": "iifname"}}, "@none"), ACCEPT),
        (asks({"payload": {"protocol": "icmp", "field": "type"}}, "@none"), ACCEPT),
    ],
)
def test_what_matches_nothing_that_opens_a_flow_allows_nothing(expr: tuple[object, ...]) -> None:
    carried = of_nft(EMPTY, rule(*expr))
    assert not parse_policy(carried.text()).rules
    assert carried.implied and not carried.lost


def test_an_interface_beside_the_loopback_one_is_kept() -> None:
    carried = of_nft(rule(asks({"meta": {"key": "iifname"}}, {"set": ["lo", "eth0"]}), ACCEPT))
    assert [*map(str, parse_policy(carried.text()).rules)] == ["allow in on eth0"]


def test_a_second_chain_that_drops_what_the_first_accepts_is_missing() -> None:
    items = [chain("a", "accept"), rule(asks(PORT, 22), ACCEPT), chain("b", "drop")]
    assert carry("nft", json.dumps({"nftables": items})).lost


@pytest.mark.parametrize(
    "expr",
    [
        asks({"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["syn"]]}, "syn"),
        asks(PORT, "²"),
        {"accept": None, "drop": None},
        "accept",
        {"match": {}},
        {"reject": {"type": "tcp"}},
        asks({"&": [{"meta": {"key": "mark"}}]}, 1),
        asks(PORT, {"set": [1, 2]}, "<"),
    ],
)
def test_expressions_of_other_forms_are_named(expr: object) -> None:
    assert of_nft(rule(expr, ACCEPT)).lost


def test_icmp_of_ipv4_in_the_rules_of_ipv6_allows_none_of_ipv4() -> None:
    carried = carry(
        "iptables", f"# Generated by ip6tables-save\n{DROPPING}-A INPUT -p icmp -j ACCEPT\nCOMMIT\n"
    )
    assert not parse_policy(carried.text()).rules and carried.implied
    meta = asks({"meta": {"key": "l4proto"}}, "icmp")
    state = asks({"ct": {"key": "state"}}, "established")
    items = [chain("a", "drop", "ip6"), rule(state, ACCEPT, family="ip6"), rule(meta, ACCEPT, family="ip6")]
    text = carry("nft", json.dumps({"nftables": items})).text()
    assert [*map(str, parse_policy(text).rules)] == ["allow in from 0.0.0.0/0"]


@pytest.mark.parametrize(
    "lines",
    [
        "*filter\n:INPUT",
        f'{DROPPING}-A"',
        f"{DROPPING}[1:2] -I INPUT -j DROP",
        f"{DROPPING}COMMIT\n*filter\n-A INPUT -p tcp --dport 22 -j ACCEPT",
        f"{DROPPING}-A INPUT -s 0.0.0.1/0.0.0.255 -j ACCEPT",
        f"{DROPPING}-A INPUT -p tcp --dport ² -j ACCEPT",
        f"{DROPPING}-A INPUT -p ² -j ACCEPT",
    ],
)
def test_lines_that_iptables_does_not_save_are_named(lines: str) -> None:
    assert carry("iptables", lines).lost


def saved(*lines: str) -> str:
    return "\n".join([DROPPING.rstrip(), *lines, "COMMIT", ""])


def rules_of(carried: Carried) -> list[str]:
    return [*map(str, parse_policy(carried.text()).rules)]


def test_a_chain_with_a_return_that_cannot_be_read_is_left_out() -> None:
    for line in ("-m set --match-set bad src -j RETURN", "-m addrtype --dst-type LOCAL -j RETURN", "-g B"):
        lines = (":A - [0:0]", "-A INPUT -j A", f"-A A {line}", "-A A -p tcp --dport 22 -j ACCEPT")
        carried = carry("iptables", saved(*lines))
        assert not rules_of(carried)
        assert "has a return that depends on the packet" in carried.lost[0].why
    jumps = rule({"jump": {"target": "aside"}})
    aside = {"chain": {"family": "inet", "table": "a", "name": "aside"}}
    returns = rule(asks({"meta": {"key": "cpu"}}, 0), {"return": None})
    returns["rule"]["chain"] = "aside"
    carried = of_nft(aside, jumps, returns)
    assert carried.lost and not rules_of(carried)


def hooks(*lines: str, policies: str = "DROP DROP ACCEPT") -> Carried:
    heads = [
        f":{name} {policy}"
        for name, policy in zip(("INPUT", "FORWARD", "OUTPUT"), policies.split(), strict=True)
    ]
    return carry("iptables", "\n".join(["*filter", *heads, *lines, "COMMIT", ""]))


FOLLOW = "-m state --state RELATED,ESTABLISHED -j ACCEPT"


@pytest.mark.parametrize(
    ("before", "turned"),
    [
        ("-s 198.51.100.0/24 -j DROP", "out to 198.51.100.0/24"),
        ("-i wan0 -s 198.51.100.7 -p udp --sport 53 -j REJECT", "out via wan0 udp to 198.51.100.7 port 53"),
        ("-s 198.51.100.7 -m state --state NEW -j DROP", ""),
        ("-s 198.51.100.7 -p tcp --syn -j DROP", ""),
        ("-s 224.0.0.0/4 -j DROP", ""),
        ("-s 255.255.255.255 -j DROP", ""),
        ("-p tcp --dport 3306 -j DROP", ""),
        ("-p tcp --dport 1:60000 -j DROP", "out tcp from 0.0.0.0/0 port 1-60000"),
        ("-m state --state NEW -j BLACK", ""),
        ("-j BLACK", "out to 203.0.113.0/24"),
    ],
)
def test_what_drops_answers_is_written_for_both_directions(before: str, turned: str) -> None:
    black = (":BLACK - [0:0]", "-A BLACK -s 203.0.113.0/24 -j DROP")
    carried = hooks(*black, f"-A INPUT {before}", f"-A INPUT {FOLLOW}", "-A INPUT -s 192.0.2.1 -j DROP")
    told = [one for one in rules_of(carried) if one.endswith('comment "its answers were dropped"')]
    assert told == ([f'drop {turned} comment "its answers were dropped"'] if turned else [])
    assert not carried.lost


def test_what_is_dropped_for_want_of_answers_stands_before_what_allows_it() -> None:
    lines = (
        f"-A OUTPUT {FOLLOW}",
        "-A OUTPUT -d 192.0.2.1 -j REJECT",
        "-A OUTPUT -p udp --dport 514 -j ACCEPT",
    )
    carried = hooks("-A INPUT -s 10.0.0.0/8 -j DROP", f"-A INPUT {FOLLOW}", *lines)
    assert [one.split(" comment")[0] for one in rules_of(carried)] == [
        "drop in from 10.0.0.0/8",
        "reject with port out to 192.0.2.1",
        "drop out to 10.0.0.0/8",
        "allow out udp from 0.0.0.0/0 to port 514",
    ]
    (note,) = (one for one in carried.implied if one.place == "line 5")
    assert note.why == "packets that would need no answer are dropped with those whose answers it drops"


@pytest.mark.parametrize(
    "lines",
    [
        ("-A INPUT -p tcp --dport 22 -j ACCEPT",),
        (f"-A INPUT -j DROP\n-A INPUT {FOLLOW}",),
        ("-A INPUT -p icmp --icmp-type echo-request -j ACCEPT",),
        ("-A INPUT -p tcp -m state --state NEW -j ACCEPT",),
    ],
)
def test_a_chain_by_which_no_answer_comes_is_named(lines: tuple[str, ...]) -> None:
    (left,) = hooks(*lines).lost
    assert left.place == "INPUT" and left.why.startswith("nothing here lets answers in")
    alone = hooks(*lines, policies="DROP DROP DROP").lost
    assert "INPUT" not in [one.place for one in alone], "none begin by the other"


@pytest.mark.parametrize(
    "lines",
    [
        (f"-A INPUT {FOLLOW}", "-A INPUT -j REJECT --reject-with icmp-host-prohibited", "-A FORWARD -j DROP"),
        ("-A INPUT ! -i wan0 -j ACCEPT", f"-A INPUT -i wan0 {FOLLOW}"),
        (f"-A INPUT {FOLLOW}", "-A INPUT -s 10.0.0.1 -p tcp --dport 22 -j ACCEPT", "-A INPUT -j DROP"),
        (
            "-A INPUT -s 10.0.0.1 -p tcp --dport 22 -j ACCEPT",
            "-A INPUT -p tcp --dport 22 -j DROP",
            f"-A INPUT {FOLLOW}",
        ),
        ("-A INPUT -p tcp ! --syn -j ACCEPT", "-A INPUT -p udp --sport 53 -j ACCEPT"),
        (
            f"-A INPUT {FOLLOW}",
            f"-A FORWARD -d 192.168.122.0/24 -o virbr0 {FOLLOW}",
            "-A FORWARD -s 192.168.122.0/24 -i virbr0 -j ACCEPT",
            "-A FORWARD -o virbr0 -j REJECT",
            "-A FORWARD -i virbr0 -j REJECT",
        ),
    ],
)
def test_usual_rulesets_are_carried_over_whole(lines: tuple[str, ...]) -> None:
    assert not hooks(*lines).lost


def test_where_nothing_begins_no_answer_is_missed() -> None:
    """Whether by a policy or by a last rule."""
    for policies in ("ACCEPT DROP DROP", "DROP DROP DROP"):
        assert not hooks(f"-A INPUT {FOLLOW}", "-A INPUT -j REJECT", policies=policies).lost
    assert not hooks("-A INPUT -m state --state NEW -j DROP", policies="ACCEPT DROP DROP").lost
    assert hooks(f"-A INPUT {FOLLOW}", "-A INPUT -p tcp -j ACCEPT", policies="DROP DROP DROP").lost


def test_interfaces_of_a_kind_but_some_are_named() -> None:
    """Also where of some no more is left."""
    names = {"meta": {"key": "iifname"}}
    some, others = {"set": ["eth*", "br0"]}, {"set": ["br0", "eth0"]}
    assert of_nft(rule(asks(names, some), asks(names, others, "!="), ACCEPT)).lost
    carried = of_nft(rule(asks(names, some), asks(names, "br0", "!="), ACCEPT))
    assert rules_of(carried) == ["allow in on eth+"] and not carried.lost


@pytest.mark.parametrize("flags", ["timeout", ["timeout"], ["timeout", "dynamic"], "dynamic"])
def test_a_set_that_changes_is_named_however_nft_prints_its_flags(flags: str | list[str]) -> None:
    one: Item = {"family": "inet", "table": "a", "name": "some", "type": "ipv4_addr", "elem": ["192.0.2.1"]}
    asked = rule(asks({"payload": {"protocol": "ip", "field": "saddr"}}, "@some"), ACCEPT)
    assert of_nft({"set": {**one, "flags": flags}}, asked).lost
    assert rules_of(of_nft({"set": {**one, "flags": "constant"}}, asked)) == ["allow in from 192.0.2.1"]


def test_no_protocol_and_a_port_match_nothing() -> None:
    none = {"set": {"family": "inet", "table": "a", "name": "protos", "type": "inet_proto"}}
    carried = of_nft(none, rule(asks(PORT, 22), asks({"meta": {"key": "l4proto"}}, "@protos"), ACCEPT))
    assert not rules_of(carried) and not carried.lost


def test_a_family_of_which_another_chain_decides_is_not_opened() -> None:
    """Where that chain cannot be carried over."""
    both = [chain("a", "drop", "ip"), rule(asks(PORT, 22), ACCEPT, family="ip"), chain("b", "drop")]
    carried = carry("nft", json.dumps({"nftables": both}))
    assert rules_of(carried) == ["allow in tcp from 0.0.0.0/0 to port 22"] and carried.lost
    alone = carry("nft", json.dumps({"nftables": both[:2]}))
    assert rules_of(alone)[-1] == "allow in from ::/0"


def test_rules_that_ufw_has_not_made_of_commands_are_named() -> None:
    lines = [
        "*filter",
        "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in",
        "-A ufw-user-input -p tcp --dport 22 -j ACCEPT",
        "",
        "-A ufw-user-input -s 203.0.113.9 -j DROP",
        "-A ufw-before-input -s 203.0.113.8 -j DROP",
        "-A ufw-user-limit -m limit --limit 3/minute -j LOG",
        "-A ufw-user-logging-input -j RETURN",
    ]
    assert [one.place for one in carry("ufw", "\n".join(lines)).lost] == ["line 5", "line 6"]


def test_chains_that_multiply_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six levels of three jumps each are 729 rules, and twice as many are too many."""
    monkeypatch.setattr("firewall.importers.carried.MAX_RULES", 1000)
    lines = [f":L{n} - [0:0]" for n in range(7)] + ["-A INPUT -j L0"]
    lines += [
        f"-A L{n} -p tcp --dport {port} -j L{n + 1}" for n in range(6) for port in ("1:9", "2:8", "3:7")
    ]
    lines += [f"-A L6 -s 192.0.2.1{n} -j ACCEPT" for n in range(2)]
    with pytest.raises(UsageError, match="these rules come to more than 1000"):
        carry("iptables", saved(*lines))


def test_a_comment_of_ufw_that_cannot_be_read_is_named() -> None:
    assert carry("ufw", "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=xy").lost
