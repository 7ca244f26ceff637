# SPDX-License-Identifier: MIT
"""What flows are made of the kernel's own connections: ends, way, and what the host translates."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from firewall import abi
from firewall.flowkey import flow_key
from firewall.interfaces import Known
from firewall.live import Connection, Ends, Tags, Tracked
from firewall.seed import Finder, Seed, Way, entry
from firewall.sockets import Address

IN, OUT, FORWARD = abi.Scope.SCOPE_IN, abi.Scope.SCOPE_OUT, abi.Scope.SCOPE_FORWARD
TRANSLATED, PARENT = abi.FlowFlags.FLOW_TRANSLATED, abi.FlowFlags.FLOW_PARENT
SEEN, WSCALE = abi.SideFlags.SIDE_SEEN, abi.SideFlags.SIDE_WSCALE
TCP, UDP, SCTP = 6, 17, 132
LO, LAN, WAN, SPARE, BLUE = 1, 2, 3, 4, 5
PROTECTED = abi.IfaceFlags.IFACE_PROTECTED


class FakeRoutes:
    """A router: 10.0.0.0/24 is behind LAN, all else behind WAN; four addresses are its own."""

    def owner(self, address: Address) -> int:
        return {"10.0.0.1": LAN, "203.0.113.1": WAN, "192.0.2.1": LO, "fe80::1": WAN}.get(str(address), 0)

    def way_to(self, address: Address, vrf: int = 0) -> int:
        if vrf == BLUE:
            return SPARE
        return LAN if str(address).startswith("10.0.0.") else WAN


def known(*protected: int) -> dict[int, Known]:
    names = {LO: "lo", LAN: "lan0", WAN: "wan0", SPARE: "spare"}
    found = {
        i: Known(name, i + 10 if i in protected else 0, i, 0, PROTECTED if i in protected else 0)
        for i, name in names.items()
    }
    return {**found, BLUE: Known("blue", 0, BLUE, BLUE, abi.IfaceFlags.IFACE_VRF)}


def finder(*protected: int) -> Finder:
    return Finder(FakeRoutes(), known(*protected))  # type: ignore[arg-type]


def ends(src: str, sport: int, dst: str, dport: int, proto: int = TCP) -> Ends:
    return Ends(proto, ip_address(src), sport, ip_address(dst), dport)


def of_sockets(*connections: Connection, protected: tuple[int, ...] = (LAN, WAN)) -> list[Seed]:
    return list(finder(*protected).of_sockets(connections))


def of_conntrack(one: Tracked, *protected: int, sockets_known: bool = True) -> list[Seed]:
    return list(finder(*protected).of_conntrack([one], sockets_known))


def test_an_accepted_connection_came_in() -> None:
    one = ends("198.51.100.7", 50000, "203.0.113.1", 22)
    assert of_sockets(Connection(one, 0)) == [Seed(one, Way(IN, WAN, 0))]


def test_an_own_connection_goes_out() -> None:
    one = ends("10.0.0.1", 50000, "10.0.0.9", 80)
    assert of_sockets(Connection(one, 0)) == [Seed(one, Way(OUT, 0, LAN))]


def test_a_bound_socket_says_its_interface() -> None:
    one = ends("fe80::1", 50000, "fe80::9", 80)
    assert of_sockets(Connection(one, LAN)) == [Seed(one, Way(OUT, 0, LAN))]


def test_a_socket_in_a_vrf_goes_by_its_member() -> None:
    one = Connection(ends("10.0.0.1", 50000, "10.0.0.9", 80), BLUE)
    assert of_sockets(one, protected=(SPARE,)) == [Seed(one.ends, Way(OUT, 0, SPARE))]
    assert of_sockets(one, protected=(LAN,)) == []


def test_what_stays_on_this_host_is_no_flow() -> None:
    home = Connection(ends("127.0.0.1", 50000, "127.0.0.1", 80), 0)
    own = Connection(ends("10.0.0.1", 50000, "203.0.113.1", 80), 0)
    assert of_sockets(home, own) == []


def test_what_passes_no_protected_interface_is_no_flow() -> None:
    one = Connection(ends("198.51.100.7", 50000, "203.0.113.1", 22), 0)
    assert of_sockets(one, protected=(LAN,)) == []


def test_of_two_likely_interfaces_the_protected_one_is_taken() -> None:
    """The address is on the one, the way back through the other."""
    one = ends("198.51.100.7", 50000, "10.0.0.1", 22)
    assert of_sockets(Connection(one, 0), protected=(LAN,)) == [Seed(one, Way(IN, LAN, 0))]
    assert of_sockets(Connection(one, 0), protected=(WAN,)) == [Seed(one, Way(IN, WAN, 0))]


THROUGH = ends("10.0.0.9", 50000, "198.51.100.7", 443)


def test_a_forwarded_connection_goes_both_ways() -> None:
    plain = Tracked(THROUGH, THROUGH.reversed(), True, True)
    assert of_conntrack(plain, WAN) == [Seed(THROUGH, Way(FORWARD, LAN, WAN))]
    assert of_conntrack(plain, LAN) == of_conntrack(plain, WAN)
    assert of_conntrack(plain, SPARE) == []


def test_one_that_was_met_halfway_is_turned_to_the_lower_port() -> None:
    plain = Tracked(THROUGH.reversed(), THROUGH, True, False)
    assert of_conntrack(plain, WAN) == [Seed(THROUGH, Way(FORWARD, LAN, WAN))]


def test_tcp_of_this_host_is_left_to_its_sockets() -> None:
    own = ends("203.0.113.1", 50000, "198.51.100.7", 443)
    plain = Tracked(own, own.reversed(), True, True)
    assert of_conntrack(plain, WAN) == []
    assert of_conntrack(plain, WAN, sockets_known=False) == [Seed(own, Way(OUT, 0, WAN))]
    dns = own._replace(proto=UDP)
    unanswered = Tracked(dns, dns.reversed(), False, True)
    assert of_conntrack(unanswered, WAN) == [Seed(dns, Way(OUT, 0, WAN), replied=False)]


MASQUERADED = ends("203.0.113.1", 50001, "198.51.100.7", 443)


def test_masquerade_is_judged_at_ingress_and_followed_at_egress() -> None:
    one = Tracked(THROUGH, MASQUERADED.reversed(), True, True)
    before = Seed(THROUGH, Way(FORWARD, LAN, WAN), True, TRANSLATED)
    after = Seed(MASQUERADED, Way(FORWARD, LAN, WAN), True, TRANSLATED | PARENT, THROUGH)
    assert of_conntrack(one, LAN, WAN) == [before, after]
    assert of_conntrack(one, LAN) == [before]


def test_masquerade_that_only_egress_sees_is_judged_there() -> None:
    one = Tracked(THROUGH, MASQUERADED.reversed(), True, True)
    assert of_conntrack(one, WAN) == [Seed(MASQUERADED, Way(FORWARD, LAN, WAN))]


def test_a_published_port_is_judged_as_delivered_here() -> None:
    asked = ends("198.51.100.7", 50000, "203.0.113.1", 8080)
    reached = ends("198.51.100.7", 50000, "10.0.0.9", 80)
    one = Tracked(asked, reached.reversed(), True, True)
    before = Seed(asked, Way(IN, WAN, 0), True, TRANSLATED)
    after = Seed(reached, Way(IN, WAN, LAN), True, TRANSLATED | PARENT, asked)
    assert of_conntrack(one, WAN) == [before]
    assert of_conntrack(one, LAN, WAN) == [before, after]


def test_a_redirection_to_this_host_never_leaves_it() -> None:
    asked = ends("10.0.0.9", 50000, "198.51.100.7", 80)
    reached = ends("10.0.0.9", 50000, "10.0.0.1", 3128)
    one = Tracked(asked, reached.reversed(), True, True)
    assert of_conntrack(one, LAN, WAN) == [Seed(asked, Way(FORWARD, LAN, WAN))]


def test_what_this_host_sends_is_seen_as_it_leaves() -> None:
    asked = ends("192.0.2.1", 50000, "198.51.100.7", 443)
    one = Tracked(asked, MASQUERADED.reversed(), True, True)
    assert of_conntrack(one, WAN) == [Seed(MASQUERADED, Way(OUT, 0, WAN))]


@pytest.mark.parametrize(
    ("one", "opener_hi"),
    [
        (ends("10.0.0.1", 9, "10.0.0.2", 1), False),
        (ends("10.0.0.2", 1, "10.0.0.1", 9), True),
        (ends("10.0.0.1", 256, "10.0.0.1", 255), True),
        (ends("::2", 1, "::1:0:0:0:0", 1), False),
    ],
)
def test_both_directions_have_one_key(one: Ends, opener_hi: bool) -> None:
    key, found = flow_key(one, 0)
    assert found == opener_hi
    assert flow_key(one.reversed(), 0) == (key, not opener_hi)
    fields = abi.FlowKey.unpack(key)
    low = one.dst if opener_hi else one.src
    assert fields.lo == low.packed.rjust(16, b"\0")
    assert {fields.lo_port, fields.hi_port} == {one.sport, one.dport}
    assert (fields.proto, fields.family, fields.zone) == (TCP, low.version, 0)


def test_a_connection_is_an_open_one_that_no_ruleset_has_judged() -> None:
    one = Seed(THROUGH, Way(FORWARD, LAN, WAN))
    key, value = entry(one, known(LAN, WAN), 1000)
    flow = abi.Flow.unpack(value)
    assert flow.generation == 0 and flow.scope == FORWARD and flow.created_j == 1000
    assert flow.flags == abi.FlowFlags.FLOW_LIBERAL | abi.FlowFlags.FLOW_COUNTED
    tag = 0
    for at in range(0, len(key), 4):
        tag ^= int.from_bytes(key[at : at + 4], "little")
    assert flow.tag == tag
    opener, responder = flow.side
    assert (opener.in_ifindex, opener.out_ifindex, opener.out_slot) == (LAN, WAN, WAN + 10)
    assert opener.flags == SEEN | WSCALE and responder.flags == WSCALE, "the answer's way is learnt"
    assert opener.scale == responder.scale == 14, "what the SYNs agreed on is not known"
    assert opener.state == responder.state == abi.SideState.SIDE_OPEN
    assert opener.seen_j == responder.seen_j == 1000


def test_an_unknown_way_is_left_to_be_learnt() -> None:
    flow = abi.Flow.unpack(entry(Seed(THROUGH, Way(FORWARD, LAN, 0)), known(LAN), 1)[1])
    assert flow.side[0].flags == WSCALE and not flow.side[0].in_ifindex


def test_an_answered_query_is_two_way() -> None:
    query = Seed(THROUGH._replace(proto=UDP), Way(FORWARD, LAN, WAN))
    opener, responder = abi.Flow.unpack(entry(query, known(LAN, WAN), 1)[1]).side
    assert opener.flags == responder.flags == SEEN
    assert (responder.in_ifindex, responder.out_ifindex) == (WAN, LAN)
    assert opener.state == abi.SideState.SIDE_NONE
    unanswered = abi.Flow.unpack(entry(query._replace(replied=False), known(LAN, WAN), 1)[1])
    assert not unanswered.side[1].flags


def test_an_association_has_its_tags() -> None:
    """Each end puts the other's tag into its packets: conntrack tells these."""
    ends_ = THROUGH._replace(proto=SCTP)
    (one,) = of_conntrack(Tracked(ends_, ends_.reversed(), True, True, tags=Tags(0xAA, 0xBB)), WAN)
    flow = abi.Flow.unpack(entry(one, known(LAN, WAN), 1)[1])
    opener, responder = flow.side
    assert (opener.seq_end, opener.ack) == (0xBB, 0xAA) and (responder.seq_end, responder.ack) == (0xAA, 0xBB)
    assert opener.state == responder.state == abi.SideState.SIDE_OPEN
    assert opener.flags == responder.flags == SEEN
    assert flow.flags == abi.FlowFlags.FLOW_COUNTED


def test_a_translated_flow_keeps_what_the_rules_are_asked_of() -> None:
    after = Seed(MASQUERADED, Way(FORWARD, LAN, WAN), True, TRANSLATED | PARENT, THROUGH)
    flow = abi.Flow.unpack(entry(after, known(LAN, WAN), 1)[1])
    assert flow.flags & (TRANSLATED | PARENT) == TRANSLATED | PARENT
    assert flow.parent.src == THROUGH.src.packed.rjust(16, b"\0") and flow.parent.dport == 443


def test_zones_are_the_interface_or_the_vrf() -> None:
    near = ends("fe80::1", 50000, "fe80::9", 80)
    interfaces = known(LAN, WAN)
    key, _ = entry(Seed(near, Way(OUT, 0, WAN)), interfaces, 1)
    assert abi.FlowKey.unpack(key).zone == 0x8000 | WAN + 10
    interfaces[WAN] = interfaces[WAN]._replace(zone=5)
    key, _ = entry(Seed(MASQUERADED, Way(OUT, 0, WAN)), interfaces, 1)
    assert abi.FlowKey.unpack(key).zone == 5
