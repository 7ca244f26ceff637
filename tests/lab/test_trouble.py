# SPDX-License-Identifier: MIT
"""Machines in trouble: two fw at once, no space, no writing, foreign pins, interfaces that go away."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.attachment import detach, pins, programs, protect
from tests.lab.host import Done, Host
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import no_ping, pings, reaches
from tests.lab.wait import until

WEB = """
    default in drop
    default out allow
    allow in tcp to port 80
"""
FAILED, BUSY, NOTHING_LOADED = 1, 7, 3


def one_line(done: Done) -> str:
    """The error that a failed command told: it must be short, and no traceback."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    said = [
        line for line in done.stderr.splitlines() if not line.startswith("Bind ")
    ]  # `ip netns exec` says that
    assert 1 <= len(said) <= 3, done.stderr
    return "\n".join(said)


def test_two_at_once_both_get_their_way(pair: PairLab) -> None:
    """Twenty rules are added by processes that all start together: each rule is there once, in file and kernel."""
    protect(pair.server, WEB, "eth0")
    ports = range(1000, 1020)
    started = [
        pair.server.popen(
            pair.server.fw_words("rule", "add", "allow", "in", "tcp", "to", "port", str(port), way="nsenter")
        )
        for port in ports
    ]
    for process in started:
        said, _ = process.communicate(timeout=60)
        assert process.returncode in (0, BUSY), said
    done = {port for port, process in zip(ports, started, strict=True) if process.returncode == 0}
    wanted = {f"allow in tcp to port {port}" for port in done}
    running = {rule["text"] for rule in pair.server.fw_json("rule list")["rules"]}
    assert running == wanted | {"allow in tcp to port 80"}
    saved = pair.server.policy_file.read_text().splitlines()
    assert all(saved.count(text) == 1 for text in wanted)
    assert len(done) >= 10


def test_a_lock_that_is_held_is_named(pair: PairLab) -> None:
    protect(pair.server, WEB, "eth0")
    (directory,) = pins(pair.server)
    lock = f"/run/fw/{directory.name}.lock"
    holder = pair.server.popen(["flock", lock, "sh", "-c", "echo held; sleep 1000"])
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    done = pair.server.fw("mode observe", check=False)
    assert done.returncode == BUSY
    one_line(done)
    assert pair.server.fw("status").returncode == 0, "reading needs no lock"


class Mounted:
    """The directory of the saved policy replaced by a small or read-only one."""

    def __init__(self, host: Host, options: str) -> None:
        self.directory = host.policy_file.parent
        self.options = options

    def __enter__(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", self.options, "fwlab", str(self.directory)], check=True)
        return self.directory

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.directory)], check=True)


def test_a_full_disk_changes_nothing(pair: PairLab) -> None:
    pair.server.listen(80)
    with Mounted(pair.server, "size=64k") as directory:
        protect(pair.server, WEB, "eth0")
        with (
            open(directory / "filler", "wb", buffering=0) as filler,
            pytest.raises(OSError, match="No space"),
        ):
            while True:
                filler.write(bytes(4096))
        text = pair.server.policy_file.read_text()
        done = pair.server.fw("rule add allow in tcp to port 81", check=False)
        assert "space" in one_line(done) and done.returncode == FAILED
        assert pair.server.policy_file.read_text() == text
        assert "port 81" not in pair.server.fw("show").stdout
        assert reaches(pair.client, pair.server.v4, 80)
        (directory / "filler").unlink()
        assert sorted(path.name for path in directory.iterdir()) == ["rules.fw"], (
            "nothing half written is left"
        )
        pair.server.fw("rule add allow in tcp to port 81")


def test_a_read_only_etc_refuses_saving_and_allows_runtime(pair: PairLab) -> None:
    with Mounted(pair.server, "size=64k") as directory:
        protect(pair.server, WEB, "eth0")
        subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
        done = pair.server.fw("rule add allow in tcp to port 81", check=False)
        assert "ead-only" in one_line(done) and done.returncode == FAILED
        assert "with --runtime nothing is written" in done.stderr
        assert "port 81" not in pair.server.fw("show").stdout
        pair.server.ip("link add br0 type bridge")
        done = pair.server.fw("load br0", check=False)
        assert "ead-only" in one_line(done) and "--runtime" not in done.stderr, "which fw load does not take"
        pair.server.fw("rule add allow in tcp to port 82 --runtime")
        done = pair.server.fw("load br0", check=False)
        assert "would mix the two" in one_line(done) and "--runtime" not in done.stderr
        assert "port 82" in pair.server.fw("show").stdout
        assert "port 82" not in pair.server.fw("show --saved").stdout
        pair.server.fw("unload --all", check=False)
    assert not pins(pair.server)


def test_pins_of_another_version_are_named_and_can_be_removed(pair: PairLab, attach: str) -> None:
    protect(pair.server, WEB, "eth0", attach=attach)
    (directory,) = pins(pair.server)
    layout = directory / "layout"
    layout.unlink()
    layout.symlink_to("999")
    for command in ("status", "rule list", "rule add allow in icmp", "load eth0"):
        done = pair.server.fw(command, check=False)
        assert "999" in one_line(done), command
    assert all(programs(pair.server, "eth0").values()), "what is attached goes on filtering"
    pair.server.fw("unload --all")
    assert not pins(pair.server) and not any(programs(pair.server, "eth0").values())
    pair.server.fw("load", "eth0")


def test_pins_that_lack_one_are_not_as_if_nothing_were_loaded(pair: PairLab) -> None:
    protect(pair.server, WEB, "eth0")
    (directory,) = pins(pair.server)
    (directory / "settings").unlink()
    for command in ("status", "rules", "rule add allow in icmp", "mode observe", "load"):
        done = pair.server.fw(command, check=False)
        assert (done.returncode, done.stdout) == (FAILED, ""), command
        assert f"{directory} lacks settings" in one_line(done) and "'fw unload --all'" in done.stderr
    pair.server.fw("unload --all")
    pair.server.fw("load")


def test_an_interface_that_vanishes_is_told_and_the_others_go_on(lab: RouterLab, attach: str) -> None:
    protect(lab.router, WEB + "allow in icmp", "wan0", "lan0", attach=attach)
    lab.router.ip("link del lan0")
    interfaces = {i["name"]: i["attach"] for i in lab.router.fw_json("status")["interfaces"]}
    assert interfaces == {"wan0": attach, "lan0": "gone"}
    assert pings(lab.server, lab.router.v4)
    lab.router.fw("rule add allow in tcp to port 81")
    lab.router.fw("load")
    lab.router.fw("unload", "lan0")
    assert [i["name"] for i in lab.router.fw_json("status")["interfaces"]] == ["wan0"]


def test_an_interface_that_returns_is_protected_by_the_next_change(lab: RouterLab, attach: str) -> None:
    protect(lab.router, WEB, "wan0", attach=attach)
    lab.router.ip("link del wan0")
    lab.link(lab.router, "wan0", lab.server, "eth0")
    lab.router.ip(f"addr add {lab.router.v4}/24 dev wan0")
    lab.server.ip(f"addr add {lab.server.v4}/24 dev eth0")
    assert pings(lab.server, lab.router.v4), "nothing filters the new device yet"
    said = lab.router.fw("apply").stderr
    assert "wan0 is protected again" in said and "not protected any more" not in said
    assert no_ping(lab.server, lab.router.v4)
    assert {i["name"]: i["attach"] for i in lab.router.fw_json("status")["interfaces"]}["wan0"] in (
        "tcx",
        "clsact",
    )


def test_programs_detached_by_others_are_told_and_put_back(pair: PairLab, attach: str) -> None:
    protect(pair.server, WEB, "eth0", attach=attach)
    detach(pair.server, "eth0")
    (interface,) = pair.server.fw_json("status")["interfaces"]
    assert interface["attach"] == "detached"
    assert pings(pair.client, pair.server.v4)
    pair.server.fw("load")
    assert no_ping(pair.client, pair.server.v4)
    assert all(programs(pair.server, "eth0").values())


def test_an_unknown_interface_is_refused_and_nothing_is_left(pair: PairLab) -> None:
    done = pair.server.fw("load eth9", check=False)
    assert "eth9" in one_line(done)
    assert pair.server.fw("status", check=False).returncode == NOTHING_LOADED
    assert not pair.server.policy_file.exists()


def test_a_malformed_file_attaches_nothing(pair: PairLab) -> None:
    pair.server.save_policy("default in drop\nallow in tcp to prot 80\n")
    done = pair.server.fw("load eth0", check=False)
    assert done.returncode == 2 and "rules.fw:2" in done.stderr and "Traceback" not in done.stderr
    assert not any(programs(pair.server, "eth0").values())
    until(lambda: pings(pair.client, pair.server.v4), what="nothing filtered")


def test_an_interface_whose_name_is_no_text_is_in_nobodys_way(pair: PairLab) -> None:
    name = b"\xff" * 15
    in_server = ["ip", "-n", pair.server.netns, "link"]
    subprocess.run([*in_server, "add", name, "up", "type", "bridge"], check=True)
    protect(pair.server, WEB, "eth0")
    assert pair.server.fw_json("status")["unprotected"] == [os.fsdecode(name)]
    assert r"\udcff" in pair.server.fw("status").stdout
    subprocess.run([*in_server, "del", name], check=True)
    pair.server.fw("load")
    assert pair.server.fw_json("status")["unprotected"] == []
