# SPDX-License-Identifier: MIT
"""Devices that are not plain Ethernet: a tun device, tags in the frame, VLAN devices, WireGuard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import packets as p
from tests.lab.attachment import drops, flows, programs, protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.device import need
from tests.lab.lab import PairLab
from tests.lab.traffic import asks, no_ping, no_tcp, no_udp, pings, reaches
from tests.lab.wait import until

CLOSED = "default in drop\ndefault out allow"


def tunnel(pair: PairLab) -> None:
    """tun0 on both hosts, 10.8.0.1 and 2001:db8:8::1 on the server, ::2 on the client, carried over eth0."""
    script = str(Path(__file__).with_name("tunnel.py"))
    ends = ((pair.server, pair.client, 1), (pair.client, pair.server, 2))
    for host, peer, number in ends:
        process = host.popen([sys.executable, script, "tun0", host.v4, peer.v4, "5555"])
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        host.ip(
            f"addr add 10.8.0.{number}/24 dev tun0",
            f"addr add 2001:db8:8::{number}/64 dev tun0 nodad",
            "link set tun0 up",
        )


def test_a_tun_device_is_protected_like_any_other(pair: PairLab, family: str, attach: str) -> None:
    inner = {"ipv4": ("10.8.0.1", "10.8.0.2"), "ipv6": ("2001:db8:8::1", "2001:db8:8::2")}
    server, client = inner[family]
    tunnel(pair)
    for host in pair.hosts:
        host.listen(7, any_address(family))
        host.udp(7, any_address(family), echo=True)
    assert pings(pair.client, server)

    protect(pair.server, CLOSED + "\nallow in tcp to port 7 on tun0", "tun0", attach=attach)
    assert reaches(pair.server, client, 7) and asks(pair.server, client, 7) and pings(pair.server, client)
    assert reaches(pair.client, server, 7)
    assert no_udp(pair.client, server, 7)
    assert no_ping(pair.client, server)
    assert pings(pair.client, address(pair.server, family)), (
        "eth0, which carries the tunnel, is not protected"
    )


def test_the_carrier_and_the_tunnel_are_both_protected(pair: PairLab, family: str) -> None:
    server = {"ipv4": "10.8.0.1", "ipv6": "2001:db8:8::1"}[family]
    tunnel(pair)
    pair.server.listen(7, any_address(family))
    policy = CLOSED + "\nallow in udp to port 5555 on eth0\nallow in tcp to port 7 on tun0"
    protect(pair.server, policy, "eth0", "tun0")
    assert reaches(pair.client, server, 7)
    assert no_tcp(pair.client, address(pair.server, family), 7)


def test_a_tunnel_that_vanishes_and_returns_leaves_the_rest_alone(pair: PairLab) -> None:
    tunnel(pair)
    protect(pair.server, CLOSED + "\nallow in icmp", "eth0", "tun0")
    pair.server.processes[0].kill()
    pair.server.processes[0].wait()
    until(lambda: "tun0" not in pair.server.run("ip -brief link").stdout, what="tun0 gone")
    assert pings(pair.client, pair.server.v4)
    interfaces = {i["name"]: i["attach"] for i in pair.server.fw_json("status")["interfaces"]}
    assert interfaces["tun0"] == "gone" and interfaces["eth0"] in ("tcx", "clsact")


def test_tags_in_the_frame_are_seen_through(pair: PairLab, family: str, attach: str) -> None:
    """Offloaded tags, tags in the frame and both at once: the packet within is what the rules judge."""
    client, server = address(pair.client, family), address(pair.server, family)
    protect(pair.server, CLOSED + "\nallow in udp to port 53", "eth0", attach=attach)
    wire, to = pair.client.wire("eth0"), pair.server.macs["eth0"]
    open_, closed = p.ip(client, server, p.udp(1000, 53)), p.ip(client, server, p.udp(1000, 54))
    wire.send_to(to, p.vlan(10, closed))
    wire.send_to(to, p.vlan(10, p.vlan(20, closed), tpid=p.ETH_8021AD))
    until(lambda: len(drops(pair.server, dport=54, reason="default_drop")) == 2, what="both drops in the log")
    for frame in (p.vlan(10, open_), p.vlan(10, p.vlan(20, open_), tpid=p.ETH_8021AD)):
        wire.send_to(to, frame)
    until(lambda: sum(flow["packets"] for flow in flows(pair.server, dport=53)) == 2, what="both allowed")


def test_a_priority_tag_changes_nothing(pair: PairLab, family: str) -> None:
    """VLAN 0 is no VLAN: the question reaches the socket, the answer comes back without a tag."""
    client, server = address(pair.client, family), address(pair.server, family)
    pair.server.udp(53, any_address(family), echo=True)
    protect(pair.server, CLOSED + "\nallow in udp to port 53", "eth0")
    wire = pair.client.wire("eth0")
    wire.send_to(pair.server.macs["eth0"], p.vlan(0, p.ip(client, server, p.udp(1000, 53, b"?")), pcp=5))
    assert wire.catch(lambda packet: packet.dport == 1000).payload == b"?"


def test_tags_that_we_send_are_judged_on_the_way_out(pair: PairLab, family: str) -> None:
    client, server = address(pair.client, family), address(pair.server, family)
    protect(pair.server, "default in drop\ndefault out allow\ndrop out udp to port 54", "eth0")
    ear, wire = pair.client.wire("eth0"), pair.server.wire("eth0")
    for port in (54, 53):
        wire.send_to(
            pair.client.macs["eth0"], p.vlan(10, p.vlan(20, p.ip(server, client, p.udp(1000, port))))
        )
    seen = ear.caught(lambda packet: packet.src == server and packet.proto == p.UDP, enough=1)
    assert [(packet.dport, packet.tags) for packet in seen] == [(53, (10, 20))]
    assert reasons(pair.server)["rule_drop"] == 1


def test_frames_that_are_not_ip(pair: PairLab) -> None:
    """What no built-in names is dropped under a reason of its own; LLDP passes until it is switched off."""
    protect(pair.server, CLOSED, "eth0")
    wire = pair.client.wire("eth0")

    def send(ethertype: int) -> None:
        wire.send(p.eth(bytes(46), dst=pair.server.macs["eth0"], ethertype=ethertype))

    send(0x88B5)  # IEEE 802 local experimental
    until(lambda: reasons(pair.server)["not_ip"] == 1, what="the drop")
    send(0x88CC)
    until(lambda: reasons(pair.server)["builtin_lldp"] == 1, what="LLDP passed")
    pair.server.fw("option builtin.lldp off")
    send(0x88CC)
    until(lambda: reasons(pair.server)["not_ip"] == 2, what="LLDP dropped")


@pytest.mark.devices
def test_a_vlan_device_beside_its_parent(pair: PairLab, family: str, attach: str) -> None:
    """eth0 and eth0.10: what is tagged is judged once, on eth0.10, by its own rules."""
    for host, number in ((pair.server, 1), (pair.client, 2)):
        need(host, "vlan id 10", "link eth0")
        host.ip(
            "link add link eth0 name eth0.10 type vlan id 10",
            f"addr add 10.10.0.{number}/24 dev eth0.10",
            f"addr add 2001:db8:10::{number}/64 dev eth0.10 nodad",
            "link set eth0.10 up",
        )
    tagged = {"ipv4": "10.10.0.1", "ipv6": "2001:db8:10::1"}[family]
    pair.server.listen(7, any_address(family))
    protect(pair.server, CLOSED + "\nallow in tcp to port 7 on eth0.10", "eth0", "eth0.10", attach=attach)
    assert reaches(pair.client, tagged, 7)
    assert no_tcp(pair.client, address(pair.server, family), 7)
    (flow,) = flows(pair.server, proto="tcp", dst=tagged)
    assert flow["packets"] < 10, "counted once, not on both devices"


@pytest.mark.devices
def test_wireguard_is_protected(pair: PairLab, attach: str) -> None:
    """The device has no link header; without keys no peer answers, but what goes in is judged."""
    need(pair.server, "wireguard")
    pair.server.ip("link add wg0 type wireguard", "addr add 10.9.0.1/24 dev wg0", "link set wg0 up")
    protect(pair.server, "default in drop\ndefault out drop", "wg0", attach=attach)
    assert all(programs(pair.server, "wg0").values())
    pair.server.udp().send(b"?", ("10.9.0.2", 53))
    until(lambda: drops(pair.server, dst="10.9.0.2", dport=53, scope="out"), what="the drop in the log")
