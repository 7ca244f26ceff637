# SPDX-License-Identifier: MIT
"""Chains that jump to each other, as one list of rules for each hook: what iptables and nft have in common."""

from typing import NamedTuple

from firewall.importers.answers import Answers
from firewall.importers.carried import Carried, Never, Refused
from firewall.importers.match import Match, Names

MAX_DEPTH = 16
JUMP, LOG, RETURN, FOLLOW, NOTHING = "jump", "log", "return", "follow", "nothing"
FOLLOWED = "answers, later packets and errors follow their connection, and invalid packets are dropped"
_LOOPBACK = "lo"


class Step(NamedTuple):
    """One rule of a chain: `does` is an action of fw, or JUMP to the chain `target`, LOG with that text, RETURN,
    FOLLOW, which lets in what belongs to a connection, or NOTHING.

    `answers` tells whether it decides on what belongs to a connection too. `refused` says why it is not carried over,
    and `late` so where all that belongs to connections has been decided before.
    """

    place: str
    text: str
    match: Match = Match()
    does: str = NOTHING
    target: str = ""
    log: str | None = None
    comment: str = ""
    refused: Refused | None = None
    answers: bool = True
    late: Refused | None = None


Chains = dict[str, list[Step]]


def flatten(
    carried: Carried, chains: Chains, base: str, scope: str, policy: str, family: int | None
) -> Answers:
    """The rules that a base chain comes to, in order, as rules of fw for `scope`; `policy` is its default."""
    walk = _Walk(carried, chains, base, scope, policy, family)
    walk.chain(base, Match(), (), answers=True)
    return walk.answers


class _Walk:
    def __init__(
        self, carried: Carried, chains: Chains, base: str, scope: str, policy: str, family: int | None
    ) -> None:
        self.carried = carried
        self.chains = chains
        self.scope = scope
        self.policy = policy
        self.family = family
        self.answers = Answers(carried, base, scope, policy, family)

    def chain(self, name: str, outer: Match, above: tuple[str, ...], answers: bool) -> None:
        steps = self.chains.get(name, [])
        pending: Step | None = None  # a LOG, which is part of the rule behind it in fw
        for number, step in enumerate(steps):
            try:
                if step.refused:
                    raise (self.answers.all_let_in and step.late) or step.refused
                if step.does == RETURN:
                    if step.match != Match():
                        raise Refused("a return that depends on the packet cannot be flattened")
                    self._forget(pending)
                    for rest in steps[number + 1 :]:
                        self.carried.leave(
                            rest.place, rest.text, Refused("a return stands before it", implied=True)
                        )
                    return
                if step.does == NOTHING:
                    raise Refused("it decides nothing", implied=True)
                met = outer.meet(step.match)
                if step.does == FOLLOW:
                    if answers:
                        self.answers.follow(met)
                    raise Refused(FOLLOWED, implied=True)
                met = self._at_hook(met, step)
                if step.does == LOG:
                    self._forget(pending)
                    pending = step
                    continue
                if step.does == JUMP:
                    self._forget(step if step.log is not None else None)
                    self._jump(step, met, above + (name,), answers and step.answers)
                else:
                    logged = pending is not None and pending.match == step.match
                    self._emit(step, met, pending.log if logged and pending else step.log, answers)
                    pending = None if logged else pending
            except Refused as refused:
                # A chain that is jumped to from several places has rules for some of them only.
                if not isinstance(refused, Never) or outer == Match():
                    self.carried.leave(step.place, step.text, refused)
            self._forget(pending)
            pending = None
        if pending and not above:
            # What is logged last falls to the chain's default, so a rule that does the same can log it.
            self._emit(pending._replace(does=self.policy), pending.match, pending.log, answers)
        else:
            self._forget(pending)

    def _jump(self, step: Step, met: Match, above: tuple[str, ...], answers: bool) -> None:
        if step.target not in self.chains:
            raise Refused(f"there is no chain '{step.target}' here")
        if step.target in above or len(above) > MAX_DEPTH:
            raise Refused("it jumps in a circle")
        if any(
            one.does == RETURN and (one.refused or one.match != Match()) for one in self.chains[step.target]
        ):
            raise Refused(f"'{step.target}' has a return that depends on the packet, and cannot be flattened")
        self.chain(step.target, met, above, answers)

    def _at_hook(self, met: Match, step: Step) -> Match:
        """What is asked at this hook, where a packet may have no such interface, and never is by the loopback."""
        for missing, names in (("out", met.on), ("in", met.via)):
            if self.scope == missing and names:
                if not names.negated:
                    raise Never
                met = met._replace(on=None) if missing == "out" else met._replace(via=None)
        if met.macs and self.scope == "out":
            raise Never
        if met.users and self.scope != "out":
            raise Refused("fw knows whose packet it is of those alone that this host sends")
        if met.marks and self.scope != "out":
            hand = f"if another program at TC sets it, write 'mark {met.marks[0]}'"
            raise Refused("fw judges what comes in before nft or iptables can mark it", by_hand=hand)
        for field, names in (("on", met.on), ("via", met.via)):
            if names and not names.negated and _LOOPBACK in names.names:
                others = tuple(name for name in names.names if name != _LOOPBACK)
                if step.does == "allow" and others:
                    met = met._replace(**{field: Names(False, others)})  # type: ignore[arg-type]
                    continue
                if step.does == "allow":
                    raise Refused("the loopback interface is never filtered", implied=True)
                raise Refused("fw never filters the loopback interface")
        return met

    def _emit(self, step: Step, met: Match, log: str | None, answers: bool) -> None:
        remarks = []
        if log is not None:
            remarks.append(f'log "{plain(log)}"' if plain(log) else "log")
        if step.comment:
            remarks.append(f'comment "{plain(step.comment)}"')
        for part in met.parts():
            words = [step.does, self.scope, part.words(self.family), *remarks]
            try:
                self.carried.rule(" ".join(filter(None, words)))
            except Refused as refused:
                self.carried.leave(step.place, step.text, refused)
        self.answers.decide(step.place, step.text, step.does, met, answers and step.answers)

    def _forget(self, pending: Step | None) -> None:
        if pending:
            why = "in fw the rule that decides is the one that logs, and none for the same packets is behind this"
            self.carried.leave(pending.place, pending.text, Refused(why))


def plain(text: str) -> str:
    """A text that fw can have in quotes."""
    return "".join(c if c.isprintable() and c != '"' else " " for c in text).strip()[:128]
