# SPDX-License-Identifier: MIT
"""`set NAME ...` as a value: what a policy says of a set of addresses, text to `SetDef` and back."""

import re
from typing import NamedTuple

from firewall.addresses import Span, list_text, read_spans
from firewall.lang import STRING, WORD, Cursor, Token
from firewall.times import EXAMPLES, seconds, time_text

NAME_CHARS = 31  # SET_NAME_BYTES of bpf_src/abi_limits.h, less one
# Boot time in seconds is kept in 32 bits.
TIMEOUT_MAX_S = 10 * 365 * 86400

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_NOT_NAMES = frozenset(("any", "counters", "file", "not", "timeout"))
_BARE_PATH = re.compile(r"[^\s,\"#]+")


class SetDef(NamedTuple):
    """A set of addresses. What it has comes from `spans`, from a file, or, without either, at run time alone.

    `timeout_s` is how long what is added at run time stays in it, if that is not said; None is for ever. `path` is
    as it was written: relative to the directory of the policy file. `counters`: its elements count packets.
    """

    name: str
    timeout_s: int | None = None
    spans: tuple[Span, ...] = ()
    path: str | None = None
    counters: bool = False

    def __str__(self) -> str:
        words = ["set", self.name]
        if self.timeout_s is not None:
            words.append(f"timeout {time_text(self.timeout_s)}")
        if self.counters:
            words.append("counters")
        if self.spans:
            words.append(f"= {list_text(False, self.spans)}")
        if self.path is not None:
            bare = _BARE_PATH.fullmatch(self.path)
            words.append("file " + (self.path if bare else f'"{self.path}"'))
        return " ".join(words)


def read_set(cursor: Cursor) -> SetDef:
    """`"set" NAME ["timeout" TIME] ["counters"] ["=" addrs | "file" PATH]`."""
    cursor.take()
    name = cursor.word("the name of a set")
    if "=" in name.text.strip("="):
        cursor.fail(f"'{name.text}' is not the name of a set", name, "put blanks around '='")
    complaint = name_complaint(name.text)
    if complaint:
        cursor.fail(complaint, name)
    timeout_s = read_time(cursor, cursor.word("a time", EXAMPLES)) if cursor.take_if("timeout") else None
    counters = bool(cursor.take_if("counters"))
    if cursor.take_if("="):
        return SetDef(name.text, timeout_s, read_spans(cursor), counters=counters)
    if cursor.take_if("file"):
        return SetDef(name.text, timeout_s, path=_read_path(cursor), counters=counters)
    if cursor.next.text == "timeout":
        cursor.fail("'timeout' comes before 'counters'", cursor.next)
    if cursor.next.kind == WORD:
        hint = f"did you mean 'set {name.text} = {cursor.next.text.removeprefix('=')}'?"
        cursor.fail(f"expected '=', 'file', 'timeout' or 'counters', found {cursor.next}", cursor.next, hint)
    return SetDef(name.text, timeout_s, counters=counters)


_FOR_EVER = "leave it out: then they stay until they are deleted"


def read_time(cursor: Cursor, token: Token, hint: str | None = _FOR_EVER) -> int:
    """How long an element stays, in seconds; `hint` says what to do if that is too short or too long."""
    length_s = seconds(token.text)
    if length_s is None:
        cursor.fail(f"expected a time with its unit, found {token}", token, EXAMPLES)
    if not 1 <= length_s <= TIMEOUT_MAX_S:
        message = f"elements stay for 1s to {time_text(TIMEOUT_MAX_S)}, not for {token.text}"
        cursor.fail(message, token, hint)
    return length_s


def name_complaint(name: str) -> str | None:
    """Why a set cannot have this name."""
    if len(name) > NAME_CHARS:
        return f"'{name}' is too long: a set's name has at most {NAME_CHARS} characters"
    if not _NAME.fullmatch(name) or name in _NOT_NAMES:
        return f"'{name}' cannot be the name of a set: letters, digits, '-', '_' and '.', a letter first"
    return None


def _read_path(cursor: Cursor) -> str:
    token = cursor.take()
    if token.kind not in (WORD, STRING) or not token.text:
        cursor.fail(f"expected the path of a file, found {token}", token)
    return token.text
