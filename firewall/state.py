# SPDX-License-Identifier: MIT
"""What is loaded in this network namespace, read from its pins. Nothing here changes anything."""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from firewall import abi, interfaces
from firewall.attach import status
from firewall.counters import Counters, ages
from firewall.document import Document, PlacedRule, place
from firewall.errors import FwError
from firewall.generations import generation, read_document, slot_key
from firewall.paths import policy_path
from firewall.pins import Pins, demand_pins, offset_of, open_pins
from firewall.saved import is_saved, read_saved

if TYPE_CHECKING:  # most commands that look at what is loaded need not load the language
    from firewall.links import Link
    from firewall.policy import Policy

ENFORCE, OBSERVE = "enforce", "observe"
_MODES = {abi.Mode.MODE_ENFORCE: ENFORCE, abi.Mode.MODE_OBSERVE: OBSERVE}
_SCOPES = {abi.Scope.SCOPE_IN: "in", abi.Scope.SCOPE_OUT: "out", abi.Scope.SCOPE_FORWARD: "forward"}
_ACTIONS = {int(abi.Action[f"ACTION_{name.upper()}"]): name for name in ("allow", "drop", "reject")}
_REASONS_OFFSET = 0  # struct cpu begins with the counters of reasons


class Counter(NamedTuple):
    """Sums over all CPUs since loading."""

    packets: int
    bytes: int


class Interface(NamedTuple):
    """A protected interface; `attach` is "tcx", "clsact", "gone" (with the device) or "detached" (by others)."""

    name: str
    ifindex: int
    attach: str
    slot: int


class RunningRule(NamedTuple):
    """A rule in force with what it decided, and how long ago its last packet was; None if there was none.

    Its packets are those of the flows that it lets in, answers included, and those that it refuses.
    """

    id: int
    line: int
    text: str
    packets: int
    bytes: int
    hit_s_ago: float | None


class RunningDefault(NamedTuple):
    """What happens to openers of a scope that no rule matches, and how often that was."""

    scope: str
    action: str
    packets: int
    bytes: int
    hit_s_ago: float | None


class FlowLimits(NamedTuple):
    """Sizes of the tables of confirmed and of embryonic flows, in flows."""

    max: int
    embryonic_max: int


class Running:
    """What is loaded; each part is read when it is asked for. Use it as a context manager."""

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self.generation = generation(pins)
        self.document: Document = read_document(pins, self.generation)
        self._policy: Policy | None = None

    @property
    def mode(self) -> str:
        """ "enforce", or "observe" when packets are judged but not dropped."""
        return _MODES[abi.Mode(self.pins.control.load_u32(offset_of(abi.Control, "mode")))]

    @property
    def policy(self) -> "Policy":
        """The policy in force."""
        from firewall.policy import parse_policy

        if self._policy is None:
            self._policy = parse_policy(self.document.written)
        return self._policy

    @property
    def spares(self) -> int | None:
        """The ruleset whose flows are spared by what is in force, and those of later ones; None if none are."""
        from firewall.sparing import in_force

        return in_force(self.pins).origin or None

    def stand_in(self, policy: "Policy | None") -> None:
        """Lets a policy stand for the one in force, for who asks of it only which interfaces its rules name.

        With None the one in force stands for itself again.
        """
        self._policy = policy

    def interfaces(self) -> list[Interface]:
        """The protected interfaces by name, also those that have vanished."""
        known = interfaces.read(self.pins.map("interfaces"))
        found = [
            Interface(iface.name, ifindex, attachment(self.pins, ifindex), iface.slot)
            for ifindex, iface in known.items()
            if iface.protected
        ]
        return sorted(found)

    def names_now(self, links: "Iterable[Link]") -> set[str]:
        """What the protected interfaces are called, which may be otherwise than when they were put under protection."""
        protected = {interface.ifindex for interface in self.interfaces()}
        return {link.name for link in links if link.ifindex in protected}

    def called_now(self, links: "Iterable[Link]") -> dict[int, str]:
        """The same by index, with what vanished interfaces were called."""
        now = {link.ifindex: link.name for link in links}
        return {one.ifindex: now.get(one.ifindex, one.name) for one in self.interfaces()}

    def names(self) -> dict[int, str]:
        """The names of all interfaces that rules can speak of, by index."""
        return {i: iface.name for i, iface in interfaces.read(self.pins.map("interfaces")).items()}

    def reasons(self) -> dict[str, Counter]:
        """How many packets passed or were dropped for each reason, in the order of enum fw_reason."""
        size = abi.Counter.SIZE
        sums = [Counter(0, 0)] * abi.Reason.COUNT
        for cpu in self.pins.map("cpu").lookup_percpu(_key(0)):
            ours = [abi.Counter.unpack(cpu, _REASONS_OFFSET + i * size) for i in range(len(sums))]
            sums = [
                Counter(a.packets + b.packets, a.bytes + b.bytes) for a, b in zip(sums, ours, strict=True)
            ]
        return {abi.Reason(i).name.lower(): counter for i, counter in enumerate(sums) if i}

    def rules(self) -> list[RunningRule]:
        """The rules in force in the order of the file."""
        counts = self._counters().read([rule.counter for rule in self.document.rules])
        ago = ages()
        return [
            RunningRule(rule.id, rule.line, rule.text, count.packets, count.bytes, ago(count))
            for rule, count in zip(self.document.rules, counts, strict=True)
        ]

    def defaults(self) -> list[RunningDefault]:
        """The defaults of in, out and forward."""
        counts = self._counters().read(range(len(_SCOPES)))
        actions, ago = self._settings().defaults, ages()
        return [
            RunningDefault(
                name, _ACTIONS[actions[scope]], counts[scope].packets, counts[scope].bytes, ago(counts[scope])
            )
            for scope, name in _SCOPES.items()
        ]

    def builtins(self) -> list[str]:
        """The reasons of the built-ins that are not switched off, as `reasons` names them."""
        on = self._settings().builtins
        return [builtin.name.lower() for builtin in abi.Builtin if on >> builtin & 1]

    def flow_limits(self) -> FlowLimits:
        """The sizes of the tables as they are, whatever the policy's options say."""
        return FlowLimits(self.pins.map("slots").max_entries, self.pins.map("embryonic").max_entries)

    def differs(self) -> bool:
        """Whether the saved policy is not the one in force, byte for byte."""
        return not is_saved(self.document.written)

    def close(self) -> None:
        self.pins.close()

    def _counters(self) -> Counters:
        return Counters(self.pins.map("rule_counters"))

    def _settings(self) -> abi.Settings:
        return abi.Settings.unpack(self.pins.map("settings").lookup(slot_key(self.generation)) or b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()


def read() -> Running:
    """What is loaded. Raises NotLoaded when nothing is, and FwError when another version of fw loaded it."""
    pins = demand_pins()
    try:
        return Running(pins)
    except BaseException:
        pins.close()
        raise


def attachment(pins: Pins, ifindex: int) -> str:
    """How our programs are attached to an interface, as in `Interface.attach`."""
    found = status(ifindex, pins.directory)
    if found.gone:
        return "gone"
    whole = found.ingress.prog_id is not None and found.egress.prog_id is not None
    return found.mode if found.mode and whole else "detached"


def policy_text(saved: bool = False) -> str:
    """The text of the running policy, or of the saved one. Raises NotLoaded, or FwError if there is no file."""
    if not saved:
        with read() as running:
            return running.document.written.flat()
    written = read_saved()
    if written is None:
        raise FwError(f"there is no {policy_path()}", "'fw load IF' writes one to begin with")
    return written.flat()


def numbered() -> list[PlacedRule]:
    """The rules in force; when nothing is loaded those of the saved policy, numbered as a load would."""
    pins = open_pins()
    if pins is not None:
        with Running(pins) as running:
            return list(running.document.rules)
    from firewall.policy import parse_policy

    written = read_saved() or ""
    return list(place(parse_policy(written), written, True, None, abi.Limits.RULE_COUNTERS).rules)


def _key(index: int) -> bytes:
    return index.to_bytes(4, sys.byteorder)
