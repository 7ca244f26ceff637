# SPDX-License-Identifier: MIT
"""Changes of sets against the caller's own connection: refused before anything is changed, whatever the spelling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from ipaddress import ip_address
from types import SimpleNamespace

import pytest

from firewall import setops
from firewall.addresses import parse_span
from firewall.errors import NeedsYes
from firewall.policy import parse_policy
from firewall.setfile import keys_of
from firewall.settable import Known, Value
from firewall.sockets import TCP_ESTABLISHED, TcpSocket
from firewall.sshguard import find_cuts
from firewall.state import ENFORCE

CALLER = TcpSocket(1, TCP_ESTABLISHED, ip_address("192.0.2.1"), 22, ip_address("198.51.100.7"), 50000)
POLICY = "set office\nset blocked\ndrop in from @blocked\nallow in from @office\n"


def key(text: str) -> bytes:
    (found,) = keys_of(parse_span(text))
    return found


class Table:
    """What `setops` asks of a `SetTable`, in a dict."""

    def __init__(self, **added: str) -> None:
        self.numbers = {"office": 0, "blocked": 1}
        self.values = {key(text): Value(added=1 << self.numbers[name]) for name, text in added.items()}

    def known(self) -> dict[str, Known]:
        return {name: Known(number, b"", 0) for name, number in self.numbers.items()}

    def get(self, one: bytes) -> Value:
        return self.values.get(one, Value())

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter([(one, value.pack(one)) for one, value in self.values.items()])

    def find(self, keys: Iterable[bytes]) -> dict[bytes, Value]:
        return {one: self.values[one] for one in keys if one in self.values}

    def write(self, values: Iterable[tuple[bytes, Value]]) -> None:
        for one, value in values:
            self.values[one] = value
            if value == Value():
                del self.values[one]

    def insert(self, keys: Iterable[bytes], value: Value) -> None:
        self.values.update(dict.fromkeys(keys, value))

    @property
    def overloads(self) -> Table:
        return self

    def of(self, number: int, now_s: int) -> dict[bytes, int]:
        return {}

    def release(self, keys: Iterable[bytes], number: int) -> None:
        assert not list(keys)

    def collect(self) -> None:
        pass

    changed = collect


def use(monkeypatch: pytest.MonkeyPatch, table: Table) -> Table:
    policy = parse_policy(POLICY)

    def guard(_policy: object, names: set[str], _links: object, member: object) -> None:
        if find_cuts(policy, [CALLER], names, lambda _: ["eth0"], member):  # type: ignore[arg-type]
            raise NeedsYes("this would cut your connection")

    def member(name: str, address: object) -> bool:
        return bool(table.get(key(str(address))).added >> table.numbers[name] & 1)

    running = SimpleNamespace(mode=ENFORCE, policy=policy, names_now=lambda _: {"eth0"})
    monkeypatch.setattr("firewall.setops.locked", nullcontext)
    monkeypatch.setattr("firewall.setops.demand_pins", nullcontext)
    monkeypatch.setattr("firewall.setops.SetTable", lambda _: table)
    monkeypatch.setattr("firewall.sshguard.caller_connections", lambda: [CALLER])
    monkeypatch.setattr("firewall.sshguard.guard", guard)
    monkeypatch.setattr("firewall.links.list_links", list)
    monkeypatch.setattr("firewall.settable.membership_of", lambda _: member)
    monkeypatch.setattr("firewall.state.Running", lambda _: running)
    return table


@pytest.mark.parametrize("name", ["blocked", "@blocked"])
def test_who_adds_himself_to_a_blocklist_is_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    table = use(monkeypatch, Table(office="198.51.100.7"))
    with pytest.raises(NeedsYes):
        setops.add(name, ["198.51.100.0/24"])
    assert len(table.values) == 1
    assert setops.add(name, ["198.51.100.0/24"], yes=True).changed == 1


def test_a_replacement_that_is_refused_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = use(monkeypatch, Table(office="198.51.100.7"))
    with pytest.raises(NeedsYes):
        setops.replace("office", ["203.0.113.9"])
    assert [*table.values] == [key("198.51.100.7")]


def test_a_replacement_that_lets_the_caller_in_otherwise_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    table = use(monkeypatch, Table(office="198.51.100.7"))
    assert setops.replace("office", ["198.51.100.0/24"]).changed == 2
    assert [*table.values] == [key("198.51.100.0/24")]


@pytest.mark.parametrize("name", ["office", "@office"])
def test_who_takes_himself_out_is_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    table = use(monkeypatch, Table(office="198.51.100.7"))
    with pytest.raises(NeedsYes):
        setops.flush(name)
    with pytest.raises(NeedsYes):
        setops.delete(name, ["198.51.100.7"])
    assert len(table.values) == 1
    assert setops.flush(name, yes=True).changed == 1
