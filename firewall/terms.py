# SPDX-License-Identifier: MIT
"""The parts of a rule as values: its two ends, ports, interface names, ICMP types.

Lists keep the order in which they were written; one that names a thing twice is refused, since that is most
often a slip for something else.
"""

from typing import NamedTuple

from firewall.addresses import Addrs, list_text, read_addrs
from firewall.lang import CLAUSE_WORDS, Cursor, Token, closest, number, read_alone
from firewall.ranges import PORT_MAX, Range, complement, merge
from firewall.services import SERVICES, TYPES_OF

IFNAME_CHARS = 15  # IFNAMSIZ - 1, include/uapi/linux/if.h


class Ports(NamedTuple):
    """A list of ports, or every port but them."""

    negated: bool
    spans: tuple[Range, ...]

    def __str__(self) -> str:
        return list_text(
            self.negated, (f"{low}" if low == high else f"{low}-{high}" for low, high in self.spans)
        )

    def ranges(self) -> list[Range]:
        """The ports that match, as merged ranges."""
        if len(self.spans) == 1 and not self.negated:
            return list(self.spans)
        listed = merge(self.spans)
        return complement(listed, PORT_MAX) if self.negated else listed


class End(NamedTuple):
    """One end of a conversation; None for what is not asked about."""

    addrs: Addrs | None = None
    ports: Ports | None = None

    def __str__(self) -> str:
        ports = f"port {self.ports}" if self.ports else ""
        return " ".join(filter(None, (str(self.addrs or ""), ports)))


ANY_END = End()


class Names(NamedTuple):
    """A list of interface names, or every interface but them; a final `+` stands for any suffix.

    Of a list with zones in it `stands_for` is what it comes to, without zones; else it is None.
    """

    negated: bool
    patterns: tuple[str, ...]
    stands_for: "Names | None" = None

    def __str__(self) -> str:
        return list_text(self.negated, self.patterns)

    @property
    def plain(self) -> "Names":
        """The list with interfaces in the place of zones."""
        return self.stands_for or self

    def matches(self, ifname: str | None) -> bool:
        """Whether a packet at interface `ifname` matches; one whose interface is not known never does."""
        if ifname is None:
            return False
        plain = self.plain
        return any(name_matches(pattern, ifname) for pattern in plain.patterns) != plain.negated


class IcmpType(NamedTuple):
    """An ICMP type by name or by number; only a number can carry a code."""

    name: str | None
    number: int | None = None
    code: int | None = None

    def __str__(self) -> str:
        code = "" if self.code is None else f"/{self.code}"
        return f"{self.number if self.name is None else self.name}{code}"

    def number_for(self, proto: int) -> int | None:
        """The type's number in ICMP or ICMPv6; None where that protocol has no type of this name."""
        return self.number if self.name is None else TYPES_OF[proto].get(self.name)


def name_matches(pattern: str, ifname: str) -> bool:
    """Whether an interface has the name `pattern`, or one that begins with what is before its final `+`."""
    return ifname.startswith(pattern[:-1]) if pattern.endswith("+") else ifname == pattern


def read_names(cursor: Cursor) -> Names:
    """`["not"] IF { "," IF }`."""
    negated = cursor.take_if("not")
    patterns: dict[str, Token] = {}
    for token in cursor.items("an interface name"):
        complaint = name_complaint(token.text)
        if complaint:
            cursor.fail(complaint[0], token, complaint[1])
        cursor.add_once(token, patterns, token.text)
    if negated and "+" in patterns:
        cursor.fail("'not +' leaves no interface", cursor.previous)
    return Names(negated, tuple(patterns))


def is_plain_name(ifname: str) -> bool:
    """Whether what reads as `ifname` in a policy is the name of that interface alone."""
    return read_alone(ifname, read_names) == Names(False, (ifname,)) and not ifname.endswith("+")


def read_end(cursor: Cursor) -> End:
    """What follows `from` and `to`: `addrs [ports] | ports`."""
    if cursor.take_if("port"):
        return End(None, read_ports(cursor))
    addrs = read_addrs(cursor)
    return End(addrs, read_ports(cursor) if cursor.take_if("port") else None)


def read_ports(cursor: Cursor) -> Ports:
    """What follows `port`: `["not"] port { "," port }`."""
    negated = cursor.take_if("not")
    spans: dict[Range, Token] = {}
    for token in cursor.items("a port"):
        cursor.add_once(token, spans, _port(cursor, token))
    ports = Ports(negated, tuple(spans))
    if not ports.ranges():
        cursor.fail("'not' leaves no port", cursor.previous)
    return ports


def read_icmp_types(cursor: Cursor) -> tuple[IcmpType, ...]:
    """What follows `icmp-type`: `TYPE { "," TYPE }`, where TYPE is NAME, NUM or NUM/CODE."""
    types: dict[IcmpType, Token] = {}
    for token in cursor.items("an ICMP type"):
        cursor.add_once(token, types, _icmp_type(cursor, token))
    return tuple(types)


def _port(cursor: Cursor, token: Token) -> Range:
    text = token.text
    if text in SERVICES:
        return SERVICES[text], SERVICES[text]
    low_text, dash, high_text = text.partition("-")
    low = number(low_text)
    high = number(high_text) if dash else low
    if low is None or high is None:
        if ":" in text and number(text.replace(":", "")) is not None:
            cursor.fail(
                f"'{text}' is not a port", token, f"did you mean the range '{text.replace(':', '-')}'?"
            )
        near = closest(text, SERVICES)
        hint = f"did you mean '{near}' ({SERVICES[near]})?" if near else "give its number"
        cursor.fail(f"'{text}' is not a port or a service that fw knows", token, hint)
    if max(low, high) > PORT_MAX:
        cursor.fail(f"'{text}' is not a port: they end at {PORT_MAX}", token)
    if low > high:
        cursor.fail(f"the range '{text}' ends before it begins", token, f"did you mean '{high}-{low}'?")
    return low, high


def _icmp_type(cursor: Cursor, token: Token) -> IcmpType:
    type_text, slash, code_text = token.text.partition("/")
    type_number = number(type_text)
    if type_number is not None:
        code = number(code_text) if slash else None
        if type_number > 255 or (slash and (code is None or code > 255)):
            cursor.fail(f"'{token.text}' is not an ICMP type: TYPE or TYPE/CODE, each 0 to 255", token)
        return IcmpType(None, type_number, code)
    known = {name for types in TYPES_OF.values() for name in types}
    if type_text not in known:
        near = closest(type_text, known)
        cursor.fail(
            f"'{type_text}' is not an ICMP type that fw knows", token, near and f"did you mean '{near}'?"
        )
    if slash:
        numbers = " or ".join(str(types[type_text]) for types in TYPES_OF.values() if type_text in types)
        cursor.fail("only a type's number takes a code", token, f"write {numbers} for '{type_text}'")
    return IcmpType(type_text)


def name_complaint(name: str) -> tuple[str, str | None] | None:
    """Why `name` cannot be an interface's, and what to write instead."""
    if name in CLAUSE_WORDS or name == "not":
        return f"expected an interface name, found '{name}'", None
    if name == "any":
        return "'any' is not an interface", "leave the clause out to match every interface"
    if "*" in name or "+" in name[:-1]:
        return (
            f"'{name}' is not an interface name",
            "a name may end in '+', which stands for any suffix: 'eth+'",
        )
    if name in (".", "..") or "/" in name or ":" in name or not name.isascii():
        return f"'{name}' cannot be an interface name", None
    if len(name) > IFNAME_CHARS + name.endswith("+"):
        return f"'{name}' is too long: an interface name has at most {IFNAME_CHARS} characters", None
    return None
