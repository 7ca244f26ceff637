# SPDX-License-Identifier: MIT
"""`fw zone`: what zones come to, of the running policy or of the saved one, and changes of them."""

from __future__ import annotations

import pytest

from firewall import abi
from firewall.document import place
from firewall.policy import parse_policy
from tests.cli.conftest import Fw
from tests.cli.machine import Machine

POLICY = """zone lan = docker0, eth+
zone outside = not lan, lo
protect lan
zone spare = tun7
allow in on lan tcp to port 22
allow forward on lan via outside
"""


def test_zones(fw: Fw, machine: Machine) -> None:
    machine.document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
    done = fw("zone list")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "zone     used  stands for     now",
        "lan         4  docker0, eth+  eth0, docker0, eth9",
        "outside     1  not lan, lo    wg0",
        "spare       0  tun7           -",
    ]
    assert fw("zones").out == fw("zone").out == done.out


def test_zones_json(fw: Fw, machine: Machine) -> None:
    machine.document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
    listed = fw("zones --json").json
    assert listed["schema"] == 1
    assert listed["zones"][1] == {
        "name": "outside",
        "names": "not lan, lo",
        "negated": True,
        "interfaces": ["docker0", "eth+", "lo"],
        "present": ["wg0"],
        "used": 1,
    }


def test_zones_of_the_saved_policy(fw: Fw, machine: Machine) -> None:
    machine.document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
    machine.loaded = False
    done = fw("zones")
    assert (done.status, done.err) == (0, "nothing is loaded: this is the saved policy's\n")
    assert len(done.out.splitlines()) == 4


def test_no_zones(fw: Fw, machine: Machine) -> None:
    assert (fw("zones").out, fw("zones --json").json["zones"]) == ("", [])


def test_a_rule_of_a_zone_is_added_and_listed_by_its_name(fw: Fw, machine: Machine) -> None:
    machine.document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
    assert fw("rule add drop in on outside udp").out == "+ rule 3: drop in on outside udp\n"
    assert "on outside" in fw("rules").out


def test_zones_are_changed(fw: Fw, machine: Machine) -> None:
    machine.document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
    for words, line in (
        ("add lan wg0, eth7", "zone lan = docker0, eth+, wg0, eth7"),
        ("delete lan docker0", "zone lan = eth+, wg0, eth7"),
        ("add dmz not lan tun7", "zone dmz = not lan, tun7"),
        ("delete spare", None),
    ):
        done = fw(f"zone {words}")
        assert done.status == 0, done.err
        assert line is None or line in machine.document.text.splitlines()
    assert "spare" not in machine.document.text
    assert [one.split()[0] for one in fw("zones").out.splitlines()] == ["zone", "lan", "outside", "dmz"]


@pytest.mark.parametrize("words", ["delete lan ''", "delete lan ,", "add lan ''", "add dmz ' '"])
def test_an_empty_word_is_no_interface(fw: Fw, machine: Machine, words: str) -> None:
    machine.document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
    done = fw(f"zone {words}")
    assert done.status == 2 and done.err.startswith("fw: which interfaces?")
    assert machine.document.text == POLICY


def test_a_zone_that_is_used_stays(fw: Fw, machine: Machine) -> None:
    machine.document = place(parse_policy(POLICY), POLICY, True, None, abi.Limits.RULE_COUNTERS)
    done = fw("zone delete outside")
    assert done.status == 2
    assert done.err == (
        "fw: zone 'outside' is used by line 6: allow forward on lan via outside\n"
        "hint: change that first: without the zone 'outside' would be an interface there\n"
    )
    assert machine.document.text == POLICY
