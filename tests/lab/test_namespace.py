# SPDX-License-Identifier: MIT
"""Where things are, seen from network and mount namespaces of all sorts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firewall import bpfmap, paths
from firewall.bpfmap import MapType
from firewall.errors import UsageError
from tests.lab.host import ROOT
from tests.lab.lab import PairLab

TELL = """
import json, sys
from firewall import paths
if len(sys.argv) > 1:
    paths.enter_netns(sys.argv[1])
print(json.dumps({
    "id": paths.namespace_id(), "name": paths.namespace_name(), "policy": str(paths.policy_path()),
    "pins": str(paths.pin_dir()), "bpffs": str(paths.find_bpffs()),
}))
"""


def tell(*before: str, name: str = "") -> dict[str, Any]:
    """What fw knows of its place, in a process started with the words `before`."""
    words = [*before, sys.executable, "-c", TELL, *([name] if name else [])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_namespace_is_known_by_itself(pair: PairLab) -> None:
    netns = pair.server.netns
    ways = [
        tell("ip", "netns", "exec", netns),
        tell("nsenter", f"--net=/run/netns/{netns}"),
        tell(name=netns),
        tell("ip", "netns", "exec", pair.client.netns, name=netns),
    ]
    assert {told["id"] for told in ways} == {ways[0]["id"]}
    assert {told["name"] for told in ways} == {netns}
    assert {told["policy"] for told in ways} == {f"/etc/netns/{netns}/fw/rules.fw"}
    other, own = tell(name=pair.client.netns), tell()
    assert len({ways[0]["id"], other["id"], own["id"]}) == 3
    assert (own["name"], own["policy"]) == (None, "/etc/fw/rules.fw")
    inode = os.stat(f"/run/netns/{netns}").st_ino
    assert ways[0]["id"].split("-")[0] == str(inode)


def test_an_unnamed_namespace(pair: PairLab) -> None:
    told, own = tell("unshare", "--net"), tell()
    assert (told["name"], told["policy"]) == (None, "/etc/fw/rules.fw")
    assert told["id"] != own["id"]


def test_an_inode_used_again_is_another_namespace() -> None:
    """The kernel gives inodes of namespaces out anew; the cookie it never does."""
    code = """
from firewall import paths
from firewall.bindings import libc
for _ in range(20):
    libc.unshare(libc.CLONE_NEWNET)  # the one before ends
    print(paths.namespace_id())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    told = done.stdout.split()
    if "-" not in told[0]:
        pytest.skip("this kernel has no cookies of namespaces (5.14)")
    assert len(told) == len(set(told)) == 20


def test_pins_are_one_place_for_all(pair: PairLab) -> None:
    """What is pinned from a private mount namespace, even one without our bpffs, is there afterwards."""
    netns = pair.server.netns
    here = paths.bpffs()
    assert os.stat(here).st_mode & 0o777 == 0o700
    hidden = 'mount --make-rprivate / && umount /run/fw/bpf && exec "$@"'
    private = ["unshare", "--mount", "sh", "-c", hidden, "sh"]
    ways = [["ip", "netns", "exec", netns], private, ["ip", "netns", "exec", netns, *private]]
    for number, way in enumerate(ways):
        name = f"test-{os.getpid()}-{number}"
        code = f"""
from firewall import bpfmap, paths
from firewall.bpfmap import MapType
bpfmap.create_map(MapType.ARRAY, "t_place", 4, 4, 1).pin(paths.bpffs() / {name!r})
print(paths.bpffs())
"""
        done = subprocess.run([*way, sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(here) or done.stdout.startswith("/proc/")
        with bpfmap.open_pinned(here / name) as found:
            assert found.type == MapType.ARRAY
        (here / name).unlink()
        assert (number == 0) == (done.stdout.strip() == str(here))


def test_a_bpffs_is_mounted_where_it_lasts() -> None:
    """Started with none anywhere, from a mount namespace of its own: it appears in the one outside."""
    code = """
import os, subprocess, sys
from firewall import paths
from firewall.bindings import libc
# This process is init, in a process tree of its own; its child is a command in a private mount namespace.
libc.unshare(libc.CLONE_NEWNS)
libc.mount("none", "/", "none", 1 << 18 | 1 << 14)  # MS_PRIVATE, MS_REC
libc.mount("tmpfs", "/run", "tmpfs")
mounts = lambda: [line.split()[1] for line in open("/proc/self/mounts")].count("/run/fw/bpf")
before = mounts()
child = os.fork()
if child == 0:
    libc.unshare(libc.CLONE_NEWNS)
    first = str(paths.bpffs())
    assert first.removeprefix("/proc/1/root") == "/run/fw/bpf" != first, first
    assert not os.path.exists("/run/fw/bpf/x")
    os.mkdir(first + "/x")
    assert str(paths.bpffs()) == first
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(paths.find_bpffs(), os.path.isdir("/run/fw/bpf/x"), oct(os.stat("/run/fw").st_mode & 0o777), mounts() - before)
"""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "/run/fw/bpf True 0o700 1\n"


def test_a_read_only_run_is_told_in_one_line() -> None:
    code = """
import os
from firewall import paths
from firewall.bindings import libc
from firewall.errors import FwError
libc.unshare(libc.CLONE_NEWNS)
libc.mount("none", "/", "none", 1 << 18 | 1 << 14)
libc.mount("tmpfs", "/run", "tmpfs", 1)  # MS_RDONLY
for attempt in (paths.bpffs, paths.lock_path):
    try:
        attempt()
    except FwError as error:
        print(error.exit_code, error.message)
"""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == [
        "1 cannot mount a bpffs at /run/fw/bpf: read-only file system",
        "1 cannot make /run/fw: read-only file system",
    ], done.stderr


def test_unknown_namespace(pair: PairLab) -> None:
    with pytest.raises(UsageError) as caught:
        paths.enter_netns("no-such-namespace")
    assert caught.value.message == "there is no network namespace 'no-such-namespace'"
    assert caught.value.hint and pair.server.netns in caught.value.hint
    for name in ("..", "../netns/" + pair.server.netns, ""):
        with pytest.raises(UsageError):
            paths.enter_netns(name)


def test_nothing_is_made_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", str(tmp_path / "fw"))
    assert paths.find_bpffs() is None
    assert paths.find_pin_dir() is None
    assert list(tmp_path.iterdir()) == []
