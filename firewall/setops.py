# SPDX-License-Identifier: MIT
"""What commands do to sets at run time. No ruleset is built for it: the trie changes, and flows are judged anew."""

import sys
from collections import Counter
from collections.abc import Collection, Container, Sequence
from typing import NamedTuple

from firewall.addresses import Span, parse_span
from firewall.errors import UsageError
from firewall.lang import WORD, Cursor, Source, Token, closest
from firewall.pins import Pins, demand_pins
from firewall.recover import locked
from firewall.setdef import read_time
from firewall.setfile import keys_of, read_elements, span_of
from firewall.settable import Known, SetTable, Value, boot_s


class Done(NamedTuple):
    """How many prefixes a command added or took away, how many of them it found as they should be."""

    changed: int
    same: int


class Summary(NamedTuple):
    """A set: how many prefixes the policy lists, how many were added at run time, and for how long those stay; how many
    a rule's `overload` has put into it.
    """

    name: str
    listed: int
    added: int
    timeout_s: int
    overload: int


class Element(NamedTuple):
    """A prefix of a set: whether the policy lists it, whether it was added, and when that ends, None if never; whether
    a rule's `overload` has put it there. What it has counted is None where its set does not count.
    """

    span: Span
    listed: bool
    added: bool
    expires_s: int | None
    overload: bool = False
    packets: int | None = None
    bytes: int | None = None


def summaries() -> list[Summary]:
    """The sets that are loaded, by name. Raises NotLoaded."""
    with demand_pins() as pins:
        table = SetTable(pins)
        now = boot_s()
        masks: dict[tuple[int, int], int] = {}
        known = table.known()
        for _, raw in table.items() if known else ():
            value = Value.unpack(raw)
            mask = value.listed, value.sets(now) & ~value.listed
            masks[mask] = masks.get(mask, 0) + 1
        overloaded = Counter(
            number for _, ends in table.overloads.items() for number, end_s in ends.items() if end_s > now
        )
    return [
        Summary(
            name,
            sum(count for (listed, _), count in masks.items() if listed >> one.number & 1),
            sum(count for (_, added), count in masks.items() if added >> one.number & 1),
            one.timeout_s,
            overloaded[one.number],
        )
        for name, one in sorted(known.items())
    ]


def elements(name: str) -> list[Element]:
    """The elements of a set, in order. Raises NotLoaded, and UsageError if there is no such set."""
    with demand_pins() as pins:
        table = SetTable(pins)
        known, now = _find(table, name), boot_s()
        number = known.number
        found: dict[Span, Element] = {}
        for key, raw in table.items():
            value = Value.unpack(raw)
            if not value.sets(now) >> number & 1:
                continue
            listed, for_ever = bool(value.listed >> number & 1), bool(value.added >> number & 1)
            end_s = None if for_ever else value.ends_s.get(number)
            lives = end_s is not None and end_s > now
            span = span_of(key)
            left_s = end_s - now if lives and end_s is not None else None
            found[span] = Element(span, listed, for_ever or lives, left_s)
        for key, end_s in table.overloads.of(number, now).items():
            span = span_of(key)
            one = found.get(span, Element(span, False, False, 0))
            stays = one.expires_s is None
            left_s = None if stays else max(one.expires_s or 0, end_s - now)
            found[span] = one._replace(expires_s=left_s, overload=True)
        if known.counters:
            counts = {span_of(key): counted for key, counted in table.counts().items()}
            for span, one in found.items():
                packets, octets = counts.get(span, (0, 0))
                found[span] = one._replace(packets=packets, bytes=octets)
    return [found[span] for span in sorted(found)]


def add(name: str, words: Sequence[str], for_text: str | None = None, *, yes: bool = False) -> Done:
    """Adds elements at run time, for a time if one is given or the set has one."""
    with locked(), demand_pins() as pins:
        table = SetTable(pins)
        known = _find(table, name)
        keys = _keys(words)
        for_s = known.timeout_s if for_text is None else _seconds(for_text)
        _demand_safe(pins, name, keys, (), yes)
        return _add(table, known.number, keys, for_s)


def delete(name: str, words: Sequence[str], *, yes: bool = False) -> Done:
    """Takes away elements that were added at run time. Raises UsageError for what is not such an element."""
    with locked(), demand_pins() as pins:
        table = SetTable(pins)
        number, now = _find(table, name).number, boot_s()
        keys = _keys(words)
        values = [(key, table.get(key).live(now)) for key in keys]
        overloaded = keys & table.overloads.of(number, now).keys()
        for key, value in values:
            if key in overloaded or (value.added >> number & 1) or number in value.ends_s:
                continue
            if value.listed >> number & 1:
                message = f"{span_of(key)} is in '{name}' by the policy"
                raise UsageError(message, "take it out of the policy, or of the set's file, and 'fw apply'")
            raise UsageError(f"{span_of(key)} is no element of '{name}'", f"'fw set show {name}' lists them")
        _demand_safe(pins, name, (), keys, yes)
        table.write([(key, value.without(number, listed=False)) for key, value in values])
        table.overloads.release(overloaded, number)
        _settle(table)
        return Done(len(values), 0)


def flush(name: str, *, yes: bool = False) -> Done:
    """Takes away all elements that were added at run time."""
    with locked(), demand_pins() as pins:
        table = SetTable(pins)
        number = _find(table, name).number
        gone, overloaded = _added(table, number, ()), table.overloads.of(number, boot_s()).keys()
        _demand_safe(pins, name, (), gone.keys() | overloaded, yes)
        return Done(_take_away(table, number, gone, overloaded), 0)


def replace(name: str, words: Sequence[str], for_text: str | None = None, *, yes: bool = False) -> Done:
    """Makes these the elements that were added at run time: the new ones first, then the others go."""
    with locked(), demand_pins() as pins:
        table = SetTable(pins)
        known = _find(table, name)
        keys = _keys(words)
        for_s = known.timeout_s if for_text is None else _seconds(for_text)
        gone, overloaded = (
            _added(table, known.number, keys),
            table.overloads.of(known.number, boot_s()).keys(),
        )
        _demand_safe(pins, name, keys, gone.keys() | overloaded, yes)
        done = _add(table, known.number, keys, for_s)
        return Done(done.changed + _take_away(table, known.number, gone, overloaded), done.same)


def _find(table: SetTable, name: str) -> Known:
    known = table.known()
    found = known.get(name.removeprefix("@"))
    if found is None:
        near = closest(name, known)
        hint = f"did you mean '{near}'?" if near else "the policy defines them: set NAME"
        raise UsageError(f"there is no set '{name}'", hint)
    return found


def _keys(words: Sequence[str]) -> set[bytes]:
    """Of elements as words, with or without commas between; `-` alone are the lines of standard input."""
    if list(words) == ["-"]:
        return read_elements(sys.stdin.buffer.read(), "standard input")
    texts = [text for word in words for text in word.split(",") if text]
    if not texts:
        raise UsageError("no address is given")
    return {key for text in texts for key in keys_of(parse_span(text))}


def _seconds(text: str) -> int:
    token = Token(WORD, text, 1, len(text))
    return read_time(Cursor(Source("", 0, text), [token]), token)


def _add(table: SetTable, number: int, keys: set[bytes], for_s: int) -> Done:
    now, bit, same = boot_s(), 1 << number, 0
    # What has begun is a whole second: so it stays as long as was said, or a second longer.
    end_s = now + for_s + 1
    new = Value(ends_s={number: end_s}) if for_s else Value(added=bit)
    values: list[tuple[bytes, Value]] = []
    found = table.find(keys)
    for key, old in found.items():
        value = old.live(now)
        if value.added & bit:
            same += 1
        elif for_s:
            values.append((key, value._replace(ends_s={**value.ends_s, number: end_s})))
        else:
            values.append((key, value.without(number, listed=False)._replace(added=value.added | bit)))
    try:
        table.write(values)
        table.insert((key for key in keys if key not in found), new)
    finally:  # also of those for which there was room
        _settle(table)
    return Done(len(keys) - same, same)


def _added(table: SetTable, number: int, keep: Collection[bytes]) -> dict[bytes, Value]:
    """What was added at run time but for what is to be kept, as it is without this set."""
    bit, now = 1 << number, boot_s()
    gone: dict[bytes, Value] = {}
    for key, raw in table.items():
        value = Value.unpack(raw)
        if (value.added & bit or number in value.ends_s) and key not in keep:
            gone[key] = value.live(now).without(number, listed=False)
    return gone


def _take_away(table: SetTable, number: int, gone: dict[bytes, Value], overloaded: Collection[bytes]) -> int:
    try:
        table.write(gone.items())
        table.overloads.release(overloaded, number)
    finally:
        _settle(table)
    return len({*gone, *overloaded})


def _settle(table: SetTable) -> None:
    table.changed()
    table.collect()


def _demand_safe(
    pins: Pins, name: str, joining: Container[bytes], leaving: Container[bytes], yes: bool
) -> None:
    """Raises NeedsYes if the change would cut the caller's own connection.

    The policy is looked at only where an end of that connection is concerned: it may be long.
    """
    from firewall.setfile import host_keys
    from firewall.sshguard import caller_connections, guard

    if yes:
        return
    ends = {end for one in caller_connections() for end in (one.remote, one.local)}
    joins, leaves = (
        {end for end in ends if any(key in keys for key in host_keys(end.version, int(end)))}
        for keys in (joining, leaving)
    )
    if not joins | leaves:
        return
    from firewall.links import list_links
    from firewall.settable import membership_of
    from firewall.state import ENFORCE, Running

    running = Running(pins)
    if running.mode != ENFORCE:
        return
    now_member = membership_of(pins)
    name = name.removeprefix("@")
    links = list_links()
    guard(
        running.policy,
        running.names_now(links),
        links,
        lambda which, address: (
            address in joins if which == name and address in joins | leaves else now_member(which, address)
        ),
    )
