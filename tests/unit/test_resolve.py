# SPDX-License-Identifier: MIT
"""Users and units of rules as numbers of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from firewall import features, resolve
from firewall.errors import NotPermitted
from firewall.policy import parse_policy
from firewall.resolve import Owners, cgroups_of, find_owners, names_owners
from firewall.rule import Rule
from firewall.surroundings import odd_here, unknown_here


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of cgroups, found without the kernel's leave."""
    for path in (
        "system.slice/web.service",
        "system.slice/system-db.slice/db@1.service",
        "user.slice/user-7.slice/user@7.service/app.slice/mine.service",
        "user.slice/user-7.slice/session-1.scope",
        "init.scope",
    ):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "file.service").write_text("")

    def refused() -> bool:
        raise NotPermitted("not here")

    monkeypatch.setattr(features, "cgroups", refused)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"proc /proc proc rw 0 0\ncgroup2 {tmp_path} cgroup2 rw 0 0\n")
    monkeypatch.setattr(resolve, "_MOUNTS", mounts)
    return tmp_path


def rules(*texts: str) -> list[Rule]:
    return [Rule.parse(text) for text in texts]


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        ("web.service", "system.slice/web.service"),
        ("db@1.service", "system.slice/system-db.slice/db@1.service"),
        ("user-7.slice", "user.slice/user-7.slice"),
        ("session-1.scope", "user.slice/user-7.slice/session-1.scope"),
        ("init.scope", "init.scope"),
    ],
)
def test_units_are_found_by_the_inode_of_their_cgroup(cgroups: Path, unit: str, path: str) -> None:
    owners = find_owners(rules(f"allow out unit {unit}", "drop out unit none.service"))
    assert owners == Owners({}, {unit: (cgroups / path).stat().st_ino})


@pytest.mark.usefixtures("cgroups")
@pytest.mark.parametrize("unit", ["mine.service", "file.service", "web.slice"])
def test_units_of_users_and_files_are_not_units(unit: str) -> None:
    assert find_owners(rules(f"allow out unit {unit}")).cgroups == {}


def test_a_kernel_without_cgroups_of_sockets_knows_no_unit(
    cgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "cgroups", lambda: False)
    assert find_owners(rules("drop out unit web.service")).cgroups == {}
    assert cgroups_of({"web.service"}, cgroups) and not cgroups_of({"web.service"}, cgroups / "gone")


def test_users() -> None:
    owners = find_owners(rules("allow out user root", "allow out user 4711", "drop out user no.such.user"))
    assert owners.uids == {"root": 0, "4711": 4711}


def test_nothing_is_asked_for_rules_without_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "cgroups", None)
    plain = rules("allow in", "drop out tcp")
    assert find_owners(plain) == Owners() and not names_owners(plain)
    assert names_owners([*plain, *rules("drop out user 1")])


@pytest.mark.usefixtures("cgroups")
def test_what_is_not_known_is_warned_of() -> None:
    policy = parse_policy(
        "allow out user no.such.user\ndrop out user root unit web.service\nreject out user 5 unit no.slice\n"
    )
    warned = [(warning.line, warning.message) for warning in unknown_here(policy)]
    again = "until the policy is applied when it is, the rule"
    assert warned == [
        (1, f"user 'no.such.user' is not known here now: {again} allows nothing"),
        (3, f"unit 'no.slice' is not known here now: {again} rejects whoever it is"),
    ]
    assert [(warning.line, warning.message) for warning in odd_here(policy)] == warned
