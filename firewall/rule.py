# SPDX-License-Identifier: MIT
"""A rule as a value: text to `Rule` and back, with `Rule.parse(str(rule)) == rule`.

A rule speaks of the packet that opens a flow. Its clauses may be written in any order; they print in the
order of the fields below.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, Self

from firewall.ceilings import Limit, MaxFlows, Overload, overload_complaint
from firewall.clauses import CLAUSES, FURTHER
from firewall.hours import Between
from firewall.lang import STRING, WORD, Cursor, Source, Token, lex_line, lex_words
from firewall.masks import Masked
from firewall.services import ICMP, ICMP6, PORT_PROTOCOLS, PROTOCOLS, TCP, protocol_name
from firewall.terms import ANY_END, End, IcmpType, Names
from firewall.times import Time
from firewall.until import Until
from firewall.words import ACTIONS, ANSWERS, SCOPES, refuse

# Where a packet of each scope can be asked for its interface.
_ON_SCOPES, _VIA_SCOPES = ("in", "forward"), ("out", "forward")
_OF_FLOWS = ("limit", "max-flows", "overload", "idle")
_KNOWN_RULES = 4096
_FAMILY_OF = {ICMP: 4, ICMP6: 6}
_further = attrgetter(*(clause.field for clause in FURTHER))
_NO_FURTHER = (None,) * len(FURTHER)


class Rule(NamedTuple):
    """One line of policy. None and empty tuples stand for clauses that were not given.

    `parse` and `from_words` check what they read; building a Rule by hand checks nothing. `protos` are IP
    protocol numbers. `log` is None for no logging, else the text to log, which may be empty. `answer` is what
    `reject with` names, None for what suits the packet's protocol.
    """

    action: str
    scopes: tuple[str, ...]
    on: Names | None = None
    via: Names | None = None
    protos: tuple[int, ...] = ()
    src: End = ANY_END
    dst: End = ANY_END
    icmp_types: tuple[IcmpType, ...] = ()
    log: str | None = None
    comment: str | None = None
    mark: Masked | None = None
    dscp: tuple[int, ...] | None = None
    macs: tuple[int, ...] | None = None
    user: str | None = None
    unit: str | None = None
    set_mark: Masked | None = None
    idle: Time | None = None
    answer: str | None = None
    limit: Limit | None = None
    max_flows: MaxFlows | None = None
    until: Until | None = None
    between: Between | None = None
    unsynced: bool | None = None
    overload: Overload | None = None
    untracked: bool | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rule that `text` says. Raises PolicyError, with a caret."""
        return cls._only(lex_line(Source("", 0, text)))

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Self:
        """The rule that the words of a command line say. Raises PolicyError, with a caret."""
        return cls._only(lex_words(words))

    @classmethod
    def read(cls, cursor: Cursor) -> Self:
        """The rule at the cursor, which is then behind the rule's last clause."""
        action = cursor.take()
        if action.kind != WORD or action.text not in ACTIONS:
            refuse(cursor, action, "a rule ('allow', 'drop' or 'reject')", ACTIONS)
        answer = _read_answer(cursor, action)
        scopes = _read_scopes(cursor)
        draft = _Draft(cursor, scopes)
        draft.read_clauses()
        draft.check(action.text)
        draft.check_answer(answer)
        rule = cls(action.text, scopes, **draft.values, answer=answer.text if answer else None)
        draft.check_families(rule)
        return rule

    @classmethod
    def _only(cls, cursor: Cursor) -> Self:
        rule = cls.read(cursor)
        cursor.finish()
        return rule

    def __str__(self) -> str:
        return _written(self)

    @property
    def asks_more(self) -> bool:
        """Whether some clause asks for what no box of addresses, ports and interfaces holds."""
        return any(getattr(self, clause.field) is not None for clause in FURTHER if not clause.of_allow)

    @property
    def asks_packet(self) -> bool:
        """Whether it asks for what a flow does not keep of its opener's packet: FURTHER_OF_PACKET of the ABI."""
        return any(one is not None for one in (self.mark, self.dscp, self.macs, self.user, self.unit))

    @property
    def has_further(self) -> bool:
        """Whether it has a clause that no box holds: one that asks for more, or a ceiling."""
        return _further(self) != _NO_FURTHER

    def kinds(self) -> list[tuple[int, int]]:
        """The (protocol, family) pairs of which a packet can match; protocol 0 where none is named.

        ICMP is IPv4's and ICMPv6 is IPv6's alone; a family counts only if both ends have addresses of it; an
        ICMP protocol counts only if it has one of the types.
        """
        return list(_kinds(self))

    def type_numbers(self, proto: int) -> list[tuple[int, int | None]]:
        """The (type, code) pairs of `icmp-type` in ICMP or ICMPv6; the code None stands for every code."""
        numbers = [(icmp_type.number_for(proto), icmp_type.code) for icmp_type in self.icmp_types]
        return [(type_number, code) for type_number, code in numbers if type_number is not None]


class _Draft:
    """The clauses of a rule while they are read, and the word that each began with, for carets."""

    __slots__ = ("at", "cursor", "scopes", "values")

    def __init__(self, cursor: Cursor, scopes: tuple[str, ...]) -> None:
        self.cursor = cursor
        self.scopes = scopes
        self.at: dict[str, Token] = {}
        self.values: dict[str, Any] = {}  # by the fields of Rule

    def read_clauses(self) -> None:
        cursor = self.cursor
        while cursor.next.kind == WORD:
            token = cursor.next
            clause = "proto" if token.text in PROTOCOLS else token.text
            if clause not in CLAUSES:
                refuse(cursor, token, "a clause ('tcp', 'from', 'to', 'on', ...)", (*CLAUSES, *PROTOCOLS))
            if clause in self.at:
                hint = "list them with commas: 'tcp, udp'" if clause == "proto" else None
                cursor.fail(f"a rule has only one '{clause}' clause", token, hint)
            self.at[clause] = token
            if clause != "proto":
                cursor.take()
            self.values[CLAUSES[clause].field] = CLAUSES[clause].read(cursor)
        if cursor.next.kind == STRING:
            cursor.fail(
                f"expected a clause, found {cursor.next}", cursor.next, "a text belongs to 'log' or 'comment'"
            )
        cursor.finish()

    def check(self, action: str) -> None:
        """What one clause demands of another, and of the action."""
        if "unsynced" in self.at and "between" not in self.at:
            self.cursor.fail("'unsynced' belongs to 'between'", self.at["unsynced"])
        for clause, token in self.at.items():
            if CLAUSES[clause].of_allow and action != "allow":
                self.cursor.fail(f"'{clause}' belongs to 'allow': '{action}' lets nothing in", token)
        self._check_interfaces("on", _ON_SCOPES, "came in by", "via")
        self._check_interfaces("via", _VIA_SCOPES, "leaves by", "on")
        if "mac" in self.at and "out" in self.scopes:
            message = "'mac' is the sender of a frame that came in: none for scope 'out'"
            self.cursor.fail(message, self.at["mac"])
        for clause in ("user", "unit"):
            if clause in self.at and self.scopes != ("out",):
                message = f"'{clause}' is whose packet it is that this host sends: none but for scope 'out'"
                self.cursor.fail(message, self.at[clause])
        protos: tuple[int, ...] = self.values.get("protos", ())
        for clause, field in (("from", "src"), ("to", "dst")):
            if self.values.get(field, ANY_END).ports:
                self._check_ports(self.at[clause], protos)
        if "icmp_types" in self.values:
            self._check_icmp_types(protos)
        for clause in _OF_FLOWS if "untracked" in self.at else ():
            if clause in self.at:
                message = f"'{clause}' speaks of flows, and what is 'untracked' has none"
                self.cursor.fail(message, self.at[clause])
        if "overload" in self.at:
            ceilings = [self.values[name] for name in ("limit", "max_flows") if name in self.values]
            wrong = overload_complaint(protos, self.scopes, any(ceiling.per for ceiling in ceilings))
            if wrong:
                self.cursor.fail(wrong[0], self.at["overload"], wrong[1])

    def check_answer(self, answer: Token | None) -> None:
        """Only TCP has resets (RFC 9293 section 3.5.2)."""
        if answer and answer.text == "rst" and self.values.get("protos") != (TCP,):
            hint = "add 'tcp', or write 'reject' alone: it resets TCP and answers all else by ICMP"
            self.cursor.fail("'rst' answers TCP alone, and the rule speaks of more", answer, hint)

    def check_families(self, rule: Rule) -> None:
        """Some packet must be able to match."""
        if rule.kinds():
            return
        one, other = (("IPv4" if _has_family(end, 4) else "IPv6") for end in (rule.src, rule.dst))
        if rule.src.addrs and rule.dst.addrs and one != other:
            message = f"'from' has only {one} addresses and 'to' only {other}: nothing can match"
            later = max(self.at["from"], self.at["to"], key=lambda token: token.column)
            self.cursor.fail(message, later)
        name = protocol_name(rule.protos[0])
        wanted, right = ("IPv4", "icmp6") if ICMP in rule.protos else ("IPv6", "icmp")
        message = f"'{name}' is a protocol of {wanted} and the addresses are not: nothing can match"
        self.cursor.fail(message, self.at["proto"], f"did you mean '{right}'?")

    def _check_interfaces(self, clause: str, scopes: tuple[str, str], meaning: str, other: str) -> None:
        wrong = [scope for scope in self.scopes if scope not in scopes]
        if clause in self.at and wrong:
            message = f"'{clause}' is the interface that a packet {meaning}: none for scope '{wrong[0]}'"
            hint = f"did you mean '{other}'?" if len(self.scopes) == 1 else "write one rule for each scope"
            self.cursor.fail(message, self.at[clause], hint)

    def _check_ports(self, token: Token, protos: tuple[int, ...]) -> None:
        if not protos:
            self.cursor.fail("ports need a protocol", token, "add 'tcp', 'udp' or 'tcp, udp'")
        for proto in protos:
            if proto not in PORT_PROTOCOLS:
                hint = "write one rule with the ports and one without"
                self.cursor.fail(
                    f"'{protocol_name(proto)}' has no ports", token, hint if len(protos) > 1 else None
                )

    def _check_icmp_types(self, protos: tuple[int, ...]) -> None:
        token = self.at["icmp-type"]
        if not protos:
            self.cursor.fail("'icmp-type' needs a protocol", token, "add 'icmp', 'icmp6' or 'icmp, icmp6'")
        for proto in protos:
            if proto not in _FAMILY_OF:
                hint = "write a rule of its own for it" if len(protos) > 1 else None
                self.cursor.fail(f"'{protocol_name(proto)}' has no ICMP types", token, hint)
        for icmp_type in self.values["icmp_types"]:
            if all(icmp_type.number_for(proto) is None for proto in protos):
                has, lacks = ("icmp6", "icmp") if protos == (ICMP,) else ("icmp", "icmp6")
                self.cursor.fail(f"'{icmp_type}' is a type of {has}, not of {lacks}", token)


def _read_answer(cursor: Cursor, action: Token) -> Token | None:
    """What `with` names, behind the action."""
    with_ = cursor.next
    if not cursor.take_if("with"):
        return None
    if action.text != "reject":
        cursor.fail(f"'{action.text}' answers nothing", with_, "only 'reject' does")
    answer = cursor.take()
    if answer.text not in ANSWERS:
        refuse(cursor, answer, "an answer ('rst', 'admin', 'port' or 'host')", ANSWERS)
    return answer


def _read_scopes(cursor: Cursor) -> tuple[str, ...]:
    expected = "a scope ('in', 'out' or 'forward')"
    scopes: dict[str, Token] = {}
    for token in cursor.items(expected):
        if token.text not in SCOPES:
            refuse(cursor, token, expected, SCOPES)
        cursor.add_once(token, scopes, token.text)
    return tuple(scopes)


def _has_family(end: End, family: int) -> bool:
    return end.addrs is None or end.addrs.may_match(family)


# One command asks these of a rule again and again: to check it, to number it, to compare it, to compile it.
@lru_cache(_KNOWN_RULES)
def _written(rule: Rule) -> str:
    words = [rule.action, *(("with", rule.answer) if rule.answer else ()), ", ".join(rule.scopes)]
    for clause in CLAUSES.values():
        value = getattr(rule, clause.field)
        if value != clause.absent:
            words.append(clause.write(value))
    return " ".join(words)


@lru_cache(_KNOWN_RULES)
def _kinds(rule: Rule) -> tuple[tuple[int, int], ...]:
    families: tuple[int, ...] = (4, 6)
    if rule.src.addrs or rule.dst.addrs:
        families = tuple(f for f in families if _has_family(rule.src, f) and _has_family(rule.dst, f))
    return tuple(
        (proto, family)
        for proto in rule.protos or (0,)
        for family in families
        if _FAMILY_OF.get(proto, family) == family and (not rule.icmp_types or rule.type_numbers(proto))
    )
