# SPDX-License-Identifier: MIT
"""Words that are no command: one line that says so, one that helps, exit 2."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Fw

WRONG = [
    ("stauts", "there is no 'fw stauts'", "did you mean 'fw status'?"),
    ("rool list", "there is no 'fw rool'", "'fw --help' lists what there is"),
    ("rule ad allow in", "there is no 'fw rule ad'", "did you mean 'fw rule add'?"),
    ("flow lst", "there is no 'fw flow lst'", "did you mean 'fw flow list'?"),
    ("flow xyzzy", "there is no 'fw flow xyzzy'", "'fw flow --help' lists what there is"),
    ("xyzzy", "there is no 'fw xyzzy'", "'fw --help' lists what there is"),
    ("allow in tcp to port 22", "there is no 'fw allow'", "did you mean 'fw rule add allow'?"),
    ("enable", "there is no 'fw enable'", "did you mean 'fw load'?"),
    ("help", "there is no 'fw help'", "did you mean 'fw --help'?"),
    ("status --jsn", "no such option: --jsn", "did you mean --json?"),
    ("status extra", "got unexpected extra argument(s) (extra)", "'fw status --help' shows what it takes"),
    ("rule add", "missing argument 'RULE'", "'fw rule add --help' shows what it takes"),
    (
        "rule insert x allow in",
        "invalid value for 'ID': 'x' is not a valid int",
        "'fw rule insert --help' shows",
    ),
    ("load --attach xdp", "there is no way to attach 'xdp'", "it is one of: auto, tcx, clsact"),
    ("load eth0 --attach clsakt", "there is no way to attach 'clsakt'", "did you mean 'clsact'?"),
    ("unload", "which interface?", "'fw unload IF', or 'fw unload --all' for everything"),
    ("unload --all eth0", "--all takes no names of interfaces", None),
    ("mode enfroce", "there is no mode 'enfroce'", "did you mean 'enforce'?"),
    ("default inn drop", "there is no scope 'inn'", "did you mean 'in'?"),
    ("option timeout.upd", "there is no option 'timeout.upd'", "did you mean 'timeout.udp'?"),
    ("option timeout.udp 10s", "'timeout.udp' cannot be 10s", None),
    ("option timeout.udp 200s --unset", "--unset takes no value", None),
    ("flow delete", "which flows?", "give --address or another filter, or 'fw flow flush' for all"),
    ("flow delete --state establish", "there is no state 'establish'", "did you mean 'established'?"),
    ("flow list --proto tpc", "there is no protocol 'tpc'", "did you mean 'tcp'?"),
    ("flow delete --proto ٦", "there is no protocol '٦'", "it is one of: tcp"),
    ("flow delete --proto tpc", "there is no protocol 'tpc'", "did you mean 'tcp'?"),
    ("flow delete --port 70000", "there is no port 70000", "ports go from 0 to 65535"),
    ("log --reason default_drp", "there is no reason 'default_drp'", "did you mean 'default_drop'?"),
    ("rule list --json extra", "got unexpected extra argument(s) (extra)", "'fw rule list --help' shows"),
    ("--json load eth0", "'fw load' prints no data, so there is no --json for it", None),
    ("load eth0 --json", "no such option: --json", "'fw load --help' shows what it takes"),
    (
        "--netns no-such-namespace status",
        "there is no network namespace 'no-such-namespace'",
        "'ip netns' lists none",
    ),
]


@pytest.mark.parametrize(("line", "message", "hint"), WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_words(
    fw: Fw, nothing_loaded: object, monkeypatch: pytest.MonkeyPatch, line: str, message: str, hint: str | None
) -> None:
    monkeypatch.setattr("firewall.paths.netns_names", list)
    done = fw(line)
    assert (done.status, done.out) == (2, ""), done
    said, *hints = done.err.splitlines()
    assert said.startswith(f"fw: {message}"), done
    assert bool(hints) is (hint is not None) and len(hints) <= 1, done
    if hint is not None:
        assert hints[0].startswith(f"hint: {hint}"), done


def test_digits_of_other_scripts_are_no_id(fw: Fw, nothing_loaded: object) -> None:
    done = fw("rule delete ²")
    assert done.status == 2
    assert done.err.startswith("fw: expected a rule ('allow', 'drop' or 'reject'), found '²'")
    assert "port" not in done.err


LATER = (
    "confirm rollback history explain why trace test top export".split()
)  # fmt: skip


@pytest.mark.parametrize("word", LATER)
def test_words_of_later_versions(fw: Fw, word: str) -> None:
    done = fw(f"{word} list")
    assert (done.status, done.out) == (2, "")
    assert done.err == f"fw: 'fw {word}' is not in this version\nhint: 'fw --help' lists what is\n"


RULES = [
    ("rule add allow inn", "fw: expected a scope", "allow inn"),
    ("rule add allow in 22", "fw: expected a clause", "did you mean 'allow in tcp to port 22'?"),
    ("rule add allow in tcp to port 22 established", "fw: there is no 'established'", "^^^^^^^^^^^"),
    ("rule delete allow in tcp port 22", "fw: expected a clause", "^^^^"),
    ("default in dorp", "fw: expected 'allow', 'drop' or 'reject'", "dorp"),
]


@pytest.mark.parametrize(("line", "message", "shown"), RULES, ids=[line for line, _, _ in RULES])
def test_rules_that_do_not_parse_have_a_caret(
    fw: Fw, nothing_loaded: object, line: str, message: str, shown: str
) -> None:
    done = fw(line)
    assert (done.status, done.out) == (2, ""), done
    assert done.err.startswith(message) and shown in done.err and "^" in done.err, done


@pytest.mark.parametrize(
    "line", ["status", "--json status", "status --json", "", "flow list", "flows --json", "log"]
)
def test_nothing_is_loaded(fw: Fw, nothing_loaded: object, line: str) -> None:
    done = fw(line)
    assert (done.status, done.out) == (3, ""), done
    assert done.err.splitlines() == [
        "fw: nothing is loaded in this network namespace",
        "hint: 'fw load IF' protects an interface",
    ]
