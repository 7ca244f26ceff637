# SPDX-License-Identifier: MIT
"""Elements of sets that count: each packet that a rule lets pass or refuses by them, and no other."""

from __future__ import annotations

from firewall.addresses import parse_span
from firewall.setfile import keys_of, span_of
from tests.packet.ends import FAMILIES, V4, Ends
from tests.packet.path import PacketPath
from tests.packet.test_ceilings import come_in, knock
from tests.packet.test_translation import Masquerade
from tests.packets import tcp, udp

POLICY = """
option antispoof off
default in drop
set bad counters = 203.0.113.0/24, 203.0.113.7, 2001:db8:bad::/48
set quiet = 198.18.0.0/15
set near counters = 198.51.100.0/24, 2001:db8:9::/64
set here counters = 192.0.2.1, 2001:db8:1::/64
drop in from @bad, @quiet
allow in udp from @near
allow in tcp from @near to @here port 22
allow in tcp to port 80
"""


def counts(path: PacketPath) -> dict[str, int]:
    """Packets by element."""
    return {str(span_of(key)): packets for key, (packets, _) in path.sets().counts().items()}


def test_each_prefix_around_who_is_refused_counts_him(path: PacketPath) -> None:
    path.policy(POLICY)
    assert [knock(path, source) for source in ("203.0.113.7", "203.0.113.8", "198.18.0.1")] == [
        "rule_drop"
    ] * 3
    assert knock(path, "2001:db8:bad:5::1") == knock(path, "2001:db8:bad::") == "rule_drop"
    assert knock(path, "192.88.0.1") == "default_drop"
    assert counts(path) == {"203.0.113.0/24": 2, "203.0.113.7": 1, "2001:db8:bad::/48": 2}
    ((_, octets),) = [one for key, one in path.sets().counts().items() if str(span_of(key)) == "203.0.113.7"]
    assert octets == 54


@FAMILIES
def test_a_connections_packets_count_both_ways(path: PacketPath, ends: Ends) -> None:
    path.policy(POLICY)
    assert come_in(path, 4000, ends.them) == ["rule_allow", "flow", "flow"]
    near, here = ("198.51.100.0/24", "192.0.2.1") if ends is V4 else ("2001:db8:9::/64", "2001:db8:1::/64")
    assert counts(path) == {near: 3, here: 3}
    assert come_in(path, 4001, ends.them, 80) == ["rule_allow", "flow", "flow"]
    assert counts(path) == {near: 3, here: 3}, "no rule of the set has let it in"
    path.ingress(ends.arriving(udp(53, 5353)))
    assert counts(path) == {near: 4, here: 3}, "the rule does not ask for the other end"


def test_a_translated_flow_counts_as_what_was_judged_each_packet_once(path: PacketPath) -> None:
    """At the hook where the packet came: from the first on, before any change of rules."""
    path.policy(
        "option antispoof off\ndefault forward drop\nset inner counters = 10.0.0.0/24\n"
        "allow forward on lan via wan from @inner\n"
    )
    nat = Masquerade(path, V4)
    for packets in (1, 3):
        assert nat.udp_out().left == "translated"
        assert counts(path) == {"10.0.0.0/24": packets}
        assert nat.udp_back().left == "translated"
        assert counts(path) == {"10.0.0.0/24": packets + 1}
    nat.forget(inside=False)
    nat.udp_out()
    nat.udp_back()
    assert counts(path) == {"10.0.0.0/24": 6}, "nor is it forgotten with the entry behind the translation"


def test_what_a_running_connection_tries_after_the_rules_refused_it_counts(path: PacketPath) -> None:
    path.policy(POLICY)
    come_in(path, 4000)
    path.policy(POLICY.replace("set bad counters = ", "set bad counters = 198.51.100.7, "))
    for _ in range(2):
        assert path.ingress(V4.arriving(tcp(4000, 22, "A", seq=101, ack=901))).reason == "revoked"
    assert path.egress(V4.leaving(tcp(22, 4000, "A", seq=901, ack=101))).reason == "revoked"
    assert counts(path)["198.51.100.7"] == 3


def test_counts_go_with_their_element(path: PacketPath) -> None:
    path.policy(POLICY)
    knock(path, "203.0.113.7")
    table = path.sets()
    (key,) = keys_of(parse_span("203.0.113.7"))
    table.write([(key, table.get(key).without(0))])
    assert counts(path) == {"203.0.113.0/24": 1}


def test_who_was_put_in_by_a_rule_counts_too(path: PacketPath) -> None:
    path.policy(
        "option antispoof off\ndefault in drop\nset worse counters\ndrop in from @worse\n"
        "allow in tcp to port 22 limit 1/day per source/24/64 overload @worse for 1h\n"
    )
    come_in(path, 4000)
    assert come_in(path, 4001)[-1] == "over_limit"
    assert knock(path, sport=6000) == knock(path, "198.51.100.99") == "rule_drop"
    assert counts(path) == {"198.51.100.0/24": 2}
