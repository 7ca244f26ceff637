# SPDX-License-Identifier: MIT
"""`fw flow`: the connections that are tracked."""

from typing import TYPE_CHECKING

import typer

from firewall import render
from firewall.cli import filters
from firewall.cli.base import (
    Command,
    Encoded,
    Report,
    Session,
    Yes,
    encoded,
    new_app,
    run_default,
    session_of,
)
from firewall.cli.flowwatch import WATCH, watch
from firewall.cli.keep import RESTORE, SAVE, restore, save
from firewall.errors import NeedsYes, UsageError

if TYPE_CHECKING:
    from firewall.flows import Filter
    from firewall.sockets import TcpSocket

app = new_app()

_HEADER = tuple("proto from to state packets bytes replies bytes age expires rule".split())
_TO_THE_RIGHT = "packets", "bytes", "replies", "age", "expires", "rule"

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
    from firewall.cli.flowlines import Ordered, Rows, fields_of
    from firewall.flows import Table
    from firewall.pins import demand_pins

    session = session_of(ctx)
    wanted = filters.flow_filter(proto, address, port, state, rule, iface)
    with demand_pins() as pins:
        chosen = Table(pins).chosen(wanted)
        if session.json:
            session.print_json(flows=Encoded(Ordered(chosen, lambda one: encoded(fields_of(one)))))
            return
        rows = Rows(_HEADER, chosen)
    if len(rows):
        session.print_all(
            render.columns(rows, [i for i, name in enumerate(_HEADER) if name in _TO_THE_RIGHT])
        )


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
    from firewall.services import TCP

    with locked(), demand_pins() as pins:
        table = Table(pins)
        mine = {} if yes else _own_connections()
        keys = []
        for one in table.chosen(wanted):
            # Who is its opener may have been a guess, if it was met midway.
            cut = (
                mine.get(frozenset(((one.src, one.sport or 0), (one.dst, one.dport or 0)))) if mine else None
            )
            if cut and one.proto == TCP:
                raise NeedsYes(
                    f"this would cut your connection from {cut.remote}", "--yes does it all the same"
                )
            keys.append(one.key)
        deleted = table.delete(keys)
    session.say(f"{render.counted(deleted, 'flow')} deleted")


def _own_connections() -> "dict[frozenset[tuple[int, int]], TcpSocket]":
    """The connections that the caller works through, by their ends: mid-stream segments would open none."""
    from firewall.sshguard import caller_connections

    return {
        frozenset(((int(one.remote), one.remote_port), (int(one.local), one.local_port))): one
        for one in caller_connections()
    }
