# SPDX-License-Identifier: MIT
"""Run in the guest by tests.vm: fw protects a real interface there, by whichever hook that kernel has."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.host import execute
from tests.lab.lab import PairLab

POLICY = "default in drop\ndefault out allow\n"
PORT = 8080


@pytest.fixture(scope="module")
def lab() -> Iterator[PairLab]:
    with PairLab() as pair:
        pair.server.save_policy(POLICY)
        pair.server.fw("load eth0")
        yield pair


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_stateful(lab: PairLab, family: str) -> None:
    client, server = getattr(lab.client, family), getattr(lab.server, family)
    anywhere = "0.0.0.0" if family == "v4" else "::"
    lab.client.listen(PORT, anywhere)
    lab.server.listen(PORT, anywhere)

    assert lab.server.ping(client) > 0
    stream = lab.server.connect(client, PORT)
    stream.echo(b"answered")
    with pytest.raises(TimeoutError):
        lab.client.ping(server)
    with pytest.raises(TimeoutError):
        lab.client.connect(server, PORT, timeout_s=1)

    lab.server.fw(f"rule add allow in tcp to port {PORT}")
    opened = lab.client.connect(server, PORT)
    opened.echo(b"let in")
    lab.server.fw(f"rule delete allow in tcp to port {PORT}")
    with pytest.raises(TimeoutError):
        opened.echo(b"no longer")


def test_installed_fw_sees_the_same(lab: PairLab) -> None:
    status = json.loads(lab.server.run("/usr/local/bin/fw status --json").stdout)
    assert [one["name"] for one in status["interfaces"]] == ["eth0"]
    assert status["reasons"]["default_drop"] > 0


def test_uninstall_leaves_nothing(lab: PairLab) -> None:
    execute(["packaging/install", "uninstall", "/usr/local", ""])
    assert not [path for path in Path("/usr/local").rglob("*") if path.is_file()]
    assert not Path("/run/fw").exists()
    assert "clsact" not in lab.server.run("tc qdisc show dev eth0").stdout
    assert lab.client.ping(lab.server.v4) > 0
    assert lab.client.ping(lab.server.v6) > 0
