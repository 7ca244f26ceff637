# SPDX-License-Identifier: MIT
"""`fw flow watch` while the tables are flooded.

client eth0 192.0.2.2 ── eth0 192.0.2.1 server, where fw is
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from typing import Any

from tests.lab.attachment import protect
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.test_flood import script
from tests.lab.traffic import all_busy
from tests.lab.wait import until

FLOWS_MAX = 4096
POLICY = f"""
    option flows.max {FLOWS_MAX}
    default in drop
    default out allow
    allow in tcp to port 80
"""


class Watcher:
    """`fw flow watch --json` in a host; what it has printed so far."""

    def __init__(self, host: Host, *options: str) -> None:
        words = host.fw_words("flow", "watch", "--json", "--interval", "0.2", *options)
        self.process = host.popen(words[len(host.enter()) :], stderr=subprocess.PIPE)
        self.looks: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()

    def listen(self) -> None:
        for line in self.process.stdout or ():
            self.looks.append(json.loads(line))

    def end(self) -> tuple[int, list[str]]:
        """Its exit status, and what it said."""
        said = (self.process.stderr.read() if self.process.stderr else "").splitlines()
        status = self.process.wait(20)
        self.reader.join(20)
        return status, [line for line in said if not line.startswith("Bind ")]  # of `ip netns exec`


def test_the_busy_one_is_seen_in_a_flood(pair: PairLab) -> None:
    server, client = pair.server, pair.client
    protect(server, POLICY, "eth0")
    server.ip(f"route add default via {client.v4}")
    server.listen(80)
    busy = client.connect(server.v4, 80)
    busy.become("busy")
    all_busy([busy])
    watcher = Watcher(server, "--limit", "3")
    until(lambda: watcher.looks, what="a look before the flood")
    assert (watcher.looks[0]["used"], watcher.looks[0]["max"]) == (1, FLOWS_MAX)
    quiet = len(watcher.looks)

    words = script(client, "flooder.py", "eth0", server.macs["eth0"], "syn", "ipv4", 10 * FLOWS_MAX)
    flood = client.popen(words, stdin=-1)
    assert flood.stdout and flood.stdin
    assert flood.stdout.readline() == "begun\n"
    until(lambda: len(watcher.looks) >= quiet + 4, 60, what="looks while it lasts")
    flood.stdin.close()
    assert flood.wait(30) == 0
    during = watcher.looks[quiet + 1 :]
    all_busy([busy])
    ports = [{flow["sport"] for flow in look["flows"]} for look in during]
    assert any(busy.local[1] in shown for shown in ports)
    assert all(len(look["flows"]) <= 3 for look in during)
    assert max(look["opened"] for look in during) > 100 and max(look["ended"] for look in during) > 100
    assert all(look["live"] <= FLOWS_MAX + FLOWS_MAX // 4 + 1024 for look in during)
    rated = [flow for look in during for flow in look["flows"] if flow["sport"] == busy.local[1]]
    assert all(flow["bytes_per_s"] > 0 and flow["reply_bytes_per_s"] > 0 for flow in rated)

    watcher.process.send_signal(signal.SIGINT)
    assert watcher.end() == (130, [])


def test_it_ends_with_the_firewall(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    watcher = Watcher(pair.server)
    until(lambda: watcher.looks, what="it began")
    pair.server.fw("unload --all")
    assert watcher.end() == (0, ["fw was unloaded"])


def test_a_reader_that_has_enough(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    words = " ".join(pair.server.fw_words("flow", "watch", "--interval", "0.1")[len(pair.server.enter()) :])
    done = pair.server.run(["bash", "-o", "pipefail", "-c", f"{words} | head -n 1"])
    assert "places used" in done.stdout and len(done.stdout.splitlines()) == 1
    assert not [line for line in done.stderr.splitlines() if "Bind" not in line]


def test_count_ends_it(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    watcher = Watcher(pair.server, "--count", "2")
    assert watcher.end() == (0, [])
    assert len(watcher.looks) == 2
    assert all(look["elapsed_s"] > 0 for look in watcher.looks)
