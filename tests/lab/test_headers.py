# SPDX-License-Identifier: MIT
"""Options and extension headers as real kernels send and read them. fw is on the server's only interface.

client eth0 ───────────── eth0 server (fw)
"""

from __future__ import annotations

from tests import packets as p
from tests.lab.attachment import protect, reasons
from tests.lab.conftest import address
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.traffic import pings
from tests.lab.wait import until

PING = """
    default in drop
    default out allow
    allow in icmp, icmp6 icmp-type echo-request
"""
GROUPS = {"ipv4": "239.1.2.3/32", "ipv6": "ff05::1:3/128"}


def test_a_host_joins_groups(pair: PairLab, family: str, attach: str) -> None:
    """Its reports carry a router alert, out of the server and into it."""
    protect(pair.server, "default in drop\ndefault out drop", "eth0", attach=attach)
    reason = {"ipv4": "builtin_igmp", "ipv6": "builtin_mld"}[family]

    def joins(host: Host) -> None:
        before = reasons(pair.server)[reason]
        host.ip(f"addr add {GROUPS[family]} dev eth0 autojoin")
        until(lambda: reasons(pair.server)[reason] > before, what="a report")

    for host in pair.hosts:
        joins(host)
    assert reasons(pair.server)["ip_options"] == 0


def test_what_the_stack_would_have_answered(pair: PairLab, family: str) -> None:
    """The server answers an echo request with options; with fw before it, only where its policy says so."""
    client, server = address(pair.client, family), address(pair.server, family)
    assert pings(pair.client, server)
    echo = p.icmp6(ident=77, payload=bytes(8)) if family == "ipv6" else p.icmp(ident=77, payload=bytes(8))
    if family == "ipv6":
        request = p.ipv6(client, server, echo, ext=[p.options_header(p.DEST_OPTIONS, b"\x1e\x02ab")])
    else:
        request = p.ipv4(client, server, echo, options=b"\x07\x07\x04" + bytes(4))
    wire = pair.client.wire("eth0")

    def send() -> None:
        wire.send_to(pair.server.macs["eth0"], request)

    send()
    wire.catch(lambda packet: packet.src == server and packet.icmp_type in (0, 129))
    protect(pair.server, PING, "eth0")
    send()
    until(lambda: reasons(pair.server)["ip_options"] == 1, what="the drop")
    pair.server.fw("option", "ip.options", "pass")
    send()
    wire.catch(lambda packet: packet.src == server and packet.icmp_type in (0, 129))
