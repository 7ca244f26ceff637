# SPDX-License-Identifier: MIT
"""Newer programs in the place of older ones, while packets go through them."""

from pathlib import Path

from firewall import abi, attach
from firewall.change import Wishes, put
from firewall.errors import FwError
from firewall.firstload import build
from firewall.heritage import Heritage
from firewall.links import list_links
from firewall.neighbours import guard_neighbours
from firewall.paths import policy_path
from firewall.pins import remove_tree, unfinished
from firewall.policy import parse_policy
from firewall.programs import finish_next, prepare_next
from firewall.protect import targets
from firewall.recover import succeed
from firewall.reports import UpgradeReport
from firewall.safety import demand_protection
from firewall.saved import read_saved
from firewall.setload import Read, plan_sets
from firewall.sshguard import guard
from firewall.state import Running, read
from firewall.verify import verify


def replace_programs(running: Running) -> UpgradeReport:
    """Loads this version's programs for the maps in use: flows, counters and the policy stay as they are."""
    lost = prepare_next(running.pins, running.flow_limits())
    finish_next(running.pins)
    warnings = ("the counters of reasons began anew",) if lost else ()
    return _report(running, warnings)


def replace_layout(directory: Path, yes: bool) -> UpgradeReport:
    """Loads this version beside pins of another layout, and then lets it take their place.

    The saved policy comes into force. Flows are copied, and judged by it at their next packet; what the kernel alone
    knows of is taken over as at a first load.
    """
    written = read_saved()
    if written is None:
        message = f"what runs has another layout, and there is no {policy_path()} to take its place"
        raise FwError(message, "write one, or 'fw unload --all' and begin anew")
    policy = parse_policy(written, str(policy_path()))
    verify(policy)
    sets = plan_sets(policy, policy, {}, Read.COPIES)
    links = list_links()
    attached = set(attach.attached(directory))
    held = [link for link in links if link.ifindex in attached]
    if not yes:
        wanted = {link.name for link in targets(policy, links)}
        demand_protection((link.name for link in held), wanted)
        member = sets.membership(None)
        guard(policy, wanted, links, member)
        guard_neighbours(policy, wanted, links, member)
    building = unfinished(directory)
    heritage = Heritage(directory)
    mode = heritage.mode()
    try:
        build(building, policy, written, sets, held, links, mode or abi.Mode.MODE_ENFORCE, heritage)
    except BaseException:
        remove_tree(building)
        raise
    succeed(building, directory)
    began_anew = ["flows"] * (not heritage.flows_given) + ["counters"] + ["mode"] * (mode is None)
    began_anew += ["what was added to sets"] * (not heritage.sets_given)
    with read() as running:
        # The saved policy alone says which interfaces are protected.
        leave = [link.ifindex for link in held if not policy.protects(link.name)]
        put(running, written, Wishes(save=False, yes=True, leave=leave))
        said = f"another layout: {', '.join(began_anew)} began anew"
        return _report(running, (said, *sets.warnings))


def _report(running: Running, warnings: tuple[str, ...]) -> UpgradeReport:
    names = tuple(interface.name for interface in running.interfaces())
    flows = sum(1 for _ in running.pins.map("flows").items())
    return UpgradeReport(names, flows, warnings)
