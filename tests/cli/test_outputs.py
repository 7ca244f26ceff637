# SPDX-License-Identifier: MIT
"""What the commands print, read top to bottom as a user does."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

import pytest

from firewall import __version__, abi
from firewall.__main__ import main
from firewall.doctor import Finding
from firewall.errors import FwError, KernelLacks, NotPermitted
from firewall.events import Event
from firewall.reasons import REASONS
from tests.cli.conftest import Fw
from tests.cli.machine import EVENTS, FLOWS, Machine, flow, link

LAYOUT = int(abi.Layout.LAYOUT_VERSION)
GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, machine: Machine) -> str:
    """What a command is to print, in which FILE stands for the saved policy's path."""
    return (GOLDEN / name).read_text().replace("FILE", str(machine.file))


def test_status(fw: Fw, machine: Machine) -> None:
    done = fw("status")
    assert (done.status, done.out, done.err) == (0, golden("status", machine), "")
    assert fw("").out == done.out


def test_status_says_what_is_wrong(fw: Fw, machine: Machine) -> None:
    machine.mode, machine.wg0, machine.differs = "observe", "detached", True
    assert fw("status").out == golden("status-wrong", machine)
    machine.wg0 = "gone"
    assert "wg0   GONE: the interface has vanished" in fw("status").out


def test_status_of_names_that_others_have_now(
    fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [link(2, "eth7"), link(6, "eth0"), link(7, "wg0", up=False)]
    monkeypatch.setattr("firewall.links.list_links", lambda: now)
    machine.wg0 = "gone"
    assert fw("status").out.splitlines()[2:5] == [
        "protected    eth0  tcx, now called eth7",
        "             wg0   GONE: another interface has the name, not filtered; 'fw load' protects it",
        "unprotected  eth0, wg0",
    ]
    told = fw("status --json").json
    assert [one["name_now"] for one in told["interfaces"]] == ["eth7", None]


def test_status_json(fw: Fw, machine: Machine) -> None:
    status = fw("status --json").json
    reasons = status.pop("reasons")
    assert status == {
        "schema": 1,
        "mode": "enforce",
        "generation": 3,
        "spares": None,
        "rules": 5,
        "differs": False,
        "interfaces": [
            {"name": "eth0", "name_now": "eth0", "ifindex": 2, "attach": "tcx"},
            {"name": "wg0", "name_now": "wg0", "ifindex": 3, "attach": "tcx"},
        ],
        "unprotected": ["docker0"],
        "flows": {
            "confirmed": 3,
            "embryonic": 1,
            "used": 4,
            "max": 65536,
            "embryonic_max": 16384,
            "displaced": 0,
            "evicted": 0,
            "collected": 17,
            "lost": 0,
            "timeout_percent": 100,
            "per_source": 16384,
            "busiest": [{"source": "192.0.2.9", "flows": 3}, {"source": "2001:db8::/64", "flows": 1}],
        },
    }
    assert list(reasons) == list(REASONS) and reasons["flow"] == 1_234_567


def test_status_of_a_table_under_attack(fw: Fw, machine: Machine) -> None:
    machine.occupancy = machine.occupancy._replace(
        used=60_000,
        displaced=1_000_000,
        evicted=12,
        timeout_percent=47,
        busiest=(("2001:db8::/64", 16_000), ("192.0.2.9", 1)),
    )
    assert fw("status").out.splitlines()[5:9] == [
        "flows        3 confirmed, 1 embryonic; 60,000 of 65,536 places used",
        "             the table fills: idle flows are given 47 % of their timeouts",
        "             1,000,000 embryonic displaced, 12 confirmed evicted since loading",
        "             2001:db8::/64 has opened 16,000 of the 16,384 that it may",
    ]


@pytest.mark.parametrize(
    "line", ["--json status", "status --json", "--json", "--json --netns blue", "--json status --json"]
)
def test_json_before_or_after(fw: Fw, machine: Machine, line: str) -> None:
    assert fw(line).json["mode"] == "enforce"


@pytest.mark.parametrize(
    "line", ["rule list --json", "rule --json list", "--json rule list", "--json rules", "rule --json"]
)
def test_json_at_any_level(fw: Fw, machine: Machine, line: str) -> None:
    assert [rule["id"] for rule in fw(line).json["rules"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "line", ["--netns blue rule list", "rule --netns blue list", "rule list --netns blue"]
)
def test_netns_at_any_level(fw: Fw, machine: Machine, line: str) -> None:
    assert fw(line).status == 0
    assert machine.done == ["netns blue"]


def test_rule_list(fw: Fw, machine: Machine) -> None:
    done = fw("rule list")
    assert done.out == golden("rules", machine)
    assert [fw(same).out for same in ("rules", "rule")] == [done.out] * 2


def test_rule_list_json(fw: Fw, machine: Machine) -> None:
    listed = fw("rules --json").json
    assert listed["rules"][1] == {
        "id": 2, "text": "allow in tcp to port 8080", "packets": 100, "bytes": 2048, "last_hit_s": None,
    }  # fmt: skip
    assert abs(listed["rules"][0]["last_hit_s"] - (time() - 3)) < 60
    (hit_s, *_) = (line.pop("last_hit_s") for line in listed["defaults"])
    assert listed["defaults"][0] == {"text": "default in drop", "packets": 5, "bytes": 500}
    assert abs(hit_s - (time() - 61)) < 60
    assert len(listed["builtins"]) == 9 and listed["loaded"] is True


def test_unused_rules(fw: Fw, machine: Machine) -> None:
    done = fw("rule list --unused")
    assert (done.status, done.err) == (0, "")
    assert done.out == golden("rules-unused", machine)
    listed = fw("rule list --unused --since 39d --json").json
    assert listed.keys() == {"schema", "loaded", "rules"}
    assert [rule["id"] for rule in listed["rules"]] == [2, 3, 4, 5]
    assert [rule["id"] for rule in fw("--json rules --unused --since 41d").json["rules"]] == [2, 4, 5]
    assert [rule["id"] for rule in fw("--json rules --unused --since 2s").json["rules"]] == [1, 2, 3, 4, 5]
    first = machine.document.rules[0]
    machine.document = machine.document._replace(
        ids=((first.id, 1),), lines=((first.line, 1),), places=((first.counter, 1),)
    )
    done = fw("rules --unused")
    assert (done.out, done.err) == ("", "every rule has had packets\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rules --since 30d", "give --unused with it"),
        ("rules --unused --since 30", "--since takes a time with its unit, not '30'\nhint: as in 90s"),
    ],
)
def test_unused_since_when(fw: Fw, line: str, said: str) -> None:
    done = fw(line)
    assert done.status == 2 and said in done.err, done.err


def test_unused_rules_where_nothing_counts(fw: Fw, machine: Machine) -> None:
    machine.loaded = False
    assert fw("rules --unused").status == 3


def test_saved_rules_are_listed_when_nothing_is_loaded(fw: Fw, machine: Machine) -> None:
    machine.loaded = False
    done = fw("rules")
    assert done.out.splitlines()[:2] == ["id  rule", " 1  allow in tcp to port 22"]
    assert done.err == "nothing is loaded: these are the saved rules\n"
    listed = fw("rules --json").json
    assert listed["loaded"] is False and listed["rules"][0]["packets"] is None


def test_flow_list(fw: Fw, machine: Machine) -> None:
    done = fw("flow list")
    assert done.out == golden("flows", machine)
    assert [fw(same).out for same in ("flows", "flow")] == [done.out] * 2


def test_flow_list_json(fw: Fw, machine: Machine) -> None:
    flows = fw("flows --json").json["flows"]
    assert flows[0] == {
        "proto": "tcp", "src": "192.0.2.1", "sport": 40000, "dst": "198.51.100.7", "dport": 443, "icmp_id": None,
        "gre_key": None, "spi": None, "reply_spi": None,
        "state": "established", "confirmed": True, "scope": "out", "packets": 12, "bytes": 1536,
        "reply_packets": 1000, "reply_bytes": 1 << 20, "age_s": 61, "expires_s": 86399, "rule": None,
        "set_mark": None, "idle_s": None,
    }  # fmt: skip
    assert [flow["rule"] for flow in flows] == [None, 3, None, 4]
    assert [flow["proto"] for flow in flows] == ["tcp", "udp", "icmp6", "proto 89"]


def test_flow_list_tells_tunnels_apart(fw: Fw, machine: Machine) -> None:
    machine.flows = [
        flow(proto=47, sport=None, dport=None),
        flow(proto=47, sport=None, dport=None, gre_key=77),
        flow(proto=50, sport=None, dport=None, spi=0xABC, reply_spi=0xFFFFFFFE),
        flow(proto=51, sport=None, dport=None, spi=0x100),
    ]
    shown = [
        line.split("established")[0].split(None, 2)[2].rstrip()
        for line in fw("flow list").out.splitlines()[1:]
    ]
    assert shown == [
        "198.51.100.7",
        "198.51.100.7 key 77",
        "198.51.100.7 spi 0x00000abc back 0xfffffffe",
        "198.51.100.7 spi 0x00000100",
    ]
    told = [(one["gre_key"], one["spi"], one["reply_spi"]) for one in fw("flow list --json").json["flows"]]
    assert told == [(None, None, None), (77, None, None), (None, 0xABC, 0xFFFFFFFE), (None, 0x100, None)]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--proto tcp", ["tcp"]),
        ("-p 17", ["udp"]),
        ("-p proto89", []),
        ("--port 53", ["udp"]),
        ("--state two-way", ["icmp6"]),
        ("--state TWO_WAY", ["icmp6"]),
        ("--rule 4", ["proto 89"]),
        ("--rule 0", ["tcp", "icmp6"]),
        ("--iface eth0", ["tcp", "udp", "icmp6", "proto 89"]),
        ("--iface wg0", []),
        ("--address 198.51.100.0/24", ["tcp", "udp", "proto 89"]),
        ("--address 198.51.100.0/24,2001:db8::/64", ["tcp", "udp", "icmp6", "proto 89"]),
        ("--address 192.0.2.2", []),
        ("--proto udp --port 443", []),
    ],
)
def test_flow_filters(fw: Fw, machine: Machine, options: str, found: list[str]) -> None:
    done = fw(f"flow list --json {options}")
    if "proto89" in options:
        assert done.status == 2
        return
    assert [flow["proto"] for flow in done.json["flows"]] == found


def test_no_flows_print_nothing(fw: Fw, machine: Machine) -> None:
    machine.flows = []
    assert fw("flows").out == ""
    assert fw("flows --json").json == {"schema": 1, "flows": []}


def test_flow_delete_and_flush(fw: Fw, machine: Machine) -> None:
    done = fw("flow delete --proto udp")
    assert (done.status, done.out, done.err) == (0, "", "1 flow deleted\n")
    assert FLOWS[1] not in machine.flows and len(machine.flows) == 3
    assert fw("flow flush").err == "3 flows deleted\n"


def test_flow_delete_spares_the_callers_connection(
    fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ipaddress import ip_address

    from firewall.sockets import TcpSocket

    theirs = ip_address("192.0.2.1"), 40000
    here = ip_address("198.51.100.7"), 443
    # In the second the flow was met midway and this host taken for its opener.
    for local, remote in ((theirs, here), (here, theirs)):
        own = TcpSocket(1, 1, *local, *remote)
        monkeypatch.setattr("firewall.sshguard.caller_connections", lambda own=own: [own])
        done = fw("flow flush")
        assert (done.status, len(machine.flows)) == (8, 4)
        assert done.err.startswith(f"fw: this would cut your connection from {remote[0]}\nhint: --yes ")
    assert fw("flow delete --proto udp").status == 0
    assert fw("flow flush --yes").err == "3 flows deleted\n"


def test_log(fw: Fw, machine: Machine) -> None:
    assert fw("log").out == golden("log", machine)


def numbers(out: Any) -> list[int]:
    return [event["number"] for event in out["events"]]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", [7, 8, 9, 10, 11]),
        ("-n 2", [10, 11]),
        ("-n 0", []),
        ("-n 99", [7, 8, 9, 10, 11]),
        ("--reason default_drop", [7, 8]),
        ("--reason DEFAULT-DROP -n 1", [8]),
        ("--proto tcp", [7, 10, 11]),
        ("--proto 0", []),
        ("--address 2001:db8::/32", [8]),
        ("--address 203.0.113.9 --reason rule_reject", [10]),
    ],
)
def test_log_filters(fw: Fw, machine: Machine, options: str, found: list[int]) -> None:
    assert numbers(fw(f"log --json {options}").json) == found


def test_log_json(fw: Fw, machine: Machine) -> None:
    event = fw("log --json").json["events"][3]
    assert event == {
        "number": 10, "time_s": 1_700_000_010.5, "reason": "rule_reject", "observed": False, "logged": True,
        "overload": False, "scope": "out", "eth_proto": 0x0800, "proto": "tcp", "src": "203.0.113.9", "sport": 50000,
        "dst": "192.0.2.1", "dport": 25, "icmp_type": None, "tcp_flags": "S", "rule": 5, "packets": 1, "bytes": 60,
        "in": None, "out": "eth0",
    }  # fmt: skip


def test_log_follow(fw: Fw, machine: Machine) -> None:
    done = fw("log -f -n 1")
    first, second = done.out.splitlines()
    assert "rule_drop" in first and "192.0.2.1:99" in second
    assert done.err == "8 events not shown, see 'fw option log.rate'\nfw was unloaded\n"


def test_log_follow_json_is_one_object_a_line(fw: Fw, machine: Machine) -> None:
    import json

    events = [json.loads(line) for line in fw("log -f --json").out.splitlines()]
    assert [event["number"] for event in events] == [event.number for event in EVENTS] + [20]
    assert all(event["schema"] == 1 for event in events)


def test_log_follow_ends_with_its_reader(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing happens any more that would make it write."""
    rounds: list[int] = []

    def quiet(_: object, on_events: Callable[[list[Event], int], None]) -> None:
        on_events(EVENTS, 0)
        os.close(reading)
        for number in range(3):
            rounds.append(number)
            on_events([], 0)

    monkeypatch.setattr("tests.cli.machine.Journal.follow", quiet)
    reading, writing = os.pipe()
    err = io.StringIO()
    with open(writing, "w") as out:
        assert main(["log", "-f"], out, err) == 0
    assert (rounds, err.getvalue()) == ([0], "")


FINDINGS = [
    Finding("capabilities", "ok", "all"),
    Finding("kernel jit", "warn", "missing: compiled", "echo 1 > jit"),
    Finding("kernel tcx", "ok", "missing: TC links", "clsact is used"),
]


def test_doctor(fw: Fw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.doctor.examine", lambda: FINDINGS)
    done = fw("doctor")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "ok    capabilities  all",
        "warn  kernel jit    missing: compiled",
        "                    -> echo 1 > jit",
        "ok    kernel tcx    missing: TC links",
    ]
    assert fw("doctor --json").json["findings"][1] == {
        "check": "kernel jit",
        "verdict": "warn",
        "text": "missing: compiled",
        "advice": "echo 1 > jit",
    }


@pytest.mark.parametrize(("error", "status"), [(KernelLacks, 5), (NotPermitted, 4), (None, 1)])
def test_doctor_fails_where_fw_would(
    fw: Fw, monkeypatch: pytest.MonkeyPatch, error: type[FwError] | None, status: int
) -> None:
    bad = Finding("kernel lru", "bad", "missing: LRU maps", "use a newer kernel", error)
    monkeypatch.setattr("firewall.doctor.examine", lambda: [*FINDINGS, bad])
    for line in ("doctor", "doctor --json"):
        done = fw(line)
        assert done.status == status and "kernel lru" in done.out
        assert done.err == "fw: fw cannot run here: kernel lru: missing: LRU maps\nhint: use a newer kernel\n"


def test_version(fw: Fw, machine: Machine) -> None:
    lines = fw("version").out.splitlines()
    assert lines[0] == f"fw {__version__}" and lines[1] == f"layout {LAYOUT}, nothing loaded"
    assert fw("--version").out.splitlines() == lines
    assert fw("version --json").json["layout"] == LAYOUT
    assert fw("version --json").json["loaded"] is False


def test_version_says_what_it_cannot_see(fw: Fw, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NotPermitted("cannot look at /run/fw/bpf: permission denied", "run as root")

    monkeypatch.setattr("firewall.paths.find_pin_dir", refuse)
    assert (
        fw("version").out.splitlines()[1]
        == f"layout {LAYOUT}, loaded: not known, cannot look at /run/fw/bpf: permission denied"
    )
    told = fw("version --json").json
    assert (told["loaded"], told["loaded_layout"]) == (None, None)
    monkeypatch.setattr("firewall.paths.find_pin_dir", lambda: machine.file.parent)
    assert fw("version").out.splitlines()[1] == f"layout {LAYOUT}, loaded: unknown"
    assert fw("version --json").json["loaded"] is True


def test_sets(fw: Fw, machine: Machine) -> None:
    done = fw("sets")
    assert [fw(same).out for same in ("set list", "set")] == [done.out] * 2
    assert done.out == golden("sets", machine)
    assert fw("set show blocked").out == golden("set-show", machine)
    listed = fw("sets --json").json["sets"]
    assert listed[0] == {
        "name": "blocked",
        "listed": 1_000_000,
        "added": 2,
        "timeout_s": 3600,
        "overload": 17,
    }
    (_, both, _, added) = fw("set show blocked --json").json["elements"]
    assert both == {
        "span": "198.51.100.7",
        "listed": True,
        "added": True,
        "expires_s": None,
        "overload": False,
        "packets": None,
        "bytes": None,
    }
    assert added["expires_s"] == 3599
    machine.loaded = False
    assert fw("sets").err == "nothing is loaded: these are the saved sets\n"


def test_a_set_is_changed_as_said(fw: Fw, machine: Machine) -> None:
    done = fw("set add blocked 192.0.2.1 192.0.2.2 --for 5m")
    assert (done.status, done.out, done.err) == (0, "", "2 prefixes added, 1 were in 'blocked' already\n")
    fw("set delete blocked 192.0.2.1 --yes")
    assert machine.done == ["set add blocked 192.0.2.1 192.0.2.2 for 5m", "set delete blocked 192.0.2.1 yes"]
