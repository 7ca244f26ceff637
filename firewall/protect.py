# SPDX-License-Identifier: MIT
"""Puts the programs on interfaces and takes them off, and tells the packet path which interfaces there are."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack

from firewall import abi, attach, interfaces
from firewall.clock import hz, now_j
from firewall.errors import FwError
from firewall.expand import interface_patterns
from firewall.generations import generation
from firewall.interfaces import Known
from firewall.links import Link, why_not_loadable
from firewall.options import effective
from firewall.pins import EGRESS, INGRESS, Pins, offset_of
from firewall.policy import Policy
from firewall.publish import describe_classes
from firewall.state import Running


def targets(policy: Policy, links: Sequence[Link]) -> list[Link]:
    """The interfaces that a policy protects and that exist and can be."""
    return [link for link in links if policy.protects(link.name) and why_not_loadable(link, links) is None]


def not_protected(policy: Policy, links: Sequence[Link]) -> list[str]:
    """Why names that the policy protects are not, one line each."""
    present = {link.name for link in links}
    missing = [
        f"{name} is to be protected, but does not exist"
        for names in policy.protect
        if not names.plain.negated
        for name in names.plain.patterns
        if not name.endswith("+") and name not in present
    ]
    unfit = [why_not_loadable(link, links) for link in links if policy.protects(link.name)]
    return missing + [reason for reason in unfit if reason is not None]


def renamed(running: Running, policy: Policy, staying: Iterable[Link], edited: bool) -> list[str]:
    """Which interfaces stay filtered that a policy does not name; after an edit only those whose name is new."""
    known = {one.ifindex: one.name for one in running.interfaces()}
    told = []
    for link in staying:
        was = known.get(link.ifindex)
        if was is None or policy.protects(link.name):
            continue
        ways = f"'fw load {link.name}' writes one, 'fw unload {link.name}' opens it"
        if was != link.name:
            told.append(
                f"the interface protected as {was} is now called {link.name}, which no 'protect' line names: "
                f"it stays filtered; {ways}"
            )
        elif not edited:
            told.append(f"{link.name} stays filtered, though no 'protect' line names it: {ways}")
    return told


def describe(
    pins: Pins, policy: Policy, links: Sequence[Link], protected: Collection[int]
) -> dict[int, Known]:
    """Brings what the packet path knows of interfaces up to date; returns it.

    `policy` is the one in force, or the one that is about to be the first.
    """
    known = interfaces.read(pins.map("interfaces"))
    wanted = [link.name for link in links if link.ifindex in protected]
    wanted += [name for name in interface_patterns(policy.rules) if not name.endswith("+")]
    planned = interfaces.plan(known, links, protected, wanted)
    classes = {old.name: old.class_id for old in known.values()}
    fresh = {one.name: one.class_id for one in planned.values() if classes.get(one.name) != one.class_id}
    if generation(pins) and fresh:
        describe_classes(pins, policy, {name: class_id for name, class_id in fresh.items() if class_id})
    interfaces.write(pins.map("interfaces"), pins.map("hooks"), known, planned)
    interfaces.write_vlan_devices(pins.map("vlan_devices"), links)
    return planned


def attach_all(pins: Pins, links: Iterable[Link], mode: str) -> None:
    """Attaches the programs to interfaces that have been described; all of them, or none if one fails."""
    done: list[int] = []
    with pins.program(INGRESS) as ingress, pins.program(EGRESS) as egress:
        try:
            for link in links:
                attach.attach(link.ifindex, ingress, egress, mode, pins.directory)
                done.append(link.ifindex)
        except FwError:
            detach_all(pins, done)
            raise


def reattach(
    running: Running, links: Iterable[Link], names: Collection[str], mode: str, undo: ExitStack
) -> None:
    """Attaches in this mode what is attached already, of these names now or all; `undo` goes back.

    The new programs come before the old go. In between, for some milliseconds, packets are judged twice, and
    fragments dropped: their second time they overlap.
    """
    if mode == "auto":
        return
    called = running.called_now(links)
    for one in running.interfaces():
        if one.attach in attach.MODES and (not names or called[one.ifindex] in names):
            undo.callback(_attach_again, running.pins, one.ifindex, one.attach)
            _attach_again(running.pins, one.ifindex, mode)


def _attach_again(pins: Pins, ifindex: int, mode: str) -> None:
    with pins.program(INGRESS) as ingress, pins.program(EGRESS) as egress:
        attach.attach(ifindex, ingress, egress, mode, pins.directory)


def detach_all(pins: Pins, ifindexes: Iterable[int]) -> None:
    """Takes the programs off interfaces; any may have vanished."""
    for ifindex in ifindexes:
        attach.detach(ifindex, pins.directory)


def begin_grace(pins: Pins, policy: Policy) -> None:
    """Lets segments of running connections open flows from now on, for `option load.grace`."""
    grace_s = effective(policy.options)["load.grace"]
    pins.control.store_u64(offset_of(abi.Control, "grace_until_j"), now_j() + grace_s * hz())


def adopt_connections(pins: Pins) -> int:
    """Makes flows of the connections that the kernel knows and the table does not; how many."""
    from firewall.requests import requests_of
    from firewall.seed import seed  # brings sockets, routes and addresses

    known = interfaces.read(pins.map("interfaces"))
    with requests_of(pins) as requests:
        result = seed(requests, known)
    # Nor does conntrack tell in which VRF a connection is.
    told = result.conntrack and not any(one.is_vrf for one in known.values())
    pins.control.store_u32(offset_of(abi.Control, "grace_forward"), int(not told))
    return result.connections
