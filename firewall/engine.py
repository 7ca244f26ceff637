# SPDX-License-Identifier: MIT
"""What the command line asks for: load, unload, apply, edit, mode, upgrade, in the network namespace we are in.

Each function holds the lock while it works, leaves everything as it was when it raises FwError, and can be killed at
any point: the next one to take the lock clears away or completes what was begun.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from firewall import abi
from firewall import attach as attaching
from firewall.change import Wishes, put, save_only
from firewall.document import PlacedRule, place
from firewall.errors import FwError, UsageError
from firewall.lang import PolicyError
from firewall.links import Link, find, list_links, why_not_loadable
from firewall.neighbours import guard_neighbours
from firewall.options import effective
from firewall.paths import Lock, find_pin_dir, namespace_name, policy_path
from firewall.pins import layout_of, offset_of, open_pins
from firewall.policy import parse_policy
from firewall.policyfile import add_protect, demand_nameable, remove_protect
from firewall.protect import adopt_connections, begin_grace, reattach
from firewall.recover import locked, remove_all
from firewall.reports import ApplyReport, Loaded, LoadReport, UnloadReport, UpgradeReport
from firewall.rule import Rule
from firewall.saved import Staged, is_saved, read_saved
from firewall.setload import Read
from firewall.settable import membership_of
from firewall.sparing import Flows
from firewall.sshguard import guard
from firewall.state import ENFORCE, OBSERVE, Running, read
from firewall.written import Included, Written

# `systemctl enable fw` and OpenWrt's `/etc/init.d/fw enable` leave these in /etc.
_BOOT_LINKS = ("systemd/system/*.wants/fw.service", "rc.d/S*fw")
_MODE = offset_of(abi.Control, "mode")
_MANY_RULES = 1000  # with fewer the usual way to add one is as quick
_MODES = {ENFORCE: abi.Mode.MODE_ENFORCE, OBSERVE: abi.Mode.MODE_OBSERVE}


class Source(NamedTuple):
    """A policy to be edited: its text, its rules with the ids that they have, and what it includes."""

    text: str
    rules: tuple[PlacedRule, ...]
    included: Included = ()

    def line_of(self, rule_id: int) -> int:
        """The line of a rule. Raises UsageError if there is no such id, or it is of an included file."""
        for rule in self.rules:
            if rule.id == rule_id:
                return _own_line(rule)
        ids = ", ".join(str(rule.id) for rule in self.rules[:20])
        more = ", ..." if len(self.rules) > 20 else ""
        hint = f"there are {ids}{more}" if ids else "there are no rules"
        raise UsageError(f"there is no rule {rule_id}", hint)

    def line_like(self, wanted: Rule) -> int:
        """The line of the first rule that says the same, in the policy's own file if there is one.

        Raises UsageError as `line_of` does.
        """
        found = self.like(wanted)
        if found:
            return _own_line(found[0])
        raise UsageError(f"there is no rule '{wanted}'", "'fw rule list' shows them with their ids")

    def like(self, wanted: Rule) -> list[PlacedRule]:
        """The rules that say the same, those of the policy's own file first."""
        text = str(wanted)
        return sorted((rule for rule in self.rules if rule.text == text), key=lambda rule: bool(rule.file))


def _own_line(rule: PlacedRule) -> int:
    if rule.file:
        message = f"rule {rule.id} is in a file that the policy includes: {rule.file}, line {rule.line}"
        raise UsageError(message, "edit that file; then 'fw apply' puts it in force")
    return rule.line


def load(
    names: Sequence[str] = (), *, attach: str = "auto", observe: bool = False, yes: bool = False
) -> LoadReport:
    """Protects interfaces: `names`, and those that the policy names. Can be repeated at will.

    The first load puts the saved policy in force, or a starter file if there is none. `attach` is a mode, also for
    those of `names` (or all) that are attached in another; `observe` lets pass what the policy would drop.
    """
    names = tuple(dict.fromkeys(names))
    links = list_links()
    for name in names:
        reason = why_not_loadable(find(name, links), links)
        if reason:
            raise FwError(reason)
        demand_nameable(name)
    with locked():
        pins = open_pins()
        if pins is None:
            from firewall.firstload import first_load

            return _load_report(links, first_load(names, links, attach, observe, yes), first=True)
        with Running(pins) as running:
            text, included = running.document.written
            for name in names:
                text = add_protect(text, name, included)
            save = text != running.document.text
            if save:
                _demand_same(running, has_runtime=False)
            with ExitStack() as undo:
                if observe:  # before the programs are anywhere else: nothing is to be dropped meanwhile
                    undo.callback(pins.control.store_u32, _MODE, _MODES[running.mode])
                    pins.control.store_u32(_MODE, _MODES[OBSERVE])
                reattach(running, links, names, attach, undo)
                wishes = Wishes(save=save, yes=yes or observe, attach=attach, has_runtime=False)
                done = put(running, Written(text, included), wishes)
                undo.pop_all()
        return _load_report(links, Loaded(done.attached, None, done.seeded, done.warnings), first=False)


def unload(names: Sequence[str]) -> UnloadReport:
    """Takes the programs off interfaces and their names out of the policy; with the last one everything goes."""
    names = tuple(dict.fromkeys(names))
    with locked():
        directory = find_pin_dir()
        if directory is not None and layout_of(directory) != abi.Layout.LAYOUT_VERSION:
            return _unload_foreign(directory, names)
        with read() as running:
            protected = running.called_now(list_links())
            known = protected.values()
            for name in names:
                if name not in known:
                    raise UsageError(f"'{name}' is not protected", f"protected are {', '.join(known)}")
            text, included = running.document.written
            same = is_saved(running.document.written)
            for name in names:
                text = remove_protect(text, name, included)
            warnings = () if same else _unprotect_saved(names)
            leave = [ifindex for ifindex, name in protected.items() if name in names]
            put(running, Written(text, included), Wishes(same, yes=True, leave=leave, has_runtime=False))
            left = running.interfaces()
        if not left:
            remove_all()
        return UnloadReport(names, not left, warnings)


def unload_all() -> UnloadReport:
    """Removes everything of ours from this network namespace, whatever state or version it is of.

    The saved policy stays as it is.
    """
    with Lock():
        return UnloadReport(remove_all(), True, ())


def apply(
    written: Written | None = None,
    *,
    name: str | None = None,
    runtime: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    keep_flows: bool = False,
) -> ApplyReport:
    """Puts a policy in force and saves it; without `written` the saved one. `runtime` does not save.

    With `keep_flows` it judges no flow that runs, see `firewall.sparing`.

    A dry run says what would change, and raises what the change would raise for. `name` is what messages call the
    file that the text is from.
    """
    with locked():
        if written is None:
            written = read_saved()
            if written is None:
                raise FwError(f"there is no {policy_path()}", "'fw load IF' writes one to begin with")
        flows = Flows.KEEP if keep_flows else Flows.JUDGE
        wishes = Wishes(save=not runtime, yes=yes, dry_run=dry_run, name=name, sets=Read.ALL, flows=flows)
        return _put(written, wishes)


def edit(
    change: Callable[[Source], str],
    *,
    runtime: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    keep_flows: bool = False,
    added: Rule | None = None,
) -> ApplyReport:
    """Changes the policy's text: `change` gets the old one and returns the new. Otherwise like `apply`.

    `added` is said where all that the change does is to add that rule behind the last.

    Raises FwError when what runs and what is saved differ, since saving would mix them. Where nothing is loaded
    the saved policy is changed; where there is none, a starter file.
    """
    flows = Flows.KEEP if keep_flows else Flows.JUDGE
    wishes = Wishes(save=not runtime, yes=yes, dry_run=dry_run, edited=True, flows=flows)
    with locked():
        pins = open_pins()
        if pins is None:
            return _edit_saved(change, wishes)
        with Running(pins) as running:
            if not runtime:
                _demand_same(running, has_runtime=True)
            if added and running.document.size >= _MANY_RULES:
                from firewall.addition import add

                done = add(running, added, wishes)
                if done:
                    return done
            text, included = running.document.written
            new = change(Source(text, running.document.rules, included))
            return put(running, Written(new, included), wishes)


def set_mode(mode: str, *, yes: bool = False) -> bool:
    """Sets "enforce" or "observe"; False if that was the mode already."""
    if mode not in _MODES:
        raise UsageError(f"there is no mode '{mode}'", f"there are {' and '.join(_MODES)}")
    with locked(), read() as running:
        if running.mode == mode:
            return False
        if mode == ENFORCE and not yes:
            links = list_links()
            what = running.policy, running.names_now(links), links, membership_of(running.pins)
            guard(*what)
            guard_neighbours(*what)
        if mode == ENFORCE:
            # Observing lets connections live of which the table has nothing, and which no rule could let begin midway.
            adopt_connections(running.pins)
            begin_grace(running.pins, running.policy)
        running.pins.control.store_u32(_MODE, _MODES[mode])
        return True


def upgrade(*, yes: bool = False) -> UpgradeReport:
    """Replaces the programs by those of this version, each at once; every flow lives on.

    Where what is loaded has another layout the saved policy comes into force, for the flows too, which are copied.
    Nothing is open in between.
    """
    from firewall.upgrade import replace_layout, replace_programs

    with locked():
        directory = find_pin_dir()
        if directory is not None and layout_of(directory) != abi.Layout.LAYOUT_VERSION:
            return replace_layout(directory, yes)
        with read() as running:
            return replace_programs(running)


def _put(written: Written, wishes: Wishes) -> ApplyReport:
    pins = open_pins()
    if pins is None:
        return save_only(written, wishes)
    with Running(pins) as running:
        return put(running, written, wishes)


def _edit_saved(change: Callable[[Source], str], wishes: Wishes) -> ApplyReport:
    written = read_saved()
    missing = written is None
    if written is None:
        from firewall.starter import starter_for

        written = Written(starter_for((), list_links()))
    rules = place(parse_policy(written), written, True, None, abi.Limits.RULE_COUNTERS).rules
    done = save_only(Written(change(Source(written.text, rules, written.included)), written.included), wishes)
    if missing:
        said = f"there was no {policy_path()}: the change was made to a starter file"
        return done._replace(warnings=(said, *done.warnings))
    return done


def _demand_same(running: Running, has_runtime: bool) -> None:
    """Raises FwError if to save a change of what runs would save more than the change."""
    if not policy_path().exists() or is_saved(running.document.written):
        return
    message = f"what runs is not what {policy_path()} says, and this change would mix the two"
    hint = "'fw apply' puts the file in force and drops what runs; 'fw show > FILE; fw apply FILE' saves what runs"
    raise FwError(message, f"{hint}; --runtime changes what runs alone" if has_runtime else hint)


def _unprotect_saved(names: Sequence[str]) -> tuple[str, ...]:
    """Takes names out of a saved policy that is not the one that runs."""
    written = read_saved()
    if written is None:
        return ()
    text = written.text
    try:
        for name in names:
            text = remove_protect(text, name, written.included)
    except PolicyError as error:
        return (f"{policy_path()} was left as it is: {error.message}",)
    with Staged(text) as staged:
        staged.commit()
    return ()


def _unload_foreign(directory: Path, names: Sequence[str]) -> UnloadReport:
    """Takes interfaces from pins of another layout, of which only the attachments can be read."""
    links = list_links()
    for name in names:
        attaching.detach(find(name, links).ifindex, directory)
    left = attaching.attached(directory)
    if not left:
        remove_all()
    return UnloadReport(tuple(names), not left, _unprotect_saved(names))


def _load_report(links: Sequence[Link], loaded: Loaded, first: bool) -> LoadReport:
    with read() as running:
        policy = running.policy
        protected = tuple(running.interfaces())
        filtered = {interface.ifindex for interface in protected}
        unprotected = [
            link.name
            for link in links
            if link.up and link.ifindex not in filtered and why_not_loadable(link, links) is None
        ]
        opened = [str(rule) for rule in policy.rules if rule.action == "allow" and "in" in rule.scopes]
        if policy.defaults["in"] == "allow":
            opened.append("default in allow")
        return LoadReport(
            first=first,
            protected=protected,
            added=loaded.added,
            unprotected=tuple(unprotected),
            open=tuple(opened),
            seeded=loaded.seeded,
            grace_s=effective(policy.options)["load.grace"],
            boot=_boots(),
            starter=loaded.starter,
            file=str(policy_path()),
            mode=running.mode,
            generation=running.generation,
            warnings=loaded.warnings,
        )


def _boots() -> bool:
    """Whether the policy of this network namespace comes back with the machine."""
    if namespace_name() is not None:
        return False
    return any(next(Path("/etc").glob(pattern), None) for pattern in _BOOT_LINKS)
