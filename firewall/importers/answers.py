# SPDX-License-Identifier: MIT
"""What the rules of another firewall decide on answers. There each packet is asked of the rules, and in fw the first of
a connection: what answers follows. So a rule that drops answers, too, is carried over as more than one.
"""

from collections.abc import Mapping

from firewall.importers.carried import Carried, Never, Refused
from firewall.importers.match import ANSWERS, EVERYWHERE, Addresses, Match, common
from firewall.ranges import ADDRESS_MAX, Range, complement

_BACK = {"in": "out", "out": "in", "forward": "forward"}
_USUAL = {"tcp", "udp"}  # to let in answers of these is to let in answers
_COMPARED = 64  # rules that let answers in; of more not each is compared
_COMMENT = "its answers were dropped"
_CLIENTS_FROM = 32768  # the lowest port that Linux gives who connects (ip_local_port_range)
# From there nobody answers: this network, the loopback, multicast, what is reserved, broadcast (RFC 6890).
_NOBODY: dict[int, list[Range]] = {
    4: [(0, (1 << 24) - 1), (127 << 24, (128 << 24) - 1), (224 << 24, ADDRESS_MAX[4])],
    6: [(0, 1), (255 << 120, ADDRESS_MAX[6])],
}


class Answers:
    """Of one hook, in the order of its rules."""

    def __init__(self, carried: Carried, base: str, scope: str, policy: str, family: int | None) -> None:
        self._carried = carried
        self._base = base
        self._scope = scope
        self._family = family
        self._policy = policy
        self._ended = False  # by a rule that drops all that would begin a connection
        self._closed = False  # and all else that is left
        self._follows: list[Match] = []
        self._protos: set[str] = set()  # of which all that belongs to connections has been let in
        self._all = False
        self._passes: list[Match] = []
        self._allows: list[Match] = []
        self._turned: list[tuple[str, str, Match]] = []  # what is dropped for want of answers, and by what

    @property
    def all_let_in(self) -> bool:
        """Whether all that belongs to connections has been let in by now."""
        return self._let_in(Match())

    def follow(self, match: Match) -> None:
        """What belongs to a connection is let in."""
        if self._closed:
            return
        self._follows.append(match)
        if match._replace(protos=None) == Match():
            self._all = self._all or match.protos is None
            self._protos.update(match.protos or ())

    def decide(self, place: str, text: str, does: str, match: Match, answers: bool) -> None:
        """A rule that decides on what opens connections and, with `answers`, on what belongs to one."""
        if does == "allow":
            if not self._ended and _may_begin(match):
                self._allows.append(match)
            if answers and not self._closed and _may_answer(match):
                self._passes.append(match)
            return
        self._ended = self._ended or _is_everything(match)
        if answers and not self._closed and not self._let_in(match):
            if _is_everything(match):
                self._closed = True
                return
            try:
                self._drop_what_asks(place, text, match)
            except Never:
                return
            except Refused as refused:
                why = f"of answers it drops some, which in fw follow their connection: {refused.why}"
                self._carried.leave(place, text, Refused(why, implied=True))

    def name_silence(self, other: "Answers") -> None:
        """Names it if nothing at all lets answers in, though by the other direction connections may begin."""
        drops = self._policy != "allow" or self._closed
        begins = other._allows or (other._policy == "allow" and not other._ended)
        if drops and begins and not self._follows and not self._passes:
            why = "nothing here lets answers in, and in fw they follow their connection"
            hand = f"'default {_BACK[self._scope]} drop', if none shall begin"
            self._carried.leave(self._base, "the whole chain", Refused(why, by_hand=hand))

    def name_one_way(self, other: "Answers") -> None:
        """Names the first rule for whose sake packets are dropped that the other direction allows, and that may need no
        answers, as those of a connection of TCP do.
        """
        allows = [one for one in other._allows[:_COMPARED] if one.protos != ("tcp",)]
        for place, text, asks in self._turned[: _COMPARED * _COMPARED]:
            if any(one.overlaps(asks) for one in allows):
                why = "packets that would need no answer are dropped with those whose answers it drops"
                self._carried.leave(place, text, Refused(why, implied=True))
                return

    def _let_in(self, match: Match) -> bool:
        """Whether what belongs to a connection, and is like that, has been let in."""
        if self._all or self._protos >= set(match.protos or _USUAL):
            return True
        return any(one.covers(match) for one in self._follows[:_COMPARED])

    def _drop_what_asks(self, place: str, text: str, match: Match) -> None:
        """Drops what would be answered by packets like that. Raises Never and Refused."""
        if _of_services(match.dport):
            raise Never  # and answers go to ports of clients
        match = match._replace(src=_who_answers(match.src))
        asks = match.turned()
        before = (*self._follows, *self._passes)
        if len(before) > _COMPARED or any(one.overlaps(match) for one in before):
            raise Refused("rules before it let others of them in")
        scope = _BACK[self._scope]
        words = ["drop", scope, asks.words(self._family), f'comment "{_COMMENT}"']
        self._carried.before_allows(scope, " ".join(filter(None, words)))
        self._turned.append((place, text, asks))


def compare(hooks: Mapping[str, Answers]) -> None:
    """Names what is otherwise than it was, for each hook and the one of the other direction. All must be there."""
    for scope, hook in hooks.items():
        hook.name_silence(hooks[_BACK[scope]])
        hook.name_one_way(hooks[_BACK[scope]])


def _of_services(ports: tuple[Range, ...] | None) -> bool:
    """Whether no client has any of the ports."""
    return ports is not None and all(high < _CLIENTS_FROM for _, high in ports)


def _may_begin(match: Match) -> bool:
    return not _of_services(match.sport) and not (match.icmp and ANSWERS.issuperset(match.icmp))


def _may_answer(match: Match) -> bool:
    if _of_services(match.dport):
        return False
    try:
        match.turned()
    except Never:
        return False
    except Refused:
        pass
    return True


def _is_everything(match: Match) -> bool:
    """Whether it is all of its families."""
    ends = [end for end in (match.src, match.dst) if end is not None]
    whole = all(ranges == EVERYWHERE[family] for end in ends for family, ranges in end.items())
    return whole and match._replace(src=None, dst=None) == Match()


def _who_answers(src: Addresses | None) -> Addresses | None:
    """Without those who never answer. Raises Never if nobody is left."""
    if src is None:
        return None
    left = {}
    for family, ranges in src.items():
        found = common(ranges, complement(_NOBODY[family], ADDRESS_MAX[family]))
        if found and ranges != EVERYWHERE[family]:
            left[family] = found
        elif found:
            left[family] = ranges
    if not left:
        raise Never
    return left
