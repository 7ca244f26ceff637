# SPDX-License-Identifier: MIT
"""What a policy promises of itself is kept: a change that would break it is refused, and the old policy stays."""

from __future__ import annotations

from tests.lab.attachment import protect
from tests.lab.lab import PairLab

UNMET = 9
POLICY = """
    zone lan = eth0
    allow in on lan tcp to port 80
    expect allow in on lan tcp to port 80
    expect drop in tcp to port 81
"""
BREAKING = (
    "rule add allow in tcp",
    "rule delete 1",
    "default in allow",
    "apply BROKEN",
    "apply BROKEN --runtime",
)


def test_a_change_that_breaks_a_promise_is_refused(pair: PairLab) -> None:
    server = pair.server
    server.save_policy("expect allow in\n")
    done = server.fw("load", "eth0", check=False)
    assert done.returncode == UNMET and "this does not hold" in done.stderr
    assert server.fw("status", check=False).returncode == 3

    protect(server, POLICY, "eth0")
    server.fw("rule add allow in udp to port 53")
    before = server.fw("show").stdout, server.policy_file.read_text(), server.fw_json("status")["generation"]
    broken = server.policy_file.with_name("broken.fw")
    broken.write_text(before[1] + "expect drop in tcp to port 80\n")
    for change in BREAKING:
        done = server.fw(change.replace("BROKEN", str(broken)), check=False)
        assert done.returncode == UNMET and "this does not hold" in done.stderr, done
    after = server.fw("show").stdout, server.policy_file.read_text(), server.fw_json("status")["generation"]
    assert after == before
    pair.server.listen(80)
    pair.client.connect(pair.server.v4, 80).echo(b"still in force")
