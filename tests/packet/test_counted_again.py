# SPDX-License-Identifier: MIT
"""A flow that was reset counts no more; one that its other end goes on with counts again."""

from __future__ import annotations

import pytest

from firewall import abi
from firewall.clock import hz
from tests import chunks
from tests.chunks import chunk
from tests.packet.association import Association, established
from tests.packet.ends import FAMILIES, V4, Connection, Ends
from tests.packet.path import PacketPath
from tests.packet.places import add, books, delete, of_rules, sources
from tests.packets import tcp

OPEN = "default in drop\ndefault out allow\n"
OVERTAKEN_S = 4
LIMITS = {
    "source_limit": OPEN + "option flows.per-source 1\nallow in tcp, sctp\n",
    "over_limit": OPEN + "allow in tcp, sctp max-flows 1 per source\n",
}
REASONS = pytest.mark.parametrize("reason", LIMITS)


def wait(path: PacketPath, seconds: float) -> None:
    """As if that much time had passed since the flows that are over have counted for the last time."""
    for raw, value in list(path.maps["slots"].items()):
        slot = abi.Slot.unpack(value)
        if slot.relieved_j:
            slot.relieved_j = (slot.relieved_j - round(seconds * hz())) % 2**32 or 1
            path.maps["slots"].update(raw, slot.pack())


def counts(path: PacketPath) -> list[int]:
    """What each source, and each rule, is counted for; once all that is kept of it has been seen to agree."""
    books(path)
    return sorted([*sources(path).values(), *of_rules(path).values()])


def another(path: PacketPath, ends: Ends, flags: str = "SA") -> str:
    """A second connection of the same source, or one segment more of it: what becomes of the last."""
    if flags == "SA":
        opened = path.ingress(ends.arriving(tcp(4001, 22, "S", seq=100))).reason
        if opened != "rule_allow":
            return opened
        path.egress(ends.leaving(tcp(22, 4001, "SA", seq=900, ack=101)))
        flags = "A"
    return path.ingress(ends.arriving(tcp(4001, 22, flags, seq=101, ack=901))).reason


@FAMILIES
@REASONS
def test_what_goes_on_after_a_reset_counts_again(path: PacketPath, ends: Ends, reason: str) -> None:
    path.policy(LIMITS[reason])
    talk = Connection(path, ends)
    talk.establish()
    before = counts(path)
    talk.o("R", 101)
    assert talk.r("A", 901, 101, b"on its way").reason == "flow"
    wait(path, OVERTAKEN_S - 1)
    assert talk.o("A", 101, 901, b"and goes on").reason == "flow"
    assert talk.r("A", 901, 101).reason == "flow"
    assert counts(path) == []
    wait(path, 1)
    assert talk.o("A", 101, 901, b"and goes on").reason == "flow"
    assert counts(path) == [], "who has reset it may say what he likes"
    assert talk.r("A", 901, 112).reason == "flow"
    assert counts(path) == before
    assert talk.o("R", 112).reason == talk.r("A", 901, 112).reason == "flow"
    assert counts(path) == before, "a second reset is believed as little"
    assert another(path, ends) == reason


@REASONS
def test_what_goes_on_has_no_claim_to_a_place_that_another_has_taken(path: PacketPath, reason: str) -> None:
    path.policy(LIMITS[reason])
    talk = Connection(path, V4)
    talk.establish()
    talk.o("R", 101)
    assert another(path, V4) == "flow"
    taken = counts(path)
    assert talk.r("A", 901, 101).reason == "flow"
    wait(path, OVERTAKEN_S)
    before = dict(path.maps["flows"].items())
    assert talk.r("A", 901, 101).reason == reason
    assert dict(path.maps["flows"].items()) == before
    assert counts(path) == taken
    assert another(path, V4, "R") == "flow"
    assert talk.r("A", 901, 101).reason == "flow"
    assert counts(path) == taken


@REASONS
def test_association_that_goes_on_after_an_abort_counts_again(path: PacketPath, reason: str) -> None:
    path.policy(LIMITS[reason])
    talk = Association(path, V4)
    established(talk)
    before = counts(path)
    assert set(before) == {1}
    talk.o(chunk(chunks.ABORT))
    assert counts(path) == []
    assert talk.r(chunks.data()).passed
    assert counts(path) == []
    wait(path, OVERTAKEN_S)
    assert talk.r(chunks.data()).passed
    assert counts(path) == before


def test_a_change_of_rules_leaves_what_counts_again(path: PacketPath) -> None:
    path.policy(LIMITS["over_limit"])
    talk = Connection(path, V4)
    talk.establish()
    before = counts(path)
    talk.o("R", 101)
    wait(path, OVERTAKEN_S)
    talk.r("A", 901, 101)
    assert counts(path) == before
    path.policy(LIMITS["over_limit"] + "allow in udp to port 99\n")
    assert talk.r("A", 901, 101).reason == talk.o("A", 101, 901).reason == "flow"
    assert counts(path) == before
    assert another(path, V4) == "over_limit"


@REASONS
def test_what_is_over_does_not_count_when_it_is_copied(path: PacketPath, reason: str) -> None:
    """To a table of another size, or of another layout."""
    path.policy(LIMITS[reason])
    talk = Connection(path, V4)
    talk.establish()
    before = counts(path)
    talk.o("R", 101)
    copied = list(path.maps["flows"].items())
    delete(path, [key for key, _ in copied])
    assert add(path, copied) == 1
    assert counts(path) == []
    wait(path, OVERTAKEN_S)
    talk.r("A", 901, 101)
    assert counts(path) == before


def test_who_comes_while_the_last_one_of_his_source_goes_is_counted_later(path: PacketPath) -> None:
    """For an instant, on another processor, the source's entry is there with nothing in it."""
    path.policy(LIMITS["source_limit"])
    first = Connection(path, V4)
    first.establish()
    (key,) = path.maps["sources"].keys()
    first.o("R", 101)
    path.maps["sources"].update(key, abi.Source(flows=0).pack())
    assert another(path, V4) == "flow"
    path.maps["sources"].delete(key)
    assert counts(path) == []
    assert another(path, V4, "A") == "flow"
    assert counts(path) == [1]


def test_connection_that_was_closed_does_not_count_again(path: PacketPath) -> None:
    path.policy(LIMITS["source_limit"])
    talk = Connection(path, V4)
    talk.close()
    wait(path, 60)
    talk.r("FA", 901, 102)
    assert counts(path) == []
