# SPDX-License-Identifier: MIT
"""`fw flow`: the connections that are tracked."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from firewall import render
from firewall.cli import filters
from firewall.cli.base import Command, Report, Session, Yes, new_app, run_default, session_of
from firewall.errors import NeedsYes, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from firewall.flows import Filter, Flow

app = new_app()

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

_LIST = """
fw flows                                  the same
fw flow list --proto tcp --port 443
fw flow list --address 192.0.2.0/24 --state established
fw flow list --json
"""
_DELETE = """
fw flow delete --address 198.51.100.7
fw flow delete --rule 3
"""
_FLUSH = """
fw flow flush                             every connection has to begin anew
"""


@app.callback(invoke_without_command=True, epilog=_LIST + _DELETE.lstrip() + _FLUSH.lstrip())
def flow(ctx: typer.Context) -> None:
    """List, delete and flush tracked connections.

    Without a verb: list.
    """
    run_default(ctx, "list")


@app.command("list", cls=Report, epilog=_LIST)
def list_(
    ctx: typer.Context,
    proto: filters.Proto = None,
    address: filters.Address = None,
    port: Port = None,
    state: State = None,
    rule: Rule = None,
    iface: Iface = None,
) -> None:
    """List the live flows: between whom, state, traffic, age."""
    from firewall.flows import Table
    from firewall.pins import demand_pins

    session = session_of(ctx)
    wanted = _filter(proto, address, port, state, rule, iface)
    with demand_pins() as pins:
        found = sorted((one for one in Table(pins) if wanted.matches(one)), key=_order)
    if session.json:
        session.print_json(flows=[_fields(one) for one in found])
    else:
        header = (
            "proto",
            "from",
            "to",
            "state",
            "packets",
            "bytes",
            "replies",
            "bytes",
            "age",
            "expires",
            "rule",
        )
        right = ("packets", "bytes", "replies", "age", "expires", "rule")
        session.print(*render.table(header, map(_row, found), right))


@app.command(cls=Command, epilog=_DELETE)
def delete(
    ctx: typer.Context,
    proto: filters.Proto = None,
    address: filters.Address = None,
    port: Port = None,
    state: State = None,
    rule: Rule = None,
    iface: Iface = None,
    yes: Yes = False,
) -> None:
    """Forget the flows that match.

    A TCP connection among them is cut; what is not TCP may begin anew.
    """
    wanted = (proto, address, port, state, rule, iface)
    if not any(option is not None for option in wanted):
        raise UsageError("which flows?", "give --address or another filter, or 'fw flow flush' for all")
    _delete(session_of(ctx), _filter(*wanted), yes)


@app.command(cls=Command, epilog=_FLUSH)
def flush(ctx: typer.Context, yes: Yes = False) -> None:
    """Forget all flows."""
    from firewall.flows import Filter

    _delete(session_of(ctx), Filter(), yes)


def _delete(session: Session, wanted: "Filter", yes: bool) -> None:
    from firewall.flows import Table
    from firewall.paths import Lock
    from firewall.pins import demand_pins

    with Lock(), demand_pins() as pins:
        table = Table(pins)
        found = [one for one in table if wanted.matches(one)]
        if not yes:
            _refuse_to_cut(found)
        deleted = table.delete(found)
    session.say(f"{render.counted(deleted, 'flow')} deleted")


def _refuse_to_cut(found: "Iterable[Flow]") -> None:
    """Raises NeedsYes if the caller works through one of the flows: mid-stream segments open none."""
    from firewall.sshguard import caller_connections

    own = {
        (int(one.remote), one.remote_port, int(one.local), one.local_port): one
        for one in caller_connections()
    }
    for one in found:
        cut = own.get((one.src, one.sport or 0, one.dst, one.dport or 0))
        if cut:
            raise NeedsYes(f"this would cut your connection from {cut.remote}", "--yes does it all the same")


def _filter(
    proto: str | None,
    address: str | None,
    port: int | None,
    state: str | None,
    rule: int | None,
    iface: str | None,
) -> "Filter":
    from firewall.flows import Filter

    ifindexes = None
    if iface is not None:
        from firewall.links import find

        ifindexes = frozenset((find(iface).ifindex,))
    return Filter(
        proto=None if proto is None else filters.protocol(proto),
        addresses=None if address is None else filters.addresses(address),
        port=None if port is None else filters.port(port),
        state=None if state is None else filters.state(state),
        rule=rule,
        ifindexes=ifindexes,
    )


def _order(one: "Flow") -> tuple[Any, ...]:
    return (
        one.proto,
        one.family,
        one.src,
        one.dst,
        one.sport or 0,
        one.dport or 0,
        one.icmp_id or one.gre_key or 0,
    )


def _row(one: "Flow") -> tuple[str, ...]:
    from firewall.flows import address_text
    from firewall.services import protocol_name

    marks = (
        ("id", one.icmp_id),
        ("key", one.gre_key),
        ("spi", one.spi and f"{one.spi:#010x}"),
        ("back", one.reply_spi and f"{one.reply_spi:#010x}"),
    )
    target = render.endpoint(address_text(one.family, one.dst), one.dport)
    return (
        protocol_name(one.proto),
        render.endpoint(address_text(one.family, one.src), one.sport),
        " ".join([target, *(f"{name} {value}" for name, value in marks if value is not None)]),
        one.state,
        render.count(one.opener.packets),
        render.size(one.opener.bytes),
        render.count(one.responder.packets),
        render.size(one.responder.bytes),
        render.duration(one.age_s),
        render.duration(one.expires_s),
        str(one.rule or "default"),
    )


def _fields(one: "Flow") -> "Mapping[str, Any]":
    from firewall.flows import address_text
    from firewall.services import protocol_name

    return {
        "proto": protocol_name(one.proto),
        "src": address_text(one.family, one.src),
        "sport": one.sport,
        "dst": address_text(one.family, one.dst),
        "dport": one.dport,
        "icmp_id": one.icmp_id,
        "gre_key": one.gre_key,
        "spi": one.spi,
        "reply_spi": one.reply_spi,
        "state": one.state,
        "confirmed": one.confirmed,
        "scope": one.scope,
        "packets": one.opener.packets,
        "bytes": one.opener.bytes,
        "reply_packets": one.responder.packets,
        "reply_bytes": one.responder.bytes,
        "age_s": one.age_s,
        "expires_s": one.expires_s,
        "rule": one.rule or None,
    }
