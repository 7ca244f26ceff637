# SPDX-License-Identifier: MIT
"""Thousands of rules come and go under traffic: no flow ends, and no packet is missing in what rules count."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from firewall import bpfmap
from tests.lab.attachment import pins, protect, reasons
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.traffic import all_busy
from tests.lab.wait import until

FEW = "default in drop\ndefault out allow\noption load.grace 0s\nprotect eth0\n"
FEW += "".join(f"allow in udp to port {port}\n" for port in range(1, 10)) + "allow in tcp to port 80\n"
MORE = 5_000
COUNTED = ("flow", "related", "rule_allow", "rule_drop", "default_allow", "default_drop")


def rules(host: Host) -> dict[str, dict[str, Any]]:
    """By text."""
    return {rule["text"]: rule for rule in host.fw_json("rule list")["rules"]}


def counts(host: Host) -> tuple[int, int]:
    """Packets that were counted for rules and defaults, and packets with a reason for that."""
    listed, by_reason = host.fw_json("rule list"), reasons(host)
    return (
        sum(line["packets"] for line in (*listed["rules"], *listed["defaults"])),
        sum(by_reason[reason] for reason in COUNTED),
    )


@pytest.mark.timeout(300)
def test_rules_by_the_thousand_come_and_go_under_traffic(pair: PairLab, attach: str, tmp_path: Path) -> None:
    pair.server.listen(80)
    protect(pair.server, FEW, attach=attach)
    streams = [pair.client.connect(pair.server.v4, 80) for _ in range(20)]
    for stream in streams:
        stream.become("busy")
    first = rules(pair.server)
    ids = {text: rule["id"] for text, rule in first.items()}
    drops = "".join(
        f"drop in tcp from 198.18.{n >> 8}.{n & 255} to port {1 + n % 999}\n" for n in range(MORE)
    )
    for name, text in (("many", drops + FEW), ("few", FEW)):
        file = tmp_path / f"{name}.fw"
        file.write_text(text)
        pair.server.fw("apply", str(file))
        all_busy(streams)
        now = rules(pair.server)
        assert {text: now[text]["id"] for text in first} == ids
        grew = now["allow in tcp to port 80"]["packets"] - first["allow in tcp to port 80"]["packets"]
        assert grew > len(streams)
        assert len(now) == (MORE + 10 if name == "many" else 10)
        first = {text: now[text] for text in first}
        pair.server.fw("upgrade")
        all_busy(streams)
    counted = reasons(pair.server)
    assert counted["revoked"] == counted["no_flow"] == counted["pickup"] == 0
    for stream in streams:
        stream.close(reset=True)
    before = counts(pair.server)

    def quiet() -> bool:
        nonlocal before
        last, before = before, counts(pair.server)
        return last == before

    until(quiet)
    assert before[0] == before[1] > 0


def large(host: Host, name: str) -> int:
    """How many inner maps of 128 KiB and more a pinned map of maps has."""
    (directory,) = pins(host)
    with bpfmap.open_pinned(directory / name) as outer:
        inner = [outer.lookup_inner(n.to_bytes(4, sys.byteorder)) for n in range(outer.max_entries)]
        return sum(one.max_entries * one.value_size >= 1 << 17 for one in inner if one)


def test_memory_of_former_rulesets_is_given_up(pair: PairLab, tmp_path: Path) -> None:
    """There are two generations, and the counters of one."""
    protect(pair.server, FEW)
    for turn in range(5):
        file = tmp_path / "rules.fw"
        file.write_text(
            FEW + "".join(f"drop in tcp to port {n} from 198.18.0.{turn}\n" for n in range(1, MORE))
        )
        pair.server.fw("apply", str(file))
        assert large(pair.server, "classifiers") == large(pair.server, "trees") == min(turn + 1, 2)
    few = tmp_path / "few.fw"
    few.write_text(FEW)
    for left in (1, 0):
        pair.server.fw("apply", str(few))
        assert large(pair.server, "classifiers") == large(pair.server, "trees") == left
        few.write_text(FEW + "allow in tcp to port 81\n")


def test_unused_rules_are_told_by_their_last_packet(pair: PairLab) -> None:
    pair.server.listen(80)
    protect(pair.server, FEW)
    text = "allow in tcp to port 80"
    assert rules(pair.server)[text]["last_hit_s"] is None
    stream = pair.client.connect(pair.server.v4, 80)
    stream.echo()
    hit_s = rules(pair.server)[text]["last_hit_s"]
    assert abs(hit_s - time.time()) < 60
    pair.server.fw("rule insert 1 drop in tcp to port 81")
    kept_s = rules(pair.server)[text]["last_hit_s"]
    assert hit_s - 2 <= kept_s <= time.time() + 2, "the rule is the same"
    unused = pair.server.fw_json("rule list --unused")["rules"]
    assert [rule["text"] for rule in unused] == [
        "drop in tcp to port 81",
        *(f"allow in udp to port {port}" for port in range(1, 10)),
    ]
    assert text not in pair.server.fw("rule list --unused --since 1h").stdout
