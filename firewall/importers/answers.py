# SPDX-License-Identifier: MIT
"""What the rules of another firewall decide on answers. There each packet is asked of the rules, and in fw the first of
a connection: what answers follows. So a rule that drops answers, too, is carried over as two, and one that lets
connections begin whose answers another hook drops cannot be.
"""

from collections.abc import Mapping, Sequence

from firewall.importers.carried import Carried, Never, Refused
from firewall.importers.match import Match

_BACK = {"in": "out", "out": "in", "forward": "forward"}
_USUAL = {"tcp", "udp"}  # to let in answers of these is to let in answers
_MANY = 1000  # rules that answers were let in by; who has more is not compared with each
_COMMENT = "its answers were dropped"


class Answers:
    """Of one hook, in the order of its rules."""

    def __init__(self, carried: Carried, scope: str, policy: str, family: int | None) -> None:
        self._carried = carried
        self._scope = scope
        self._family = family
        self._follows: list[Match] = []
        self._passes: list[Match] = []
        self._opens: list[tuple[str, str, Match]] = []
        self._policy = policy

    @property
    def all_let_in(self) -> bool:
        """Whether all that belongs to connections has been let in by now."""
        return self._let_in(Match())

    def follow(self, match: Match) -> None:
        """What belongs to a connection is let in."""
        self._follows.append(match)

    def open(self, place: str, text: str, match: Match) -> None:
        """What begins a connection is let in."""
        self._opens.append((place, text, match))

    def decide(self, place: str, text: str, does: str, match: Match) -> None:
        """A rule that asks for no state of connections."""
        if does == "allow":
            self.open(place, text, match)
            if _may_answer(match):
                self._passes.append(match)
        elif not self._let_in(match):
            if match == Match():
                self._policy = "drop"
                return
            try:
                self._drop_what_asks(match)
            except Never:
                return
            except Refused as refused:
                why = f"it drops answers, too, which in fw follow their connection, and {refused.why}"
                self._carried.leave(place, text, Refused(why))

    def passes(self, answers: Match) -> bool:
        """Whether answers like these come through."""
        return self._policy == "allow" or self._let_in(answers) or _covered(self._passes, answers)

    def opens(self, default: str) -> Sequence[tuple[str, str, Match]]:
        """What may begin connections: where it stands, what it says, and what it asks for."""
        if default != "allow":
            return self._opens
        return [*self._opens, (f"the default of '{self._scope}'", "accept", Match())]

    def _let_in(self, match: Match) -> bool:
        """Whether what belongs to a connection, and is like that, has been let in."""
        plain = [one for one in self._follows if one._replace(protos=None) == Match()]
        if any(one.protos is None for one in plain):
            return True
        protos = {proto for one in plain for proto in one.protos or ()}
        return protos >= set(match.protos or _USUAL) or _covered(self._follows, match)

    def _drop_what_asks(self, match: Match) -> None:
        """Drops what would be answered by packets like that. Raises Refused where it cannot be said."""
        asks = match.turned(answers=False)
        if len(self._passes) > _MANY or any(one.overlaps(match) for one in (*self._follows, *self._passes)):
            raise Refused("rules before it let some of them in")
        words = ["drop", _BACK[self._scope], asks.words(self._family), f'comment "{_COMMENT}"']
        self._carried.before_allows(_BACK[self._scope], " ".join(filter(None, words)))


def compare(carried: Carried, hooks: Mapping[str, Answers], defaults: Mapping[str, str]) -> None:
    """Names what lets connections begin whose answers do not come through. Both have every scope."""
    for scope, hook in hooks.items():
        back = hooks[_BACK[scope]]
        for place, text, match in hook.opens(defaults[scope]):
            try:
                answers = match.turned(answers=True)
            except Never:
                continue
            except Refused:
                answers = Match()
            if not back.passes(answers):
                why = "its answers do not come through, and in fw they follow their connection"
                carried.leave(place, text, Refused(why))


def _may_answer(match: Match) -> bool:
    try:
        match.turned(answers=False)
    except Never:
        return False
    except Refused:
        pass
    return True


def _covered(matches: Sequence[Match], wanted: Match) -> bool:
    return any(one.covers(wanted) for one in matches[:_MANY])
