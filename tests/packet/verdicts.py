# SPDX-License-Identifier: MIT
"""Seeded packets through the packet path, one by one: what it says of each must not depend on the kernel.

Two sequences, which follow from their seed alone: frames with something wrong in them (`test_mutated`), and the
conversations of the differential test, as a router with both interfaces protected meets them. Every timeout that can
be set is of days, and what has one that cannot is forgotten first: it must not matter how long a packet takes.

    python3 -m tests.packet.verdicts [--packed] FRAMES PACKETS SEED...

prints a line for each: its seed, its verdict and the packet. Packed lines are few, for kernels with only a console.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import random
import subprocess
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from firewall.options import OPTIONS
from tests.lab.differential.compare import Comparison
from tests.lab.differential.kinds import KINDS
from tests.lab.differential.routers import FW_RULES
from tests.lab.differential.talk import CLIENT, VNET, Ends, Packet
from tests.packet.ends import V4, V6
from tests.packet.path import Namespace, PacketPath, Verdict
from tests.packet.test_fuzz import EVERYTHING, runs, sent_by_us
from tests.packet.test_mutated import mutated
from tests.packets import eth

START_ANEW = 250
"""Frames after which the path is emptied: the tables have room for more flows than these can open."""
LARGEST = 3000
"""Bytes of a frame: BPF_PROG_TEST_RUN takes no more than a page with its overhead. A larger one is lost on its way."""
FRAGMENTS_WAIT_S = 20
"""The path forgets the first fragment of a packet after 30."""
LINE = 1000


class Judged(NamedTuple):
    """A packet, for a reader who looks for it, and what became of it."""

    packet: str
    verdict: str


class TooSlow(Exception):
    """The machine took so long that the path's own clock may have decided."""


def timeless(policy: str) -> str:
    """The policy with the longest of all timeouts that it does not set itself."""
    others = [name for name in OPTIONS if name.startswith("timeout.") and name not in policy]
    return policy + "".join(f"option {name} {OPTIONS[name].maximum}s\n" for name in others)


def said(verdict: Verdict) -> str:
    return f"{verdict.reason} {'passes' if verdict.passed else 'drops'}"


def mutated_frames(path: PacketPath, seed: int, count: int) -> Iterator[Judged]:
    """Frames at wan, of a host that allows everything. Each finds the flows that those before it have opened."""
    chance = random.Random(f"frames/{seed}")
    for number in range(count):
        if number % START_ANEW == 0:
            path.reset()
            path.policy(timeless(EVERYTHING))
            for ends in (V4, V6):
                for packet in sent_by_us(ends):
                    path.egress(eth(packet))
        path.reset_fragments()
        frame = next(frame for frame in iter(lambda: mutated(chance), None) if runs(frame))
        leaves = chance.random() < 0.5
        verdict = path.egress(frame) if leaves else path.ingress(frame)
        yield Judged(f"{frame.hex()} {'leaves' if leaves else 'arrives'}", said(verdict))


class ScratchRouter:
    """What `Routers` is to a comparison, without a wire: clients live behind lan, servers behind wan."""

    def __init__(self, path: PacketPath) -> None:
        self.path = path
        self.judged: list[Judged] = []

    def exchange(self, talk: Sequence[tuple[Ends, Packet]]) -> tuple[list[bool], list[bool]]:
        """Each conversation begins and ends here, so what others have left is forgotten first."""
        self.path.reset()
        self.path.policy(timeless(FW_RULES.replace("lan0", "lan").replace("wan0", "wan")))
        came = [self._meets(ends, packet, tag) for tag, (ends, packet) in enumerate(talk, 1)]
        return came, came

    def _meets(self, ends: Ends, packet: Packet, tag: int) -> bool:
        began, passed = time.monotonic(), []
        for number, sent in enumerate(packet.frames(ends, tag)):
            frame = sent[len(VNET) :]
            words = f"IPv{ends.family} {ends.number} {'<>'[packet.side]} frame {number} of {packet.words()}"
            if len(frame) <= LARGEST:
                verdicts = self._forwarded(frame, packet.side == CLIENT)
                self.judged.append(Judged(words, ", ".join(map(said, verdicts))))
                if verdicts[-1].passed:
                    passed.append(frame)
        if time.monotonic() - began > FRAGMENTS_WAIT_S:
            raise TooSlow(f"one packet took more than {FRAGMENTS_WAIT_S} s")
        return packet.arrived(ends, passed)

    def _forwarded(self, frame: bytes, from_client: bool) -> list[Verdict]:
        came_by, leaves_by = ("lan", "wan") if from_client else ("wan", "lan")
        verdicts = [self.path.ingress(frame, on=came_by)]
        if verdicts[0].passed:
            verdicts.append(self.path.egress(frame, on=leaves_by, came_by=came_by))
        return verdicts


def conversations(path: PacketPath, seed: int, count: int) -> list[Judged]:
    """At least so many packets of the differential test's conversations; those too large are left out."""
    for route in ("-4 route add 10.1.0.0/16 via 10.0.0.9", "-6 route add 2001:db8::/33 via 2001:db8:2::9"):
        subprocess.run(["ip", *route.split(), "dev", "lan"], check=True, capture_output=True)
    router = ScratchRouter(path)
    Comparison(router, KINDS, (), seed).run(count)
    return router.judged


def judge(seed: int, frames: int, packets: int) -> list[Judged]:
    """Both sequences, in a namespace of their own."""
    with Namespace(), PacketPath() as path:
        return [*mutated_frames(path, seed, frames), *conversations(path, seed, packets)]


def plain(judged: Sequence[Judged]) -> Iterator[str]:
    return (f"{verdict}: {packet}" for packet, verdict in judged)


def packed(judged: Sequence[Judged]) -> Iterator[str]:
    """The verdicts as lines of text, however many they are; the packets themselves are told by a sum."""
    packets = hashlib.sha256("\n".join(packet for packet, _ in judged).encode()).hexdigest()
    lines = [packets, *(verdict for _, verdict in judged)]
    text = base64.b64encode(zlib.compress("\n".join(lines).encode())).decode()
    return (text[at : at + LINE] for at in range(0, len(text), LINE))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--packed", dest="form", action="store_const", const=packed, default=plain)
    for name in ("frames", "packets", "seeds"):
        parser.add_argument(name, type=int, nargs="+" if name == "seeds" else None)
    given = parser.parse_args()
    for seed in given.seeds:
        for line in given.form(judge(seed, given.frames, given.packets)):
            print(f"{seed}: {line}")


if __name__ == "__main__":
    main()
