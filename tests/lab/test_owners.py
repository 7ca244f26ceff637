# SPDX-License-Identifier: MIT
"""`user` and `unit` with real processes: who sends is who made the socket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.attachment import protect
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import PairLab

UID = 4711
CONNECT = """
import os, socket, sys
group, uid, address, port = sys.argv[1:]
if group:
    open(group + "/cgroup.procs", "w").write("0")
os.setuid(int(uid))
try:
    socket.create_connection((address, int(port)), timeout=20)
    print("connected")
except ConnectionRefusedError:
    print("refused")
"""


def connects(host: Host, to: str, *, uid: int = 0, group: Path | None = None, port: int = 80) -> str:
    """What becomes of a connection that a process of its own tries."""
    words = [
        *host.enter("nsenter"),
        sys.executable,
        "-ISc",
        CONNECT,
        str(group or ""),
        str(uid),
        to,
        str(port),
    ]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Path]:
    """A slice of our own in cgroup2, which is mounted if it is not."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mount = next((Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"), None)
    ours = mount is None
    if mount is None:
        mount = tmp_path
        subprocess.run(["mount", "-t", "cgroup2", "none", str(mount)], check=True)
    top = mount / f"fwt{os.getpid()}.slice"
    top.mkdir()
    yield top
    for folder, _, _ in os.walk(top, topdown=False):
        os.rmdir(folder)
    if ours:
        subprocess.run(["umount", str(mount)], check=True)


def test_user(pair: PairLab, family: str, attach: str) -> None:
    server = address(pair.server, family)
    pair.server.listen(80, any_address(family))
    policy = f"default out reject\nallow out tcp to port 80 user {UID}"
    protect(pair.client, policy, "eth0", attach=attach)
    assert connects(pair.client, server, uid=UID) == "connected"
    assert connects(pair.client, server) == "refused"
    assert connects(pair.client, server, uid=UID + 1) == "refused"


def test_what_the_kernel_sends_is_nobodys(pair: PairLab) -> None:
    """A reset of a closed port has no socket, which the kernel counts to the user nobody."""
    policy = "default out drop\ndefault in allow\nreject out tcp user 65534\nallow out tcp"
    protect(pair.server, policy, "eth0")
    with pytest.raises(ConnectionRefusedError):
        pair.client.connect(pair.server.v4, 81)
    assert connects(pair.server, pair.client.v4, uid=65534) == "refused"


def test_unit(pair: PairLab, family: str, attach: str, groups: Path) -> None:
    server = address(pair.server, family)
    pair.server.listen(80, any_address(family))
    service = groups / f"fwt-web{os.getpid()}.service"
    inner = service / "worker"
    inner.mkdir(parents=True)
    protect(
        pair.client,
        f"default out reject\nallow out tcp to port 80 unit {service.name}",
        "eth0",
        attach=attach,
    )
    assert connects(pair.client, server, group=service) == "connected"
    assert connects(pair.client, server, group=inner) == "connected"
    assert connects(pair.client, server, group=groups) == "refused"
    assert connects(pair.client, server) == "refused"


def test_a_unit_that_starts_anew_is_found_by_apply_and_by_refresh(pair: PairLab, groups: Path) -> None:
    """Its cgroup is another then. Nothing else has changed, and apply looks nevertheless."""
    pair.server.listen(80)
    service = groups / f"fwt-late{os.getpid()}.service"
    policy = f"default out reject\nallow out tcp to port 80 unit {service.name}"
    protect(pair.client, policy, "eth0")
    service.mkdir()
    assert connects(pair.client, pair.server.v4, group=service) == "refused"
    pair.client.fw("refresh")
    assert connects(pair.client, pair.server.v4, group=service) == "connected"
    service.rmdir()
    service.mkdir()
    assert connects(pair.client, pair.server.v4, group=service) == "refused"
    said = pair.client.fw("apply")
    assert connects(pair.client, pair.server.v4, group=service) == "connected"
    assert "not known" not in said.stderr
    service.rmdir()
    assert f"unit '{service.name}' is not known here now" in pair.client.fw("apply").stderr
    service.mkdir()
    assert connects(pair.client, pair.server.v4, group=service) == "refused"
