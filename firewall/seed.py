# SPDX-License-Identifier: MIT
"""Takes live connections over when loading: flows for what the kernel's sockets and its conntrack tell of.

A seeded flow has the generation 0, which no ruleset has, so its first packet has it judged by the rules: what they
do not allow ends there. Its sequence numbers are not known, which FLOW_LIBERAL says.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from firewall import abi
from firewall.clock import now_j
from firewall.flowkey import LINK_ZONE, flow_key, key_tag, link_scoped, words
from firewall.interfaces import Known
from firewall.live import (
    SCTP,
    TCP,
    UNKNOWN_SCALES,
    Connection,
    Ends,
    Scales,
    Tags,
    Tracked,
    connections,
    tracked,
)
from firewall.requests import Requests
from firewall.routes import Routes
from firewall.sockets import Address

_IN, _OUT, _FORWARD = abi.Scope.SCOPE_IN, abi.Scope.SCOPE_OUT, abi.Scope.SCOPE_FORWARD
_OPENER_HI, _LIBERAL = abi.FlowFlags.FLOW_OPENER_HI, abi.FlowFlags.FLOW_LIBERAL
_TRANSLATED, _PARENT = abi.FlowFlags.FLOW_TRANSLATED, abi.FlowFlags.FLOW_PARENT


class Way(NamedTuple):
    """How the opener's packets go: interface indexes, 0 for this host; `known` is False if that was not found."""

    scope: abi.Scope
    in_ifindex: int
    out_ifindex: int

    @property
    def known(self) -> bool:
        return bool((self.scope == _OUT or self.in_ifindex) and (self.scope == _IN or self.out_ifindex))


class Seed(NamedTuple):
    """A flow to be made. `parent` is what the rules are asked of instead, where the host translates."""

    ends: Ends
    way: Way
    replied: bool = True
    flags: int = 0
    parent: Ends | None = None
    scales: Scales = UNKNOWN_SCALES
    tags: Tags | None = None


class Seeded(NamedTuple):
    """How many connections were taken over, and whether conntrack could tell of forwarded ones.

    Where no rule asks for it, conntrack tracks nothing new: then it does not know of each of this host's own.
    """

    connections: int
    conntrack: bool


def seed(requests: Requests, known: Mapping[int, Known]) -> Seeded:
    """Adds what the kernel knows and the tables do not. `known` are the interfaces as the packet path knows them."""
    own, forwarded = connections(), tracked()
    with Routes() as routes:
        finder = Finder(routes, known)
        seeds = list(finder.of_sockets(own or ()))
        seeds += finder.of_conntrack(forwarded or (), sockets_known=own is not None)
    when_j = now_j()
    count = 0
    # What was translated is the same connection once more.
    for confirmed in (True, False):
        mine = [one for one in seeds if confirmed == (one.ends.proto == TCP or one.replied)]
        count += requests.add((entry(one, known, when_j) for one in mine if one.parent is None), confirmed)
        requests.add((entry(one, known, when_j) for one in mine if one.parent is not None), confirmed)
    unknown = {one.ends for one in own or () if one.ends.proto == TCP}
    for one in forwarded or ():
        if not unknown:
            break
        unknown -= {end for ends in (one.original, one.reply) for end in (ends, ends.reversed())}
    return Seeded(count, forwarded is not None and not unknown)


class Finder:
    """Finds out which way conversations go, and what flows the packet path would have made of them."""

    def __init__(self, routes: Routes, known: Mapping[int, Known]) -> None:
        self._routes = routes
        self._known = known

    def of_sockets(self, found: Iterable[Connection]) -> Iterator[Seed]:
        """Flows of this host's own connections that go over a protected interface, or nobody knows which."""
        for connection in found:
            ends = connection.ends
            opened_here = not self._is_local(ends.dst)
            local, remote = (ends.src, ends.dst) if opened_here else (ends.dst, ends.src)
            if self._is_local(remote) or remote.is_loopback:
                continue
            ifindex = connection.ifindex or self._arrival(local, remote)
            if self._is_vrf(ifindex):
                ifindex = self._routes.way_to(remote, vrf=ifindex)
            if self._visible(ifindex):
                way = Way(_OUT, 0, ifindex) if opened_here else Way(_IN, ifindex, 0)
                yield Seed(ends, way, scales=connection.scales)

    def of_conntrack(self, found: Iterable[Tracked], sockets_known: bool) -> Iterator[Seed]:
        """Flows of conntrack's entries; TCP of this host is left to its sockets where these are known."""
        for one in found:
            plain = one.reply == one.original.reversed()
            ends = one.original
            if plain and not one.certain and ends.sport < ends.dport:
                ends = ends.reversed()  # the lower port is most likely the server's
            way = self._way(ends)
            if way is None:
                continue
            if not plain:
                yield from self._translated(one, way)
            elif self._passes(way) and (way.scope == _FORWARD or ends.proto != TCP or not sockets_known):
                yield Seed(ends, way, one.replied, scales=one.scales, tags=one.tags)

    def _translated(self, one: Tracked, way: Way) -> Iterator[Seed]:
        """Flows of a conversation that the host translates between the hooks, as packets would have made them.

        Ingress sees and judges what was sent. Egress sees what became of it, under the same rule, or judges that if
        nobody did before.
        """
        after = one.reply.reversed()
        out_ifindex = 0 if self._is_local(after.dst) else self._routes.way_to(after.dst)
        judged = way.scope != _OUT and self._visible(way.in_ifindex)
        flags = _TRANSLATED if out_ifindex else 0
        if judged:
            yield Seed(one.original, way, one.replied, flags, scales=one.scales, tags=one.tags)
        if out_ifindex and self._visible(out_ifindex):
            if judged:
                later = Way(way.scope, way.in_ifindex, out_ifindex)
                yield Seed(after, later, one.replied, flags | _PARENT, one.original, one.scales, one.tags)
            else:
                later = Way(_FORWARD if way.in_ifindex else _OUT, way.in_ifindex, out_ifindex)
                yield Seed(after, later, one.replied, scales=one.scales, tags=one.tags)

    def _way(self, ends: Ends) -> Way | None:
        """The way of a conversation by the routing table; None if it never leaves this host."""
        here, there = self._is_local(ends.src), self._is_local(ends.dst)
        if here and there:
            return None
        if there:
            return Way(_IN, self._arrival(ends.dst, ends.src), 0)
        if here:
            return Way(_OUT, 0, self._arrival(ends.src, ends.dst))
        return Way(_FORWARD, self._routes.way_to(ends.src), self._routes.way_to(ends.dst))

    def _arrival(self, local: Address, remote: Address) -> int:
        """The interface by which this host talks to a remote address: a protected one, if there is a choice."""
        ways = [way for way in (self._routes.way_to(remote), self._routes.owner(local)) if way]
        return next((way for way in ways if self._is_protected(way)), ways[0] if ways else 0)

    def _is_local(self, address: Address) -> bool:
        return address.is_loopback or self._routes.owner(address) != 0

    def _is_protected(self, ifindex: int) -> bool:
        return ifindex in self._known and self._known[ifindex].protected

    def _is_vrf(self, ifindex: int) -> bool:
        return ifindex in self._known and self._known[ifindex].is_vrf

    def _passes(self, way: Way) -> bool:
        """Whether its packets meet our programs, or may."""
        return (way.scope != _OUT and self._visible(way.in_ifindex)) or (
            way.scope != _IN and self._visible(way.out_ifindex)
        )

    def _visible(self, ifindex: int) -> bool:
        """Whether we are at that interface; at one that is not known we may be."""
        return not ifindex or self._is_protected(ifindex)


def entry(one: Seed, known: Mapping[int, Known], when_j: int) -> tuple[bytes, bytes]:
    """Key and value of a flow in the table."""
    zone = _zone(one, known)
    key, opener_hi = flow_key(one.ends, zone)
    flags = one.flags | (_OPENER_HI if opener_hi else 0)
    if one.way.in_ifindex in known and known[one.way.in_ifindex].protected and one.parent is None:
        flags |= abi.FlowFlags.FLOW_COUNTED
    state = abi.SideState.SIDE_NONE
    if one.ends.proto == TCP:
        flags |= _LIBERAL
    if one.ends.proto in (TCP, SCTP):
        state = abi.SideState.SIDE_OPEN
    way = one.way
    scaled = abi.SideFlags.SIDE_WSCALE if one.ends.proto == TCP else 0
    opener = abi.Side(seen_j=when_j, state=state, scale=one.scales.opener, flags=scaled)
    responder = abi.Side(seen_j=when_j, state=state, scale=one.scales.responder, flags=scaled)
    if one.tags:
        opener.seq_end, opener.ack = one.tags.responder, one.tags.opener
        responder.seq_end, responder.ack = one.tags
    if way.known:
        opener.in_ifindex, opener.out_ifindex = way.in_ifindex, way.out_ifindex
        opener.out_slot = _slot(known, way.out_ifindex)
        opener.flags |= abi.SideFlags.SIDE_SEEN
        if one.replied and one.ends.proto != TCP:
            responder.in_ifindex, responder.out_ifindex = way.out_ifindex, way.in_ifindex
            responder.out_slot = _slot(known, way.in_ifindex)
            responder.flags |= abi.SideFlags.SIDE_SEEN
    flow = abi.Flow(
        tag=key_tag(key),
        incarnation=int.from_bytes(os.urandom(4), "little") | 1,
        scope=way.scope,
        counter=way.scope,
        flags=flags,
        created_j=when_j,
        side=[opener, responder],
    )
    if one.parent is not None:
        flow.parent = _tuple(one.parent, zone)
    return key, flow.pack()


def _tuple(ends: Ends, zone: int) -> abi.Tuple:
    return abi.Tuple(
        src=words(ends.src),
        dst=words(ends.dst),
        sport=ends.sport,
        dport=ends.dport,
        zone=zone,
        proto=ends.proto,
        family=ends.src.version,
    )


def _zone(one: Seed, known: Mapping[int, Known]) -> int:
    interfaces = [known[i] for i in (one.way.in_ifindex, one.way.out_ifindex) if i in known]
    if link_scoped(one.ends.src.version, words(one.ends.src), words(one.ends.dst)):
        return LINK_ZONE | next((interface.slot for interface in interfaces if interface.slot), 0)
    return next((interface.zone for interface in interfaces if interface.zone), 0)


def _slot(known: Mapping[int, Known], ifindex: int) -> int:
    return known[ifindex].slot if ifindex in known else 0
