# SPDX-License-Identifier: MIT
"""`reject`: the packet is turned around into the answer that its sender deserves, read back by another reader."""

import socket

import pytest

from firewall import abi, clock
from tests import dissect
from tests.packet.ends import ECHO_REPLY, FAMILIES, V4, V6, Connection, Ends
from tests.packet.path import ANSWER_MARK, PASS, REDIRECT, SHOT, PacketPath, Verdict, let_time_pass
from tests.packets import (
    MAC_A,
    MAC_B,
    TCP,
    Layer,
    eth,
    fragments,
    gre,
    icmp6,
    icmp_error,
    ip,
    ipv4,
    sctp,
    tcp,
    udp,
    vlan,
)

REJECT = "default in reject\ndefault out reject\ndefault forward reject\n"
ADMIN_PROHIBITED = {False: (3, 13), True: (1, 1)}  # RFC 1812 section 5.2.7.1, RFC 4443 section 3.1
BROADCAST, MULTICAST, OTHER_HOST = 1, 2, 3  # linux/if_packet.h
QUOTE_MAX = 128


@pytest.fixture
def wall(path: PacketPath) -> PacketPath:
    """Everything is rejected, in every way, and there are tokens for some answers."""
    path.policy(REJECT)
    let_time_pass(0.02)
    return path


def turned(verdict: Verdict, src: str, dst: str, *, raw: bool = False) -> dissect.Packet:
    """The answer that a verdict sends, whose ends are told."""
    assert verdict.action == REDIRECT
    answer = dissect.packet(verdict.out) if raw else dissect.frame(verdict.out)
    assert answer.sums_right
    assert (answer.src, answer.dst) == (src, dst)
    if not raw:
        assert (answer.src_mac, answer.dst_mac) == (MAC_B, MAC_A), "what is sent back has the MACs swapped"
    return answer


def assert_admin(answer: dissect.Packet, ends: Ends, rejected: bytes) -> None:
    """An ICMP error, administratively prohibited, that quotes the beginning of the packet."""
    assert answer.proto == ends.icmp_proto
    assert (answer.icmp_type, answer.icmp_code) == ADMIN_PROHIBITED[ends.is_v6]
    assert answer.payload == rejected[:QUOTE_MAX]
    assert answer.ttl
    assert answer.ttl >= 64


@FAMILIES
@pytest.mark.parametrize("leaves", [False, True], ids=["ingress", "egress"])
@pytest.mark.parametrize("options", [b"", b"\x02\x04\x05\xb4" * 5], ids=["bare", "with options"])
def test_reset_for_a_syn(wall: PacketPath, ends: Ends, leaves: bool, options: bytes) -> None:
    """RFC 9293 section 3.10.7.1: no ACK in it, so sequence number zero, acknowledging the SYN and its data."""
    segment = tcp(4000, 22, "S", b"early", seq=2**32 - 1, options=options)
    verdict = wall.egress(ends.leaving(segment)) if leaves else wall.ingress(ends.arriving(segment))
    src, dst = (ends.them, ends.us) if leaves else (ends.us, ends.them)
    answer = turned(verdict, src, dst)
    assert (answer.proto, answer.sport, answer.dport) == (TCP, 22, 4000)
    assert (answer.flags, answer.seq, answer.ack) == ("RA", 0, 5)
    assert (answer.window, answer.payload) == (0, b"")


@FAMILIES
@pytest.mark.parametrize(
    ("flags", "payload"),
    [("A", b""), ("PA", b"hello"), ("FA", b""), ("SA", b"")],
)
def test_reset_for_a_running_connection(path: PacketPath, ends: Ends, flags: str, payload: bytes) -> None:
    """RFC 9293 section 3.10.7.1: an ACK in it, so the reset begins there, and acknowledges nothing."""
    path.policy("default in reject\nallow in tcp to port 22\n")
    path.ingress(ends.arriving(tcp(4000, 22, "S", seq=100)))
    path.egress(ends.leaving(tcp(22, 4000, "SA", seq=900, ack=101)))
    path.policy(REJECT)
    if flags == "SA":
        verdict = path.egress(ends.leaving(tcp(22, 4000, "SA", seq=900, ack=101)))
        answer = turned(verdict, ends.them, ends.us)
        assert (answer.flags, answer.seq, answer.sport) == ("R", 101, 4000)
        return
    verdict = path.ingress(ends.arriving(tcp(4000, 22, flags, payload, seq=101, ack=901)))
    assert verdict.reason == "revoked"
    answer = turned(verdict, ends.us, ends.them)
    assert (answer.flags, answer.seq, answer.ack) == ("R", 901, 0)


CODES = {"admin": (13, 1), "port": (3, 4), "host": (1, 3)}  # RFC 792 and 1812, RFC 4443 section 3.1


@FAMILIES
@pytest.mark.parametrize("answer", CODES)
@pytest.mark.parametrize("segment", [tcp(4000, 22, seq=7), udp(4000, 22, b"?")], ids=["tcp", "udp"])
def test_error_that_the_rule_names(path: PacketPath, ends: Ends, answer: str, segment: Layer) -> None:
    path.policy(f"reject with {answer} in tcp, udp to port 22\n")
    let_time_pass(0.02)
    frame = ends.arriving(segment)
    error = turned(path.ingress(frame), ends.us, ends.them)
    assert error.proto == ends.icmp_proto
    assert (error.icmp_type, error.icmp_code) == ((1 if ends.is_v6 else 3), CODES[answer][ends.is_v6])
    assert error.payload == frame[14:]


@FAMILIES
def test_reset_that_the_rule_names(path: PacketPath, ends: Ends) -> None:
    path.policy("reject with rst in tcp\n")
    let_time_pass(0.02)
    answer = turned(path.ingress(ends.arriving(tcp(4000, 22, seq=7))), ends.us, ends.them)
    assert (answer.flags, answer.ack) == ("RA", 8)


@FAMILIES
@pytest.mark.parametrize("answer", CODES)
def test_a_running_connection_is_reset_whatever_the_rule_names(
    path: PacketPath, ends: Ends, answer: str
) -> None:
    """From either side, and as often as either tries; nothing of it moves the window that the reset must hit."""
    connection = Connection(path, ends)
    path.policy("default in drop\nallow in tcp to port 22\n")
    connection.establish()
    path.policy(f"reject with {answer} in tcp to port 22\n")
    let_time_pass(0.02)
    connection.o("A", 101, 901)
    for _ in range(2):
        let_time_pass(0.02)
        verdict = connection.o("PA", 101, 901, b"lost")
        assert verdict.reason == "revoked"
        reset = turned(verdict, ends.us, ends.them)
        assert (reset.proto, reset.flags, reset.seq, reset.ack) == (TCP, "R", 901, 0)
        reset = turned(connection.r("PA", 901, 101, b"lost too"), ends.them, ends.us)
        assert (reset.proto, reset.flags, reset.seq, reset.ack) == (TCP, "R", 101, 0)


@FAMILIES
@pytest.mark.parametrize("leaves", [False, True], ids=["ingress", "egress"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 79, 80, 99, 100, 101, 700])
def test_error_for_udp(wall: PacketPath, ends: Ends, leaves: bool, size: int) -> None:
    """Odd sizes are summed with a zero behind them; what was written there before must not count."""
    wall.ingress(ends.arriving(udp(4000, 52, b"\xff" * 120)))
    segment = udp(4000, 53, b"\xa5" * size)
    frame = ends.leaving(segment) if leaves else ends.arriving(segment)
    verdict = wall.egress(frame) if leaves else wall.ingress(frame)
    src, dst = (ends.them, ends.us) if leaves else (ends.us, ends.them)
    assert_admin(turned(verdict, src, dst), ends, frame[14:])


@FAMILIES
@pytest.mark.parametrize("segment", [sctp(4000, 22), gre(bytes(30), ethertype=0x0800)], ids=["sctp", "gre"])
def test_error_for_other_protocols(wall: PacketPath, ends: Ends, segment: Layer) -> None:
    frame = ends.arriving(segment)
    assert_admin(turned(wall.ingress(frame), ends.us, ends.them), ends, frame[14:])


@FAMILIES
def test_error_for_an_echo_request(wall: PacketPath, ends: Ends) -> None:
    frame = ends.arriving(ends.echo(payload=bytes(30)))
    assert_admin(turned(wall.ingress(frame), ends.us, ends.them), ends, frame[14:])


@FAMILIES
@pytest.mark.parametrize("hook", ["ingress", "egress"])
def test_forwarded(wall: PacketPath, ends: Ends, hook: str) -> None:
    """The answer comes from the one who was meant, as from any closed port."""
    frame = eth(ip(ends.inside, ends.them, tcp(4000, 22, "S", seq=7)))
    verdict = (
        wall.ingress(frame, on="lan") if hook == "ingress" else wall.egress(frame, came_by="lan", tc_index=0)
    )
    assert turned(verdict, ends.them, ends.inside).ack == 8


@FAMILIES
@pytest.mark.parametrize("tags", [1, 2])
def test_tags_in_the_frame_stay(wall: PacketPath, ends: Ends, tags: int) -> None:
    packet: Layer = ip(ends.them, ends.us, tcp(4000, 22, "S", seq=7))
    for vid in range(10, 10 + tags):
        packet = vlan(vid, packet, pcp=3)
    answer = turned(wall.ingress(eth(packet)), ends.us, ends.them)
    assert (answer.flags, answer.ack) == ("RA", 8)
    assert len(answer.tags) == tags


def test_ipv4_options_are_not_copied(wall: PacketPath) -> None:
    wall.policy(REJECT + "option ip.options pass\n")
    frame = eth(ipv4(V4.them, V4.us, udp(4000, 53, bytes(8)), options=b"\x07\x07\x04" + bytes(5)))
    answer = turned(wall.ingress(frame), V4.us, V4.them)
    assert (answer.l3, answer.l4) == (14, 34)
    assert_admin(answer, V4, frame[14:])


@FAMILIES
def test_padding_is_not_quoted(wall: PacketPath, ends: Ends) -> None:
    frame = ends.arriving(udp(4000, 53, b"ab"))
    verdict = wall.ingress(frame + b"\xee" * 20)
    assert_admin(turned(verdict, ends.us, ends.them), ends, frame[14:])


@FAMILIES
@pytest.mark.parametrize("segment", [tcp(4000, 22, "S", seq=7), udp(4000, 53, bytes(9))], ids=["tcp", "udp"])
def test_device_without_a_link_header(wall: PacketPath, ends: Ends, segment: Layer) -> None:
    flags = abi.IfaceFlags.IFACE_PROTECTED | abi.IfaceFlags.IFACE_RAW_IP
    wall.interface("wan", slot=1, class_id=1, flags=flags)
    verdict = wall.ingress(ip(ends.them, ends.us, segment))
    assert turned(verdict, ends.us, ends.them, raw=True).proto in (TCP, ends.icmp_proto)


def test_first_fragment_is_answered(wall: PacketPath) -> None:
    wall.policy(REJECT + "option fragments.early drop\n")
    first, second = fragments(ipv4(V4.them, V4.us, udp(4000, 53, bytes(64))), 40)
    assert_admin(turned(wall.ingress(eth(first)), V4.us, V4.them), V4, first)
    assert wall.ingress(eth(second)).action == SHOT


@FAMILIES
@pytest.mark.parametrize("flags", ["R", "RA"])
def test_no_answer_to_a_reset(path: PacketPath, ends: Ends, flags: str) -> None:
    path.policy("default in allow\n")
    path.ingress(ends.arriving(tcp(4000, 22, "S", seq=100)))
    path.policy(REJECT)
    verdict = path.ingress(ends.arriving(tcp(4000, 22, flags, seq=101)))
    assert (verdict.reason, verdict.action) == ("revoked", SHOT)


@FAMILIES
def test_no_answer_to_what_no_rule_was_asked_about(wall: PacketPath, ends: Ends) -> None:
    """Strays, errors, replies and lies are dropped, not refused."""
    stray_error = icmp_error(ip(ends.us, ends.them, udp(1, 2)))
    for segment, reason in (
        (tcp(4000, 22, "A"), "no_flow"),
        (tcp(4000, 22, "SF"), "bad_tcp_flags"),
        (ends.echo(ECHO_REPLY), "no_flow"),
        (stray_error, "unrelated"),
        (udp(4000, 53, length=400), "dishonest_length"),
    ):
        verdict = wall.ingress(ends.arriving(segment))
        assert (verdict.reason, verdict.action) == (reason, SHOT)


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        (V4.hop, "255.255.255.255"),
        (V4.hop, "224.0.0.251"),
        (V4.hop, "239.1.2.3"),
        ("0.0.0.0", V4.us),
        ("127.0.0.1", V4.us),
        ("224.0.0.5", V4.us),
        ("255.255.255.255", V4.us),
        ("240.0.0.1", V4.us),
        (V6.hop, "ff02::fb"),
        (V6.hop, "ff0e::1"),
        ("::", V6.us),
        ("::1", V6.us),
        ("ff02::1", V6.us),
    ],
)
def test_no_answer_about_addresses_of_many_or_of_nobody(wall: PacketPath, src: str, dst: str) -> None:
    """RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e)."""
    for segment in (udp(4000, 53), tcp(4000, 22)):
        verdict = wall.ingress(eth(ip(src, dst, segment)))
        assert verdict.reason in ("default_reject", "martian")
        assert verdict.action == SHOT


@FAMILIES
@pytest.mark.parametrize("kind", [BROADCAST, MULTICAST, OTHER_HOST])
def test_no_answer_to_frames_for_many_or_for_others(wall: PacketPath, ends: Ends, kind: int) -> None:
    """A link broadcast of an address that is ours is answered by nobody, or by everybody."""
    verdict = wall.ingress(ends.arriving(udp(4000, 53)), pkt_type=kind)
    assert (verdict.reason, verdict.action) == ("default_reject", SHOT)


def test_no_answer_to_a_redirect_of_ipv6(wall: PacketPath) -> None:
    """RFC 4443 section 2.4 (e.2)."""
    verdict = wall.ingress(V6.arriving(icmp6(137, payload=bytes(32))))
    assert (verdict.reason, verdict.action) == ("default_reject", SHOT)


@FAMILIES
def test_drop_answers_nothing(path: PacketPath, ends: Ends) -> None:
    path.policy("default in drop\ndrop in tcp to port 22\n")
    for port in (22, 23):
        assert path.ingress(ends.arriving(tcp(4000, port))).action == SHOT


@FAMILIES
def test_observe_mode_answers_nothing(wall: PacketPath, ends: Ends) -> None:
    wall.control(mode=abi.Mode.MODE_OBSERVE)
    frame = ends.arriving(tcp(4000, 22))
    verdict = wall.ingress(frame)
    assert (verdict.reason, verdict.action, verdict.out) == ("default_reject", PASS, frame)


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize("rate", [0, 1, 5])
def test_answers_are_few(path: PacketPath, rate: int) -> None:
    """A second's worth at once, and then as many a second: what is forged in their name is not amplified."""
    path.policy(REJECT + f"option reject.rate {rate}\n")
    let_time_pass(1)
    start_j = clock.now_j()
    verdicts = [path.ingress(V4.arriving(udp(port, 53))) for port in range(4000, 4040)]
    elapsed_s = (clock.now_j() - start_j + 2) / clock.hz()
    answered = [verdict.action for verdict in verdicts].count(REDIRECT)
    assert {verdict.reason for verdict in verdicts} == {"default_reject"}
    assert rate <= answered <= rate + rate * elapsed_s
    assert rate == 0 or verdicts[0].action == REDIRECT


@pytest.mark.usefixtures("one_cpu")
def test_bucket_fills_again(path: PacketPath) -> None:
    path.policy(REJECT + "option reject.rate 2\n")
    let_time_pass(1)
    while path.ingress(V4.arriving(udp(4000, 53))).action == REDIRECT:
        pass
    let_time_pass(0.5)
    assert path.ingress(V4.arriving(udp(4000, 53))).action == REDIRECT


@FAMILIES
@pytest.mark.parametrize("hook", ["ingress", "egress"])
def test_own_answer_passes_both_hooks(wall: PacketPath, ends: Ends, hook: str) -> None:
    """It goes back by the interface that the packet is at: from egress it comes in there, and may cross the host."""
    if hook == "ingress":
        rejected = wall.ingress(eth(ip(ends.inside, ends.them, udp(4000, 53))), on="lan")
        passed = wall.egress(rejected.out, on="lan", mark=ANSWER_MARK)
        assert (passed.reason, passed.action) == ("answer", PASS)
        return
    frame = eth(ip(ends.inside, ends.them, udp(4000, 53)))
    rejected = wall.egress(frame, on="wan", came_by="lan", tc_index=0)
    assert wall.ingress(rejected.out, on="wan", mark=ANSWER_MARK).reason == "answer"
    assert wall.egress(rejected.out, on="lan", came_by="wan").reason == "answer"


@FAMILIES
def test_other_marks_are_no_leave(wall: PacketPath, ends: Ends) -> None:
    for mark in (0, 1, ANSWER_MARK - 1, socket.htonl(ANSWER_MARK)):
        assert wall.ingress(ends.arriving(udp(4000, 53)), mark=mark).reason == "default_reject"
