# SPDX-License-Identifier: MIT
"""Rules of the usual shapes read at one go, for policies of many thousands.

A line is taken apart by one expression, and what its parts say is remembered by their text, since large policies say
the same things again and again. What does not fit here, or is wrong, is left to `Rule.read`, which makes the same rule
of whatever is read here, and says what is wrong with the rest.
"""

import re
from collections.abc import Callable
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeVar

from firewall.addresses import Addrs, Span, is_mapped, read_addrs
from firewall.lang import MAX_LINE_CHARS, MAX_STRING_CHARS, Cursor, read_alone
from firewall.rule import Rule
from firewall.services import PORT_PROTOCOLS, PROTOCOLS
from firewall.terms import ANY_END, End, Names, Ports, read_names, read_ports

_Read = TypeVar("_Read")
# What a part says, and whether it prints as it was written; None where it is to be read otherwise.
_Part = tuple[_Read, bool] | None
# Of an end also the families that it can match, as bits, and whether it has ports.
_EndPart = tuple[End, bool, int, bool] | None

_LIST = r'(?:not )?[^ ,"#]+(?:, ?[^ ,"#]+)*'
_END = rf"port {_LIST}|{_LIST}(?: port {_LIST})?"
_PROTO = r"(?:tcp|udp|sctp|gre|esp|ah)"  # of both families
_WAY = rf"(?: on ({_LIST}))?(?: via ({_LIST}))?"  # as it prints, or where many write it
_SHAPE = re.compile(
    rf"(allow|drop|reject) (in|out|forward){_WAY}(?: ({_PROTO}(?:, {_PROTO})*))?"
    rf'(?: from ({_END}))?(?: to ({_END}))?{_WAY}(?: (log)(?: "([^"]+)")?)?(?: comment "([^"]+)")?'
)
_FOUR, _SIX = 1, 2
_SCOPES = {scope: (scope,) for scope in ("in", "out", "forward")}
_REST = tuple(Rule("", ()))[10:]  # the fields behind the comment
_HOSTS = {
    4: {str(length): (1 << 32 - length) - 1 for length in range(33)},
    6: {str(length): (1 << 128 - length) - 1 for length in range(129)},
}
_NO_MORE = tuple(Addrs(False, ()))[2:]  # sets and whatever else a list may have beside spans
_new = tuple.__new__


class Reader:
    """Reads lines, and remembers what their parts say."""

    def __init__(self) -> None:
        self._names: dict[str, _Part[Names]] = {}
        self._protos: dict[str, tuple[tuple[int, ...], bool] | None] = {}
        self._ports: dict[str, _Part[Ports]] = {}
        self._ends: dict[str, _EndPart] = {}

    def read(self, line: str) -> tuple[Rule, str] | None:
        """The rule of a line, and the text that it prints as; that is empty where it is not known without more ado.

        None for a line that is no rule of a usual shape.
        """
        text = line.partition("#")[0].rstrip(" \t") if "#" in line and '"' not in line else line
        found = _SHAPE.fullmatch(text)
        if found is None or len(line) > MAX_LINE_CHARS or not text.isprintable():
            return None
        action, scope, on, via, protos, src, dst, late_on, late_via, log, logged, comment = found.groups()
        on_names = via_names = None
        numbers: tuple[int, ...] = ()
        from_end = to_end = ANY_END
        families, plain, ported = _FOUR | _SIX, True, False
        late = late_on is not None or late_via is not None
        if late:
            if on is not None or via is not None:
                return None
            on, via = late_on, late_via
        if on is not None or via is not None:
            interfaces = self._interfaces(scope, on, via)
            if interfaces is None:
                return None
            on_names, via_names, plain = interfaces
            plain = plain and not late
        if protos is not None:
            listed = self._protos[protos] if protos in self._protos else self._new_protos(protos)
            if listed is None:
                return None
            numbers, ported = listed
        if src is not None:
            end = self._ends[src] if src in self._ends else self._new_end(src)
            if end is None or (end[3] and not ported):
                return None
            from_end, same, families, _ = end
            plain = plain and same
        if dst is not None:
            end = self._ends[dst] if dst in self._ends else self._new_end(dst)
            if end is None or (end[3] and not ported) or not families & end[2]:
                return None
            to_end, same, _, _ = end
            plain = plain and same
        if log is not None or comment is not None:
            log = log and (logged or "")
            if len(log or "") > MAX_STRING_CHARS or len(comment or "") > MAX_STRING_CHARS:
                return None
        fields = (action, _SCOPES[scope], on_names, via_names, numbers, from_end, to_end, (), log, comment)
        return _new(Rule, fields + _REST), text if plain else ""

    def _interfaces(
        self, scope: str, on: str | None, via: str | None
    ) -> tuple[Names | None, Names | None, bool] | None:
        on_part = self._names_of(on) if on else (None, True)
        via_part = self._names_of(via) if via else (None, True)
        if on_part is None or via_part is None or (on and scope == "out") or (via and scope == "in"):
            return None
        return on_part[0], via_part[0], on_part[1] and via_part[1]

    def _names_of(self, text: str) -> _Part[Names]:
        if text not in self._names:
            self._names[text] = _read(text, read_names)
        return self._names[text]

    def _new_protos(self, text: str) -> tuple[tuple[int, ...], bool] | None:
        """Their numbers, and whether all of them have ports."""
        numbers = tuple(PROTOCOLS[word] for word in text.split(", "))
        once = len(set(numbers)) == len(numbers)
        self._protos[text] = (numbers, PORT_PROTOCOLS.issuperset(numbers)) if once else None
        return self._protos[text]

    def _new_end(self, text: str) -> _EndPart:
        end = self._ends[text] = self._read_end(text)
        return end

    def _read_end(self, text: str) -> _EndPart:
        before, ported, behind = text.partition(" port ")
        if not ported and text.startswith("port "):
            before, ported, behind = "", "port ", text[5:]
        ports, plain = None, True
        if ported:
            if behind not in self._ports:
                self._ports[behind] = _read(behind, read_ports)
            part = self._ports[behind]
            if part is None:
                return None
            ports, plain = part
        if not before:
            return _new(End, (None, ports)), plain, _FOUR | _SIX, True
        one = _one_span(before)
        if one is not None:
            span, same = one
            addrs = _new(Addrs, (False, (span,), *_NO_MORE))
            return _new(End, (addrs, ports)), plain and same, _FOUR if span[0] == 4 else _SIX, bool(ported)
        listed = _read(before, read_addrs)
        if listed is None:
            return None
        some, same = listed
        if some is None:  # any
            return None
        families = _FOUR * some.may_match(4) | _SIX * some.may_match(6)
        return _new(End, (some, ports)), plain and same, families, bool(ported)


def _one_span(text: str) -> tuple[Span, bool] | None:
    """A host or a prefix, and whether it prints as it was written; None for anything else."""
    host, slash, length = text.partition("/")
    family = 6 if ":" in host else 4
    try:
        packed = inet_pton(AF_INET6 if family == 6 else AF_INET, host)
        rest = _HOSTS[family][length] if slash else 0
    except (OSError, KeyError):
        return None
    low = int.from_bytes(packed, "big")
    if low & rest:
        return None
    span = _new(Span, (family, low, low | rest))
    if family == 4:
        return span, length != "32"
    # Where the system's function writes some of it as an IPv4 address, only `str` knows.
    same = length != "128" and "." not in host and inet_ntop(AF_INET6, packed) == host
    return None if is_mapped(span) else (span, same)


def _read(text: str, reader: Callable[[Cursor], _Read]) -> _Part[_Read]:
    """What the language's own reader makes of a text."""
    value = read_alone(text, reader)
    return None if value is None else (value, str(value) == text)
