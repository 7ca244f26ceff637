# SPDX-License-Identifier: MIT
"""Policies that change under running flows: each is judged anew at its next packet, from either side."""

import time

import pytest

from firewall import abi, clock
from tests.packet.ends import ECHO_REPLY, FAMILIES, OPENERS, V4, Connection, Ends, Talk
from tests.packet.path import PASS, REDIRECT, PacketPath
from tests.packets import eth, icmp_error, ip, tcp, udp

OPEN_22 = "default in drop\ndefault out drop\nallow in tcp to port 22\n"
CLOSED = "default in drop\ndefault out drop\n"
HOUR_NS = 3600 * 10**9
FIRST_MOVERS = pytest.mark.parametrize("first", ["opener", "responder"])
SLOTS = abi.Limits.GENERATION_SLOTS


def next_of(talk: Connection, first: str) -> str:
    """The reason of the next data segment of one side."""
    return (talk.o("PA", 101, 901, b"x") if first == "opener" else talk.r("PA", 901, 101, b"x")).reason


def running(path: PacketPath, ends: Ends = V4) -> Connection:
    """A connection to our port 22 in full course."""
    talk = Connection(path, ends)
    talk.establish()
    assert talk.table == "flows"
    return talk


@FAMILIES
@FIRST_MOVERS
def test_flow_that_is_no_longer_allowed_ends(path: PacketPath, ends: Ends, first: str) -> None:
    path.policy(OPEN_22)
    talk = running(path, ends)
    path.policy(CLOSED)
    before = talk.records()
    for side in (first, "opener", "responder"):
        assert next_of(talk, side) == "revoked"
    assert talk.o("S", 5000).reason == "revoked"
    assert talk.records() == before


@FAMILIES
@FIRST_MOVERS
def test_embryonic_flow_ends_too(path: PacketPath, ends: Ends, first: str) -> None:
    path.policy(OPEN_22)
    talk = Connection(path, ends)
    talk.o("S", 100)
    path.policy(CLOSED)
    assert (talk.o("S", 100) if first == "opener" else talk.r("SA", 900, 101)).reason == "revoked"
    assert talk.sides() == ("SYN", "NONE")


@FAMILIES
@FIRST_MOVERS
def test_flow_that_was_silent_for_long_ends_no_less(path: PacketPath, ends: Ends, first: str) -> None:
    """What is kept of it, so that neither the way out nor load.grace brings it back, is kept from its end on."""
    path.policy(OPEN_22)
    talk = running(path, ends)
    path.age(3600)
    path.control(grace_until_j=clock.now_j() + 100 * clock.hz())
    path.policy("default in drop\ndefault out allow\n")
    for side in (first, "opener", "responder"):
        assert next_of(talk, side) == "revoked"


@FAMILIES
@OPENERS
@FIRST_MOVERS
def test_unrelated_change_keeps_it(path: PacketPath, ends: Ends, we_open: bool, first: str) -> None:
    both = "default in drop\ndefault out drop\nallow in, out tcp to port 22\n"
    path.policy(both)
    talk = Connection(path, ends, we_open=we_open)
    talk.establish()
    _, _, before = path.the_flow()
    path.policy(both + "allow in udp to port 53\n")
    assert next_of(talk, first) == "flow"
    _, _, after = path.the_flow()
    assert (after.rule, after.counter) == (before.rule, before.counter)
    assert (before.generation, after.generation) == (path.generation - 1, path.generation)
    assert (after.created_j, after.incarnation) == (before.created_j, before.incarnation)


@FAMILIES
@FIRST_MOVERS
def test_another_rule_may_keep_it(path: PacketPath, ends: Ends, first: str) -> None:
    """From then on it is that rule's, and counts there."""
    (old,) = path.policy(OPEN_22).rules
    talk = running(path, ends)
    (new,) = path.policy(f"{CLOSED}allow in tcp to port 20-30\n").rules
    assert new.id != old.id
    old_count, new_count = (path.rule_counter(rule.counter).packets for rule in (old, new))
    assert next_of(talk, first) == "flow"
    assert path.the_flow()[2].rule == new.id
    assert path.rule_counter(new.counter).packets == new_count + 1
    assert path.rule_counter(old.counter).packets == old_count


@FIRST_MOVERS
def test_default_may_keep_it(path: PacketPath, first: str) -> None:
    path.policy(OPEN_22)
    talk = running(path)
    path.policy("default in allow\ndefault out drop\n")
    assert next_of(talk, first) == "flow"
    assert path.the_flow()[2].rule == 0


@FIRST_MOVERS
def test_new_rule_before_the_old_one_ends_it(path: PacketPath, first: str) -> None:
    path.policy(OPEN_22)
    talk = running(path)
    path.policy("default in drop\ndefault out drop\ndrop in from 198.51.100.0/24\nallow in tcp to port 22\n")
    assert next_of(talk, first) == "revoked"
    rule = path.events()[-1].rule
    assert rule != 0, "the journal names the rule that ended it"


def test_opener_is_asked_of_the_rules_whoever_sends(path: PacketPath) -> None:
    """The responder's answer is not a packet from port 22 that wants out."""
    path.policy(OPEN_22)
    talk = running(path)
    path.policy(OPEN_22 + "drop in tcp to port 4000\ndrop out tcp\n")
    assert next_of(talk, "responder") == "flow"


@FIRST_MOVERS
def test_reject_answers_what_it_ends(path: PacketPath, first: str) -> None:
    path.policy(OPEN_22)
    talk = running(path)
    path.policy("default in reject\ndefault out drop\n")
    for action in (PASS, REDIRECT):  # the first goes on as a reset: see test_reset_both.py
        verdict = talk.o("PA", 101, 901, b"x") if first == "opener" else talk.r("PA", 901, 101, b"x")
        assert (verdict.reason, verdict.action) == ("revoked", action)


@FAMILIES
def test_query_is_judged_by_its_own_type_when_the_reply_comes_first(path: PacketPath, ends: Ends) -> None:
    rule = "allow out icmp, icmp6 icmp-type echo-request\n"
    path.policy(CLOSED + rule)
    talk = Talk(path, ends, we_open=True)
    talk.opener(ends.echo())
    path.policy(CLOSED + rule + "allow in tcp\n")
    assert talk.responder(ends.echo(ECHO_REPLY)).reason == "flow"
    path.policy(CLOSED + "allow out icmp, icmp6 icmp-type echo-reply\n")
    assert talk.responder(ends.echo(ECHO_REPLY)).reason == "revoked"


@FAMILIES
def test_error_about_a_flow_that_is_no_longer_allowed(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\ndefault out allow\n")
    sent = ip(ends.us, ends.them, udp(5000, 53))
    path.egress(eth(sent))
    error = ends.arriving(icmp_error(sent))
    path.policy("default in drop\ndefault out allow\nallow in tcp\n")
    assert path.ingress(error).reason == "related"
    path.policy(CLOSED)
    assert path.ingress(error).reason == "unrelated"


def test_only_a_change_judges_anew(path: PacketPath) -> None:
    """The rule's own counter would tell."""
    path.policy("default in drop\nallow in tcp to port 22 log\n")
    talk = running(path)
    assert len(path.events()) == 1
    for _ in range(3):
        next_of(talk, "opener")
    assert len(path.events()) == 1


def test_each_of_a_hundred_flows_is_kept(path: PacketPath) -> None:
    path.policy("default in drop\nallow in udp to port 53\n")
    ports = range(2000, 2100)
    for port in ports:
        path.ingress(V4.arriving(udp(port, 53)))
    path.policy("default in drop\nallow in udp to port 53\nallow in tcp to port 80\n")
    for port in ports:
        assert path.egress(V4.leaving(udp(53, port))).reason == "flow"
    assert len(list(path.flows())) == len(ports)


@FIRST_MOVERS
def test_observe_mode_ends_no_flow(path: PacketPath, first: str) -> None:
    path.policy(OPEN_22)
    talk = running(path)
    path.control(mode=abi.Mode.MODE_OBSERVE)
    path.policy(CLOSED)
    for _ in range(2):
        side = "PA", 101, 901
        verdict = talk.o(*side) if first == "opener" else talk.r("PA", 901, 101)
        assert (verdict.reason, verdict.passed) == ("revoked", True)
    assert path.events()[-1].flags & abi.EventFlags.EVENT_OBSERVED
    assert not path.the_flow()[2].flags & abi.FlowFlags.FLOW_REVOKED
    path.policy(OPEN_22)
    path.control(mode=abi.Mode.MODE_ENFORCE)
    assert next_of(talk, first) == "flow"


def test_previous_generation_rules_when_the_deadline_has_passed(path: PacketPath) -> None:
    path.policy(OPEN_22)
    path.policy(CLOSED)
    syn = V4.arriving(tcp(4000, 22))
    path.control(previous=path.generation - 1, deadline_ns=1)
    assert path.ingress(syn).reason == "rule_allow"
    assert path.the_flow()[2].generation == path.generation - 1
    path.control(deadline_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) + HOUR_NS)
    assert path.ingress(syn).reason == "revoked"
    path.control(deadline_ns=0)
    assert path.ingress(syn).reason == "revoked"


def test_flow_of_the_new_rules_ends_with_them(path: PacketPath) -> None:
    """A change that nobody confirmed is undone for the flows that it let in, too."""
    path.policy(CLOSED)
    path.policy(OPEN_22)
    path.control(
        previous=path.generation - 1, deadline_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME) + HOUR_NS
    )
    talk = running(path)
    path.control(deadline_ns=1)
    assert next_of(talk, "responder") == "revoked"


@pytest.mark.parametrize("ahead", [1, SLOTS, SLOTS + 1])
def test_generation_whose_slot_holds_another_passes_nothing(path: PacketPath, ahead: int) -> None:
    path.policy("default in allow\ndefault out allow\n")
    path.control(generation=path.generation + ahead)
    assert path.ingress(V4.arriving(udp(4000, 53))).reason == "no_policy"
    assert path.egress(V4.leaving(udp(4000, 53))).reason == "no_policy"


def test_previous_generation_whose_slot_was_used_again_passes_nothing(path: PacketPath) -> None:
    path.policy("default in allow\n")
    first = path.generation
    for _ in range(SLOTS):
        path.policy("default in allow\n")
    path.control(previous=first, deadline_ns=1)
    assert path.ingress(V4.arriving(udp(4000, 53))).reason == "no_policy"


def test_nothing_in_force_passes_nothing(path: PacketPath) -> None:
    path.policy("default in allow\n")
    talk = Talk(path, V4)
    talk.opener(udp(4000, 53))
    path.control(generation=0)
    assert talk.opener(udp(4000, 53)).reason == "no_policy"
    assert talk.responder(udp(53, 4000)).reason == "no_policy"
    path.control(generation=path.generation)
    assert talk.responder(udp(53, 4000)).reason == "flow", "and ends none"


@FAMILIES
def test_timeouts_are_those_of_the_policy_in_force(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\noption timeout.udp-one-way 300s\n")
    path.egress(ends.leaving(udp(5000, 53)))
    path.age(100)
    path.policy("default in drop\noption timeout.udp-one-way 90s\n")
    assert path.ingress(ends.arriving(udp(53, 5000))).reason == "default_drop"
