# SPDX-License-Identifier: MIT
"""`fw flow watch`: who sends most, again and again."""

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from firewall import render
from firewall.cli import filters
from firewall.cli.base import JSON_SCHEMA, Session, session_of
from firewall.errors import NotLoaded, UsageError

if TYPE_CHECKING:
    from firewall.occupancy import Use
    from firewall.rates import Look, Rate

WATCH = """
fw flow watch                             until Ctrl-C
fw flow watch --proto udp --interval 5
fw flow watch --count 3 --json            one object a line
"""

_LIMIT = 20  # lines of flows where there is no screen
_INTERVAL_S = (0.1, 86400.0)
_UNTOLD = os.terminal_size((80, 24))  # of a terminal that says 0, as a serial line's does
_AROUND = 3  # lines of a screen: figures, header, and the cursor's
_HOME, _TO_END_OF_LINE, _TO_END, _CLEAR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"


def watch(
    ctx: typer.Context,
    proto: filters.Proto = None,
    address: filters.Address = None,
    port: filters.Port = None,
    state: filters.State = None,
    rule: filters.Rule = None,
    iface: filters.Iface = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", help="Seconds from look to look.")
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", help="End after N.", min=1, max=1 << 31)
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="So many flows.", min=1, max=65536)
    ] = None,
) -> None:
    """Show who sends most, every second.

    Rates are bytes a second since the look before, of whoever opened the
    connection and of the other end. A table of a million flows takes seconds
    to look at; then the interval is longer.
    """
    from firewall import state as loaded
    from firewall.cli.interrupt import Interruption
    from firewall.flows import Table
    from firewall.occupancy import use
    from firewall.rates import Rates

    if not _INTERVAL_S[0] <= interval <= _INTERVAL_S[1]:
        raise UsageError(f"cannot look every {interval:g} s", "an interval is from 0.1 s to a day")
    session = session_of(ctx)
    screen = _Screen(session, limit)
    rates = Rates(filters.flow_filter(proto, address, port, state, rule, iface))
    looks = 0
    interruption = Interruption()
    while count is None or looks <= count:
        began_s = time.monotonic()
        try:
            with loaded.read() as running:
                look = rates.look(Table(running.pins), screen.limit)
                places = use(running.pins, running.generation)
        except NotLoaded:
            if not looks:
                raise
            session.say("fw was unloaded")
            return
        if looks:
            screen.show(look, places)
        looks += 1
        if count is None or looks <= count:
            took_s = time.monotonic() - began_s
            interruption.wait(max(interval - took_s, took_s))  # at most half of the time is spent looking


class _Screen:
    """Where looks are shown: over each other on a terminal, else one after the other."""

    def __init__(self, session: Session, limit: int | None) -> None:
        self._session = session
        self._limit = limit
        self._redraws = not session.json and session.out.isatty()
        self._shown = 0

    @property
    def limit(self) -> int:
        """How many flows a look shows."""
        if not self._redraws:
            return self._limit or _LIMIT
        fits = max(1, (self._size().lines or _UNTOLD.lines) - _AROUND)
        return min(self._limit or fits, fits)

    def _size(self) -> os.terminal_size:
        return os.get_terminal_size(self._session.out.fileno())

    def show(self, look: "Look", use: "Use") -> None:
        """Prints a look at once."""
        out = self._session.out
        if self._session.json:
            self._session.print(_json(look, use))
        elif self._redraws:
            width = self._size().columns or _UNTOLD.columns
            lines = "".join(f"{line[:width]}{_TO_END_OF_LINE}\n" for line in _lines(look, use))
            out.write(f"{_HOME if self._shown else _CLEAR + _HOME}{lines}{_TO_END}")
        else:
            self._session.print(*[""] * bool(self._shown), *_lines(look, use))
        out.flush()
        self._shown += 1


def _lines(look: "Look", use: "Use") -> list[str]:
    head = (
        f"{time.strftime('%H:%M:%S')}  {render.counted(look.flows, 'flow')}, {render.count(look.opened)} opened, "
        f"{render.count(look.ended)} ended; {render.count(use.used)} of {render.count(use.max)} places used"
    )
    header = ("proto", "from", "to", "state", "bytes/s", "replies/s", "age")
    return [head, *render.table(header, map(_row, look.top), right=header[4:])]


def _row(rate: "Rate") -> tuple[str, ...]:
    from firewall.cli.flowlines import row_of

    return (
        *row_of(rate.flow)[:4],
        render.size(round(rate.bytes_per_s)),
        render.size(round(rate.reply_bytes_per_s)),
        render.duration(rate.flow.age_s),
    )


def _json(look: "Look", use: "Use") -> str:
    import json

    from firewall.cli.flowlines import fields_of

    top = [
        {
            **fields_of(rate.flow),
            "bytes_per_s": round(rate.bytes_per_s),
            "reply_bytes_per_s": round(rate.reply_bytes_per_s),
        }
        for rate in look.top
    ]
    facts = {
        "schema": JSON_SCHEMA,
        "time_s": round(time.time(), 3),
        "elapsed_s": round(look.elapsed_s, 3),
        "live": look.flows,
        "opened": look.opened,
        "ended": look.ended,
        **use._asdict(),
        "flows": top,
    }
    return json.dumps(facts, ensure_ascii=False)
