# SPDX-License-Identifier: MIT
"""Attaching to an interface by TCX and by clsact: order, replacement, leaving others alone, interfaces that go.

The programs are a few instructions each. What they did is read from the map that they count in, from packets that
arrive or do not, and from iproute2; not from the code under test.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from firewall import attach as at
from firewall import bpfmap, bpfprog, features, paths, tc
from firewall.bindings import libc
from firewall.bpfmap import MapType
from firewall.bpfprog import Program
from firewall.errors import FwError, KernelLacks, KernelRefused, NotLoaded, UsageError
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.wait import until

OK, SHOT, NEXT = 0, 2, -1
ZERO = struct.pack("=I", 0)


class Counting:
    """A program that counts its packets and returns the same verdict for all."""

    def __init__(self, name: str, verdict: int) -> None:
        self.count_map = bpfmap.create_map(MapType.ARRAY, "t_count", 4, 8, 1)
        pseudo_map_value = 2
        code = [
            (0x18, 1 | pseudo_map_value << 4, 0, self.count_map.fd),  # r1 = &value, in two halves
            (0, 0, 0, 0),
            (0xB7, 2, 0, 1),  # r2 = 1
            (0xDB, 1 | 2 << 4, 0, 0),  # lock *(u64 *)r1 += r2
            (0xB7, 0, 0, verdict),  # r0 = verdict
            (0x95, 0, 0, 0),
        ]
        self.program = bpfprog.load_program(b"".join(struct.pack("=BBhi", *each) for each in code), name)

    @property
    def count(self) -> int:
        value: int = struct.unpack("=Q", self.count_map.lookup(ZERO) or b"")[0]
        return value


class Scene:
    """The server's end of the wire, with this thread in the server's namespace."""

    def __init__(self, lab: PairLab, pins: Path) -> None:
        self.client, self.server, self.pins = lab.client, lab.server, pins
        self.ifindex = socket.if_nametoindex("eth0")

    def attach(self, ingress: Program, egress: Program, mode: str) -> at.Attachment:
        return at.attach(self.ifindex, ingress, egress, mode, self.pins)

    def status(self) -> at.Status:
        return at.status(self.ifindex, self.pins)

    def ping(self) -> bool:
        try:
            self.client.ping(self.server.v4, timeout_s=0.3)
        except TimeoutError:
            return False
        return True


@contextlib.contextmanager
def inside(host: Host) -> Iterator[None]:
    """This thread is in the host's network namespace."""
    with open("/proc/thread-self/ns/net", "rb") as home:
        paths.enter_netns(host.netns)
        try:
            yield
        finally:
            libc.setns(home.fileno(), libc.CLONE_NEWNET)


@pytest.fixture
def scene(pair: PairLab) -> Iterator[Scene]:
    root = paths.bpffs()
    with inside(pair.server):
        pins = root / f"test-{paths.namespace_id()}"
        pins.mkdir(mode=0o700)
        try:
            yield Scene(pair, pins)
        finally:
            shutil.rmtree(pins)


@pytest.fixture(autouse=True)
def _has_tcx(request: pytest.FixtureRequest) -> None:
    wanted = request.node.callspec.params.get("attach") if hasattr(request.node, "callspec") else None
    if wanted == "tcx" and not features.tcx():
        pytest.skip("this kernel has no TCX")


def rejected(attempt: Callable[[], object], kind: type[FwError], said: str) -> FwError:
    with pytest.raises(kind, match=said) as caught:
        attempt()
    assert "\n" not in caught.value.message
    return caught.value


def qdiscs(scene: Scene) -> list[str]:
    """Kinds of the qdiscs that hold filters, as tc tells them."""
    shown = scene.server.run("tc qdisc show dev eth0").stdout.split("\n")
    return [line.split()[1] for line in shown if "ffff:" in line]


def filters(scene: Scene, hook: str) -> str:
    return scene.server.run(f"tc filter show dev eth0 {hook}").stdout


def pinned(scene: Scene) -> list[str]:
    return sorted(str(path.relative_to(scene.pins)) for path in scene.pins.rglob("*") if not path.is_dir())


def test_both_hooks_run(scene: Scene, attach: str) -> None:
    ingress, egress = Counting("t_in", NEXT), Counting("t_out", NEXT)
    made = scene.attach(ingress.program, egress.program, attach)
    assert made == (scene.ifindex, attach, ingress.program.id, egress.program.id)

    def unseen() -> tuple[int, int] | None:
        """Packets in and out that the programs did not count; None while some are on the way."""
        first, counts = scene.server.counters("eth0"), (ingress.count, egress.count)
        return (
            (first[0] - counts[0], first[2] - counts[1]) if scene.server.counters("eth0") == first else None
        )

    earlier = until(unseen)
    for _ in range(3):
        assert scene.ping()
    until(lambda: unseen() == earlier)
    assert ingress.count >= 3 <= egress.count
    told = scene.status()
    assert (told.mode, told.gone) == (attach, False)
    assert told.ingress == (ingress.program.id, [], [])
    assert told.egress == (egress.program.id, [], [])
    assert at.attached(scene.pins) == [scene.ifindex]


def test_verdicts_count_and_detaching_ends_them(scene: Scene, attach: str) -> None:
    drop, let = Counting("t_drop", SHOT), Counting("t_let", NEXT)
    for ingress, egress in ((drop, let), (let, drop)):
        scene.attach(ingress.program, egress.program, attach)
        assert not scene.ping()
        assert at.detach(scene.ifindex, scene.pins)
        until(scene.ping)  # once the address is resolved again
    assert not at.detach(scene.ifindex, scene.pins)
    assert scene.status() == (None, (None, [], []), (None, [], []), False)
    assert (qdiscs(scene), pinned(scene), at.attached(scene.pins)) == ([], [], [])
    assert bpfprog.tcx_programs(scene.ifindex, ingress=True) == ()


def test_attaching_twice_is_attaching_once(scene: Scene, attach: str) -> None:
    first, second = Counting("t_first", NEXT), Counting("t_second", NEXT)
    scene.attach(first.program, first.program, attach)
    held = pinned(scene)
    for each in (first, second, second):
        scene.attach(each.program, each.program, "auto")  # keeps to the mode that it finds
    assert scene.status() == (attach, (second.program.id, [], []), (second.program.id, [], []), False)
    assert pinned(scene) == held
    before, old = second.count, first.count
    assert scene.ping()
    assert (second.count - before >= 2, first.count) == (True, old)


FLOOD = """
import socket, sys
interface, source, target = sys.argv[1:]
frame = bytes.fromhex(target + source + "88b5") + bytes(50)  # an EtherType for experiments (IEEE 802)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
    wire.bind((interface, 0))
    for number in range(1 << 30):
        wire.send(frame)
        if number == 100:
            print("under way", flush=True)
"""


def flooding(scene: Scene) -> subprocess.Popen[str]:
    """A process that sends as fast as it can, and has begun."""
    macs = [host.macs["eth0"].replace(":", "") for host in (scene.client, scene.server)]
    flood = scene.client.popen([sys.executable, "-c", FLOOD, "eth0", *macs])
    assert flood.stdout and flood.stdout.readline() == "under way\n"
    return flood


def before_it(scene: Scene, program: Counting) -> int:
    """The packets that came before a program was attached that counts all: none came between the readings."""
    while True:
        came, counted = scene.server.counters("eth0")[0], program.count
        if scene.server.counters("eth0")[0] == came:
            return came - counted


def test_replacing_misses_no_packet(scene: Scene, attach: str) -> None:
    """Each packet of a flood meets the old program or the new one, and only one of them."""
    both, quiet = (Counting("t_old", SHOT), Counting("t_new", SHOT)), Counting("t_quiet", NEXT).program
    scene.attach(both[0].program, quiet, attach)
    earlier = before_it(scene, both[0])
    flood = flooding(scene)
    replaced = 0
    while replaced < 30 or any(each.count < 1000 for each in both):
        replaced += 1
        program = both[replaced % 2].program
        assert at.replace(scene.ifindex, program, quiet, scene.pins).ingress_prog == program.id
    flood.kill()
    flood.wait()
    until(lambda: scene.server.counters("eth0")[0] - earlier == sum(each.count for each in both))


def test_ours_runs_first(scene: Scene, attach: str) -> None:
    """Whoever was there before: a program that accepts all would hide every packet from ours."""
    theirs, ours = Counting("t_theirs", OK), Counting("t_ours", NEXT)
    with foreign(scene, theirs.program, attach):
        scene.attach(ours.program, ours.program, attach)
        before = ours.count, theirs.count
        assert scene.ping()
        assert ours.count - before[0] >= 2
        assert theirs.count - before[1] >= 2
        other = at.Other(
            "tcx" if attach == "tcx" else "tc", "t_theirs", theirs.program.id, int(attach != "tcx")
        )
        assert scene.status().ingress == (ours.program.id, [], [other])
        assert scene.status().egress == (ours.program.id, [], [other])
        assert at.detach(scene.ifindex, scene.pins)
        before = ours.count, theirs.count
        assert scene.ping()
        assert (ours.count, theirs.count > before[1]) == (before[0], True)
        assert scene.status().ingress == (None, [], [other])


def test_one_that_comes_later_is_told(scene: Scene, attach: str) -> None:
    theirs, ours = Counting("t_theirs", NEXT), Counting("t_ours", NEXT)
    scene.attach(ours.program, ours.program, attach)
    with foreign(scene, theirs.program, attach):
        told = scene.status().ingress
        assert ([each.name for each in told.before], told.after) == (["t_theirs"], [])
        scene.attach(ours.program, ours.program, attach)  # does not fail for it
        assert at.detach(scene.ifindex, scene.pins)
    assert scene.status().ingress == (None, [], [])


@contextlib.contextmanager
def foreign(scene: Scene, program: Program, mode: str) -> Iterator[None]:
    """Somebody else's program, first at both hooks."""
    if mode == "tcx":
        links = [bpfprog.link_create_tcx(program, scene.ifindex, ingress) for ingress in (True, False)]
        yield
        for link in links:
            link.close()
        return
    pin = scene.pins / "theirs"
    program.pin(pin)
    if not qdiscs(scene):
        scene.server.run("tc qdisc add dev eth0 clsact")
    for hook in ("ingress", "egress"):
        scene.server.run(f"tc filter add dev eth0 {hook} pref 1 bpf direct-action object-pinned {pin}")
    yield
    for hook in ("ingress", "egress"):
        assert program.name in filters(scene, hook)
        scene.server.run(f"tc filter del dev eth0 {hook} pref 1")
    pin.unlink()


# Qdiscs and filters of others


def test_a_qdisc_of_others_stays(scene: Scene) -> None:
    ours = Counting("t_ours", NEXT).program
    scene.server.run("tc qdisc add dev eth0 clsact")
    scene.attach(ours, ours, "clsact")
    assert at.detach(scene.ifindex, scene.pins)
    assert qdiscs(scene) == ["clsact"]
    assert filters(scene, "ingress") + filters(scene, "egress") == ""


def test_our_qdisc_stays_while_others_use_it(scene: Scene) -> None:
    ours, theirs = Counting("t_ours", NEXT).program, Counting("t_theirs", NEXT).program
    scene.attach(ours, ours, "clsact")
    with foreign(scene, theirs, "clsact"):
        assert at.detach(scene.ifindex, scene.pins)
        assert qdiscs(scene) == ["clsact"]
    assert at.attached(scene.pins) == []


def test_a_qdisc_made_anew_by_others_is_theirs(scene: Scene) -> None:
    ours = Counting("t_ours", NEXT).program
    scene.attach(ours, ours, "clsact")
    scene.server.run("tc qdisc del dev eth0 clsact")
    scene.server.run("tc qdisc add dev eth0 clsact")
    scene.attach(ours, ours, "clsact")
    assert at.detach(scene.ifindex, scene.pins)
    assert qdiscs(scene) == ["clsact"]


def test_a_filter_of_another_kind_in_front_is_an_error(scene: Scene) -> None:
    ours = Counting("t_ours", NEXT).program
    scene.server.run("tc qdisc add dev eth0 clsact")
    scene.server.run("tc filter add dev eth0 ingress pref 1 protocol ip u32 match u32 0 0")
    error = rejected(
        lambda: scene.attach(ours, ours, "clsact"), KernelRefused, "eth0: a u32 filter .* ingress"
    )
    assert error.hint == "give it preference 2 or higher"
    assert "fw_" not in filters(scene, "egress")
    assert (qdiscs(scene), at.attached(scene.pins)) == (["clsact"], [])
    assert scene.status().ingress == (None, [], [at.Other("tc", "u32", 0, 1)])
    scene.server.run("tc filter del dev eth0 ingress pref 1")
    scene.server.run("tc filter add dev eth0 ingress pref 2 protocol ip u32 match u32 0 0")
    scene.attach(ours, ours, "clsact")
    assert scene.status().ingress == (ours.id, [], [at.Other("tc", "u32", 0, 2)])


def test_an_ingress_qdisc_is_an_error(scene: Scene) -> None:
    ours = Counting("t_ours", NEXT).program
    scene.server.run("tc qdisc add dev eth0 ingress")
    error = rejected(lambda: scene.attach(ours, ours, "clsact"), KernelRefused, "no room for clsact")
    assert error.hint and "tc qdisc del dev eth0 ingress" in error.hint
    assert (qdiscs(scene), at.attached(scene.pins)) == (["ingress"], [])


def test_filters_in_other_chains_do_not_matter(scene: Scene) -> None:
    ours = Counting("t_ours", NEXT).program
    scene.server.run("tc qdisc add dev eth0 clsact")
    scene.server.run("tc filter add dev eth0 ingress chain 7 pref 1 protocol ip u32 match u32 0 0")
    scene.attach(ours, ours, "clsact")
    assert scene.status().ingress.prog_id == ours.id


# All or nothing


def no_program() -> Program:
    """One whose descriptor is that of something else: the kernel refuses to attach it."""
    program = Counting("t_ended", NEXT).program
    with open("/dev/null", "rb") as other:
        os.dup2(other.fileno(), program.fd)
    return program


def test_both_hooks_or_none(scene: Scene, attach: str) -> None:
    good, ended = Counting("t_good", NEXT).program, no_program()
    for ingress, egress in ((good, ended), (ended, good)):
        rejected(partial(scene.attach, ingress, egress, attach), KernelRefused, "invalid argument")
        assert scene.status().mode is None
        assert (qdiscs(scene), pinned(scene), at.attached(scene.pins)) == ([], [], [])


def test_a_failed_replacement_puts_the_old_one_back(scene: Scene, attach: str) -> None:
    old, new, ended = Counting("t_old", NEXT).program, Counting("t_new", NEXT).program, no_program()
    scene.attach(old, old, attach)
    for ingress, egress in ((new, ended), (ended, new)):
        rejected(
            partial(at.replace, scene.ifindex, ingress, egress, scene.pins),
            KernelRefused,
            "invalid argument",
        )
        assert scene.status() == (attach, (old.id, [], []), (old.id, [], []), False)


def test_half_an_attachment_is_completed(scene: Scene, attach: str) -> None:
    """As after a kill in the middle."""
    ours = Counting("t_ours", NEXT).program
    scene.attach(ours, ours, attach)
    if attach == "tcx":
        path = scene.pins / "links" / f"{scene.ifindex}-ingress"
        bpfprog.open_pinned_link(path).detach()
    else:
        scene.server.run("tc filter del dev eth0 ingress pref 1")
    assert (scene.status().mode, scene.status().ingress.prog_id) == (attach, None)
    scene.attach(ours, ours, "auto")
    assert scene.status().ingress.prog_id == scene.status().egress.prog_id == ours.id
    assert at.detach(scene.ifindex, scene.pins)
    assert qdiscs(scene) == []


def test_changing_the_way_leaves_one(scene: Scene) -> None:
    if not features.tcx():
        pytest.skip("this kernel has no TCX")
    ours = Counting("t_ours", NEXT)
    for mode in ("tcx", "clsact", "tcx"):
        scene.attach(ours.program, ours.program, mode)
        assert scene.status() == (mode, (ours.program.id, [], []), (ours.program.id, [], []), False)
        assert qdiscs(scene) == (["clsact"] if mode == "clsact" else [])
        assert bool(pinned(scene)) == (mode == "tcx")


def test_changing_the_way_misses_no_packet(scene: Scene) -> None:
    if not features.tcx():
        pytest.skip("this kernel has no TCX")
    ours, quiet = Counting("t_ours", SHOT), Counting("t_quiet", NEXT).program
    scene.attach(ours.program, quiet, "tcx")
    earlier = before_it(scene, ours)
    flood = flooding(scene)
    for mode in ("clsact", "tcx") * 10:
        assert scene.attach(ours.program, quiet, mode).mode == mode
    flood.kill()
    flood.wait()
    until(lambda: scene.server.counters("eth0")[0] - earlier == ours.count)


def test_pins_may_move(scene: Scene, attach: str) -> None:
    """The directory of pins is made under another name and renamed when all is in it."""
    ours = Counting("t_ours", NEXT).program
    scene.attach(ours, ours, attach)
    moved = scene.pins.with_name(f"{scene.pins.name}-moved")
    scene.pins.rename(moved)
    try:
        assert at.status(scene.ifindex, moved).mode == attach
        assert at.detach(scene.ifindex, moved)
        assert at.attached(moved) == []
    finally:
        moved.rename(scene.pins)


def test_mistakes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Counting("t_ours", NEXT).program
    rejected(lambda: scene.attach(ours, ours, "xdp"), UsageError, "no way to attach 'xdp'")
    rejected(lambda: at.replace(scene.ifindex, ours, ours, scene.pins), NotLoaded, "eth0 is not protected")
    monkeypatch.setattr(features, "tcx", lambda: False)
    rejected(lambda: scene.attach(ours, ours, "tcx"), KernelLacks, "no TCX")
    assert scene.attach(ours, ours, "auto").mode == "clsact"


def test_filters_whose_pins_were_lost(scene: Scene) -> None:
    ours = Counting("t_ours", NEXT).program
    scene.attach(ours, ours, "clsact")
    shutil.rmtree(scene.pins / "clsact")
    assert at.attached(scene.pins) == []
    assert at.status(scene.ifindex, scene.pins).mode == "clsact"
    assert at.detach(scene.ifindex, scene.pins)
    assert at.status(scene.ifindex, scene.pins).mode is None


# Interfaces that go


def test_an_interface_that_vanishes(scene: Scene, attach: str) -> None:
    ours = Counting("t_ours", NEXT)
    scene.attach(ours.program, ours.program, attach)
    scene.server.ip("link del eth0")
    told = scene.status()
    assert (told.mode, told.ingress, told.egress, told.gone) == (None, (None, [], []), (None, [], []), True)
    assert at.attached(scene.pins) == [scene.ifindex]
    gone = rejected(
        lambda: scene.attach(ours.program, ours.program, attach),
        FwError,
        f"interface {scene.ifindex} has gone",
    )
    assert gone.errno == errno.ENODEV
    assert at.detach(scene.ifindex, scene.pins)
    assert at.attached(scene.pins) == []


def test_an_interface_that_returns(scene: Scene, attach: str) -> None:
    """With the same number, even: what is left of the first one is no part of the second."""
    ours = Counting("t_ours", NEXT)
    scene.attach(ours.program, ours.program, attach)
    scene.server.ip("link del eth0", f"link add eth0 index {scene.ifindex} type veth peer name eth1")
    scene.server.run("tc qdisc add dev eth0 clsact")
    assert (scene.status().mode, scene.status().gone) == (None, False)
    scene.attach(ours.program, ours.program, attach)
    assert scene.status() == (attach, (ours.program.id, [], []), (ours.program.id, [], []), False)
    assert at.detach(scene.ifindex, scene.pins)
    assert qdiscs(scene) == ["clsact"]


def test_an_interface_that_changes(scene: Scene, attach: str) -> None:
    """Down and up, and renamed: the programs stay."""
    ours = Counting("t_ours", NEXT)
    scene.attach(ours.program, ours.program, attach)
    scene.server.ip("link set eth0 down", "link set eth0 name wan0", "link set wan0 up")
    scene.server.await_links()
    before = ours.count
    until(scene.ping)
    assert ours.count > before
    assert scene.status().mode == attach


def test_an_interface_that_leaves_for_another_namespace(scene: Scene) -> None:
    """A TCX link goes with it; unloading here ends it there."""
    if not features.tcx():
        pytest.skip("this kernel has no TCX")
    ours = Counting("t_ours", NEXT)
    scene.attach(ours.program, ours.program, "tcx")
    scene.server.ip(f"link set eth0 netns {scene.client.netns} name moved")
    assert scene.status().gone
    assert at.attached(scene.pins) == [scene.ifindex]
    assert at.detach(scene.ifindex, scene.pins)
    with inside(scene.client):
        assert bpfprog.tcx_programs(socket.if_nametoindex("moved"), ingress=True) == ()


def test_lists_are_read_anew_when_they_change_meanwhile(scene: Scene) -> None:
    stop = threading.Event()
    with open("/proc/thread-self/ns/net", "rb") as here:

        def churn() -> None:
            libc.setns(here.fileno(), libc.CLONE_NEWNET)
            while not stop.is_set():
                subprocess.run(["ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1"], check=True)
                subprocess.run(["ip", "link", "del", "t0"], check=True)

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _ in range(200):
                assert tc.filters(scene.ifindex, ingress=True) == []
                assert scene.ifindex not in tc.ingress_qdiscs()
        finally:
            stop.set()
            thread.join()


def test_the_order_of_filters_is_that_of_tc(scene: Scene) -> None:
    """Against iproute2's own listing."""
    scene.server.run("tc qdisc add dev eth0 clsact")
    for pref in (40, 10, 30):
        scene.server.run(f"tc filter add dev eth0 egress pref {pref} protocol ip u32 match u32 0 0")
    ours = Counting("t_ours", NEXT).program
    scene.attach(ours, ours, "clsact")
    assert [(each.pref, each.kind) for each in tc.filters(scene.ifindex, ingress=False)] == [
        (1, "bpf"),
        (10, "u32"),
        (30, "u32"),
        (40, "u32"),
    ]
    shown = [line.split() for line in filters(scene, "egress").splitlines() if " pref " in line]
    prefs = [int(words[words.index("pref") + 1]) for words in shown]
    assert list(dict.fromkeys(prefs)) == [1, 10, 30, 40]
