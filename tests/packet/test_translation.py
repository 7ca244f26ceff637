# SPDX-License-Identifier: MIT
"""Addresses that the host translates between our hooks: masquerade, and ports that are published.

10.0.0.9 ── lan ── this host ── wan ── them
masquerade:  10.0.0.9:5000 -> them:53  leaves as  us:6000 -> them:53
published:   them:4000 -> us:8080      goes on as them:4000 -> 10.0.0.9:80
"""

from typing import NamedTuple

import pytest

from firewall import abi, clock
from tests.packet.ends import ECHO_REPLY, ECHO_REQUEST, FAMILIES, Ends
from tests.packet.path import PacketPath
from tests.packets import Layer, eth, fragments, icmp_error, ip, tcp, udp

CLOSED = "default in drop\ndefault out drop\ndefault forward drop\n"
MASQUERADE = CLOSED + "allow forward on lan via wan\n"
PUBLISHED = CLOSED + "allow in tcp, udp to port 8080\n"
TRANSLATED = abi.FlowFlags.FLOW_TRANSLATED


class Crossing(NamedTuple):
    """What the two hooks said of one packet that passed through; `left` is empty if ingress kept it."""

    came: str
    left: str


class Masquerade:
    """Packets of a flow from lan, as they are before and after the host has put its own address in."""

    def __init__(self, path: PacketPath, ends: Ends) -> None:
        self.path, self.ends = path, ends

    def out(self, before: Layer, after: Layer, leaves_by: str = "wan") -> Crossing:
        """From the inside; `before` and `after` differ in the source port or the id."""
        came = self.path.ingress(eth(ip(self.ends.inside, self.ends.them, before)), on="lan")
        if not came.passed:
            return Crossing(came.reason, "")
        frame = eth(ip(self.ends.us, self.ends.them, after))
        return Crossing(came.reason, self.path.egress(frame, on=leaves_by, came_by="lan").reason)

    def back(self, before: Layer, after: Layer) -> Crossing:
        came = self.path.ingress(eth(ip(self.ends.them, self.ends.us, before)), on="wan")
        if not came.passed:
            return Crossing(came.reason, "")
        frame = eth(ip(self.ends.them, self.ends.inside, after))
        return Crossing(came.reason, self.path.egress(frame, on="lan", came_by="wan").reason)

    def udp_out(self) -> Crossing:
        return self.out(udp(5000, 53), udp(6000, 53))

    def udp_back(self) -> Crossing:
        return self.back(udp(53, 6000), udp(53, 5000))

    def tcp_out(self, flags: str, seq: int, ack: int = 0) -> Crossing:
        return self.out(tcp(5000, 80, flags, seq=seq, ack=ack), tcp(6000, 80, flags, seq=seq, ack=ack))

    def tcp_back(self, flags: str, seq: int, ack: int = 0) -> Crossing:
        return self.back(tcp(80, 6000, flags, seq=seq, ack=ack), tcp(80, 5000, flags, seq=seq, ack=ack))

    def tables(self) -> list[str]:
        return [table for table, *_ in self.path.flows()]

    def forget(self, *, inside: bool) -> None:
        """The flow before translation, or the one after, was displaced."""
        for table, key, flow in list(self.path.flows()):
            if inside != bool(flow.flags & abi.FlowFlags.FLOW_PARENT):
                self.path.maps[table].delete(key.pack())


@pytest.fixture
def nat(path: PacketPath, ends: Ends) -> Masquerade:
    path.policy(MASQUERADE)
    return Masquerade(path, ends)


@FAMILIES
def test_masqueraded_udp(nat: Masquerade) -> None:
    assert nat.udp_out() == ("rule_allow", "translated")
    assert nat.udp_back() == ("flow", "translated")
    assert nat.tables() == ["embryonic", "embryonic"]
    assert nat.udp_out() == ("flow", "translated")
    assert nat.tables() == ["flows", "flows"]
    assert nat.udp_back() == ("flow", "translated")
    for _, _, flow in nat.path.flows():
        assert flow.flags & TRANSLATED
        assert [side.packets for side in flow.side] == [2, 2]


@FAMILIES
def test_masqueraded_tcp(nat: Masquerade) -> None:
    assert nat.tcp_out("S", 100) == ("rule_allow", "translated")
    assert nat.tcp_back("SA", 900, 101) == ("flow", "translated")
    assert nat.tables() == ["embryonic", "embryonic"]
    assert nat.tcp_out("A", 101, 901) == ("flow", "translated")
    assert nat.tables() == ["flows", "flows"], "one handshake confirms both"
    for _ in range(2):
        assert nat.tcp_back("PA", 901, 101) == ("flow", "translated")
    assert nat.tcp_out("FA", 101, 901) == ("flow", "translated")
    assert nat.tcp_back("FA", 901, 102) == ("flow", "translated")
    assert nat.tcp_out("A", 102, 902) == ("flow", "translated")
    assert nat.tcp_out("S", 3000) == ("rule_allow", "translated"), "the ports are used again"


@FAMILIES
def test_masqueraded_echo(nat: Masquerade, ends: Ends) -> None:
    request, reply = ends.echo(ident=5), ends.echo(ECHO_REPLY, ident=5)
    outer_request, outer_reply = ends.echo(ECHO_REQUEST, ident=6), ends.echo(ECHO_REPLY, ident=6)
    assert nat.out(request, outer_request) == ("rule_allow", "translated")
    assert nat.back(outer_reply, reply) == ("flow", "translated")
    assert nat.out(request, outer_request) == ("flow", "translated")


@FAMILIES
def test_strangers_do_not_pass_by_the_translated_flow(nat: Masquerade, ends: Ends) -> None:
    nat.udp_out()
    for source, segment in (
        (ends.below, udp(53, 6000)),
        (ends.them, udp(54, 6000)),
        (ends.them, udp(53, 6001)),
    ):
        assert nat.path.ingress(eth(ip(source, ends.us, segment))).reason == "default_drop"
    direct = eth(ip(ends.them, ends.inside, udp(54, 5000)))
    assert nat.path.ingress(direct).reason == "default_drop"


@FAMILIES
def test_error_about_what_was_translated(nat: Masquerade, ends: Ends) -> None:
    """The host translates the quote as well."""
    nat.udp_out()
    outer = icmp_error(ip(ends.us, ends.them, udp(6000, 53)))
    inner = icmp_error(ip(ends.inside, ends.them, udp(5000, 53)))
    path = nat.path
    assert path.ingress(eth(ip(ends.hop, ends.us, outer))).reason == "related"
    error = eth(ip(ends.hop, ends.inside, inner))
    assert path.egress(error, on="lan", came_by="wan").reason == "related"


@FAMILIES
def test_two_insiders_to_one_server(nat: Masquerade, ends: Ends) -> None:
    """Each of them is told by the port that the host gave him."""
    other = Masquerade(nat.path, ends._replace(inside=ends.inside[:-1] + "8"))
    assert nat.udp_out() == ("rule_allow", "translated")
    assert other.out(udp(5000, 53), udp(6001, 53)) == ("rule_allow", "translated")
    assert other.back(udp(53, 6001), udp(53, 5000)) == ("flow", "translated")
    assert nat.udp_back() == ("flow", "translated")


@FAMILIES
@pytest.mark.parametrize("first", ["out", "back"])
def test_change_of_rules_ends_both(nat: Masquerade, ends: Ends, first: str) -> None:
    """What was judged is the packet before translation: rules speak of the inner address."""
    nat.path.policy(CLOSED + f"allow forward udp from {ends.inside} to port 53 on lan via wan\n")
    nat.udp_out()
    nat.path.policy(
        CLOSED + f"allow forward udp from {ends.inside} to port 53 on lan via wan\nallow in tcp\n"
    )
    order = [nat.udp_out, nat.udp_back] if first == "out" else [nat.udp_back, nat.udp_out]
    assert [send() for send in order] == [("flow", "translated")] * 2
    nat.path.policy(CLOSED + f"allow forward udp from {ends.us} to port 53\n")
    assert [send().came for send in order] == ["revoked"] * 2


@FAMILIES
def test_published_port(path: PacketPath, ends: Ends) -> None:
    """Governed by `in`; that `forward` is shut changes nothing."""
    path.policy(PUBLISHED)

    def come(flags: str, seq: int, ack: int = 0) -> Crossing:
        came = path.ingress(ends.arriving(tcp(4000, 8080, flags, seq=seq, ack=ack)))
        frame = eth(ip(ends.them, ends.inside, tcp(4000, 80, flags, seq=seq, ack=ack)))
        return Crossing(came.reason, path.egress(frame, on="lan", came_by="wan").reason)

    def answer(flags: str, seq: int, ack: int = 0) -> Crossing:
        came = path.ingress(eth(ip(ends.inside, ends.them, tcp(80, 4000, flags, seq=seq, ack=ack))), on="lan")
        frame = ends.leaving(tcp(8080, 4000, flags, seq=seq, ack=ack))
        return Crossing(came.reason, path.egress(frame, on="wan", came_by="lan").reason)

    assert come("S", 100) == ("rule_allow", "translated")
    assert answer("SA", 900, 101) == ("flow", "translated")
    assert come("A", 101, 901) == ("flow", "translated")
    assert [table for table, *_ in path.flows()] == ["flows", "flows"]
    assert answer("PA", 901, 101) == ("flow", "translated")
    path.policy(PUBLISHED + "allow in udp to port 53\n")
    assert answer("PA", 901, 101) == ("flow", "translated")
    path.policy(CLOSED)
    assert answer("PA", 901, 101).came == "revoked"
    assert path.ingress(ends.arriving(tcp(4000, 8080, "PA", seq=101, ack=901))).reason == "revoked"


@FAMILIES
def test_published_port_answers_where_only_wan_is_protected(path: PacketPath, ends: Ends) -> None:
    path.policy(PUBLISHED)
    path.maps["interfaces"].delete(abi.Env(ifindex=path.ifindex["lan"]).pack()[:4])
    assert path.ingress(ends.arriving(tcp(4000, 8080, "S", seq=100))).reason == "rule_allow"
    answer = ends.leaving(tcp(8080, 4000, "SA", seq=900, ack=101))
    assert path.egress(answer, on="wan", came_by="lan", tc_index=0).reason == "flow"


@FAMILIES
def test_host_behind_a_published_port_is_not_reached_directly(path: PacketPath, ends: Ends) -> None:
    path.policy(PUBLISHED)
    assert path.ingress(eth(ip(ends.them, ends.inside, tcp(4000, 80)))).reason == "default_drop"
    assert path.ingress(eth(ip(ends.them, ends.inside, tcp(4000, 8080)))).reason == "default_drop"


@FAMILIES
def test_leaving_by_another_way_is_judged_anew_though_translated(nat: Masquerade) -> None:
    """The rule allows the way by wan; marks and policy routing may choose another after us."""
    path = nat.path
    path.interface("dmz", 7000, slot=3, class_id=0, flags=abi.IfaceFlags.IFACE_PROTECTED)
    before, after = udp(5000, 53), udp(6000, 53)
    assert nat.out(before, after, "dmz") == ("rule_allow", "default_drop")
    assert nat.out(before, after, "wan") == ("flow", "translated")
    assert nat.out(before, after, "dmz") == ("flow", "default_drop")


@FAMILIES
def test_what_the_frame_told_at_ingress_holds_for_its_rule_at_egress(nat: Masquerade) -> None:
    path = nat.path
    path.interface("dmz", 7000, slot=3, class_id=0, flags=abi.IfaceFlags.IFACE_PROTECTED)
    path.policy("allow forward on lan mac 02:00:00:00:00:0a\n")
    assert nat.out(udp(5000, 53), udp(6000, 53), "dmz") == ("rule_allow", "translated")


@FAMILIES
def test_after_a_long_silence_it_opens_again(nat: Masquerade) -> None:
    nat.udp_out()
    nat.udp_back()
    nat.udp_out()
    nat.path.age(3600)
    assert nat.udp_back().came == "default_drop"
    assert nat.udp_out() == ("rule_allow", "translated")
    assert nat.udp_back() == ("flow", "translated")


@FAMILIES
def test_flow_after_translation_was_displaced(nat: Masquerade) -> None:
    """The table is full and an entry is gone: its opener's next packet makes it anew, and the answers pass."""
    nat.tcp_out("S", 100)
    nat.tcp_back("SA", 900, 101)
    nat.tcp_out("A", 101, 901)
    nat.forget(inside=False)
    assert nat.tcp_out("PA", 101, 901) == ("flow", "translated")
    assert nat.tcp_back("PA", 901, 101) == ("flow", "translated")
    assert nat.tcp_out("PA", 101, 901) == ("flow", "translated")


@FAMILIES
def test_connection_older_than_the_load(nat: Masquerade) -> None:
    """load.grace takes it over on both sides of the translation."""
    nat.path.control(grace_until_j=clock.now_j() + 100 * clock.hz())
    assert nat.tcp_out("PA", 101, 901) == ("pickup", "translated")
    assert nat.tcp_back("PA", 901, 101) == ("flow", "translated")
    assert nat.tcp_out("A", 101, 901) == ("flow", "translated")
    assert nat.tables() == ["flows", "flows"]


@FAMILIES
def test_what_is_translated_counts_once_for_its_rule(nat: Masquerade) -> None:
    """As what is handed on does: a packet is one packet, however many of our hooks it meets."""
    (rule,) = nat.path.policy(MASQUERADE).rules
    before = nat.path.rule_counter(rule.counter).packets
    for send in (nat.udp_out, nat.udp_back, nat.udp_out):
        send()
    assert nat.path.rule_counter(rule.counter).packets == before + 3


@FAMILIES
def test_fragments_are_put_together_for_translation(nat: Masquerade, ends: Ends) -> None:
    """And cut again after it: egress sees the first, and later ones, all with the word of one packet."""
    path = nat.path
    payload = bytes(64)
    assert (
        path.ingress(eth(ip(ends.inside, ends.them, udp(5000, 53, payload))), on="lan").reason == "rule_allow"
    )
    index = path.tc_index()
    pieces = fragments(ip(ends.us, ends.them, udp(6000, 53, payload)), 40)
    found = [path.egress(eth(piece), came_by="lan", tc_index=index).reason for piece in pieces]
    assert found == ["translated", "fragment"]


@FAMILIES
def test_translation_that_ends_is_tracked_at_both_hooks(nat: Masquerade, ends: Ends) -> None:
    """The same flow without it, as after `nft flush ruleset`: its packets leave as they came."""
    nat.udp_out()
    frame = eth(ip(ends.inside, ends.them, udp(5000, 53)))
    assert nat.path.ingress(frame, on="lan").reason == "flow"
    assert nat.path.egress(frame, on="wan", came_by="lan").passed
    back = eth(ip(ends.them, ends.inside, udp(53, 5000)))
    assert nat.path.ingress(back, on="wan").reason == "flow"
    assert nat.path.egress(back, on="lan", came_by="wan").passed


@FAMILIES
def test_another_insider_gets_the_port(nat: Masquerade, ends: Ends) -> None:
    """The host has forgotten a translation that we have not: the new one takes its flow's place."""
    path, other = nat.path, ends.inside[:-1] + "8"
    nat.udp_out()
    nat.udp_back()
    nat.udp_out()
    assert path.ingress(eth(ip(other, ends.them, udp(5000, 53))), on="lan").reason == "rule_allow"
    leaving = eth(ip(ends.us, ends.them, udp(6000, 53)))
    assert path.egress(leaving, came_by="lan").reason == "translated"
    parents = [flow.parent.src for _, _, flow in path.flows() if flow.flags & abi.FlowFlags.FLOW_PARENT]
    assert [bytes(parent)[-1] for parent in parents] == [8]
    assert path.ingress(eth(ip(ends.them, ends.us, udp(53, 6000)))).reason == "flow"
