# SPDX-License-Identifier: MIT
"""What `reject` answers, as the sockets of the other side understand it and as it looks on the wire."""

from __future__ import annotations

import errno
import time

import pytest

from tests import packets as p
from tests.lab.attachment import protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import Stream
from tests.lab.wait import until

REJECT = """
    default in reject
    default forward reject
    default out allow
"""
PROHIBITED = {"ipv4": errno.EHOSTUNREACH, "ipv6": errno.EACCES}
"""What a socket is told of ICMP 3/13 (net/ipv4/icmp.c, icmp_err_convert) and ICMPv6 1/1 (net/ipv6/icmp.c)."""


def test_tcp_is_refused_at_once(pair: PairLab, family: str, attach: str) -> None:
    pair.server.listen(80, any_address(family))
    protect(pair.server, REJECT, "eth0", attach=attach)
    began_s = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        pair.client.connect(address(pair.server, family), 80)
    assert time.monotonic() - began_s < 1
    assert reasons(pair.server)["default_reject"] == 1


def test_udp_and_ping_hear_that_it_is_prohibited(pair: PairLab, family: str, attach: str) -> None:
    server = address(pair.server, family)
    pair.server.udp(53, any_address(family), echo=True)
    protect(pair.server, REJECT, "eth0", attach=attach)
    socket = pair.client.udp(address=any_address(family))
    socket.connect(server, 53)
    socket.send(b"?")
    with pytest.raises(OSError) as heard:
        socket.recv()
    assert heard.value.errno == PROHIBITED[family]
    with pytest.raises(OSError) as heard:
        pair.client.ping(server)
    assert heard.value.errno == PROHIBITED[family]


def test_the_answers_are_right_to_the_last_bit(pair: PairLab, family: str) -> None:
    client, server = address(pair.client, family), address(pair.server, family)
    protect(pair.server, REJECT, "eth0")
    wire = pair.client.wire("eth0")
    to = pair.server.macs["eth0"]

    wire.send_to(to, p.ip(client, server, p.tcp(4000, 80, "S", b"early", seq=1000, options=p.mss(1400))))
    reset = wire.catch(lambda packet: packet.dport == 4000)
    assert (reset.flags, reset.seq, reset.ack, reset.sport) == ("RA", 0, 1006, 80)
    assert reset.sums_right and reset.src == server and reset.src_mac == to

    question = p.ip(client, server, p.udp(4002, 53, b"question" * 20))
    wire.send_to(to, question)
    error = wire.catch(lambda packet: packet.is_icmp_error)
    assert (error.icmp_type, error.icmp_code) == ((3, 13) if family == "ipv4" else (1, 1))
    assert error.sums_right and error.src == server and error.quoted is not None
    assert (error.quoted.src, error.quoted.sport, error.quoted.dport) == (client, 4002, 53)


def test_some_things_are_never_answered(pair: PairLab, family: str) -> None:
    """RFC 1122 section 3.2.2 and RFC 4443 section 2.4: nothing about errors, multicast, later fragments."""
    client, server = address(pair.client, family), address(pair.server, family)
    protect(pair.server, REJECT, "eth0")
    wire, to = pair.client.wire("eth0"), pair.server.macs["eth0"]
    groups = {"ipv4": ("224.0.0.77", "01:00:5e:00:00:4d"), "ipv6": ("ff02::4d", "33:33:00:00:00:4d")}
    group, group_mac = groups[family]
    silent = [
        (to, p.ip(client, server, p.icmp_error(p.ip(server, client, p.udp(1, 2))))),
        (to, p.ip(client, server, p.tcp(4000, 80, "R"))),
        (group_mac, p.ip(client, group, p.udp(5000, 5000, b"to all"))),
        (to, p.fragments(p.ip(client, server, p.udp(1, 7, bytes(3000))), 1000)[1]),
    ]
    if family == "ipv4":
        silent.append(("ff:ff:ff:ff:ff:ff", p.ip(client, "192.0.2.255", p.udp(5000, 5000, b"to all"))))
    before = sum(reasons(pair.server).values())
    for mac, packet in silent:
        wire.send_to(mac, packet)
    until(lambda: sum(reasons(pair.server).values()) >= before + len(silent), what="all of them judged")
    assert wire.caught(lambda packet: packet.is_icmp_error or packet.proto == p.TCP) == []


def test_what_goes_out_is_refused_to_our_own_programs(pair: PairLab, family: str, attach: str) -> None:
    client = address(pair.client, family)
    pair.client.listen(25, any_address(family))
    protect(
        pair.server,
        "default in drop\ndefault out allow\nreject out tcp, udp to port 25",
        "eth0",
        attach=attach,
    )
    with pytest.raises(ConnectionRefusedError):
        pair.server.connect(client, 25)
    socket = pair.server.udp(address=any_address(family))
    socket.connect(client, 25)
    socket.send(b"?")
    with pytest.raises(OSError) as heard:
        socket.recv()
    assert heard.value.errno == PROHIBITED[family]


def test_a_router_answers_for_what_is_behind_it(lab: RouterLab, family: str, attach: str) -> None:
    lab.client.listen(80, any_address(family))
    protect(lab.router, REJECT, "wan0", attach=attach)
    with pytest.raises(ConnectionRefusedError):
        lab.server.connect(address(lab.client, family), 80)
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect(address(lab.server, family), 80)


ANSWERS = pytest.mark.parametrize("answer", ["", " with host"], ids=["reset", "error"])


def both_are_reset(speaker: Stream, other: Stream) -> None:
    """At once, when one of them next says something: which is lost."""
    speaker.send(b"still there?")
    for end in (speaker, other):
        with pytest.raises(ConnectionResetError):
            end.recv(1)


@ANSWERS
@pytest.mark.parametrize("first", ["client", "server"])
def test_a_running_connection_is_reset_for_both_its_ends(
    pair: PairLab, family: str, attach: str, answer: str, first: str
) -> None:
    listener = pair.server.listen(80, any_address(family), mode="hold")
    protect(pair.server, "allow in tcp to port 80", "eth0", attach=attach)
    ours = pair.client.connect(address(pair.server, family), 80)
    theirs = listener.accepted(ours.local)
    ours.send(b"hello")
    assert theirs.recv(5) == b"hello"
    pair.server.fw(f"rule insert 1 reject{answer} in tcp to port 80")
    both_are_reset(*((ours, theirs) if first == "client" else (theirs, ours)))
    assert reasons(pair.server)["revoked"] == 1


@ANSWERS
@pytest.mark.parametrize("first", ["client", "server"])
def test_a_forwarded_connection_is_reset_for_both_its_ends(
    lab: RouterLab, family: str, attach: str, answer: str, first: str
) -> None:
    listener = lab.server.listen(80, any_address(family), mode="hold")
    protect(lab.router, "allow forward on lan0 via wan0", "wan0", "lan0", attach=attach)
    ours = lab.client.connect(address(lab.server, family), 80)
    theirs = listener.accepted(ours.local)
    ours.send(b"hello")
    assert theirs.recv(5) == b"hello"
    lab.router.fw(f"rule insert 1 reject{answer} forward tcp to port 80")
    both_are_reset(*((ours, theirs) if first == "client" else (theirs, ours)))
    assert reasons(lab.router)["revoked"] == 1


# ETHTOOL_STXCSUM by SIOCETHTOOL (linux/ethtool.h)
SUMS_MADE_HERE = """
import array, fcntl, socket, struct
command = array.array("B", struct.pack("=II", 0x17, 0))
for name in (b"lan0", b"wan0"):
    fcntl.ioctl(socket.socket(), 0x8946, struct.pack("16sP16x", name, command.buffer_info()[0]))
"""


@pytest.mark.parametrize("offload", [True, False], ids=["sum left to the device", "sum made here"])
def test_both_resets_are_right_to_the_last_bit(
    lab: RouterLab, family: str, attach: str, offload: bool
) -> None:
    listener = lab.server.listen(80, any_address(family), mode="hold")
    protect(lab.router, "allow forward on lan0 via wan0", "wan0", "lan0", attach=attach)
    ours = lab.client.connect(address(lab.server, family), 80)
    theirs = listener.accepted(ours.local)
    if not offload:
        lab.router.python(SUMS_MADE_HERE)
    theirs.send(b"welcome")
    assert ours.recv(7) == b"welcome"
    here, out, there = lab.client.wire("eth0"), lab.client.wire("eth0"), lab.server.wire("eth0")
    lab.router.fw("rule insert 1 reject forward tcp to port 80")
    ours.send(b"lost")
    said = out.catch(lambda packet: packet.payload == b"lost", sent=True)
    back = here.catch(lambda packet: "R" in packet.flags)
    on = there.catch(lambda packet: "R" in packet.flags)
    client, server = ours.local, (address(lab.server, family), 80)
    for reset, seq, source, to in ((back, said.ack, server, client), (on, said.seq, client, server)):
        assert (reset.flags, reset.seq, reset.payload) == ("R", seq, b"")
        assert ((reset.src, reset.sport), (reset.dst, reset.dport)) == (source, to)
    assert {back.sums_right, on.sums_right} == {not offload}, "a device has not made them yet on this wire"
    with pytest.raises(ConnectionResetError):
        ours.recv(1)
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


def test_who_opens_is_refused_where_the_kernel_makes_the_sums(lab: RouterLab, family: str) -> None:
    protect(lab.router, "reject forward tcp", "wan0", "lan0")
    lab.router.python(SUMS_MADE_HERE)
    with pytest.raises(ConnectionRefusedError):
        lab.client.connect(address(lab.server, family), 80)


def test_the_reset_that_goes_on_takes_its_connections_way(lab: RouterLab) -> None:
    """Where a rule's mark chooses the route, such as into a tunnel, nothing of the connection leaves by another one."""
    router = lab.router
    router.ip("link add leak0 type veth peer name leak1", "link set leak0 up", "link set leak1 up")
    router.ip(
        "addr add 198.51.100.1/24 dev leak0", "neigh add 198.51.100.9 lladdr 02:00:00:00:00:09 dev leak0"
    )
    router.ip(f"route add {lab.server.v4}/32 via 198.51.100.9", "rule add fwmark 5 table 100")
    router.ip(f"route add {lab.server.v4}/32 dev wan0 table 100")
    listener = lab.server.listen(80, mode="hold")
    protect(router, "option antispoof off\nallow forward on lan0 tcp set-mark 5", "lan0")
    ours = lab.client.connect(lab.server.v4, 80)
    theirs = listener.accepted(ours.local)
    theirs.send(b"welcome")
    assert ours.recv(7) == b"welcome"
    leak = router.wire("leak0")
    router.fw("rule insert 1 reject forward tcp to port 80")
    both_are_reset(ours, theirs)
    assert leak.caught(lambda packet: packet.proto == p.TCP, timeout_s=0, sent=True) == []


def test_answers_are_rationed(pair: PairLab) -> None:
    """A flood of questions is not amplified into a flood of answers."""
    protect(pair.server, REJECT, "eth0")
    wire = pair.client.wire("eth0")
    flood = [p.ip(pair.client.v4, pair.server.v4, p.udp(port, 53)) for port in range(10_000, 15_000)]
    wire.send_to(pair.server.macs["eth0"], *flood)
    until(lambda: reasons(pair.server)["default_reject"] == len(flood), what="all of them judged")
    answers = wire.caught(lambda packet: packet.is_icmp_error)
    assert 1 <= len(answers) < len(flood) // 2


def test_what_stays_of_a_rejected_connection(pair: PairLab, family: str, attach: str) -> None:
    """Each segment of either end is answered with a reset by its own ACK, as long as they try; then none is."""
    server = address(pair.server, family)
    listener = pair.server.listen(80, any_address(family), mode="hold")
    policy = "option load.grace 0s\noption timeout.revoked 5s\nallow in tcp to port 80"
    protect(pair.server, policy, "eth0", attach=attach)
    ours = pair.client.connect(server, 80)
    theirs = listener.accepted(ours.local)
    wire, out, to = pair.client.wire("eth0"), pair.client.wire("eth0"), pair.server.macs["eth0"]
    port = ours.local[1]
    ours.send(b"hello")
    assert theirs.recv(5) == b"hello"
    pair.server.fw("rule insert 1 reject in tcp to port 80")

    ours.send(b"lost")
    said = out.catch(lambda packet: packet.sport == port and packet.payload == b"lost", sent=True)
    reset = wire.catch(lambda packet: packet.dport == port and "R" in packet.flags)
    assert said.seq is not None and said.ack is not None
    assert (reset.flags, reset.seq) == ("R", said.ack)
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)
    (flow,) = pair.server.fw_json("flow list")["flows"]
    assert flow["state"] == "revoked" and flow["expires_s"] <= 5

    def reset_of(flags: str, seq: int, ack: int, payload: bytes = b"") -> list[int | None]:
        client = address(pair.client, family)
        wire.send_to(to, p.ip(client, server, p.tcp(port, 80, flags, payload, seq=seq, ack=ack)))
        found = wire.caught(
            lambda packet: packet.dport == port and "R" in packet.flags and packet.seq == ack, enough=1
        )
        return [one.seq for one in found]

    for flags, payload in (("A", b""), ("PA", b"again"), ("FA", b"")):
        assert reset_of(flags, said.seq, said.ack, payload) == [said.ack]
    until(lambda: pair.server.fw_json("flow list")["flows"] == [], what="the end of its entry")
    # jiffies, by which the packet path decides, come behind the clock of the listing on a machine that is busy
    listed_s = time.monotonic()
    until(lambda: time.monotonic() > listed_s + 1, what="the end in jiffies")
    # on a wire of its own: resets of what was sent again before have the same number
    wire = pair.client.wire("eth0")
    assert reset_of("A", said.seq, said.ack) == []
    assert reasons(pair.server)["no_flow"] >= 1
