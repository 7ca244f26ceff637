# SPDX-License-Identifier: MIT
"""Random rulesets of other firewalls, in their own languages, for test_import.py.

A ruleset is a list of rules by words that iptables has and nft too, {"chain": "INPUT", "proto": "tcp", "does": "DROP"},
with the chains at the hooks, ONE and TWO that all jump to, and OWN, which OUTPUT alone does. They ask for nothing that
`fw import` names as not carried over.
"""

from __future__ import annotations

import random

PORTS = (22, 25, 53, 80, 443, 8080)
LOW, HIGH = "20000:39999", "40000:59999"  # source ports
SOURCES = {4: ("10.0.1.2", "10.0.1.3", "10.0.1.4"), 6: ("2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::4")}
NETS = {
    4: ("10.0.1.3/32", "10.0.1.2/31", "10.0.0.0/8", "203.0.113.0/24", "10.0.1.3-10.0.1.4"),
    6: ("2001:db8:1::2/127", "2001:db8:2::/64", "2001:db8:1::3-2001:db8:1::4"),
}
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
LISTS = ("80", "22,25", "25:80", "443,8000:8080")
CLASSES = {0: "cs0", 8: "cs1", 46: "ef"}
MARKS = (0, 1, 6)
USERS = (0, 12345)
MAC, STRANGER = "02:00:00:00:01:01", "02:00:00:00:99:01"  # the client's, and nobody's
TYPES = ("echo-request", "echo-request", "echo-reply", "destination-unreachable")
ANSWERS = {
    4: {"RESET": "tcp-reset", "ADMIN": "icmp-admin-prohibited", "HOST": "icmp-host-unreachable"},
    6: {"RESET": "tcp-reset", "ADMIN": "icmp6-adm-prohibited", "HOST": "icmp6-addr-unreachable"},
}
NFT_ANSWERS = {
    "RESET": "reject with tcp reset",
    "ADMIN": "reject with icmpx admin-prohibited",
    "HOST": "reject with icmpx host-unreachable",
    "REJECT": "reject",
}
HOOKS = ("INPUT", "FORWARD", "OUTPUT")

Rule = dict[str, str]


def maybe_not(rng: random.Random) -> str:
    return rng.choice(("", "", "! "))


def random_rule(rng: random.Random, chain: str, chains: tuple[str, ...], family: int) -> Rule:
    """What a rule asks and does."""
    rule = {"chain": chain, "family": str(family)}
    if rng.random() < 0.3 and chain not in ("OUTPUT", "OWN"):
        rule["in"] = rng.choice(("lan0", "wan0", "lan+"))
    if rng.random() < 0.2 and chain in ("FORWARD", "OUTPUT"):
        rule["out"] = rng.choice(("wan0", "lan0", "wan+"))
    if rng.random() < 0.5:
        rule[rng.choice(("src", "dst"))] = maybe_not(rng) + rng.choice(NETS[family])
    if rng.random() < 0.8:
        rule["proto"] = rng.choice(("tcp", "tcp", "udp", "udp", "icmp"))
        if rule["proto"] == "icmp":
            if chain in HOOKS and rng.random() < 0.7:
                rule["type"] = rng.choice(TYPES)
        elif rng.random() < 0.8:
            rule["dport"] = rng.choice(LISTS)
        if rule["proto"] != "icmp" and rng.random() < 0.2:
            rule["sport"] = rng.choice((LOW, HIGH))
    if rng.random() < 0.25:
        rule["dscp"] = maybe_not(rng) + str(rng.choice(list(CLASSES)))
    if rng.random() < 0.3 and chain in ("INPUT", "FORWARD"):
        rule["mac"] = rng.choice((MAC, MAC, STRANGER))
    if rng.random() < 0.4 and chain in ("OUTPUT", "OWN"):
        asked = rng.choice(("mark", "user"))
        rule[asked] = rng.choice(("1", "2/2", "0", "! 4/4")) if asked == "mark" else str(rng.choice(USERS))
    if rng.random() < 0.2:
        rule["new"] = ""
    rule["does"] = rng.choice(("ACCEPT", "ACCEPT", "DROP", "DROP", "REJECT", *chains))
    if rule["does"] == "REJECT":
        rule["does"] = rng.choice(
            ("REJECT", "ADMIN", "HOST", *(["RESET"] * 2 * (rule.get("proto") == "tcp")))
        )
    if rule["does"] not in chains and rng.random() < 0.1:
        rule["log"] = "seen"
    return rule


def random_rules(rng: random.Random, family: int) -> list[Rule]:
    def some(number: int, chain: str, jumps: tuple[str, ...]) -> list[Rule]:
        return [random_rule(rng, chain, jumps, family) for _ in range(number)]

    rules = [rule for chain in HOOKS[:2] for rule in some(10, chain, ("ONE", "TWO"))]
    rules += some(10, "OUTPUT", ("OWN", "ONE"))
    for chain, jumps in (("ONE", ("TWO",)), ("OWN", ()), ("TWO", ())):
        made = some(4, chain, jumps)
        if rng.random() < 0.5:
            made.insert(rng.randrange(2, 4), {"chain": chain, "family": str(family), "does": "RETURN"})
        rules += made
    return rules


def early_rules(rng: random.Random, family: int) -> list[Rule]:
    """Some that stand before answers are let in, and so drop these, too: of packets as they are in both directions.

    They go with rules that reject nothing: whether what gets no answer is rejected does not come over.
    """
    found = []
    for chain in HOOKS:
        rule = random_rule(rng, chain, (), family)
        for name in ("dscp", "mac", "mark", "user", "new", "log"):
            rule.pop(name, None)
        if rule.keys() & {"src", "dst", "sport", "dport", "type"}:
            found.append({**rule, "does": "DROP"})
    return found


def without_rejects(rules: list[Rule]) -> list[Rule]:
    rejects = {"REJECT", *ANSWERS[4]}
    return [{**rule, "does": "DROP"} if rule["does"] in rejects else rule for rule in rules]


def random_policies(rng: random.Random) -> dict[str, str]:
    """What becomes of the rest."""
    return {hook: rng.choice(("ACCEPT", "DROP")) for hook in HOOKS}


def as_iptables(early: list[Rule], rules: list[Rule], policies: dict[str, str], family: int) -> str:
    lines = ["*filter", *(f":{chain} {policy} [0:0]" for chain, policy in policies.items())]
    lines += [f":{chain} - [0:0]" for chain in ("ONE", "TWO", "OWN")]
    lines += neighbours(family)
    lines += [f"{iptables_words(rule)} -j {rule['does']}" for rule in early]
    lines += [f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" for chain in policies]
    for rule in rules:
        words = iptables_words(rule)
        if "log" in rule:
            lines.append(f"{words} -j LOG --log-prefix {rule['log']}")
        answer = ANSWERS[family].get(rule["does"])
        lines.append(f"{words} -j {f'REJECT --reject-with {answer}' if answer else rule['does']}")
    return "\n".join([*lines, "COMMIT", ""])


def neighbours(family: int) -> list[str]:
    """Who could not find the other would be silent whatever the rules are; fw has this built in."""
    return [
        f"-A {chain} -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j ACCEPT"
        for chain in ("INPUT", "OUTPUT")
        for kind in ("neighbour-solicitation", "neighbour-advertisement")
        if family == 6
    ]


def iptables_words(rule: Rule) -> str:
    icmp = ("icmp", "icmp", "icmp-type") if rule["family"] == "4" else ("ipv6-icmp", "icmp6", "icmpv6-type")
    words = [f"-A {rule['chain']}"]
    words += [f"-{option} {rule[name]}" for option, name in (("i", "in"), ("o", "out")) if name in rule]
    for name, option, ranged in (("src", "-s", "--src-range"), ("dst", "-d", "--dst-range")):
        if name in rule:
            words.append(
                option_words("iprange", ranged, rule[name])
                if "-" in rule[name]
                else option_words("", option, rule[name])
            )
    if "proto" in rule:
        words.append(f"-p {icmp[0] if rule['proto'] == 'icmp' else rule['proto']}")
    if "type" in rule:
        words.append(f"-m {icmp[1]} --{icmp[2]} {rule['type']}")
    for name, module, option in (
        ("dport", "multiport", "--dports"),
        ("sport", "multiport", "--sports"),
        ("dscp", "dscp", "--dscp"),
        ("mac", "mac", "--mac-source"),
        ("mark", "mark", "--mark"),
        ("user", "owner", "--uid-owner"),
    ):
        if name in rule:
            words.append(option_words(module, option, rule[name]))
    if "new" in rule:
        words.append("-m conntrack --ctstate NEW")
    return " ".join(words)


def option_words(module: str, option: str, value: str) -> str:
    words = [f"-m {module}"] if module else []
    words += ["!"] if value[0] == "!" else []
    return " ".join([*words, option, value.removeprefix("! ")])


def as_nft(rng: random.Random, early: list[Rule], rules: list[Rule], policies: dict[str, str]) -> str:
    lines = ["table inet filter {"]
    for family in (4, 6):
        elements = ", ".join(rng.sample(NETS[family], 2)[:1] + [SOURCES[family][2]])
        lines.append(f"set some{family} {{ type ipv{family}_addr; flags interval; auto-merge; ")
        lines.append(f"elements = {{ {elements} }} }}")
    lines.append("set doors { type inet_service; elements = { 22, 443 } }")
    for chain in ("TWO", "ONE", "OWN", *policies):
        lines.append(f"chain {chain} {{")
        if chain in policies:
            hook = chain.lower()
            lines.append(f"type filter hook {hook} priority filter; policy {policies[chain].lower()};")
            lines.append("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
            lines += [nft_words(rule) for rule in early if rule["chain"] == chain]
            lines.append("ct state vmap { established : accept, related : accept }")
        told = [nft_words(rule) for rule in rules if rule["chain"] == chain]
        for special in rng.sample(specials(rng, chain, rejects=not early), 2):
            told.insert(rng.randrange(len(told) + 1), special)
        lines += [*told, "}"]
    return "\n".join([*lines, "}", ""])


def specials(rng: random.Random, chain: str, rejects: bool) -> list[str]:
    """Rules that iptables has no words for: sets, maps, comparisons."""
    verdicts = ["accept", "drop", *(["jump TWO"] if chain not in ("TWO", "OWN") else [])]
    verdicts += ["reject"] if rejects else []

    def verdict() -> str:
        return rng.choice(verdicts)

    def mapped() -> str:
        return rng.choice([one for one in verdicts if one != "reject"])  # which nft takes for no verdict

    source = SOURCES[4][rng.randrange(3)]
    found = [
        f"ip saddr @some4 {verdict()}",
        f"ip6 daddr != @some6 {verdict()}",
        f"tcp dport @doors {verdict()}",
        f"tcp dport vmap {{ 22 : {mapped()}, 25-80 : {mapped()}, 443 : {mapped()} }}",
        f"ip saddr vmap {{ {source} : {mapped()}, 203.0.113.0/24 : {mapped()} }}",
        f"meta l4proto vmap {{ udp : {mapped()}, icmp : {mapped()} }}",
        f"udp dport >= {rng.choice(PORTS)} {verdict()}",
        f"ip6 dscp {{ cs1, ef }} {verdict()}",
        f"meta nfproto ipv6 tcp sport < 40000 {verdict()}",
        # At output a frame has no sender yet, and nothing matches.
        f"ether saddr {{ {MAC}, {STRANGER} }} meta l4proto udp {verdict()}",
    ]
    if chain in ("OUTPUT", "OWN"):
        found += [
            f"meta mark & 0x6 == 0x2 {verdict()}",
            f"meta mark {{ 1, 6 }} {verdict()}",
            f"meta skuid {{ {USERS[1]}, 7 }} {verdict()}",
        ]
    return found


def nft_words(rule: Rule) -> str:
    words = []
    for key, name in (("iifname", "in"), ("oifname", "out")):
        if name in rule:
            words.append(f'{key} "{rule[name].replace("+", "*")}"')
    ip = "ip" if rule["family"] == "4" else "ip6"
    for key, name in ((f"{ip} saddr", "src"), (f"{ip} daddr", "dst"), (f"{ip} dscp", "dscp")):
        if name in rule:
            words.append(f"{key} {rule[name].replace('! ', '!= ')}")
    words += [f"ether saddr {rule['mac']}"] if "mac" in rule else []
    words += [f"meta skuid {rule['user']}"] if "user" in rule else []
    if "mark" in rule:
        value, _, mask = rule["mark"].removeprefix("! ").partition("/")
        bits = f" & {mask}" if mask else ""
        words.append(f"meta mark{bits} {'!=' if rule['mark'][0] == '!' else '=='} {value}")
    icmp = "icmp" if ip == "ip" else "icmpv6"
    proto = icmp if rule.get("proto") == "icmp" else rule.get("proto")
    words += [f"{icmp} type {rule['type']}"] if "type" in rule else []
    for key in ("dport", "sport"):
        words += [f"{proto} {key} {{ {rule[key].replace(':', '-')} }}"] if key in rule else []
    if proto and not {"type", "dport", "sport"} & rule.keys():
        words.append(f"meta l4proto {proto}")
    words += ["ct state new"] if "new" in rule else []
    words += [f'log prefix "{rule["log"]}"'] if "log" in rule else []
    does = NFT_ANSWERS.get(rule["does"])
    plain = ("ACCEPT", "DROP", "RETURN")
    words.append(does or (rule["does"].lower() if rule["does"] in plain else f"jump {rule['does']}"))
    return " ".join(words)
