# SPDX-License-Identifier: MIT
"""A router that serves DHCP and DNS to its inner network, and is itself a DHCP client outside.

client ───────── lan0 router wan0 ───────── server
udhcpc            dnsmasq, udhcpc            dnsmasq
"""

from __future__ import annotations

import struct
from pathlib import Path

from tests.lab.attachment import protect, reasons
from tests.lab.host import Host
from tests.lab.lab import RouterLab
from tests.lab.traffic import no_tcp, no_udp, reaches
from tests.lab.wait import until

HOME = """
    default in drop
    default forward drop
    default out allow
    allow in udp to port 67 on lan0
    allow in tcp, udp to port 53 on lan0
    allow forward on lan0 via wan0
"""
LEASED = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route add default via "$router"
"""
ANSWER = "192.0.2.53"
NAME = b"\4test\7example\0"
QUESTION = struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + NAME + struct.pack("!HH", 1, 1)


def dnsmasq(host: Host, interface: str, own: str, first: str, last: str, directory: Path) -> None:
    """DHCP for a range of addresses, and DNS that knows test.example, on one interface."""
    process = host.popen(
        f"dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --no-hosts --no-resolv --no-ping "
        f"--interface={interface} --bind-interfaces --except-interface=lo --address=/test.example/{ANSWER} "
        f"--dhcp-range={first},{last},255.255.255.0,10m --dhcp-option=option:router,{own} "
        f"--dhcp-leasefile={directory}/leases-{host.name} --pid-file={directory}/pid-{host.name}"
    )

    def listening() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"dnsmasq ended: {process.stdout.read() if process.stdout else ''}")
        return ":67" in host.run("ss --no-header --listening --udp --numeric").stdout

    until(listening, what="dnsmasq to listen")


def lease(host: Host, interface: str, directory: Path) -> str:
    """Become a DHCP client; the address that was leased."""
    script = directory / "leased"
    script.write_text(LEASED)
    script.chmod(0o755)
    host.run(f"busybox udhcpc -i {interface} -n -q -f -t 5 -T 1 -s {script}", timeout_s=20)
    (address,) = host.ip_json(f"-4 addr show dev {interface}")[0]["addr_info"]
    return str(address["local"])


def answers(message: bytes) -> bool:
    """Does a DNS message carry the A record of test.example?"""
    return message.endswith(bytes(int(octet) for octet in ANSWER.split(".")))


def test_the_inner_network_is_served(lab: RouterLab, attach: str, tmp_path: Path) -> None:
    """A client without an address gets one, a name, and the way out; outside nobody is served."""
    lab.client.ip("addr flush dev eth0")
    dnsmasq(lab.router, "lan0", lab.router_lan4, "10.0.1.100", "10.0.1.110", tmp_path)
    lab.server.listen(80)
    protect(lab.router, HOME, "lan0", "wan0", attach=attach)

    assert lease(lab.client, "eth0", tmp_path).startswith("10.0.1.1")
    question = lab.client.udp()
    assert answers(question.ask(lab.router_lan4, 53, QUESTION))
    by_tcp = lab.client.connect(lab.router_lan4, 53)
    by_tcp.send(struct.pack("!H", len(QUESTION)) + QUESTION)
    (length,) = struct.unpack("!H", by_tcp.recv(2))
    assert answers(by_tcp.recv(length))
    assert reaches(lab.client, lab.server.v4, 80)

    assert no_udp(lab.server, lab.router_lan4, 53)
    assert no_tcp(lab.server, lab.router_lan4, 53)


def test_a_dhcp_client_behind_a_closed_door_gets_its_lease(
    lab: RouterLab, attach: str, tmp_path: Path
) -> None:
    """The built-in lets the server's answers in; switched off, and nothing else open, no lease comes."""
    lab.router.ip("addr flush dev wan0")
    dnsmasq(lab.server, "eth0", lab.server.v4, "203.0.113.100", "203.0.113.110", tmp_path)
    protect(lab.router, HOME, "wan0", attach=attach)
    assert lease(lab.router, "wan0", tmp_path).startswith("203.0.113.1")
    assert reasons(lab.router)["builtin_dhcp"] >= 2
    lab.router.connect(lab.server.v4, 53).close()

    lab.router.ip("addr flush dev wan0")
    lab.router.fw("option builtin.dhcp off")
    lab.router.fw("default out drop")
    assert (
        lab.router.run("busybox udhcpc -i wan0 -n -q -f -t 2 -T 1 -s /bin/true", check=False).returncode != 0
    )
