# SPDX-License-Identifier: MIT
"""Policies of several files: read as one, kept whole, written as one, and edited in their own file alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from firewall import abi
from firewall.change import Wishes, save_only
from firewall.document import Document, place
from firewall.engine import Source
from firewall.errors import FwError, UsageError
from firewall.include import MAX_FILES, Include, read_included
from firewall.lang import PolicyError
from firewall.policy import parse_policy
from firewall.policyfile import add_protect, add_rule, delete_rule, insert_rule, remove_protect
from firewall.rule import Rule
from firewall.saved import demand_saveable, is_saved, read_saved
from firewall.written import Written

TOP = """# the top
protect eth0
allow in tcp to port 22
include conf.d/*.fw   # the rest
drop in udp
"""
COUNTERS = int(abi.Limits.RULE_COUNTERS)


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved policy of four files."""
    path = tmp_path / "rules.fw"
    path.write_text(TOP)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "20-b.fw").write_text("allow in on lan tcp to port 443\ninclude ../more.fw\n")
    (tmp_path / "conf.d" / "10-a.fw").write_text(
        "zone lan = eth0\nprotect lan, eth1\nallow in tcp to port 80"
    )
    (tmp_path / "conf.d" / "other.txt").write_text("allow in\n")
    (tmp_path / "conf.d" / ".hidden.fw").write_text("allow in\n")
    (tmp_path / "more.fw").write_text("allow in esp\n")
    monkeypatch.setattr("firewall.saved.policy_path", lambda: path)
    return path


def read() -> Written:
    written = read_saved()
    assert written is not None
    return written


RULES = [
    "allow in tcp to port 22",
    "allow in tcp to port 80",
    "allow in on lan tcp to port 443",
    "allow in esp",
]


def test_files_stand_where_they_are_included(saved: Path) -> None:
    policy = parse_policy(read(), str(saved))
    assert [str(rule) for rule in policy.rules] == [*RULES, "drop in udp"]
    directory = saved.parent
    ours, a, b, more = (
        "",
        *(str(directory / name) for name in ("conf.d/10-a.fw", "conf.d/20-b.fw", "more.fw")),
    )
    places = list(zip(policy.rule_files, policy.rule_lines, strict=True))
    assert places == [(ours, 3), (a, 3), (b, 1), (more, 1), (ours, 5)]
    assert policy.protects("eth1")


def test_one_text_says_the_same(saved: Path) -> None:
    written = read()
    flat = written.flat()
    assert parse_policy(flat) == parse_policy(written)
    assert (
        flat
        == """# the top
protect eth0
allow in tcp to port 22
# include conf.d/*.fw   # the rest
# begin conf.d/10-a.fw
zone lan = eth0
protect lan, eth1
allow in tcp to port 80
# end conf.d/10-a.fw
# begin conf.d/20-b.fw
allow in on lan tcp to port 443
# include ../more.fw
# begin ../more.fw
allow in esp
# end ../more.fw
# end conf.d/20-b.fw
drop in udp
"""
    )
    assert is_saved(Written(flat)), "what fw show prints is no change"


def test_what_runs_needs_no_file(saved: Path) -> None:
    written = read()
    document = place(parse_policy(written, str(saved)), written, True, None, COUNTERS)
    saved.unlink()
    again = Document.decode(document.encode() + b"\0\0")
    assert again == document
    assert parse_policy(again.written, str(saved)) == parse_policy(written, str(saved))


@pytest.mark.parametrize("name", ["conf.d/10-a.fw", "more.fw", "rules.fw"])
def test_a_change_of_any_file_is_a_difference(saved: Path, name: str) -> None:
    written = read()
    assert is_saved(written)
    with open(saved.parent / name, "a") as file:
        file.write("\n# more\n")
    assert not is_saved(written)
    assert is_saved(read())


def test_a_new_file_is_a_difference(saved: Path) -> None:
    written = read()
    (saved.parent / "conf.d" / "30-c.fw").write_text("")
    assert not is_saved(written)


@pytest.mark.parametrize("breakage", ["missing", "directory", "unreadable text"])
def test_a_broken_include_is_an_error_and_a_difference(saved: Path, breakage: str) -> None:
    written = read()
    more = saved.parent / "more.fw"
    more.unlink()
    if breakage == "directory":
        more.mkdir()
    elif breakage == "unreadable text":
        more.write_bytes(b"\xff")
    assert not is_saved(written)
    with pytest.raises(PolicyError, match=r"more\.fw"):
        read()


def test_rules_of_included_files_are_not_edited(saved: Path) -> None:
    written = read()
    document = place(parse_policy(written, str(saved)), written, True, None, COUNTERS)
    source = Source(document.text, document.rules)
    assert source.line_of(5) == source.line_like(Rule.parse("drop in udp")) == 5
    said = rf"rule 3 is in a file that the policy includes: {saved.parent}/conf\.d/20-b\.fw, line 1"
    with pytest.raises(UsageError, match=said):
        source.line_of(3)
    with pytest.raises(UsageError, match=said) as caught:
        source.line_like(Rule.parse(RULES[2]))
    assert caught.value.hint is not None and "edit that file" in caught.value.hint


def test_of_equal_rules_the_own_one_is_edited(saved: Path) -> None:
    """Whichever comes first."""
    rule = Rule.parse(RULES[2])
    saved.write_text(TOP + f"{rule}\n")
    written = read()
    source = Source("", place(parse_policy(written, str(saved)), written, True, None, COUNTERS).rules)
    assert source.line_like(rule) == len(TOP.splitlines()) + 1
    (left,) = source.like(rule)[1:]
    assert left.file == f"{saved.parent}/conf.d/20-b.fw"


def test_edits_of_the_own_file(saved: Path) -> None:
    rule = Rule.parse("allow in udp to port 53")
    assert add_rule(TOP, rule) == TOP + "allow in udp to port 53\n"
    assert add_rule("allow in tcp\ninclude x.fw\n", rule).splitlines()[2] == str(rule)
    assert insert_rule(TOP, 5, rule).splitlines()[4] == str(rule)
    assert "port 22" not in delete_rule(TOP, 3)


def test_what_included_files_protect(saved: Path) -> None:
    text, included = read()
    assert add_protect(text, "eth1", included) == text
    assert "protect eth2\n" in add_protect(text, "eth2", included)
    with pytest.raises(
        UsageError, match=r"'eth1' is protected by line 2 of conf\.d/10-a\.fw: protect lan, eth1"
    ):
        remove_protect(text, "eth1", included)


def test_a_policy_is_saved_only_where_it_means_the_same(saved: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "more.fw").write_text("allow in ah\n")
    for text, complaint in (
        ("include more.fw\n", "would include other files"),
        (f"include {elsewhere}/more.fw\n", None),
        ("include none/*.fw\n", None),
    ):
        written = read_included(text, str(elsewhere / "rules.fw"))
        if complaint is None:
            demand_saveable(written)
        else:
            with pytest.raises(FwError, match=complaint):
                demand_saveable(written)
    (elsewhere / "only-there.fw").write_text("allow in\n")
    only_there = read_included("include only-there.fw\n", str(elsewhere / "rules.fw"))
    for has_runtime in (False, True):
        with pytest.raises(FwError, match="could not be read again") as refused:
            demand_saveable(only_there, has_runtime)
        assert ("--runtime" in (refused.value.hint or "")) == has_runtime


def test_a_broken_policy_is_replaced(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.change.policy_path", lambda: saved)
    (saved.parent / "more.fw").unlink()
    done = save_only(Written("allow in\n"), Wishes())
    assert done.changed and saved.read_text() == "allow in\n"
    assert not save_only(Written("allow in\n"), Wishes()).changed


def test_a_text_alone_includes_nothing() -> None:
    with pytest.raises(PolicyError, match=r"conf\.d/\*\.fw cannot be included here"):
        parse_policy("include conf.d/*.fw\n")
    assert parse_policy("include x.fw\nallow in\n", alone=True).rules == (Rule.parse("allow in"),)


def test_too_many_files(tmp_path: Path) -> None:
    (tmp_path / "empty.fw").touch()
    text = "include empty.fw\n" * (MAX_FILES + 1)
    with pytest.raises(PolicyError, match="the policy includes too much"):
        read_included(text, str(tmp_path / "rules.fw"))
    assert (
        len(read_included("include empty.fw\n" * MAX_FILES, str(tmp_path / "rules.fw")).included) == MAX_FILES
    )


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PolicyError, match="pipe is not a file"):
        read_included("include pipe\n", str(tmp_path / "rules.fw"))


def test_paths_with_blanks_are_quoted() -> None:
    policy = parse_policy('include "my rules.fw"\ninclude plain.fw\n', alone=True)
    values = [statement.value for statement in policy.statements]
    assert values == [Include("my rules.fw"), Include("plain.fw")]
    assert [str(value) for value in values] == ['include "my rules.fw"', "include plain.fw"]


@pytest.mark.parametrize("name", [b"b\nallow in.fw", b"caf\xe9.fw"])
def test_a_file_whose_name_cannot_be_shown_is_refused(saved: Path, name: bytes) -> None:
    """Its name would be a line of the policy that is shown, or could not be written at all."""
    with open(os.path.join(os.fsencode(saved.parent / "conf.d"), name), "w") as file:
        file.write("allow in\n")
    with pytest.raises(PolicyError, match="has characters that cannot be seen"):
        read_saved()
