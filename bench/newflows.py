# SPDX-License-Identifier: MIT
"""New connections through a router with many rules: the plain kernel, nftables, iptables and fw, taking turns.

Each has a network namespace of its own, with the same rules in the same order, and each packet is the SYN of a
connection that has never been, which the last rule allows.
"""

import os
import random
import shutil
import socket
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple, Self

from bench.hooks import Hooks
from bench.subject import Subject
from bench.traffic import SERVER, SERVER_PORT, Harness
from firewall.bindings.libc import CLONE_NEWNET, setns
from firewall.errors import FwError
from tests.packet.path import Namespace

PLAIN, FW, NFT, IPTABLES = "plain", "fw", "nftables", "iptables"
SUBJECTS = (PLAIN, FW, NFT, IPTABLES)

_NOBODY = "02:00:00:00:00:99"
_TRIAL, _TURN_MAX = 64, 10_000  # packets: those that tell how many fit into a turn, and the most
_CONNTRACK_MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")
_ROOM = 1 << 22
_SHOWN_CHARS = 300


class Rule(NamedTuple):
    """Drops TCP from a network to a port of another; none of them matches what is measured."""

    source: str
    target: str
    port: int


class Rate(NamedTuple):
    """ns of a packet, by subject: the median of the rounds, and the least."""

    rules: int
    median: dict[str, float]
    least: dict[str, float]

    def ratio(self, subject: str) -> float | None:
        """New connections a second, those of the plain kernel being 1: the median over the rounds."""
        return self.median[PLAIN] / self.median[subject] if subject in self.median else None


def make_rules(count: int, seed: int) -> list[Rule]:
    """Sources and targets of many sizes, as access lists have them, and one port each."""
    chance = random.Random(seed)
    rules = []
    for _ in range(count):
        source, target = chance.choice((8, 16, 24, 24, 32, 32)), chance.choice((16, 24, 24, 32))
        rules.append(
            Rule(
                _network(chance.randrange(1 << 32), source),
                _network(0x0A010000 | chance.randrange(1 << 16), target),
                chance.randrange(1, 65536),
            )
        )
    return rules


def measure(count: int, rounds: int, turn_s: float, attach: str, file: Path, subjects: list[str]) -> Rate:
    """So many rounds with so many rules; a turn of a subject takes about `turn_s` seconds, or one packet."""
    rules = make_rules(count, seed=count)
    ns: dict[str, list[float]] = {subject: [] for subject in subjects}
    with ExitStack() as stack:
        stack.enter_context(_room_for_connections())
        places = {
            subject: stack.enter_context(_Place(subject, rules, attach, file, turn_s)) for subject in subjects
        }
        for _ in range(rounds):
            for subject, place in places.items():
                ns[subject].append(place.turn())
        for place in places.values():
            place.check()
    return Rate(
        count,
        {subject: statistics.median(series) for subject, series in ns.items()},
        {subject: min(series) for subject, series in ns.items()},
    )


class _Place:
    """A router in a namespace of its own, with the rules in one of the firewalls. Whoever makes it is not inside."""

    def __init__(self, subject: str, rules: list[Rule], attach: str, file: Path, turn_s: float) -> None:
        self._subject, self._rules, self._attach, self._file = subject, rules, attach, file
        self._turn_s, self._packets, self._sent = turn_s, 0, 0
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._stack = ExitStack()
        self._stack.callback(os.close, self._home)

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._stack.close)
            self._namespace = self._stack.enter_context(Namespace())
            _run(f"ip neigh replace {SERVER} lladdr {_NOBODY} dev lan nud permanent")
            self._prepare()
            self._harness = self._stack.enter_context(Harness(0))
            self._wan = socket.if_nametoindex("wan")
            self._stack.enter_context(self._harness.taking_frames(self._wan))
            self._before = _sent_by_lan()
            self._packets = max(1, min(_TURN_MAX, int(self._turn_s * 1e9 / self._forward(_TRIAL))))
            undo.pop_all()
        setns(self._home, CLONE_NEWNET)
        return self

    def __exit__(self, *_: object) -> None:
        self._enter()
        self._stack.close()

    def turn(self) -> float:
        """ns of a new connection's packet in one turn."""
        with self._inside():
            return self._forward(self._packets)

    def check(self) -> None:
        """Every packet has left by the other interface. Raises FwError: then something else was measured."""
        with self._inside():
            left = _sent_by_lan() - self._before
        if left < self._sent:
            raise FwError(f"{self._subject}: {left} of {self._sent} packets were forwarded")

    def _forward(self, packets: int) -> float:
        self._sent += packets
        return self._harness.forwarded_ns(packets, self._wan)

    def _prepare(self) -> None:
        if self._subject == FW:
            fw = self._stack.enter_context(Subject(self._file))
            fw.policy(_policy(self._rules))
            programs = fw.programs["fw_ingress"], fw.programs["fw_egress"]
            self._stack.enter_context(Hooks(self._attach, fw.ifindex["wan"], fw.ifindex["lan"], programs))
        elif self._subject == NFT:
            _run("nft -f -", _nft(self._rules))
        elif self._subject == IPTABLES:
            _run("iptables-legacy-restore", _iptables(self._rules))
        if self._subject in (NFT, IPTABLES):
            # Frames have the checksum of their template.
            Path("/proc/sys/net/netfilter/nf_conntrack_checksum").write_text("0")

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._enter()
        try:
            yield
        finally:
            setns(self._home, CLONE_NEWNET)

    def _enter(self) -> None:
        with open(f"/run/netns/{self._namespace.name}", "rb") as there:
            setns(there.fileno(), CLONE_NEWNET)


def available(subjects: list[str]) -> list[str]:
    """Those that this machine has."""
    tools = {NFT: "nft", IPTABLES: "iptables-legacy-restore"}
    return [one for one in subjects if one not in tools or shutil.which(tools[one])]


def _policy(rules: list[Rule]) -> str:
    lines = ["default forward drop"]
    lines += [f"drop forward tcp from {one.source} to {one.target} port {one.port}" for one in rules]
    lines.append(f"allow forward tcp to port {SERVER_PORT} on wan via lan")
    return "\n".join(lines) + "\n"


def _nft(rules: list[Rule]) -> str:
    lines = [f"ip saddr {one.source} ip daddr {one.target} tcp dport {one.port} drop" for one in rules]
    return "\n".join(
        (
            "table ip measured {",
            "chain forward {",
            "type filter hook forward priority 0; policy drop;",
            "ct state established,related accept",
            *lines,
            f"tcp dport {SERVER_PORT} accept",
            "}",
            "}",
            "",
        )
    )


def _iptables(rules: list[Rule]) -> str:
    lines = [f"-A FORWARD -p tcp -s {one.source} -d {one.target} --dport {one.port} -j DROP" for one in rules]
    return "\n".join(
        (
            "*filter",
            ":FORWARD DROP [0:0]",
            "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            *lines,
            f"-A FORWARD -p tcp --dport {SERVER_PORT} -j ACCEPT",
            "COMMIT",
            "",
        )
    )


def _network(address: int, length: int) -> str:
    return f"{IPv4Address(address >> (32 - length) << (32 - length))}/{length}"


@contextmanager
def _room_for_connections() -> Iterator[None]:
    """conntrack may hold all that are made here: it is measured at work, not when it is full."""
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "nf_conntrack"], check=False)  # built in, or not there at all
    if not _CONNTRACK_MAX.exists():
        yield
        return
    before = _CONNTRACK_MAX.read_text()
    try:
        _CONNTRACK_MAX.write_text(str(max(int(before), _ROOM)))
    except PermissionError:  # it belongs to the machine's first network namespace
        yield
        return
    try:
        yield
    finally:
        _CONNTRACK_MAX.write_text(before)


def _sent_by_lan() -> int:
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lan":
            return int(numbers.split()[9])
    raise FwError("there is no interface lan")


def _run(words: str, text: str | None = None) -> None:
    done = subprocess.run(words.split(), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FwError(f"`{words}` failed: {done.stderr.strip()[:_SHOWN_CHARS]}")
