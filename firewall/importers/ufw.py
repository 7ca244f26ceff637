# SPDX-License-Identifier: MIT
"""ufw's user.rules or user6.rules as a policy: by the remarks `### tuple ###`, in which ufw keeps what was asked for.

ufw's defaults are in another file, /etc/default/ufw: those that it is installed with are taken.
"""

import re

from firewall.importers import match
from firewall.importers.carried import Carried, Refused, speak_of_one_family
from firewall.importers.chains import plain
from firewall.importers.match import Match, Names

_MARK = "### tuple ###"
_ACTIONS = {"allow": "allow", "deny": "drop", "reject": "reject"}
_ANY = {"any", "0.0.0.0/0", "::/0"}

# What ufw writes into each file, to log and to limit.
_OWN = re.compile(
    r"-A ufw6?-(user-limit|user-limit-accept|user-logging-\w+|(after|before)-logging-\w+|logging-\w+) "
)

Protos = tuple[str, ...] | None
_PORTED = ("tcp", "udp")
_LIMIT = (
    "ufw refuses who has connected 6 times in 30 seconds until he rests, and fw lets him connect once in so often: "
    "if that is meant, write an allow with 'limit 12/minute burst 6 per source'"
)


def carry(text: str) -> Carried:
    """The policy that a file of rules is, of the packets of its family."""
    carried = Carried()
    family = 6 if "::/0" in text or "ufw6-user-input" in text else 4
    speak_of_one_family(carried, family, "user.rules" if family == 6 else "user6.rules")
    carried.lines += ["default in drop", "default forward drop", "default out allow"]
    place = "the defaults of in, forward and out"
    why = "they are in /etc/default/ufw: drop, drop and allow are taken, as it is installed"
    carried.leave(place, "DEFAULT_INPUT_POLICY ...", Refused(why, implied=True))
    why = "what ufw lets in before all rules is not in this file; of it fw has DHCP built in, and ping not"
    hand = f"write 'allow in icmp{'6' * (family == 6)} icmp-type echo-request' for ping"
    before = "before6.rules" if family == 6 else "before.rules"
    carried.leave(before, "ufw-before-input ...", Refused(why, implied=True, by_hand=hand))
    found = told = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(_MARK):
            told = told and line.startswith("-A ")  # behind a remark are the rules that it stands for
            if line.startswith("-A ") and not told and not _OWN.match(line):
                why = "it is no rule that ufw has made of a command"
                carried.leave(f"line {number}", line, Refused(why, by_hand="give it to 'fw import iptables'"))
            continue
        found = told = True
        try:
            _carry_tuple(carried, line.removeprefix(_MARK).split(), family)
        except Refused as refused:
            carried.leave(f"line {number}", line, refused)
    if not found and text.strip() and "*filter" not in text:
        carried.leave("line 1", text.splitlines()[0], Refused("it is no file of ufw's rules"))
    return carried


def _carry_tuple(carried: Carried, words: list[str], family: int) -> None:
    """ACTION PROTOCOL DPORT DESTINATION SPORT SOURCE [DAPP SAPP] DIRECTION [comment=HEX]."""
    comment = ""
    if words and words[-1].startswith("comment="):
        try:
            comment = bytes.fromhex(words.pop().removeprefix("comment=")).decode(errors="replace")
        except ValueError:
            raise Refused("its comment is not in hexadecimal digits") from None
    if len(words) not in (7, 9):
        raise Refused("it has not the words of ufw's rules")
    action, proto, dport, dst, sport, src, *_, direction = words
    routed = action.startswith("route:")
    action, _, log = action.removeprefix("route:").partition("_")
    if action == "limit":
        raise Refused("fw does not carry limits over", by_hand=_LIMIT)
    if action not in _ACTIONS:
        raise Refused(f"ufw's '{action}' is not known")
    ways = {way: name for way, _, name in (part.partition("_") for part in direction.split("!"))}
    scope = "forward" if routed else direction.partition("_")[0]
    ported = dport != "any" or sport != "any"
    protos = match.proto("all" if proto == "any" else proto)
    if ported and protos is None:
        protos = _PORTED
    asked = Match(
        on=Names(False, (ways["in"],)) if ways.get("in") else None,
        via=Names(False, (ways["out"],)) if ways.get("out") else None,
        protos=protos,
        src=None if src in _ANY else match.addresses([src], False, family),
        dst=None if dst in _ANY else match.addresses([dst], False, family),
        sport=None if sport == "any" else match.ports(sport.split(","), False),
        dport=None if dport == "any" else match.ports(dport.split(","), False),
    )
    remarks = ["log" if log else "", f'comment "{plain(comment)}"' if plain(comment) else ""]
    for does, some in _answers(_ACTIONS[action], protos):
        words = [does, scope, asked._replace(protos=some).words(family), *remarks]
        carried.rule(" ".join(filter(None, words)))


def _answers(action: str, protos: Protos) -> list[tuple[str, Protos]]:
    """How each of the protocols is refused: ufw resets TCP that the rule names, and else says that nobody listens."""
    if action != "reject" or protos is None:
        return [("reject with port" if action == "reject" else action, protos)]
    return [(f"reject with {'rst' if proto == 'tcp' else 'port'}", (proto,)) for proto in protos]
