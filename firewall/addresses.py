# SPDX-License-Identifier: MIT
"""Addresses of rules as values: hosts, prefixes, ranges and host parts, in lists that may be negated."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, NoReturn

from firewall.hostpart import MARK, HostPart, read_host_part
from firewall.lang import CLAUSE_WORDS, COMMA, WORD, Cursor, Source, Token, closest, number
from firewall.ranges import ADDRESS_MAX, IPV4_MAPPED_HIGH, Range, complement, merge, written_address

_OCTETS = {str(number): number for number in range(256)}  # as they are written: without leading zeros
_ANY_ALONE = "'any' already covers every address: it stands alone"


class Span(NamedTuple):
    """Addresses `low`..`high` of one family (4 or 6): a host, a prefix or a range."""

    family: int
    low: int
    high: int

    def __str__(self) -> str:
        bits = 32 if self.family == 4 else 128
        size = self.high - self.low + 1
        if size == 1:
            return written_address(self.family, self.low)
        if size & (size - 1) == 0 and self.low % size == 0:
            return f"{written_address(self.family, self.low)}/{bits - size.bit_length() + 1}"
        return f"{written_address(self.family, self.low)}-{written_address(self.family, self.high)}"


class Addrs(NamedTuple):
    """A list of addresses, names of sets and host parts, or everything but them, of both families."""

    negated: bool
    spans: tuple[Span, ...]
    sets: tuple[str, ...] = ()
    hosts: tuple[HostPart, ...] = ()

    def __str__(self) -> str:
        return list_text(self.negated, (*(f"@{name}" for name in self.sets), *self.spans, *self.hosts))

    def may_match(self, family: int) -> bool:
        """Whether an address of `family` can match, whatever is in the sets."""
        if self.ranges(family):
            return True
        return not self.negated and bool(self.sets or (self.hosts and family == 6))

    def ranges(self, family: int) -> list[Range]:
        """The addresses of `family` that match, as merged ranges; `not` turns both families round.

        Sets and host parts are left out of it: they match too or, with `not`, do not match.
        """
        if len(self.spans) == 1 and not self.negated:
            ((span_family, low, high),) = self.spans
            return [(low, high)] if span_family == family else []
        listed = merge([(span.low, span.high) for span in self.spans if span.family == family])
        return complement(listed, ADDRESS_MAX[family]) if self.negated else listed


def read_addrs(cursor: Cursor) -> Addrs | None:
    """`["not"] addr { "," addr }`; None for `any`."""
    negated = cursor.take_if("not")
    if cursor.take_if("any"):
        if negated:
            cursor.fail("'not any' matches nothing", cursor.previous)
        if cursor.next.kind == COMMA:
            cursor.fail(_ANY_ALONE, cursor.previous)
        return None
    spans: dict[Span, Token] = {}
    sets: dict[str, Token] = {}
    hosts: dict[HostPart, Token] = {}
    for token in cursor.items("an address"):
        if token.text.startswith("@"):
            cursor.add_once(token, sets, _set_name(cursor, token))
        elif MARK in token.text:
            if negated:
                hint = "write a rule for it before this one"
                cursor.fail("'not' does not go with host parts", token, hint)
            cursor.add_once(token, hosts, read_host_part(cursor, token))
        else:
            cursor.add_once(token, spans, _span(cursor, token))
    addrs = Addrs(negated, tuple(spans), tuple(sets), tuple(hosts))
    if not addrs.may_match(4) and not addrs.may_match(6):
        cursor.fail("'not' leaves no address", cursor.previous)
    return addrs


def read_spans(cursor: Cursor) -> tuple[Span, ...]:
    """`addr { "," addr }` that says what is in a set."""
    spans: dict[Span, Token] = {}
    for token in cursor.items("an address"):
        if token.text == "not":
            cursor.fail("a set lists addresses: it has no 'not'", token, "give 'not @NAME' in the rule")
        if token.text == "any":
            cursor.fail("a set of all addresses says nothing", token)
        if token.text.startswith("@"):
            cursor.fail(
                "a set lists addresses, not other sets", token, "list both in the rule: '@ONE, @OTHER'"
            )
        cursor.add_once(token, spans, _span(cursor, token))
    return tuple(spans)


def parse_span(text: str) -> Span:
    """The addresses that a text says. Raises PolicyError, with a caret."""
    token = Token(WORD, text, 1, len(text))
    return _span(Cursor(Source("", 0, text), [token]), token)


def _set_name(cursor: Cursor, token: Token) -> str:
    name = token.text[1:]
    if not name:
        cursor.fail("'@' stands before the name of a set", token)
    return name


def _span(cursor: Cursor, token: Token) -> Span:
    text = token.text
    if text == "any":
        cursor.fail(_ANY_ALONE, token)
    if "-" in text and "." not in text.split("-")[0] and ":" not in text.split("-")[0]:
        _refuse_address(cursor, token, text)
    if MARK in text:
        cursor.fail(f"'{text}' is a host part, which only 'from' and 'to' of a rule have", token)
    low_text, dash, high_text = text.partition("-")
    if dash:
        if not low_text or not high_text or number(high_text) is not None:
            hint = "a range has two whole addresses: 192.0.2.10-192.0.2.20"
            cursor.fail(f"'{text}' is not a range of addresses", token, hint)
        family, low = _address(cursor, token, low_text)
        high_family, high = _address(cursor, token, high_text)
        if family != high_family:
            cursor.fail(f"'{text}' begins in one address family and ends in the other", token)
        if low > high:
            cursor.fail(
                f"the range '{text}' ends before it begins", token, f"did you mean '{high_text}-{low_text}'?"
            )
        return _refuse_mapped(cursor, token, Span(family, low, high))
    address_text, slash, length_text = text.partition("/")
    family, low = _address(cursor, token, address_text)
    bits = 32 if family == 4 else 128
    if not slash:
        return _refuse_mapped(cursor, token, Span(family, low, low))
    length = number(length_text)
    if length is None or length > bits:
        message = f"'/{length_text}' is not a prefix length: IPv{family} has 0 to {bits}"
        cursor.fail(message, token, _netmask_hint(address_text, length_text))
    rest = (1 << (bits - length)) - 1
    if low & rest:
        masked = Span(family, low & ~rest, low | rest)
        hint = f"did you mean the network '{masked}' or the host '{address_text}'?"
        cursor.fail(f"'{text}' has bits set behind its prefix length", token, hint)
    return _refuse_mapped(cursor, token, Span(family, low, low | rest))


def _address(cursor: Cursor, token: Token, text: str) -> tuple[int, int]:
    try:
        if ":" in text and "%" not in text:
            return 6, int(IPv6Address(text))
        first, second, third, fourth = [_OCTETS[octet] for octet in text.split(".")]
        return 4, first << 24 | second << 16 | third << 8 | fourth
    except (KeyError, ValueError):
        _refuse_address(cursor, token, text)


def _refuse_address(cursor: Cursor, token: Token, text: str) -> NoReturn:
    if "%" in text:
        cursor.fail(
            f"'{text}' names an interface in an address", token, "give the interface as 'on IF' or 'via IF'"
        )
    if text in CLAUSE_WORDS or text == "not":
        cursor.fail(f"expected an address, found '{text}'", token)
    if number(text) is not None:
        cursor.fail(f"'{text}' is not an address", token, f"did you mean 'port {text}'?")
    shape = text.replace("/", "").replace(".", "").replace("-", "")
    if text and (":" in text or shape.isdigit()):
        family = 6 if ":" in text else 4
        hint = "write all four numbers, without leading zeros: 192.0.2.0/24" if family == 4 else None
        cursor.fail(f"'{text}' is not an IPv{family} address", token, hint)
    hint = (
        "did you mean 'any'?"
        if closest(text, ["any"])
        else "names are never looked up: a rule holds addresses"
    )
    cursor.fail(f"'{text}' is not an address", token, hint)


def is_mapped(span: Span) -> bool:
    """Whether these are IPv4 addresses that are written as IPv6 ones."""
    return span.family == 6 and span.low >> 32 == span.high >> 32 == IPV4_MAPPED_HIGH


def _refuse_mapped(cursor: Cursor, token: Token, span: Span) -> Span:
    if is_mapped(span):
        inner = Span(4, span.low & ADDRESS_MAX[4], span.high & ADDRESS_MAX[4])
        message = f"'{token.text}' is an IPv4 address in IPv6 clothes, which no packet carries"
        cursor.fail(message, token, f"did you mean '{inner}'?")
    return span


def _netmask_hint(address_text: str, mask_text: str) -> str | None:
    """The prefix that an IPv4 netmask stands for, where it is one."""
    try:
        mask = int(IPv4Address(mask_text))
    except ValueError:
        return None
    inverse = mask ^ ADDRESS_MAX[4]
    return f"did you mean '{address_text}/{mask.bit_count()}'?" if inverse & (inverse + 1) == 0 else None


def list_text(negated: bool, items: Iterable[object]) -> str:
    return ("not " if negated else "") + ", ".join(map(str, items))
