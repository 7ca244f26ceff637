# SPDX-License-Identifier: MIT
"""Hypothesis strategies: rules, policies, and packets, which can lie at the edges of given rules."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from firewall.addresses import Addrs, Span
from firewall.ceilings import UNIT_S, Limit, MaxFlows, Overload, Per, overload_complaint
from firewall.evaluate import Question
from firewall.hostpart import HostPart
from firewall.hours import Between
from firewall.masks import Masked
from firewall.policy import DEFAULT_ACTIONS, Policy
from firewall.ranges import ADDRESS_MAX, PORT_MAX
from firewall.rule import Rule
from firewall.services import EXTENSION_HEADERS, ICMP, ICMP6, ICMP6_TYPES, ICMP_TYPES, PORT_PROTOCOLS, TCP
from firewall.setdef import SetDef
from firewall.terms import ANY_END, End, IcmpType, Names, Ports
from firewall.times import Time
from firewall.until import Until
from firewall.words import ACTIONS, ANSWERS, SCOPES

# Time limits of single examples say more about the machine than about the code.
# Each run has other examples, wherever it is: Hypothesis would repeat the same where it finds a CI service.
steady = settings(
    max_examples=60, deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)

IFNAMES = ("eth0", "eth1", "eth0.10", "br-lan", "wan", "wan0", "ppp0", "lo")
PATTERNS = (*IFNAMES[:-1], "eth+", "wan+", "p+", "eth0+", "+")
USERS = ("0", "33", "4294967294")
UNITS = ("a.slice", "a-b.slice", "c.service")
MAC_A = 0x02000000000A
SETS = ("bad", "office-2", "x.y_z")
PROTOS = (1, 2, 6, 17, 47, 50, 51, 58, 89, 132, 255)

_IPV4_MAPPED = range(0xFFFF << 32, 0x10000 << 32)


def _prefix(family: int, address: int, length: int) -> Span:
    host = (1 << ((32 if family == 4 else 128) - length)) - 1
    return Span(family, address & ~host, address | host)


def _addresses(family: int) -> st.SearchStrategy[int]:
    """Few addresses that lie near each other, so that rules overlap, and any other now and then."""
    base = int(IPv4Address("192.0.2.0")) if family == 4 else int(IPv6Address("2001:db8::"))
    top = ADDRESS_MAX[family]
    return st.one_of(st.integers(base, base + 16), st.sampled_from((0, 1, top - 1, top)), st.integers(0, top))


@st.composite
def spans(draw: st.DrawFn) -> Span:
    family = draw(st.sampled_from((4, 6)))
    address = draw(_addresses(family))
    kind = draw(st.sampled_from(("host", "prefix", "range")))
    if kind == "prefix":
        span = _prefix(family, address, draw(st.integers(0, 32 if family == 4 else 128)))
    else:
        other = address if kind == "host" else draw(_addresses(family))
        span = Span(family, min(address, other), max(address, other))
    mapped = family == 6 and span.low in _IPV4_MAPPED and span.high in _IPV4_MAPPED
    return Span(6, span.low, ADDRESS_MAX[6]) if mapped else span


def addrs() -> st.SearchStrategy[Addrs]:
    lists = st.lists(spans(), min_size=1, max_size=4, unique=True).map(tuple)
    named = st.just(()) | st.lists(st.sampled_from(SETS), max_size=2, unique=True).map(tuple)
    some = st.builds(Addrs, st.booleans(), lists, named, st.just(())) | st.builds(
        Addrs, st.just(False), lists | st.just(()), named, host_parts()
    )
    return some.filter(lambda found: found.may_match(4) or found.may_match(6))


@st.composite
def host_parts(draw: st.DrawFn) -> tuple[HostPart, ...]:
    """Often of the addresses that other lists have."""
    found: dict[HostPart, None] = {}
    for _ in range(draw(st.integers(1, 2))):
        part = HostPart(0, draw(st.sampled_from((64, 56, 120)) | st.integers(1, 127)))
        part = part._replace(value=draw(_addresses(6)) & part.mask)
        found[part] = None
    return tuple(found)


def set_defs() -> st.SearchStrategy[tuple[SetDef, ...]]:
    """All sets that rules can name, each with some addresses."""
    lists = st.lists(spans(), min_size=1, max_size=6, unique=True).map(tuple)
    timeouts = st.none() | st.integers(1, 90000)
    return st.tuples(
        *(st.builds(SetDef, st.just(name), timeouts, lists, st.none(), st.booleans()) for name in SETS)
    )


def ports() -> st.SearchStrategy[Ports]:
    numbers = st.one_of(st.integers(0, 24), st.integers(PORT_MAX - 2, PORT_MAX), st.integers(0, PORT_MAX))
    pairs = st.one_of(
        numbers.map(lambda n: (n, n)), st.tuples(numbers, numbers).map(lambda p: (min(p), max(p)))
    )
    lists = st.lists(pairs, min_size=1, max_size=4, unique=True).map(tuple)
    return st.builds(Ports, st.booleans(), lists).filter(lambda found: bool(found.ranges()))


def ends(ported: bool) -> st.SearchStrategy[End]:
    return st.builds(End, st.none() | addrs(), st.none() | ports() if ported else st.none())


def names() -> st.SearchStrategy[Names]:
    lists = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True).map(tuple)
    return st.builds(Names, st.booleans(), lists, st.none()).filter(
        lambda found: not (found.negated and "+" in found.patterns)
    )


def texts() -> st.SearchStrategy[str]:
    letters = "az09 ,#'\\$+é\u65e5"
    return st.sampled_from(("office", "tcp to port 22", "a, b # c")) | st.text(letters, max_size=20)


def icmp_types(protos: tuple[int, ...]) -> st.SearchStrategy[tuple[IcmpType, ...]]:
    known = (ICMP_TYPES if ICMP in protos else {}) | (ICMP6_TYPES if ICMP6 in protos else {})
    byte = st.integers(0, 255)
    named = st.sampled_from(sorted(known)).map(IcmpType)
    numbered = st.builds(IcmpType, st.none(), byte, st.none() | byte)
    return st.lists(named | numbered, min_size=1, max_size=4, unique=True).map(tuple)


@st.composite
def marks(draw: st.DrawFn) -> Masked:
    mask = draw(st.sampled_from((0xFFFFFFFF, 0xFF, 1 << 31)))
    return Masked(draw(st.sampled_from((0, 1, 0x10, 0xFF, 0xFFFFFFFF))) & mask, mask)


def classes() -> st.SearchStrategy[tuple[int, ...]]:
    """Of traffic."""
    few = st.sampled_from((0, 1, 46, 63)) | st.integers(0, 63)
    return st.lists(few, min_size=1, max_size=3, unique=True).map(tuple)


def macs() -> st.SearchStrategy[tuple[int, ...]]:
    few = st.sampled_from((1, 2, MAC_A, 0xFEFFFFFFFFFF))
    return st.lists(few, min_size=1, max_size=4, unique=True).map(tuple)


def pers() -> st.SearchStrategy[Per | None]:
    return st.none() | st.just(Per()) | st.builds(Per, st.integers(1, 32), st.integers(1, 128))


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    """More than a test opens flows."""
    count = draw(st.sampled_from((100, 1_000_000)))
    burst = draw(st.sampled_from((count, 500)))
    return Limit(count, draw(st.sampled_from(tuple(UNIT_S))), burst, draw(pers()))


NOW_S = 1_800_000_000


def untils() -> st.SearchStrategy[Until]:
    """Long before NOW_S, or long after."""
    past, future = st.integers(0, NOW_S - 86400), st.integers(NOW_S + 86400, 7_000_000_000)
    return (past | future | future).map(Until)


def betweens() -> st.SearchStrategy[Between]:
    """Most end or begin near NOW_S."""
    near = NOW_S % 86400 // 60
    minutes = st.sampled_from((0, near - 1, near, near + 1, 1439)) | st.integers(0, 1439)
    days = st.lists(st.integers(0, 6), min_size=1, unique=True).map(lambda days: tuple(sorted(days)))
    made = st.builds(Between, minutes, minutes | st.just(1440), days)
    return made.filter(lambda between: between.begin != between.end)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Any rule that the language can say."""
    scopes = tuple(draw(st.lists(st.sampled_from(SCOPES), min_size=1, max_size=3, unique=True)))
    kind = draw(st.sampled_from(("any", "ported", "icmp", "mixed")))
    numbers = {"any": (0,), "ported": tuple(PORT_PROTOCOLS), "icmp": (ICMP, ICMP6)}
    choice = st.sampled_from(numbers.get(kind, PROTOS)) | st.integers(1, 255)
    if kind in ("ported", "icmp"):
        choice = st.sampled_from(numbers[kind])
    protos = tuple(draw(st.lists(choice, min_size=1, max_size=3, unique=True)))
    protos = tuple(proto for proto in protos if proto not in EXTENSION_HEADERS) if kind != "any" else ()
    action = draw(st.sampled_from(ACTIONS))
    answers = st.sampled_from(ANSWERS if protos == (TCP,) else ANSWERS[1:])
    rule = Rule(
        action=action,
        scopes=scopes,
        on=draw(st.none() | names()) if "out" not in scopes else None,
        via=draw(st.none() | names()) if "in" not in scopes else None,
        protos=protos,
        src=draw(st.just(ANY_END) | ends(kind == "ported")),
        dst=draw(st.just(ANY_END) | ends(kind == "ported")),
        icmp_types=draw(st.just(()) | icmp_types(protos)) if kind == "icmp" else (),
        log=draw(st.none() | texts()),
        comment=draw(st.none() | texts().filter(bool)),
        mark=draw(st.none() | st.none() | marks()),
        dscp=draw(st.none() | st.none() | classes()),
        macs=draw(st.none() | st.none() | macs()) if "out" not in scopes else None,
        user=draw(st.none() | st.sampled_from(USERS)) if scopes == ("out",) else None,
        unit=draw(st.none() | st.sampled_from(UNITS)) if scopes == ("out",) else None,
        set_mark=draw(st.none() | marks()) if action == "allow" else None,
        idle=draw(st.none() | st.sampled_from((Time(1, "s"), Time(14, "d")))) if action == "allow" else None,
        until=draw(st.none() | st.none() | untils()),
        between=(between := draw(st.none() | st.none() | betweens())),
        unsynced=draw(st.none() | st.booleans()) if between else None,
        answer=draw(st.none() | answers) if action == "reject" else None,
    )
    if rule.action == "allow":
        rule = rule._replace(
            limit=draw(st.none() | st.none() | limits()),
            max_flows=draw(st.none() | st.none() | st.builds(MaxFlows, st.integers(1, 1000), pers())),
        )
        ceilings = [one for one in (rule.limit, rule.max_flows) if one]
        if not overload_complaint(rule.protos, rule.scopes, any(one.per for one in ceilings)):
            name, for_s = st.sampled_from(SETS), st.integers(1, 1000)
            rule = rule._replace(overload=draw(st.none() | st.builds(Overload, name, for_s)))
        if not ceilings and rule.idle is None:
            rule = rule._replace(untracked=draw(st.none() | st.none() | st.just(True)))
    return rule if rule.kinds() else rule._replace(src=ANY_END, dst=ANY_END, icmp_types=())


def policies() -> st.SearchStrategy[Policy]:
    settings = {
        "flows.max": st.integers(1024, 1 << 24).map(str),
        "timeout.udp": st.sampled_from(("120s", "180s", "3m", "2h", "1d")),
        "builtin.igmp": st.sampled_from(("on", "off")),
    }
    return st.builds(
        Policy.of,
        rules=st.lists(rules(), max_size=6),
        defaults=st.fixed_dictionaries({scope: st.sampled_from(ACTIONS) for scope in DEFAULT_ACTIONS}),
        options=st.fixed_dictionaries({}, optional=settings),
        protect=st.lists(names(), max_size=2),
        sets=set_defs(),
    )


@st.composite
def questions(draw: st.DrawFn, *about: Rule) -> Question:
    """A packet; if rules are given, one whose addresses, ports and types lie on or beside their edges."""
    family = draw(st.sampled_from((4, 6)))
    scope = draw(
        st.sampled_from([scope for rule in about for scope in rule.scopes] or SCOPES)
        | st.sampled_from(SCOPES)
    )
    proto = draw(
        st.sampled_from([proto for rule in about for proto in rule.protos] or PROTOS)
        | st.sampled_from(PROTOS)
    )
    build = IPv4Address if family == 4 else IPv6Address
    number = {
        "src": draw(_near([rule.src for rule in about], family)),
        "dst": draw(_near([rule.dst for rule in about], family)),
    }
    sport, dport = (draw(_near_port([getattr(rule, end) for rule in about])) for end in ("src", "dst"))
    icmp_type, icmp_code = draw(_near_type(proto, about))
    return Question(
        scope,
        proto,
        build(number["src"]),
        build(number["dst"]),
        sport if proto in PORT_PROTOCOLS else 0,
        dport if proto in PORT_PROTOCOLS else 0,
        icmp_type if proto in (ICMP, ICMP6) else 0,
        icmp_code if proto in (ICMP, ICMP6) else 0,
        draw(st.sampled_from(IFNAMES)) if scope != "out" else None,
        draw(st.sampled_from(IFNAMES)) if scope != "in" else None,
        draw(
            st.sampled_from([rule.mark.value for rule in about if rule.mark] or (0,))
            | st.sampled_from((0, 1))
        ),
        dscp=draw(
            st.sampled_from([value for rule in about for value in rule.dscp or ()] or (0,))
            | st.sampled_from((0, 46))
        ),
        mac=draw(st.sampled_from((1, MAC_A, 0xFEFFFFFFFFFF))),
        when_s=NOW_S,
        user=draw(st.none() | st.sampled_from(USERS)),
        units=tuple(draw(st.lists(st.sampled_from(UNITS), unique=True))),
    )


def _near(found: list[End], family: int) -> st.SearchStrategy[int]:
    listed = [span for end in found if end.addrs for span in end.addrs.spans if span.family == family]
    edges = [edge + step for span in listed for edge in (span.low, span.high) for step in (-1, 0, 1)]
    parts = [part for end in found if end.addrs for part in end.addrs.hosts if family == 6]
    edges += [int(IPv6Address("2001:db8:5::")) & ~part.mask | part.value for part in parts]
    valid = [edge for edge in edges if 0 <= edge <= ADDRESS_MAX[family]]
    return st.sampled_from(valid) | _addresses(family) if valid else _addresses(family)


def _near_port(found: list[End]) -> st.SearchStrategy[int]:
    listed = [span for end in found if end.ports for span in end.ports.spans]
    edges = [edge + step for span in listed for edge in span for step in (-1, 0, 1)]
    valid = [edge for edge in edges if 0 <= edge <= PORT_MAX]
    return st.sampled_from(valid) | st.integers(0, PORT_MAX) if valid else st.integers(0, PORT_MAX)


def _near_type(proto: int, about: tuple[Rule, ...]) -> st.SearchStrategy[tuple[int, int]]:
    byte = st.integers(0, 255)
    if proto not in (ICMP, ICMP6):
        return st.just((0, 0))
    listed = [pair for rule in about for pair in rule.type_numbers(proto)] or [(8, None)]
    types = st.sampled_from([number for number, _ in listed]) | byte
    codes = st.sampled_from([code or 0 for _, code in listed]) | byte
    return st.tuples(types, codes)
