# SPDX-License-Identifier: MIT
"""A machine without a kernel: what the command line reads and changes, as values in memory.

eth0 and wg0 are protected, docker0 is up and is not; the policy is POLICY, whose rules have ids 1 to 5
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from firewall import abi
from firewall.addresses import Span
from firewall.document import Document, PlacedRule, place
from firewall.engine import Source
from firewall.errors import NotLoaded
from firewall.events import Event
from firewall.flowrestore import Restored
from firewall.flows import Counts, Filter, Flow
from firewall.flowstate import Side
from firewall.lang import decode_policy
from firewall.links import Link
from firewall.occupancy import Occupancy, Use
from firewall.policy import Policy, parse_policy
from firewall.reasons import REASONS
from firewall.reports import ApplyReport, LoadReport, UnloadReport, UpgradeReport
from firewall.rule import Rule
from firewall.setops import Done, Element, Summary
from firewall.state import Counter, FlowLimits, Interface, RunningDefault, RunningRule

POLICY = """# kept
protect eth0, wg0
default in drop
option builtin.lldp off

allow in tcp to port 22
allow in tcp to port 8080
drop in from 198.51.100.7
allow forward on docker0 via eth0
reject out tcp to port 25 log "no smtp"
"""


SCOPES = ("in", "out", "forward")

ELEMENTS = [
    Element(Span(4, 0xC0000200, 0xC00002FF), True, False, None),
    Element(Span(4, 0xC6336407, 0xC6336407), True, True, None),
    Element(Span(4, 0xCB007109, 0xCB007109), False, False, 600, True),
    Element(Span(6, 0x20010DB8 << 96, (0x20010DB9 << 96) - 1), False, True, 3599),
]


def link(ifindex: int, name: str, up: bool = True) -> Link:
    flags = 0x8 if name == "lo" else 0
    return Link(name, ifindex, "", up, 1, flags, 1500, "02:00:00:00:00:01", 0, 0, None)


LINKS = [link(1, "lo"), link(2, "eth0"), link(3, "wg0"), link(4, "docker0"), link(5, "eth9", up=False)]


def flow(**fields: Any) -> Flow:
    side = Side(0, 0, 0, 0, 0, 0, 0, 0, 0)
    usual: dict[str, Any] = {
        "key": b"", "confirmed": True, "proto": 6, "family": 4,
        "src": 0xC0000201, "sport": 40000, "dst": 0xC6336407, "dport": 443, "icmp_id": None, "icmp_type": None,
        "gre_key": None, "spi": None, "reply_spi": None,
        "state": "established", "scope": "out", "rule": 0, "generation": 3, "age_s": 61, "expires_s": 86399,
        "mark": 0, "mark_mask": 0, "idle_s": 0,
        "opener": side._replace(packets=12, bytes=1536, out_ifindex=2),
        "responder": side._replace(packets=1000, bytes=1 << 20, in_ifindex=2),
    }  # fmt: skip
    return Flow(**{**usual, **fields})


FLOWS = [
    flow(),
    flow(proto=17, sport=5353, dport=53, state="one_way", expires_s=20, rule=3, confirmed=False),
    flow(
        family=6,
        src=0x20010DB8 << 96 | 1,
        dst=0x20010DB8 << 96 | 5,
        proto=58,
        sport=None,
        dport=None,
        icmp_id=77,
        state="two_way",
    ),
    flow(proto=89, sport=None, dport=None, state="one_way", scope="forward", rule=4),
]


def event(number: int, **fields: Any) -> Event:
    usual: dict[str, Any] = {
        "number": number, "time_s": 1_700_000_000.5 + number, "reason": "default_drop", "observed": False,
        "logged": False, "overload": False, "scope": "in", "in_ifindex": 2, "out_ifindex": 0, "eth_proto": 0x0800,
        "proto": 6, "src": "203.0.113.9", "sport": 50000, "dst": "192.0.2.1", "dport": 23, "icmp_type": None,
        "tcp_flags": "S", "rule": 0, "packets": 1, "bytes": 60,
    }  # fmt: skip
    return Event(**{**usual, **fields})


EVENTS = [
    event(7),
    event(
        8,
        proto=58,
        src="2001:db8::9",
        sport=None,
        dst="2001:db8::1",
        dport=None,
        icmp_type=128 << 8,
        tcp_flags="",
    ),
    event(
        9, reason="not_ip", eth_proto=0x88CC, proto=0, src="", sport=None, dst="", dport=None, tcp_flags=""
    ),
    event(10, reason="rule_reject", logged=True, rule=5, in_ifindex=0, out_ifindex=2, scope="out", dport=25),
    event(11, reason="rule_drop", observed=True, rule=3, packets=3),
]


class Running:
    """What is loaded, as `firewall.state.Running` tells it."""

    def __init__(self, machine: Machine) -> None:
        self.pins = machine
        self.generation = 3
        self.spares = machine.spares
        self.mode = machine.mode
        self.document = machine.document
        self.policy: Policy = parse_policy(machine.document.text)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def interfaces(self) -> list[Interface]:
        return [Interface("eth0", 2, "tcx", 1), Interface("wg0", 3, self.pins.wg0, 2)]

    def names(self) -> dict[int, str]:
        return {link.ifindex: link.name for link in LINKS}

    def reasons(self) -> dict[str, Counter]:
        counted = {
            "flow": 1_234_567,
            "rule_allow": 20,
            "default_drop": 7,
            "bad_handshake": 2_000,
            "builtin_arp": 4,
        }
        return {name: Counter(counted.get(name, 0), 100 * counted.get(name, 0)) for name in REASONS}

    def rules(self) -> list[RunningRule]:
        ago: dict[int, float | None] = {1: 3, 3: 40 * 86400}
        return [RunningRule(r.id, r.line, r.text, 10**r.id, 2048, ago.get(r.id)) for r in self.document.rules]

    def defaults(self) -> list[RunningDefault]:
        return [RunningDefault(scope, self.policy.defaults[scope], 5, 500, 61) for scope in SCOPES]

    def builtins(self) -> list[str]:
        return [
            name
            for name in REASONS
            if name.startswith("builtin_") and self.policy.options.get(name.replace("_", "."), "on") == "on"
        ]

    def flow_limits(self) -> FlowLimits:
        return FlowLimits(65536, 16384)

    def differs(self) -> bool:
        return self.pins.differs


class Machine:
    """What commands find, and `done`: what they did to it, as words."""

    def __init__(self, tmp_path: Path) -> None:
        self.mode = "enforce"
        self.wg0 = "tcx"
        self.loaded = True
        self.differs = False
        self.warnings: tuple[str, ...] = ()
        self.attached: tuple[str, ...] = ()
        self.detached: tuple[str, ...] = ()
        self.file = tmp_path / "rules.fw"
        self.file.write_text(POLICY)
        self.document: Document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
        self.flows = list(FLOWS)
        self.events = list(EVENTS)
        self.occupancy = Occupancy(
            used=4,
            max=65536,
            embryonic_max=16384,
            displaced=0,
            evicted=0,
            collected=17,
            lost=0,
            timeout_percent=100,
            per_source=16384,
            busiest=(("192.0.2.9", 3), ("2001:db8::/64", 1)),
        )
        self.done: list[str] = []
        self.spares: int | None = None

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Running:
        if not self.loaded:
            raise NotLoaded(
                "nothing is loaded in this network namespace", "'fw load IF' protects an interface"
            )
        return Running(self)

    def demand(self) -> Machine:
        self.read()
        return self

    def apply(
        self,
        text: str | None = None,
        *,
        runtime: bool = False,
        yes: bool = False,
        dry_run: bool = False,
        keep_flows: bool = False,
        **_: Any,
    ) -> ApplyReport:
        new = decode_policy(self.file.read_bytes()) if text is None else text
        before = self.document
        document = place(parse_policy(new), new, not runtime, before, abi.Limits.RULE_COUNTERS)
        if not dry_run:
            self.document = document
        self.done.append(f"apply{' runtime' * runtime}{' yes' * yes}{' dry' * dry_run}{' keep' * keep_flows}")
        return ApplyReport(
            changed=document.rules != before.rules or parse_policy(new) != parse_policy(before.text),
            loaded=self.loaded,
            saved=not runtime,
            generation=3 if dry_run else 4,
            added=gone(before=document, after=before),
            removed=gone(before=before, after=document),
            attached=self.attached,
            detached=self.detached,
            warnings=self.warnings,
            file=str(self.file),
            other=(),
            seeded=0,
            texts=(parse_policy(before.text).render(), parse_policy(new).render()),
        )

    def edit(self, change: Callable[[Source], str], added: Rule | None = None, **wishes: bool) -> ApplyReport:
        return self.apply(
            change(Source(self.document.text, self.document.rules, self.document.included)), **wishes
        )

    def load(
        self, names: Any = (), *, attach: str = "auto", observe: bool = False, yes: bool = False
    ) -> LoadReport:
        self.done.append(f"load {' '.join(names)} {attach}{' observe' * observe}{' yes' * yes}")
        return LoadReport(
            first=True,
            protected=tuple(Running(self).interfaces()),
            added=("eth0",),
            unprotected=("docker0",),
            open=("allow in tcp to port 22",),
            seeded=14,
            grace_s=30,
            boot=False,
            starter=POLICY,
            file=str(self.file),
            mode="observe" if observe else "enforce",
            generation=1,
            warnings=self.warnings,
        )

    def unload(self, names: Any) -> UnloadReport:
        self.done.append(f"unload {' '.join(names)}")
        return UnloadReport(tuple(names), False, ())

    def unload_all(self) -> UnloadReport:
        self.done.append("unload all")
        return UnloadReport(("eth0", "wg0"), True, ())

    def upgrade(self, *, yes: bool = False) -> UpgradeReport:
        self.done.append("upgrade")
        return UpgradeReport(("eth0", "wg0"), 1200, ())

    def summaries(self) -> list[Summary]:
        self.read()
        return [Summary("blocked", 1_000_000, 2, 3600, 17), Summary("office", 3, 0, 0, 0)]

    def change_set(
        self, verb: str, name: str, words: Sequence[str], for_text: str | None = None, *, yes: bool = False
    ) -> Done:
        self.read()
        self.done.append(
            " ".join(["set", verb, name, *words, *(["for", for_text] if for_text else [])]) + " yes" * yes
        )
        return Done(len(words), 1)

    def refresh(self) -> int | None:
        self.done.append("refresh")
        return 4 if " until " in self.document.text else None

    def set_mode(self, mode: str, *, yes: bool = False) -> bool:
        changed = mode != self.mode
        self.mode = mode
        return changed


def gone(before: Document, after: Document) -> tuple[PlacedRule, ...]:
    return tuple(rule for rule in before.rules if rule.id not in {other.id for other in after.rules})


class Table:
    """The flow table, as `firewall.flows.Table` gives it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def chosen(self, wanted: Filter) -> Any:
        keyed = (flow._replace(key=self._key(i, flow)) for i, flow in enumerate(self.machine.flows))
        return filter(wanted.matches, keyed)

    def entries(self) -> Any:
        for i, flow in enumerate(self.machine.flows):
            sides = [abi.Side(bytes=side.bytes) for side in (flow.opener, flow.responder)]
            yield self._key(i, flow), abi.Flow(incarnation=flow.age_s, side=sides).pack(), flow.confirmed

    @staticmethod
    def _key(number: int, flow: Flow) -> bytes:
        key = abi.FlowKey(lo=flow.src.to_bytes(16), hi=flow.dst.to_bytes(16), zone=number)
        key.lo_port, key.hi_port, key.proto, key.family = (
            flow.sport or 0,
            flow.dport or 0,
            flow.proto,
            flow.family,
        )
        return key.pack()

    def flow(self, key: bytes, value: bytes, confirmed: bool) -> Flow:
        return self.machine.flows[abi.FlowKey.unpack(key).zone]

    def counts(self) -> Counts:
        confirmed = sum(flow.confirmed for flow in self.machine.flows)
        embryonic = len(self.machine.flows) - confirmed
        return Counts(confirmed, embryonic, embryonic)

    def delete(self, keys: list[bytes]) -> int:
        left = [flow for i, flow in enumerate(self.machine.flows) if self._key(i, flow) not in keys]
        gone, self.machine.flows = len(self.machine.flows) - len(left), left
        return gone


class Journal:
    """The journal, as `firewall.events.Journal` gives it; whoever follows sees one more event, and then the end."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def read(self, last: int | None = None) -> list[Event]:
        events = self.machine.events
        return events if last is None else events[max(0, len(events) - last) :]

    def follow(self, on_events: Callable[[list[Event], int], None]) -> None:
        on_events(self.machine.events, 0)
        on_events([event(20, dport=99)], 8)


class Clock:
    """Time for who watches: at each nap the first two flows send, and after the fourth fw is gone."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.now_s = 1000.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds
        flows = self.machine.flows
        for i, sent in enumerate((2048, 600)[: len(flows)]):
            opener, responder = flows[i].opener, flows[i].responder
            flows[i] = flows[i]._replace(
                opener=opener._replace(bytes=opener.bytes + sent),
                responder=responder._replace(bytes=responder.bytes + 100 * sent * (1 - i)),
            )
        if len(self.naps) == 4:
            self.machine.loaded = False


LINES = ['{"fw":"flows"}', '{"proto":6}', '{"proto":17}', '{"end":2}']


def read_flows(machine: Machine, lines: Any, name: str) -> list[bytes]:
    machine.done.append(f"read {Path(name).name}")
    return list(lines)


def restore_flows(machine: Machine, flows: list[bytes]) -> Restored:
    return Restored(len(flows) - 2, 3, 0, 12, 0)


class NoLock:
    """The lock of writers."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def install(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the machine in the place of the kernel's and the engine's functions."""
    for name in ("apply", "edit", "load", "unload", "unload_all", "upgrade", "set_mode"):
        monkeypatch.setattr(f"firewall.engine.{name}", getattr(machine, name))
    for name in ("add", "delete", "replace"):
        monkeypatch.setattr(f"firewall.setops.{name}", partial(machine.change_set, name))
    monkeypatch.setattr(
        "firewall.setops.flush", lambda name, yes=False: machine.change_set("flush", name, [])
    )
    monkeypatch.setattr("firewall.setops.summaries", machine.summaries)
    monkeypatch.setattr("firewall.setops.elements", lambda name: ELEMENTS)
    monkeypatch.setattr("firewall.refresh.refresh", machine.refresh)
    monkeypatch.setattr("firewall.state.read", machine.read)
    monkeypatch.setattr("firewall.state.numbered", lambda: list(machine.document.rules))
    monkeypatch.setattr("firewall.state.policy_text", lambda saved=False: machine.document.text)
    monkeypatch.setattr("firewall.pins.demand_pins", machine.demand)
    monkeypatch.setattr("firewall.saved.read_saved", lambda: machine.document.text)
    monkeypatch.setattr("firewall.paths.policy_path", lambda: machine.file)
    monkeypatch.setattr("firewall.paths.find_pin_dir", lambda: None)
    monkeypatch.setattr("firewall.paths.namespace_name", lambda: None)
    monkeypatch.setattr("firewall.paths.enter_netns", lambda name: machine.done.append(f"netns {name}"))
    monkeypatch.setattr("firewall.recover.locked", NoLock)
    monkeypatch.setattr("firewall.links.list_links", lambda: LINKS)
    monkeypatch.setattr("firewall.flows.Table", Table)
    clock = Clock(machine)
    monkeypatch.setattr("time.sleep", clock.sleep)
    monkeypatch.setattr("time.monotonic", clock.monotonic)
    monkeypatch.setattr("firewall.occupancy.use", lambda *_: Use(4, 65536, machine.occupancy.timeout_percent))
    monkeypatch.setattr("firewall.flowsave.save", lambda _: iter(LINES))
    monkeypatch.setattr("firewall.flowrestore.read", read_flows)
    monkeypatch.setattr("firewall.flowrestore.restore", restore_flows)
    monkeypatch.setattr("firewall.paths.flows_path", lambda: machine.file.parent / "lib" / "flows.jsonl")
    monkeypatch.setattr("firewall.occupancy.occupancy", lambda *_: machine.occupancy)
    monkeypatch.setattr("firewall.events.Journal", Journal)
    monkeypatch.setattr("firewall.sshguard.caller_connections", list)
