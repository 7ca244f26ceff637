# SPDX-License-Identifier: MIT
"""The packet path in a scratch copy: one packet in, its verdict and its one reason out.

    wan, 192.0.2.1/24, 2001:db8:1::1/64 ── this host ── lan, 10.0.0.1/24, 2001:db8:2::1/64
    default routes by wan; forwarding on; both interfaces protected (slots 1 and 2)

The programs are the real ones, run by BPF_PROG_TEST_RUN; what the hook would say of the packet comes from env_map.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any, NamedTuple, Self

from firewall import abi, clock
from firewall.bpfmap import F_INNER_MAP, Map, MapType, create_map, possible_cpus
from firewall.bpfobject import Object
from firewall.compile import CHUNK_BYTES, LINE_BYTES, NOBODY, compile_policy
from firewall.counters import Count, Counters
from firewall.document import Document, place
from firewall.generations import free_number
from firewall.pins import Pins
from firewall.policy import Policy, parse_policy
from firewall.publish import mapped_map
from firewall.resolve import Owners
from firewall.setfile import keys_of_spans
from firewall.settable import SetTable, Value
from firewall.sparing import NONE, Sparing, in_force

OBJECT = Path(__file__).resolve().parents[2] / "build" / "fw.bpf.o"
ANSWER_MARK = 0x5EED1234
FLOWS_MAX = 1024
PASS, SHOT, REDIRECT = 0xFFFFFFFF, 2, 7
# struct cpu begins with a counter for each reason
_REASONS = struct.Struct(f"={2 * abi.Reason.COUNT}Q")
_REASON_NAMES = [abi.Reason(number).name.lower() for number in range(abi.Reason.COUNT)]
_names = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


class Verdict(NamedTuple):
    """reason: the one that was counted; action: what the hook was told; out: the frame as the program left it."""

    reason: str
    action: int
    out: bytes

    @property
    def passed(self) -> bool:
        return self.action == PASS


def let_time_pass(seconds: float) -> None:
    """Wait until the packet path's clock has gone on by so much, as its rate limits count it."""
    end_j = clock.now_j() + round(seconds * clock.hz()) + 1
    while clock.now_j() <= end_j:
        time.sleep(1 / clock.hz())


class Namespace:
    """A network namespace that this process enters, with wan and lan as drawn above."""

    def __init__(self) -> None:
        self.name = f"fwt-path-{os.getpid()}-{next(_names)}"
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        self._ip("netns", "add", self.name)
        try:
            self._enter(f"/run/netns/{self.name}")
            for name, four, six in (
                ("wan", "192.0.2.1/24", "2001:db8:1::1/64"),
                ("lan", "10.0.0.1/24", "2001:db8:2::1/64"),
            ):
                self._ip("link", "add", name, "type", "veth", "peer", "name", name + "-far")
                for end in (name, name + "-far"):
                    Path(f"/proc/sys/net/ipv6/conf/{end}/accept_dad").write_text("0")
                    self._ip("link", "set", end, "up")
                self._ip("addr", "add", four, "dev", name)
                self._ip("addr", "add", six, "dev", name, "nodad")
            self._ip("link", "set", "lo", "up")
            self._ip("route", "add", "default", "via", "192.0.2.254")
            self._ip("-6", "route", "add", "default", "via", "2001:db8:1::fe")
            self._ip("route", "add", "blackhole", "203.0.113.0/25")
            self._ip("-6", "route", "add", "unreachable", "2001:db8:bad::/48")
            for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path(f"/proc/sys/net/{path}").write_text("1")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if _libc.setns(self._home, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns back")
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)
        os.close(self._home)

    def _enter(self, path: str) -> None:
        with open(path, "rb") as f:
            if _libc.setns(f.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), path)

    @staticmethod
    def _ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)


class _Pinned(Pins):
    """The maps of a path as if they were pinned."""

    def __init__(self, path: PacketPath) -> None:
        super().__init__(Path())
        self._path = path

    def map(self, name: str) -> Map:
        return self._path.maps[name]


class PacketPath:
    """Both programs with maps of their own. Inside a Namespace.

    With `env_from_map` the tests say what the hook would; else the programs read it from their packet.
    """

    def __init__(self, *, env_from_map: bool = True) -> None:
        self._env_from_map = env_from_map
        self._spoiled = True
        self.generation = 0
        self.reset()

    def reset(self) -> None:
        """As new: nothing in force, no flow, an empty journal. Counters go on."""
        if self._spoiled:
            self._load({})
        self.reset_flows()
        self.reset_fragments()
        for name in ("expectations", "vlan_devices", "interfaces"):
            self._empty(name)
        self.maps["journal_head"].update(struct.pack("=I", 0), bytes(self.maps["journal_head"].value_size))
        budgets = self.maps["early_budgets"]
        full = bytes(budgets.value_size)
        budgets.update_batch([(struct.pack("=I", i), full) for i in range(abi.Limits.EARLY_DESTINATIONS)])
        self.ifindex = {name: socket.if_nametoindex(name) for name in ("wan", "lan")}
        self.classes = {"wan": 1, "lan": 2}
        for name, number in self.classes.items():
            self.interface(name, slot=number, class_id=number, flags=abi.IfaceFlags.IFACE_PROTECTED)
        self._document: Document | None = None
        self.rule_counters().prepare(None, ())
        self._fill_sets(parse_policy(""))
        self.maps["overload_head"].update(struct.pack("=I", 0), abi.OverloadHead().pack())
        for one in self.sets().known().values():
            self.sets().forget(one.number)
        self.control(
            generation=0, previous=0, deadline_ns=0, grace_until_j=0, mode=0, grace_forward=0, overload=0
        )

    def reset_flows(self) -> None:
        """Forget every flow, and all that was counted of them."""
        for name in ("flows", "embryonic", "sources", "source_buckets", "rates"):
            self._empty(name)
        slots, vacant = self.maps["slots"], self.maps["vacant"]
        slots.update_batch([(struct.pack("=I", i), bytes(abi.Slot.SIZE)) for i in range(self.table().fresh)])
        while vacant.pop() is not None:
            pass
        self.maps["table"].update(struct.pack("=I", 0), abi.Table(size=FLOWS_MAX).pack())
        per_cpu = bytes(self.maps["totals"].raw_value_size)
        self.maps["totals"].update(struct.pack("=I", 0), per_cpu)

    def reset_fragments(self) -> None:
        """Forget every packet of which fragments have come."""
        for name in ("fragments", "early_fragments"):
            self._empty(name)

    def _empty(self, name: str) -> None:
        self.maps[name].delete_batch(list(self.maps[name].keys()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self.programs.values():
            program.close()
        for map_ in self.maps.values():
            map_.close()
        self._object.close()

    def _load(self, reuse: Mapping[str, Map]) -> None:
        self._object = Object.open(OBJECT)
        self._object.set_rodata(
            {"hz": clock.hz(), "answer_mark": ANSWER_MARK, "env_from_map": int(self._env_from_map)}
        )
        for name in ("slots", "vacant", "embryonic"):
            self._object.resize(name, FLOWS_MAX)
        more = FLOWS_MAX + abi.Limits.LRU_BATCH * (possible_cpus() + 1)
        self._object.resize("flows", more)
        self._object.resize("sources", 2 * more)
        for name, map_ in reuse.items():
            self._object.reuse(name, map_)
        self._object.load()
        self.maps: Mapping[str, Map] = self._object.maps
        self.programs = self._object.programs
        self._spoiled = bool(reuse)

    def no_more_openings(self) -> None:
        """From here on no entry can be made: LRU tables never refuse, so a full one of another kind stands in."""
        old = self.maps["embryonic"]
        full = create_map(MapType.HASH, "embryonic", old.key_size, old.value_size, 1)
        full.update(b"\xff" * old.key_size, bytes(old.value_size))
        shared = {name: map_ for name, map_ in self.maps.items() if not name.startswith(".")}
        self._load({**shared, "embryonic": full})

    def table(self) -> abi.Table:
        """How the places of confirmed flows are used."""
        return abi.Table.unpack(self.maps["table"].lookup(struct.pack("=I", 0)) or b"")

    def totals(self) -> abi.Totals:
        """What became of entries, all CPUs together."""
        per_cpu = map(abi.Totals.unpack, self.maps["totals"].lookup_percpu(struct.pack("=I", 0)))
        counts = [[getattr(one, field) for field, *_ in abi.Totals.FIELDS] for one in per_cpu]
        names = (field for field, *_ in abi.Totals.FIELDS)
        return abi.Totals(**dict(zip(names, map(sum, zip(*counts, strict=True)), strict=True)))

    def interface(self, name: str, ifindex: int | None = None, **fields: int) -> None:
        """Write an entry of `interfaces`."""
        if ifindex is not None:
            self.ifindex[name] = ifindex
        number = self.ifindex[name]
        value = abi.Iface(ifindex=number, name=name.encode(), **fields).pack()
        self.maps["interfaces"].update(struct.pack("=I", number), value)
        self.maps["hooks"].update(struct.pack("=I", number % abi.Limits.HOOKS_MAX), value)

    def control(self, **fields: int) -> None:
        """Change fields of the control record; the others stay."""
        key = struct.pack("=I", 0)
        record = abi.Control.unpack(self.maps["control"].lookup(key) or bytes(abi.Control.SIZE))
        for name, value in fields.items():
            setattr(record, name, value)
        self.maps["control"].update(key, record.pack())

    def policy(
        self,
        text: str,
        wall_s: float | None = None,
        owners: Owners = NOBODY,
        *,
        synced: bool = True,
        zone: tzinfo | None = None,
        sparing: Sparing = NONE,
    ) -> Document:
        """Put a policy in force as the next generation; what its rules' ids and counters are.

        `wall_s` is the Unix time that it is to be, unless it is that of the clock, which is right if `synced`;
        `zone` is that of local times, unless it is the machine's. `sparing` says which flows it does not judge.
        """
        self.generation = self.next_number(sparing.origin)
        policy = parse_policy(text)
        before = {rule.counter for rule in self._document.rules} if self._document else set()
        self._document = place(policy, text, True, self._document, abi.Limits.RULE_COUNTERS)
        numbers = {name: number for number, name in enumerate(policy.sets)}
        self._fill_sets(policy)
        moment = clock.now()._replace(synced=synced, zone=zone)
        if wall_s is not None:
            moment = moment._replace(wall_ns=round(wall_s * 1_000_000_000))
        compiled = compile_policy(
            policy,
            self._document,
            self.classes,
            self.generation,
            clock.hz(),
            moment,
            numbers,
            owners,
            sparing,
        )
        slot = struct.pack("=I", self.generation % abi.Limits.GENERATION_SLOTS)
        with mapped_map("chunks", CHUNK_BYTES, compiled.entries) as chunks:
            self.maps["classifiers"].set_inner(slot, chunks)
        with mapped_map("lines", LINE_BYTES, compiled.lines) as lines:
            self.maps["trees"].set_inner(slot, lines)
        records = compiled.furthers
        with create_map(MapType.ARRAY, "further", 4, abi.Further.SIZE, len(records), F_INNER_MAP) as furthers:
            for i, record in enumerate(records):
                furthers.update(struct.pack("=I", i), record)
            self.maps["furthers"].set_inner(slot, furthers)
        if compiled.edges:
            count = len(compiled.edges)
            with create_map(MapType.ARRAY, "edge", 4, abi.Edge.SIZE, count, F_INNER_MAP) as edges:
                edges.update_batch([(struct.pack("=I", i), edge) for i, edge in enumerate(compiled.edges)])
                self.maps["edges"].set_inner(slot, edges)
        self.maps["settings"].update(slot, compiled.settings)
        self.rule_counters().prepare(before, {rule.counter for rule in self._document.rules} - before)
        # the sets are whole again, and whoever is judged by another generation hears of them anyway
        self.control(generation=self.generation, sets_open=0)
        return self._document

    def next_number(self, kept: int = 0) -> int:
        """The generation that the next policy will be, whose slot is not that of the one in force or of `kept`."""
        return free_number(self.generation, self.generation, kept)

    def spares(self) -> Sparing:
        """What the ruleset that was put in force last spares."""
        return in_force(self.pins())

    def _fill_sets(self, policy: Policy) -> None:
        """Let the sets have what the policy lists for them, and nothing else."""
        table = self.sets()
        table.write([(key, Value()) for key, _ in table.items()])
        for name in ("overloads", "element_counters"):
            self._empty(name)
        listed: dict[bytes, int] = {}
        for number, one in enumerate(policy.sets.values()):
            for key in keys_of_spans(one.spans):
                listed[key] = listed.get(key, 0) | 1 << number
        table.write((key, Value(bits)) for key, bits in listed.items())

    def pins(self) -> Pins:
        """The maps as if they were pinned."""
        return _Pinned(self)

    def sets(self) -> SetTable:
        """The sets; a policy's are numbered in its order."""
        return SetTable(self.pins())

    def ingress(self, packet: bytes, on: str = "wan", **env: Any) -> Verdict:
        """A frame arrives by an interface."""
        return self._run("fw_ingress", packet, ifindex=self.ifindex[on], **env)

    def flood(self, packet: bytes, count: int) -> None:
        """The same frame arrives by wan so many times, in one go."""
        env = abi.Env(ifindex=self.ifindex["wan"])
        self.maps["env_map"].update(struct.pack("=I", 0), env.pack())
        self.programs["fw_ingress"].test_run(packet, repeat=count)

    def egress(self, packet: bytes, on: str = "wan", came_by: str | None = None, **env: Any) -> Verdict:
        """A frame leaves by an interface; `came_by` is None if this host sent it.

        tc_index is what ingress wrote for the last packet, unless it is given.
        """
        if came_by:
            env.setdefault("ingress_ifindex", self.ifindex[came_by])
            env.setdefault("tc_index", self.tc_index())
        return self._run("fw_egress", packet, ifindex=self.ifindex[on], **env)

    def tc_index(self) -> int:
        """What ingress wrote for the packet that it passed last."""
        return abi.Env.unpack(self.maps["env_map"].lookup(struct.pack("=I", 0)) or b"").tc_index

    def _run(self, program: str, packet: bytes, **env: Any) -> Verdict:
        self.maps["env_map"].update(struct.pack("=I", 0), abi.Env(**env).pack())
        before = self.reasons()
        run = self.programs[program].test_run(packet)
        after = self.reasons()
        counted = [name for name in after if after[name] != before[name]]
        assert len(counted) == 1, f"counted under {counted}"
        return Verdict(counted[0], run.retval, run.data_out)

    def counters(self) -> dict[str, abi.Counter]:
        """Packets and bytes of each reason, all CPUs together."""
        totals = self._totals()
        pairs = zip(_REASON_NAMES, totals[::2], totals[1::2], strict=True)
        return {name: abi.Counter(packets=packets, bytes=octets) for name, packets, octets in pairs}

    def _totals(self) -> list[int]:
        """Packets and bytes in turn."""
        per_cpu = self.maps["cpu"].lookup_percpu(struct.pack("=I", 0))
        return [sum(column) for column in zip(*map(_REASONS.unpack_from, per_cpu), strict=True)]

    def rule_counters(self) -> Counters:
        """What the rules have counted."""
        return Counters(self.maps["rule_counters"])

    def rule_counter(self, number: int) -> Count:
        """One of them."""
        (count,) = self.rule_counters().read([number])
        return count

    def reasons(self) -> dict[str, int]:
        """Packets of each reason."""
        return dict(zip(_REASON_NAMES, self._totals()[::2], strict=True))

    def flows(self) -> Iterator[tuple[str, abi.FlowKey, abi.Flow]]:
        """Every entry: its table, its key, itself."""
        for table in ("flows", "embryonic"):
            for key, value in self.maps[table].items():
                yield table, abi.FlowKey.unpack(key), abi.Flow.unpack(value)

    def the_flow(self) -> tuple[str, abi.FlowKey, abi.Flow]:
        """The only entry."""
        (entry,) = self.flows()
        return entry

    def age(self, seconds: float) -> None:
        """Let every flow have been idle for that long."""
        for table, key, flow in list(self.flows()):
            for side in flow.side:
                side.seen_j = max(0, side.seen_j - round(seconds * clock.hz()))
            self.maps[table].update(key.pack(), flow.pack())

    def events(self, last: int = 2 * abi.Limits.JOURNAL_SIZE) -> list[abi.Event]:
        """The journal, oldest first; at most so many."""
        head = self.maps["journal_head"].lookup(struct.pack("=I", 0)) or b""
        size, found = int(abi.Limits.JOURNAL_SIZE), []
        for first, written in zip((0, size), struct.unpack_from("=2Q", head, 16), strict=True):
            for n in range(max(0, written - min(last, size)), written):
                value = self.maps["journal"].lookup(struct.pack("=I", n % size + first))
                found.append(abi.Event.unpack(value or b""))
        return sorted(found, key=lambda event: event.number)[-last:]

    def last_event(self) -> abi.Event:
        """The newest, of which there must be one."""
        (event,) = self.events(last=1)
        return event
