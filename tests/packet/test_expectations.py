# SPDX-License-Identifier: MIT
"""Who may answer a question that this host sent to a multicast or broadcast address."""

from __future__ import annotations

import struct

import pytest

from firewall import clock
from tests.packet.path import PacketPath, Verdict
from tests.packets import eth, ip, udp

US, NEAR, OTHER = "192.0.2.1", "192.0.2.77", "192.0.2.78"
US6, NEAR6 = "fe80::1", "fe80::77"
ALL_FF = "ff:ff:ff:ff:ff:ff"
POLICY = "default in drop\ndefault out drop\nallow out udp\n"
MDNS, SSDP, NETBIOS, SLP = 5353, 1900, 137, 427

QUESTIONS = pytest.mark.parametrize(
    ("to", "port", "mac"),
    [
        ("224.0.0.251", MDNS, "01:00:5e:00:00:fb"),
        ("239.255.255.250", SSDP, "01:00:5e:7f:ff:fa"),
        ("239.255.255.253", SLP, "01:00:5e:7f:ff:fd"),
        ("192.0.2.255", NETBIOS, ALL_FF),
        ("255.255.255.255", 9999, ALL_FF),
    ],
)


def ask(path: PacketPath, to: str, port: int, mac: str = ALL_FF, sport: int = 5000, by: str = US) -> Verdict:
    return path.egress(eth(ip(by, to, udp(sport, port)), dst=mac))


def answer(path: PacketPath, port: int, src: str = NEAR, dport: int = 5000, to: str = US) -> str:
    return path.ingress(eth(ip(src, to, udp(port, dport)))).reason


@pytest.fixture
def asking(path: PacketPath) -> PacketPath:
    path.policy(POLICY)
    return path


@QUESTIONS
def test_each_who_answers_opens_a_flow(asking: PacketPath, to: str, port: int, mac: str) -> None:
    assert answer(asking, port) == "default_drop"
    assert ask(asking, to, port, mac).reason == "rule_allow"
    for who in (NEAR, OTHER):
        assert answer(asking, port, who) == "expected"
        assert answer(asking, port, who) == "flow"
        assert asking.egress(eth(ip(US, who, udp(5000, port)))).reason == "flow", "we may go on with it"


def test_both_families(asking: PacketPath) -> None:
    ask(asking, "ff02::fb", MDNS, "33:33:00:00:00:fb", by=US6)
    assert answer(asking, MDNS, NEAR6, to=US6) == "expected"


@pytest.mark.parametrize(
    "stray",
    [{"port": 99}, {"port": MDNS, "dport": 5001}, {"port": MDNS, "to": "192.0.2.9"}],
    ids=["from another port", "to another port", "to another address"],
)
def test_nothing_else_is_expected(asking: PacketPath, stray: dict[str, object]) -> None:
    ask(asking, "224.0.0.251", MDNS)
    assert answer(asking, **stray) == "default_drop"  # type: ignore[arg-type]


def test_by_another_interface_nothing_is_expected(asking: PacketPath) -> None:
    asking.policy(POLICY + "option antispoof off\n")
    ask(asking, "224.0.0.251", MDNS)
    frame = eth(ip("10.0.0.9", US, udp(MDNS, 5000)))
    assert asking.ingress(frame, on="lan").reason == "default_drop"


def test_upnp_answers_from_any_port(asking: PacketPath) -> None:
    ask(asking, "239.255.255.250", SSDP)
    assert answer(asking, 40_000) == "expected"


def test_not_for_ever(asking: PacketPath) -> None:
    asking.policy(POLICY + "option timeout.expectation 5s\n")
    ask(asking, "224.0.0.251", MDNS)
    (key, value) = next(asking.maps["expectations"].items())
    (when_j,) = struct.unpack_from("=Q", value)
    asking.maps["expectations"].update(key, struct.pack("=Q", when_j - 6 * clock.hz()) + value[8:])
    assert answer(asking, MDNS) == "default_drop"
    ask(asking, "224.0.0.251", MDNS)
    assert answer(asking, MDNS) == "expected", "asked again"


def test_question_that_the_rules_drop(asking: PacketPath) -> None:
    asking.policy("default in drop\ndefault out drop\n")
    assert not ask(asking, "224.0.0.251", MDNS).passed
    assert answer(asking, MDNS) == "default_drop"


def test_change_of_rules_reaches_answers(asking: PacketPath) -> None:
    """They are judged as the question was."""
    asking.policy("default in drop\ndefault out drop\nallow out udp to 224.0.0.251 port 5353\n")
    ask(asking, "224.0.0.251", MDNS)
    assert answer(asking, MDNS) == "expected"
    asking.policy("default in drop\ndefault out drop\nallow out udp to 224.0.0.251 port 5353\nallow in tcp\n")
    assert answer(asking, MDNS) == "flow"
    asking.policy("default in drop\ndefault out drop\nallow in tcp\n")
    assert answer(asking, MDNS) == "revoked"
    assert answer(asking, MDNS, OTHER) == "default_drop"


def test_question_to_one_host_is_answered_by_it_alone(asking: PacketPath) -> None:
    asking.egress(eth(ip(US, OTHER, udp(5000, 53))))
    assert answer(asking, 53) == "default_drop"
    assert answer(asking, 53, OTHER) == "flow"


def test_rule_of_the_question_counts_its_answers(asking: PacketPath) -> None:
    (rule,) = asking.policy(POLICY).rules
    ask(asking, "224.0.0.251", MDNS)
    before = asking.rule_counter(rule.counter).packets
    answer(asking, MDNS)
    answer(asking, MDNS)
    assert asking.rule_counter(rule.counter).packets == before + 2


def test_answer_is_not_two_way_before_we_reply(asking: PacketPath) -> None:
    ask(asking, "224.0.0.251", MDNS)
    asking.reset_flows()
    for _ in range(3):
        answer(asking, MDNS)
    assert asking.the_flow()[0] == "embryonic"
    asking.egress(eth(ip(US, NEAR, udp(5000, MDNS))))
    assert asking.the_flow()[0] == "flows"
