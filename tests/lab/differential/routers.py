# SPDX-License-Identifier: MIT
"""Two routers of one shape, the wires into them, and what comes out of them.

            n0 ── lan0   nft   wan0 ── n1
     ends                                    clients live behind n0 and f0, servers behind n1 and f1
            f0 ── lan0   fw    wan0 ── f1

A frame that is sent has been forwarded or dropped when the call returns or shortly after, on one processor
in the order of the calls, so the routers see the same order whatever the wire. Behind each batch follows a
packet that every policy allows; once it has come out, so has all that went before. The process stays on that
processor while the routers are there: to move for each batch, to one that may be busy, takes longer than the batch.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from firewall.bindings import libc
from tests.lab.attachment import protect
from tests.lab.differential.talk import (
    CLIENT,
    ENDS_MAC,
    ROUTER_MAC,
    SERVER,
    VNET,
    Datagram,
    Ends,
    Packet,
)
from tests.lab.host import Host
from tests.lab.lab import Lab

NFT, FW = 0, 1
MTU = 9000
BATCH = 200  # packets between two marks: fewer than net.core.netdev_max_backlog
PATIENCE_S = 60.0

TCP_PORT, UDP_PORT = 443, 53

NFT_RULES = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        EXTRA
        ct state invalid drop
        ct state established,related accept
        ct state new iifname "lan0" oifname "wan0" tcp dport 443 accept
        ct state new iifname "lan0" oifname "wan0" udp dport 53 accept
        ct state new iifname "lan0" oifname "wan0" icmp type echo-request accept
        ct state new iifname "lan0" oifname "wan0" icmpv6 type echo-request accept
    }
}
"""
FW_RULES = """
default in drop
default forward drop
default out allow
option load.grace 0s
option flows.max 1048576
option ip.options pass
option fragments.early drop
allow forward on lan0 via wan0 tcp to port 443
allow forward on lan0 via wan0 udp to port 53
allow forward on lan0 via wan0 icmp, icmp6 icmp-type echo-request
"""
SYSCTLS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv6/auto_flowlabels": 0,
    "net/ipv4/conf/all/send_redirects": 0,
}
CONNTRACK = {
    "netfilter/nf_conntrack_tcp_loose": 0,
    "netfilter/nf_conntrack_tcp_be_liberal": 0,
}
ROOM_FOR_FRAGMENTS = ("ipv4/ipfrag_high_thresh", "netfilter/nf_conntrack_frag6_high_thresh")
"""Bytes. What is not whole waits for half a minute, and in a long run there is much of it."""

_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_QDISC_BYPASS, _PACKET_IGNORE_OUTGOING = 263, 15, 20, 23
_SO_RCVBUFFORCE = 33
_ETH_P_ALL = 3
_ROOM = 96  # bytes of a frame that are looked at
_ROUTERS = {socket.inet_aton(f"192.168.{side}.1") for side in (0, 1)}
_MARK_ENDS = Ends(0, 4, (9, UDP_PORT))
_MARK = Datagram(side=CLIENT, why="mark")
_MARK_TO = bytes.fromhex(ENDS_MAC[SERVER])
_MARK_PORTS = b"".join(port.to_bytes(2, "big") for port in _MARK_ENDS.ports)
_FOUR, _SIX = b"\x08\x00", b"\x86\xdd"


def own_processor() -> int:
    """One for this process alone: of several workers of pytest each has another, if there are so many."""
    processors = sorted(os.sched_getaffinity(0))
    worker = os.environ.get("PYTEST_XDIST_WORKER")  # gw0, gw1 ...
    return processors[int(worker[2:]) % len(processors)] if worker else random.choice(processors)


class NoConntrack(Exception):
    """There is nothing here to compare with; says what is missing."""


def no_conntrack(host: Host) -> str | None:
    """What keeps a host from filtering by nftables and conntrack, in one line; None if nothing does."""
    if shutil.which("nft") is None:
        return "nft is not installed"
    table = "table inet probe { chain c { type filter hook forward priority 0; ct state new accept; }; }"
    done = host.run("nft -f -", input=table + "\ndelete table inet probe\n", check=False)
    return f"this kernel cannot do it ({done.stderr.splitlines()[0]})" if done.returncode else None


class Routers(Lab):
    """The laboratory. `protected` are the interfaces of the fw router that fw is loaded on."""

    def __init__(
        self,
        protected: Sequence[str] = ("lan0", "wan0"),
        nft_extra: str = "",
        conntrack: dict[str, int] | None = None,
        fw_extra: str = "",
    ) -> None:
        super().__init__()
        self.protected = protected
        self.rules = NFT_RULES.replace("EXTRA", nft_extra)
        self.policy = FW_RULES + fw_extra
        self.conntrack = CONNTRACK | (conntrack or {})
        self.processors = os.sched_getaffinity(0)

    def build(self) -> None:
        self.ends = self.host("ends")
        self.ends.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
        self.nft, self.fw = self.host("nft"), self.host("fw")
        for router, letter in ((self.nft, "n"), (self.fw, "f")):
            self._wire(router, letter)
        if (nothing := no_conntrack(self.nft)) is not None:
            raise NoConntrack(nothing)
        self.nft.run("nft -f -", input=self.rules)
        for name, value in self.conntrack.items():
            self.nft.sysctl(f"net/{name}", value)
        for name in ROOM_FOR_FRAGMENTS:
            with suppress(OSError):  # Linux 5.10 lets the second only be lowered; a short run needs no more
                self.nft.sysctl(f"net/{name}", 1 << 28)
        protect(self.fw, self.policy, *self.protected)
        self.wires = [[self._socket(f"{letter}{side}") for side in (0, 1)] for letter in "nf"]
        self.tag = 0
        os.sched_setaffinity(0, {own_processor()})

    def _wire(self, router: Host, letter: str) -> None:
        for name, value in SYSCTLS.items():
            router.sysctl(name, value)
        nets = (("10.0.0.0/8", "2001:db8::/33"), ("198.18.0.0/15", "2001:db8:8000::/33"))
        for side, name in enumerate(("lan0", "wan0")):
            self.link(self.ends, f"{letter}{side}", router, name, f"mtu {MTU}")
            macs = [
                ":".join(m[i : i + 2] for i in range(0, 12, 2)) for m in (ENDS_MAC[side], ROUTER_MAC[side])
            ]
            self.ends.ip(f"link set {letter}{side} address {macs[0]}")
            router.ip(f"link set {name} mtu {MTU} address {macs[1]}")
            self.address(router, name, f"192.168.{side}.1/24", f"fd00:{side}::1/64")
            router.ip(
                f"neigh replace 192.168.{side}.2 lladdr {macs[0]} dev {name}",
                f"neigh replace fd00:{side}::2 lladdr {macs[0]} dev {name}",
                f"route add {nets[side][0]} via 192.168.{side}.2",
                f"route add {nets[side][1]} via fd00:{side}::2",
            )
        router.await_links()

    def _socket(self, interface: str) -> socket.socket:
        """A packet socket in the namespace of the ends: this process is not moved, a thread of it is."""
        made: list[socket.socket] = []

        def make() -> None:
            with open(f"/run/netns/{self.ends.netns}", "rb") as namespace:
                libc.setns(namespace.fileno(), libc.CLONE_NEWNET)
            made.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        wire = made[0]
        wire.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 26)
        for option in (_PACKET_IGNORE_OUTGOING, _PACKET_VNET_HDR, _PACKET_QDISC_BYPASS):
            wire.setsockopt(_SOL_PACKET, option, 1)
        wire.bind((interface, _ETH_P_ALL))
        wire.setblocking(False)
        return wire

    def exchange(self, talk: Sequence[tuple[Ends, Packet]]) -> tuple[list[bool], list[bool]]:
        """Send these packets, in this order; for each router (NFT, FW), which of them came through."""
        verdicts: tuple[list[bool], list[bool]] = ([], [])
        for start in range(0, len(talk), BATCH):
            for router, came in enumerate(self._batch(talk[start : start + BATCH])):
                verdicts[router].extend(came)
        return verdicts

    def _batch(self, talk: Sequence[tuple[Ends, Packet]]) -> Iterable[list[bool]]:
        (nft_client, nft_server), (fw_client, fw_server) = self.wires
        senders = ((nft_client.send, fw_client.send), (nft_server.send, fw_server.send))
        first = self.tag = self.tag % 0xFF00 + 1
        tag = first
        for ends, packet in talk:
            to_nft, to_fw = senders[packet.side]
            for frame in packet.frames(ends, tag):
                to_nft(frame)
                to_fw(frame)
            tag += 1
        self.tag = tag
        self._mark()
        return [self._came(router, talk, first) for router in self.wires]

    def _mark(self) -> None:
        """Send what every policy allows, with tag 0, the last packet of a batch."""
        (frame,) = _MARK.frames(_MARK_ENDS, 0)
        for router in self.wires:
            router[CLIENT].send(frame)

    def _came(
        self, router: list[socket.socket], talk: Sequence[tuple[Ends, Packet]], first: int
    ) -> list[bool]:
        """Which packets have come out at the far side of this router, once the mark has."""
        frames: list[list[bytes] | None] = [None] * len(talk)
        marked = self._read(router[SERVER], frames, first, talk, CLIENT)
        deadline = time.monotonic() + PATIENCE_S
        while not marked:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"a packet that every policy allows did not come through in {PATIENCE_S} s"
                )
            select.select([router[SERVER]], [], [], 1.0)
            marked = self._read(router[SERVER], frames, first, talk, CLIENT)
        self._read(router[CLIENT], frames, first, talk, SERVER)
        return [
            got is not None and packet.arrived(ends, got)
            for got, (ends, packet) in zip(frames, talk, strict=True)
        ]

    @staticmethod
    def _read(
        wire: socket.socket,
        frames: list[list[bytes] | None],
        first: int,
        talk: Sequence[tuple[Ends, Packet]],
        sender: int,
    ) -> bool:
        """Sort what has come by its tag. True if the mark is among it, which is the last then."""
        receive, count = wire.recv, len(frames)
        while True:
            try:
                frame = receive(_ROOM)[len(VNET) :]
            except BlockingIOError:
                return False
            if frame[12:14] == _FOUR:
                tag = frame[18] << 8 | frame[19]
                if frame[26:30] in _ROUTERS:
                    continue
            elif frame[12:14] == _SIX:
                tag = int.from_bytes(frame[14:18], "big") & 0xFFFFF
            else:
                continue
            at = tag - first
            if 0 <= at < count:
                if talk[at][1].side == sender:
                    got = frames[at]
                    if got is None:
                        frames[at] = [frame]
                    else:
                        got.append(frame)
            elif not tag and frame[:6] == _MARK_TO and frame[34:38] == _MARK_PORTS:
                return True

    def close(self) -> None:
        os.sched_setaffinity(0, self.processors)
        for router in getattr(self, "wires", []):
            for wire in router:
                wire.close()
        super().close()
