# SPDX-License-Identifier: MIT
"""A policy as bytes: read back as the packet path reads them, and compared with what the language means."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

import pytest

from firewall import abi
from firewall.clock import Moment
from firewall.compile import CHUNK_BYTES, Compiled, Patterns, compile_policy
from firewall.document import place
from firewall.errors import UsageError
from firewall.evaluate import Question, evaluate
from firewall.policy import parse_policy
from firewall.rule import Rule
from firewall.sockets import Address

HZ = 250
MOMENT = Moment(1_800_000_000 * 10**9, 1000 * 10**9)
NO_ENTRY = 0xFFFFFFFF
CLASSES = {"eth0": 1, "wan0": 2, "br-lan": 3, "nobody": 0}
SCOPES = ("in", "out", "forward")
ACTIONS = ("allow", "drop", "reject")
ICMP = {4: 1, 6: 58}


def compiled(text: str, generation: int = 1) -> Compiled:
    policy = parse_policy(text)
    return compile_policy(policy, place(policy, text, True, None, 8192), CLASSES, generation, HZ, MOMENT)


def settings(text: str) -> abi.Settings:
    return abi.Settings.unpack(compiled(text).settings)


def entries(result: Compiled) -> list[abi.Entry]:
    """The entries up to the one that ends the list."""
    found: list[abi.Entry] = []
    assert len(result.entries) % CHUNK_BYTES == 0
    for at in range(0, len(result.entries), abi.Entry.SIZE):
        entry = abi.Entry.unpack(result.entries, at)
        if not entry.scopes:
            return found
        found.append(entry)
    return found


def within(address: int, limits: abi.Range) -> bool:
    low, high = (half[0] << 64 | half[1] for half in (limits.lo, limits.hi))
    return low <= address <= high


def patterns(own: abi.Settings, name: str | None) -> int:
    """What the packet path takes from an interface's class; an interface that is not known has class 0."""
    return own.patterns[CLASSES.get(name, 0)] if name else 0


def scan(result: Compiled, question: Question) -> tuple[str, int]:
    """Action and rule id as judge() in bpf_src/classify.h finds them."""
    own = abi.Settings.unpack(result.settings)
    scope = SCOPES.index(question.scope)
    family = question.src.version
    icmp = question.proto == ICMP[family]
    sport = 0 if icmp else question.sport
    dport = question.icmp_type << 8 | question.icmp_code if icmp else question.dport
    for entry in entries(result):
        ways = ((entry.on, question.on), (entry.via, question.via))
        if (
            entry.scopes >> scope & 1
            and entry.family in (0, family)
            and entry.proto in (0, question.proto)
            and entry.sport_lo <= sport <= entry.sport_hi
            and entry.dport_lo <= dport <= entry.dport_hi
            and all(wanted == 255 or patterns(own, name) >> wanted & 1 for wanted, name in ways)
            and (not entry.flags & abi.EntryFlags.ENTRY_SRC or within(int(question.src), entry.src))
            and (not entry.flags & abi.EntryFlags.ENTRY_DST or within(int(question.dst), entry.dst))
        ):
            return ACTIONS[entry.action], entry.rule
    return ACTIONS[own.defaults[scope]], 0


POLICY = """
default in reject
default out allow
default forward drop
allow in tcp to port 22 from 192.0.2.0/24, 2001:db8::/32
drop in tcp to port 22
allow in udp, tcp from 192.0.2.1-192.0.2.77 port 1000-2000 to port 53, 80, 443
allow in icmp, icmp6 icmp-type echo-request
reject in, forward on not eth0 proto 47 from not 10.0.0.0/8
allow forward on br-lan via wan0
drop forward on br+ via eth0, wan0 to not 2001:db8::1, 10.1.1.1
allow out via wan0 tcp to port not 25
drop out icmp icmp-type 3/4
allow in, out from 10.0.0.0/9
"""


def questions(seed: int, count: int) -> list[Question]:
    dice = random.Random(seed)
    v4: list[Address] = [
        IPv4Address(a) for a in ("192.0.2.0", "192.0.2.1", "192.0.2.77", "192.0.2.78", "10.127.255.255")
    ]
    v4 += [IPv4Address(a) for a in ("10.128.0.0", "10.1.1.1", "0.0.0.0", "255.255.255.255")]
    v6: list[Address] = [
        IPv6Address(a) for a in ("2001:db8::1", "2001:db7:ffff::", "2001:db9::", "::", "fe80::1")
    ]
    names = [None, "eth0", "wan0", "br-lan", "nobody", "never-heard-of"]
    found = []
    for _ in range(count):
        addresses: list[Address] = dice.choice((v4, v6))
        found.append(
            Question(
                scope=dice.choice(SCOPES),
                proto=dice.choice((1, 6, 17, 47, 58)),
                src=dice.choice(addresses),
                dst=dice.choice(addresses),
                sport=dice.choice((999, 1000, 2000, 2001)),
                dport=dice.choice((22, 25, 53, 80, 443, 444)),
                icmp_type=dice.choice((0, 3, 8, 128)),
                icmp_code=dice.choice((0, 4)),
                on=dice.choice(names),
                via=dice.choice(names),
            )
        )
    return found


def known(name: str | None) -> str | None:
    """An interface without a class is one that the packet path does not know."""
    return name if name and CLASSES.get(name) else None


@pytest.mark.parametrize("seed", range(4))
def test_the_bytes_mean_what_the_rules_say(seed: int) -> None:
    result, policy = compiled(POLICY), parse_policy(POLICY)
    decided = set()
    for question in questions(seed, 2000):
        asked = question._replace(on=known(question.on), via=known(question.via))
        answer = evaluate(policy, asked)
        rule_id = 0 if answer.position is None else answer.position + 1
        assert scan(result, question) == (answer.action, rule_id), question
        decided.add(rule_id)
    assert decided == set(range(len(policy.rules) + 1)), "every rule and the defaults decided something"


def test_ids_and_counters_come_from_the_document() -> None:
    policy = parse_policy("allow in icmp\nallow out udp to port 53, 54\n")
    document = place(policy, "", True, None, 2048)
    document = document._replace(ids=((41, 2),), places=((99, 1), (99, 1)))
    found = entries(compile_policy(policy, document, CLASSES, 7, HZ, MOMENT))
    assert [(entry.rule, entry.counter) for entry in found] == [(41, 99), (42, 99)]


def test_a_log_clause_sets_the_flag() -> None:
    plain, logged = entries(compiled("drop in tcp\ndrop in udp log\n"))
    assert not plain.flags & abi.EntryFlags.ENTRY_LOG
    assert logged.flags & abi.EntryFlags.ENTRY_LOG


@pytest.mark.parametrize(("rules", "chunks"), [(0, 1), (1, 1), (32, 1), (33, 2), (1024, 32)])
def test_chunks_hold_32_entries(rules: int, chunks: int) -> None:
    text = "".join(f"allow in tcp to port {port}\n" for port in range(1, rules + 1))
    result = compiled(text)
    assert len(result.entries) == chunks * CHUNK_BYTES
    own = abi.Settings.unpack(result.settings)
    assert own.linear == (rules <= 32), "few are scanned in order, more are found by trees"
    assert any(tree.first != NO_ENTRY for tree in own.trees) == (rules > 32)
    assert [entry.dport_lo for entry in entries(result)] == list(range(1, rules + 1))


def test_the_generation_and_defaults_are_in_the_settings() -> None:
    text = "default in allow\ndefault out reject\n"
    own = abi.Settings.unpack(compiled(text, generation=1234567).settings)
    assert own.generation == 1234567
    assert [ACTIONS[action] for action in own.defaults] == ["allow", "reject", "drop"]


def test_timeouts_are_in_jiffies() -> None:
    own = settings("option timeout.udp 5m\noption timeout.tcp-established 10000s\n")
    assert own.timeout_j[abi.Timeout.TIMEOUT_UDP] == 300 * HZ
    assert own.timeout_j[abi.Timeout.TIMEOUT_TCP_ESTABLISHED] == 10000 * HZ
    assert all(own.timeout_j[: abi.Timeout.TIMEOUT_COUNT])


def test_options_reach_their_fields() -> None:
    own = settings("option reject.rate 17\noption log.rate 19\n")
    assert (own.answers_per_s, own.events_per_s) == (17, 19)


def test_each_builtin_has_its_bit() -> None:
    every = settings("").builtins
    assert every == (1 << abi.Builtin.BUILTIN_COUNT) - 1
    for builtin in abi.Builtin:
        if builtin is abi.Builtin.BUILTIN_COUNT:
            continue
        name = builtin.name.removeprefix("BUILTIN_").lower()
        assert every & ~settings(f"option builtin.{name} off\n").builtins == 1 << builtin


def test_an_unknown_interface_matches_no_list() -> None:
    own = settings("allow in on not eth0 tcp\nallow in on wan+ udp\n")
    assert own.patterns[0] == 0
    assert own.patterns[CLASSES["wan0"]] == 0b11
    assert own.patterns[CLASSES["eth0"]] == 0


def test_equal_lists_share_a_number() -> None:
    rules = [Rule.parse(f"allow in on {names} tcp") for names in ("eth0, wan0", "wan0, eth0", "eth0")]
    numbered = Patterns(rules)
    assert [numbered.number(rule.on) for rule in rules] == [0, 0, 1]
    assert numbered.number(None) == abi.Limits.PATTERN_ANY


def test_entries_that_no_tree_can_tell_apart_are_refused() -> None:
    """Interfaces are no field of a tree: each of these would be tested for the same packets."""
    names = [f"eth{number}" for number in range(60)]
    rules = [f'allow in on {names[i % 60]} tcp comment "{i}"' for i in range(4097)]
    most = compiled("\n".join(rules[:4096]))
    assert len(entries(most)) == 4096
    with pytest.raises(UsageError, match="line 4097: more than 4096 combinations"):
        compiled("\n".join(rules))


def test_narrow_entries_among_wide_ones_of_many_interfaces_are_told_apart() -> None:
    """All are within one prefix that the wide ones have, so that only cuts inside of it tell."""
    wide = "allow in on eth{} tcp from 10.0.0.0/8"
    narrow = "drop in on eth{} tcp from 10.{}.{}.0/24"
    rules = [
        narrow.format(i % 60, i >> 8, i & 255) if i % 2 else wide.format(i // 2 % 60) for i in range(5000)
    ]
    assert len(entries(compiled("\n".join(rules)))) == 5000
