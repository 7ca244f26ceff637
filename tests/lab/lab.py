# SPDX-License-Identifier: MIT
"""The laboratory: hosts that are network namespaces, wired by veth pairs, gone when it closes.

    with RouterLab() as lab:
        lab.router.fw("load", "wan0")
        lab.client.ping(lab.server.v4)

Nothing outside the namespaces is touched but their own directories in /etc/netns. A lab whose process was
killed is swept away by the next one that opens.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.host import FW, Host, execute, remove

PREFIX = "fwlab"

_numbers = itertools.count(1)


def sweep() -> None:
    """Remove the namespaces of labs whose process is no more. Names are fwlab-PID-NUMBER-HOST."""
    for name in execute(["ip", "netns", "list"]).stdout.split():
        parts = name.split("-")
        if parts[0] == PREFIX and len(parts) == 4 and not Path("/proc", parts[1]).exists():
            if FW.exists():
                execute([str(FW), "--netns", name, "unload", "--all"], check=False)
            remove(name)


class Lab:
    """An empty laboratory: add hosts, then wire them."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.hosts: list[Host] = []
        self.names: list[str] = []  # of all namespaces that were made, also after closing
        self.links = 0

    def __enter__(self) -> Self:
        sweep()
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def build(self) -> None:
        """Make hosts and links. Topologies override it."""

    def host(self, name: str) -> Host:
        """A new host with nothing but `lo`, which is up."""
        host = Host(name, f"{PREFIX}-{os.getpid()}-{self.number}-{name}")
        self.hosts.append(host)
        self.names.append(host.netns)
        host.ip("link set lo up")
        return host

    def link(self, left: Host, left_name: str, right: Host, right_name: str, options: str = "") -> None:
        """A veth pair between two hosts, both ends up, MACs 02:00:00:00:LINK:1 and :2, without addresses."""
        self.links += 1
        left.macs[left_name] = f"02:00:00:00:{self.links:02x}:01"
        right.macs[right_name] = f"02:00:00:00:{self.links:02x}:02"
        execute(
            f"ip link add {left_name} netns {left.netns} address {left.macs[left_name]} {options} type veth "
            f"peer name {right_name} netns {right.netns} address {right.macs[right_name]}"
        )
        left.ip(f"link set {left_name} up")
        right.ip(f"link set {right_name} up")

    @staticmethod
    def address(host: Host, interface: str, v4: str, v6: str) -> None:
        """Give a host addresses, with prefix lengths; the first ones given are `host.v4` and `host.v6`."""
        host.ip(f"addr add {v4} dev {interface}", f"addr add {v6} dev {interface} nodad")
        host.v4 = host.v4 or v4.split("/")[0]
        host.v6 = host.v6 or v6.split("/")[0]

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # each host is closed, whatever the others do
            for host in self.hosts:
                stack.callback(host.close)
            self.hosts = []


class RouterLab(Lab):
    """Two networks and the router between them. The server may be seen as the Internet.

        client                          router                          server
        eth0 ───────────────────── lan0        wan0 ───────────────────── eth0
        10.0.1.2               10.0.1.1        203.0.113.1         203.0.113.2
        2001:db8:1::2      2001:db8:1::1       2001:db8:2::1     2001:db8:2::2

    `router.v4` and `router.v6` are its addresses outside; `router_lan4` and `router_lan6` those inside.
    """

    client: Host
    router: Host
    server: Host
    router_lan4, router_lan6 = "10.0.1.1", "2001:db8:1::1"

    def build(self) -> None:
        self.client, self.router, self.server = self.host("client"), self.host("router"), self.host("server")
        self.link(self.client, "eth0", self.router, "lan0")
        self.link(self.router, "wan0", self.server, "eth0")
        self.address(self.router, "wan0", "203.0.113.1/24", "2001:db8:2::1/64")
        self.address(self.router, "lan0", f"{self.router_lan4}/24", f"{self.router_lan6}/64")
        self.address(self.client, "eth0", "10.0.1.2/24", "2001:db8:1::2/64")
        self.address(self.server, "eth0", "203.0.113.2/24", "2001:db8:2::2/64")
        self.client.ip(
            f"route add default via {self.router_lan4}", f"route add default via {self.router_lan6}"
        )
        self.server.ip(f"route add default via {self.router.v4}", f"route add default via {self.router.v6}")
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        for host in self.hosts:
            host.await_links()


class PairLab(Lab):
    """Two hosts on one wire.

    client                     server
    eth0 ─────────────────────── eth0
    192.0.2.2               192.0.2.1
    2001:db8::2           2001:db8::1
    """

    client: Host
    server: Host

    def build(self) -> None:
        self.client, self.server = self.host("client"), self.host("server")
        self.link(self.client, "eth0", self.server, "eth0")
        self.address(self.client, "eth0", "192.0.2.2/24", "2001:db8::2/64")
        self.address(self.server, "eth0", "192.0.2.1/24", "2001:db8::1/64")
        for host in self.hosts:
            host.await_links()
