# SPDX-License-Identifier: MIT
"""What comes of an import: the lines of a policy, and what of the original is not in it, with the reasons."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from firewall.errors import UsageError
from firewall.expand import MAX_RULES
from firewall.lang import PolicyError
from firewall.rule import Rule


class Left(NamedTuple):
    """A piece of the original that is not carried over: where it stands, what it says, and why.

    `implied` is what needs no line of its own, since fw does it anyhow. `by_hand` is what to write instead.
    """

    place: str
    text: str
    why: str
    implied: bool = False
    by_hand: str = ""

    def __str__(self) -> str:
        hand = f" ({self.by_hand})" if self.by_hand else ""
        return f"{self.place}: {self.why}: {self.text}{hand}"


class Refused(Exception):
    """A piece cannot be carried over; the message says why, and `by_hand` what to write where fw has the like."""

    def __init__(self, why: str, implied: bool = False, by_hand: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.implied = implied
        self.by_hand = by_hand


class Never(Refused):
    """No packet can match."""

    def __init__(self) -> None:
        super().__init__("it can never match", implied=True)


class Carried:
    """A policy while it is put together."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._before_allows: dict[str, dict[str, None]] = {}  # by scope
        self._size = 0
        self._left: dict[Left, None] = {}

    def add(self, line: str) -> None:
        """One more line of the policy; one like the line before it adds nothing."""
        if self.lines[-1:] != [line]:
            self.lines.append(line)

    def rule(self, words: str) -> None:
        """One more rule, in canonical form. Raises Refused where fw has no such rule."""
        self.add(self._counted(words))

    def before_allows(self, scope: str, words: str) -> None:
        """The same for a rule that stands before the first that allows anything in a scope."""
        self._before_allows.setdefault(scope, {})[self._counted(words)] = None

    def _counted(self, words: str) -> str:
        self._size += 1
        if self._size > MAX_RULES:
            raise UsageError(
                f"these rules come to more than {MAX_RULES} in fw, which is the most",
                "chains that are jumped to from many places are written out for each",
            )
        return _canonical(words)

    def leave(self, place: str, text: str, refused: Refused) -> None:
        """One piece more that is not carried over, if it is not known by now: a chain may be met on several ways."""
        self._left[Left(place, text.strip(), refused.why, refused.implied, refused.by_hand)] = None

    def text(self) -> str:
        return "".join(line + "\n" for line in self._ordered())

    def _ordered(self) -> Iterator[str]:
        waiting = dict(self._before_allows)
        for line in self.lines:
            action, scope = line.split(maxsplit=2)[:2]
            if action == "allow":
                yield from waiting.pop(scope, ())
            yield line
        yield from chain.from_iterable(waiting.values())

    @property
    def left(self) -> list[Left]:
        """All that is not carried over, in order."""
        return list(self._left)

    @property
    def lost(self) -> list[Left]:
        """What is missing from the policy."""
        return [one for one in self.left if not one.implied]

    @property
    def implied(self) -> list[Left]:
        """What the policy does not say because it need not."""
        return [one for one in self.left if one.implied]


def _canonical(words: str) -> str:
    try:
        return str(Rule.parse(words))
    except PolicyError as error:
        raise Refused(f"fw has no such rule ({error.problems[0].message})") from None


def speak_of_one_family(carried: Carried, family: int, other: str) -> None:
    """Says that the defaults hold for the family too of which the file has nothing; `other` is a file that has."""
    why = f"there is nothing of it here, and it is decided by the defaults unless the rules of '{other}' are added"
    carried.leave(f"IPv{10 - family}", f"rules of IPv{family}", Refused(why, implied=True))
