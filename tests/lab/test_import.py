# SPDX-License-Identifier: MIT
"""An imported policy decides as its original: the same connections through a router, with the one and with the other.

A router has a random ruleset of iptables or nft in force, and many connections are tried to it, through it and from it;
then the same with what fw makes of the ruleset. The seed is printed, and `SEED=` repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from tests.lab.host import Host
from tests.lab.lab import RouterLab

SCRIPT = Path(__file__).with_name("attempts.py")
PORTS = (22, 25, 53, 80, 443, 8080)
SOURCES = {4: ("10.0.1.2", "10.0.1.3", "10.0.1.4"), 6: ("2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::4")}
NETS = {
    4: ("10.0.1.3/32", "10.0.1.2/31", "10.0.0.0/8", "203.0.113.0/24"),
    6: ("2001:db8:1::2/127", "2001:db8:2::/64"),
}
LISTS = ("80", "22,25", "53:100", "443,8000:9000")

Rule = dict[str, str]


def seed() -> int:
    found = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))
    print(f"SEED={found}")
    return found


def random_rule(rng: random.Random, chain: str, chains: list[str], family: int) -> Rule:
    """What a rule asks and does, by words that iptables has and nft too."""
    rule = {"chain": chain, "family": str(family)}
    if rng.random() < 0.3 and chain != "OUTPUT":
        rule["in"] = rng.choice(("lan0", "wan0", "lan+"))
    if rng.random() < 0.2 and chain in ("FORWARD", "OUTPUT"):
        rule["out"] = rng.choice(("wan0", "lan0", "wan+"))
    if rng.random() < 0.5:
        rule[rng.choice(("src", "dst"))] = rng.choice(("", "! ")) + rng.choice(NETS[family])
    if rng.random() < 0.8:
        rule["proto"] = rng.choice(("tcp", "udp"))
        if rng.random() < 0.8:
            rule["dport"] = rng.choice(LISTS)
    actions = ["ACCEPT", "ACCEPT", "DROP", "DROP", "REJECT", *chains]
    rule["does"] = rng.choice(actions)
    if rule["does"] == "REJECT" and rule.get("proto") == "tcp" and rng.random() < 0.5:
        rule["does"] = "RESET"
    return rule


def random_rules(rng: random.Random, family: int) -> list[Rule]:
    own = ["ONE", "TWO"]
    rules = [random_rule(rng, rng.choice(("INPUT", "FORWARD", "OUTPUT")), own, family) for _ in range(24)]
    rules += [random_rule(rng, "ONE", ["TWO"], family) for _ in range(4)]
    return rules + [random_rule(rng, "TWO", [], family) for _ in range(4)]


def as_iptables(rules: list[Rule], policies: dict[str, str]) -> str:
    lines = ["*filter", *(f":{chain} {policy} [0:0]" for chain, policy in policies.items())]
    lines += [":ONE - [0:0]", ":TWO - [0:0]"]
    lines += [f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" for chain in policies]
    for rule in rules:
        words = [f"-A {rule['chain']}"]
        words += [f"-{option} {rule[name]}" for option, name in (("i", "in"), ("o", "out")) if name in rule]
        for option, name in (("-s", "src"), ("-d", "dst")):
            if name in rule:
                words.append(
                    f"! {option} {rule[name][2:]}" if rule[name][0] == "!" else f"{option} {rule[name]}"
                )
        if "proto" in rule:
            words.append(f"-p {rule['proto']}")
        if "dport" in rule:
            words.append(f"-m multiport --dports {rule['dport']}")
        does = {"RESET": "REJECT --reject-with tcp-reset"}.get(rule["does"], rule["does"])
        lines.append(" ".join([*words, "-j", does]))
    return "\n".join([*lines, "COMMIT", ""])


def as_nft(rules: list[Rule], policies: dict[str, str]) -> str:
    lines = ["table inet filter {"]
    for chain in ("TWO", "ONE", *policies):
        lines.append(f"chain {chain} {{")
        if chain in policies:
            hook = chain.lower()
            lines.append(f"type filter hook {hook} priority filter; policy {policies[chain].lower()};")
            lines.append("ct state vmap { established : accept, related : accept }")
            lines.append("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
        for rule in rules:
            if rule["chain"] == chain:
                lines.append(nft_words(rule))
        lines.append("}")
    return "\n".join([*lines, "}", ""])


def nft_words(rule: Rule) -> str:
    words = []
    for key, name in (("iifname", "in"), ("oifname", "out")):
        if name in rule:
            words.append(f'{key} "{rule[name].replace("+", "*")}"')
    ip = "ip" if rule["family"] == "4" else "ip6"
    for key, name in (("saddr", "src"), ("daddr", "dst")):
        if name in rule:
            words.append(f"{ip} {key} {rule[name].replace('! ', '!= ')}")
    if "dport" in rule:
        words.append(f"{rule['proto']} dport {{ {rule['dport'].replace(':', '-')} }}")
    elif "proto" in rule:
        words.append(f"meta l4proto {rule['proto']}")
    does = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RESET": "reject with tcp reset"}
    words.append(does.get(rule["does"], f"jump {rule['does']}"))
    return " ".join(words)


def attempts(lab: RouterLab, families: tuple[int, ...]) -> dict[str, list[list[str | int]]]:
    """What is tried from the client and from the router."""
    found: dict[str, list[list[str | int]]] = {"client": [], "router": []}
    for family in families:
        inside, outside = (
            (lab.router_lan4, lab.server.v4) if family == 4 else (lab.router_lan6, lab.server.v6)
        )
        source = lab.router.v4 if family == 4 else lab.router.v6
        for proto, port in product(("tcp", "udp"), PORTS):
            found["client"] += [[proto, one, to, port] for one in SOURCES[family] for to in (inside, outside)]
            found["router"].append([proto, source, outside, port])
    return found


def tried(host: Host, wanted: list[list[str | int]]) -> list[str]:
    """What each comes to. Linux limits how many errors it sends, so what was silent is tried again while that helps."""
    done = host.run([sys.executable, "-I", str(SCRIPT), "attempt"], input=json.dumps(wanted))
    results: list[str] = json.loads(done.stdout)
    silent = [number for number, result in enumerate(results) if result == "silence"]
    if 0 < len(silent) < len(wanted):
        for number, result in zip(silent, tried(host, [wanted[number] for number in silent]), strict=True):
            results[number] = result
    return results


def compare(
    lab: RouterLab, families: tuple[int, ...], install: str, ruleset: str, kind: str, saved: str
) -> None:
    """`install` puts the ruleset in force, `saved` prints it as `fw import` wants it."""
    for host in (lab.router, lab.server):
        host.sysctl("net/ipv4/icmp_ratelimit", 0)
        host.sysctl("net/ipv6/icmp/ratelimit", 0)
        process = host.popen([sys.executable, "-I", str(SCRIPT), "serve", *map(str, PORTS)])
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for family in families:
        for address in SOURCES[family][1:]:
            lab.client.ip(
                f"addr add {address}/{24 if family == 4 else 64} dev eth0{' nodad' * (family == 6)}"
            )
    wanted = attempts(lab, families)
    hosts = {"client": lab.client, "router": lab.router}
    assert {one for name, host in hosts.items() for one in tried(host, wanted[name])} == {"answered"}

    lab.router.run(install, input=ruleset)
    original = {name: tried(host, wanted[name]) for name, host in hosts.items()}
    printed = lab.router.run(saved).stdout
    imported = lab.router.fw("import", kind, "-", input=printed).stdout
    lab.router.run("nft flush ruleset")

    lab.router.save_policy(f"protect lan0, wan0\noption load.grace 0s\noption reject.rate 100000\n{imported}")
    lab.router.fw("load")
    ours = {name: tried(host, wanted[name]) for name, host in hosts.items()}
    different = [
        (name, *one, theirs, mine)
        for name in hosts
        for one, theirs, mine in zip(wanted[name], original[name], ours[name], strict=True)
        if theirs != mine
    ]
    assert not different, f"{different}\n{printed}\n{imported}"
    # A ruleset that passes everything, or nothing, would prove nothing.
    counted = Counter(one for results in original.values() for one in results)
    assert len(counted) > 1, counted


POLICIES = {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "ACCEPT"}


@pytest.mark.timeout(180)
def test_iptables(lab: RouterLab) -> None:
    rng = random.Random(seed())
    rules = random_rules(rng, 4)
    compare(lab, (4,), "iptables-restore", as_iptables(rules, POLICIES), "iptables", "iptables-save")


@pytest.mark.timeout(180)
def test_ip6tables(lab: RouterLab) -> None:
    rng = random.Random(seed())
    rules = random_rules(rng, 6)
    text = as_iptables(rules, POLICIES).replace(
        ":ONE", "-A INPUT -p ipv6-icmp -j ACCEPT\n-A OUTPUT -p ipv6-icmp -j ACCEPT\n:ONE"
    )
    compare(lab, (6,), "ip6tables-restore", text, "iptables", "ip6tables-save")


@pytest.mark.timeout(180)
def test_nft(lab: RouterLab) -> None:
    rng = random.Random(seed())
    rules = random_rules(rng, 4) + random_rules(rng, 6)
    rng.shuffle(rules)
    compare(lab, (4, 6), "nft -f -", as_nft(rules, POLICIES), "nft", "nft -j list ruleset")
