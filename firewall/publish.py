# SPDX-License-Identifier: MIT
"""Puts rulesets in force, one after the other.

Everything of a ruleset is reached from one word, control.generation, which a packet reads once. A generation
is built in a slot that no packet can still be using, and then the word is stored: a packet sees the old ruleset
or the new one, and whoever is killed on the way leaves the old one whole.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from firewall import abi
from firewall.beside import Beside
from firewall.bpfmap import F_INNER_MAP, F_MMAPABLE, Map, MapType, create_map
from firewall.clock import hz, now
from firewall.compile import CHUNK_BYTES, LINE_BYTES, Compiled, Patterns, compile_policy
from firewall.counters import Counters
from firewall.document import Document
from firewall.generations import generation, slot_key
from firewall.pins import Pins, offset_of
from firewall.policy import Policy
from firewall.resolve import find_owners
from firewall.sparing import NONE, Sparing, in_force

_GENERATION = offset_of(abi.Control, "generation")
_PREVIOUS = offset_of(abi.Control, "previous")
_PATTERNS = offset_of(abi.Settings, "patterns")
_ROW_BYTES = 8
_BY_RULES = "classifiers", "trees", "policies"
_LARGE_BYTES = 1 << 17  # below it is not worth a wait


def publish(
    pins: Pins,
    policy: Policy,
    document: Document,
    classes: Mapping[str, int],
    new: int,
    sets: Mapping[str, int],
    previous: Document | None,
    sparing: Sparing = NONE,
    ready: Callable[[int], Compiled] | None = None,
    back: int = 0,
) -> None:
    """Puts a verified policy in force as generation `new`, which must never have been used.

    `classes` are those of the map `interfaces`, see `firewall.interfaces`; `sets` has the numbers of the policy's sets;
    `previous` is the document of what is in force; `sparing` says which flows are not judged by the new one. `ready`
    gives the policy compiled for a generation; without, it is compiled here. `back` is the generation that a change
    which fails returns to, if it is not the one in force.
    """
    old = generation(pins)
    held = (old, new, back, sparing.origin, in_force(pins).origin)
    stale = _stale(pins, [number for number in held if number])
    with Beside(lambda: _give_up(pins, old, stale)):
        _build(pins, policy, document, classes, new, sets, sparing, ready)
        before = previous.counters if previous else None
        Counters(pins.map("rule_counters")).prepare(before, document.counters - (before or set()))
    pins.control.store_u32(_PREVIOUS, old)
    pins.control.store_u32(_GENERATION, new)


def settle(pins: Pins, document: Document, previous: Document) -> None:
    """Gives up what rules had that are not in the policy in force. There is no way back to the one before it."""
    Counters(pins.map("rule_counters")).keep(document.counters, previous.counters)
    rates = pins.map("rates")
    if have := [key for key, _ in rates.items()]:
        rates.delete_batch(set(have) - {_key(rule.id) for rule in document.rules})


def return_to(pins: Pins, old: int) -> None:
    """Puts the generation back in force that the last `publish` replaced."""
    pins.control.store_u32(_GENERATION, old)


def _stale(pins: Pins, held: Iterable[int]) -> list[tuple[Map, bytes]]:
    """What is large of generations that are in no slot of those held: a map of maps and a key there."""
    keys = {*map(slot_key, range(abi.Limits.GENERATION_SLOTS))} - {*map(slot_key, held)}
    return [
        (outer, key) for outer in map(pins.map, _BY_RULES) for key in sorted(keys) if _is_large(outer, key)
    ]


def _is_large(outer: Map, key: bytes) -> bool:
    inner = outer.lookup_inner(key)
    if inner is None:
        return False
    with inner:
        return bool(inner.max_entries * inner.value_size >= _LARGE_BYTES)


def _give_up(pins: Pins, running: int, stale: Sequence[tuple[Map, bytes]]) -> None:
    """Frees maps once no packet can be on its way that began before the generation in force."""
    policies, key = pins.map("policies"), slot_key(running)
    text = policies.lookup_inner(key) if stale else None
    if text is None:
        return
    with text, ExitStack() as beside:
        policies.set_inner(key, text)  # the same once more, for the kernel's wait
        for outer, old_key in stale:
            beside.enter_context(Beside(partial(outer.drop_inner, old_key)))


def _build(
    pins: Pins,
    policy: Policy,
    document: Document,
    classes: Mapping[str, int],
    new: int,
    sets: Mapping[str, int],
    sparing: Sparing,
    ready: Callable[[int], Compiled] | None,
) -> None:
    pieces: list[bytes] = []
    with Beside(lambda: pieces.extend(_cut(document.encode()))):
        if ready:
            compiled = ready(new)
        else:
            owners = find_owners(policy.rules)
            compiled = compile_policy(policy, document, classes, new, hz(), now(), sets, owners, sparing)
    key = slot_key(new)
    names = "classifiers", "trees", "furthers", "edges", "policies"
    classifiers, trees, further, times, policies = map(pins.map, names)
    # Each update returns when all packets that were on their way are done, so that none uses the slot's last
    # ruleset any longer; side by side they wait for the same.
    with (
        mapped_map("chunks", CHUNK_BYTES, compiled.entries) as chunks,
        mapped_map("lines", LINE_BYTES, compiled.lines) as lines,
        _inner_map("further", abi.Further.SIZE, compiled.furthers) as furthers,
        _inner_map("document", int(abi.Limits.POLICY_CHUNK), pieces) as text,
        _inner_map("edge", abi.Edge.SIZE, compiled.edges or (bytes(abi.Edge.SIZE),)) as edges,
        Beside(lambda: trees.set_inner(key, lines)),
        Beside(lambda: further.set_inner(key, furthers)),
        Beside(lambda: times.set_inner(key, edges) if compiled.edges else None),
        Beside(lambda: policies.set_inner(key, text)),
    ):
        classifiers.set_inner(key, chunks)
    pins.map("settings").update(key, compiled.settings)


def describe_classes(pins: Pins, policy: Policy, names: Mapping[str, int]) -> None:
    """Tells the ruleset in force, which is `policy`, of interface names whose classes are not in use yet."""
    key = slot_key(generation(pins))
    settings = bytearray(pins.map("settings").lookup(key) or b"")
    patterns = Patterns(policy.rules)
    for name, class_id in names.items():
        at = _PATTERNS + class_id * _ROW_BYTES
        settings[at : at + _ROW_BYTES] = patterns.row(name).to_bytes(_ROW_BYTES, sys.byteorder)
    pins.map("settings").update(key, bytes(settings))


def _cut(data: bytes) -> list[bytes]:
    """A document in pieces of equal size."""
    step = int(abi.Limits.POLICY_CHUNK)
    return [data[start : start + step].ljust(step, b"\0") for start in range(0, len(data), step)]


def _inner_map(name: str, value_size: int, values: Iterable[bytes]) -> Map:
    pairs = [(_key(index), value) for index, value in enumerate(values)]
    inner = create_map(MapType.ARRAY, name, 4, value_size, len(pairs), F_INNER_MAP)
    inner.update_batch(pairs)
    return inner


def mapped_map(name: str, value_size: int, values: bytes) -> Map:
    """A map for `classifiers` or `trees`, of values that are laid end to end."""
    entries = len(values) // value_size
    inner = create_map(MapType.ARRAY, name, 4, value_size, entries, F_INNER_MAP | F_MMAPABLE)
    with inner.mmap() as memory:
        memory.write(0, values)
    return inner


def _key(index: int) -> bytes:
    return index.to_bytes(4, sys.byteorder)
