# SPDX-License-Identifier: MIT
"""Everything that `option NAME VALUE` can set: one table, and how its values are read.

Values are kept as text, as the user wrote them; `effective` gives every option as a number: a count, seconds,
0 and 1 for off and on, or the place of a word among the words that the option knows.
"""

from collections.abc import Mapping
from typing import NamedTuple

from firewall.errors import UsageError
from firewall.lang import closest, number
from firewall.times import EXAMPLES, seconds

COUNT, TIME, SWITCH, CHOICE = "int", "time", "bool", "word"
AUTO = "auto"

# The fewest entries of a flow table: LRU maps hand out free entries by the 128 for each CPU, and evict early
# below this.
FLOWS_FLOOR = 1024
# In jiffies it is kept in 32 bits, and at HZ=1000 these are 49 days.
_TIMEOUT_MAX_S = 14 * 86400


class Option(NamedTuple):
    """`kind` is "int", "time", "bool" or "word"; `minimum` and `maximum` are in the unit of `effective`.

    `words` are what a "word" may be, in the order of its enum in bpf_src/abi_words.h.
    """

    name: str
    kind: str
    default: str
    minimum: int
    maximum: int
    help: str
    words: tuple[str, ...] = ()


def _timeout(name: str, default: str, minimum: int, text: str) -> Option:
    return Option(f"timeout.{name}", TIME, default, minimum, _TIMEOUT_MAX_S, text)


def _builtin(name: str, text: str) -> Option:
    return Option(f"builtin.{name}", SWITCH, "on", 0, 1, f"pass {text}")


def _choice(name: str, words: tuple[str, ...], default: str, text: str) -> Option:
    return Option(name, CHOICE, default, 0, len(words) - 1, text, words)


_TABLE = (
    Option("flows.max", COUNT, "65536", FLOWS_FLOOR, 1 << 24, "confirmed flows that the table holds"),
    Option(
        "flows.embryonic",
        COUNT,
        AUTO,
        FLOWS_FLOOR,
        1 << 24,
        "flows not yet confirmed; auto: a quarter of flows.max",
    ),
    Option(
        "flows.per-source",
        COUNT,
        AUTO,
        1,
        1 << 24,
        "confirmed flows of one source that may be open at a time; auto: half of flows.max",
    ),
    _choice(
        "flows.full",
        ("refuse", "evict"),
        "refuse",
        "one flow more than flows.max: refuse it, or evict one that has long been idle",
    ),
    Option(
        "flows.adaptive",
        COUNT,
        "60",
        1,
        100,
        "percent of flows.max from which on timeouts shrink, to a third when it is full; 100: never",
    ),
    # RFC 5382 REQ-5, which RFC 7857 section 2.1 lets be configured shorter: 4 minutes while a connection opens
    # or closes; section 2.2 has the same after a reset.
    _timeout("tcp-syn-sent", "240s", 1, "TCP connection of which only the opener's SYN was seen"),
    _timeout("tcp-syn-recv", "240s", 1, "TCP connection whose SYN was answered, but not the answer"),
    # RFC 5382 REQ-5: not less than 2 hours and 4 minutes.
    _timeout("tcp-established", "86400s", 7440, "established TCP connection that is idle"),
    _timeout("tcp-fin-wait", "240s", 1, "TCP connection that one side has closed"),
    _timeout("tcp-last-ack", "240s", 1, "TCP connection that both have closed, not both acknowledged"),
    _timeout("tcp-time-wait", "240s", 1, "TCP connection that both sides have closed"),
    _timeout("tcp-closed", "240s", 1, "TCP connection that was reset"),
    # RFC 4787 REQ-5: not less than 2 minutes.
    _timeout("udp-one-way", "120s", 1, "UDP flow that was not answered"),
    _timeout("udp", "180s", 120, "UDP flow that was answered"),
    # RFC 5508 REQ-2: not less than 60 seconds.
    _timeout("icmp", "60s", 60, "echo request waiting for more"),
    # Twice the longest time between two tries (RFC 9260, section 16: RTO.Max is 60 s), so that one may be lost.
    _timeout("sctp-cookie-wait", "120s", 1, "SCTP association of which no cookie has come back"),
    _timeout("sctp-cookie-echoed", "120s", 1, "SCTP association whose cookie was not acknowledged"),
    _timeout(
        "sctp-heartbeat-sent", "120s", 1, "path of an SCTP association whose heartbeat was not answered"
    ),
    # Heartbeats come each HB.interval + 1.5 RTO, 120 s at the most; ends without them are as quiet as TCP's.
    _timeout("sctp-established", "7440s", 120, "SCTP association, or path of one, that is idle"),
    _timeout("sctp-shutdown-sent", "240s", 1, "SCTP association that one side shuts down"),
    _timeout("sctp-shutdown-ack-sent", "120s", 1, "SCTP association whose shutdown was acknowledged"),
    _timeout("sctp-closed", "120s", 1, "SCTP association that was shut down or aborted"),
    _timeout("other-one-way", "120s", 1, "flow of any other protocol that was not answered"),
    _timeout("other", "600s", 1, "flow of any other protocol that was answered"),
    _timeout("revoked", "60s", 1, "flow that the rules have ended, after its last packet"),
    # SLP, the slowest, waits 15 s (RFC 2608, section 6.3.1: CONFIG_MC_MAX)
    _timeout("expectation", "15s", 1, "time in which a multicast or broadcast question may be answered"),
    _choice(
        "antispoof",
        ("strict", "loose", "off"),
        "loose",
        "the route that must lead back to who opens a flow: strict, by the interface it came by; loose, any",
    ),
    _choice(
        "fragments.early",
        ("pass", "drop"),
        "pass",
        "later fragments that come before their first: a few a second pass to each destination, or none",
    ),
    _choice("ip.options", ("drop", "pass"), "drop", "packets with IP options but for what IGMP and MLD need"),
    Option(
        "load.grace",
        TIME,
        "30s",
        0,
        3600,
        "time after a load in which running TCP connections are taken over",
    ),
    _choice(
        "tcp.pickup",
        ("off", "outbound", "any"),
        "off",
        "TCP connections that may be taken over midway at any time: off, outbound or any",
    ),
    _choice(
        "tcp.window",
        ("strict", "log", "off"),
        "strict",
        "TCP segments outside their window: strict drops, log passes and logs them, off does not look",
    ),
    Option(
        "reject.rate", COUNT, "250", 0, 100_000, "answers to rejected packets per second and CPU; 0: none"
    ),
    Option("log.rate", COUNT, "1000", 0, 1_000_000, "events per second and CPU for who follows; 0: none"),
    _builtin("arp", "ARP, which finds the neighbours of IPv4"),
    _builtin("pppoe", "PPPoE discovery and session frames"),
    _builtin("eapol", "802.1X authentication"),
    _builtin("lldp", "LLDP, by which switches name themselves"),
    _builtin("stp", "spanning tree frames of bridges"),
    _builtin("nd", "neighbour and router discovery of IPv6 (hop limit 255)"),
    _builtin("mld", "multicast listener discovery of IPv6 (hop limit 1)"),
    _builtin("igmp", "IGMP, which joins multicast groups of IPv4"),
    _builtin("dhcp", "the DHCP client's exchange"),
    _builtin("dhcp6", "the DHCPv6 client's exchange"),
)

OPTIONS = {option.name: option for option in _TABLE}


def find(name: str) -> Option:
    """The option of that name. Raises UsageError, with the name that was likely meant."""
    option = OPTIONS.get(name)
    if option is None:
        near = closest(name, OPTIONS)
        hint = f"did you mean '{near}'?" if near else "'fw option' lists them all"
        raise UsageError(f"there is no option '{name}'", hint)
    return option


def check(name: str, value: str) -> str:
    """`value` as it is to be kept, without leading zeros. Raises UsageError if the option cannot have it."""
    option = find(name)
    amount = _amount(option, value)
    if value == AUTO or option.kind in (SWITCH, CHOICE):
        return value
    if not _allowed(option, amount):
        raise UsageError(f"'{name}' cannot be {value}: {_limits(option)}")
    return f"{int(value[:-1])}{value[-1]}" if option.kind == TIME else str(amount)


def effective(settings: Mapping[str, str]) -> dict[str, int]:
    """Each option's value, in the order of the table; `settings` has checked values of those that are set."""
    values = {name: settings.get(name, option.default) for name, option in OPTIONS.items()}
    amounts = {name: _amount(OPTIONS[name], value) for name, value in values.items()}
    quarter = amounts["flows.max"] // 4
    if values["flows.embryonic"] == AUTO:
        amounts["flows.embryonic"] = max(FLOWS_FLOOR, quarter)
    if values["flows.per-source"] == AUTO:
        amounts["flows.per-source"] = amounts["flows.max"] // 2
    return amounts


def _allowed(option: Option, amount: int) -> bool:
    return option.minimum <= amount <= option.maximum


def _limits(option: Option) -> str:
    unit = "s" if option.kind == TIME else ""
    return f"it goes from {option.minimum}{unit} to {option.maximum}{unit}"


def _amount(option: Option, value: str) -> int:
    """The number that `value` stands for; 0 for an `auto` that `effective` has yet to resolve."""
    if option.kind == SWITCH:
        if value not in ("on", "off"):
            raise UsageError(f"'{option.name}' is 'on' or 'off', not '{value}'")
        return int(value == "on")
    if option.kind == CHOICE:
        if value not in option.words:
            near = closest(value, option.words)
            hint = f"did you mean '{near}'?" if near else None
            *others, last = (f"'{word}'" for word in option.words)
            raise UsageError(f"'{option.name}' is {', '.join(others)} or {last}, not '{value}'", hint)
        return option.words.index(value)
    if value == option.default == AUTO:
        return 0
    if option.kind == COUNT:
        amount = number(value)
        if amount is None:
            choice = " or 'auto'" if option.default == AUTO else ""
            raise UsageError(f"'{option.name}' is a whole number{choice}, not '{value}'")
        return amount
    amount = seconds(value)
    if amount is None:
        bare = number(value)
        hint = EXAMPLES
        if bare is not None:
            hint = f"did you mean '{bare}s'?" if _allowed(option, bare) else _limits(option)
        raise UsageError(f"'{option.name}' is a time with its unit, not '{value}'", hint)
    return amount
