# SPDX-License-Identifier: MIT
"""An imported policy decides as its original: the same packets through a router, with the one and with the other.

A router has random rulesets of iptables, nft or ufw in force, or an XDP program, and many conversations are tried to
it, through it and from it; then the same with what fw makes of each. The seed is printed, and `SEED=` repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab.host import Host, execute
from tests.lab.import_other import SECTION, block_list, program, ufw_rules
from tests.lab.import_rules import (
    CLASSES,
    MARKS,
    PORTS,
    SOURCES,
    USERS,
    Rule,
    as_iptables,
    as_nft,
    early_rules,
    random_policies,
    random_rules,
    without_rejects,
)
from tests.lab.lab import RouterLab

SCRIPT = Path(__file__).with_name("import_attempts.py")
ROUNDS = 3  # rulesets of each kind
HASTE_S = 0.4  # how long silence is listened to
PATIENCE_S = 3.0  # and once more, where one was silent and the other was not
HEAD = "protect lan0, wan0\noption load.grace 0s\noption reject.rate 100000\n"
DETACH = "sh -c 'ip link set dev lan0 xdpgeneric off && ip link set dev wan0 xdpgeneric off'"

Attempt = list[str | int]  # as import_attempts.py takes it
Outcomes = dict[str, list[str]]  # by the host that tries


class Original(NamedTuple):
    """Commands that put a ruleset in force, each with its input, one that ends it, and what prints it for
    `fw import`.
    """

    install: list[tuple[str, str]]
    remove: str
    printed: list[tuple[str, str]]  # the kind, and a command


class Trial:
    """What the hosts of a lab try, with new source ports each time: no conversation may belong to an earlier one."""

    def __init__(self, lab: RouterLab, rng: random.Random) -> None:
        self.lab = lab
        self.hosts: dict[str, Host] = {"client": lab.client, "router": lab.router}
        self.wanted: dict[str, list[Attempt]] = {"client": [], "router": []}
        self.ports = {"low": iter(range(20000, 40000)), "high": iter(range(40000, 60000))}
        for family in (4, 6):
            inside, own, outside = (
                (lab.router_lan4, lab.router.v4, lab.server.v4)
                if family == 4
                else (lab.router_lan6, lab.router.v6, lab.server.v6)
            )
            ways = ((inside, SOURCES[family][0]), (own, outside))
            doors = [*product(("tcp", "udp"), PORTS), ("icmp", 1), ("icmp", 1)]
            for proto, port in doors:
                for source, target in product(SOURCES[family], (inside, outside)):
                    self._want("client", rng, proto, source, target, port, 0, 0)
                for mark, user in product(MARKS, USERS):
                    self._want("router", rng, proto, *rng.choice(ways), port, mark, user)

    def _want(self, host: str, rng: random.Random, proto: str, source: str, target: str, *rest: int) -> None:
        port, mark, user = rest
        side, dscp = rng.choice(("low", "high")), rng.choice((0, *CLASSES))
        self.wanted[host].append([proto, source, side, target, port, dscp, mark, user])

    def outcomes(self, silence_s: float = HASTE_S) -> Outcomes:
        with ThreadPoolExecutor() as pool:
            found = {host: pool.submit(self._tried, host, silence_s) for host in self.hosts}
            return {host: one.result() for host, one in found.items()}

    def _tried(self, host: str, silence_s: float) -> list[str]:
        words = [sys.executable, "-I", str(SCRIPT), "attempt", str(silence_s)]
        fresh = [[*one[:2], next(self.ports[str(one[2])]), *one[3:]] for one in self.wanted[host]]
        results: list[str] = json.loads(self.hosts[host].run(words, input=json.dumps(fresh)).stdout)
        return results

    def of_original(self, original: Original, silence_s: float = HASTE_S) -> Outcomes:
        for command, text in original.install:
            self.lab.router.run(command, input=text)
        try:
            return self.outcomes(silence_s)
        finally:
            self.lab.router.run(original.remove)

    def imported(self, original: Original) -> tuple[str, str]:
        """What the original prints, and what fw makes of it."""
        router = self.lab.router
        for command, text in original.install:
            router.run(command, input=text)
        printed = [(kind, router.run(command).stdout) for kind, command in original.printed]
        router.run(original.remove)
        made = [router.fw("import", kind, "-", input=text).stdout for kind, text in printed]
        return "".join(text for _, text in printed), "".join(made)

    def of_policy(self, policy: str, silence_s: float = HASTE_S) -> Outcomes:
        router = self.lab.router
        router.save_policy(HEAD + policy)
        router.fw("load")
        try:
            return self.outcomes(silence_s)
        finally:
            router.fw("unload", "--all")

    def differences(self, theirs: Outcomes, ours: Outcomes) -> Iterator[tuple[object, ...]]:
        for host, wanted in self.wanted.items():
            for one, their, our in zip(wanted, theirs[host], ours[host], strict=True):
                if their != our:
                    yield host, *one, their, our


def seeded() -> random.Random:
    found = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))
    print(f"SEED={found}")
    return random.Random(found)


def prepare(lab: RouterLab) -> None:
    for host in lab.hosts:
        # Linux limits how many errors it sends, all hosts together: none of them counts.
        host.sysctl("net/ipv4/icmp_ratemask", 0)
        host.sysctl("net/ipv6/icmp/ratemask", "\n")  # an empty list; nothing at all would not be written
    for host in lab.hosts:
        process = host.popen([sys.executable, "-I", str(SCRIPT), "serve", *map(str, PORTS)])
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    # Those that are deprecated are nobody's choice but of who binds to them, so answers come from who was asked.
    for family, more in ((4, "/24 dev eth0"), (6, "/64 dev eth0 nodad preferred_lft 0")):
        lab.client.ip(*(f"addr add {address}{more}" for address in SOURCES[family][1:]))


def compare(lab: RouterLab, rng: random.Random, originals: list[Original]) -> None:
    prepare(lab)
    trial = Trial(lab, rng)
    assert {one for results in trial.outcomes(PATIENCE_S).values() for one in results} == {"answered"}
    counted: Counter[str] = Counter()
    for original in originals:
        theirs = trial.of_original(original)
        printed, policy = trial.imported(original)
        ours = trial.of_policy(policy)
        if any("silence" in one[-2:] for one in trial.differences(theirs, ours)):
            # The machine may have been busy for longer than silence was listened to: once more, with patience.
            theirs, ours = trial.of_original(original, PATIENCE_S), trial.of_policy(policy, PATIENCE_S)
        different = list(trial.differences(theirs, ours))
        assert not different, f"{different}\n{printed}\n{policy}"
        counted.update(one for results in theirs.values() for one in results)
    # Rulesets that pass everything, or nothing, would prove nothing.
    print(counted)
    assert counted["answered"] and counted["silence"], counted


def early_and_others(rng: random.Random, family: int, number: int) -> tuple[list[Rule], list[Rule]]:
    """Rules before those that let answers in, which two of three rulesets have, and rules behind."""
    rules = random_rules(rng, family)
    return (early_rules(rng, family), without_rejects(rules)) if number % 3 else ([], rules)


@pytest.mark.timeout(180)
def test_iptables(lab: RouterLab) -> None:
    """Of both families, which have one policy of fw."""
    rng = seeded()
    originals = []
    for number in range(ROUNDS):
        policies = random_policies(rng)
        four, six = (
            as_iptables(*early_and_others(rng, family, number), policies, family) for family in (4, 6)
        )
        install = [("iptables-restore", four), ("ip6tables-restore", six)]
        saved = [("iptables", "iptables-save"), ("iptables", "ip6tables-save")]
        originals.append(Original(install, "nft flush ruleset", saved))
    compare(lab, rng, originals)


@pytest.mark.timeout(180)
def test_nft(lab: RouterLab) -> None:
    rng = seeded()
    originals = []
    for number in range(ROUNDS):
        of_4, of_6 = (early_and_others(rng, family, number) for family in (4, 6))
        early, rules = of_4[0] + of_6[0], of_4[1] + of_6[1]
        rng.shuffle(rules)
        text = as_nft(rng, early, rules, random_policies(rng))
        originals.append(
            Original([("nft -f -", text)], "nft flush ruleset", [("nft", "nft -j list ruleset")])
        )
    compare(lab, rng, originals)


@pytest.mark.timeout(180)
def test_ufw(lab: RouterLab, tmp_path: Path) -> None:
    """Its files are what iptables-restore reads, and their remarks are what is imported."""
    rng = seeded()
    originals = []
    for number in range(ROUNDS):
        install, files = [], []
        for family, command in ((4, "iptables-restore"), (6, "ip6tables-restore")):
            path = tmp_path / f"user{family}-{number}.rules"
            path.write_text(ufw_rules(rng, family))
            install.append((command, path.read_text()))
            # what calls ufw's chains is in other files
            files.append(("ufw", f"sed -E '/^-A (INPUT|FORWARD|OUTPUT) /d' {path}"))
        originals.append(Original(install, "nft flush ruleset", files))
    compare(lab, rng, originals)


@pytest.mark.timeout(180)
def test_aya(lab: RouterLab, tmp_path: Path) -> None:
    """The program is at both interfaces, since the book's blocks what comes in by the one that it is attached to."""
    rng = seeded()
    originals = []
    for number, blocked in enumerate((["10.0.1.3"], ["10.0.1.4", "203.0.113.2"])):
        source, object_file, listed = (tmp_path / f"{number}{end}" for end in (".c", ".o", ".yaml"))
        source.write_text(program(blocked))
        listed.write_text(block_list(blocked))
        execute(["clang", "-O2", "-target", "bpf", "-c", str(source), "-o", str(object_file)])
        attach = f"link set dev lan0 xdpgeneric obj {object_file} sec {SECTION}\n"
        batch = attach + attach.replace("lan0", "wan0")
        originals.append(Original([("ip -batch -", batch)], DETACH, [("aya", f"cat {listed}")]))
    compare(lab, rng, originals)
