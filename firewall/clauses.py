# SPDX-License-Identifier: MIT
"""The clauses of a rule: how each is read and written. What one demands of another is `firewall.rule`'s."""

from collections.abc import Callable
from typing import Any, NamedTuple

from firewall.ceilings import read_limit, read_max_flows, read_overload
from firewall.headers import read_dscp, read_macs, write_dscp, write_macs
from firewall.hours import read_between, read_unsynced, write_unsynced
from firewall.lang import STRING, WORD, Cursor, Token, number
from firewall.masks import read_masked
from firewall.owners import read_unit, read_user
from firewall.services import EXTENSION_HEADERS, PROTOCOLS, protocol_name
from firewall.terms import ANY_END, read_end, read_icmp_types, read_names
from firewall.times import read_idle
from firewall.until import read_until
from firewall.words import quoted, refuse


class Clause(NamedTuple):
    """`word` begins it (a protocol begins `proto`), and is taken already when `read` is called.

    `field` is that of `Rule`, with the value `absent` where the clause was not given; `write` gives the whole
    clause with its word.
    """

    word: str
    field: str
    read: Callable[[Cursor], Any]
    write: Callable[[Any], str]
    absent: Any = None
    of_allow: bool = False  # it says how an `allow` lets in what the rule matches, and not what that is


def _read_protos(cursor: Cursor) -> tuple[int, ...]:
    protos: dict[int, Token] = {}
    for token in cursor.items("a protocol"):
        proto = PROTOCOLS.get(token.text)
        if token.text == "proto":
            token = cursor.word("a protocol number")
            proto = _proto_number(cursor, token)
        if proto is None:
            near = number(token.text)
            if near is not None:
                cursor.fail(
                    f"expected a protocol after ',', found {token}", token, f"did you mean 'proto {near}'?"
                )
            refuse(cursor, token, "a protocol after ','", PROTOCOLS)
        cursor.add_once(token, protos, proto)
    return tuple(protos)


def _proto_number(cursor: Cursor, token: Token) -> int:
    proto = number(token.text)
    if proto is None and token.text in PROTOCOLS:
        cursor.fail(f"'proto' takes a number, found {token}", token, f"write '{token.text}' alone")
    if proto is None or proto > 255:
        cursor.fail(f"{token} is not a protocol number: they are 0 to 255", token)
    if proto in EXTENSION_HEADERS:
        message = (
            f"{proto} is the {EXTENSION_HEADERS[proto]} header of IPv6, which is never a packet's protocol"
        )
        cursor.fail(message, token)
    return proto


def _read_comment(cursor: Cursor) -> str:
    token = cursor.take()
    if token.kind != STRING:
        hint = f"did you mean comment {quoted(token.text)}?" if token.kind == WORD else None
        cursor.fail(f"expected a text in double quotes, found {token}", token, hint)
    if not token.text:
        cursor.fail("the comment is empty", token)
    return token.text


def _read_log(cursor: Cursor) -> str:
    return cursor.take().text if cursor.next.kind == STRING else ""


def _write_protos(protos: tuple[int, ...]) -> str:
    return ", ".join(map(protocol_name, protos))


def _write_types(types: tuple[object, ...]) -> str:
    return "icmp-type " + ", ".join(map(str, types))


def _write_log(text: str) -> str:
    return f'log "{text}"' if text else "log"


# What the packet path asks of the record beside an entry, and not of its box: see `firewall.further`.
FURTHER = (
    Clause("mark", "mark", read_masked, "mark {}".format),
    Clause("dscp", "dscp", read_dscp, write_dscp),
    Clause("mac", "macs", read_macs, write_macs),
    Clause("user", "user", read_user, "user {}".format),
    Clause("unit", "unit", read_unit, "unit {}".format),
    Clause("limit", "limit", read_limit, "limit {}".format, of_allow=True),
    Clause("max-flows", "max_flows", read_max_flows, "max-flows {}".format, of_allow=True),
    Clause("overload", "overload", read_overload, "overload {}".format, of_allow=True),
    Clause("set-mark", "set_mark", read_masked, "set-mark {}".format, of_allow=True),
    Clause("idle", "idle", read_idle, "idle {}".format, of_allow=True),
    Clause("untracked", "untracked", lambda _: True, lambda _: "untracked", of_allow=True),
    Clause("until", "until", read_until, "until {}".format),
    Clause("between", "between", read_between, "between {}".format),
    Clause("unsynced", "unsynced", read_unsynced, write_unsynced),
)

# In the order in which they print.
CLAUSES = {
    clause.word: clause
    for clause in (
        Clause("on", "on", read_names, "on {}".format),
        Clause("via", "via", read_names, "via {}".format),
        Clause("proto", "protos", _read_protos, _write_protos, ()),
        Clause("from", "src", read_end, "from {}".format, ANY_END),
        Clause("to", "dst", read_end, "to {}".format, ANY_END),
        Clause("icmp-type", "icmp_types", read_icmp_types, _write_types, ()),
        Clause("log", "log", _read_log, _write_log),
        Clause("comment", "comment", _read_comment, 'comment "{}"'.format),
        *FURTHER,
    )
}
