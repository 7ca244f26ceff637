# SPDX-License-Identifier: MIT
"""What is not carried over although fw has something like it: how the two differ, and what to write by hand."""

import re

from firewall.importers.carried import Refused

_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_RATE = re.compile(r"(\d+)/([smhd])[a-z]*")

# Reasons, and what to write.
Reason = tuple[str, str]

_BETWEEN = "write 'between 08:00 and 18:00'"
_HOURS: Reason = ("nft keeps hours in UTC, and fw in local time", _BETWEEN)
_PER_SOURCE: Reason = (
    "here what is above the limit goes on to the next rule, and in fw the rule drops it",
    "if that is meant, write an allow with 'limit 10/minute per source'",
)
_COUNTED: Reason = (
    "fw counts the flows that an allow has let in, and drops what is above the number",
    "if that is meant, write 'max-flows 20' into the allow, with 'per source' for each sender",
)
_FILLED: Reason = (
    "in fw a rule puts senders into a set only by a ceiling of its own",
    "write an allow with 'limit 10/minute per source overload @NAME for 1h'",
)
_PROGRAMS: Reason = ("fw hands no packets to programs", "write 'log' into the rule that decides")
_UNITS_ALONE: Reason = ("fw asks for units of systemd, and not for cgroups", "write 'unit NAME' in scope out")
_WAY_BACK: Reason = ("fw asks for the way back to whoever opens a flow", "set 'option antispoof'")
_CONNMARK: Reason = (
    "fw asks for the mark of a packet, and has none of connections",
    "'set-mark' of an allow marks all packets of a flow",
)
_SETS_MARK: Reason = (
    "in fw the allow that lets a flow in sets the mark of its packets",
    "write 'set-mark MARK' into it",
)
_UNTRACKED: Reason = (
    "in fw the allow that lets packets in says that they have no flow",
    "write 'untracked' into it",
)

# Of iptables: modules, and targets that are no chains.
MATCHES: dict[str, Reason] = {
    "cgroup": _UNITS_ALONE,
    "connlimit": _COUNTED,
    "connmark": _CONNMARK,
    "hashlimit": _PER_SOURCE,
    "recent": _FILLED,
    "rpfilter": _WAY_BACK,
    "set": (
        "what is in the set is not in this file",
        "write 'set NAME file PATH', and ask 'from @NAME' or 'to @NAME'",
    ),
    "time": ("without --kerneltz its hours are in UTC, and those of fw in local time", _BETWEEN),
    "tos": ("fw asks for the six bits of the DSCP alone", "write 'dscp CLASS'"),
}
TARGETS: dict[str, Reason] = {
    "CONNMARK": _SETS_MARK,
    "MARK": _SETS_MARK,
    "NFLOG": _PROGRAMS,
    "NOTRACK": _UNTRACKED,
    "SET": _FILLED,
    "ULOG": _PROGRAMS,
}
NO_TRACKING = "--notrack"

# Of nft: statements, and what a match asks for.
STATEMENTS: dict[str, Reason] = {
    "ct count": _COUNTED,
    "notrack": _UNTRACKED,
    "set": _FILLED,
}
ASKED: dict[str, Reason] = {
    "ct mark": _CONNMARK,
    "fib oif": _WAY_BACK,
    "icmp code": ("fw asks for a code beside its type alone", "write 'icmp-type 3/4'"),
    "icmpv6 code": ("fw asks for a code beside its type alone", "write 'icmp-type 1/4'"),
    "meta day": _HOURS,
    "meta hour": _HOURS,
    "meta time": ("nft can name moments, and fw the end of a rule", "write 'until 2030-06-01T18:00Z'"),
    "socket cgroupv2": _UNITS_ALONE,
    "tcp flags": ("fw has no flags of TCP: it follows connections", ""),
}


def refused(table: dict[str, Reason], key: str, otherwise: str) -> Refused:
    """The reason of `key`, or `otherwise` where fw has nothing like it."""
    why, hand = table.get(key, (otherwise, ""))
    return Refused(why, by_hand=hand)


def sets_mark(mark: object) -> Refused:
    """The reason of a rule that sets the mark of a packet."""
    why, _ = _SETS_MARK
    return Refused(why, by_hand=f"write 'set-mark {mark}' into it")


def limit(rate: str, burst: str) -> Refused:
    """The reason of a rule with a limit: `rate` as `5/minute`, `burst` a number; each may be empty."""
    found = _RATE.match(rate)
    clause = f"limit {found[1]}/{_UNITS[found[2]]}" if found else "limit 5/minute"
    clause += f" burst {burst}" if found and burst else ""
    hand = (
        "here a packet above the limit goes on to the next rule, and in fw the rule drops it: "
        f"if that is meant, write an allow with '{clause}'"
    )
    return Refused("fw does not carry limits over", by_hand=hand)
