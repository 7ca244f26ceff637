# SPDX-License-Identifier: MIT
"""Which flows a change of rules spares: what `--keep-flows` asks for, and how long that holds.

The settings of a ruleset say it with two generations (bpf_src/anew.h). The older one's rules are kept as long as they
are asked what they let run; nothing is written to a flow before its next packet.
"""

from enum import Enum
from typing import NamedTuple

from firewall import abi
from firewall.clock import now_j
from firewall.generations import generation, slot_key
from firewall.pins import Pins, offset_of

_FROM, _TO = offset_of(abi.Settings, "spares_from"), offset_of(abi.Settings, "spares_to")
_ANY = 0xFFFFFFFF
_STRIDE = 0x9E3779B1  # ADMISSION_STRIDE of bpf_src/packet.h
_TICK_BITS = 8  # of bpf_src/announce.h


class Flows(Enum):
    """What a change means for running flows: they are judged by it, they are spared, or that stays as it is."""

    JUDGE = "judge"
    KEEP = "keep"
    LEAVE = "leave"


class Sparing(NamedTuple):
    """Spared are flows of generations before `to` that the rules of `origin`, or younger ones, let run; 0: none.

    Those rules are not asked again about flows with their `admission`.
    """

    origin: int = 0
    to: int = 0
    admission: int = 0


NONE = Sparing()


def in_force(pins: Pins) -> Sparing:
    """What the ruleset in force spares."""
    value = pins.map("settings").lookup(slot_key(generation(pins))) or bytes(abi.Settings.SIZE)
    settings = abi.Settings.unpack(value)
    return Sparing(settings.spares_from, settings.spares_to, settings.spares_admission)


def spares_all(pins: Pins) -> bool:
    """Whether sets are being changed, and nothing is to hear of it: without the lock, or after a kill."""
    return in_force(pins).to == _ANY


def sparing_of(pins: Pins, flows: Flows, new: int, *, sets_change: bool = False) -> Sparing:
    """What generation `new` is to spare, that takes the place of the one in force.

    While the sets change with the rules a flow is spared whatever they say of it: so it has to be followed by one more
    generation when they have.
    """
    now = in_force(pins)
    if flows is Flows.JUDGE:
        return NONE
    if flows is Flows.LEAVE:  # a command that changed sets may have been killed
        return now._replace(to=new) if now.to == _ANY else now
    to = _ANY if sets_change else new
    if now.origin:
        return now._replace(to=to)
    origin = generation(pins)
    return Sparing(origin, to, admission(pins, origin))


def admission(pins: Pins, number: int) -> int:
    """What a flow has that generation `number` admits now, see `begin` in bpf_src/parse.h."""
    control = abi.Control.unpack(pins.map("control").lookup(bytes(4)) or bytes(abi.Control.SIZE))
    heard = control.overload + (now_j() >> _TICK_BITS >= control.overload >> 32)
    return (number * _STRIDE + control.sets_changed + heard) % (1 << 32) or 1
