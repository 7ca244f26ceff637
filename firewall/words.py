# SPDX-License-Identifier: MIT
"""What to say to a word that is not of the language: one that is not yet, another firewall's, or a slip."""

from collections.abc import Iterable
from typing import NoReturn

from firewall.lang import CLAUSE_WORDS, WORD, Cursor, Token, closest
from firewall.services import OTHER_PROTOCOLS, PORT_PROTOCOLS, PROTOCOLS, SERVICES

SCOPES = ("in", "out", "forward")
ACTIONS = ("allow", "drop", "reject")
ANSWERS = ("rst", "admin", "port", "host")  # of `reject with`

_SHOWN_CHARS = 60

TRANSLATION = {"redirect", "masquerade", "nat", "snat", "dnat"}
_STATE = {"state", "ctstate", "conntrack", "ct", "established", "related", "keep", "stateful"}
_INSTEAD = {
    "deny": "drop",
    "block": "drop",
    "discard": "drop",
    "accept": "allow",
    "permit": "allow",
    "pass": "allow",
    "input": "in",
    "incoming": "in",
    "ingress": "in",
    "inbound": "in",
    "output": "out",
    "outgoing": "out",
    "egress": "out",
    "outbound": "out",
    "fwd": "forward",
    "route": "forward",
    "routed": "forward",
    "src": "from",
    "source": "from",
    "saddr": "from",
    "dst": "to",
    "destination": "to",
    "daddr": "to",
    "sport": "from port",
    "dport": "to port",
    "iif": "on",
    "iifname": "on",
    "oif": "via",
    "oifname": "via",
    "protocol": "proto",
    **OTHER_PROTOCOLS,
}


def refuse(cursor: Cursor, token: Token, expected: str, known: Iterable[str]) -> NoReturn:
    """Fails at `token`, which stands where `expected` should: one of the words `known` or their like."""
    if token.kind != WORD:
        cursor.fail(f"expected {expected}, found {token}", token)
    word = token.text
    if word in _STATE:
        message = f"there is no '{word}': replies and related errors follow the flow that a rule opened"
        cursor.fail(message, token, "leave it out: a rule speaks of the packet that opens a flow")
    if word in TRANSLATION:
        message = f"'{word}' is not supported by this version, which does not translate addresses"
        cursor.fail(message, token, "nft can translate addresses beside fw")
    hint = _hint(cursor, token, list(known))
    cursor.fail(f"expected {expected}, found '{word}'", token, hint)


def quoted(word: str) -> str:
    """A word as the text that it was likely meant to be, without quotes of another kind."""
    return '"' + word.strip("'\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}") + '"'


def _hint(cursor: Cursor, token: Token, known: list[str]) -> str | None:
    word = token.text
    before = cursor.source.text[: token.column - 1].strip()
    if len(before) > _SHOWN_CHARS:
        before = "..." + before[-_SHOWN_CHARS:]
    if word in _INSTEAD:
        return f"did you mean '{_INSTEAD[word]}'?"
    earlier = [other.text for other in cursor.tokens if other.column < token.column]
    last = earlier[-1] if earlier else ""
    if _kind(word) and _kind(word) == _kind(last):
        return f"did you mean '{last}, {word}'?"
    if last == "log":
        return f"did you mean log {quoted(word)}?"
    if word in SCOPES:
        return "all scopes come right after the action, with commas between them: 'in, forward'"
    if _kind(word) == "address":
        return f"did you mean '{before} from {word}' or '{before} to {word}'?"
    hint = _port_hint(word, before, earlier)
    if hint:
        return hint
    if word == "with":
        return "it belongs to the action: 'reject with rst in', 'reject with admin in'"
    if word in CLAUSE_WORDS:
        scoped = any(scope in earlier for scope in SCOPES)
        return f"did you mean '{before.rstrip(', ')}{'' if scoped else ' in'} {word} ...'?"
    near = closest(word, known)
    return f"did you mean '{near}'?" if near else None


def _kind(word: str) -> str | None:
    """What a word looks like: "port" or "address", else None."""
    if not word.isascii():  # other scripts have digits too
        return None
    if word.replace("-", "", 1).isdigit() or word in SERVICES:
        return "port"
    is_address = word.replace(".", "").replace("/", "").replace("-", "").isdigit() or word.count(":") > 1
    return "address" if is_address else None


def _port_hint(word: str, before: str, earlier: list[str]) -> str | None:
    """The clause that someone wants who writes `22`, `ssh`, `22/tcp` or `port 22` alone."""
    if word == "port":
        return "say whose port: 'to port' or 'from port'"
    port, slash, proto = word.partition("/")
    if not port or _kind(port) != "port" or (slash and proto not in PROTOCOLS):
        return None
    scope = "" if any(scope in earlier for scope in SCOPES) else " in"
    ported = any(PROTOCOLS.get(other) in PORT_PROTOCOLS for other in earlier)
    protocol = "" if ported else f" {proto or 'tcp'}"
    return f"did you mean '{before or 'allow'}{scope}{protocol} to port {port}'?"
