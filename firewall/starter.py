# SPDX-License-Identifier: MIT
"""The policy that a first `fw load` writes: safe to begin with, open for what the machine is reached by.

`starter_text` is pure; the rest looks at what listens and what the host forwards for.
"""

import os
import re
from collections.abc import Iterable, Sequence

from firewall.links import Link
from firewall.sockets import SSH_SERVERS, TCP_LISTEN, command, processes, socket_inodes, tcp_sockets
from firewall.terms import is_plain_name

# Where systemd looks for ssh.socket and its drop-ins, systemd.unit(5).
_UNIT_DIRS = ("/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/lib/systemd/system")
_SSH_UNITS = ("ssh.socket", "sshd.socket")
_LISTEN_STREAM = re.compile(r"^\s*ListenStream\s*=\s*(?:\S*:)?(\d+)\s*$", re.MULTILINE)


def starter_text(protect: Sequence[str], ssh_ports: Iterable[int], bridges: Sequence[str]) -> str:
    """The text of a starter file.

    `protect` are interface names; `ssh_ports` the ports that must stay open; `bridges` the interfaces behind
    which containers, virtual machines or a LAN are forwarded.
    """
    ports = sorted(set(ssh_ports))
    lines = [
        "# The policy of fw: `fw apply` puts it in force after an edit, fw(8) explains it.",
        "# The first rule that matches decides. Replies and related errors follow their connection.",
        "",
        *(f"protect {name}" for name in protect),
        "",
        "default in drop",
        "default forward drop",
        "default out allow",
        "",
    ]
    if ports:
        lines += ["# sshd listened here when this file was written.", *map(_allow_tcp, ports)]
    else:
        lines += ["# No sshd was found listening when this file was written.", "# " + _allow_tcp(22)]
    if bridges:
        lines += ["", "# This host forwards for what is behind these bridges."]
        lines += [f"allow forward on {bridge} via {name}" for bridge in bridges for name in protect]
    lines += [
        "",
        "# Take the '#' away to answer pings and to serve the web.",
        "# allow in icmp, icmp6 icmp-type echo-request",
        "# allow in tcp to port 80, 443",
    ]
    return "\n".join(lines) + "\n"


def starter_for(protect: Sequence[str], links: Sequence[Link]) -> str:
    """The text of a starter file for this host as it is now."""
    return starter_text(protect, listening_ssh_ports(), forwarding_bridges(links, protect))


def listening_ssh_ports() -> list[int]:
    """The ports, in order, that an ssh server of this network namespace listens on, loopback left out.

    A port that systemd holds for `ssh.socket` counts: sshd is started only when somebody connects.
    """
    ports_by_inode = {s.inode: s.local_port for s in tcp_sockets(TCP_LISTEN) if not s.local.is_loopback}
    if not ports_by_inode:
        return []
    inodes = set().union(*map(socket_inodes, processes(SSH_SERVERS)))
    ports = {port for inode, port in ports_by_inode.items() if inode in inodes}
    if command(1) == "systemd":
        activated = _activated_ssh_ports()
        held = socket_inodes(1) if activated else set()
        ports |= {port for inode, port in ports_by_inode.items() if port in activated and inode in held}
    return sorted(ports)


def forwarding_bridges(links: Sequence[Link], protect: Iterable[str]) -> list[str]:
    """Bridges behind which containers, virtual machines or a LAN are, where the host forwards."""
    if not any(map(_is_on, ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"))):
        return []
    left_out = set(protect)
    names = (link.name for link in links if link.kind == "bridge" and link.name not in left_out)
    return sorted(filter(is_plain_name, names))


def _allow_tcp(port: int) -> str:
    return f"allow in tcp to port {port}"


def _activated_ssh_ports() -> set[int]:
    ports: set[int] = set()
    for directory in _UNIT_DIRS:
        for unit in _SSH_UNITS:
            paths = [f"{directory}/{unit}"]
            drop_ins = f"{directory}/{unit}.d"
            if os.path.isdir(drop_ins):
                paths += [entry.path for entry in os.scandir(drop_ins) if entry.name.endswith(".conf")]
            for path in paths:
                try:
                    with open(path) as file:
                        ports.update(map(int, _LISTEN_STREAM.findall(file.read())))
                except OSError:
                    continue
    return ports


def _is_on(path: str) -> bool:
    try:
        with open(path) as value:
            return value.read().strip() not in ("", "0")
    except OSError:
        return False
