# SPDX-License-Identifier: MIT
"""Sets in the running firewall: what changes in them reaches connections, and what was added survives reloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import traffic
from tests.lab.attachment import flows, protect
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import PairLab
from tests.lab.traffic import answered
from tests.lab.wait import until

BLOCKLIST = """
    option load.grace 0s
    default in drop
    default out allow
    set bad
    set office timeout 1h = 192.0.2.77
    drop in from @bad
    allow in tcp to port 80
    allow in tcp from @office to port 22
"""


def set_file(host: Host) -> Path:
    return host.policy_file.with_name("bad.txt")


def elements(host: Host, name: str) -> dict[str, str]:
    """Address to who put it there."""
    found = host.fw_json(f"set show {name}")["elements"]
    return {one["span"]: "policy" * one["listed"] + "added" * one["added"] for one in found}


def reaches(pair: PairLab, family: str, port: int) -> bool:
    return answered(lambda: pair.client.connect(address(pair.server, family), port, timeout_s=0.3).close())


def test_a_blocklist_cuts_a_running_connection_and_gives_it_back(pair: PairLab, family: str) -> None:
    listener = pair.server.listen(80, any_address(family), mode="hold")
    protect(pair.server, BLOCKLIST, "eth0")
    ours = pair.client.connect(address(pair.server, family), 80)
    theirs = listener.accepted(ours.local)
    ours.send(b"hello")
    assert theirs.recv(5) == b"hello"
    generation = pair.server.fw_json("status")["generation"]

    pair.server.fw(f"set add bad {address(pair.client, family)}")
    ours.send(b"still there?")
    assert not answered(lambda: theirs.recv(1, traffic.SILENCE_S))
    assert pair.server.fw_json("status")["generation"] == generation, "no ruleset was built"

    pair.server.fw(f"set delete bad {address(pair.client, family)}")
    assert theirs.recv(12) == b"still there?", "it was sent again, and the flow is allowed once more"


def test_an_elements_time_ends_by_itself(pair: PairLab) -> None:
    """A server that was blocked for a second answers again, and a connection that was let in for two is cut."""
    pair.server.listen(22)
    pair.server.listen(80)
    protect(pair.server, BLOCKLIST, "eth0")
    pair.server.fw(f"set add office {pair.client.v4} --for 4s")
    stream = pair.client.connect(pair.server.v4, 22)
    stream.echo(b"let in for a while")
    until(lambda: not answered(lambda: stream.echo(timeout_s=0.3)), timeout_s=20)
    assert flows(pair.server, dport=22)[0]["state"] == "revoked"

    pair.server.fw(f"set add bad {pair.client.v4} --for 2s")
    assert not answered(lambda: pair.client.connect(pair.server.v4, 80, timeout_s=0.3))
    until(lambda: answered(lambda: pair.client.connect(pair.server.v4, 80, timeout_s=0.5)), timeout_s=20)
    pair.server.fw("set add bad 203.0.113.1")
    assert elements(pair.server, "bad") == {"203.0.113.1": "added"}


def test_what_was_added_survives_and_what_a_file_lists_follows_it(pair: PairLab) -> None:
    server = pair.server
    server.save_policy("")
    set_file(server).write_text("198.51.100.0/24  # a network\n198.51.100.7\n2001:db8:bad::/48\n")
    protect(server, BLOCKLIST.replace("set bad", "set bad file bad.txt"), "eth0")
    listed = dict.fromkeys(("198.51.100.0/24", "198.51.100.7", "2001:db8:bad::/48"), "policy")
    assert elements(server, "bad") == listed
    server.fw("set add bad 203.0.113.0/24 198.51.100.7 --for 1h")
    both = {**listed, "203.0.113.0/24": "added", "198.51.100.7": "policyadded"}
    assert elements(server, "bad") == both

    assert server.fw("apply --dry-run").stderr.endswith("nothing would change\n")
    set_file(server).write_text("198.51.100.0/24\n192.0.2.0/28\n")
    assert server.fw("apply --dry-run", check=False).returncode == 10
    assert elements(server, "bad") == both, "a dry run changes nothing"
    server.fw("rule add allow in tcp to port 81")
    assert elements(server, "bad") == both, "an edit of rules reads no file again"
    server.fw("apply")
    now = {
        "198.51.100.0/24": "policy",
        "192.0.2.0/28": "policy",
        "198.51.100.7": "added",
        "203.0.113.0/24": "added",
    }
    assert elements(server, "bad") == now
    shown = server.fw("show").stdout
    assert server.fw("apply - --dry-run", input=shown).returncode == 0

    server.fw("upgrade")
    assert elements(server, "bad") == now
    server.fw("set flush bad")
    assert elements(server, "bad") == {"198.51.100.0/24": "policy", "192.0.2.0/28": "policy"}


def test_a_bad_file_changes_nothing_and_at_a_load_the_last_good_copy_is_used(pair: PairLab) -> None:
    server = pair.server
    server.save_policy("")
    set_file(server).write_text("198.51.100.7\n")
    protect(server, BLOCKLIST.replace("set bad", "set bad file bad.txt"), "eth0")
    for text in ("", "# nothing\n", "198.51.100.7\n198.51.100.300\n"):
        set_file(server).write_text(text)
        refused = server.fw("apply", check=False)
        assert refused.returncode == 2 and str(set_file(server)) in refused.stderr
        assert elements(server, "bad") == {"198.51.100.7": "policy"}
    set_file(server).unlink()
    assert server.fw("apply", check=False).returncode == 2
    server.fw("unload --all")
    loaded = server.fw("load")
    assert "when it was last good" in loaded.stderr
    assert elements(server, "bad") == {"198.51.100.7": "policy"}


def test_a_set_that_the_policy_drops_is_gone_with_all_that_was_in_it(pair: PairLab) -> None:
    server = pair.server
    protect(server, BLOCKLIST, "eth0")
    server.fw("set add bad 198.51.100.7 198.51.100.8")
    server.fw("set add office 198.51.100.7")
    text = server.policy_file.read_text().replace("set bad", "").replace("drop in from @bad", "")
    server.fw("apply", "-", input=text)
    assert [one["name"] for one in server.fw_json("sets")["sets"]] == ["office"]
    server.fw("apply", "-", input=server.policy_file.read_text() + "set bad\ndrop in from @bad\n")
    assert elements(server, "bad") == {}
    assert elements(server, "office") == {"192.0.2.77": "policy", "198.51.100.7": "added"}


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("set add bat 192.0.2.1", 2, "did you mean 'bad'?"),
        ("set add bad 192.0.2.300", 2, "is not an IPv4 address"),
        ("set add bad 192.0.2.1 --for 5", 2, "a time with its unit"),
        ("set delete bad 192.0.2.1", 2, "192.0.2.1 is no element of 'bad'"),
        ("set delete office 192.0.2.77", 2, "by the policy"),
        ("rule add allow in from @offices", 2, "did you mean '@office'?"),
        ("apply /nonexistent", 1, "cannot read"),
    ],
)
def test_refusals(pair: PairLab, line: str, code: int, said: str) -> None:
    protect(pair.server, BLOCKLIST, "eth0")
    done = pair.server.fw(line, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_elements_count_what_rules_decide_by_them(pair: PairLab) -> None:
    server, client = pair.server, pair.client
    server.listen(80)
    protect(
        server,
        f"""
        default in drop
        default out allow
        set bad counters = {client.v6}
        set near timeout 1h counters = 192.0.2.0/24
        set quiet = 192.0.2.0/24
        drop in from @bad
        allow in tcp from @near, @quiet to port 80
        """,
        "eth0",
    )
    client.connect(server.v4, 80).echo(b"x" * 1000)
    assert not answered(lambda: client.connect(server.v6, 80, timeout_s=0.3))

    def counted(name: str) -> tuple[int | None, int | None]:
        (one,) = server.fw_json(f"set show {name}")["elements"]
        return one["packets"], one["bytes"]

    (flow,) = flows(server, dport=80)
    assert counted("near") == (flow["packets"] + flow["reply_packets"], flow["bytes"] + flow["reply_bytes"])
    assert counted("quiet") == (None, None)
    packets, octets = counted("bad")
    assert packets and octets
    assert str(packets) in server.fw("set show bad").stdout.splitlines()[1].split()
