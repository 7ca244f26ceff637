# SPDX-License-Identifier: MIT
"""`fw show | fw apply - --dry-run` finds nothing to change, whichever policy of tests/golden is in force.

client eth0 192.0.2.2 ── eth0 192.0.2.1 server, where fw is and where wan0, eth1 and wg0 are too
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from firewall.include import read_included
from firewall.lang import decode_policy
from firewall.policy import Policy, parse_policy
from tests.lab.attachment import protect
from tests.lab.host import FW, Done, Host
from tests.lab.lab import PairLab

GOLDEN = Path(__file__).parents[1] / "golden"
POLICIES = sorted([*GOLDEN.glob("*.fw"), *(GOLDEN / "warned").glob("*.fw")])
WOULD_CHANGE = 10
# Whoever leaves `protect` out opens the only interface that there was.
YES = "--yes"


@pytest.fixture(scope="module")
def server() -> Iterator[Host]:
    """One for all policies: each takes the place of the one before, whatever that was."""
    with PairLab() as pair:
        pair.server.ip(
            "link add wan0 type veth peer name eth1",
            "link add wg0 type veth peer name veth-far",
            *(f"link set {name} up" for name in ("wan0", "eth1", "wg0", "veth-far")),
        )
        protect(pair.server, "default in drop\n", "eth0")
        yield pair.server


def put_in_force(server: Host, path: Path) -> Policy:
    """Save a policy byte for byte, with what it includes and the files of its sets beside it, and apply it."""
    home = server.policy_file.parent
    shutil.rmtree(home)
    home.mkdir()
    shutil.copytree(GOLDEN / "included", home / "included")
    shutil.copy(GOLDEN / "warned" / "included.txt", home)
    policy = parse_policy(
        read_included(decode_policy(path.read_bytes(), path.name), path.name, str(home)), path.name
    )
    for one in policy.sets.values():
        if one.path:
            (home / one.path).parent.mkdir(parents=True, exist_ok=True)
            (home / one.path).write_text("198.51.100.0/24\n2001:db8::7\n")
    server.policy_file.write_bytes(path.read_bytes())
    server.fw("apply", YES)
    return policy


def shown_and_applied(server: Host, *, through: str = "cat") -> Done:
    """The pipe as the documents have it, byte for byte, with a filter in the middle."""
    server.used_fw = True
    pipe = f"{FW} show | {through} | {FW} apply - --dry-run"
    return server.run(["bash", "-o", "pipefail", "-c", pipe], check=False)


def test_each_golden_policy_is_asked() -> None:
    assert len(POLICIES) > 30
    assert {"include", "sets", "windows", "zones"} <= {path.stem for path in POLICIES}


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_nothing_would_change(server: Host, path: Path) -> None:
    policy = put_in_force(server, path)
    status = server.fw_json("status")
    assert status["differs"] is False
    assert [rule["text"] for rule in server.fw_json("rules")["rules"]] == [str(rule) for rule in policy.rules]
    done = shown_and_applied(server)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.splitlines()[-1] == "nothing would change"
    assert server.fw_json("status") | {"flows": 0, "reasons": 0} == status | {"flows": 0, "reasons": 0}
    assert server.policy_file.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["contract", "include", "windows"])
def test_what_differs_by_a_line_would_change(server: Host, name: str) -> None:
    """Or the test before this one proves nothing."""
    put_in_force(server, GOLDEN / f"{name}.fw")
    done = shown_and_applied(server, through="(cat; echo; echo option log.rate 17)")
    assert (done.returncode, done.stdout) == (WOULD_CHANGE, "* option log.rate 17\n"), done.stderr
