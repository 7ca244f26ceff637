# SPDX-License-Identifier: MIT
"""Verbs: what they ask of the engine, and how they say what was done."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from time import time

import pytest

from tests.cli.conftest import Fw
from tests.cli.machine import POLICY, Machine


def test_add(fw: Fw, machine: Machine) -> None:
    done = fw('rule add allow in tcp to port 443 comment "the web"')
    assert done.out == '+ rule 6: allow in tcp to port 443 comment "the web"\n'
    assert done.err == f"in force as generation 4, and saved in {machine.file}\n"
    assert machine.document.text == POLICY + 'allow in tcp to port 443 comment "the web"\n'


@pytest.mark.parametrize(
    "line",
    [
        "rule add allow in udp to port 53 --yes --runtime",
        "rule add --yes --runtime allow in udp to port 53",
        "rule add allow --runtime in udp --yes to port 53",
        "rule add --yes --runtime 'allow in udp to port 53'",
    ],
)
def test_options_stand_anywhere_among_the_words(fw: Fw, machine: Machine, line: str) -> None:
    done = fw(line)
    assert done.out == "+ rule 6: allow in udp to port 53\n"
    assert done.err == "in force as generation 4, but not saved: the next 'fw apply' or boot forgets it\n"
    assert machine.done == ["apply runtime yes"]


def test_lists_and_texts_survive_the_shell(fw: Fw, machine: Machine) -> None:
    assert fw("rule add allow in tcp to port 80, 443").out == "+ rule 6: allow in tcp to port 80, 443\n"
    assert fw("rule add allow in tcp to port 81,444").out == "+ rule 7: allow in tcp to port 81, 444\n"
    assert fw("rule add drop in log 'from # here'").out == '+ rule 8: drop in log "from # here"\n'
    assert fw("rule add allow in tcp to port ssh from not 192.0.2.0/24, 2001:db8::/32").status == 0


def test_rules_that_end(fw: Fw, machine: Machine) -> None:
    """--for saves the moment, in whole seconds."""
    before = time()
    done = fw("rule add allow in tcp to port 8081 --for 2h")
    after = time()
    ((text, moment),) = re.findall(r"^\+ rule 6: (.*) until (\S+)\n$", done.out)
    assert text == "allow in tcp to port 8081"
    end = datetime.fromisoformat(moment).timestamp()
    assert before + 7200 <= end <= after + 7201
    assert f"{text} until {moment}" in machine.document.text
    assert " until " in fw("rule insert 1 --for 90s drop in").out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rule add allow in --for 2", "--for takes a time with its unit, not '2'"),
        ("rule add allow in --for 0s", "--for takes a time with its unit, not '0s'"),
        ("rule add allow in --for ''", "--for takes a time with its unit, not ''"),
        ("rule add allow in until 2099-01-01T00:00Z --for 2h", "the rule says itself when it ends"),
        ("rule insert 1 allow in --for 99999999d", "--for 99999999d is too long"),
    ],
)
def test_rules_that_cannot_end_so(fw: Fw, machine: Machine, line: str, said: str) -> None:
    done = fw(line)
    assert (done.status, done.err.splitlines()[0]) == (2, f"fw: {said}")
    assert machine.done == []


def test_insert_and_delete(fw: Fw, machine: Machine) -> None:
    assert fw("rule insert 3 drop in from 203.0.113.9").out == "+ rule 6: drop in from 203.0.113.9\n"
    assert [rule.id for rule in machine.document.rules] == [1, 2, 6, 3, 4, 5]
    assert fw("rule delete 2").out == "- rule 2: allow in tcp to port 8080\n"
    assert fw("rule delete drop in from 203.0.113.9").out == "- rule 6: drop in from 203.0.113.9\n"
    assert [rule.id for rule in machine.document.rules] == [1, 3, 4, 5]


def test_interfaces_that_come_and_go_with_a_change(fw: Fw, machine: Machine) -> None:
    """One that was made anew under its name is of both, and is told once."""
    machine.attached, machine.detached = ("eth0", "wg0"), ("eth0", "eth9")
    assert fw("rule delete 2").err.splitlines()[:-1] == [
        "eth0 is protected again",
        "wg0 is protected now",
        "eth9 is not protected any more",
    ]


def test_rules_that_are_not_there(fw: Fw, machine: Machine) -> None:
    done = fw("rule delete 9")
    assert (done.status, done.err) == (2, "fw: there is no rule 9\nhint: there are 1, 2, 3, 4, 5\n")
    assert fw("rule insert 9 drop in").status == 2
    assert fw("rule delete drop in").status == 2
    assert machine.done == []


def test_diff(fw: Fw, machine: Machine, tmp_path: Path) -> None:
    """A rule that moves keeps its id, and shows nevertheless."""
    file = tmp_path / "new.fw"
    lines = POLICY.splitlines(keepends=True)
    rules = [i for i, line in enumerate(lines) if line.startswith(("allow", "drop", "reject"))]
    first, second = rules[:2]
    lines[first], lines[second] = lines[second], lines[first]
    file.write_text("".join(lines))
    done = fw(f"apply {file} --diff")
    assert (done.status, done.err) == (
        10, "fw: this would change the policy\nhint: leave out --diff to do it\n",
    )  # fmt: skip
    shown = done.out.splitlines()
    assert shown[:2] == ["--- running", "+++ wanted"]
    assert [line[1:] for line in shown[3:] if line[0] == "-"] == [
        line[1:] for line in shown[3:] if line[0] == "+"
    ]
    assert machine.done == ["apply dry"]


def test_diff_of_remarks_and_of_nothing(fw: Fw, machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "same.fw"
    file.write_text("# a remark\n" + POLICY)
    done = fw(f"apply {file} --diff")
    assert (done.status, done.out) == (10, "") and done.err.startswith("only how it is written would change")
    file.write_text(POLICY)
    done = fw(f"apply {file} --diff")
    assert (done.status, done.out, done.err) == (0, "", "nothing would change\n")


def test_dry_run(fw: Fw, machine: Machine) -> None:
    done = fw("rule delete 2 --dry-run")
    assert (done.status, done.out) == (10, "- rule 2: allow in tcp to port 8080\n")
    assert done.err == "fw: this would change the policy\nhint: leave out --dry-run to do it\n"
    assert machine.document.text == POLICY
    done = fw("default in drop --dry-run")
    assert (done.status, done.out, done.err) == (0, "", "nothing would change\n")


def test_nothing_loaded(fw: Fw, machine: Machine) -> None:
    machine.loaded = False
    done = fw("rule add allow in udp to port 53")
    assert (
        done.err
        == f"saved in {machine.file}; nothing is loaded, so it takes effect with the next 'fw load'\n"
    )


def test_of_many_warnings_the_first_are_shown(fw: Fw, machine: Machine) -> None:
    machine.warnings = tuple(f"rule {number} never decides" for number in range(1, 1025))
    done = fw("rule add allow in tcp to port 25")
    warned = [line for line in done.err.splitlines() if line.startswith(("warning", "and"))]
    assert warned[19:] == ["warning: rule 20 never decides", "and 1,004 more warnings like these"]


def test_warnings(fw: Fw, machine: Machine) -> None:
    machine.warnings = ("rule 6 never decides",)
    done = fw("rule add allow in tcp to port 22")
    assert done.status == 0 and done.err.startswith("warning: rule 6 never decides\n")


def test_apply(fw: Fw, machine: Machine) -> None:
    assert fw("apply").err == "nothing changed; generation 4 is in force\n"
    machine.file.write_text(POLICY + "allow in udp to port 53\n")
    assert fw("apply").out == "+ rule 6: allow in udp to port 53\n"
    assert fw(f"apply {machine.file} --dry-run").err == "nothing would change\n"


def test_show(fw: Fw, machine: Machine) -> None:
    assert fw("show").out == POLICY
    assert fw("show --saved").out == POLICY


def test_check(fw: Fw, machine: Machine) -> None:
    done = fw("check")
    assert (done.status, done.out, done.err) == (0, "", f"{machine.file} is a policy: 5 rules, 0 warnings\n")
    machine.file.write_text("allow in\nallow in tcp\n")
    done = fw("check")
    assert done.status == 0 and done.err.startswith(f"warning: {machine.file}:2: ")
    assert len(fw("check --json").json["warnings"]) == 1


def test_check_looks_at_this_machine(fw: Fw, machine: Machine) -> None:
    machine.file.write_text("protect eth0\nallow in on etj0\n")
    done = fw("check")
    assert (done.status, done.out) == (0, "")
    assert "rules.fw:2: no interface is called 'etj0' now; did you mean 'eth0'?\n" in done.err
    assert fw("check --json").json["warnings"][0]["line"] == 2


def test_check_proves_expectations(fw: Fw, machine: Machine) -> None:
    machine.file.write_text("protect eth0\nallow in tcp to port 22\nexpect drop in tcp to port 23\n")
    assert fw("check").status == 0
    machine.file.write_text("protect eth0\nallow in tcp\nexpect drop in tcp to port 23\nexpect drop in udp\n")
    done = fw("check")
    assert (done.status, done.out) == (9, "")
    assert done.err.splitlines()[0] == (
        f"{machine.file}:3:1: this does not hold: "
        "'in on eth0 tcp from 192.0.2.2 port 40000 to 198.51.100.2 port 23' is allowed"
    )
    listed = fw("check --json")
    assert listed.status == 9
    assert [problem["line"] for problem in listed.json["problems"]] == [3]


def test_mode(fw: Fw, machine: Machine) -> None:
    assert fw("mode").out == "enforce\n"
    assert fw("mode observe").err == "mode observe: nothing is dropped\n"
    assert fw("mode --json").json == {"schema": 1, "mode": "observe"}
    assert fw("mode observe").err == "mode observe, as before: nothing is dropped\n"


def test_default(fw: Fw, machine: Machine) -> None:
    assert fw("default").out == "default in drop\ndefault out allow\ndefault forward drop\n"
    assert fw("default out").out == "default out allow\n"
    assert fw("default out reject").status == 0
    assert fw("default --json").json["defaults"] == {"in": "drop", "out": "reject", "forward": "drop"}


def test_option(fw: Fw, machine: Machine) -> None:
    assert fw("option builtin.lldp").out == "off\n"
    assert fw("option timeout.udp 200s").status == 0
    assert fw("option timeout.udp").out == "200s\n"
    assert "timeout.udp" in machine.document.text
    assert fw("option timeout.udp --unset").status == 0
    assert machine.document.text == POLICY
    assert fw("option timeout.udp --json").json["value"] == "180s"


@pytest.mark.parametrize(
    "line", ["mode observe", "default in drop", "option timeout.udp 200s", "option timeout.udp --unset"]
)
def test_a_change_has_no_json(fw: Fw, machine: Machine, line: str) -> None:
    """Nor with the words that show something by themselves."""
    for words in (f"{line} --json", f"--json {line}"):
        done = fw(words)
        assert (done.status, done.out) == (2, "")
        assert done.err == f"fw: 'fw {line}' prints no data, so there is no --json for it\n"
    assert machine.done == [] and machine.mode == "enforce"


def test_options(fw: Fw, machine: Machine) -> None:
    listed = fw("option").out.splitlines()
    assert listed[0].split() == ["option", "value", "default", "meaning"]
    (lldp,) = [line for line in listed if line.startswith("builtin.lldp")]
    assert lldp.split()[1:3] == ["off", "on"]
    assert fw("options").out == fw("option").out
    by_name = {option["name"]: option for option in fw("options --json").json["options"]}
    assert by_name["flows.max"]["value"] == "65536"


def test_load(fw: Fw, machine: Machine) -> None:
    done = fw("load eth0 --observe --attach clsact --yes")
    assert machine.done == ["load eth0 clsact observe yes"]
    assert (done.status, done.out) == (0, "")
    assert done.err == f"wrote a policy to begin with, {machine.file}:\n\n" + "".join(
        f"    {line}".rstrip() + "\n" for line in POLICY.splitlines()
    ) + (
        "\n"
        "protected      eth0 (tcx), wg0 (tcx)\n"
        "not protected  docker0\n"
        "open           allow in tcp to port 22\n"
        "kept           14 connections; in the next 30s others are taken over as they show themselves\n"
        "mode           observe: nothing is dropped until 'fw mode enforce'\n"
        "at boot        not loaded ('systemctl enable fw')\n"
        "undo           fw unload --all\n"
    )


def test_unload(fw: Fw, machine: Machine) -> None:
    assert fw("unload eth0 wg0").err == "eth0 is not filtered any more\nwg0 is not filtered any more\n"
    done = fw("unload --all")
    assert done.err.splitlines()[-1] == "nothing of fw is left in the kernel"
    assert machine.done == ["unload eth0 wg0", "unload all"]


def test_refresh(fw: Fw, machine: Machine) -> None:
    assert fw("refresh").err == "no rule asks for the time, a user or a unit\n"
    fw("rule add allow in tcp to port 8081 --for 2h")
    assert fw("refresh").err == "in force as generation 4, with all times counted from now\n"


def test_upgrade(fw: Fw, machine: Machine) -> None:
    assert fw("upgrade").err == "upgraded on eth0, wg0; 1,200 flows kept\n"
