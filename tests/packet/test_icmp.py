# SPDX-License-Identifier: MIT
"""ICMP of both families: errors belong to the flow that they quote, replies to their query, others to nobody."""

import ipaddress

import pytest

from firewall import abi
from tests.packet.ends import ECHO_REPLY, FAMILIES, OPENERS, V4, V6, Ends, Talk
from tests.packet.path import PacketPath
from tests.packets import (
    DEST_OPTIONS,
    HOP_BY_HOP,
    SCTP,
    TCP,
    UDP,
    Layer,
    eth,
    fragment_header,
    fragments,
    icmp,
    icmp6,
    icmp_error,
    ip,
    ipv4,
    ipv6,
    options_header,
    sctp,
    tcp,
    udp,
)

BOTH_WAYS = "default in drop\ndefault out allow\nallow in tcp, udp, sctp to port 22\nallow in icmp, icmp6\n"
TRANSPORTS = {UDP: udp(5000, 22), TCP: tcp(5000, 22, "S"), SCTP: sctp(5000, 22)}


def with_transports(names: str = "segment") -> pytest.MarkDecorator:
    return pytest.mark.parametrize(names, TRANSPORTS.values(), ids=["udp", "tcp", "sctp"])


@FAMILIES
@with_transports()
@pytest.mark.parametrize("they_are", ["above", "below"])
def test_error_about_what_we_sent(path: PacketPath, ends: Ends, segment: Layer, they_are: str) -> None:
    them = ends.them if they_are == "above" else ends.below
    path.policy("default in drop\n")
    sent = ip(ends.us, them, segment)
    path.egress(eth(sent))
    for source in (them, ends.hop):
        assert path.ingress(eth(ip(source, ends.us, icmp_error(sent)))).reason == "related"


@FAMILIES
@with_transports()
@pytest.mark.parametrize("they_are", ["above", "below"])
def test_error_of_ours_about_what_they_sent(
    path: PacketPath, ends: Ends, segment: Layer, they_are: str
) -> None:
    """A closed UDP port answers so, whatever may leave by the rules."""
    them = ends.them if they_are == "above" else ends.below
    path.policy("default in drop\ndefault out drop\nallow in tcp, udp, sctp to port 22\n")
    received = ip(them, ends.us, segment)
    path.ingress(eth(received))
    assert path.egress(eth(ip(ends.us, them, icmp_error(received)))).reason == "related"


@FAMILIES
@OPENERS
def test_error_about_the_responders_packet(path: PacketPath, ends: Ends, we_open: bool) -> None:
    path.policy(BOTH_WAYS)
    talk = Talk(path, ends, we_open=we_open)
    talk.opener(udp(5000, 22))
    answer = udp(22, 5000)
    (src, dst) = (ends.them, ends.us) if we_open else (ends.us, ends.them)
    about = icmp_error(ip(src, dst, answer))
    assert talk.opener(about).reason == "unrelated", "the responder has sent nothing yet"
    talk.responder(answer)
    assert talk.opener(about).reason == "related"


@FAMILIES
def test_error_that_does_not_go_to_the_quoted_sender(path: PacketPath, ends: Ends) -> None:
    """Of a packet that they sent, they are told, not we; and we did not send what another host sent."""
    path.policy(BOTH_WAYS)
    received = ip(ends.them, ends.us, udp(5000, 22))
    path.ingress(eth(received))
    assert path.ingress(eth(ip(ends.hop, ends.us, icmp_error(received)))).reason == "unrelated"
    assert path.egress(eth(ip(ends.us, ends.below, icmp_error(received)))).reason == "unrelated"


@FAMILIES
@pytest.mark.parametrize(
    "quoted",
    [udp(5001, 53), udp(5000, 54), tcp(5000, 53), sctp(5000, 53)],
    ids=["our port", "their port", "tcp", "sctp"],
)
def test_error_that_quotes_another_flow(path: PacketPath, ends: Ends, quoted: Layer) -> None:
    path.policy("default in drop\n")
    path.egress(ends.leaving(udp(5000, 53)))
    assert path.ingress(ends.arriving(icmp_error(ip(ends.us, ends.them, quoted)))).reason == "unrelated"


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
@pytest.mark.parametrize("code", [0, 4, 13])
def test_each_kind_of_error_v4(path: PacketPath, kind: int, code: int) -> None:
    path.policy("default in drop\n")
    sent = ipv4(V4.us, V4.them, udp(5000, 53))
    path.egress(eth(sent))
    assert path.ingress(V4.arriving(icmp_error(sent, kind, code))).reason == "related"
    stranger = ipv4(V4.us, V4.them, udp(5001, 53))
    assert path.ingress(V4.arriving(icmp_error(stranger, kind, code))).reason == "unrelated"


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 100, 127])
def test_each_kind_of_error_v6(path: PacketPath, kind: int) -> None:
    path.policy("default in drop\n")
    sent = ipv6(V6.us, V6.them, udp(5000, 53))
    path.egress(eth(sent))
    assert path.ingress(V6.arriving(icmp_error(sent, kind))).reason == "related"
    stranger = ipv6(V6.us, V6.them, udp(5001, 53))
    assert path.ingress(V6.arriving(icmp_error(stranger, kind))).reason == "unrelated"


@FAMILIES
@OPENERS
def test_error_about_an_echo(path: PacketPath, ends: Ends, we_open: bool) -> None:
    path.policy(BOTH_WAYS)
    talk = Talk(path, ends, we_open=we_open)
    src, dst = (ends.us, ends.them) if we_open else (ends.them, ends.us)
    talk.opener(ends.echo())
    talk.responder(ends.echo(ECHO_REPLY))
    assert talk.responder(icmp_error(ip(src, dst, ends.echo()))).reason == "related"
    assert talk.opener(icmp_error(ip(dst, src, ends.echo(ECHO_REPLY)))).reason == "related"
    assert talk.responder(icmp_error(ip(src, dst, ends.echo(ident=8)))).reason == "unrelated"


@FAMILIES
def test_error_about_an_error(path: PacketPath, ends: Ends) -> None:
    """RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e.1): nobody sends one."""
    path.policy("default in drop\n")
    sent = ip(ends.us, ends.them, udp(5000, 53))
    path.egress(eth(sent))
    about_sent = ip(ends.us, ends.them, icmp_error(sent, quote_bytes=48 if ends.is_v6 else 28))
    assert path.ingress(ends.arriving(icmp_error(about_sent, quote_bytes=200))).reason == "unrelated"


@FAMILIES
def test_refreshes_nothing_and_counts_nothing(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\noption timeout.udp-one-way 30s\n")
    sent = ip(ends.us, ends.them, udp(5000, 53))
    path.egress(eth(sent))
    path.age(25)
    before = path.the_flow()
    error = ends.arriving(icmp_error(sent))
    assert path.ingress(error).reason == "related"
    assert path.the_flow() == before
    path.age(10)
    assert path.ingress(error).reason == "unrelated", "the flow's time was over"


@FAMILIES
def test_error_confirms_and_closes_no_tcp_flow(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\n")
    sent = ip(ends.us, ends.them, tcp(5000, 22, "S", seq=100))
    path.egress(eth(sent))
    before = path.the_flow()
    assert path.ingress(ends.arriving(icmp_error(sent))).reason == "related"
    assert path.the_flow() == before
    assert path.ingress(ends.arriving(tcp(22, 5000, "SA", seq=9, ack=101))).reason == "flow"


@FAMILIES
def test_quote_cut_short(path: PacketPath, ends: Ends) -> None:
    """RFC 792 asks for the header and 8 bytes: with less the flow cannot be told."""
    path.policy("default in drop\n")
    sent = ip(ends.us, ends.them, udp(5000, 53, bytes(16)))
    path.egress(eth(sent))
    header = 40 if ends.is_v6 else 20
    for size in range(len(sent) + 1):
        error = path.ingress(ends.arriving(icmp_error(sent, quote_bytes=size)))
        if size < header + 8:
            assert not error.passed, size
        else:
            assert error.reason == "related", size


@FAMILIES
def test_quote_that_lies_behind_the_packet(path: PacketPath, ends: Ends) -> None:
    """What follows the IP packet in its frame (Ethernet padding) is not part of the error."""
    path.policy("default in drop\n")
    sent = ip(ends.us, ends.them, udp(5000, 53))
    path.egress(eth(sent))
    whole = icmp_error(sent)
    for inside in range(len(whole)):
        short = Layer(whole[:inside], ends.icmp_proto)
        frame = eth(ip(ends.them, ends.us, short)) + whole[inside:]
        assert not path.ingress(frame).passed, f"{inside} of {len(whole)} bytes are in the packet"


@pytest.mark.parametrize("field", ["version", "ihl", "fragment"])
def test_quote_that_lies_v4(path: PacketPath, field: str) -> None:
    path.policy("default in drop\n")
    path.egress(eth(ipv4(V4.us, V4.them, udp(5000, 53))))
    lies = {"version": {"version": 6}, "ihl": {"ihl": 4}, "fragment": {"frag_offset": 8}}
    quoted = ipv4(V4.us, V4.them, udp(5000, 53), **lies[field])  # type: ignore[arg-type]
    assert not path.ingress(V4.arriving(icmp_error(quoted, quote_bytes=28))).passed


def test_quote_of_the_other_family(path: PacketPath) -> None:
    path.policy("default in drop\n")
    sent4, sent6 = ipv4(V4.us, V4.them, udp(5000, 53)), ipv6(V6.us, V6.them, udp(5000, 53))
    path.egress(eth(sent4))
    path.egress(eth(sent6))
    assert path.ingress(V4.arriving(icmp(3, 0, sent6))).reason == "bad_version"
    assert path.ingress(V6.arriving(icmp6(1, 0, sent4 + bytes(40)))).reason == "bad_version"


def test_quote_with_options(path: PacketPath) -> None:
    path.policy("default in drop\noption ip.options pass\n")
    sent = ipv4(V4.us, V4.them, udp(5000, 53), options=b"\x94\x04\x00\x00" * 3)
    path.egress(eth(sent))
    assert path.ingress(V4.arriving(icmp_error(sent))).reason == "related"


@pytest.mark.parametrize(
    "ext",
    [
        [options_header(HOP_BY_HOP)],
        [options_header(DEST_OPTIONS, bytes(14))],
        [options_header(HOP_BY_HOP), fragment_header(5, more=True)],
    ],
    ids=["hop-by-hop", "destination", "first fragment"],
)
def test_quote_with_extension_headers(path: PacketPath, ext: list[Layer]) -> None:
    path.policy("default in drop\n")
    path.egress(eth(ipv6(V6.us, V6.them, udp(5000, 53))))
    quoted = ipv6(V6.us, V6.them, udp(5000, 53), ext=ext)
    assert path.ingress(V6.arriving(icmp_error(quoted))).reason == "related"
    later = ipv6(V6.us, V6.them, udp(5000, 53), ext=[*ext[:1], fragment_header(5, offset=8)])
    assert path.ingress(V6.arriving(icmp_error(later))).reason == "unrelated"


@pytest.mark.parametrize(("query", "reply"), [(8, 0), (13, 14), (15, 16), (17, 18)])
def test_queries_v4(path: PacketPath, query: int, reply: int) -> None:
    path.policy("default in drop\n")
    body = bytes(12)
    assert path.egress(V4.leaving(icmp(query, 0, body, ident=7))).reason == "default_allow"
    assert path.ingress(V4.arriving(icmp(reply, 0, body, ident=8))).reason == "no_flow"
    for other in {0, 14, 16, 18} - {reply}:
        assert path.ingress(V4.arriving(icmp(other, 0, body, ident=7))).reason == "no_flow"
    assert path.ingress(V4.arriving(icmp(reply, 0, body, ident=7))).reason == "flow"
    assert path.the_flow()[0] == "embryonic"
    assert path.egress(V4.leaving(icmp(query, 0, body, ident=7, seq=2))).reason == "flow"
    assert path.the_flow()[0] == "flows", "its opener has sent again after the reply"


@pytest.mark.parametrize(("query", "reply"), [(128, 129), (139, 140)])
def test_queries_v6(path: PacketPath, query: int, reply: int) -> None:
    path.policy("default in drop\n")
    assert path.egress(V6.leaving(icmp6(query, ident=7))).reason == "default_allow"
    assert path.ingress(V6.arriving(icmp6(reply, ident=8))).reason == "no_flow"
    assert path.ingress(V6.arriving(icmp6({129: 140, 140: 129}[reply], ident=7))).reason == "no_flow"
    assert path.ingress(V6.arriving(icmp6(reply, ident=7))).reason == "flow"


@FAMILIES
def test_query_by_the_asked_side_is_asked_of_the_rules(path: PacketPath, ends: Ends) -> None:
    """Our ping out does not let theirs in, though it has the same addresses, id and type."""
    path.policy("default in drop\n")
    path.egress(ends.leaving(ends.echo()))
    assert path.ingress(ends.arriving(ends.echo())).reason == "default_drop"
    assert path.ingress(ends.arriving(ends.echo(ECHO_REPLY))).reason == "flow"


@FAMILIES
def test_reply_by_the_asking_side_is_no_part_of_its_flow(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\nallow in icmp, icmp6 icmp-type echo-request\n")
    path.ingress(ends.arriving(ends.echo()))
    assert path.ingress(ends.arriving(ends.echo(ECHO_REPLY))).reason == "no_flow"


@pytest.mark.parametrize("kind", [42, 10, 9], ids=["extended echo", "solicitation", "advertisement"])
def test_message_that_is_neither_query_nor_reply_is_judged_alone(path: PacketPath, kind: int) -> None:
    path.policy("default in drop\n")
    assert path.egress(V4.leaving(icmp(kind))).passed
    assert path.ingress(V4.arriving(icmp(kind))).reason == "default_drop"


@FAMILIES
def test_flow_keeps_the_query_that_was_judged(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\nallow in icmp, icmp6 icmp-type echo-request\n")
    assert path.ingress(ends.arriving(ends.echo())).reason == "rule_allow"
    _, _, flow = path.the_flow()
    assert flow.icmp == (128 if ends.is_v6 else 8) << 8


@FAMILIES
def test_journal_of_an_unrelated_error_has_its_own_ends(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\n")
    path.ingress(eth(ip(ends.hop, ends.us, icmp_error(ip(ends.us, ends.them, udp(1, 2)), code=4))))
    event = path.events()[-1]
    kind = 1 if ends.is_v6 else 3
    assert (event.proto, event.dport, event.sport) == (ends.icmp_proto, kind << 8 | 4, 0)
    assert event.reason == abi.Reason.UNRELATED
    assert event.src.endswith(ipaddress.ip_address(ends.hop).packed)
    assert event.dst.endswith(ipaddress.ip_address(ends.us).packed)


@pytest.mark.parametrize(
    "source",
    ["127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", V4.us]
    + ["::", "::1", "ff02::1", "::ffff:192.0.2.1", V6.us],
)
def test_error_from_nowhere(path: PacketPath, source: str) -> None:
    """Whoever sends it has an address; ours or the receiver's it cannot be."""
    ends = V6 if ":" in source else V4
    path.policy(BOTH_WAYS)
    sent = ip(ends.us, ends.them, udp(5000, 22))
    path.egress(eth(sent))
    reason = path.ingress(eth(ip(source, ends.us, icmp_error(sent)))).reason
    assert reason == ("land" if source == ends.us else "martian")


@FAMILIES
@pytest.mark.parametrize("early", ["pass", "drop"])
def test_error_in_fragments(path: PacketPath, ends: Ends, early: str) -> None:
    """They are of the error's ends, not of those that it quotes."""
    path.policy(BOTH_WAYS + f"option fragments.early {early}\n")
    sent = ip(ends.us, ends.them, udp(5000, 22, bytes(1400)))
    path.egress(eth(sent))
    parts = fragments(ip(ends.hop, ends.us, icmp_error(sent, quote_bytes=1200)), 600)
    assert [path.ingress(eth(part)).reason for part in parts] == ["related", *["fragment"] * (len(parts) - 1)]
    honest = fragments(ip(ends.us, ends.them, udp(5000, 22, bytes(1200))), 600)
    reasons = [path.egress(eth(part)).reason for part in honest]
    assert reasons == ["flow", *["fragment"] * (len(honest) - 1)]
