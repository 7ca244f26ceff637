# SPDX-License-Identifier: MIT
"""What an `allow` does to its flows and their packets: `set-mark` and `idle`."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from firewall import abi
from tests.packet.ends import FAMILIES, V4, Connection, Ends
from tests.packet.path import ANSWER_MARK, PASS, REDIRECT, PacketPath, Verdict, let_time_pass
from tests.packet.test_flow_listing import listed
from tests.packet.test_translation import Masquerade
from tests.packets import Layer, eth, fragments, icmp_error, ip, ipv4, tcp, udp

CLOSED = "default in drop\n"
SET = "allow in tcp, udp set-mark 0x12/0xff\n"


def marked(path: PacketPath) -> int:
    """The mark that the last packet left with."""
    return abi.Env.unpack(path.maps["env_map"].lookup(struct.pack("=I", 0)) or b"").mark


def kept(path: PacketPath, run: Callable[..., Verdict], frame: Layer, mark: int = 0) -> tuple[str, int]:
    """The reason, and the mark afterwards."""
    return run(frame, mark=mark).reason, marked(path)


@FAMILIES
def test_each_packet_of_both_sides_is_marked(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED + SET)
    assert kept(path, path.ingress, ends.arriving(tcp(4000, 22, seq=100))) == ("rule_allow", 0x12)
    answer = ends.leaving(tcp(22, 4000, "SA", seq=900, ack=101))
    assert kept(path, path.egress, answer, 0xABCD00FF) == ("flow", 0xABCD0012), "other bits stay"
    assert kept(path, path.ingress, ends.arriving(tcp(4000, 22, "A", seq=101, ack=901))) == ("flow", 0x12)
    data = tcp(22, 4000, "PA", b"hello", seq=901, ack=101)
    assert kept(path, path.egress, ends.leaving(data)) == ("flow", 0x12)
    error = ends.arriving(icmp_error(ip(ends.us, ends.them, data)))
    assert kept(path, path.ingress, error) == ("related", 0x12)


@FAMILIES
def test_what_is_of_no_such_flow_keeps_its_mark(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED + "allow in udp\n" + SET)
    path.ingress(ends.arriving(tcp(4000, 22, seq=100)))
    assert kept(path, path.ingress, ends.arriving(udp(4000, 53)), 7) == ("rule_allow", 7)
    assert kept(path, path.ingress, ends.arriving(tcp(4000, 22, "A", seq=5, ack=9)), 7)[1] == 7, (
        "not accepted"
    )
    assert kept(path, path.ingress, ends.arriving(ends.echo()), 7) == ("default_drop", 7)


def test_fragments_are_marked(path: PacketPath) -> None:
    path.policy(CLOSED + SET)
    first, *later = fragments(ipv4(V4.them, V4.us, udp(4000, 53, bytes(64))), 24)
    assert kept(path, path.ingress, eth(first)) == ("rule_allow", 0x12)
    assert [kept(path, path.ingress, eth(one), 0x100) for one in later] == [("fragment", 0x112)] * len(later)
    first, *later = fragments(ipv4(V4.them, V4.us, udp(4000, 53, bytes(64)), ident=9), 24)
    assert kept(path, path.ingress, eth(first)) == ("flow", 0x12)
    assert kept(path, path.ingress, eth(later[0])) == ("fragment", 0x12)


@FAMILIES
def test_a_changed_rule_changes_its_flows(path: PacketPath, ends: Ends) -> None:
    path.policy(CLOSED + SET)
    frame = ends.arriving(udp(4000, 53))
    path.ingress(frame)
    path.policy(CLOSED + "allow in udp set-mark 3 idle 1h\n")
    assert kept(path, path.ingress, frame, 0xFFFFFFFF) == ("flow", 3)
    assert (listed(path)[0].mark, listed(path)[0].mark_mask, listed(path)[0].idle_s) == (3, 0xFFFFFFFF, 3600)
    path.policy(CLOSED + "allow in udp\n")
    assert kept(path, path.ingress, frame, 9) == ("flow", 9)
    assert (listed(path)[0].mark_mask, listed(path)[0].idle_s) == (0, 0)


@FAMILIES
def test_translated_flows_are_marked_at_both_hooks(path: PacketPath, ends: Ends) -> None:
    """Answers come in by the flow after the translation, and are routed by the mark that they get there."""
    path.policy("allow forward on lan set-mark 5 idle 1h\n")
    nat = Masquerade(path, ends)
    assert nat.udp_out() == ("rule_allow", "translated")
    assert marked(path) == 5
    assert path.ingress(eth(ip(ends.them, ends.us, udp(53, 6000)))).reason == "flow"
    assert marked(path) == 5
    assert {flow.effects.idle_j > 0 for _, _, flow in path.flows()} == {True}
    nat.forget(inside=False)
    assert nat.udp_out().left == "translated"
    assert {flow.effects.mark for _, _, flow in path.flows()} == {5}, (
        "opened again by a packet of a known flow"
    )


def test_the_mark_of_our_answers_is_never_set(path: PacketPath) -> None:
    path.policy(CLOSED + f"allow in udp set-mark {ANSWER_MARK:#x}\n")
    assert kept(path, path.ingress, V4.arriving(udp(4000, 53)), 7) == ("rule_allow", 7)
    path.policy(CLOSED + f"allow in udp set-mark {ANSWER_MARK & 0xFF:#x}/0xff\n")
    frame = V4.arriving(udp(4000, 53))
    assert kept(path, path.ingress, frame, ANSWER_MARK ^ 1) == ("flow", ANSWER_MARK ^ 1)


@FAMILIES
def test_what_is_rejected_is_not_marked_so(path: PacketPath, ends: Ends) -> None:
    connection = Connection(path, ends)
    path.policy(CLOSED + SET)
    connection.establish()
    path.policy("default in reject\n")
    let_time_pass(0.02)
    for action in (PASS, REDIRECT):  # the first goes on as a reset
        assert connection.o("PA", 101, 901, b"x").action == action
        assert marked(path) == 0


@FAMILIES
def test_marks_of_what_this_host_sends(path: PacketPath, ends: Ends) -> None:
    path.policy("default out drop\nallow out udp set-mark 0x20/0xf0\n")
    assert kept(path, path.egress, ends.leaving(udp(4000, 53)), 0xF1) == ("rule_allow", 0x21)
    assert kept(path, path.ingress, ends.arriving(udp(53, 4000))) == ("flow", 0x20)


IDLE = pytest.mark.parametrize(("idle", "seconds"), [("10s", 10), ("3d", 3 * 86400)])
MARGIN_S = 3


@IDLE
@FAMILIES
def test_idle_tcp(path: PacketPath, ends: Ends, idle: str, seconds: int) -> None:
    connection = Connection(path, ends)
    path.policy(CLOSED + f"allow in tcp idle {idle}\n")
    connection.establish()
    assert listed(path)[0].idle_s == seconds and seconds - MARGIN_S <= listed(path)[0].expires_s <= seconds
    assert connection.lives(seconds - MARGIN_S)
    path.age(seconds + MARGIN_S)
    assert listed(path) == []
    assert connection.o("A", 101, 901).reason == "no_flow"


@IDLE
@FAMILIES
def test_idle_udp_once_it_is_answered(path: PacketPath, ends: Ends, idle: str, seconds: int) -> None:
    path.policy(CLOSED + f"allow in udp idle {idle}\n")
    path.ingress(ends.arriving(udp(4000, 53)))
    assert listed(path)[0].expires_s in (119, 120), "not yet"
    path.egress(ends.leaving(udp(53, 4000)))
    assert seconds - MARGIN_S <= listed(path)[0].expires_s <= seconds
    path.age(seconds - MARGIN_S)
    assert len(listed(path)) == 1
    assert path.egress(ends.leaving(udp(53, 4000))).reason == "flow"
    path.age(seconds + MARGIN_S)
    assert listed(path) == []
    path.policy(CLOSED)
    assert path.ingress(ends.arriving(udp(4000, 53))).reason == "default_drop"


@FAMILIES
def test_idle_does_not_keep_what_is_closing(path: PacketPath, ends: Ends) -> None:
    connection = Connection(path, ends)
    path.policy(CLOSED + "allow in tcp idle 14d\n")
    connection.close()
    assert listed(path)[0].state == "time_wait" and listed(path)[0].expires_s <= 240
