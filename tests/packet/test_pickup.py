# SPDX-License-Identifier: MIT
"""`option load.grace`: for a while after a load, segments of older connections open their flows.

The sockets here are real. Both ends of a connection are in the namespace: ours has wan's address, theirs has lan's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from firewall import abi, clock
from tests.packet.ends import ECHO_REPLY, FAMILIES, V4, Ends
from tests.packet.path import PacketPath
from tests.packets import eth, ip, tcp, udp

OWN = "option antispoof off\n"  # both ends of the sockets here are this host's
CLOSED = OWN + "default in drop\ndefault out drop\ndefault forward drop\n"
MIDSTREAM = ("A", "PA", "FA")


class Sockets(NamedTuple):
    """Addresses and ports of a connection from them to our listener at `port`."""

    us: str
    them: str
    port: int
    their_port: int

    def coming(self, flags: str, seq: int = 5000, ack: int = 7000) -> bytes:
        return eth(ip(self.them, self.us, tcp(self.their_port, self.port, flags, seq=seq, ack=ack)))

    def going(self, flags: str, seq: int = 7000, ack: int = 5000) -> bytes:
        return eth(ip(self.us, self.them, tcp(self.port, self.their_port, flags, seq=seq, ack=ack)))


@contextmanager
def connection(us: str, them: str, listen_on: str | None = None) -> Iterator[Sockets]:
    """A connection that ends at once, without a trace, when it is left."""
    family = socket.AF_INET6 if ":" in us else socket.AF_INET
    with socket.socket(socket.AF_INET6 if listen_on else family) as listener, socket.socket(family) as client:
        listener.bind((listen_on or us, 0))
        listener.listen()
        client.bind((them, 0))
        client.connect((us, listener.getsockname()[1]))
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with accepted:
            yield Sockets(us, them, listener.getsockname()[1], client.getsockname()[1])


@contextmanager
def unfinished(us: str, them: str) -> Iterator[Sockets]:
    """A handshake by IPv4 that we have answered, and nobody goes on with: `them` is no address of this host."""
    their_port = 40_000
    with (
        socket.socket() as listener,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        listener.bind((us, 0))
        listener.listen()
        port = listener.getsockname()[1]
        raw.sendto(bytes(ip(them, us, tcp(their_port, port, "S", seq=4999))), (us, 0))
        yield Sockets(us, them, port, their_port)


@pytest.fixture
def grace(path: PacketPath) -> PacketPath:
    path.control(grace_until_j=clock.now_j() + 100 * clock.hz())
    return path


@pytest.fixture
def sockets(grace: PacketPath, ends: Ends) -> Iterator[Sockets]:
    """Of a connection that they have opened to us."""
    with connection(ends.us, lan_address(ends)) as found:
        yield found


@pytest.fixture
def our_sockets(grace: PacketPath, ends: Ends) -> Iterator[Sockets]:
    """Of a connection that we have opened to them: the listener is theirs."""
    with connection(lan_address(ends), ends.us) as found:
        yield Sockets(found.them, found.us, found.their_port, found.port)


def lan_address(ends: Ends) -> str:
    return "2001:db8:2::1" if ends.is_v6 else "10.0.0.1"


def opener_is(path: PacketPath, address: str) -> bool:
    _, key, flow = path.the_flow()
    end = key.hi if flow.flags & abi.FlowFlags.FLOW_OPENER_HI else key.lo
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return bytes(end).endswith(socket.inet_pton(family, address))


@FAMILIES
@pytest.mark.parametrize("flags", MIDSTREAM)
def test_connection_that_they_opened(grace: PacketPath, sockets: Sockets, flags: str) -> None:
    (rule,) = grace.policy(CLOSED + f"allow in tcp to port {sockets.port}\n").rules
    assert grace.ingress(sockets.coming(flags)).reason == "pickup"
    table, _, flow = grace.the_flow()
    assert (table, flow.scope, flow.rule) == ("embryonic", abi.Scope.SCOPE_IN, rule.id)
    assert opener_is(grace, sockets.them)
    assert grace.egress(sockets.going("A")).reason == "flow"


@FAMILIES
def test_connection_that_we_opened(grace: PacketPath, our_sockets: Sockets) -> None:
    """Their segment comes first; the rules allow the connection from our end."""
    grace.policy(CLOSED + f"allow out tcp to port {our_sockets.their_port}\n")
    assert grace.ingress(our_sockets.coming("PA")).reason == "pickup"
    _, _, flow = grace.the_flow()
    assert flow.scope == abi.Scope.SCOPE_OUT
    assert opener_is(grace, our_sockets.us)
    assert grace.egress(our_sockets.going("A")).reason == "flow"


def test_an_unfinished_handshake_is_taken_over_while_loading_only(path: PacketPath) -> None:
    """Later its SYN has to have been seen, or nothing that `overload` counts would count it."""
    with unfinished(V4.us, V4.them) as half:
        path.policy(CLOSED + f"option tcp.pickup any\nallow in tcp to port {half.port}\n")
        assert path.ingress(half.coming("A")).reason == "no_flow"
        path.control(grace_until_j=clock.now_j() + 100 * clock.hz())
        assert path.ingress(half.coming("A")).reason == "pickup"


@FAMILIES
@pytest.mark.parametrize("rule", ["allow out tcp to port {their_port}", "allow in tcp to port {port}"])
def test_our_own_segment_may_come_first(grace: PacketPath, sockets: Sockets, rule: str) -> None:
    grace.policy(CLOSED + rule.format(**sockets._asdict()) + "\n")
    assert grace.egress(sockets.going("PA")).reason == "pickup"
    assert opener_is(grace, sockets.us if "out" in rule else sockets.them)
    assert grace.ingress(sockets.coming("A")).reason == "flow"


@FAMILIES
@pytest.mark.parametrize("first", ["coming", "going"])
def test_confirmed_when_both_sides_were_seen(grace: PacketPath, sockets: Sockets, first: str) -> None:
    grace.policy(CLOSED + f"allow in tcp to port {sockets.port}\n")
    if first == "coming":
        grace.ingress(sockets.coming("PA"))
        grace.ingress(sockets.coming("PA"))
        assert grace.the_flow()[0] == "embryonic"
        grace.egress(sockets.going("A"))
    else:
        grace.egress(sockets.going("PA"))
        grace.egress(sockets.going("PA"))
        assert grace.the_flow()[0] == "embryonic"
        grace.ingress(sockets.coming("A"))
    assert grace.the_flow()[0] == "flows"


@FAMILIES
def test_it_ends_like_any_other(grace: PacketPath, sockets: Sockets) -> None:
    grace.policy(CLOSED + f"allow in tcp to port {sockets.port}\noption timeout.tcp-time-wait 10s\n")
    grace.ingress(sockets.coming("PA"))
    grace.egress(sockets.going("A"))
    for frame, leaves in (
        (sockets.coming("FA", 5000, 7000), False),
        (sockets.going("FA", 7000, 5001), True),
        (sockets.coming("A", 5001, 7001), False),
    ):
        assert (grace.egress(frame) if leaves else grace.ingress(frame)).reason == "flow"
    grace.age(11)
    grace.control(grace_until_j=0)
    assert grace.ingress(sockets.coming("A", 5001, 7001)).reason == "no_flow"


@FAMILIES
def test_rules_that_allow_neither_end(grace: PacketPath, sockets: Sockets) -> None:
    grace.policy(CLOSED + f"allow in tcp to port {sockets.port + 1}\nallow out tcp to port {sockets.port}\n")
    assert grace.ingress(sockets.coming("A")).reason == "no_flow"
    assert grace.egress(sockets.going("A")).reason == "no_flow"
    assert list(grace.flows()) == []


@FAMILIES
def test_refused_segment_counts_for_no_rule(grace: PacketPath, sockets: Sockets) -> None:
    (rule,) = grace.policy(CLOSED + f"drop in tcp to port {sockets.port} log\n").rules
    before = grace.rule_counter(rule.counter).packets
    assert grace.ingress(sockets.coming("A")).reason == "no_flow"
    assert grace.rule_counter(rule.counter).packets == before
    assert grace.events()[-1].rule == 0


@FAMILIES
@pytest.mark.parametrize("offset_s", [-1, -100])
def test_after_the_grace_time(path: PacketPath, ends: Ends, offset_s: int) -> None:
    path.control(grace_until_j=clock.now_j() + offset_s * clock.hz())
    path.policy(OWN + "default in allow\ndefault out allow\ndefault forward allow\n")
    with connection(ends.us, lan_address(ends)) as sockets:
        assert path.ingress(sockets.coming("A")).reason == "no_flow"
        assert path.egress(sockets.going("A")).reason == "no_flow"


@FAMILIES
@pytest.mark.parametrize("flags", ["R", "RA", "SA"])
def test_resets_and_answers_to_a_syn_open_nothing(grace: PacketPath, sockets: Sockets, flags: str) -> None:
    grace.policy(OWN + "default in allow\ndefault out allow\n")
    assert grace.ingress(sockets.coming(flags)).reason == "no_flow"
    assert grace.egress(sockets.going(flags)).reason == "no_flow"
    assert list(grace.flows()) == []


@FAMILIES
def test_scanner_finds_nothing_though_all_is_allowed(grace: PacketPath, sockets: Sockets, ends: Ends) -> None:
    """Closed ports, listening ones, and a connected one under another address or port."""
    grace.policy(OWN + "default in allow\ndefault out drop\n")
    scans = [
        ip(ends.them, ends.us, tcp(4000, 81, "A")),
        ip(ends.them, ends.us, tcp(4000, sockets.port, "A")),
        ip(sockets.them, ends.us, tcp(sockets.their_port ^ 1, sockets.port, "A")),
        ip(sockets.them, ends.us, tcp(sockets.their_port, sockets.port ^ 1, "A")),
        ip(ends.them, ends.us, tcp(sockets.their_port, sockets.port, "A")),
    ]
    for scan in scans:
        for flags in MIDSTREAM:
            frame = eth(scan)
            assert grace.ingress(frame).reason == "no_flow", flags
    assert list(grace.flows()) == []


@FAMILIES
def test_socket_that_has_closed(grace: PacketPath, ends: Ends) -> None:
    grace.policy(OWN + "default in allow\n")
    with connection(ends.us, lan_address(ends)) as sockets:
        pass
    assert grace.ingress(sockets.coming("A")).reason == "no_flow"
    assert list(grace.flows()) == []


def test_ipv4_connection_of_a_socket_for_both_families(grace: PacketPath) -> None:
    """As sshd listens: the socket is of IPv6, its peer has an IPv4 address."""
    grace.policy(CLOSED + "allow in tcp\n")
    with connection(V4.us, lan_address(V4), listen_on="::") as sockets:
        assert grace.ingress(sockets.coming("PA")).reason == "pickup"


@FAMILIES
def test_other_protocols_are_not_taken_over(grace: PacketPath, ends: Ends) -> None:
    grace.policy(CLOSED + "allow out udp\nallow out icmp, icmp6\n")
    assert grace.ingress(ends.arriving(udp(53, 5000))).reason == "default_drop"
    assert grace.ingress(ends.arriving(ends.echo(ECHO_REPLY))).reason == "no_flow"


@FAMILIES
def test_forwarded_from_the_near_end(grace: PacketPath, ends: Ends) -> None:
    grace.policy(CLOSED + "allow forward on lan via wan\n")
    assert grace.ingress(eth(ip(ends.inside, ends.them, tcp(5000, 80, "PA"))), on="lan").reason == "pickup"
    _, _, flow = grace.the_flow()
    assert flow.scope == abi.Scope.SCOPE_FORWARD
    assert grace.ingress(eth(ip(ends.them, ends.inside, tcp(80, 5000, "A"))), on="wan").reason == "flow"
    assert grace.the_flow()[0] == "flows"


@FAMILIES
@pytest.mark.parametrize("may", [0, 1], ids=["conntrack told", "conntrack could not tell"])
def test_forwarded_from_the_far_end(grace: PacketPath, ends: Ends, may: int) -> None:
    """Where conntrack has told all forwarded connections, what it has not told of is a scanner's."""
    grace.policy(CLOSED + "allow forward on lan via wan\n")
    grace.control(grace_forward=may)
    frame = eth(ip(ends.them, ends.inside, tcp(80, 5000, "A")))
    assert grace.ingress(frame, on="wan").reason == ("pickup" if may else "no_flow")
    if may:
        assert opener_is(grace, ends.inside)
        assert grace.ingress(eth(ip(ends.inside, ends.them, tcp(5000, 80, "A"))), on="lan").reason == "flow"
    else:
        assert list(grace.flows()) == []


@FAMILIES
def test_forwarded_though_the_rules_allow_neither_end(grace: PacketPath, ends: Ends) -> None:
    grace.policy(CLOSED + "allow forward on lan via wan tcp to port 443\n")
    grace.control(grace_forward=1)
    assert grace.ingress(eth(ip(ends.them, ends.inside, tcp(80, 5000, "A"))), on="wan").reason == "no_flow"
    assert grace.ingress(eth(ip(ends.inside, ends.them, tcp(5000, 80, "A"))), on="lan").reason == "no_flow"


@FAMILIES
def test_forwarded_where_only_the_way_out_is_protected(grace: PacketPath, ends: Ends) -> None:
    grace.policy(CLOSED + "allow forward via wan\n")
    grace.ifindex["open"] = 7100
    frame = eth(ip(ends.inside, ends.them, tcp(5000, 80, "PA")))
    assert grace.egress(frame, came_by="open", tc_index=0).reason == "pickup"
    assert grace.ingress(eth(ip(ends.them, ends.inside, tcp(80, 5000, "A"))), on="wan").reason == "flow"


@FAMILIES
def test_change_of_rules_reaches_it(grace: PacketPath, our_sockets: Sockets) -> None:
    """From the end that opened it, as far as the rules could tell."""
    allowed = CLOSED + f"allow out tcp to port {our_sockets.their_port}\n"
    grace.policy(allowed)
    grace.ingress(our_sockets.coming("PA"))
    grace.policy(allowed + "allow in udp\n")
    assert grace.ingress(our_sockets.coming("PA")).reason == "flow"
    grace.policy(CLOSED + f"allow out tcp to port {our_sockets.port}\n")
    assert grace.ingress(our_sockets.coming("PA")).reason == "revoked"


def test_numbers_are_not_held_against_it(grace: PacketPath) -> None:
    """They are not known until both sides were seen."""
    grace.policy(CLOSED + "allow forward on lan via wan\n")
    near, far = (V4.inside, V4.them), (V4.them, V4.inside)
    for seq in (4_000_000_000, 1, 2_000_000_000):
        assert grace.ingress(eth(ip(*near, tcp(5000, 80, "PA", seq=seq))), on="lan").passed
    assert grace.ingress(eth(ip(*far, tcp(80, 5000, "PA", seq=77, ack=3))), on="wan").reason == "flow"


def test_syn_opens_by_the_rules_in_the_grace_time_as_ever(grace: PacketPath) -> None:
    grace.policy(CLOSED + "allow in tcp to port 22\n")
    assert grace.ingress(V4.arriving(tcp(4000, 22))).reason == "rule_allow"
    assert grace.ingress(V4.arriving(tcp(4000, 23))).reason == "default_drop"
