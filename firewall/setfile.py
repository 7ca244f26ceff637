# SPDX-License-Identifier: MIT
"""The elements of sets: addresses, prefixes and ranges as text, and as keys of the kernel's trie.

A set's file has one of them a line; `#` begins a comment. A range becomes the fewest prefixes.
"""

import os
import stat
import struct
from collections.abc import Iterable, Iterator
from io import StringIO
from socket import AF_INET, AF_INET6, inet_pton

from firewall import abi
from firewall.addresses import Span, parse_span
from firewall.errors import FwError
from firewall.lang import MAX_PROBLEMS_SHOWN, PolicyError, Problem
from firewall.progress import counted

MAX_ELEMENTS = int(abi.Limits.SET_ELEMENTS_MAX)

# struct set_key: bits, family, reserved, address
KEY = struct.Struct("=3I16s")
KEY_BITS = {4: int(abi.Limits.SET_BITS_V4), 6: int(abi.Limits.SET_BITS_V6)}
_WIDTH = {4: 32, 6: 128}
# What a key has before the bytes of an address, by the text of a prefix length, and the bits that must be 0.
_HEADS4 = {str(n): (struct.pack("=3I12x", KEY_BITS[4] + n, 4, 0), (1 << 32 - n) - 1) for n in range(33)}
_HEADS6 = {str(n): (struct.pack("=3I", KEY_BITS[6] + n, 6, 0), (1 << 128 - n) - 1) for n in range(129)}
_HOST4, _HOST6 = _HEADS4["32"][0], _HEADS6["128"][0]
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2: no packet has such an address


def keys_of(span: Span) -> Iterator[bytes]:
    """The keys of the fewest prefixes that cover a span."""
    low, width = span.low, _WIDTH[span.family]
    while low <= span.high:
        size = low & -low or 1 << width
        while low + size - 1 > span.high:
            size >>= 1
        yield KEY.pack(
            KEY_BITS[span.family] + width - size.bit_length() + 1, span.family, 0, low.to_bytes(16, "big")
        )
        low += size


def span_of(key: bytes) -> Span:
    """The addresses of a key."""
    bits, family, _, address = KEY.unpack(key)
    low = int.from_bytes(address, "big")
    return Span(family, low, low + (1 << _WIDTH[family] + KEY_BITS[family] - bits) - 1)


def host_keys(family: int, address: int) -> Iterator[bytes]:
    """The keys of all prefixes around an address, the longest first."""
    width = _WIDTH[family]
    for length in range(width, -1, -1):
        low = address >> width - length << width - length
        yield KEY.pack(KEY_BITS[family] + length, family, 0, low.to_bytes(16, "big"))


def keys_of_spans(spans: Iterable[Span]) -> set[bytes]:
    """The keys of all prefixes of a list."""
    return {key for span in spans for key in keys_of(span)}


def read_elements(data: bytes, name: str) -> set[bytes]:
    """The keys of a file's elements; `name` is what messages call the file.

    Raises PolicyError for lines that are no elements, and for a file that has none or too many.
    """
    try:
        lines = StringIO(data.decode().removeprefix("\ufeff"), newline="\n")  # of which one is made at a time
    except UnicodeDecodeError as error:
        bad = data.count(b"\n", 0, error.start) + 1
        raise PolicyError([Problem(name, bad, 1, 1, "", "this is no UTF-8 text", None)]) from None
    found: set[bytes] = set()
    problems: list[Problem] = []
    for number, line in enumerate(counted("reading addresses", lines, data.count(b"\n")), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            _add(text, found)
        except PolicyError as error:
            (problem,) = error.problems
            column = line.index(text) + problem.column
            source = line.rstrip("\r\n")
            problems.append(problem._replace(name=name, line=number, column=column, source=source))
            if len(problems) > MAX_PROBLEMS_SHOWN:
                break
    if problems:
        raise PolicyError(problems)
    if not found:
        hint = "'set NAME' without a file has what is added at run time"
        raise PolicyError([Problem(name, 1, 1, 1, "", "this file has no addresses", hint)])
    if len(found) > MAX_ELEMENTS:
        message = f"this file has {len(found)} prefixes; all sets together have {MAX_ELEMENTS} at the most"
        raise PolicyError([Problem(name, 1, 1, 1, "", message, None)])
    return found


def _add(text: str, found: set[bytes]) -> None:
    """Adds the keys of one element. The usual ones are read by the C library, a microsecond each."""
    address, slash, length = text.partition("/")
    try:
        if ":" not in address:
            packed = inet_pton(AF_INET, address)
            head, rest = _HEADS4[length] if slash else (_HOST4, 0)
        else:
            packed = inet_pton(AF_INET6, address)
            head, rest = _HEADS6[length] if slash else (_HOST6, 0)
    except (OSError, KeyError, ValueError):
        found.update(keys_of(parse_span(text)))
        return
    if (rest and int.from_bytes(packed, "big") & rest) or packed[:12] == _MAPPED:
        found.update(keys_of(parse_span(text)))
    else:
        found.add(head + packed)


def read_file(path: str) -> bytes:
    """What a set's file holds. Raises FwError if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or a device may have no end
            raise FwError(f"cannot read {path}: it is no regular file")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise FwError(f"cannot read {path}: {error.strerror}") from None
