# SPDX-License-Identifier: MIT
"""`fw flow`: the connections that are tracked."""

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import typer

from firewall import render
from firewall.cli import filters
from firewall.cli.base import Command, Report, Session, Yes, new_app, run_default, session_of
from firewall.cli.flowwatch import WATCH, watch
from firewall.cli.keep import RESTORE, SAVE, restore, save
from firewall.errors import NeedsYes, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from firewall.flows import Filter, Flow

app = new_app()

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


@app.callback(
    invoke_without_command=True,
    epilog=_LIST + "".join(part.lstrip() for part in (_DELETE, _FLUSH, WATCH, SAVE, RESTORE)),
)
def flow(ctx: typer.Context) -> None:
    """List, watch, delete and keep tracked connections.

    Without a verb: list.
    """
    run_default(ctx, "list")


@app.command("list", cls=Report, epilog=_LIST)
def list_(
    ctx: typer.Context,
    proto: filters.Proto = None,
    address: filters.Address = None,
    port: filters.Port = None,
    state: filters.State = None,
    rule: filters.Rule = None,
    iface: filters.Iface = None,
) -> None:
    """List the live flows: between whom, state, traffic, age."""
    from firewall.flows import Table
    from firewall.pins import demand_pins

    session = session_of(ctx)
    wanted = filters.flow_filter(proto, address, port, state, rule, iface)
    # No more is kept of each than what is printed.
    form: Callable[[Flow], Any] = fields_of if session.json else row_of
    with demand_pins() as pins:
        chosen = ((_order(one), form(one)) for one in Table(pins) if wanted.matches(one))
        found = [printed for _, printed in sorted(chosen, key=itemgetter(0))]
    if session.json:
        session.print_json(flows=found)
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
        session.print(*render.table(header, found, right))


@app.command(cls=Command, epilog=_DELETE)
def delete(
    ctx: typer.Context,
    proto: filters.Proto = None,
    address: filters.Address = None,
    port: filters.Port = None,
    state: filters.State = None,
    rule: filters.Rule = None,
    iface: filters.Iface = None,
    yes: Yes = False,
) -> None:
    """Forget the flows that match.

    A TCP connection among them is cut; what is not TCP may begin anew.
    """
    wanted = (proto, address, port, state, rule, iface)
    if not any(option is not None for option in wanted):
        raise UsageError("which flows?", "give --address or another filter, or 'fw flow flush' for all")
    _delete(session_of(ctx), filters.flow_filter(*wanted), yes)


@app.command(cls=Command, epilog=_FLUSH)
def flush(ctx: typer.Context, yes: Yes = False) -> None:
    """Forget all flows."""
    from firewall.flows import Filter

    _delete(session_of(ctx), Filter(), yes)


app.command(cls=Report, epilog=WATCH)(watch)
app.command(cls=Command, epilog=SAVE)(save)
app.command(cls=Command, epilog=RESTORE)(restore)


def _delete(session: Session, wanted: "Filter", yes: bool) -> None:
    from firewall.flows import Table
    from firewall.pins import demand_pins
    from firewall.recover import locked

    with locked(), demand_pins() as pins:
        table = Table(pins)
        found = [one for one in table if wanted.matches(one)]
        if not yes:
            _refuse_to_cut(found)
        deleted = table.delete(found)
    session.say(f"{render.counted(deleted, 'flow')} deleted")


def _refuse_to_cut(found: "Iterable[Flow]") -> None:
    """Raises NeedsYes if the caller works through one of the flows: mid-stream segments open none."""
    from firewall.services import TCP
    from firewall.sshguard import caller_connections

    own = {
        frozenset(((int(one.remote), one.remote_port), (int(one.local), one.local_port))): one
        for one in caller_connections()
    }
    for one in found:
        # Who is its opener may have been a guess, if it was met midway.
        cut = own.get(frozenset(((one.src, one.sport or 0), (one.dst, one.dport or 0))))
        if cut and one.proto == TCP:
            raise NeedsYes(f"this would cut your connection from {cut.remote}", "--yes does it all the same")


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


def row_of(one: "Flow") -> tuple[str, ...]:
    """A line of the list: protocol, ends, state, and what has passed."""
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


def fields_of(one: "Flow") -> "Mapping[str, Any]":
    """A flow as JSON has it."""
    from firewall.flows import address_text
    from firewall.masks import Masked
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
        "set_mark": str(Masked(one.mark, one.mark_mask)) if one.mark_mask else None,
        "idle_s": one.idle_s or None,
    }
