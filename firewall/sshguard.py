# SPDX-License-Identifier: MIT
"""Keeps a change from cutting the connection that it is typed into.

The caller's connection is one that came in from elsewhere and whose socket an ancestor of ours holds; under
tmux, cron or a console there is none, and then every live ssh connection counts. SSH_CONNECTION is not asked:
it survives in shells that outlive their connection, and sudo takes it away.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from firewall.clock import now
from firewall.errors import NeedsYes
from firewall.evaluate import Membership, Question, evaluate
from firewall.links import Link
from firewall.live import TCP, Ends, original
from firewall.policy import Policy
from firewall.routes import Routes
from firewall.sockets import (
    SSH_SERVERS,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    TcpSocket,
    ancestors,
    command,
    processes,
    socket_inodes,
    tcp_sockets,
)


class Cut(NamedTuple):
    """A connection that a policy would end, and what in the policy does it: a rule, by its position, or a default."""

    connection: TcpSocket
    interface: str
    by: str
    position: int | None

    def __str__(self) -> str:
        return f"your connection from {self.connection.remote} (on {self.interface}, by '{self.by}')"

    def spared(self) -> str:
        """The warning where the connection goes on nevertheless."""
        return f"this spares {self}, but you could not connect again"


def guard(
    policy: Policy, protected: Collection[str], links: Iterable[Link], member: Membership | None = None
) -> None:
    """Raises NeedsYes if the caller's connection would not outlive `policy`, enforced on the interfaces `protected`.

    `member` tells what is in the policy's sets; without it they have what its lines list.
    """
    cuts = cuts_by(policy, protected, links, member)
    if cuts:
        more = f", and {len(cuts) - 1} more" if len(cuts) > 1 else ""
        port = cuts[0].connection.local_port
        hint = f"put 'allow in tcp to port {port} from {cuts[0].connection.remote}' first, or give --yes"
        raise NeedsYes(f"this would cut {cuts[0]}{more}", hint)


def cuts_by(
    policy: Policy, protected: Collection[str], links: Iterable[Link], member: Membership | None = None
) -> list[Cut]:
    """The caller's connections that would not outlive `policy`, enforced on the interfaces `protected`."""
    with Routes() as routes:
        return find_cuts(policy, caller_connections(), protected, arrivals(links, routes), member)


def arrivals(links: Iterable[Link], routes: Routes) -> Callable[[TcpSocket], list[str]]:
    """What tells at which interfaces the packets of a connection may arrive."""
    names = {link.ifindex: link.name for link in links}

    def interfaces_of(connection: TcpSocket) -> list[str]:
        # Packets come in where the address is, or from where the answers go to.
        ways = {routes.owner(connection.local), routes.way_to(connection.remote)}
        return [names[way] for way in sorted(ways) if way in names]

    return interfaces_of


def find_cuts(
    policy: Policy,
    connections: Iterable[TcpSocket],
    protected: Collection[str],
    interfaces_of: Callable[[TcpSocket], Iterable[str]],
    member: Membership | None = None,
) -> list[Cut]:
    """Those of the connections, all opened by their remote end, that the policy does not allow at this time.

    A rule that lets in by more than both ends, such as `mac`, is taken for one that does not: it holds for a running
    connection only if that one began by it.
    `interfaces_of` tells at which interfaces the packets of a connection may arrive.
    """
    moment = now()

    def cut_at(connection: TcpSocket, interface: str) -> Cut | None:
        question = Question(
            scope="in",
            proto=TCP,
            src=connection.remote,
            dst=connection.local,
            sport=connection.remote_port,
            dport=connection.local_port,
            on=interface,
            when_s=moment.wall_ns / 1e9,
            synced=moment.synced,
            anew=True,
        )
        answer = evaluate(policy, question, member)
        if answer.action == "allow":
            return None
        by = str(answer.rule) if answer.rule else f"default in {answer.action}"
        return Cut(connection, interface, by, answer.position)

    return first_cuts(connections, protected, interfaces_of, cut_at)


def first_cuts(
    connections: Iterable[TcpSocket],
    protected: Collection[str],
    interfaces_of: Callable[[TcpSocket], Iterable[str]],
    cut_at: Callable[[TcpSocket, str], Cut | None],
) -> list[Cut]:
    """Of each connection, the first cut at the protected interfaces where its packets may arrive."""
    found = []
    for connection in connections:
        names = filter(protected.__contains__, interfaces_of(connection))
        cut = next(filter(None, (cut_at(connection, name) for name in names)), None)
        if cut:
            found.append(cut)
    return found


def caller_connections() -> list[TcpSocket]:
    """The connections that the caller works through; where there is none, every live ssh connection.

    They are as on the wire, where rules see them: the host may translate what comes, as nft does by `redirect`.
    """
    sockets = list(tcp_sockets(TCP_ESTABLISHED, TCP_LISTEN))
    established = {s.inode: s for s in sockets if s.state == TCP_ESTABLISHED and not s.remote.is_loopback}
    if not established:
        return []
    listeners = [s for s in sockets if s.state == TCP_LISTEN]
    own = [s for pid in ancestors(os.getppid()) for s in _came_in(pid, established, listeners)]
    if not own:
        own = [s for pid in processes(SSH_SERVERS) for s in _came_in(pid, established, listeners)]
    return [_on_the_wire(one) for one in dict.fromkeys(own)]


def _on_the_wire(one: TcpSocket) -> TcpSocket:
    answer = Ends(TCP, one.local, one.local_port, one.remote, one.remote_port)
    sent = original(answer) or answer.reversed()
    return TcpSocket(one.inode, one.state, sent.dst, sent.dport, sent.src, sent.sport)


def _came_in(
    pid: int, established: Mapping[int, TcpSocket], listeners: Iterable[TcpSocket]
) -> list[TcpSocket]:
    """The connections of a process that somebody came by.

    An ssh server has others: what it opens itself for `ssh -L`, and what comes to the ports at which it listens itself,
    as a session's process does for `ssh -R` alone. If nobody else listens any more at any of its ports, all count.
    """
    inodes = socket_inodes(pid)
    held = [established[inode] for inode in sorted(inodes & established.keys())]
    if not held:
        return []
    if command(pid) not in SSH_SERVERS:
        # What an ancestor opened itself, such as a download, is not the way that the caller came.
        ports = {s.local_port for s in listeners}
        return [s for s in held if s.local_port in ports]
    ports = {s.local_port for s in listeners if s.inode not in inodes}
    return [s for s in held if s.local_port in ports] or held
