# SPDX-License-Identifier: MIT
"""What `fw check` says of a policy on this machine: warnings about names, and about the caller's connection."""

from __future__ import annotations

from datetime import UTC
from ipaddress import ip_address
from pathlib import Path

import pytest

from firewall.errors import NotPermitted
from firewall.hours import local_zone
from firewall.policy import parse_policy
from firewall.setcheck import check_sets
from firewall.sockets import TCP_ESTABLISHED, TcpSocket
from firewall.surroundings import odd_here
from firewall.written import Written
from tests.cli.machine import LINKS

HERE, CALLER = ip_address("192.0.2.1"), ip_address("192.0.2.7")
CONNECTION = TcpSocket(77, TCP_ESTABLISHED, HERE, 22, CALLER, 50000)


class Routes:
    """Packets of every connection come by eth0."""

    def __enter__(self) -> Routes:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def owner(self, _: object) -> int:
        return 2

    way_to = owner


@pytest.fixture(autouse=True)
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.links.list_links", lambda: LINKS)
    for module in ("sshguard", "neighbours"):
        monkeypatch.setattr(f"firewall.{module}.Routes", Routes)
        monkeypatch.setattr(f"firewall.{module}.caller_connections", lambda: [CONNECTION])


def said(text: str) -> list[str]:
    return [warning.told("rules.fw") for warning in odd_here(parse_policy(text))]


def test_names_that_no_interface_has() -> None:
    text = "protect etj0\nzone lan = eth0, tun7, tap+\nallow in on lam, wg0\ndrop forward via not eth1, lan\n"
    assert said(text) == [
        "rules.fw:1: no interface is called 'etj0' now; did you mean 'eth0'?",
        "rules.fw:2: no interface is called 'tun7' now",
        "rules.fw:3: no interface is called 'lam' now; did you mean 'lan'?",
        "rules.fw:4: no interface is called 'eth1' now",
    ]


def test_a_name_is_said_once() -> None:
    text = "allow in on lam\nzone lan = eth0\nallow in on lam tcp\ndrop in on lam, eth0\n"
    assert said(text) == [
        "rules.fw:1: no interface is called 'lam' now (2 more lines with it); did you mean 'lan'?"
    ]


def test_a_zone_with_the_name_of_an_interface() -> None:
    assert said("zone wg0 = eth0\nallow in on wg0\n") == [
        "rules.fw:1: zone 'wg0' is called like an interface, which its name does not mean"
    ]
    written = Written("\ninclude zones.fw\n", ((("zones.fw", Written("zone wg0 = eth0\nprotect wg0\n")),),))
    told = [(one.line, one.file) for one in odd_here(parse_policy(written)) if "called like" in one.message]
    assert told == [(1, "zones.fw")]


CUT = "this would cut your connection from 192.0.2.7 (on eth0, by"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("protect eth0\n", [f"rules.fw: {CUT} 'default in drop')"]),
        ("protect eth0\n\ndefault in reject\n", [f"rules.fw:3: {CUT} 'default in reject')"]),
        (
            "protect eth0\ndrop in from 192.0.2.7\nallow in\n",
            [f"rules.fw:2: {CUT} 'drop in from 192.0.2.7')"],
        ),
        ("protect eth0\nallow in tcp to port 22\n", []),
        (
            "protect eth0\nallow in\noption builtin.nd off\noption builtin.arp off\n",
            [f"rules.fw:4: {CUT} 'option builtin.arp off')"],
        ),
        ("protect wg0\n", []),
        ("default in drop\n", []),
        ("zone lan = eth+\nprotect lan\nallow in on lan tcp to port 22\n", []),
    ],
)
def test_the_callers_connection(text: str, expected: list[str]) -> None:
    assert said(text) == expected


@pytest.mark.parametrize("listed", ["192.0.2.7", "192.0.2.0/24 # the office"])
def test_a_file_has_the_callers_address(tmp_path: Path, listed: str) -> None:
    (tmp_path / "office.txt").write_text(f"198.51.100.1\n{listed}\n")
    for rule, cut in (
        ("allow in tcp from @office to port 22", []),
        ("drop in from @office\nallow in", [f"rules.fw:3: {CUT} 'drop in from @office')"]),
        ("allow in from not @office", [f"rules.fw: {CUT} 'default in drop')"]),
    ):
        policy = parse_policy(f"protect eth0\nset office file office.txt\n{rule}\n")
        warnings = odd_here(policy, check_sets(policy, tmp_path))
        assert [warning.told("rules.fw") for warning in warnings] == cut


def test_what_was_added_at_run_time_stays_in_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "protect eth0\nset office\nallow in tcp from @office to port 22\n"
    assert said(text) == [f"rules.fw: {CUT} 'default in drop')"]
    monkeypatch.setattr("firewall.pins.open_pins", object)
    monkeypatch.setattr(
        "firewall.settable.membership_of",
        lambda _pins, listed: lambda name, address: not listed and (name, address) == ("office", CALLER),
    )
    assert said(text) == []


def test_what_cannot_be_asked_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NotPermitted("not here")

    monkeypatch.setattr("firewall.sshguard.caller_connections", refuse)
    assert said("protect eth0\n") == []
    monkeypatch.setattr("firewall.links.list_links", refuse)
    assert said("protect nowhere0\n") == []


@pytest.mark.parametrize("text", [b"", b"TZif2", b"TZif2" + bytes(20), b"TZif2" + bytes(60), b"nonsense"])
def test_a_time_zone_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: bytes
) -> None:
    """Hours are of UTC then, and that is said of the first rule that has any."""
    zone = tmp_path / "localtime"
    monkeypatch.setattr("firewall.hours._LOCALTIME", str(zone))
    policy = parse_policy("allow in tcp\nallow in between 08:00 and 18:00\n")
    assert local_zone() is UTC and odd_here(policy) == [], "none is UTC"
    zone.write_bytes(text)
    assert local_zone() is UTC
    (warning,) = odd_here(policy)
    assert warning.line == 2
    assert warning.message == f"{zone} is no description of a time zone: hours are counted in UTC"
