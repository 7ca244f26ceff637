# SPDX-License-Identifier: MIT
"""What rules mean, packet by packet."""

from ipaddress import ip_address

import pytest

from firewall.evaluate import Question, evaluate, matches
from firewall.policy import parse_policy
from firewall.rule import Rule

PROTOS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmp6": 58}


def ask(text: str) -> Question:
    """`in tcp 192.0.2.1:1025 > 198.51.100.1:22 on eth0 via eth1`; for ICMP the last number is `type/code`."""
    scope, proto, source, _, target, *rest = text.split()
    src, sport = source.rsplit(":", 1)
    dst, last = target.rsplit(":", 1)
    named = dict(zip(rest[::2], rest[1::2], strict=True))
    number, _, code = last.partition("/")
    icmp = proto.startswith("icmp")
    return Question(
        scope=scope,
        proto=PROTOS[proto],
        src=ip_address(src.strip("[]")),
        dst=ip_address(dst.strip("[]")),
        sport=int(sport),
        dport=0 if icmp else int(number),
        icmp_type=int(number) if icmp else 0,
        icmp_code=int(code or 0),
        on=named.get("on"),
        via=named.get("via"),
    )


@pytest.mark.parametrize(
    ("rule", "packet", "expected"),
    [
        ("allow in", "in tcp 192.0.2.1:1025 > 198.51.100.1:22", True),
        ("allow in", "out tcp 192.0.2.1:1025 > 198.51.100.1:22", False),
        ("allow in, out", "out tcp 192.0.2.1:1025 > 198.51.100.1:22", True),
        ("allow in tcp to port 22", "in tcp 192.0.2.1:1025 > 198.51.100.1:22", True),
        ("allow in tcp to port 22", "in udp 192.0.2.1:1025 > 198.51.100.1:22", False),
        ("allow in tcp to port 22", "in tcp 192.0.2.1:22 > 198.51.100.1:1025", False),
        ("allow in tcp from port 22", "in tcp 192.0.2.1:22 > 198.51.100.1:1025", True),
        ("allow in tcp to port not 22", "in tcp 192.0.2.1:1025 > 198.51.100.1:22", False),
        ("allow in tcp to port not 22", "in tcp [2001:db8::1]:1025 > [2001:db8::2]:23", True),
        ("allow in from 192.0.2.0/24", "in gre 192.0.2.255:0 > 198.51.100.1:0", True),
        ("allow in from 192.0.2.0/24", "in gre 192.0.3.0:0 > 198.51.100.1:0", False),
        ("allow in from 192.0.2.5-192.0.2.6", "in gre 192.0.2.6:0 > 198.51.100.1:0", True),
        ("allow in from 192.0.2.5-192.0.2.6", "in gre 192.0.2.7:0 > 198.51.100.1:0", False),
        # `not` is the complement, and IPv6 addresses are not in 192.0.2.0/24.
        ("allow in from not 192.0.2.0/24", "in tcp [2001:db8::1]:1 > [2001:db8::2]:2", True),
        ("allow in from not 192.0.2.0/24", "in tcp 192.0.2.1:1 > 198.51.100.1:2", False),
        ("allow in from not 192.0.2.0/24, ::/0", "in tcp [2001:db8::1]:1 > [2001:db8::2]:2", False),
        # An IPv6 address is not the IPv4 address of the same number.
        ("allow in from 0.0.0.1", "in tcp [::1]:1 > [::2]:2", False),
        ("allow in icmp", "in icmp 192.0.2.1:0 > 198.51.100.1:8/0", True),
        ("allow in icmp", "in icmp [2001:db8::1]:0 > [2001:db8::2]:8/0", False),
        ("allow in icmp6", "in icmp6 192.0.2.1:0 > 198.51.100.1:128/0", False),
        ("allow in", "in icmp [2001:db8::1]:0 > [2001:db8::2]:8/0", True),
        ("allow in icmp, icmp6 icmp-type echo-request", "in icmp 192.0.2.1:0 > 198.51.100.1:8/0", True),
        ("allow in icmp, icmp6 icmp-type echo-request", "in icmp 192.0.2.1:0 > 198.51.100.1:128/0", False),
        ("allow in icmp, icmp6 icmp-type echo-request", "in icmp6 [::1]:0 > [::2]:128/0", True),
        ("allow in icmp, icmp6 icmp-type echo-request", "in icmp6 [::1]:0 > [::2]:8/0", False),
        ("allow in icmp icmp-type 3/4", "in icmp 192.0.2.1:0 > 198.51.100.1:3/4", True),
        ("allow in icmp icmp-type 3/4", "in icmp 192.0.2.1:0 > 198.51.100.1:3/3", False),
        ("allow in icmp icmp-type 3", "in icmp 192.0.2.1:0 > 198.51.100.1:3/3", True),
        ("allow in on eth0", "in gre 192.0.2.1:0 > 198.51.100.1:0 on eth0", True),
        ("allow in on eth0", "in gre 192.0.2.1:0 > 198.51.100.1:0 on eth01", False),
        ("allow in on eth+", "in gre 192.0.2.1:0 > 198.51.100.1:0 on eth01", True),
        ("allow in on eth+", "in gre 192.0.2.1:0 > 198.51.100.1:0 on eth", True),
        ("allow in on not eth+", "in gre 192.0.2.1:0 > 198.51.100.1:0 on wan0", True),
        ("allow in on not eth+", "in gre 192.0.2.1:0 > 198.51.100.1:0", False),
        ("allow forward on a via b", "forward gre 192.0.2.1:0 > 198.51.100.1:0 on a via b", True),
        ("allow forward on a via b", "forward gre 192.0.2.1:0 > 198.51.100.1:0 on b via a", False),
    ],
)
def test_matches(rule: str, packet: str, expected: bool) -> None:
    assert matches(Rule.parse(rule), ask(packet)) is expected


def test_the_first_match_wins_and_defaults_decide_the_rest() -> None:
    policy = parse_policy(
        "default out reject\n"
        "allow in tcp to port 22 from 192.0.2.0/24\n"
        'drop in tcp to port 22 log "ssh"\n'
        "allow in tcp\n"
    )
    office = evaluate(policy, ask("in tcp 192.0.2.1:1 > 198.51.100.1:22"))
    other = evaluate(policy, ask("in tcp 203.0.113.1:1 > 198.51.100.1:22"))
    web = evaluate(policy, ask("in tcp 203.0.113.1:1 > 198.51.100.1:80"))
    assert [(answer.action, answer.position, answer.log) for answer in (office, other, web)] == [
        ("allow", 0, None),
        ("drop", 1, "ssh"),
        ("allow", 2, None),
    ]
    assert other.rule == policy.rules[1]
    for packet, action in (
        ("in udp 192.0.2.1:1 > 198.51.100.1:22", "drop"),
        ("out udp ::1:1 > ::2:2", "reject"),
    ):
        assert evaluate(policy, ask(packet)) == (action, None, None, None)
    assert evaluate(policy, ask("forward udp ::1:1 > ::2:2")).action == "drop"
