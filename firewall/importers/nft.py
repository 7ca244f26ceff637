# SPDX-License-Identifier: MIT
"""What `nft -j list ruleset` prints, as a policy: the filter chains at input, forward and output.

The format is that of libnftables-json(5). A rule is named by its table, its chain and its handle.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from firewall.errors import UsageError
from firewall.importers import byhand, nftmatch
from firewall.importers.answers import Answers, compare
from firewall.importers.carried import Carried, Refused
from firewall.importers.chains import FOLLOW, FOLLOWED, JUMP, LOG, NOTHING, RETURN, Chains, Step, flatten
from firewall.importers.match import EVERYWHERE, Match

HOOKS = {"input": "in", "forward": "forward", "output": "out"}
_FAMILIES = {"ip": 4, "ip6": 6, "inet": None}
_POLICIES = {"accept": "allow", "drop": "drop"}
_ANSWERS = {
    "port-unreachable": "port",
    **dict.fromkeys(("admin-prohibited", "net-prohibited", "host-prohibited"), "admin"),
    "host-unreachable": "host",
    "addr-unreachable": "host",
}
# What nft leaves out of a rule that it prints, since the answer says it.
_ANSWERED = {
    "icmp": Match(src={4: EVERYWHERE[4]}),
    "icmpv6": Match(src={6: EVERYWHERE[6]}),
    "tcp reset": Match(protos=("tcp",)),
}


class _Base(NamedTuple):
    """A chain at a hook."""

    family: int | None
    name: str  # with its table, as in `Chains`
    hook: str
    policy: str


def carry(text: str) -> Carried:
    """The policy that a ruleset is. Raises UsageError where it is none of nft's JSON."""
    try:
        items: list[dict[str, Any]] = json.loads(text)["nftables"]
        if not isinstance(items, list):
            raise TypeError
        sets = {_key(item["set"], "name"): item["set"] for item in items if "set" in item}
        listed = [(_key(item["chain"], "name"), item["chain"]) for item in items if "chain" in item]
        rules = [(_key(item["rule"], "chain"), item["rule"]) for item in items if "rule" in item]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError("this is not what 'nft -j list ruleset' prints", "mind the '-j'") from None
    carried = Carried()
    chains: Chains = {}
    bases: list[_Base] = []
    kinds: dict[str, str] = {}  # why what is in a chain cannot be carried over
    for name, chain in listed:
        hook = chain.get("hook")
        chains[name] = []
        if chain["family"] not in _FAMILIES:
            kinds[name] = f"fw does not filter '{chain['family']}'"
        elif chain.get("type") == "nat":
            kinds[name] = "fw does not translate addresses"
        elif hook in HOOKS and chain.get("type") == "filter":
            bases.append(
                _Base(_FAMILIES[chain["family"]], name, hook, _POLICIES[chain.get("policy", "accept")])
            )
        elif hook:
            kinds[name] = f"fw has no hook '{hook}'"
    filled = set(_filled(rules))
    for name, rule in rules:
        chains.setdefault(name, []).extend(_steps(rule, sets, filled, kinds.get(name)))
    _flatten(carried, chains, bases)
    for name in kinds:
        for step in chains[name]:
            carried.leave(step.place, step.text, step.refused or Refused(kinds[name]))
    return carried


def _filled(rules: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """The names of the sets that rules add to. nft does not print which sets are dynamic."""
    for _, rule in rules:
        expressions = rule.get("expr")
        for expression in expressions if isinstance(expressions, list) else []:
            if isinstance(expression, dict) and isinstance(expression.get("set"), dict):
                yield str(expression["set"].get("set", "")).removeprefix("@")


def _changed(value: dict[str, Any]) -> Refused:
    """Why a rule that changes what it meets is not carried over."""
    if value.get("key") == {"meta": {"key": "mark"}} and isinstance(value.get("value"), int):
        return byhand.sets_mark(hex(value["value"]))
    if "payload" in value["key"]:
        return Refused("fw changes nothing of a packet but its mark")
    return byhand.refused(byhand.TARGETS, "MARK", "")


def _key(item: dict[str, Any], name: str) -> str:
    return f"{item['family']} {item['table']} {item[name]}"


def _flatten(carried: Carried, chains: Chains, bases: list[_Base]) -> None:
    defaults = {}
    for hook, scope in HOOKS.items():
        here = [base for base in bases if base.hook == hook]
        defaults[scope] = "drop" if any(base.policy == "drop" for base in here) else "allow"
        carried.add(f"default {scope} {defaults[scope]}")
    answers: dict[int | None, dict[str, Answers]] = {}  # by family and scope
    for hook, scope in HOOKS.items():
        said: list[_Base] = []
        here = [base for base in bases if base.hook == hook and (chains[base.name] or base.policy == "drop")]
        for base in here:
            if any(None in (base.family, other.family) or base.family == other.family for other in said):
                why = "another chain at this hook has decided before, and in fw the first that decides is the last"
                for step in chains[base.name]:
                    carried.leave(step.place, step.text, Refused(why))
                if base.policy == "drop":  # of what the other has accepted too
                    carried.leave(base.name, "policy drop", Refused(why))
                continue
            said.append(base)
            found = flatten(carried, chains, base.name, scope, base.policy, base.family)
            answers.setdefault(base.family, {})[scope] = found
        families = {base.family for base in said if base.policy == "drop"}
        if families and None not in families:
            # One family is dropped by default; the other is not, unless by a chain that is not carried over.
            for other in {4, 6} - families - _untold(here, said):
                carried.rule(f"allow {scope} from {'0.0.0.0/0' if other == 4 else '::/0'}")
    for family, hooks in answers.items():
        others = {scope: Answers(carried, hook, scope, "allow", family) for hook, scope in HOOKS.items()}
        compare({**others, **hooks})


def _untold(here: list[_Base], said: list[_Base]) -> set[int]:
    """The families of which a chain at a hook decides that is not carried over."""
    left = [base.family for base in here if base not in said]
    return {4, 6} if None in left else {family for family in left if family}


def _steps(rule: dict[str, Any], sets: dict[str, Any], filled: set[str], why: str | None) -> Iterator[Step]:
    place = f"{_key(rule, 'chain')} handle {rule.get('handle', '?')}"
    text = json.dumps(rule.get("expr", []))
    if why:
        yield Step(place, text, refused=Refused(why))
        return
    try:
        yield from _Rule(rule, sets, filled, place, text).steps()
    except Refused as refused:
        yield Step(place, text, does=_way_out(rule), refused=refused)
    except (AttributeError, KeyError, TypeError, ValueError):
        unknown = Refused("it is not of a form that fw knows")
        yield Step(place, text, does=_way_out(rule), refused=unknown)


def _way_out(rule: dict[str, Any]) -> str:
    """RETURN if a rule that cannot be read leaves its chain, by whatever: who goes on there is not known either."""
    told = json.dumps(rule.get("expr", []))
    return RETURN if '"return"' in told or '"goto"' in told else NOTHING


class _Rule:
    """The expressions of one rule while they are read."""

    def __init__(
        self, rule: dict[str, Any], sets: dict[str, Any], filled: set[str], place: str, text: str
    ) -> None:
        self.rule = rule
        self.sets = sets
        self.filled = filled
        self.place = place
        self.text = text
        self.asked = Match()
        self.others = self.cuts = False
        self.answers = True
        self.limit: dict[str, Any] | None = None
        self.log: str | None = None

    def steps(self) -> Iterator[Step]:
        for expression in self.rule.get("expr", []):
            ((kind, value),) = expression.items()
            if kind == "match":
                self.asked = self.asked.meet(self._match(value))
            elif kind == "limit":
                self.limit = value or {}
            elif kind == "log":
                self.log = ((value or {}).get("prefix") or "").strip()
            elif kind == "vmap":
                yield from self._map(value)
                return
            elif kind in ("accept", "drop", "reject", "jump", "goto", "return"):
                yield self._step(self.asked, kind, value)
                return
            elif kind == "mangle":
                raise _changed(value)
            elif kind != "counter":
                raise byhand.refused(byhand.STATEMENTS, kind, f"fw has nothing like '{kind}'")
        if self.others:
            raise Refused(FOLLOWED, implied=True)
        yield Step(self.place, self.text, self.asked, LOG if self.log is not None else NOTHING, log=self.log)

    def _step(self, asked: Match, kind: str, value: Any) -> Step:
        does = {"accept": "allow", "drop": "drop", "reject": "reject with port", "return": RETURN}.get(
            kind, JUMP
        )
        if self.others:
            followed = Refused(FOLLOWED, implied=True)
            if does == "allow" and self.answers:
                return Step(self.place, self.text, asked, FOLLOW)
            if does == "allow" or (does == "drop" and not self.cuts):
                raise followed
            anew = Refused("fw cannot decide anew on what belongs to a connection")
            return Step(self.place, self.text, refused=anew, late=followed)
        if self.limit is not None:
            rate, per, burst = (self.limit.get(key, "") for key in ("rate", "per", "burst"))
            counted = not {"rate_unit", "burst_unit"} & self.limit.keys()  # and not bytes
            raise byhand.limit(f"{rate}/{per}" if counted else "", str(burst))
        if kind == "goto":
            raise Refused("a 'goto' cannot be flattened")
        if kind == "reject" and value:
            answer = "rst" if value.get("type") == "tcp reset" else _ANSWERS.get(value.get("expr"))
            if answer is None:
                raise Refused("fw has no such answer")
            does = f"reject with {answer}"
            asked = asked.meet(_ANSWERED.get(value.get("type"), Match()))
        target = f"{self.rule['family']} {self.rule['table']} {value['target']}" if does == JUMP else ""
        comment = self.rule.get("comment", "")
        return Step(self.place, self.text, asked, does, target, self.log, comment, answers=self.answers)

    def _map(self, value: dict[str, Any]) -> Iterator[Step]:
        """A verdict for each value of a key."""
        pairs = value["data"]
        if isinstance(pairs, str):
            raise Refused("fw does not carry maps with names over")
        state = self.others, self.cuts, self.answers
        for key, verdict in pairs["set"]:
            ((kind, told),) = verdict.items()
            self.others, self.cuts, self.answers = state
            try:
                asked = self.asked.meet(self._match({"op": "==", "left": value["key"], "right": key}))
                yield self._step(asked, kind, told)
            except Refused as refused:
                leaves = RETURN if kind in ("return", "goto") else NOTHING
                yield Step(self.place, json.dumps([key, verdict]), does=leaves, refused=refused)

    def _match(self, value: dict[str, Any]) -> Match:
        ((kind, left),) = value["left"].items()
        op = value["op"]
        negated = op == "!="
        right = list(self._values(value["right"]))
        if kind == "payload" and "protocol" in left:
            if op in nftmatch.ORDERS:
                right = nftmatch.ordered(left["field"], op, right)
            return nftmatch.payload(left["protocol"], left["field"], right, negated)
        if op not in ("==", "!=", "in"):
            raise Refused(f"fw does not compare with '{op}'")
        if kind == "meta":
            return nftmatch.meta(left["key"], right, negated)
        if kind == "&":
            return nftmatch.masked(left, right, negated)
        if kind == "ct" and left["key"] == "state":
            states = set(right)
            if states - {"new", "established", "related", "invalid"}:
                raise Refused("fw has no such state of connections")
            opens, belongs = (("new" in states) != negated, ("established" in states) != negated)
            self.others = self.others or not opens
            self.answers = self.answers and belongs
            self.cuts = self.cuts or bool(states & {"established", "related"}) or negated
            return Match()
        key = left.get("key") or left.get("result") or "" if isinstance(left, dict) else ""
        asked = f"{kind} {key}".rstrip()
        raise byhand.refused(byhand.ASKED, asked, f"fw does not ask for '{asked}'")

    def _values(self, right: Any) -> Iterator[str]:
        """The values of the right side, ranges as `low-high`, with what a named set holds."""
        if isinstance(right, str) and right.startswith("@"):
            found = self.sets.get(f"{self.rule['family']} {self.rule['table']} {right[1:]}")
            if found is None or not isinstance(found["type"], str):
                raise Refused(f"fw cannot take over the set '{right}'")
            flags = found.get("flags", ())
            flags = (
                {flags} if isinstance(flags, str) else set(flags)
            )  # nft prints a single one without its list
            if right[1:] in self.filled or {"timeout", "dynamic"} & flags:
                hand = "write 'set NAME timeout 1h', and have it filled by 'overload' or 'fw set add'"
                raise Refused(f"the set '{right}' changes while it is used", by_hand=hand)
            right = {"set": found.get("elem", [])}
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        for one in right if isinstance(right, list) else [right]:
            yield nftmatch.value(one)
