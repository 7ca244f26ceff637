# SPDX-License-Identifier: MIT
"""Every reason is given to some packet: the shortest story that leads to it."""

from collections.abc import Callable
from typing import Any

import pytest

from firewall import abi, clock
from tests import chunks
from tests.packet.path import ANSWER_MARK, PacketPath, Verdict
from tests.packet.places import add, confirmed_flow
from tests.packets import (
    DEST_OPTIONS,
    HOP_BY_HOP,
    IGMP,
    Layer,
    arp,
    esp,
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
    routing_header,
    sctp,
    tcp,
    udp,
    vlan,
)

US, THEM = "192.0.2.1", "198.51.100.7"
US6, THEM6 = "2001:db8:1::1", "2001:db8:9::7"
LINK_LOCAL = "fe80::1"
PLAIN = "default in drop\nallow in tcp to port 22\ndrop in tcp to port 23\nreject in tcp to port 24\n"

Story = Callable[[PacketPath], Verdict]


def syn(port: int, sport: int = 4000, flags: str = "S", **fields: int) -> Layer:
    return eth(ipv4(THEM, US, tcp(sport, port, flags, **fields)))  # type: ignore[arg-type]


def flow(path: PacketPath) -> Verdict:
    path.ingress(syn(22))
    return path.ingress(syn(22))


def related(path: PacketPath) -> Verdict:
    question = ipv4(US, THEM, udp(5000, 53))
    path.egress(eth(question))
    return path.ingress(eth(ipv4("203.0.113.200", US, icmp_error(question))))


def expected(path: PacketPath) -> Verdict:
    path.egress(eth(ipv4(US, "239.255.255.250", udp(5000, 1900))))
    return path.ingress(eth(ipv4("192.0.2.77", US, udp(3333, 5000))))


def pickup(path: PacketPath) -> Verdict:
    path.control(grace_until_j=clock.now_j() + 1000)
    return path.egress(eth(ipv4(US, THEM, tcp(22, 4000, "A"))))


def fragment(path: PacketPath) -> Verdict:
    whole = ipv4(US, THEM, udp(5000, 53, b"x" * 64))
    first, second = fragments(whole, 40)
    path.egress(eth(first))
    return path.egress(eth(second))


def handed_on(path: PacketPath) -> Verdict:
    path.policy("allow forward on lan via wan\n")
    packet = eth(ipv4("10.0.0.9", THEM, udp(5000, 53)))
    path.ingress(packet, on="lan")
    return path.egress(packet, on="wan", came_by="lan")


def translated(path: PacketPath) -> Verdict:
    path.policy("allow forward on lan via wan\n")
    path.ingress(eth(ipv4("10.0.0.9", THEM, udp(5000, 53))), on="lan")
    return path.egress(eth(ipv4(US, THEM, udp(6000, 53))), on="wan", came_by="lan")


def vlan_device(path: PacketPath) -> Verdict:
    key = abi.VlanKey(ifindex=path.ifindex["wan"], proto=0x8100, vid=10).pack()
    path.maps["vlan_devices"].update(key, b"\1")
    return path.ingress(eth(vlan(10, ipv4(THEM, US, tcp(1, 9)))))


def default_reject(path: PacketPath) -> Verdict:
    path.policy("default in reject\n")
    return path.ingress(syn(9))


def revoked(path: PacketPath) -> Verdict:
    path.ingress(syn(22))
    path.policy("default in drop\n")
    return path.ingress(syn(22))


def bad_handshake(path: PacketPath) -> Verdict:
    path.ingress(syn(22, seq=100))
    return path.egress(eth(ipv4(US, THEM, tcp(22, 4000, "SA", seq=1, ack=999))))


def out_of_window(path: PacketPath) -> Verdict:
    path.ingress(syn(22, seq=100))
    path.egress(eth(ipv4(US, THEM, tcp(22, 4000, "SA", seq=900, ack=101))))
    return path.ingress(syn(22, flags="A", seq=100_000, ack=901))


def bad_tag(path: PacketPath) -> Verdict:
    path.egress(eth(ipv4(US, THEM, sctp(5000, 36412, chunks.init(7)))))
    return path.ingress(eth(ipv4(THEM, US, sctp(36412, 5000, chunks.init_ack(8), tag=9))))


def cut(payload: bytes, proto: int = 17, **fields: Any) -> Layer:
    """A fragment of a packet from them to us."""
    return eth(ipv4(THEM, US, payload, proto=proto, **{"ident": 0x1234} | fields))


def later(at: int, size: int = 8, **fields: Any) -> Layer:
    return cut(bytes(size), frag_offset=at, **fields)


def fragment_unknown(path: PacketPath) -> Verdict:
    path.policy(PLAIN + "option fragments.early drop\n")
    return path.ingress(later(40))


def fragment_flood(path: PacketPath) -> Verdict:
    for ident in range(20_000):  # a slow machine may have earned another token in between
        verdict = path.ingress(later(40, ident=ident))
        if verdict.reason == "fragment_flood":
            break
    return verdict


def fragment_overlap(path: PacketPath) -> Verdict:
    path.ingress(cut(tcp(5000, 22, "S", b"x" * 20), 6, mf=True))
    return path.ingress(later(32, 24, proto=6))


def fragment_gaps(path: PacketPath) -> Verdict:
    for number in range(16):
        path.ingress(later(40 + 16 * number, mf=True))
    return path.ingress(later(400, mf=True))


def truncated(path: PacketPath) -> Verdict:
    return path.ingress(eth(vlan(10, ipv4(THEM, US, tcp(1, 22))))[:30])


def long_chain(path: PacketPath) -> Verdict:
    headers = [options_header(DEST_OPTIONS) for _ in range(9)]
    return path.ingress(eth(ipv6(THEM6, US6, tcp(1, 22), ext=headers)))


def no_policy(path: PacketPath) -> Verdict:
    path.control(generation=0)
    return path.ingress(syn(22))


def table_full(path: PacketPath) -> Verdict:
    path.no_more_openings()
    return path.ingress(syn(22))


def source_limit(path: PacketPath) -> Verdict:
    path.policy("allow in tcp\noption flows.per-source 2\n")
    assert add(path, [confirmed_flow(THEM, port) for port in range(1, 3)]) == 2
    return path.ingress(syn(22))


def over_limit(path: PacketPath) -> Verdict:
    path.policy("allow in tcp limit 1/day\n")
    path.ingress(syn(22))
    return path.ingress(syn(22, sport=4001))


def chain(*headers: Layer) -> Layer:
    return eth(ipv6(THEM6, US6, tcp(1, 22), ext=headers))


def arriving(packet: bytes, mark: int = 0) -> Story:
    return lambda path: path.ingress(packet, mark=mark)


def leaving(packet: bytes) -> Story:
    return lambda path: path.egress(packet)


CUT_CHAIN = [fragment_header(5, more=True), options_header(DEST_OPTIONS, length=9)]
HEADLESS = eth(ipv6(THEM6, US6, bytes(8), proto=17, ext=CUT_CHAIN))
DHCP6_ANSWER = ipv6(LINK_LOCAL, "fe80::2", udp(547, 546))
STP = b"\x01\x80\xc2\x00\x00\x00" + b"\x02\0\0\0\0\1" + b"\x00\x26" + b"\x42\x42\x03" + bytes(35)

STORIES: dict[str, Story] = {
    "flow": flow,
    "related": related,
    "rule_allow": arriving(syn(22)),
    "default_allow": leaving(eth(ipv4(US, THEM, udp(5000, 53)))),
    "expected": expected,
    "pickup": pickup,
    "fragment": fragment,
    "fragment_early": arriving(later(40)),
    "handed_on": handed_on,
    "translated": translated,
    "answer": arriving(syn(9), mark=ANSWER_MARK),
    "vlan_device": vlan_device,
    "builtin_arp": arriving(eth(arp(1, ("02:00:00:00:00:01", THEM), ("00:00:00:00:00:00", US)))),
    "builtin_pppoe": arriving(eth(b"\x11\x09" + bytes(20), ethertype=0x8863)),
    "builtin_eapol": arriving(eth(bytes(20), ethertype=0x888E)),
    "builtin_lldp": arriving(eth(bytes(20), ethertype=0x88CC)),
    "builtin_stp": arriving(STP),
    "builtin_nd": arriving(
        eth(ipv6(LINK_LOCAL, "ff02::1:ff00:1", icmp6(135, payload=bytes(16)), hop_limit=255))
    ),
    "builtin_mld": arriving(eth(ipv6(LINK_LOCAL, "ff02::1", icmp6(130, payload=bytes(16)), hop_limit=1))),
    "builtin_igmp": arriving(eth(ipv4(THEM, "224.0.0.1", bytes(8), proto=IGMP, ttl=1))),
    "builtin_dhcp": arriving(eth(ipv4("192.0.2.254", "255.255.255.255", udp(67, 68)))),
    "builtin_dhcp6": arriving(eth(DHCP6_ANSWER)),
    "rule_drop": arriving(syn(23)),
    "rule_reject": arriving(syn(24)),
    "default_drop": arriving(syn(9)),
    "default_reject": default_reject,
    "revoked": revoked,
    "no_flow": arriving(syn(22, flags="A")),
    "bad_handshake": bad_handshake,
    "out_of_window": out_of_window,
    "bad_tag": bad_tag,
    "unrelated": arriving(eth(ipv4(THEM, US, icmp_error(ipv4(US, THEM, udp(1, 2)))))),
    "fragment_unknown": fragment_unknown,
    "fragment_flood": fragment_flood,
    "fragment_tiny": arriving(cut(bytes(tcp(1, 22))[:16], 6, mf=True)),
    "fragment_headless": arriving(HEADLESS),
    "fragment_hole": arriving(later(8, proto=6)),
    "fragment_overlap": fragment_overlap,
    "fragment_gaps": fragment_gaps,
    "fragment_twice": arriving(chain(fragment_header(5), fragment_header(5))),
    "fragment_length": arriving(later(40, 9, mf=True)),
    "fragment_beyond": arriving(later(65528, 16)),
    "not_ip": arriving(eth(bytes(40), ethertype=0x8847)),
    "truncated": truncated,
    "bad_version": arriving(eth(ipv4(THEM, US, tcp(1, 22), version=5))),
    "bad_header_length": arriving(eth(ipv4(THEM, US, tcp(1, 22), ihl=4))),
    "dishonest_length": arriving(eth(ipv4(THEM, US, tcp(1, 22), total_length=400))),
    "bad_tcp_flags": arriving(syn(22, flags="SF")),
    "bad_chunks": arriving(eth(ipv4(THEM, US, sctp(1, 22, chunks.init(7), chunks.data())))),
    "bad_tunnel": arriving(eth(ipv4(THEM, US, esp(0)))),
    "many_tags": arriving(eth(vlan(1, vlan(2, vlan(3, ipv4(THEM, US, tcp(1, 22))))))),
    "long_chain": long_chain,
    "bad_chain": arriving(chain(options_header(DEST_OPTIONS), options_header(HOP_BY_HOP))),
    "bad_options": arriving(eth(ipv4(THEM, US, tcp(1, 22), options=b"\x07\x09\x04\0"))),
    "ip_options": arriving(eth(ipv4(THEM, US, tcp(1, 22), options=b"\x94\x04\0\0"))),
    "source_route": arriving(eth(ipv4(THEM, US, tcp(1, 22), options=b"\x83\x07\x04" + bytes(4)))),
    "routing_header": arriving(chain(routing_header(0))),
    "jumbogram": arriving(chain(options_header(HOP_BY_HOP, b"\xc2\x04\0\x01\0\0"))),
    "martian": arriving(eth(ipv4("127.0.0.1", US, tcp(1, 22)))),
    "land": arriving(eth(ipv4(US, US, tcp(22, 22)))),
    "spoofed": arriving(eth(ipv4("10.0.0.1", US, tcp(1, 22)))),
    "no_route": arriving(eth(ipv4(THEM, "203.0.113.7", tcp(1, 22)))),
    "table_full": table_full,
    "source_limit": source_limit,
    "over_limit": over_limit,
    "no_policy": no_policy,
}


def test_each_reason_has_its_story() -> None:
    assert set(STORIES) == {reason.name.lower() for reason in abi.Reason} - {"none", "count"}


@pytest.mark.parametrize("reason", STORIES)
def test_reason(path: PacketPath, reason: str) -> None:
    path.policy(PLAIN)
    verdict = STORIES[reason](path)
    assert verdict.reason == reason
    assert verdict.passed == (abi.Reason[reason.upper()] < abi.Reason.FIRST_DROP)


@pytest.mark.parametrize("reason", STORIES)
def test_observe_mode_passes_everything_and_counts_the_same(path: PacketPath, reason: str) -> None:
    path.policy(PLAIN)
    path.control(mode=abi.Mode.MODE_OBSERVE)
    verdict = STORIES[reason](path)
    assert (verdict.reason, verdict.passed) == (reason, True)


@pytest.mark.parametrize(
    "reason", [name for name in STORIES if abi.Reason[name.upper()] >= abi.Reason.FIRST_DROP]
)
def test_each_drop_is_in_the_journal(path: PacketPath, reason: str) -> None:
    path.policy(PLAIN)
    STORIES[reason](path)
    event = path.events()[-1]
    assert event.reason == abi.Reason[reason.upper()]
    assert event.flags & abi.EventFlags.EVENT_DROP
    assert event.number == event.number_end == len(path.events())


def test_switched_off_builtins_drop_or_ask_the_rules(path: PacketPath) -> None:
    builtins = [name.removeprefix("builtin_") for name in STORIES if name.startswith("builtin_")]
    path.policy(
        "default in reject\ndefault out drop\n" + "".join(f"option builtin.{name} off\n" for name in builtins)
    )
    for name in builtins:
        assert STORIES[f"builtin_{name}"](path).reason in ("not_ip", "default_reject"), name


@pytest.mark.parametrize("hop_limit", [254, 64, 1])
def test_neighbour_discovery_that_was_forwarded_is_not_built_in(path: PacketPath, hop_limit: int) -> None:
    path.policy("default in drop\n")
    packet = ipv6(LINK_LOCAL, "ff02::1:ff00:1", icmp6(135, payload=bytes(16)), hop_limit=hop_limit)
    assert path.ingress(eth(packet)).reason == "default_drop"


def test_echo_request_is_not_built_in(path: PacketPath) -> None:
    path.policy("default in drop\n")
    assert path.ingress(eth(ip(THEM, US, icmp()))).reason == "default_drop"
