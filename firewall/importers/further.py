# SPDX-License-Identifier: MIT
"""What rules of other firewalls ask for beyond addresses, ports and interfaces, as the further clauses of a rule of fw:
marks, classes of traffic, MAC addresses and users.

Each reader returns the values of which a packet has one, or None where every packet has; it raises Refused where fw
cannot say it, and Never where no packet can match.
"""

import re
from itertools import product

from firewall.headers import DSCP_MAX, DSCP_NAMES, write_dscp
from firewall.importers.carried import Never, Refused
from firewall.masks import Masked

_WHOLE = 0xFFFFFFFF
# nft's own names, and those of RFC 2474 and RFC 5865.
_DSCP_ALIASES = {"be": 0, "df": 0, "lephb": 1, "va": 44}
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def marks(texts: list[str], negated: bool, mask: int = _WHOLE) -> tuple[Masked, ...] | None:
    """`VALUE[/MASK]` each, of which `mask` is meant where none is said."""
    asked = [_mark(text, mask) for text in texts]
    if negated:
        if len(asked) == 1 and _one_bit(asked[0].mask) and not asked[0].value & ~asked[0].mask:
            ((value, bit),) = asked
            return (Masked(value ^ bit, bit),)
        raise but("a mark", f"mark {', '.join(map(str, asked))}")
    possible = tuple(mark for mark in asked if not mark.value & ~mark.mask)
    if not possible:
        raise Never
    return None if any(not mark.mask for mark in possible) else possible


def classes(texts: list[str], negated: bool) -> tuple[int, ...] | None:
    """Names and numbers of classes of traffic, and ranges with `-`."""
    found: set[int] = set()
    for text in texts:
        low, _, high = text.lower().partition("-")
        found.update(range(_class(low), _class(high or low) + 1))
    chosen = [value for value in range(DSCP_MAX + 1) if (value in found) != negated]
    if not chosen:
        raise Never
    return None if len(chosen) > DSCP_MAX else tuple(chosen)


def macs(texts: list[str], negated: bool) -> tuple[str, ...]:
    """MAC addresses of senders."""
    found = tuple(text.lower() for text in texts)
    for text in found:
        if not _MAC.fullmatch(text):
            raise Refused(f"'{text}' is not a MAC address")
    if negated:
        raise but("a MAC address", f"mac {', '.join(found)}")
    if not found:
        raise Never
    return found


def users(texts: list[str], negated: bool) -> tuple[str, ...]:
    """Names and numbers of users."""
    if negated:
        raise but("a user", f"user {texts[0] if texts else ''}".strip())
    if any(re.fullmatch(r"\d+-\d+", text) for text in texts):
        raise Refused("fw has no ranges of users", by_hand="write a rule for each")
    if not texts:
        raise Never
    return tuple(texts)


def but(what: str, clause: str) -> Refused:
    """The reason of a rule that asks for all but something that fw has no `not` for."""
    hand = f"decide on '{clause}' by a rule before it, and leave this out of the rule"
    return Refused(f"fw cannot ask for all but {what}", by_hand=hand)


def both_marks(one: tuple[Masked, ...] | None, other: tuple[Masked, ...] | None) -> tuple[Masked, ...] | None:
    """The marks that are of both lists."""
    if one is None or other is None:
        return other if one is None else one
    found = tuple(
        Masked(a.value | b.value, a.mask | b.mask)
        for a, b in product(one, other)
        if not (a.value ^ b.value) & a.mask & b.mask
    )
    if not found:
        raise Never
    return found


def both_users(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The users that are of both lists. Nobody knows here which number a name has."""
    if one is None or other is None or one == other:
        return other if one is None else one
    if not all(user.isdecimal() for user in one + other):
        raise Refused("it asks for users twice")
    found = tuple(user for user in one if user in other)
    if not found:
        raise Never
    return found


def clauses(
    mark: Masked | None,
    dscp: tuple[int, ...] | None,
    macs: tuple[str, ...] | None,
    user: str | None,
) -> list[str]:
    """The clauses of one rule of fw."""
    words = [f"mark {mark}"] if mark else []
    words += [write_dscp(dscp)] if dscp else []
    words += [f"mac {', '.join(macs)}"] if macs else []
    return words + ([f"user {user}"] if user is not None else [])


def _mark(text: str, mask: int) -> Masked:
    value, slash, bits = text.partition("/")
    try:
        found = Masked(int(value, 0), int(bits, 0) if slash else mask)
    except ValueError:
        found = Masked(-1)
    if not 0 <= found.value <= _WHOLE or not 0 <= found.mask <= _WHOLE:
        raise Refused(f"fw cannot ask for the mark '{text}'")
    return found


def _one_bit(mask: int) -> bool:
    return mask.bit_count() == 1


def _class(text: str) -> int:
    try:
        value = DSCP_NAMES.get(text, _DSCP_ALIASES.get(text, -1))
        value = int(text, 0) if value < 0 else value
    except ValueError:
        value = -1
    if not 0 <= value <= DSCP_MAX:
        raise Refused(f"'{text}' is not a class of traffic")
    return value
