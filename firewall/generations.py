# SPDX-License-Identifier: MIT
"""Which ruleset is in force, and the policy that it came from."""

import sys

from firewall import abi
from firewall.document import Document
from firewall.errors import FwError
from firewall.pins import Pins, offset_of

_GENERATION = offset_of(abi.Control, "generation")
_FROM = offset_of(abi.Settings, "spares_from")


def generation(pins: Pins) -> int:
    """The generation in force; 0 before the first."""
    return pins.control.load_u32(_GENERATION)


def next_generation(pins: Pins, back: int = 0) -> int:
    """The first number that no ruleset ever had and whose slot is not that of the ruleset in force.

    One that was built but never came into force had its own number too; after several of these the count would
    come round to the slot that is in use. Nor is it that of the ruleset that spared flows are asked of, or of
    `back`, to which a change returns that fails.
    """
    settings = [value for _, value in pins.map("settings").items()]
    built = [int.from_bytes(value[:4], sys.byteorder) for value in settings]
    running = generation(pins)
    kept = [int.from_bytes(value[_FROM : _FROM + 4], sys.byteorder) for value in settings]
    origins = [kept[built.index(number)] for number in (running, back) if number in built]
    return free_number(max(built), running, back, *origins)


def free_number(last: int, running: int, *kept: int) -> int:
    """The first number after `last` for a ruleset built while `running` is in force and `kept` are needed too."""
    taken = {slot_key(number) for number in (running, *kept) if number}
    number = last + 1
    while slot_key(number) in taken:
        number += 1
    return number


def read_document(pins: Pins, number: int) -> Document:
    """The document of a generation that is in force, or was before the last `publish`."""
    inner = pins.map("policies").lookup_inner(slot_key(number))
    if inner is None:
        raise FwError(
            "no ruleset is in force: a load was interrupted", "'fw unload --all' removes what is left of it"
        )
    with inner:
        return Document.decode(b"".join(value for _, value in sorted(inner.items(), key=_by_index)))


def slot_key(number: int) -> bytes:
    """The key of a generation in `settings`, `classifiers`, `furthers` and `policies`."""
    return (number % abi.Limits.GENERATION_SLOTS).to_bytes(4, sys.byteorder)


def _by_index(pair: tuple[bytes, bytes]) -> int:
    return int.from_bytes(pair[0], sys.byteorder)
