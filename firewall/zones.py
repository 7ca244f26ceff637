# SPDX-License-Identifier: MIT
"""Zones: names that stand for lists of interfaces wherever a list of interfaces stands.

A zone may be used before the line that defines it, and in the definition of another. A list keeps the zone's name,
which is how it prints; `Names.plain` is what it comes to.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from firewall.errors import UsageError
from firewall.lang import MAX_PROBLEMS_SHOWN, Cursor, Problem, Source, problem_at
from firewall.terms import Names, name_complaint, read_names


class Misuse(UsageError):
    """A zone stands where what it comes to cannot; `word` is its name."""

    def __init__(self, word: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.word = word


class Zone(NamedTuple):
    """`zone NAME = NAMES`."""

    name: str
    names: Names

    def __str__(self) -> str:
        return f"zone {self.name} = {self.names}"


def read_zone(cursor: Cursor) -> Zone:
    """The statement at the cursor."""
    cursor.take()
    token = cursor.word("a name for the zone", "as in 'zone lan = eth1, eth2'")
    name, equals, rest = token.text.partition("=")
    if equals:
        meant = f"did you mean 'zone {name} = {rest}'?" if name and rest else "as in 'zone lan = eth1, eth2'"
        cursor.fail(f"expected a name for the zone, found {token}", token, meant)
    complaint = name_complaint(name)
    if complaint or name.endswith("+"):
        cursor.fail(
            f"'{name}' cannot be a zone's name", token, "a zone is named as an interface is, without '+'"
        )
    if not cursor.take_if("="):
        cursor.fail(f"expected '=', found {cursor.next}", cursor.next, f"as in 'zone {name} = eth1, eth2'")
    return Zone(name, read_names(cursor))


def define(zones: Iterable[tuple[Source, Zone]]) -> tuple[dict[str, Names], list[Problem]]:
    """What each zone comes to, by its name, and what is wrong with the definitions."""
    written: dict[str, tuple[Source, Zone]] = {}
    problems = []
    for source, zone in zones:
        if zone.name in written:
            earlier = written[zone.name][0]
            hint = f"{earlier.name}:{earlier.line} defines it: keep one of them"
            problems.append(problem_at(source, zone.name, f"there is a zone '{zone.name}' already", hint))
        else:
            written[zone.name] = source, zone
    names = {name: zone.names for name, (_, zone) in written.items()}
    order = _inner_first(names)
    for name, (source, _) in written.items():
        if name in order:
            continue
        way = _way_to_itself(name, names)
        if way:
            chain = f"it has '{way[0]}'" + "".join(f", which has '{one}'" for one in way[1:])
            hint = chain if len(way) > 1 else "a zone is not called as an interface that it has"
            problems.append(problem_at(source, way[0], f"zone '{name}' contains itself", hint))
        if len(problems) > MAX_PROBLEMS_SHOWN:
            break
    if problems:
        return {}, problems
    defined: dict[str, Names] = {}
    for name in order:
        source = written[name][0]
        try:
            defined[name] = resolve(names[name], defined)
        except Misuse as error:
            problems.append(problem_at(source, error.word, error.message, error.hint))
            defined[name] = names[name]
    return defined, problems


def resolve(names: Names, zones: Mapping[str, Names]) -> Names:
    """The same list with what it comes to. Raises Misuse."""
    used = [name for name in names.patterns if name in zones]
    if not used:
        return names
    plain = [zones[name].plain if name in zones else Names(False, (name,)) for name in names.patterns]
    if any(one.negated for one in plain):
        if len(plain) > 1:
            name = next(name for name in used if zones[name].plain.negated)
            message = f"zone '{name}' is every interface but some, so it cannot be one of several"
            raise Misuse(name, message, "write a statement of its own for it")
        merged = plain[0]._replace(negated=not names.negated)
    else:
        merged = Names(names.negated, tuple(dict.fromkeys(p for one in plain for p in one.patterns)))
    if merged.negated and "+" in merged.patterns:
        raise Misuse(used[0], f"'{names}' leaves no interface")
    return names._replace(stands_for=merged)


def _inner_first(names: Mapping[str, Names]) -> dict[str, None]:
    """The zones, each after those that it has; without those that contain themselves and what has such a zone."""
    missing = {name: sum(inner in names for inner in listed.patterns) for name, listed in names.items()}
    outer: dict[str, list[str]] = {name: [] for name in names}
    for name, listed in names.items():
        for inner in listed.patterns:
            if inner in names:
                outer[inner].append(name)
    ready = [name for name, count in missing.items() if not count]
    for name in ready:  # which grows
        for other in outer[name]:
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    return dict.fromkeys(ready)


def _way_to_itself(name: str, names: Mapping[str, Names]) -> list[str]:
    """The zones by which a zone contains itself, the last of them itself; empty if it does not."""
    ways = [[inner] for inner in names[name].patterns]
    seen = set()
    while ways:
        way = ways.pop()
        if way[-1] == name:
            return way
        if way[-1] in names and way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, inner] for inner in names[way[-1]].patterns]
    return []
