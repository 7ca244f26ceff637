# SPDX-License-Identifier: MIT
"""Rules in the kernel: their order, their number, their interfaces, their counters and logs."""

import sys
from collections.abc import Iterator

import pytest

from firewall import abi
from firewall.expand import MAX_ENTRIES, entry_count
from firewall.policy import parse_policy
from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath
from tests.packets import eth, ip, tcp, udp

PER_CHUNK = abi.Limits.ENTRIES_PER_CHUNK
MANY = 5000


def ask(path: PacketPath, port: int, ends: Ends = V4) -> str:
    """The reason that a SYN from them to a port of ours gets."""
    reason = path.ingress(ends.arriving(tcp(4000, port))).reason
    path.maps["embryonic"].delete_batch(list(path.maps["embryonic"].keys()))
    return reason


def rules(count: int, ports: int = 1, first: int = 1000) -> Iterator[str]:
    """Rules of `ports` entries each; rule i has the ports from `first` + 10 i on, every other one."""
    for i in range(count):
        base = first + 10 * i
        listed = ", ".join(str(base + 2 * k) for k in range(ports))
        yield f"allow in tcp to port {listed}\n"


def test_first_match_wins(path: PacketPath) -> None:
    path.policy(
        "default in drop\ndrop in tcp to port 22 from 198.51.100.7\nallow in tcp to port 20-22\n"
        "reject in tcp to port 21\n"
    )
    assert ask(path, 22) == "rule_drop"
    assert ask(path, 22, V6) == "rule_allow"
    assert ask(path, 21) == "rule_allow"
    assert ask(path, 23) == "default_drop"


@pytest.mark.parametrize(
    "count", [0, 1, PER_CHUNK - 1, PER_CHUNK, PER_CHUNK + 1, 2 * PER_CHUNK, 2 * PER_CHUNK + 1, 3 * PER_CHUNK]
)
def test_each_of_many_entries_is_found_and_none_behind(path: PacketPath, count: int) -> None:
    """Chunks that are full end without a mark."""
    path.policy("default in drop\n" + "".join(rules(count)))
    edges = {0, 1, PER_CHUNK - 1, PER_CHUNK, 2 * PER_CHUNK - 1, 2 * PER_CHUNK, count - 1}
    for i in sorted(edge for edge in edges if 0 <= edge < count):
        assert ask(path, 1000 + 10 * i) == "rule_allow", i
    assert ask(path, 1000 + 10 * count) == "default_drop"
    assert ask(path, 999, V6) == "default_drop"


def test_shorter_ruleset_forgets_what_was_behind(path: PacketPath) -> None:
    """The slot of a generation is used again: nothing of the old entries may shine through."""
    path.policy("default in drop\n" + "".join(rules(3 * PER_CHUNK)))
    for _ in range(abi.Limits.GENERATION_SLOTS):
        path.policy("default in drop\nallow in tcp to port 1\n")
    assert ask(path, 1000) == ask(path, 1000 + 10 * PER_CHUNK) == "default_drop"


def test_thousands_of_rules(path: PacketPath) -> None:
    """More than one page of counters."""
    document = path.policy("default in drop\n" + "".join(rules(MANY)))
    for i in (0, 1023, 2044, 2045, 4092, 4093, MANY - 1):
        before = path.rule_counter(document.rules[i].counter).packets
        assert ask(path, 1000 + 10 * i) == "rule_allow"
        assert path.rule_counter(document.rules[i].counter).packets == before + 1
    assert ask(path, 1000 + 10 * MANY) == "default_drop"


def test_entries_max(path: PacketPath) -> None:
    """As many as are allowed are hosts that nobody asks for, and rules of ports behind them."""
    hosts = [f"10.{number >> 8}.{number & 255}.{2 * last}" for number in range(512) for last in range(2)]
    sports = ", ".join(str(2 * port) for port in range(510))
    text = f"default in drop\ndrop in udp from {', '.join(hosts)} port {sports}\n"
    text += "".join(rules(1023, 2))
    assert MAX_ENTRIES - 1024 < sum(map(entry_count, parse_policy(text).rules)) <= MAX_ENTRIES
    path.policy(text)
    last = 1000 + 10 * 1022
    for port in (1000, 1002, last, last + 2):
        assert ask(path, port) == "rule_allow", port
    for port in (1001, last + 1, last + 4):
        assert ask(path, port) == "default_drop", port


@FAMILIES
@pytest.mark.parametrize(
    ("clause", "wan", "lan"),
    [
        ("on wan", "rule_allow", "default_drop"),
        ("on lan", "default_drop", "rule_allow"),
        ("on not wan", "default_drop", "rule_allow"),
        ("on w+", "rule_allow", "default_drop"),
        ("on +", "rule_allow", "rule_allow"),
        ("on wan, lan", "rule_allow", "rule_allow"),
        ("on eth0", "default_drop", "default_drop"),
    ],
)
def test_way_in(path: PacketPath, ends: Ends, clause: str, wan: str, lan: str) -> None:
    path.policy(f"default in drop\nallow in {clause}\n")
    for device, reason in (("wan", wan), ("lan", lan)):
        frame = eth(ip(ends.them, ends.us, udp(4000 + path.ifindex[device], 22)))
        assert path.ingress(frame, on=device).reason == reason


@FAMILIES
@pytest.mark.parametrize("names", ["wan", "not lan", "+", "not eth0"])
def test_unknown_interface_matches_no_names(path: PacketPath, ends: Ends, names: str) -> None:
    """Not even negated ones, nor every name: what it is, nobody has said."""
    text = f"default in drop\ndefault out drop\nallow in on {names}\nallow out via {names}\nallow forward on {names}\n"
    path.policy(text)
    path.interface("wan", slot=1, class_id=0, flags=abi.IfaceFlags.IFACE_PROTECTED)
    assert path.ingress(ends.arriving(udp(4000, 22))).reason == "default_drop"
    assert path.egress(ends.leaving(udp(4000, 22))).reason == "default_drop"
    path.ifindex["stranger"] = 4_000_000
    passing = eth(ip(ends.inside, ends.them, udp(4000, 22)))
    assert path.egress(passing, came_by="stranger", tc_index=0).reason == "default_drop"


@FAMILIES
def test_rules_without_names_match_unknown_interfaces(path: PacketPath, ends: Ends) -> None:
    path.policy("default forward drop\nallow forward via wan\n")
    path.ifindex["stranger"] = 4_000_000
    passing = eth(ip(ends.inside, ends.them, udp(4000, 22)))
    assert path.egress(passing, came_by="stranger", tc_index=0).reason == "rule_allow"


def test_interface_that_fw_does_not_know_passes_nothing(path: PacketPath) -> None:
    """It is only asked where it was loaded; that its entry is missing is a fault, not a leave."""
    path.policy("default in allow\n")
    path.maps["interfaces"].delete(path.ifindex["wan"].to_bytes(4, sys.byteorder))
    path.interface("lan", slot=2, class_id=2, flags=abi.IfaceFlags.IFACE_PROTECTED)
    path.maps["hooks"].update((path.ifindex["wan"] % 1024).to_bytes(4, sys.byteorder), bytes(abi.Iface.SIZE))
    assert path.ingress(V4.arriving(udp(4000, 22))).reason == "no_policy"


def test_two_interfaces_in_one_place_of_hooks(path: PacketPath) -> None:
    """Indexes that are equal modulo the size of `hooks`: the other one is found in `interfaces`."""
    twin = path.ifindex["wan"] + abi.Limits.HOOKS_MAX
    path.classes["twin"] = 3
    path.interface("twin", twin, slot=3, class_id=3, flags=abi.IfaceFlags.IFACE_PROTECTED)
    path.policy("default out drop\nallow out via twin\n")
    assert path.egress(V4.leaving(udp(4000, 22)), on="wan").reason == "default_drop"
    assert path.egress(V4.leaving(udp(4000, 22)), on="twin").reason == "rule_allow"


def test_counters_go_with_the_rule_over_changes(path: PacketPath) -> None:
    (kept,) = path.policy("default in drop\nallow in tcp to port 22\n").rules
    before = path.rule_counter(kept.counter).packets
    ask(path, 22)
    changed = path.policy("default in drop\ndrop in tcp to port 23\nallow in tcp to port 22\nallow in udp\n")
    new, same, other = changed.rules
    assert (same.id, same.counter) == (kept.id, kept.counter)
    assert len({new.id, same.id, other.id}) == len({new.counter, same.counter, other.counter}) == 3
    ask(path, 22)
    assert path.rule_counter(kept.counter).packets == before + 2
    refused = path.rule_counter(new.counter).packets
    assert ask(path, 23) == "rule_drop"
    assert path.rule_counter(new.counter).packets == refused + 1


@FAMILIES
def test_counters_count_all_packets_of_a_flow(path: PacketPath, ends: Ends) -> None:
    (rule,) = path.policy("default in drop\nallow in udp to port 53\n").rules
    before = path.rule_counter(rule.counter)
    ask_, answer = ends.arriving(udp(4000, 53, b"q")), ends.leaving(udp(53, 4000, bytes(100)))
    for _ in range(3):
        path.ingress(ask_)
        path.egress(answer)
    after = path.rule_counter(rule.counter)
    assert after.packets - before.packets == 6
    assert after.bytes - before.bytes == 3 * (len(ask_) + len(answer))


def test_defaults_have_counters(path: PacketPath) -> None:
    """The first three elements, by scope."""
    path.policy("default in drop\ndefault out allow\ndefault forward reject\n")
    before = [path.rule_counter(scope).packets for scope in range(abi.Scope.SCOPE_COUNT)]
    path.ingress(V4.arriving(udp(4000, 53)))
    path.egress(V4.leaving(udp(4000, 54)))
    path.egress(V4.leaving(udp(4000, 54)))
    path.ingress(eth(ip(V4.inside, V4.them, udp(4000, 53))), on="lan")
    after = [path.rule_counter(scope).packets for scope in range(abi.Scope.SCOPE_COUNT)]
    counts = {abi.Scope(i).name: b - a for i, (a, b) in enumerate(zip(before, after, strict=True))}
    assert counts == {"SCOPE_IN": 1, "SCOPE_OUT": 2, "SCOPE_FORWARD": 1}


@FAMILIES
def test_log_tells_of_the_opener_alone(path: PacketPath, ends: Ends) -> None:
    (rule,) = path.policy('default in drop\nallow in udp to port 53 log "dns"\n').rules
    for _ in range(3):
        path.ingress(ends.arriving(udp(4000, 53)))
        path.egress(ends.leaving(udp(53, 4000)))
    (event,) = path.events()
    assert event.flags == abi.EventFlags.EVENT_LOG
    assert (event.reason, event.rule, event.dport) == (abi.Reason.RULE_ALLOW, rule.id, 53)


@pytest.mark.parametrize("action", ["drop", "reject"])
def test_log_of_a_refusal(path: PacketPath, action: str) -> None:
    path.policy(f"default in allow\n{action} in tcp to port 22 log\n{action} in tcp to port 23\n")
    ask(path, 22)
    ask(path, 23)
    logged, silent = path.events()
    assert logged.flags == abi.EventFlags.EVENT_DROP | abi.EventFlags.EVENT_LOG
    assert silent.flags == abi.EventFlags.EVENT_DROP


def test_rule_that_was_passed_over_is_not_logged(path: PacketPath) -> None:
    path.policy("default in drop\nallow in tcp to port 23 log\nallow in tcp to port 22\n")
    ask(path, 22)
    assert path.events() == []
