# SPDX-License-Identifier: MIT
"""Options that pick flows or events, and how their words are read."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from firewall.cli.base import unknown_value
from firewall.errors import UsageError

Proto = Annotated[
    str | None, typer.Option("--proto", "-p", metavar="PROTO", help="tcp, udp, icmp, ... or a number.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", "-a", metavar="IP[/LEN]", help="Of either end; several with commas."),
]


def protocol(word: str) -> int:
    """The number of a protocol that is given by name or number."""
    from firewall.lang import number
    from firewall.services import PROTOCOLS

    known = number(word)
    if known is not None and known < 256:
        return known
    if word.lower() not in PROTOCOLS:
        raise unknown_value("protocol", word, PROTOCOLS)
    return PROTOCOLS[word.lower()]


def addresses(text: str) -> Mapping[int, Sequence[tuple[int, int]]]:
    """Ranges by family, of the policy language's `addrs`."""
    from firewall.addresses import read_addrs
    from firewall.lang import lex_words
    from firewall.ranges import ADDRESS_MAX

    cursor = lex_words(text.split())
    addrs = read_addrs(cursor)
    cursor.finish()
    return {family: addrs.ranges(family) if addrs else [(0, top)] for family, top in ADDRESS_MAX.items()}


def state(word: str) -> str:
    """The name of a flow's state."""
    from firewall.flows import STATES

    name = word.lower().replace("-", "_")
    if name not in STATES:
        raise unknown_value("state", word, STATES)
    return name


def reason(word: str) -> str:
    """The name of a reason."""
    from firewall.reasons import REASONS

    name = word.lower().replace("-", "_")
    if name not in REASONS:
        raise unknown_value("reason", word, REASONS)
    return name


def port(number: int) -> int:
    """A port, checked."""
    if not 0 <= number <= 0xFFFF:
        raise UsageError(f"there is no port {number}", "ports go from 0 to 65535")
    return number
