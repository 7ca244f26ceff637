# SPDX-License-Identifier: MIT
"""docs/rules.md tells the truth: its examples parse or are refused as it says, its tables are the code's."""

import re
from pathlib import Path
from typing import get_args

import pytest

from firewall.errors import ExpectationFailed
from firewall.expect import Expectation
from firewall.importers import iptables
from firewall.include import Include, include_lines
from firewall.lang import PolicyError
from firewall.options import OPTIONS, SWITCH, TIME
from firewall.policy import Default, Protect, Setting, Value, parse_policy
from firewall.rule import Rule
from firewall.services import ICMP6_TYPES, ICMP_TYPES, PROTOCOLS, SERVICES
from firewall.setdef import SetDef
from firewall.verify import verify
from firewall.words import ACTIONS, SCOPES, TRANSLATION
from firewall.zones import Zone

TEXT = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
INTRODUCTION = "".join(
    line[4:] + "\n" for line in TEXT.split("##")[0].splitlines() if line.startswith("    ")
)


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


GOOD = [INTRODUCTION, *blocks("fw")]
STATEMENTS = {
    "protect": Protect,
    "zone": Zone,
    "default": Default,
    "option": Setting,
    "expect": Expectation,
    "include": Include,
    "set": SetDef,
}
REFUSED = [line for block in blocks("fw-refused") for line in block.splitlines()]


@pytest.mark.parametrize("text", GOOD)
def test_examples_parse_without_a_warning(text: str) -> None:
    assert text
    warned = [warning for warning in verify(parse_policy(text)) if "never decides" not in warning.message]
    assert not warned


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_said_to_be_refused_is(line: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(line)


def test_rules_are_written_as_they_print() -> None:
    for rule in parse_policy(INTRODUCTION).rules:
        assert str(rule) in TEXT


def test_the_shown_error_is_what_fw_says() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("\n\nallow in 22\n")
    shown = "".join(f"    {line}\n" for line in str(caught.value).splitlines())
    assert shown in TEXT


def test_the_shown_counterexample_is_what_fw_says() -> None:
    (example,) = [text for text in GOOD if "expect" in text]
    with pytest.raises(ExpectationFailed) as caught:
        verify(parse_policy(f"{example}expect allow in on br-lan tcp to port 22\n"))
    shown = "".join(f"    {line}\n" for line in str(caught.value).splitlines())
    assert shown in TEXT


def test_the_shown_import_is_what_fw_makes() -> None:
    section = TEXT.split("## Rules of other firewalls")[1]
    original, made = re.findall(r"((?:^    .+\n)+)", section, re.MULTILINE)[:2]
    carried = iptables.carry(re.sub("^    ", "", original, flags=re.MULTILINE))
    assert "".join(f"    {line}\n" for line in carried.text().splitlines()) == made
    assert not carried.lost


def test_each_clause_has_an_example() -> None:
    examples = "\n".join(GOOD)
    rules = parse_policy(examples).rules
    for field in Rule._fields:
        assert any(getattr(rule, field) != Rule("", ())[Rule._fields.index(field)] for rule in rules), field
    for word in ("not", "-", "+"):
        assert word in examples


def test_every_kind_of_statement_is_known_here() -> None:
    assert {Rule, *STATEMENTS.values()} == {*get_args(Value)}


@pytest.mark.parametrize("word", STATEMENTS)
def test_each_statement_has_an_example(word: str) -> None:
    """Where the statement is explained, and before anything that is refused."""
    section = TEXT.split(f"### {word}\n")[1].split("\n### ")[0].split("```fw-refused")[0]
    if word == "include":  # of which there are no files here
        shown = re.search(r"(?:^    .+\n)+", section, re.MULTILINE)
        assert shown and include_lines(shown[0]) == [*range(1, shown[0].count("\n") + 1)]
        return
    (example,) = re.findall(r"^```fw\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert any(isinstance(one.value, STATEMENTS[word]) for one in parse_policy(example).statements)


def test_each_part_of_a_statement_has_an_example() -> None:
    policies = [parse_policy(text) for text in GOOD]
    values = [one.value for policy in policies for one in policy.statements]
    sets = [value for value in values if isinstance(value, SetDef)]
    for field, unsaid in SetDef._field_defaults.items():
        assert any(getattr(one, field) != unsaid for one in sets), field
    zones = [value for value in values if isinstance(value, Zone)]
    assert {zone.names.negated for zone in zones} == {False, True}
    defaults = [value for value in values if isinstance(value, Default)]
    assert {one.scope for one in defaults} == set(SCOPES)
    assert {one.action for one in defaults} == set(ACTIONS)


def test_every_refused_word_is_listed() -> None:
    reserved = TEXT.split("## Not yet")[1]
    for word in TRANSLATION - {"snat", "dnat"}:
        assert word in reserved, word


def test_options() -> None:
    rows = re.findall(r"^\| `([a-z.0-9-]+)` \| (`\w+` \| .*) \|$", TEXT, re.MULTILINE)
    expected = []
    for option in OPTIONS.values():
        unit = "s" if option.kind == TIME else ""
        words = ("off", "on") if option.kind == SWITCH else option.words
        limits = (words[0], words[-1]) if words else (f"{option.minimum}{unit}", f"{option.maximum}{unit}")
        expected.append((option.name, f"`{option.default}` | {limits[0]} | {limits[1]} | {option.help}"))
    assert rows == expected


def test_services() -> None:
    table = TEXT.split("they print as numbers.")[1].split("###")[0]
    listed = {
        name: int(port)
        for port, names in re.findall(r"(\d+) \| ((?:`[a-z0-9-]+`(?:, )?)+)", table)
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert listed == SERVICES


def test_icmp_types() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\d*) \| (\d*) \|$", TEXT, re.MULTILINE)
    assert {name: int(number) for name, number, _ in rows if number} == ICMP_TYPES
    assert {name: int(number) for name, _, number in rows if number} == ICMP6_TYPES


def test_protocols() -> None:
    assert all(f"`{name}`" in TEXT for name in PROTOCOLS)
