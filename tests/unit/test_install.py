# SPDX-License-Identifier: MIT
"""`make install` puts a tree in place that works by itself, and `make uninstall` takes exactly that away."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BPF_MACHINE = 247  # EM_BPF of elf.h, where an ELF header has its machine
PROGRAMS = {
    "usr/bin/fw",
    "usr/lib/fw/firewall/fw.bpf.o",
    "usr/lib/fw/firewall/libfwtree.so",
    "usr/share/man/man8/fw.8",
    "usr/share/bash-completion/completions/fw",
    "usr/share/zsh/site-functions/_fw",
    "usr/share/fish/vendor_completions.d/fw.fish",
    "usr/lib/systemd/system/fw.service",
    "usr/lib/systemd/system/fw-attach@.service",
    "usr/lib/systemd/system/fw-refresh.service",
    "usr/lib/systemd/system/fw-refresh.timer",
    "usr/lib/udev/rules.d/90-fw.rules",
}


def make(*words: str) -> str:
    done = subprocess.run(
        ["make", "-C", str(ROOT), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(300)
def test_install_and_uninstall(tmp_path: Path) -> None:
    root = tmp_path / "a root & | of its own"
    other = root / "usr" / "share" / "man" / "man8" / "other.8"
    other.parent.mkdir(parents=True)
    other.write_text("")

    said = make("install", "PREFIX=/usr", f"DESTDIR={root}")
    assert "systemctl enable fw\n" in said and "link" not in said
    installed = files(root)
    assert installed >= PROGRAMS
    assert not any("/rich/" in name for name in installed), "fw does not need rich"
    assert "/usr/bin/fw load" in (root / "usr/lib/systemd/system/fw.service").read_text()

    # Neither the tree nor its virtual environment is in reach of what was installed.
    done = subprocess.run(
        [root / "usr/bin/fw", "--version"], cwd="/", env={}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith("fw ")
    assert files(root) == installed, "all modules were compiled beforehand"

    said = make("uninstall", "PREFIX=/usr", f"DESTDIR={root}")
    assert "the policy in /etc/fw and saved flows in /var/lib/fw stay" in said
    assert files(root) == {str(other.relative_to(root))}


@pytest.mark.timeout(300)
def test_where_systemd_does_not_look_it_has_to_be_told(tmp_path: Path) -> None:
    said = make("install", "PREFIX=/opt/fw+1/", f"DESTDIR={tmp_path}")
    assert [line.strip() for line in said.splitlines() if line.startswith("    ")] == [
        "systemctl link /opt/fw+1/lib/systemd/system/fw*",
        "ln -s /opt/fw+1/lib/udev/rules.d/90-fw.rules /etc/udev/rules.d/",
        "systemctl enable fw",
    ]
    assert (
        "ExecStart=/opt/fw+1/bin/fw load --yes\n"
        in (tmp_path / "opt/fw+1/lib/systemd/system/fw.service").read_text()
    )


@pytest.mark.parametrize("action", ["install", "uninstall"])
@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("/opt/a b", "may have letters, digits and /._+@~- alone: /opt/a b"),
        ("/opt/a&b", "may have letters, digits and /._+@~- alone: /opt/a&b"),
        ("/opt/a|b", "may have letters, digits and /._+@~- alone: /opt/a|b"),
        ("/opt/%i", "may have letters, digits and /._+@~- alone: /opt/%i"),
        ("opt", "must begin with /: opt"),
        ("", "must begin with /: "),
    ],
)
def test_a_prefix_that_no_unit_can_say(tmp_path: Path, action: str, prefix: str, said: str) -> None:
    words = [str(ROOT / "packaging" / "install"), action, prefix, str(tmp_path), "/usr/bin/python3"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{action}: PREFIX {said}\n")
    assert not files(tmp_path)


@pytest.mark.timeout(300)
def test_wheel_carries_the_object() -> None:
    make("wheel")
    (wheel,) = (ROOT / "build" / "dist").glob("fw-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        compiled = archive.read("firewall/fw.bpf.o")
        names = archive.namelist()
    assert compiled[:4] == b"\x7fELF"
    assert int.from_bytes(compiled[18:20], "little") == BPF_MACHINE
    assert {"firewall/__main__.py", "firewall/libfwtree.so"} <= set(names)
    assert not any(name.startswith(("tests/", "bpf_src/")) for name in names)


def test_launcher_is_what_the_tree_runs() -> None:
    first = (ROOT / ".venv" / "bin" / "fw").read_text().splitlines()[0]
    assert first.endswith(" -IS")
    assert os.access(first.removeprefix("#!").split()[0], os.X_OK)
