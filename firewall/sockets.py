# SPDX-License-Identifier: MIT
"""TCP sockets of this network namespace and the processes that hold them, as /proc shows them.

Read for the ssh guard and the starter file, where a few sockets are wanted and pyroute2 would take longer to
import than the whole command may last. Taking over live connections reads inet_diag instead, see
`firewall.seed`.
"""

import os
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

# include/net/tcp_states.h
TCP_ESTABLISHED = 1
TCP_LISTEN = 10

SSH_SERVERS = frozenset(("sshd", "sshd-session", "dropbear"))

Address = IPv4Address | IPv6Address


class TcpSocket(NamedTuple):
    """One socket: `inode` is what /proc/PID/fd links to; IPv4-mapped IPv6 addresses are given as IPv4."""

    inode: int
    state: int
    local: Address
    local_port: int
    remote: Address
    remote_port: int


def tcp_sockets(*states: int) -> Iterator[TcpSocket]:
    """The sockets in these states, of both families, of the caller's network namespace."""
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/self/net/{name}") as table:
                next(table)
                yield from (_socket(line) for line in table if int(line.split(None, 4)[3], 16) in states)
        except FileNotFoundError:  # a kernel without IPv6
            continue


def socket_inodes(pid: int) -> set[int]:
    """Inodes of the sockets that a process holds; none when it is gone or not ours to look into."""
    inodes = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    target = os.readlink(entry.path)
                except OSError:
                    continue
                if target.startswith("socket:["):
                    inodes.add(int(target[8:-1]))
    except OSError:
        pass
    return inodes


def processes(names: frozenset[str]) -> Iterator[int]:
    """Ids of the running processes whose command name is one of `names`."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and command(int(entry)) in names:
            yield int(entry)


def command(pid: int) -> str:
    """A process's command name (15 characters at most); empty when it is gone."""
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return ""


def ancestors(pid: int) -> Iterator[int]:
    """`pid` and its parents, up to the first process of the PID namespace."""
    while pid > 0:
        yield pid
        try:
            with open(f"/proc/{pid}/stat") as stat:
                # proc(5): the command name, in parentheses, may hold any character; state and parent follow.
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            return


def _socket(line: str) -> TcpSocket:
    fields = line.split(None, 10)
    local, local_port = _endpoint(fields[1])
    remote, remote_port = _endpoint(fields[2])
    return TcpSocket(int(fields[9]), int(fields[3], 16), local, local_port, remote, remote_port)


def _endpoint(text: str) -> tuple[Address, int]:
    """`ADDRESS:PORT` in hexadecimal, the address in words of our byte order (net/ipv4/tcp_ipv4.c)."""
    address, _, port = text.partition(":")
    words = [int(address[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(address), 8)]
    if len(words) == 1:
        return IPv4Address(words[0]), int(port, 16)
    wide = IPv6Address(b"".join(words))
    return wide.ipv4_mapped or wide, int(port, 16)
