# SPDX-License-Identifier: MIT
"""A flow that the rules no longer allow has ended for both sides, and comes back only with the rules."""

from firewall import clock
from tests.packet.path import PacketPath
from tests.packets import eth, ipv4, tcp, udp

US, THEM = "192.0.2.1", "198.51.100.7"
OPEN = "allow in tcp to port 22\nallow in udp to port 53\n"
CLOSED = "default in drop\n"


def segment(path: PacketPath, sender: str, flags: str = "PA", seq: int = 1000, ack: int = 1000) -> str:
    if sender == "them":
        return path.ingress(eth(ipv4(THEM, US, tcp(4000, 22, flags, seq=seq, ack=ack)))).reason
    return path.egress(eth(ipv4(US, THEM, tcp(22, 4000, flags, seq=seq, ack=ack)))).reason


def connect(path: PacketPath) -> None:
    assert segment(path, "them", "S", 999) == "rule_allow"
    assert segment(path, "us", "SA", 999, 1000) == "flow"
    assert segment(path, "them", "A") == "flow"


def test_neither_side_passes(path: PacketPath) -> None:
    path.policy(OPEN)
    connect(path)
    path.policy(CLOSED)
    assert [segment(path, sender) for sender in ("us", "them", "us")] == ["revoked"] * 3


def test_load_grace_does_not_bring_it_back(path: PacketPath) -> None:
    path.policy(OPEN)
    path.control(grace_until_j=clock.now_j() + 100 * clock.hz())
    connect(path)
    path.policy(CLOSED)
    assert [segment(path, sender) for sender in ("them", "us", "them")] == ["revoked"] * 3


def test_answers_do_not_open_it_from_the_other_end(path: PacketPath) -> None:
    path.policy(OPEN)
    question, answer = eth(ipv4(THEM, US, udp(4000, 53))), eth(ipv4(US, THEM, udp(53, 4000)))
    path.ingress(question)
    path.policy(CLOSED)
    assert path.egress(answer).reason == "revoked"
    assert path.ingress(question).reason == "revoked"


def test_it_ends_a_while_after_its_last_packet(path: PacketPath) -> None:
    path.policy(OPEN)
    connect(path)
    path.policy(CLOSED + "option timeout.revoked 60s\n")
    assert segment(path, "them") == "revoked"
    path.age(61)
    assert segment(path, "them") == "no_flow"
    assert list(path.flows()) == []


def test_rules_that_allow_it_again_bring_it_back(path: PacketPath) -> None:
    path.policy(OPEN)
    connect(path)
    path.policy(CLOSED)
    assert segment(path, "them") == "revoked"
    path.policy(OPEN)
    assert segment(path, "us") == "flow"
    path.age(600)
    assert segment(path, "them") == "flow"
