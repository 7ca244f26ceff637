# SPDX-License-Identifier: MIT
"""`fw log`: what was dropped lately, and what is dropped now."""

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from firewall import render
from firewall.cli import filters
from firewall.cli.base import JSON_SCHEMA, Report, Session, new_app, session_of
from firewall.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from firewall.events import Event, Journal
    from firewall.state import Running

app = new_app()

_EXAMPLES = """
fw log                                      the last 4,096, oldest first
fw log -n 20 --reason default_drop
fw log -f --address 192.0.2.0/24            as they happen, until Ctrl-C
fw log -f --json                            one object a line
"""


@app.command(cls=Report, epilog=_EXAMPLES)
def log(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones as they come.")] = False,
    number: Annotated[int | None, typer.Option("-n", metavar="N", help="The last N only.")] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="REASON", help="As 'fw status' has it.")
    ] = None,
    address: filters.Address = None,
    proto: filters.Proto = None,
) -> None:
    """Show the last drops and logged packets.

    The kernel keeps the last 4,096 of them, from before this was called.
    """
    from firewall import state
    from firewall.events import Journal

    if number is not None and number < 0:
        raise UsageError(f"cannot show {number} events")
    session = session_of(ctx)
    wanted = _filter(reason, address, proto)
    with state.read() as running:
        printer = _Printer(session, running)
        journal = Journal(running.pins)
        if follow:
            printer.follow(journal, wanted, number)
            return
        if wanted is None:
            events = journal.read(last=number)
        else:
            events = _last(number, filter(wanted, journal.read()))
        if session.json:
            session.print_json(events=[printer.fields(event) for event in events])
        else:
            session.print(*map(printer.line, events))


class _Printer:
    """Events as lines whose columns line up, also those that come one by one."""

    def __init__(self, session: Session, running: "Running") -> None:
        from firewall.services import protocol_name

        self._protocol_name = protocol_name
        self._session = session
        self._running = running
        self._names: dict[int, str] = {}
        self._log_texts: dict[int, str] = {}
        for rule in running.document.rules:
            if ' log "' in rule.text:
                from firewall.rule import Rule

                self._log_texts[rule.id] = Rule.parse(rule.text).log or ""

    def follow(
        self, journal: "Journal", wanted: "Callable[[Event], bool] | None", number: int | None
    ) -> None:
        """Prints the last `number` kept events, and then each new one, until the firewall is unloaded.

        Raises BrokenPipeError when nobody reads any longer.
        """
        from firewall.cli.interrupt import Interruption

        first = True
        interruption = Interruption()

        def show(events: "list[Event]", missed: int) -> None:
            nonlocal first
            interruption.wait()
            if _reader_has_left(self._session.out):
                raise BrokenPipeError
            chosen = list(filter(wanted, events))  # without a filter all
            if first:
                first, chosen = False, _last(number, chosen)
            if missed:
                self._session.say(f"{render.counted(missed, 'event')} not shown, see 'fw option log.rate'")
            for event in chosen:
                self._session.print(self._json_line(event) if self._session.json else self.line(event))
            self._session.out.flush()

        journal.follow(show)
        self._session.say("fw was unloaded")

    def line(self, event: "Event") -> str:
        """Time, reason, ways in and out, protocol, ends, TCP flags, rule."""
        if event.src:
            what = self._protocol_name(event.proto)
            ends = f"{render.endpoint(event.src, event.sport)} > {render.endpoint(event.dst, event.dport)}"
        else:
            what, ends = f"0x{event.eth_proto:04x}", ""
        columns = [
            f"{_second(int(event.time_s))}.{int(event.time_s * 1000) % 1000:03d}",
            f"{event.reason:16}",
            f"{self._name(event.in_ifindex):8}",
            f"{self._name(event.out_ifindex):8}",
            f"{what:5}",
            f"{ends:39}",
            *self._details(event),
        ]
        return render.GAP.join(columns).rstrip()

    def _details(self, event: "Event") -> "Iterator[str]":
        if event.tcp_flags:
            yield event.tcp_flags
        if event.icmp_type is not None:
            from firewall.services import icmp_type_name

            yield icmp_type_name(event.proto, event.icmp_type >> 8)
        if event.rule:
            yield f"rule {event.rule}"
        if text := self._log_texts.get(event.rule):
            yield f'"{text}"'
        if event.overload:
            yield "put into its rule's set"
        if event.observed:
            yield "not dropped: observe"
        if event.packets > 1:
            yield render.counted(event.packets, "segment")

    def fields(self, event: "Event") -> dict[str, Any]:
        """The event as JSON has it: names of interfaces and protocol, which is None where no address was reached."""
        fields = event._asdict()
        fields["proto"] = self._protocol_name(event.proto) if event.src else None
        for way in ("in", "out"):
            ifindex = fields.pop(f"{way}_ifindex")
            fields[way] = self._name(ifindex) if ifindex else None
        return fields

    def _json_line(self, event: "Event") -> str:
        import json

        return json.dumps({"schema": JSON_SCHEMA, **self.fields(event)}, ensure_ascii=False)

    def _name(self, ifindex: int) -> str:
        if ifindex and ifindex not in self._names:
            self._names = self._running.names()
        return self._names.get(ifindex, f"#{ifindex}") if ifindex else "-"


def _reader_has_left(out: TextIO) -> bool:
    """Whether it is a pipe whose other end is closed, which is told only to those who write, or ask."""
    import select

    try:
        pipe = out.fileno()
    except OSError:  # no file at all
        return False
    ends = select.poll()
    ends.register(pipe, 0)
    return any(event & select.POLLERR for _, event in ends.poll(0))


@lru_cache(16)
def _second(time_s: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def _last(number: int | None, events: "Iterable[Event]") -> "list[Event]":
    listed = list(events)
    return listed if number is None else listed[max(0, len(listed) - number) :]


def _filter(reason: str | None, address: str | None, proto: str | None) -> "Callable[[Event], bool] | None":
    """Whether an event is wanted; None where all are."""
    name = None if reason is None else filters.reason(reason)
    number = None if proto is None else filters.protocol(proto)
    ranges = None if address is None else filters.addresses(address)
    if name is None and number is None and ranges is None:
        return None

    def wanted(event: "Event") -> bool:
        if name is not None and event.reason != name:
            return False
        if number is not None and (event.proto != number or not event.src):
            return False
        return ranges is None or any(_within(ranges, end) for end in (event.src, event.dst) if end)

    return wanted


def _within(ranges: "Mapping[int, Sequence[tuple[int, int]]]", text: str) -> bool:
    from ipaddress import ip_address

    address = ip_address(text)
    return any(low <= int(address) <= high for low, high in ranges[address.version])
