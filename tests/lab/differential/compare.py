# SPDX-License-Identifier: MIT
"""Conversations through both routers, their verdicts side by side, and what makes a difference short.

Everything follows from one seed: the conversations, their order, and how they are mixed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.lab.differential.routers import FW, NFT, TCP_PORT
from tests.lab.differential.talk import ACK, CLIENT, SERVER, SYN, Ends, Packet, Segment

SHARE_MAX = 0.01  # of the packets, that one entry may explain
TOGETHER = 12  # conversations that are mixed with each other
Maker = Callable[[random.Random], tuple[tuple[int, int], list[Packet]]]
"""Makes a conversation: (client's port, server's port) and its packets."""


class Exchange(Protocol):
    """What a comparison needs of `Routers`."""

    def exchange(self, talk: Sequence[tuple[Ends, Packet]]) -> tuple[list[bool], list[bool]]:
        """Send these packets, in this order; for each router (NFT, FW), which of them came through."""


@dataclass(eq=False)
class Conversation:
    """Packets of one pair of ends, in order; for each router, which of them came through."""

    ends: Ends
    packets: list[Packet]
    came: tuple[list[bool], list[bool]] = field(default_factory=lambda: ([], []))

    @property
    def differing(self) -> list[int]:
        """Indexes of packets that one router let through and the other did not."""
        return [at for at, (nft, fw) in enumerate(zip(*self.came, strict=True)) if nft != fw]

    def leaked(self, at: int) -> bool:
        """Did fw let through what netfilter did not? Else the other way."""
        return self.came[FW][at] and not self.came[NFT][at]

    def before(self, at: int, side: int | None = None) -> Iterator[Packet]:
        """The packets before one, of one side or of both."""
        return (packet for packet in self.packets[:at] if side is None or packet.side == side)

    def __str__(self) -> str:
        bases = [0, 0]
        for side in (CLIENT, SERVER):
            own = [p.seq for p in self.packets if isinstance(p, Segment) and p.side == side]
            bases[side] = own[0] if own else 0
        lines = [f"{'':28} nft   fw"]
        for at, packet in enumerate(self.packets):
            arrow = "client > server" if packet.side == CLIENT else "server > client"
            said = ["pass" if came[at] else "DROP" for came in self.came] if self.came[FW] else ["?", "?"]
            mark = " <-- " if said[0] != said[1] else "     "
            lines.append(
                f"{at + 1:4} {arrow}    {mark}{said[0]:5} {said[1]:5} {packet.words(bases)}  ; {packet.why}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Allowed:
    """A difference that is meant.

    name: what is different, in a few words.
    reason: why it is meant: an RFC with its section, or what netfilter does wrong.
    explains: does it explain the difference at this packet?
    lasting: the routers know different things of the conversation from then on, and so may differ again.
    recent: netfilter does so since Linux 6.2; where it does not, nothing needs the entry.
    older: netfilter did so before Linux 6.2, seldom enough that nothing need show it; since then it explains nothing.
    """

    name: str
    reason: str
    explains: Callable[[Conversation, int], bool]
    lasting: bool = False
    recent: bool = False
    older: bool = False


@dataclass
class Outcome:
    """What a run has shown. `unexplained` are conversations, each with the packet that no entry explains."""

    seed: int
    packets: int = 0
    passed: int = 0
    uses: Counter[str] = field(default_factory=Counter)
    unexplained: list[tuple[Conversation, int]] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in what another run has shown."""
        self.packets += other.packets
        self.passed += other.passed
        self.uses += other.uses
        self.unexplained += other.unexplained


def judge(conversation: Conversation, allowed: Sequence[Allowed], uses: Counter[str]) -> int | None:
    """The first difference that nothing explains, or None; counts what explains the others."""
    lasting: Allowed | None = None
    for at in conversation.differing:
        entry = lasting or next((e for e in allowed if e.explains(conversation, at)), None)
        if entry is None:
            return at
        uses[entry.name] += 1
        if entry.lasting:
            lasting = entry
    return None


def complaints(outcome: Outcome, allowed: Sequence[Allowed], recent: bool = True) -> list[str]:
    """Entries of the list that a run makes doubtful: nothing needed them, or too much did.

    recent: is netfilter's conntrack that of Linux 6.2 or later?
    """
    return [
        f"not used in {outcome.packets} packets, so take it off the list: {entry.name}"
        for entry in allowed
        if not outcome.uses[entry.name] and (recent or not entry.recent) and not entry.older
    ] + [
        f"explains {uses} of {outcome.packets} packets, more than {SHARE_MAX:.0%}: {name}"
        for name, uses in outcome.uses.items()
        if uses > outcome.packets * SHARE_MAX
    ]


class Comparison:
    """Runs conversations of these makers, drawn by their weights, through the routers."""

    def __init__(
        self,
        routers: Exchange,
        makers: Sequence[tuple[Maker, float]],
        allowed: Sequence[Allowed],
        seed: int,
        first: int = 1,
    ) -> None:
        self.routers = routers
        self.makers = [maker for maker, _ in makers]
        self.weights = [weight for _, weight in makers]
        self.allowed = allowed
        self.rng = random.Random(seed)
        self.outcome = Outcome(seed)
        self.number = first  # of the next pair of ends; 0 are those of the marks

    def ends(self, family: int, ports: tuple[int, int]) -> Ends:
        self.number += 1
        return Ends(self.number, family, ports)

    def run(self, packets: int, enough: int = 3) -> Outcome:
        """At least so many packets, unless `enough` conversations differ without an explanation."""
        out = self.outcome
        goal = out.packets + packets
        while out.packets < goal and len(out.unexplained) < enough:
            group = [self.make() for _ in range(TOGETHER)]
            self.exchange(group, mixed=True)
            for conversation in group:
                out.packets += len(conversation.packets)
                out.passed += sum(conversation.came[FW])
                at = judge(conversation, self.allowed, out.uses)
                if at is not None:
                    out.unexplained.append((conversation, at))
        return out

    def make(self) -> Conversation:
        rng = random.Random(self.rng.getrandbits(64))
        (maker,) = self.rng.choices(self.makers, self.weights)
        ports, packets = maker(rng)
        return Conversation(self.ends(self.rng.choice((4, 6)), ports), packets)

    def suit_netfilter(self) -> bool:
        """Leave out what only an older netfilter does, if this kernel's is recent; whether it is."""
        recent = self._netfilter_is_recent()
        self.allowed = [entry for entry in self.allowed if not (recent and entry.older)]
        return recent

    def _netfilter_is_recent(self) -> bool:
        """Does netfilter let an acknowledgement by that is far too old, as it does since Linux 6.2?"""
        handshake = [
            Segment(side=CLIENT, flags=SYN, seq=100),
            Segment(side=SERVER, flags=SYN | ACK, seq=100, ack=101),
            Segment(side=CLIENT, flags=ACK, seq=101, ack=101),
            Segment(side=SERVER, flags=ACK, seq=101, ack=101 - 100_000),
        ]
        conversation = Conversation(self.ends(4, (1024, TCP_PORT)), list(handshake))
        self.exchange([conversation])
        return conversation.came[NFT][-1]

    def exchange(self, group: Sequence[Conversation], mixed: bool = False) -> None:
        """Send the conversations, and write down what came through."""
        order = [at for at, conversation in enumerate(group) for _ in conversation.packets]
        if mixed:
            self.rng.shuffle(order)
        turns = [iter(conversation.packets) for conversation in group]
        came = self.routers.exchange([(group[at].ends, next(turns[at])) for at in order])
        for conversation in group:
            conversation.came = ([], [])
        for at, nft, fw in zip(order, *came, strict=True):
            group[at].came[NFT].append(nft)
            group[at].came[FW].append(fw)

    def shortest(self, conversation: Conversation, at: int) -> Conversation:
        """As few packets as still end in the same difference, between other ends."""
        leaked = conversation.leaked(at)
        packets = conversation.packets[: at + 1]

        def still(shorter: Conversation) -> bool:
            last = len(shorter.packets) - 1
            found = judge(shorter, self.allowed, Counter())
            return found == last and shorter.leaked(last) == leaked

        best = self._again(conversation.ends, packets)
        chunk = max(1, len(packets) // 2)
        while True:
            tries = [
                self._made(conversation.ends, packets[:start] + packets[start + chunk : -1] + packets[-1:])
                for start in range(0, len(packets) - 1, chunk)
            ]
            self.exchange(tries)
            shorter = next((t for t in tries if len(t.packets) < len(packets) and still(t)), None)
            if shorter is not None:
                best, packets = shorter, shorter.packets
            elif chunk > 1:
                chunk //= 2
            else:
                return best

    def _made(self, ends: Ends, packets: list[Packet]) -> Conversation:
        return Conversation(self.ends(ends.family, ends.ports), packets)

    def _again(self, ends: Ends, packets: list[Packet]) -> Conversation:
        again = self._made(ends, packets)
        self.exchange([again])
        return again

    def report(self) -> str:
        """Each unexplained difference, made short, as something to read."""
        parts = []
        for conversation, at in self.outcome.unexplained:
            what = (
                "fw lets through what netfilter drops"
                if conversation.leaked(at)
                else "fw drops what netfilter lets through"
            )
            short = self.shortest(conversation, at)
            parts.append(f"{what} (IPv{conversation.ends.family}):\n{short}")
        return "\n\n".join(parts)
