# SPDX-License-Identifier: MIT
"""Options that pick flows or events, and how their words are read."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from firewall.cli.base import unknown_value
from firewall.errors import UsageError

if TYPE_CHECKING:
    from firewall.flows import Filter

Proto = Annotated[
    str | None, typer.Option("--proto", "-p", metavar="PROTO", help="tcp, udp, icmp, ... or a number.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", "-a", metavar="IP[/LEN]", help="Of either end; several with commas."),
]

Port = Annotated[int | None, typer.Option("--port", metavar="PORT", help="Of either end.")]
State = Annotated[
    str | None, typer.Option("--state", "-s", metavar="STATE", help="established, syn_sent, ...")
]
Rule = Annotated[
    int | None, typer.Option("--rule", "-r", metavar="ID", help="The rule that allowed it; 0: a default.")
]
Iface = Annotated[
    str | None, typer.Option("--iface", "-i", metavar="IF", help="It came or left by this interface.")
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
    from firewall.flowstate import STATES

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


def flow_filter(
    proto: str | None,
    address: str | None,
    end_port: int | None,
    in_state: str | None,
    rule: int | None,
    iface: str | None,
) -> "Filter":
    """What the options ask of a flow; None asks nothing."""
    from firewall.flows import Filter

    ifindexes = None
    if iface is not None:
        from firewall.links import find

        ifindexes = frozenset((find(iface).ifindex,))
    return Filter(
        proto=None if proto is None else protocol(proto),
        addresses=None if address is None else addresses(address),
        port=None if end_port is None else port(end_port),
        state=None if in_state is None else state(in_state),
        rule=rule,
        ifindexes=ifindexes,
    )
