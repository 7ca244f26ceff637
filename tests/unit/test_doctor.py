# SPDX-License-Identifier: MIT
"""The examination: each thing that can be wrong, and that it is said with what to do."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firewall import doctor, features, otherfilters
from firewall.attach import HookStatus, Other, Status
from firewall.doctor import BAD, OK, WARN, Finding
from firewall.errors import FwError, KernelLacks, NotPermitted
from firewall.links import Link

NO_HOOK = HookStatus(None, [], [])


def fail(error: FwError) -> Callable[..., Any]:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which all is well, with eth0 up and nothing on it."""
    for name in features.PROBES:
        monkeypatch.setitem(features.PROBES, name, lambda: True)
    eth0 = Link("eth0", 2, "", True, 1, 0, 1500, "", 0, 0, None)
    monkeypatch.setattr(doctor, "list_links", lambda: [eth0, eth0._replace(name="off", up=False)])
    monkeypatch.setattr("firewall.attach.status", lambda *_: Status(None, NO_HOOK, NO_HOOK, False))
    monkeypatch.setattr("firewall.programs.object_path", lambda: Path("/lib/fw.bpf.o"))
    monkeypatch.setattr("firewall.bpfprog.libbpf_version", lambda: "v1.1")
    monkeypatch.setattr(doctor, "find_bpffs", lambda: None)
    monkeypatch.setattr(doctor, "find_pin_dir", lambda: None)
    monkeypatch.setattr(doctor, "RUN_DIR", "/nonexistent")
    monkeypatch.setattr(otherfilters, "nft_tables", list)
    monkeypatch.setattr(otherfilters, "legacy_tables", list)
    monkeypatch.setattr(otherfilters, "active_services", list)
    return monkeypatch


def found(check: str) -> list[Finding]:
    """Findings of one check, leaving out what a test process may lack."""
    return [finding for finding in doctor.examine() if finding.check == check]


def test_all_is_well(healthy: pytest.MonkeyPatch) -> None:
    findings = [finding for finding in doctor.examine() if finding.check != "capabilities"]
    assert {finding.verdict for finding in findings} == {OK}
    assert {f"kernel {name}" for name in features.PROBES} < {finding.check for finding in findings}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        *[(essential, BAD) for essential in ("lru", "inner_maps", "mmapable", "ringbuf")],
        ("batch", WARN), ("jit", WARN), ("tcx", OK), ("btf", OK),
    ],
)  # fmt: skip
def test_what_the_kernel_lacks(healthy: pytest.MonkeyPatch, name: str, verdict: str) -> None:
    healthy.setitem(features.PROBES, name, lambda: False)
    (finding,) = found(f"kernel {name}")
    assert finding.verdict == verdict and finding.text.startswith("missing: ") and finding.advice
    assert (finding.error is KernelLacks) is (verdict == BAD)


def test_without_privileges_nothing_is_claimed(healthy: pytest.MonkeyPatch) -> None:
    refused = fail(NotPermitted("cannot look", "run as root"))
    for name in features.PROBES:
        healthy.setitem(features.PROBES, name, refused)
    healthy.setattr(doctor, "find_bpffs", refused)
    healthy.setattr(doctor, "find_pin_dir", refused)
    healthy.setattr(otherfilters, "nft_tables", refused)
    for check in (*(f"kernel {name}" for name in features.PROBES), "bpffs", "tc programs", "other filters"):
        (finding,) = found(check)
        assert finding.verdict == WARN and finding.text.startswith("unknown: ") and "root" in finding.advice


def test_no_libbpf_and_no_object(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(
        "firewall.bpfprog.libbpf_version", fail(KernelLacks("there is no libbpf.so.1", "install libbpf1"))
    )
    healthy.setattr(
        "firewall.programs.object_path", fail(FwError("there is no fw.bpf.o", "'make' builds it"))
    )
    assert [(f.verdict, f.text, f.advice) for f in (*found("libbpf"), *found("object"))] == [
        (BAD, "there is no libbpf.so.1", "install libbpf1"),
        (BAD, "there is no fw.bpf.o", "'make' builds it"),
    ]


def test_others_at_the_hooks(healthy: pytest.MonkeyPatch) -> None:
    ours = HookStatus(9, [Other("tcx", "early", 7, 0)], [Other("tc", "u32", 0, 3)])
    without = HookStatus(None, [], [Other("tcx", "", 8, 0)])
    healthy.setattr("firewall.attach.status", lambda *_: Status("tcx", ours, without, False))
    early, late, other = found("tc programs")
    assert (early.verdict, early.text) == (WARN, "eth0 ingress: 'early' runs before fw") and early.advice
    assert (late.verdict, late.text) == (OK, "eth0 ingress: 'u32' runs after fw and sees what fw passes")
    assert (other.verdict, other.text) == (OK, "eth0 egress: '?' is there; fw would run before it")


def test_other_filters(healthy: pytest.MonkeyPatch) -> None:
    tables = [otherfilters.NftTable("inet", "filter", 3), otherfilters.NftTable("ip", "empty", 0)]
    healthy.setattr(otherfilters, "nft_tables", lambda: tables)
    healthy.setattr(otherfilters, "legacy_tables", lambda: ["iptables nat"])
    healthy.setattr(otherfilters, "active_services", lambda: ["firewalld"])
    findings = found("other filters")
    assert [finding.text for finding in findings] == [
        "the service firewalld is active",
        "nft table inet filter",
        "iptables nat table (legacy)",
    ]
    assert all(finding.verdict == WARN and "allow in both" in finding.advice for finding in findings)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value.ljust(-(-len(value) // 4) * 4, b"\0")


def test_nft_tables_are_read_from_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    message = bytes([1, 0, 0, 0]) + attribute(1, b"strangers\0") + attribute(3, struct.pack(">I", 2))
    monkeypatch.setattr("firewall.netlink.dump", lambda *_: [message])
    assert otherfilters.nft_tables() == [("inet", "strangers", 2)]
    monkeypatch.setattr("firewall.netlink.dump", fail(KernelLacks("no nftables")))
    assert otherfilters.nft_tables() == []
    monkeypatch.setattr("firewall.netlink.dump", fail(NotPermitted("no")))
    with pytest.raises(NotPermitted):
        otherfilters.nft_tables()


def test_active_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "invocation:ufw.service").symlink_to("0123")
    monkeypatch.setattr(otherfilters, "_ACTIVE_UNIT", f"{tmp_path}/invocation:{{}}.service")
    assert otherfilters.active_services() == ["ufw"]


def test_what_ended_namespaces_left(healthy: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Named after an inode that no process and no name leads to; what others pin, and ours, is left alone."""
    root = tmp_path / "bpf"
    ours = os.stat("/proc/self/ns/net").st_ino
    for name in ("7-1", "7-2-next", "8", f"{ours}-3", "tc", "maps.debug"):
        (root / name).mkdir(parents=True)
    for name in ("7-1.lock", "9-4.follow", f"{ours}-3.lock", "x.lock"):
        (tmp_path / name).touch()
    healthy.setattr(doctor, "find_bpffs", lambda: root)
    healthy.setattr(doctor, "RUN_DIR", str(tmp_path))
    *pins, locks = found("left over")
    assert [finding.advice for finding in pins] == [
        f"if that has ended: rm -r {root}/{name}" for name in ("7-1", "7-2-next", "8")
    ]
    assert locks.text.startswith("2 locks of ")
    assert locks.advice == f"if these have ended: rm {tmp_path}/7-1.lock {tmp_path}/9-4.follow"


def test_what_may_not_be_seen_is_not_said_to_be_nothing(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(doctor, "find_bpffs", fail(NotPermitted("cannot look at /run/fw/bpf")))
    assert [finding.text for finding in found("left over")] == ["unknown"]
