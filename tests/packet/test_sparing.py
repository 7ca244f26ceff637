# SPDX-License-Identifier: MIT
"""Changes of rules that spare the flows that are open (`--keep-flows`), and what reaches those nevertheless."""

import time

import pytest

from firewall import abi
from firewall.addresses import Span
from firewall.setfile import keys_of_spans
from firewall.settable import Value
from firewall.sparing import Flows, sparing_of
from tests.packet.ends import FAMILIES, V4, Connection, Ends
from tests.packet.path import PacketPath
from tests.packet.test_generation import CLOSED, FIRST_MOVERS, OPEN_22, next_of, running
from tests.packets import eth, icmp_error, ip, tcp, udp

UDP_53 = "allow in udp to port 53\n"


def keep(path: PacketPath, text: str) -> list[int]:
    """The change is one with --keep-flows, and so was each since the last that was not; the ids of its rules."""
    return change(path, text, Flows.KEEP)


def refresh(path: PacketPath, text: str, wall_s: float | None = None) -> None:
    """As `fw refresh` does."""
    change(path, text, Flows.LEAVE, wall_s)


def change(path: PacketPath, text: str, flows: Flows, wall_s: float | None = None) -> list[int]:
    to = path.next_number(path.spares().origin)
    if flows is Flows.KEEP and not path.spares().origin:
        to = path.next_number(path.generation)
    sparing = sparing_of(path.pins(), flows, to)
    return [rule.id for rule in path.policy(text, wall_s, sparing=sparing).rules]


def both(talk: Connection) -> list[str]:
    return [next_of(talk, side) for side in ("opener", "responder", "opener")]


@FAMILIES
@FIRST_MOVERS
def test_a_flow_that_is_open_stays_as_it_is(path: PacketPath, ends: Ends, first: str) -> None:
    """Under the rule that let it in, with that rule's effects; one that is new is judged by the new rules."""
    path.policy(OPEN_22.replace("22", "22 set-mark 5 idle 2h"))
    talk = running(path, ends)
    before = path.the_flow()[2]
    keep(path, CLOSED)
    assert next_of(talk, first) == "flow"
    assert both(talk) == ["flow"] * 3
    after = path.the_flow()[2]
    assert (after.rule, after.effects, after.created_j) == (before.rule, before.effects, before.created_j)
    assert path.ingress(ends.arriving(tcp(4001, 22, "S"))).reason == "default_drop"


@FIRST_MOVERS
def test_the_next_change_judges_it(path: PacketPath, first: str) -> None:
    path.policy(OPEN_22)
    talk = running(path)
    keep(path, CLOSED)
    assert both(talk) == ["flow"] * 3
    path.policy(CLOSED + UDP_53)
    assert next_of(talk, first) == "revoked"


@FIRST_MOVERS
def test_a_change_like_it_does_not(path: PacketPath, first: str) -> None:
    """Flows of three generations: of the first, under which both were open, of one since, and refused by none."""
    path.policy(OPEN_22)
    talk = running(path)
    keep(path, CLOSED + UDP_53)
    path.ingress(V4.arriving(udp(5000, 53)))
    for _ in range(2 * abi.Limits.GENERATION_SLOTS):
        keep(path, CLOSED)
        if first == "opener":
            assert both(talk) == ["flow"] * 3
    assert both(talk) == ["flow"] * 3
    assert path.egress(V4.leaving(udp(53, 5000))).reason == "flow"
    assert path.ingress(V4.arriving(udp(5001, 53))).reason == "default_drop"


@FIRST_MOVERS
def test_what_was_silent_since_the_change_before_is_asked_of_the_rules_then(
    path: PacketPath, first: str
) -> None:
    """That change was to be met by all; who it let run is spared by the next."""
    path.policy(OPEN_22 + UDP_53)
    talk = running(path)
    path.ingress(V4.arriving(udp(5000, 53)))
    path.policy(OPEN_22)
    keep(path, CLOSED)
    assert next_of(talk, first) == "flow"
    assert path.egress(V4.leaving(udp(53, 5000))).reason == "revoked"


def test_a_flow_that_had_been_ended_stays_so(path: PacketPath) -> None:
    path.policy(OPEN_22)
    talk = running(path)
    path.policy(CLOSED)
    assert next_of(talk, "opener") == "revoked"
    path.policy(OPEN_22)
    path.policy(CLOSED)
    keep(path, CLOSED + UDP_53)
    assert both(talk) == ["revoked"] * 3


def test_one_that_has_expired_is_gone(path: PacketPath) -> None:
    path.policy("default in drop\ndefault out drop\nallow in udp to port 53\n")
    path.ingress(V4.arriving(udp(5000, 53)))
    keep(path, CLOSED)
    path.age(200)
    assert path.ingress(V4.arriving(udp(5000, 53))).reason == "default_drop"


def test_what_opens_under_the_new_rules_is_theirs(path: PacketPath) -> None:
    """When the times are counted again, say, one that they no longer allow ends."""
    wall_s = time.time()
    path.policy(CLOSED)
    rules = f"{CLOSED}allow in tcp to port 22 until 2040-01-01T00:00Z\n"
    keep(path, rules)
    talk = running(path)
    refresh(path, rules, wall_s + 20 * 366 * 86400)
    assert next_of(talk, "opener") == "revoked"


def test_a_refresh_changes_nothing(path: PacketPath) -> None:
    path.policy(OPEN_22)
    talk = running(path)
    keep(path, CLOSED)
    for _ in range(6):
        refresh(path, CLOSED)
        assert both(talk) == ["flow"] * 3
    path.policy(CLOSED)
    assert next_of(talk, "opener") == "revoked"


SETS = "set blocked\nset office = 198.51.100.7\n"


def change_set(path: PacketPath, number: int, address: str, joins: bool) -> None:
    """As `fw set add` and `delete` do."""
    write_set(path, number, address, joins)
    path.sets().changed()


def write_set(path: PacketPath, number: int, address: str, joins: bool) -> None:
    octets = bytes(map(int, address.split(".")))
    (key,) = keys_of_spans([Span(4, int.from_bytes(octets), int.from_bytes(octets))])
    path.sets().write([(key, Value(added=joins << number))])


@FIRST_MOVERS
@pytest.mark.parametrize("silent", [False, True])
def test_an_address_that_is_blocked_later_is_blocked(path: PacketPath, first: str, silent: bool) -> None:
    """Other changes of sets leave the flow alone, however often, and whether or not it has met the rules before."""
    path.policy(SETS + OPEN_22)
    talk = running(path)
    keep(path, SETS + "drop in from @blocked\n" + CLOSED)
    assert silent or both(talk) == ["flow"] * 3
    for last in (20, 21):
        change_set(path, 0, f"203.0.113.{last}", joins=True)
        assert silent or both(talk) == ["flow"] * 3
    change_set(path, 0, V4.them, joins=True)
    assert next_of(talk, first) == "revoked"


@FIRST_MOVERS
def test_who_is_blocked_between_two_changes_is_blocked(path: PacketPath, first: str) -> None:
    """Though he was silent then, and the second spares what the first let be."""
    path.policy(SETS + OPEN_22)
    talk = running(path)
    blocking = SETS + "drop in from @blocked\n" + CLOSED
    keep(path, blocking)
    assert both(talk) == ["flow"] * 3
    change_set(path, 0, V4.them, joins=True)
    keep(path, blocking + UDP_53)
    write_set(path, 0, V4.them, joins=True)  # the path fills them anew for each policy
    assert next_of(talk, first) == "revoked"


def test_silence_while_other_sets_change_is_spared(path: PacketPath) -> None:
    path.policy(SETS + OPEN_22)
    talk = running(path)
    keep(path, SETS + "drop in from @blocked\n" + CLOSED)
    change_set(path, 0, "203.0.113.20", joins=True)
    assert both(talk) == ["flow"] * 3


def test_the_rules_before_are_not_asked_by_sets_that_change_with_the_rules(path: PacketPath) -> None:
    """What a flow has from them is known to user space."""
    path.policy(SETS + OPEN_22.replace("tcp", "tcp from @office"))
    talk = running(path)
    keep(path, SETS.replace(" = 198.51.100.7", "") + CLOSED)
    assert path.spares().admission == path.the_flow()[2].admission
    assert both(talk) == ["flow"] * 3


@FIRST_MOVERS
def test_one_that_was_blocked_and_silent_is_not_spared(path: PacketPath, first: str) -> None:
    """A set that changed before the change of rules did so for all."""
    blocking = SETS + "drop in from @blocked\n"
    path.policy(blocking + OPEN_22)
    talk = running(path)
    change_set(path, 0, V4.them, joins=True)
    keep(path, blocking + CLOSED)
    write_set(path, 0, V4.them, joins=True)  # the path fills them anew for each policy
    assert next_of(talk, first) == "revoked"


@FIRST_MOVERS
def test_what_the_new_rules_allow_by_a_set_ends_with_that(path: PacketPath, first: str) -> None:
    path.policy(SETS + OPEN_22)
    talk = running(path)
    keep(path, SETS.replace(" = 198.51.100.7", "") + CLOSED + "allow in tcp from @office\n")
    change_set(path, 1, V4.them, joins=True)
    assert both(talk) == ["flow"] * 3
    change_set(path, 1, V4.them, joins=False)
    assert next_of(talk, first) == "revoked"


def test_its_packets_count_for_no_other_rule(path: PacketPath) -> None:
    """The place in which its rule counted may be another's by now."""
    path.policy(OPEN_22)
    talk = running(path)
    counted = path.the_flow()[2].counter
    keep(path, CLOSED)
    keep(path, CLOSED + UDP_53)
    before = path.rule_counter(counted).packets
    assert both(talk) == ["flow"] * 3
    assert path.rule_counter(counted).packets == before
    path.policy(OPEN_22)
    assert next_of(talk, "opener") == "flow"
    flow = path.the_flow()[2]
    assert not flow.flags & abi.FlowFlags.FLOW_SPARED
    assert path.rule_counter(flow.counter).packets == 1


@FAMILIES
def test_errors_about_it_pass(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\ndefault out allow\n")
    sent = ip(ends.us, ends.them, udp(5000, 53))
    path.egress(eth(sent))
    error = ends.arriving(icmp_error(sent))
    keep(path, CLOSED)
    before = path.the_flow()[2]
    assert path.ingress(error).reason == "related"
    assert path.the_flow()[2] == before, "an error changes no flow"
    path.policy(CLOSED + UDP_53)
    assert path.ingress(error).reason == "unrelated"


def test_another_way_is_judged(path: PacketPath) -> None:
    """What is spared is the flow as it was, and not what comes by an interface that it never took."""
    path.policy("default in drop\ndefault out drop\nallow in tcp to port 22\n")
    talk = running(path)
    keep(path, CLOSED)
    segment = V4.arriving(tcp(4000, 22, "PA", b"x", seq=101, ack=901))
    assert path.ingress(segment, on="lan").reason in ("default_drop", "spoofed")
    assert both(talk) == ["flow"] * 3


def test_rules_that_come_back_know_it_not(path: PacketPath) -> None:
    """A younger ruleset's flow is none that this one has spared."""
    path.policy(CLOSED)
    keep(path, CLOSED + UDP_53)
    kept = path.generation
    path.policy(OPEN_22)
    talk = running(path)
    path.control(generation=kept)
    assert next_of(talk, "opener") == "revoked"


@pytest.mark.parametrize("hours", [False, True])
def test_the_rules_before_are_asked_with_their_own_hours(path: PacketPath, hours: bool) -> None:
    times = "between 00:00 and 24:00 unsynced on " if hours else ""
    path.policy(OPEN_22)
    talk = running(path)
    path.policy(f"{CLOSED}allow in tcp {times}to port 22\n")
    keep(path, CLOSED + "allow in udp between 00:00 and 00:01 unsynced on\n")
    assert both(talk) == ["flow"] * 3
    assert path.the_flow()[2].generation == path.generation
