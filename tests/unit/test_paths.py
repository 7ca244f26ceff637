# SPDX-License-Identifier: MIT
"""Where the policy is, and the lock: what needs no privilege."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firewall import paths
from firewall.errors import Busy, FwError
from firewall.paths import Lock

HOLD = """
import sys
from pathlib import Path
from firewall.paths import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_namespace_id_is_short_and_lasts() -> None:
    told = paths.namespace_id()
    assert re.fullmatch(r"\d+(-\d+)?", told)
    assert paths.namespace_id() == told
    assert told.split("-")[0] == re.sub(r"\D", "", os.readlink("/proc/self/ns/net"))


def test_policy_of_a_named_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is a file that is the namespace: here, a symbolic link to it."""
    monkeypatch.setattr(paths, "NETNS_DIR", str(tmp_path))
    monkeypatch.setattr(paths, "_INIT", str(tmp_path / "none"))  # as if ours were not the machine's own
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    assert paths.namespace_name() is None
    assert paths.policy_path() == Path("/etc/fw/rules.fw")
    (tmp_path / "blue").symlink_to("/proc/self/ns/net")
    assert paths.netns_names() == ["blue", "broken"]
    assert paths.namespace_name() == "blue"
    assert paths.policy_path() == Path("/etc/netns/blue/fw/rules.fw")


def test_policy_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own namespace may have a name too: the policy is that of the machine all the same."""
    monkeypatch.setattr(paths, "NETNS_DIR", str(tmp_path))
    monkeypatch.setattr(paths, "_INIT", "/proc/self/ns/net")
    (tmp_path / "host").symlink_to("/proc/self/ns/net")
    assert paths.namespace_name() is None
    assert paths.policy_path() == Path("/etc/fw/rules.fw")


def test_lock_names_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdin and holder.stdout
        assert holder.stdout.readline() == "held\n"
        start = time.monotonic()
        with pytest.raises(Busy) as caught, Lock(path, wait_s=0.1):
            pass
        assert 0.1 <= time.monotonic() - start < 5
        assert f"process {holder.pid} (" in caught.value.message
        assert "-c" in caught.value.message and "\n" not in caught.value.message
        holder.stdin.close()
        with Lock(path, wait_s=30):  # waits until it is free
            assert path.read_text() == str(os.getpid())
    assert path.read_text() == ""
    assert path.stat().st_mode & 0o777 == 0o600


def test_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        holder.kill()
    assert path.read_text() == str(holder.pid)
    with Lock(path, wait_s=0):
        pass


def test_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError), Lock(path):
        raise RuntimeError
    with Lock(path, wait_s=0):
        pass


def test_lock_that_cannot_be_made(tmp_path: Path) -> None:
    with (
        pytest.raises(FwError, match=r"cannot open .*/none/lock: no such file"),
        Lock(tmp_path / "none" / "lock"),
    ):
        pass
