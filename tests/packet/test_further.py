# SPDX-License-Identifier: MIT
"""Further clauses: what a rule asks of the opener's packet beyond its ends and its way."""

from __future__ import annotations

import pytest

from tests.packet.ends import FAMILIES, Ends
from tests.packet.path import PacketPath
from tests.packets import Layer, tcp

MARKED = "allow in tcp to port 22 mark 0x10/0xf0\n"
OTHERS = "default in drop\nallow in tcp to port 80\n"


def syn(ends: Ends, port: int = 22) -> Layer:
    return ends.arriving(tcp(4000, port))


@FAMILIES
@pytest.mark.parametrize(
    ("mark", "matches"), [(0x10, True), (0x1F, True), (0x110, True), (0x20, False), (0, False)]
)
def test_mark(path: PacketPath, ends: Ends, mark: int, matches: bool) -> None:
    path.policy("default in drop\n" + MARKED)
    assert path.ingress(syn(ends), mark=mark).reason == ("rule_allow" if matches else "default_drop")


@FAMILIES
@pytest.mark.parametrize(
    ("octet", "matches"),
    [(46 << 2, True), (46 << 2 | 3, True), (63 << 2, True), (0, False), (46, False), (47 << 2, False)],
)
def test_dscp(path: PacketPath, ends: Ends, octet: int, matches: bool) -> None:
    """The two bits beside it are of congestion (RFC 3168), and what surrounds the field is not of it."""
    path.policy("default in drop\nallow in tcp dscp ef, 63\n")
    fields = {"traffic_class": octet, "flow_label": 0xFFFFF} if ends.is_v6 else {"tos": octet}
    verdict = path.ingress(ends.arriving(tcp(4000, 22), **fields))
    assert verdict.reason == ("rule_allow" if matches else "default_drop")


@FAMILIES
def test_the_search_goes_on_behind_what_does_not_hold(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\ndrop in tcp mark 1\nallow in tcp mark 2\nreject in tcp\n")
    assert [path.ingress(syn(ends, port), mark=port).reason for port in (1, 2, 3)] == [
        "rule_drop", "rule_allow", "rule_reject",
    ]  # fmt: skip


@FAMILIES
def test_a_flow_stays_with_the_rule_that_admitted_it(path: PacketPath, ends: Ends) -> None:
    """Its later packets have no mark, and a change elsewhere has it judged anew."""
    path.policy(OTHERS + MARKED)
    path.ingress(syn(ends), mark=0x10)
    path.policy(OTHERS + "drop in tcp mark 0/0xff\n" + MARKED)
    assert path.ingress(syn(ends)).reason == "flow", "a rule that asks for more is passed over, even a drop"
    path.policy(OTHERS + "drop in tcp to port 22\n" + MARKED)
    assert path.ingress(syn(ends)).reason == "revoked"


@FAMILIES
def test_a_flow_ends_with_the_rule_that_admitted_it(path: PacketPath, ends: Ends) -> None:
    path.policy(OTHERS + MARKED)
    path.ingress(syn(ends), mark=0x10)
    path.policy(OTHERS + "allow in tcp to port 22 mark 0x10\n")
    assert path.ingress(syn(ends), mark=0x10).reason == "revoked", "another rule, though it would match"
    path.policy(OTHERS + "allow in tcp to port 22\n")
    assert path.ingress(syn(ends)).reason == "flow", "what asks for no more matches it"


@FAMILIES
def test_a_flow_of_another_rule_is_not_taken_over(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\nallow in tcp to port 22\n" + MARKED)
    path.ingress(syn(ends), mark=0x10)
    path.policy("default in drop\n" + MARKED)
    assert path.ingress(syn(ends), mark=0x10).reason == "revoked"
