# SPDX-License-Identifier: MIT
"""What `nft -j list ruleset` prints, as a policy: the filter chains at input, forward and output.

The format is that of libnftables-json(5). A rule is named by its table, its chain and its handle.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from firewall.errors import UsageError
from firewall.importers import match
from firewall.importers.carried import Carried, Never, Refused
from firewall.importers.chains import JUMP, LOG, NOTHING, RETURN, Chains, Step, flatten
from firewall.importers.match import EVERYWHERE, Match, Names

HOOKS = {"input": "in", "forward": "forward", "output": "out"}
_FAMILIES = {"ip": 4, "ip6": 6, "inet": None}
_POLICIES = {"accept": "allow", "drop": "drop"}
_NFPROTO = {"ipv4": 4, "ip": 4, "ipv6": 6, "ip6": 6}
_ANSWERS = {
    "port-unreachable": "port",
    "admin-prohibited": "admin",
    "host-unreachable": "host",
    "addr-unreachable": "host",
}
_ICMP_NAMES = {
    "nd-router-solicit": "router-solicitation",
    "nd-router-advert": "router-advertisement",
    "nd-neighbor-solicit": "neighbor-solicitation",
    "nd-neighbor-advert": "neighbor-advertisement",
    "nd-redirect": "redirect",
    "mld-listener-query": "mld-query",
    "mld-listener-report": "mld-report",
    "mld-listener-done": "mld-done",
    "mld2-listener-report": "mld2-report",
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
    for name, rule in rules:
        chains.setdefault(name, []).extend(_steps(rule, sets, kinds.get(name)))
    _flatten(carried, chains, bases)
    for name in kinds:
        for step in chains[name]:
            carried.leave(step.place, step.text, step.refused or Refused(kinds[name]))
    return carried


def _key(item: dict[str, Any], name: str) -> str:
    return f"{item['family']} {item['table']} {item[name]}"


def _flatten(carried: Carried, chains: Chains, bases: list[_Base]) -> None:
    for hook, scope in HOOKS.items():
        here = [base for base in bases if base.hook == hook]
        policy = "drop" if any(base.policy == "drop" for base in here) else "allow"
        carried.add(f"default {scope} {policy}")
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
            flatten(carried, chains, base.name, scope, base.policy, base.family)
        families = {base.family for base in said if base.policy == "drop"}
        if families and None not in families:
            # One family is dropped by default; the other is not.
            for other in {4, 6} - families:
                carried.rule(f"allow {scope} from {'0.0.0.0/0' if other == 4 else '::/0'}")


def _steps(rule: dict[str, Any], sets: dict[str, Any], why: str | None) -> Iterator[Step]:
    place = f"{_key(rule, 'chain')} handle {rule.get('handle', '?')}"
    text = json.dumps(rule.get("expr", []))
    if why:
        yield Step(place, text, refused=Refused(why))
        return
    try:
        yield from _Rule(rule, sets, place, text).steps()
    except Refused as refused:
        yield Step(place, text, refused=refused)
    except (AttributeError, KeyError, TypeError, ValueError):
        yield Step(place, text, refused=Refused("it is not of a form that fw knows"))


class _Rule:
    """The expressions of one rule while they are read."""

    def __init__(self, rule: dict[str, Any], sets: dict[str, Any], place: str, text: str) -> None:
        self.rule = rule
        self.sets = sets
        self.place = place
        self.text = text
        self.asked = Match()
        self.others = self.cuts = self.limited = False
        self.log: str | None = None

    def steps(self) -> Iterator[Step]:
        for expression in self.rule.get("expr", []):
            ((kind, value),) = expression.items()
            if kind == "match":
                self.asked = self.asked.meet(self._match(value))
            elif kind == "limit":
                self.limited = True
            elif kind == "log":
                self.log = ((value or {}).get("prefix") or "").strip()
            elif kind == "vmap":
                yield from self._map(value)
                return
            elif kind in ("accept", "drop", "reject", "jump", "goto", "return"):
                yield self._step(self.asked, kind, value)
                return
            elif kind != "counter":
                raise Refused(f"fw has nothing like '{kind}'")
        if self.others:
            raise Refused(_FOLLOWED, implied=True)
        yield Step(self.place, self.text, self.asked, LOG if self.log is not None else NOTHING, log=self.log)

    def _step(self, asked: Match, kind: str, value: Any) -> Step:
        does = {"accept": "allow", "drop": "drop", "reject": "reject with port", "return": RETURN}.get(
            kind, JUMP
        )
        if self.others:
            if does == "allow" or (does == "drop" and not self.cuts):
                raise Refused(_FOLLOWED, implied=True)
            raise Refused("fw cannot decide anew on what belongs to a connection")
        if self.limited:
            raise Refused("fw does not carry limits over")
        if kind == "goto":
            raise Refused("a 'goto' cannot be flattened")
        if kind == "reject" and value:
            answer = "rst" if value.get("type") == "tcp reset" else _ANSWERS.get(value.get("expr"))
            if answer is None:
                raise Refused("fw has no such answer")
            does = f"reject with {answer}"
        target = f"{self.rule['family']} {self.rule['table']} {value['target']}" if does == JUMP else ""
        comment = self.rule.get("comment", "")
        return Step(self.place, self.text, asked, does, target, self.log, comment)

    def _map(self, value: dict[str, Any]) -> Iterator[Step]:
        """A verdict for each value of a key."""
        pairs = value["data"]
        if isinstance(pairs, str):
            raise Refused("fw does not carry maps with names over")
        others, cuts = self.others, self.cuts
        for key, verdict in pairs["set"]:
            ((kind, told),) = verdict.items()
            self.others, self.cuts = others, cuts
            try:
                asked = self.asked.meet(self._match({"op": "==", "left": value["key"], "right": key}))
                yield self._step(asked, kind, told)
            except Refused as refused:
                yield Step(self.place, json.dumps([key, verdict]), refused=refused)

    def _match(self, value: dict[str, Any]) -> Match:
        if value["op"] not in ("==", "!=", "in"):
            raise Refused(f"fw does not compare with '{value['op']}'")
        ((kind, left),) = value["left"].items()
        negated = value["op"] == "!="
        right = list(self._values(value["right"]))
        if kind == "payload" and "protocol" in left:
            return _payload(left["protocol"], left["field"], right, negated)
        if kind == "meta":
            return _meta(left["key"], right, negated)
        if kind == "ct" and left["key"] == "state":
            states = set(right)
            if states - {"new", "established", "related", "invalid"}:
                raise Refused("fw has no such state of connections")
            opens = ("new" in states) != negated
            self.others = self.others or not opens
            self.cuts = self.cuts or bool(states & {"established", "related"}) or negated
            return Match()
        key = left.get("key", "") if isinstance(left, dict) else ""
        raise Refused(f"fw does not ask for '{kind}' {key}".rstrip())

    def _values(self, right: Any) -> Iterator[str]:
        """The values of the right side, ranges as `low-high`, with what a named set holds."""
        if isinstance(right, str) and right.startswith("@"):
            found = self.sets.get(f"{self.rule['family']} {self.rule['table']} {right[1:]}")
            if found is None or not isinstance(found["type"], str):
                raise Refused(f"fw cannot take over the set '{right}'")
            if "timeout" in found.get("flags", ()) or "dynamic" in found.get("flags", ()):
                raise Refused(f"the set '{right}' changes while it is used")
            right = {"set": found.get("elem", [])}
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        for one in right if isinstance(right, list) else [right]:
            yield _value(one)


_FOLLOWED = "answers, later packets and errors follow their connection, and invalid packets are dropped"


def _value(one: Any) -> str:
    if isinstance(one, dict) and "elem" in one:
        one = one["elem"]["val"]
    if isinstance(one, dict) and "prefix" in one:
        return f"{one['prefix']['addr']}/{one['prefix']['len']}"
    if isinstance(one, dict) and "range" in one:
        return "-".join(map(str, one["range"]))
    if isinstance(one, dict | list):
        raise Refused("fw does not join keys, nor calculate")
    return str(one)


def _payload(protocol: str, field: str, right: list[str], negated: bool) -> Match:
    if protocol in ("ip", "ip6") and field in ("saddr", "daddr"):
        found = match.addresses(right, negated, 4 if protocol == "ip" else 6)
        return Match(src=found) if field == "saddr" else Match(dst=found)
    if protocol in ("ip", "ip6") and field in ("protocol", "nexthdr"):
        family = 4 if protocol == "ip" else 6
        return _protocols(right, negated)._replace(src={family: EVERYWHERE[family]})
    if protocol in ("tcp", "udp", "sctp", "th") and field in ("sport", "dport"):
        found_ports = match.ports(right, negated)
        protos = None if protocol == "th" else (protocol,)
        return (
            Match(protos=protos, sport=found_ports)
            if field == "sport"
            else Match(protos=protos, dport=found_ports)
        )
    if protocol in ("icmp", "icmpv6") and field == "type" and not negated:
        if not right:  # a set that is empty
            raise Never
        return Match(
            protos=("icmp" if protocol == "icmp" else "icmp6",),
            icmp=tuple(_ICMP_NAMES.get(name, name) for name in right),
        )
    raise Refused(f"fw does not ask for '{protocol} {field}'")


def _protocols(right: list[str], negated: bool) -> Match:
    if negated:
        raise Refused("fw has no protocols but some")
    return Match(protos=tuple(name for one in right for name in match.proto(one) or ()))


def _interfaces(field: str) -> Callable[[list[str], bool], Match]:
    def read(right: list[str], negated: bool) -> Match:
        names = tuple(name[:-1] + "+" if name.endswith("*") else name for name in right)
        if negated and "lo" in names:  # every packet that fw sees
            names = tuple(name for name in names if name != "lo")
        if not names and not negated:  # a set that is empty
            raise Never
        return Match(**{field: Names(negated, names)}) if names else Match()  # type: ignore[arg-type]

    return read


def _nfproto(right: list[str], negated: bool) -> Match:
    families = {_NFPROTO[name] for name in right if name in _NFPROTO}
    chosen = {4, 6} - families if negated else families
    if not chosen:
        raise Never
    return Match(src={family: EVERYWHERE[family] for family in chosen}) if len(chosen) == 1 else Match()


_METAS: dict[str, Callable[[list[str], bool], Match]] = {
    **dict.fromkeys(("iifname", "iif"), _interfaces("on")),
    **dict.fromkeys(("oifname", "oif"), _interfaces("via")),
    **dict.fromkeys(("nfproto", "protocol"), _nfproto),
    "l4proto": _protocols,
}


def _meta(key: str, right: list[str], negated: bool) -> Match:
    if key not in _METAS:
        raise Refused(f"fw does not ask for 'meta {key}'")
    return _METAS[key](right, negated)
