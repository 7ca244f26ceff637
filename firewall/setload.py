# SPDX-License-Identifier: MIT
"""What a policy lists for its sets, brought into the kernel with the policy.

A set that changes gets its new elements before the new rules come into force, and loses the old ones after: in
between it has both, never fewer. What was added at run time is not touched, unless the policy drops the set.
"""

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from firewall.errors import FwError
from firewall.evaluate import Membership
from firewall.lang import PolicyError, Problem
from firewall.paths import policy_path, sets_path
from firewall.pins import Pins
from firewall.policy import Policy
from firewall.replacement import Replacement
from firewall.setcheck import MAX_SETS, problem_at
from firewall.setdef import SetDef
from firewall.setfile import host_keys, keys_of_spans, read_elements, read_file
from firewall.settable import NO_DIGEST, Known, SetTable, Value

_COPY_MODE = 0o600


class Read(Enum):
    """Which sets' files are read: all; those that are new or said otherwise; all, or else their last good copies."""

    ALL = "all"
    NEW = "new"
    COPIES = "copies"


class Listed(NamedTuple):
    """What the policy lists for a set: its keys, None where the kernel has them already; a file's bytes, to be kept."""

    definition: SetDef
    digest: bytes
    keys: set[bytes] | None
    data: bytes | None = None

    def known(self, number: int, digest: bytes) -> Known:
        """What the kernel is to know of the set."""
        return Known(number, digest, self.definition.timeout_s or 0, self.definition.counters)


class _Done(NamedTuple):
    """What listing prefixes for a set did: those that were in no set, those in others, and those listed no more."""

    fresh: Collection[bytes]
    merged: Collection[bytes]
    stale: Collection[bytes]


class SetPlan:
    """What is to become of the sets when a policy comes into force; made before anything is changed."""

    def __init__(
        self, listed: Iterable[Listed], known: Mapping[str, Known], warnings: Iterable[str] = ()
    ) -> None:
        self.listed = tuple(listed)
        self.known = known
        self.warnings = list(warnings)
        self._stale: dict[int, Collection[bytes]] = {}
        names = {one.definition.name for one in self.listed}
        self.dropped = tuple(name for name in known if name not in names)

    @property
    def changes(self) -> bool:
        """Whether the kernel's sets are not yet what the policy says."""
        return bool(self.dropped) or any(self._differs(one) for one in self.listed)

    def described(self, old: Policy) -> tuple[str, ...]:
        """The sets that would change, a line each; their statements where those are new or differ."""
        lines = []
        for one in self.listed:
            name = one.definition.name
            if old.sets.get(name) != one.definition:
                lines.append(str(one.definition))
            elif one.keys is not None and self._differs(one):
                lines.append(f"set {name}: {len(one.keys)} prefixes are listed now")
        return (*lines, *(f"no set {name}" for name in self.dropped))

    def begin(self, pins: Pins, undo: ExitStack) -> dict[str, int]:
        """Adds what is new; the numbers of all sets of the policy. `undo` takes it back."""
        table = SetTable(pins)
        known = table.known()
        free = iter(sorted(set(range(MAX_SETS)) - {one.number for one in known.values()}))
        numbers = {}
        for one in self.listed:
            name = one.definition.name
            before = known.get(name)
            number = before.number if before else next(free, None)
            if number is None:
                hint = "apply the policy without the sets that it drops first"
                raise FwError(
                    f"there are {MAX_SETS} sets with those that go, and '{name}' is one too many", hint
                )
            numbers[name] = number
            if before is None:
                undo.callback(_drop, pins, number)
                table.name(name, one.known(number, NO_DIGEST))
            elif one.known(number, before.digest) != before:
                undo.callback(table.name, name, before)
            if one.keys is None:
                continue
            if before is not None and before.digest != NO_DIGEST:
                undo.callback(table.name, name, before)
            table.name(name, one.known(number, NO_DIGEST))
            done = _list(table, number, set(one.keys))
            undo.callback(_unlist, table, number, done.fresh, done.merged)
            self._stale[number] = done.stale
            table.changed()
        return numbers

    def finish(self, pins: Pins) -> None:
        """Takes away what is listed no more, and sets that are dropped: no rule in force speaks of them now.

        What cannot be kept for later boots is a warning: the policy is in force, and where the disk is full or
        cannot be written it is to come into force nevertheless.
        """
        table = SetTable(pins)
        known = table.known()
        for one in self.listed:
            name = one.definition.name
            number = known[name].number
            if stale := self._stale.pop(number, ()):
                _unlist(table, number, stale)
            digest = known[name].digest if one.keys is None else one.digest
            if known[name] != one.known(number, digest):
                table.name(name, one.known(number, digest))
            if one.data is not None:
                try:
                    _keep_copy(name, one.data)
                except (FwError, OSError) as error:
                    self.warnings.append(f"set {name} has no copy for when its file cannot be read: {error}")
        for name in self.dropped:
            _drop(pins, known[name].number)

    def membership(self, table: SetTable | None) -> Membership:
        """Which address will be in which set; `table` is what is loaded."""
        listed = {one.definition.name: one for one in self.listed}

        def member(name: str, address: IPv4Address | IPv6Address) -> bool:
            keys, known = listed[name].keys, self.known.get(name)
            if keys is not None and any(key in keys for key in host_keys(address.version, int(address))):
                return True
            if not known or not table:
                return False
            return bool(table.member_bits(address, listed=keys is None) >> known.number & 1)

        return member

    def _differs(self, one: Listed) -> bool:
        known = self.known.get(one.definition.name)
        return known is None or one.keys is not None or known != one.known(known.number, known.digest)


def plan_sets(policy: Policy, old: Policy, known: Mapping[str, Known], which: Read) -> SetPlan:
    """Reads what a verified policy lists. `old` is the policy that is loaded, with the sets `known`.

    Raises PolicyError where a file cannot be read or is no list of addresses.
    """
    directory = policy_path().parent
    listed: list[Listed] = []
    warnings: list[str] = []
    problems: list[Problem] = []
    for statement in policy.statements:
        definition = statement.value
        if not isinstance(definition, SetDef):
            continue
        before = known.get(definition.name)
        digest = before.digest if before else NO_DIGEST
        if which is Read.NEW and digest != NO_DIGEST and old.sets.get(definition.name) == definition:
            listed.append(Listed(definition, digest, None))
            continue
        if definition.path is None:
            found = _digest(str(definition.spans).encode())
            keys = None if found == digest else keys_of_spans(definition.spans)
            listed.append(Listed(definition, found, keys))
            continue
        try:
            try:
                listed.append(_from_file(definition, str(directory / definition.path), digest))
            except FwError as error:
                if which is not Read.COPIES or not (sets_path() / definition.name).exists():
                    raise
                listed.append(_from_file(definition, str(sets_path() / definition.name), digest, copied=True))
                reason = error.message.splitlines()[0]
                warnings.append(
                    f"set {definition.name} has what its file had when it was last good: {reason}"
                )
        except PolicyError as error:
            problems += error.problems
        except FwError as error:
            hint = None
            if policy.name and not (directory / definition.path).exists():
                beside = Path(policy.name).parent / definition.path
                if beside.exists() and beside.parent.resolve() != directory.resolve():
                    hint = f"the policy will be in {directory}: copy {beside} there, or write its whole path"
            problems.append(problem_at(policy, statement, error.message, hint, definition.path))
    if problems:
        raise PolicyError(problems)
    return SetPlan(listed, known, warnings)


def _from_file(definition: SetDef, path: str, known: bytes, copied: bool = False) -> Listed:
    data = read_file(path)
    digest = _digest(data)
    if digest == known:
        return Listed(definition, digest, None)
    return Listed(definition, digest, read_elements(data, path), None if copied else data)


def _digest(data: bytes) -> bytes:
    from hashlib import blake2b  # which most policies, that have no sets, need not wait for

    return blake2b(data, digest_size=len(NO_DIGEST)).digest()


def _list(table: SetTable, number: int, keys: set[bytes]) -> _Done:
    """Lists prefixes for a set; takes `keys` apart."""
    bit = 1 << number
    merged: list[tuple[bytes, Value]] = []
    stale: list[bytes] = []
    for key, raw in table.items():
        listed = int.from_bytes(raw[:8], sys.byteorder) & bit
        if key in keys:
            keys.discard(key)
            if not listed:
                value = Value.unpack(raw)
                merged.append((key, value._replace(listed=value.listed | bit)))
        elif listed:
            stale.append(key)
    try:
        table.write(merged)
        table.insert(keys, Value(listed=bit))
    except BaseException:  # there may be no room for all of them
        _unlist(table, number, keys, {key for key, _ in merged})
        raise
    return _Done(keys, [key for key, _ in merged], stale)


def _unlist(table: SetTable, number: int, *groups: Collection[bytes]) -> None:
    """Takes prefixes from what is listed for a set."""
    for keys in groups:
        found = table.find(keys)
        table.write(
            (key, value._replace(listed=value.listed & ~(1 << number))) for key, value in found.items()
        )
    table.changed()


def _drop(pins: Pins, number: int) -> None:
    """Takes a set away with all of its elements."""
    table = SetTable(pins)
    for name, one in table.known().items():
        if one.number == number:  # whoever brings it back must not take what a kill leaves for the whole
            table.name(name, one._replace(digest=NO_DIGEST))
    found = [(key, Value.unpack(raw)) for key, raw in table.items() if table.holds(raw, number)]
    table.write((key, value.without(number)) for key, value in found)
    table.overloads.release([key for key, ends in table.overloads.items() if number in ends], number)
    table.forget(number)
    table.changed()


def _keep_copy(name: str, data: bytes) -> None:
    """For boots at which the file cannot be read."""
    target = sets_path() / name
    os.makedirs(target.parent, 0o700, exist_ok=True)
    with Replacement(target, new_mode=_COPY_MODE) as copy:
        copy.write((data,))
        copy.commit()
