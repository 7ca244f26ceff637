# SPDX-License-Identifier: MIT
"""Flows: what opens one, what belongs to it, when it ends."""

import pytest

from tests.packet.path import PacketPath
from tests.packets import eth, icmp, icmp6, icmp_error, ip, tcp, udp

OPEN_22 = "default in drop\ndefault out allow\nallow in tcp to port 22\nallow in udp to port 53\n"
FAMILIES = pytest.mark.parametrize(
    ("us", "them"), [("192.0.2.1", "198.51.100.7"), ("2001:db8:1::1", "2001:db8:9::7")], ids=["v4", "v6"]
)


@FAMILIES
def test_handshake_opens_and_confirms(path: PacketPath, us: str, them: str) -> None:
    path.policy(OPEN_22)
    assert path.ingress(eth(ip(them, us, tcp(4000, 22, "S", seq=100)))).reason == "rule_allow"
    assert path.the_flow()[0] == "embryonic"
    assert path.egress(eth(ip(us, them, tcp(22, 4000, "SA", seq=900, ack=101)))).reason == "flow"
    assert path.the_flow()[0] == "embryonic"
    assert path.ingress(eth(ip(them, us, tcp(4000, 22, "A", seq=101, ack=901)))).reason == "flow"
    table, _, flow = path.the_flow()
    assert table == "flows"
    assert [side.packets for side in flow.side] == [2, 1]


@FAMILIES
def test_unasked_is_dropped(path: PacketPath, us: str, them: str) -> None:
    path.policy(OPEN_22)
    for segment, reason in (
        (tcp(4000, 23, "S"), "default_drop"),
        (tcp(4000, 22, "A"), "no_flow"),
        (tcp(22, 4000, "SA"), "no_flow"),
    ):
        verdict = path.ingress(eth(ip(them, us, segment)))
        assert (verdict.reason, verdict.passed) == (reason, False)
    assert list(path.flows()) == []


@FAMILIES
def test_udp_is_confirmed_when_its_opener_sends_again(path: PacketPath, us: str, them: str) -> None:
    path.policy(OPEN_22)
    ask, reply = eth(ip(them, us, udp(4000, 53, b"q"))), eth(ip(us, them, udp(53, 4000, b"a")))
    assert path.ingress(ask).reason == "rule_allow"
    assert path.egress(reply).reason == "flow"
    assert path.the_flow()[0] == "embryonic"
    assert path.ingress(ask).reason == "flow"
    assert path.the_flow()[0] == "flows"


@FAMILIES
def test_echo_and_the_error_about_it(path: PacketPath, us: str, them: str) -> None:
    path.policy("default in drop\n")
    echo, reply = (icmp, 0) if ":" not in us else (icmp6, 129)
    request = ip(us, them, echo(ident=7, seq=1))
    assert path.egress(eth(request)).reason == "default_allow"
    assert path.ingress(eth(ip(them, us, echo(reply, ident=7, seq=1)))).reason == "flow"
    assert path.ingress(eth(ip(them, us, echo(reply, ident=8, seq=1)))).reason == "no_flow"
    assert path.ingress(eth(ip(them, us, icmp_error(request)))).reason == "related"
    other = ip(us, them, echo(ident=9, seq=1))
    assert path.ingress(eth(ip(them, us, icmp_error(other)))).reason == "unrelated"


@FAMILIES
def test_flow_past_its_timeout_is_absent(path: PacketPath, us: str, them: str) -> None:
    path.policy(OPEN_22 + "option timeout.udp-one-way 30s\n")
    assert path.egress(eth(ip(us, them, udp(5000, 53)))).reason == "default_allow"
    path.age(29)
    assert path.ingress(eth(ip(them, us, udp(53, 5000)))).reason == "flow"
    path.age(200)
    assert path.ingress(eth(ip(them, us, udp(53, 5000)))).reason == "default_drop"
