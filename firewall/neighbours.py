# SPDX-License-Identifier: MIT
"""Keeps a change from taking ARP or neighbour discovery from the connection that it is typed into.

With `option builtin.arp off`, or `builtin.nd off` and no rules in its place, flows are of no help: in a minute or so
neither end of an Ethernet finds the other any more.
"""

from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv6Address

from firewall.clock import now
from firewall.errors import NeedsYes
from firewall.evaluate import Membership, Question, evaluate
from firewall.links import IFF_NOARP, Link
from firewall.policy import Policy
from firewall.routes import Routes
from firewall.services import ICMP6
from firewall.sockets import Address, TcpSocket
from firewall.sshguard import Cut, arrivals, caller_connections, first_cuts

_BUILTINS = {4: "builtin.arp", 6: "builtin.nd"}
_SOLICITATION, _ADVERTISEMENT = 135, 136  # RFC 4861 sections 4.3 and 4.4
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))  # RFC 4291 section 2.7.1
_ROUTER = IPv6Address("fe80::1")  # as which a router on the link asks


def guard_neighbours(
    policy: Policy,
    protected: Collection[str],
    links: Iterable[Link],
    member: Membership | None = None,
    before: Policy | None = None,
) -> None:
    """Raises NeedsYes if the caller would be lost so, with `policy` enforced on the interfaces `protected`.

    What is lost already by the policy `before`, and lives, has another way.
    """
    links = list(links)
    lost = lost_by(policy, protected, links, member)
    known = (
        {cut.connection for cut in lost_by(before, protected, links, member)} if lost and before else set()
    )
    for cut in lost:
        if cut.connection not in known:
            raise NeedsYes(f"this would cut {cut}", f"leave '{_builtin(cut.connection)}' on, or give --yes")


def lost_by(
    policy: Policy, protected: Collection[str], links: Iterable[Link], member: Membership | None = None
) -> list[Cut]:
    """The caller's connections that would be lost so."""
    if all(policy.options.get(name) != "off" for name in _BUILTINS.values()):
        return []
    links = list(links)
    with Routes() as routes:
        finds = {link.name for link in links if link.has_link_header and not link.flags & IFF_NOARP}
        return find_lost(
            policy, caller_connections(), finds & set(protected), arrivals(links, routes), member
        )


def find_lost(
    policy: Policy,
    connections: Iterable[TcpSocket],
    protected: Collection[str],
    interfaces_of: Callable[[TcpSocket], Iterable[str]],
    member: Membership | None = None,
) -> list[Cut]:
    """Those of the connections, as `find_cuts` has them, whose ends would not find each other."""

    def cut_at(connection: TcpSocket, interface: str) -> Cut | None:
        if not _is_off(policy, connection) or _discovers(policy, connection, interface, member):
            return None
        return Cut(connection, interface, f"option {_builtin(connection)} off", None)

    return first_cuts(connections, protected, interfaces_of, cut_at)


def _builtin(connection: TcpSocket) -> str:
    return _BUILTINS[connection.remote.version]


def _is_off(policy: Policy, connection: TcpSocket) -> bool:
    return policy.options.get(_builtin(connection)) == "off"


def _discovers(policy: Policy, connection: TcpSocket, interface: str, member: Membership | None) -> bool:
    """Whether the rules let both ends ask and answer, be the other one on the link itself or behind a router of it.

    Of ARP no rule can speak.
    """
    us, moment = connection.local, now()
    if us.version == 4:
        return False
    for them in (connection.remote, _ROUTER):
        for scope, src, dst in (("in", them, us), ("out", us, them)):
            for kind, target in ((_SOLICITATION, _solicited_node(dst)), (_ADVERTISEMENT, dst)):
                question = Question(
                    scope=scope,
                    proto=ICMP6,
                    src=src,
                    dst=target,
                    icmp_type=kind,
                    on=interface if scope == "in" else None,
                    via=interface if scope == "out" else None,
                    when_s=moment.wall_ns / 1e9,
                    synced=moment.synced,
                    anew=True,
                )
                if evaluate(policy, question, member).action != "allow":
                    return False
    return True


def _solicited_node(address: Address) -> IPv6Address:
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFFFFFF)
