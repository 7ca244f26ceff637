# SPDX-License-Identifier: MIT
"""`untracked`: packets pass one by one, by a rule for each direction, and nothing is kept of them."""

from __future__ import annotations

import pytest

from tests.packet.ends import FAMILIES, V4, Ends
from tests.packet.path import PASS, PacketPath
from tests.packet.test_ceilings import come_in
from tests.packet.test_effects import marked
from tests.packets import eth, fragments, icmp, icmp_error, ip, tcp, udp

BOTH = """
option antispoof off
default in drop
default forward drop
default out drop
allow in udp to port 53 untracked
allow out udp from port 53 untracked
allow in tcp to port 80 untracked
"""


def kept(path: PacketPath) -> int:
    """Entries in all that remembers flows."""
    return sum(
        1 for name in ("flows", "embryonic", "sources", "expectations") for _ in path.maps[name].items()
    )


@FAMILIES
def test_each_packet_passes_by_a_rule_of_its_direction(path: PacketPath, ends: Ends) -> None:
    path.policy(BOTH)
    for _ in range(3):
        assert path.ingress(ends.arriving(udp(4000, 53))).reason == "rule_allow"
        assert path.egress(ends.leaving(udp(53, 4000))).reason == "rule_allow"
    assert path.ingress(ends.arriving(udp(53, 4000))).reason == "default_drop"
    assert kept(path) == 0


def test_no_segment_of_it_is_taken_for_the_middle_of_a_connection(path: PacketPath) -> None:
    path.policy(BOTH + "option tcp.pickup any\n")
    assert path.egress(V4.leaving(tcp(80, 4000, "A", seq=9, ack=9))).reason == "no_flow"
    assert path.ingress(V4.arriving(tcp(4000, 80, "A", seq=9, ack=9))).reason == "rule_allow"
    assert kept(path) == 0


@pytest.mark.parametrize("flags", ["S", "SA", "A", "PA", "FA", "R", "RA"])
def test_any_segment_is_asked_and_answers_need_a_rule(path: PacketPath, flags: str) -> None:
    path.policy(BOTH)
    ack = 5 if "A" in flags else 0
    assert path.ingress(V4.arriving(tcp(4000, 80, flags, seq=9, ack=ack))).reason == "rule_allow"
    answer = path.egress(V4.leaving(tcp(80, 4000, flags, seq=9, ack=ack))).reason
    assert answer == ("default_drop" if flags == "S" else "no_flow")
    assert kept(path) == 0


def test_the_first_rule_that_matches_decides(path: PacketPath) -> None:
    """One that opens flows, or drops, hides an untracked one behind it from what can open none, too."""
    path.policy(
        BOTH.replace(
            "allow in tcp", "drop in tcp from 203.0.113.0/24\nallow in tcp from 198.18.0.0/15\nallow in tcp"
        )
    )

    def ask(source: str, flags: str) -> str:
        segment = tcp(4000, 80, flags, seq=9, ack=5 if "A" in flags else 0)
        return path.ingress(eth(ip(source, V4.us, segment))).reason

    assert [ask("203.0.113.1", flags) for flags in ("S", "A")] == ["rule_drop", "no_flow"]
    assert [ask("198.18.0.1", flags) for flags in ("SA", "S", "A")] == [
        "no_flow",
        "rule_allow",
        "bad_handshake",
    ]
    assert [ask("198.51.100.7", flags) for flags in ("A", "S", "A")] == ["rule_allow"] * 3


def test_a_default_that_allows_opens_flows(path: PacketPath) -> None:
    path.policy(
        BOTH.replace("default out drop", "default out allow").replace(
            "allow out udp from port 53 untracked", ""
        )
    )
    assert path.ingress(V4.arriving(udp(4000, 53))).reason == "rule_allow"
    assert path.egress(V4.leaving(udp(53, 4000))).reason == "default_allow"
    assert path.ingress(V4.arriving(udp(4000, 53))).reason == "flow"


def test_what_is_forwarded_is_handed_on_and_answered_by_a_rule_alone(path: PacketPath) -> None:
    path.policy(
        "option antispoof off\ndefault forward drop\nallow forward on lan via wan udp to port 53 untracked\n"
    )
    there = eth(ip("10.0.0.9", "198.51.100.7", udp(4000, 53)))
    assert path.ingress(there, on="lan").reason == "rule_allow"
    assert path.egress(there, on="wan", came_by="lan").reason == "handed_on"
    back = eth(ip("198.51.100.7", "10.0.0.9", udp(53, 4000)))
    assert path.ingress(back).reason == "default_drop"
    assert kept(path) == 0


def test_later_fragments_follow_their_first(path: PacketPath) -> None:
    path.policy(BOTH)
    whole = ip("198.51.100.7", V4.us, udp(4000, 53, bytes(3000)))
    first, second, third = (eth(one) for one in fragments(whole, 1480))
    assert [path.ingress(one).reason for one in (first, second, third)] == [
        "rule_allow",
        "fragment",
        "fragment",
    ]
    assert path.ingress(second).reason == "fragment_overlap"
    assert kept(path) == 0


@FAMILIES
def test_an_error_passes_if_what_it_quotes_would(path: PacketPath, ends: Ends) -> None:
    """Whoever sends it; about what went the other way, and to who sent that."""
    path.policy(BOTH)
    sent = ip(ends.us, ends.them, udp(53, 4000))
    never = ip(ends.us, ends.them, udp(54, 4000))
    received = ip(ends.them, ends.us, udp(4000, 53))
    for hop in (ends.them, ends.hop):
        assert path.ingress(eth(ip(hop, ends.us, icmp_error(sent)))).reason == "related"
        assert path.ingress(eth(ip(hop, ends.us, icmp_error(never)))).reason == "unrelated"
    assert path.egress(eth(ip(ends.us, ends.them, icmp_error(received)))).reason == "related"
    assert path.ingress(eth(ip(ends.hop, ends.us, icmp_error(received)))).reason == "unrelated"
    assert kept(path) == 0


def test_no_error_changes_the_way_of_what_nobody_follows_or_comes_from_nowhere(path: PacketPath) -> None:
    path.policy(BOTH + "option antispoof off\n")
    sent = ip(V4.us, V4.them, udp(53, 4000))
    for kind in (4, 5):
        assert path.ingress(eth(ip(V4.hop, V4.us, icmp_error(sent, kind)))).reason == "unrelated"
    for source in ("127.0.0.1", "224.0.0.1"):
        assert path.ingress(eth(ip(source, V4.us, icmp_error(sent)))).reason == "martian"
    assert path.ingress(eth(ip(V4.hop, V4.us, icmp_error(sent)))).reason == "related"


def test_a_quoted_ping_is_unrelated(path: PacketPath) -> None:
    path.policy(BOTH + "allow out icmp untracked\n")
    assert path.egress(V4.leaving(icmp(8))).reason == "rule_allow"
    quoted = ip(V4.us, V4.them, icmp(8))
    assert path.ingress(eth(ip(V4.hop, V4.us, icmp_error(quoted)))).reason == "unrelated"


def test_a_running_connection_stays_one(path: PacketPath) -> None:
    path.policy(BOTH.replace("to port 80 untracked", "to port 80") + "allow out tcp from port 80 untracked\n")
    come_in(path, 4000, port=80)
    path.policy(BOTH + "allow out tcp from port 80 untracked\n")
    assert path.ingress(V4.arriving(tcp(4000, 80, "A", seq=101, ack=901))).reason == "flow"
    assert path.egress(V4.leaving(tcp(80, 4000, "A", seq=901, ack=101))).reason == "flow"
    assert path.ingress(V4.arriving(tcp(4001, 80, "A", seq=101, ack=901))).reason == "rule_allow"


def test_its_packets_get_a_mark_and_are_asked_for_theirs(path: PacketPath) -> None:
    path.policy(BOTH + "allow in tcp to port 81 mark 7 set-mark 9 untracked\n")
    segment = V4.arriving(tcp(4000, 81, "A", seq=1, ack=1))
    assert path.ingress(segment, mark=7).reason == "rule_allow"
    assert marked(path) == 9
    assert path.ingress(segment, mark=6).reason == "no_flow"


def test_a_question_to_many_expects_nothing(path: PacketPath) -> None:
    path.policy("default out drop\ndefault in drop\nallow out udp to port 5353 untracked\n")
    question = eth(ip(V4.us, "224.0.0.251", udp(5353, 5353)))
    assert path.egress(question).action == PASS
    assert kept(path) == 0
