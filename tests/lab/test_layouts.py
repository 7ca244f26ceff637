# SPDX-License-Identifier: MIT
"""Another version of fw, with other layouts of its maps, takes the place of this one and keeps the connections.

It is this version, built once more with fields that have moved, grown and been added.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.attachment import flows, protect
from tests.lab.host import ROOT, Host
from tests.lab.lab import PairLab
from tests.lab.traffic import Stream, answered, no_tcp

WEB = """
    default in drop
    default out allow
    allow in tcp to port 80
    allow in udp to port 53
    option load.grace 0s
"""
CHANGES = (
    ("LAYOUT_VERSION = ", "LAYOUT_VERSION = 9"),
    ("struct flow {\n", "struct flow {\n\t__u64 novelty[3];\n"),
    ("struct side {\n", "struct side {\n\t__u64 invention;\n"),
    ("struct set {\n", "struct set {\n\t__u32 wonder[2];\n"),
    ("struct control {\n", "struct control {\n\t__u64 addition;\n"),
    ("struct iface {\n\t__u32 ifindex;\n\t__u16 slot; ", "struct iface {\n\t__u32 ifindex;\n\t__u32 slot; "),
    ("\tchar name[16];\n\t__u32 reserved;\n", "\tchar name[16];\n"),
)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other version's tree."""
    tree = tmp_path_factory.mktemp("other")
    for name in ("bpf_src", "tree_src", "firewall", "scripts"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tree)
    texts = {header: header.read_text() for header in (tree / "bpf_src").glob("abi*.h")}
    for old, new in CHANGES:
        (header,) = [path for path, text in texts.items() if text.count(old) == 1]
        texts[header] = texts[header].replace(old, new)
    for header, text in texts.items():
        header.write_text(text)
    subprocess.run(["make", "-C", tree, "build/fw.bpf.o"], check=True, capture_output=True)
    written = subprocess.run(
        [sys.executable, "scripts/gen-abi", "build/fw.bpf.o"], cwd=tree, check=True, capture_output=True
    )
    (tree / "firewall" / "abi.py").write_bytes(written.stdout)
    return tree


def other_fw(tree: Path, host: Host, *words: str) -> str:
    """What the other version's command prints."""
    start = "import sys; sys.argv[0] = 'fw'; from firewall.__main__ import main; sys.exit(main())"
    return host.run(["env", f"--chdir={tree}", sys.executable, "-c", start, *words], timeout_s=300).stdout


def packets(listed: list[dict[str, int]]) -> dict[int, tuple[int, int]]:
    return {one["sport"]: (one["packets"], one["reply_packets"]) for one in listed}


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_connections_outlive_it(pair: PairLab, other: Path, attach: str, mode: str) -> None:
    """There and back again; the kernel's sockets would tell of TCP alone, and of no numbers."""
    server, client = pair.server, pair.client
    protect(server, WEB, "eth0", attach=attach)
    server.listen(80)
    server.udp(53, echo=True)
    question = client.udp()
    for _ in range(3):
        question.ask(server.v4, 53)
    streams: list[Stream] = [client.connect(server.v4, 80) for _ in range(30)]
    for stream in streams:
        stream.echo()
    before = packets(flows(server, confirmed=True))
    assert len(before) == 31
    server.fw(f"mode {mode}", check=False)

    other_fw(other, server, "upgrade")
    status = json.loads(other_fw(other, server, "status", "--json"))
    assert (status["mode"], status["flows"]["used"]) == (mode, 31)
    listed = json.loads(other_fw(other, server, "flows", "--json"))["flows"]
    assert packets([one for one in listed if one["confirmed"]]) == before
    for stream in streams:
        stream.echo()
    server.fw("upgrade")
    assert server.fw_json("status")["mode"] == mode
    after = packets(flows(server, confirmed=True))
    assert after.keys() == before.keys()
    assert all(after[sport] > before[sport] for sport in after if sport != question.local[1])
    for stream in streams:
        stream.echo()
    assert question.ask(server.v4, 53)
    server.fw("mode enforce", check=False)
    assert no_tcp(client, server.v4, 81)
    assert server.fw_json("status")["flows"]["lost"] == 0


def test_rules_of_the_saved_policy_hold_for_what_was_copied(pair: PairLab, other: Path) -> None:
    server, client = pair.server, pair.client
    protect(server, WEB, "eth0")
    server.listen(80)
    stream = client.connect(server.v4, 80)
    stream.echo()
    server.save_policy("protect eth0\ndefault in drop\ndefault out allow\noption load.grace 0s\n")
    other_fw(other, server, "upgrade", "--yes")
    with pytest.raises(TimeoutError):
        stream.echo(timeout_s=1)


SETS = """
    protect eth0
    default in drop
    default out allow
    option load.grace 0s
    {}
    drop in from @bad, @worse
    allow in tcp to port 22 limit 1/day per source/24/64 overload @worse for 1h
    allow in tcp to port 80
"""


def test_what_was_added_to_sets_outlives_it(pair: PairLab, other: Path) -> None:
    """Under other numbers: there and back again."""
    server, client = pair.server, pair.client
    server.listen(22)
    server.save_policy("")
    protect(server, SETS.format("set gone\nset worse\nset bad = 198.51.100.1, 2001:db8:bad::/48"), "eth0")
    server.fw("apply -", input=SETS.format("set bad = 198.51.100.1\nset worse"))
    server.fw("set add bad 198.51.100.1 2001:db8:7::/48")
    server.fw("set add bad 203.0.113.0/24 --for 1h")
    server.fw("set add worse 203.0.113.0/24 --for 2h")
    for _ in range(2):
        answered(lambda: client.connect(server.v4, 22, timeout_s=0.5).echo(timeout_s=0.5))

    def inside(name: str) -> dict[str, tuple[bool, bool, int]]:
        found = server.fw_json(f"set show {name}")["elements"]
        return {
            one["span"]: (
                one["listed"],
                one["added"] or one["overload"],
                ((one["expires_s"] or 0) + 300) // 600,
            )
            for one in found
        }

    before = inside("bad"), inside("worse")
    assert before[0] == {
        "198.51.100.1": (True, True, 0),
        "2001:db8:7::/48": (False, True, 0),
        "203.0.113.0/24": (False, True, 6),
    }
    assert before[1] == {"192.0.2.0/24": (False, True, 6), "203.0.113.0/24": (False, True, 12)}
    other_fw(other, server, "upgrade")
    server.fw("upgrade")
    assert (inside("bad"), inside("worse")) == before
    assert not answered(lambda: client.connect(server.v4, 80, timeout_s=0.5))
