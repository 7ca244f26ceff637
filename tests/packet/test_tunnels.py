# SPDX-License-Identifier: MIT
"""Tunnels between two hosts: GRE by its key, all others by their addresses; of ESP and AH the SPI of each side."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import packets
from tests.packet.ends import FAMILIES, OPENERS, V4, Ends, Talk
from tests.packet.path import PacketPath
from tests.packet.test_flow_listing import listed
from tests.packets import AH, ESP, GRE, Layer, esp, eth, fragments, gre, icmp_error, ip, pptp

POLICY = "default in drop\ndefault out drop\nallow in gre, esp, ah, proto 4, proto 41, proto 94\n"
OPEN = POLICY + "allow out gre, esp, ah, proto 4, proto 41, proto 94\n"
IPV4 = 0x0800


def keyed(key: int | None, **fields: int) -> Layer:
    return gre(bytes(20), key, ethertype=IPV4, **fields)


def ah(spi: int) -> Layer:
    """An authentication header with nothing behind it."""
    return Layer(b"\x3b" + packets.ah(spi)[1:], AH)


@FAMILIES
@OPENERS
def test_each_key_is_a_flow(path: PacketPath, ends: Ends, we_open: bool) -> None:
    """The rules let one end open it; the other answers by the same key alone."""
    path.policy(POLICY.replace("allow in", "allow out" if we_open else "allow in"))
    talk = Talk(path, ends, we_open=we_open)
    for key in (None, 7, 0xFFFF0001, 0x00010000):
        assert talk.responder(keyed(key)).reason == "default_drop", key
        assert talk.opener(keyed(key)).reason == "rule_allow", key
        assert talk.responder(keyed(key)).reason == "flow", key
        assert talk.opener(keyed(key)).reason == "flow", key
    assert talk.responder(keyed(8)).reason == "default_drop"
    assert {flow.gre_key for flow in listed(path)} == {None, 7, 0xFFFF0001, 0x00010000}
    assert {(flow.sport, flow.dport, flow.state, flow.confirmed) for flow in listed(path)} == {
        (None, None, "two_way", True)
    }
    # both with a checksum and a sequence number, and without
    assert talk.responder(keyed(7, flags=0x9000)).reason == "flow"


@FAMILIES
def test_calls_of_pptp_are_one_flow(path: PacketPath, ends: Ends) -> None:
    """Each direction has the other end's call number."""
    path.policy(POLICY)
    talk = Talk(path, ends)
    assert talk.opener(pptp(100)).reason == "rule_allow"
    assert talk.responder(pptp(200)).reason == "flow"
    assert talk.opener(pptp(101, flags=0x2081)).reason == "flow"
    (flow,) = listed(path)
    assert flow.gre_key is None


@FAMILIES
@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (keyed(None, flags=0x4000), "bad_tunnel"),
        (keyed(None, flags=0x0800), "bad_tunnel"),
        (keyed(None, flags=0x0400), "bad_tunnel"),
        (keyed(None, flags=2), "bad_tunnel"),
        (keyed(None, flags=1), "bad_tunnel"),
        (pptp(1, protocol=0x0800), "bad_tunnel"),
        (pptp(1, flags=0x1001), "bad_tunnel"),
        (pptp(1, flags=0xB001), "bad_tunnel"),
        (pptp(1, flags=0x3101), "bad_tunnel"),
        (esp(0), "bad_tunnel"),
        (ah(0), "bad_tunnel"),
    ],
)
def test_what_no_sender_sends(path: PacketPath, ends: Ends, segment: Layer, reason: str) -> None:
    path.policy(OPEN)
    assert path.ingress(ends.arriving(segment)).reason == reason
    assert list(path.flows()) == []


@FAMILIES
@pytest.mark.parametrize(
    ("segment", "header"),
    [
        (keyed(7, flags=0x9000), 16),
        (keyed(7), 8),
        (keyed(None), 4),
        (pptp(7), 12),
        (esp(7), 8),
        (ah(7), 24),
    ],
)
def test_headers_that_are_cut_short(path: PacketPath, ends: Ends, segment: Layer, header: int) -> None:
    path.policy(OPEN)
    for size in range(header):
        cut = eth(ip(ends.them, ends.us, Layer(segment[:size], segment.number)))
        assert path.ingress(cut + segment[size:]).reason == "dishonest_length", size
    assert path.ingress(ends.arriving(Layer(segment[:header], segment.number))).reason == "rule_allow"


def test_reserved_bits_that_receivers_ignore(path: PacketPath) -> None:
    """RFC 2784 section 2.3: bits 6 to 12."""
    path.policy(OPEN)
    assert path.ingress(V4.arriving(keyed(7, flags=0x03F8))).reason == "rule_allow"
    assert path.ingress(V4.arriving(keyed(7))).reason == "flow"


@FAMILIES
@pytest.mark.parametrize("segment", [esp, ah], ids=["esp", "ah"])
@OPENERS
def test_either_side_may_change_its_spi(
    path: PacketPath, ends: Ends, segment: Callable[[int], Layer], we_open: bool
) -> None:
    """Rekeying begins at either end, and for a while both use the old one beside the new."""
    path.policy(POLICY.replace("allow in", "allow out" if we_open else "allow in"))
    talk = Talk(path, ends, we_open=we_open)

    def spis() -> tuple[int | None, int | None]:
        (flow,) = listed(path)
        return flow.spi, flow.reply_spi

    assert talk.responder(segment(0xB1)).reason == "default_drop"
    assert talk.opener(segment(0xA1)).reason == "rule_allow"
    assert spis() == (0xA1, None)
    assert talk.responder(segment(0xB1)).reason == "flow"
    assert spis() == (0xA1, 0xB1)
    assert talk.responder(segment(0xB2)).reason == talk.opener(segment(0xA1)).reason == "flow"
    assert spis() == (0xA1, 0xB2)
    assert talk.opener(segment(0xFFFFFFFE)).reason == "flow"
    assert spis() == (0xFFFFFFFE, 0xB2)
    assert talk.opener(segment(0)).reason == "bad_tunnel"
    assert spis() == (0xFFFFFFFE, 0xB2), "a packet that is not accepted changes no state"


@FAMILIES
@pytest.mark.parametrize("proto", [4, 41, 94])
def test_others_are_flows_by_their_addresses(path: PacketPath, ends: Ends, proto: int) -> None:
    path.policy(POLICY)
    talk = Talk(path, ends)
    inner = Layer(bytes(24), proto)
    assert talk.opener(inner).reason == "rule_allow"
    assert talk.responder(inner).reason == "flow"
    (flow,) = listed(path)
    assert (flow.proto, flow.sport, flow.state) == (proto, None, "two_way")


@FAMILIES
def test_an_error_about_a_tunnel_quotes_its_key(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)

    def quoting(key: int | None, flags: int = 0, quote_bytes: int = 0) -> str:
        sent = ip(ends.us, ends.them, keyed(key, flags=flags))
        error = icmp_error(sent, quote_bytes=quote_bytes or len(sent))
        return path.ingress(eth(ip(ends.hop, ends.us, error))).reason

    for key, flags in ((7, 0), (9, 0x8000)):
        path.egress(ends.leaving(keyed(key, flags=flags)))
    assert (quoting(7), quoting(9, 0x8000), quoting(9)) == ("related", "related", "related")
    assert (quoting(8), quoting(None)) == ("unrelated", "unrelated")
    header = 40 if ends.is_v6 else 20
    assert quoting(7, quote_bytes=header + 8) == "related"
    assert quoting(9, 0x8000, header + 8) == "unrelated", "the key lies behind the checksum"


@FAMILIES
def test_an_error_about_esp_may_quote_any_of_its_spis(path: PacketPath, ends: Ends) -> None:
    path.policy(OPEN)
    for spi in (1, 2):
        path.egress(ends.leaving(esp(spi)))
    for spi in (1, 2):
        quoted = ip(ends.us, ends.them, esp(spi))
        assert path.ingress(eth(ip(ends.hop, ends.us, icmp_error(quoted)))).reason == "related"


@pytest.mark.parametrize("proto", [GRE, ESP])
def test_the_first_fragment_has_the_header(path: PacketPath, proto: int) -> None:
    path.policy(OPEN)
    segment = {GRE: keyed(7, flags=0x9000), ESP: esp(7, payload=bytes(24))}[proto]
    first, second = fragments(ip(V4.them, V4.us, segment), 16)[:2]
    assert [path.ingress(eth(part)).reason for part in (first, second)] == ["rule_allow", "fragment"]
    path.reset_flows()
    first, _ = fragments(ip(V4.them, V4.us, segment), 8, ident=9)[:2]
    assert path.ingress(eth(first)).reason == ("fragment_tiny" if proto == GRE else "rule_allow")


def test_timeouts(path: PacketPath) -> None:
    path.policy(POLICY + "option timeout.other-one-way 50s\noption timeout.other 70s\n")
    talk = Talk(path, V4)
    for segment in (keyed(7), esp(7)):
        talk.opener(segment)
        assert 47 <= listed(path)[0].expires_s <= 50
        talk.responder(segment)
        assert 67 <= listed(path)[0].expires_s <= 70
        path.age(71)
        assert talk.responder(segment).reason == "default_drop"
