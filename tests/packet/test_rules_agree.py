# SPDX-License-Identifier: MIT
"""The kernel's answer against the reference (`firewall.evaluate`), on policies and packets of chance.

A packet is asked in each way in which rules are asked: arriving for this host, sent by it, and passing through, which
both hooks can judge. Names of interfaces are given to wan and lan as a question needs them.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from firewall import abi
from firewall.evaluate import Answer, Question, evaluate
from firewall.options import OPTIONS
from firewall.policy import Policy
from firewall.resolve import Owners
from firewall.services import EXTENSION_HEADERS
from tests import strategies
from tests.packet.path import PacketPath, Verdict
from tests.packets import (
    AH,
    GRE,
    ICMP,
    ICMP6,
    SCTP,
    TCP,
    UDP,
    Layer,
    eth,
    gre,
    icmp,
    icmp6,
    ip,
    sctp,
    tcp,
    udp,
)

# What rules are never asked about: replies and errors (types of ICMP, from 128 on of ICMPv6).
NOT_OPENING = {ICMP: {0, 3, 4, 5, 11, 12, 14, 16, 18}, ICMP6: {*range(128), 129, 140}}
RULES_ALONE = {name: "off" for name in OPTIONS if name.startswith("builtin.") or name == "antispoof"}
# Where no packet is forwarded from or to, or not by wan, and what then stands for it, by family.
NEAR = ("0.0.0.0/8", "127.0.0.0/8", "10.0.0.0/24", "192.0.2.0/24", "203.0.113.0/24", "224.0.0.0/3")
NEAR6 = ("::/8", "2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:bad::/48", "fe80::/9", "ff00::/8")
FAR = (IPv4Address("198.51.100.77"), IPv6Address("2001:db8:77::77"))
# What never arrives, as a source or as either end.
NO_SOURCE = ("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "::ffff:0:0/96", "ff00::/8")
NO_END = ("127.0.0.0/8", "::1/128")
OTHER = (IPv4Address("198.51.100.78"), IPv6Address("2001:db8:77::78"))
NAMES = strategies.IFNAMES
OWNERS = Owners(
    {user: int(user) for user in strategies.USERS},
    {unit: i for i, unit in enumerate(strategies.UNITS, 1 << 32)},
)

RULESETS = 60  # in a run, all of them fresh, beside those of test_classifier.py
FRESH = int(os.environ.get("SEED", "") or random.SystemRandom().getrandbits(32))
lively = settings(strategies.steady, max_examples=40)


class Case(NamedTuple):
    policy: Policy
    questions: list[Question]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A policy without built-ins, and packets that may open a flow, near the edges of its rules."""
    drawn = draw(strategies.policies())
    policy = Policy.of(drawn.rules, drawn.defaults, RULES_ALONE, sets=drawn.sets.values())
    asked = strategies.questions(*policy.rules).map(opening)
    return Case(policy, draw(st.lists(asked, min_size=1, max_size=6)))


def opening(question: Question) -> Question:
    """The question, of a packet that the path takes to the rules."""
    if is_icmp(question) and question.icmp_type in NOT_OPENING[question.proto]:
        question = question._replace(icmp_type=8 if question.proto == ICMP else 128)
    if question.src.version == 6 and question.proto in (*EXTENSION_HEADERS, AH):
        question = question._replace(proto=59)
    return question


def is_icmp(question: Question) -> bool:
    return question.proto == (ICMP if question.src.version == 4 else ICMP6)


def packet(question: Question) -> Layer:
    """A frame that asks the question."""
    if question.proto == TCP:
        segment = tcp(question.sport, question.dport)
    elif question.proto == UDP:
        segment = udp(question.sport, question.dport)
    elif question.proto == SCTP:
        segment = sctp(question.sport, question.dport)
    elif is_icmp(question):
        message = icmp if question.proto == ICMP else icmp6
        segment = message(question.icmp_type, question.icmp_code, bytes(8), ident=1)
    elif question.proto == GRE:
        segment = gre(bytes(20), ethertype=0x0800)
    else:
        # as an AH reads: nothing follows, and 24 bytes are its length; its SPI is not zero, nor is an ESP's
        segment = Layer(bytes([59, 4, 0, 0, 0, 0, 1, 0]) + bytes(16), question.proto)
    return eth(ip(str(question.src), str(question.dst), segment, **of_class(question)), src=sender(question))


def of_class(question: Question) -> dict[str, int]:
    """The field of an IP header that has its class of traffic, with the bits of congestion beside it."""
    return {"tos" if question.src.version == 4 else "traffic_class": question.dscp << 2 | 1}


def sender(question: Question) -> str:
    """The MAC address in its frame."""
    return (strategies.MAC_A if question.mac is None else question.mac).to_bytes(6, "big").hex(":")


def forwarded(question: Question) -> Question:
    """The question, of a packet from lan that is plainly forwarded by the default route, by wan."""
    src = question.src if _routed(question.src) else FAR[question.src.version == 6]
    dst = question.dst if _routed(question.dst) and question.dst != src else OTHER[question.dst.version == 6]
    return question._replace(scope="forward", src=src, dst=dst)


def arriving(question: Question) -> Question:
    """The question, of a packet that a wire can carry to this host."""
    family = question.src.version == 6
    src, dst = question.src, question.dst
    if _within_any(dst, NO_END):
        dst = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8:1::1"))[family]
    if src == dst or _within_any(src, NO_SOURCE + NO_END):
        src = FAR[family]
    return question._replace(scope="in", via=None, on=question.on or question.via, src=src, dst=dst)


def _within_any(address: IPv4Address | IPv6Address, nets: tuple[str, ...]) -> bool:
    return any(_within(address, net) for net in nets if (":" in net) == (address.version == 6))


def _routed(address: IPv4Address | IPv6Address) -> bool:
    return not _within_any(address, NEAR + NEAR6)


def _within(address: IPv4Address | IPv6Address, net: str) -> bool:
    base, _, length = net.partition("/")
    shift = address.max_prefixlen - int(length)
    return int(address) >> shift == int(type(address)(base)) >> shift


class Asker:
    """Puts questions to the path under a policy, in the way that a scope wants it."""

    def __init__(self, path: PacketPath, policy: Policy) -> None:
        self.path, self.policy = path, policy
        path.classes = {name: number for number, name in enumerate(NAMES, 1)}
        self.document = path.policy(policy.render(), strategies.NOW_S, OWNERS)

    def _dress(self, device: str, name: str | None) -> None:
        """Let a device be known by another name; by none, it is protected, but of no class."""
        number = self.path.classes[name] if name else 0
        slot = {"wan": 1, "lan": 2}[device]
        flags = abi.IfaceFlags.IFACE_PROTECTED
        self.path.interface(device, slot=slot, class_id=number, flags=flags)

    def arriving(self, question: Question) -> Verdict:
        """For this host: wan forwards nothing."""
        self._dress("wan", question.on)
        return self.path.ingress(packet(question), mark=question.mark)

    def leaving(self, question: Question) -> Verdict:
        self._dress("wan", question.via)
        owner: dict[str, Any] = {"cgroups": [OWNERS.cgroups[unit] for unit in question.units]}
        if question.user is not None:
            owner |= {"has_user": 1, "uid": OWNERS.uids[question.user]}
        return self.path.egress(packet(question), mark=question.mark, **owner)

    def passing_in(self, question: Question) -> Verdict:
        self._dress("lan", question.on)
        self._dress("wan", question.via)
        return self.path.ingress(packet(question), on="lan", mark=question.mark)

    def passing_out(self, question: Question) -> Verdict:
        """What came by an interface that says nothing: egress judges."""
        self._dress("lan", question.on)
        self._dress("wan", question.via)
        return self.path.egress(packet(question), came_by="lan", tc_index=0, mark=question.mark)

    def compare(self, question: Question, verdict: Verdict) -> None:
        """The path said what the reference says, and named the same rule."""
        answer: Answer = evaluate(self.policy, question)
        by = "default" if answer.rule is None else "rule"
        story = f"{question}\n{self.policy.render()}"
        assert verdict.reason == f"{by}_{answer.action}", story
        rule = 0 if answer.position is None else self.document.rules[answer.position].id
        if answer.rule is not None and answer.rule.untracked:
            assert list(self.path.flows()) == [], story
        elif answer.action == "allow":
            table, key, flow = self.path.the_flow()
            assert flow.rule == rule, story
            self.path.maps[table].delete(key.pack())
        else:
            assert self.path.last_event().rule == rule, story


@pytest.fixture
def no_forwarding(path: PacketPath) -> Iterator[None]:
    """What arrives by wan is for this host then, whatever its address."""
    files = [Path("/proc/sys/net/ipv4/conf/wan/forwarding"), Path("/proc/sys/net/ipv6/conf/wan/forwarding")]
    for file in files:
        file.write_text("0")
    yield
    for file in files:
        file.write_text("1")


@pytest.mark.hypothesis
@pytest.mark.usefixtures("no_forwarding")
@pytest.mark.timeout(600)
def test_all_scopes_at_both_hooks(path: PacketPath) -> None:
    """Hypothesis repeats some rulesets with other packets, so it is asked until there are enough."""
    print(f"SEED={FRESH}")
    asked: set[str] = set()

    @lively
    @given(case=cases())
    def agree(case: Case) -> None:
        asked.add(case.policy.render())
        asker = Asker(path, case.policy)
        for question in case.questions:
            coming = arriving(question)
            asker.compare(coming, asker.arriving(coming))
            leaving = question._replace(scope="out", on=None, via=question.via or question.on, mac=None)
            asker.compare(leaving, asker.leaving(leaving))
            passing = forwarded(question)
            asker.compare(passing, asker.passing_in(passing))
            ours = passing._replace(mac=None)
            asker.compare(ours, asker.passing_out(passing))

    rounds = itertools.count(FRESH)
    while len(asked) < RULESETS:
        seed(next(rounds))(agree)()
