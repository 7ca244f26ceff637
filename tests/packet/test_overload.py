# SPDX-License-Identifier: MIT
"""`overload`: who passes a ceiling is put into a set, and only who has shown that he is who he says."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_address

import pytest

from firewall import abi
from firewall.overloads import Overloads
from firewall.pins import offset_of
from firewall.settable import boot_s
from tests.packet.ends import FAMILIES, V4, V6, Ends
from tests.packet.path import PacketPath
from tests.packet.places import books
from tests.packet.test_ceilings import come_in, knock, knocks, wait
from tests.packets import tcp

POLICY = """
option antispoof off
default in drop
default out allow
set bad
drop in from @bad
allow in tcp to port 80
allow in tcp to port 22 {} overload @bad for {}
"""
LET_IN = ["rule_allow", "flow", "flow"]
REFUSED = ["rule_allow", "flow", "over_limit"]


def caught(path: PacketPath) -> dict[str, list[int]]:
    """Addresses and prefix lengths of 128 bits, with the seconds that are left in each set."""
    now = boot_s()
    found = {}
    for key, ends in Overloads(path.sets()._pins).items():
        bits, family, _, address = struct.unpack("=3I16s", key)
        host = ip_address(address[12:] if family == 4 else address)
        found[f"{host}/{bits - (160 if family == 4 else 64)}"] = [end - now for end in ends.values()]
    return found


@FAMILIES
@pytest.mark.parametrize("ceiling", ["limit 3/day per source", "max-flows 3 per source"])
def test_the_fourth_is_refused_and_its_source_kept_out(path: PacketPath, ends: Ends, ceiling: str) -> None:
    path.policy(POLICY.format(ceiling, "1h"))
    assert [come_in(path, 4000 + i, ends.them) for i in range(3)] == [LET_IN] * 3
    assert come_in(path, 80, ends.them, 80) == LET_IN
    assert not caught(path)
    assert come_in(path, 4003, ends.them) == REFUSED
    source = f"{ends.them}/32" if ends is V4 else str(ip_address(ends.them)) + "/64"
    if ends is V6:
        source = f"{ip_address(int(ip_address(ends.them)) >> 64 << 64)}/64"
    assert list(caught(path)) == [source]
    assert all(3600 <= left <= 3601 for left in caught(path)[source])
    assert path.events()[-1].flags & abi.EventFlags.EVENT_OVERLOAD
    assert knock(path, ends.them, 5000) == "rule_drop", "whatever he asks for"
    assert path.ingress(ends.arriving(tcp(80, 80, "A", seq=101, ack=901))).reason == "revoked"
    assert path.egress(ends.leaving(tcp(22, 4000, "A", seq=901, ack=101))).reason == "revoked"
    other = "203.0.113.200" if ends is V4 else "2001:db8:5::9"
    assert come_in(path, 4000, other) == LET_IN
    assert books(path) == 5


def test_only_who_completes_a_handshake_counts(path: PacketPath) -> None:
    """SYNs may have any sender: they use up nothing, and put nobody into the set."""
    path.policy(POLICY.format("limit 2/day per source", "1h"))
    assert knocks(path, 20) == ["rule_allow"] * 20
    assert [come_in(path, 4000 + i) for i in range(3)] == [LET_IN, LET_IN, REFUSED]


@pytest.mark.parametrize("source", ["198.51.100.7", "2001:db8:9:77::7"])
def test_a_network_is_put_in_as_it_is_counted(path: PacketPath, source: str) -> None:
    path.policy(POLICY.format("limit 1/day per source/24/56", "90s"))
    near = "198.51.100.200" if "." in source else "2001:db8:9::1"
    assert [come_in(path, 4000, source), come_in(path, 4000, near)] == [LET_IN, REFUSED]
    (found,) = caught(path)
    assert found == ("198.51.100.0/24" if "." in source else "2001:db8:9::/56")
    assert knock(path, source, 4001) == "rule_drop"
    assert knock(path, "198.51.101.1" if "." in source else "2001:db8:9:100::1", 4001) == "rule_allow"


def test_a_ceiling_of_all_sources_together_puts_nobody_in(path: PacketPath) -> None:
    path.policy(POLICY.format("limit 2/day max-flows 20 per source", "1h"))
    assert knocks(path, 3) == ["rule_allow"] * 2 + ["over_limit"]
    assert not caught(path)


def test_in_observe_mode_nobody_is_kept_out_later(path: PacketPath) -> None:
    path.policy(POLICY.format("limit 1/day per source", "1h"))
    path.control(mode=abi.Mode.MODE_OBSERVE)
    come_in(path, 4000)
    assert come_in(path, 4001) == REFUSED
    assert not caught(path) and path.events()[-1].flags & abi.EventFlags.EVENT_OBSERVED


def test_where_rules_put_sources_is_not_looked_into_before_one_is_there(path: PacketPath) -> None:
    """So that an address in no set costs one lookup."""
    path.policy(POLICY.format("limit 1/day per source", "1h"))
    come_in(path, 4000)
    head = path.maps["overload_head"]
    none_yet = head.lookup(bytes(4)) or b""
    assert come_in(path, 4001) == REFUSED
    since = head.lookup(bytes(4)) or b""
    assert knock(path, V4.them, 4002) == "rule_drop"
    head.update(bytes(4), none_yet)
    assert knock(path, V4.them, 4003) == "rule_allow"
    head.update(bytes(4), since)
    assert knock(path, V4.them, 4004) == "rule_drop"


def test_the_time_ends_and_begins_again(path: PacketPath) -> None:
    path.policy(POLICY.format("limit 1/day per source", "1h"))
    come_in(path, 4000)
    come_in(path, 4001)
    overloads = path.maps["overloads"]
    ((key, raw),) = overloads.items()
    past = raw[:8] + struct.pack("=3I", boot_s() - 1, 0, 0)
    overloads.update(key, past)
    assert come_in(path, 4002) == REFUSED, "heard, but the ceiling stands"
    assert all(left > 3000 for left in caught(path)[f"{V4.them}/32"])
    overloads.update(key, past)
    wait(path, 2 * 86400)
    assert come_in(path, 4003) == LET_IN


def test_a_flow_hears_of_each_insertion_but_not_of_all_at_once(path: PacketPath) -> None:
    """The second in a tick is heard of in the next: no flow is judged more often than that."""
    path.policy(POLICY.format("limit 1/day per source", "1h"))
    word = offset_of(abi.Control, "overload")
    for i in range(1, 6):
        come_in(path, 4000, f"203.0.113.{i}")
    numbers = set()
    for i in range(1, 6):
        assert come_in(path, 4001, f"203.0.113.{i}") == REFUSED
        control = path.maps["control"].lookup(bytes(4)) or b""
        numbers.add(struct.unpack_from("=Q", control, word)[0])
    assert len(numbers) <= 4, "two a tick, and all of this takes less than two"
    for i in range(1, 6):
        ends = V4._replace(them=f"203.0.113.{i}")
        for _ in range(4000):
            reason = path.ingress(ends.arriving(tcp(4000, 22, "A", seq=101, ack=901))).reason
            if reason == "revoked":
                break
            assert reason == "flow"
        assert reason == "revoked"


def test_the_ring_displaces_the_oldest(path: PacketPath) -> None:
    """What has been put in again since, or taken out, is not what an old place in the ring speaks of."""
    path.policy(POLICY.format("limit 1/day per source", "1h"))
    size = int(abi.Limits.OVERLOADS_MAX)

    def next_place(place: int) -> None:
        head = abi.OverloadHead.unpack(path.maps["overload_head"].lookup(bytes(4)) or b"")
        head.next = place
        path.maps["overload_head"].update(bytes(4), head.pack())

    next_place(7)
    for source in ("203.0.113.1", "203.0.113.2"):
        come_in(path, 4000, source)
        come_in(path, 4001, source)
    assert list(caught(path)) == ["203.0.113.1/32", "203.0.113.2/32"]
    next_place(7 + size)
    for port in (4000, 4001):
        come_in(path, port, "203.0.113.3")
    assert list(caught(path)) == ["203.0.113.2/32", "203.0.113.3/32"]
    overloads = Overloads(path.sets()._pins)
    second = next(key for key, _ in overloads.items())
    overloads.release([second], 0)
    next_place(100)
    come_in(path, 4002, "203.0.113.2")
    next_place(8 + size)
    for port in (4000, 4001):
        come_in(path, port, "203.0.113.4")
    assert set(caught(path)) == {"203.0.113.2/32", "203.0.113.3/32", "203.0.113.4/32"}
    head = abi.OverloadHead.unpack(path.maps["overload_head"].lookup(bytes(4)) or b"")
    assert head.displaced == 1 and head.failed == 0


def test_nested_prefixes_and_several_sets(path: PacketPath) -> None:
    """Of different rules: each prefix around an address counts, and a prefix may be in three sets."""
    lengths = random.Random(5).sample(range(1, 33), 6)
    rules = "".join(
        f"set s{i}\nallow in tcp to port {100 + i} limit 1/day per source/{n}/64 overload @s{i} for 1h\n"
        f"drop in tcp from @s{i} to port {200 + i}\n"
        for i, n in enumerate(lengths)
    )
    rest = "".join(f"allow in tcp to port {200 + i}\n" for i in range(6))
    path.policy("option antispoof off\ndefault in drop\n" + rules + rest)
    for i, length in enumerate(lengths):
        assert knock(path, "203.0.113.77", 5000, 200 + i) == "rule_allow"
        come_in(path, 4000, "203.0.113.77", 100 + i)
        assert come_in(path, 4001, "203.0.113.77", 100 + i) == REFUSED
        assert knock(path, "203.0.113.77", 5001, 200 + i) == "rule_drop", length
    bits = path.sets().member_bits(ip_address("203.0.113.77"))
    assert bits == 0b111111
    for i in range(6, 10):
        assert bits >> i & 1 == 0


def test_a_prefix_in_three_sets_leaves_the_one_that_ends_first(path: PacketPath) -> None:
    rules = "".join(
        f"set s{i}\nallow in tcp to port {100 + i} limit 1/day per source overload @s{i} for {9 - i}h\n"
        for i in range(4)
    )
    path.policy("option antispoof off\ndefault in drop\n" + rules)
    for i in range(4):
        come_in(path, 4000, port=100 + i)
        assert come_in(path, 4001, port=100 + i) == REFUSED
    assert path.sets().member_bits(ip_address(V4.them)) == 0b1011
