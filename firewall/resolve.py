# SPDX-License-Identifier: MIT
"""What the users and units of rules stand for on this machine now: numbers that the packet path compares."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from firewall.errors import FwError
from firewall.lang import number
from firewall.rule import Rule

_MOUNTS = Path("/proc/self/mounts")


class Owners(NamedTuple):
    """`uids` and `cgroups` by the names in rules. What is not there is not known."""

    uids: Mapping[str | None, int] = {}
    cgroups: Mapping[str | None, int] = {}

    def unknown(self, rule: Rule) -> list[str]:
        """What the rule names and nobody knows, in words."""
        words = []
        if rule.user is not None and rule.user not in self.uids:
            words.append(f"user '{rule.user}'")
        if rule.unit is not None and rule.unit not in self.cgroups:
            words.append(f"unit '{rule.unit}'")
        return words


def names_owners(rules: Iterable[Rule]) -> bool:
    """Whether any rule names a user or a unit."""
    return any(rule.user is not None or rule.unit is not None for rule in rules)


def find_owners(rules: Iterable[Rule]) -> Owners:
    """What the rules' names stand for; nothing is asked if they name none."""
    named = [rule for rule in rules if rule.user is not None or rule.unit is not None]
    users = {rule.user for rule in named if rule.user is not None}
    units = {rule.unit for rule in named if rule.unit is not None}
    uids = _uids(users) if users else {}
    if not units:
        return Owners(uids)
    with _cgroup2() as tree:
        return Owners(uids, cgroups_of(units, tree))


def _uids(users: set[str]) -> dict[str | None, int]:
    import pwd

    found: dict[str | None, int] = {}
    for user in users:
        uid = number(user)
        try:
            found[user] = pwd.getpwnam(user).pw_uid if uid is None else uid
        except KeyError:
            continue
    return found


@contextmanager
def _cgroup2() -> Iterator[Path | None]:
    """Where the tree of cgroups is, if this kernel tells those of sockets.

    `ip netns exec` hides all that is mounted below /sys, so where nothing is seen it is mounted out of sight.
    """
    from firewall import features

    try:
        if not features.cgroups():
            yield None
            return
    except FwError:
        pass  # who may not try may still read
    mounts = [line.split() for line in _MOUNTS.read_text().splitlines()]
    seen = next((Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"), None)
    if seen:
        yield seen
        return
    from firewall.bindings.libc import mount_nowhere

    try:
        root = mount_nowhere("cgroup2")
    except OSError:
        yield None
        return
    try:
        yield Path(f"/proc/self/fd/{root}")
    finally:
        os.close(root)


def cgroups_of(units: set[str], tree: Path | None) -> dict[str | None, int]:
    """The ids of the units' cgroups: the inode numbers of their directories (kernfs, since Linux 5.5).

    Only slices hold units of the system's manager, so nothing else is searched: those of users' own managers are below
    a service.
    """
    found: dict[str | None, int] = {}
    waiting = [tree] if tree else []
    while waiting and len(found) < len(units):
        try:
            with os.scandir(waiting.pop()) as entries:
                directories = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        found.update((one.name, one.inode()) for one in directories if one.name in units)
        waiting += [Path(one.path) for one in directories if one.name.endswith(".slice")]
    return found
