# SPDX-License-Identifier: MIT
"""A flow as a line of a list, and as JSON has it; and many of them in order, with little kept of each."""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from firewall import render
from firewall.flows import Flow, address_text
from firewall.services import protocol_name

_ORDER = struct.Struct(">BB16s16sHHI")
_CELL_END = "\0"  # in no cell


class Ordered:
    """Flows in order, each kept as what is printed of it alone: there may be a million."""

    def __init__(self, flows: Iterable[Flow], form: Callable[[Flow], str]) -> None:
        self._lines = sorted(_order(one) + form(one) for one in flows)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return (line[_ORDER.size :] for line in self._lines)


class Rows:
    """The rows of a table of flows, below its header; they can be gone through again and again."""

    def __init__(self, header: Sequence[str], flows: Iterable[Flow]) -> None:
        self._header = header
        self._flows = Ordered(flows, lambda one: _CELL_END.join(row_of(one)))

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[Sequence[str]]:
        yield self._header
        for line in self._flows:
            yield line.split(_CELL_END)


def _order(one: Flow) -> str:
    """What flows are sorted by, in as many characters for each."""
    order = _ORDER.pack(
        one.proto,
        one.family,
        one.src.to_bytes(16),
        one.dst.to_bytes(16),
        one.sport or 0,
        one.dport or 0,
        one.icmp_id or one.gre_key or 0,
    )
    return order.decode("latin-1")


def row_of(one: Flow) -> tuple[str, ...]:
    """A line of the list: protocol, ends, state, and what has passed."""
    target = render.endpoint(address_text(one.family, one.dst), one.dport)
    if one.dport is None:
        target = " ".join([target, *_marks(one)])
    return (
        protocol_name(one.proto),
        render.endpoint(address_text(one.family, one.src), one.sport),
        target,
        one.state,
        render.count(one.opener.packets),
        render.size(one.opener.bytes),
        render.count(one.responder.packets),
        render.size(one.responder.bytes),
        render.duration(one.age_s),
        render.duration(one.expires_s),
        str(one.rule or "default"),
    )


def _marks(one: Flow) -> Iterator[str]:
    """What tells flows without ports apart."""
    if one.icmp_id is not None:
        yield f"id {one.icmp_id}"
    if one.gre_key is not None:
        yield f"key {one.gre_key}"
    if one.spi is not None:
        yield f"spi {one.spi:#010x}"
    if one.reply_spi is not None:
        yield f"back {one.reply_spi:#010x}"


def fields_of(one: Flow) -> Mapping[str, Any]:
    """A flow as JSON has it."""
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
        "set_mark": _mask_text(one) if one.mark_mask else None,
        "idle_s": one.idle_s or None,
    }


def _mask_text(one: Flow) -> str:
    from firewall.masks import Masked

    return str(Masked(one.mark, one.mark_mask))
