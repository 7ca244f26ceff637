# SPDX-License-Identifier: MIT
"""`fw flow save` and `restore` on real connections: they outlive an unload, and the rules still judge them.

client eth0 192.0.2.2 ── eth0 192.0.2.1 server, where fw is
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.attachment import flows, protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.host import Host
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import Listener, Stream

POLICY = """
    default in drop
    default out drop
    allow in tcp to port 80
    allow in tcp to port 81
    allow in udp to port 53
    option load.grace 0s
"""


def said(host: Host, *words: str, **how: Any) -> str:
    """The last line that `fw flow WORDS` says."""
    return host.fw("flow", *words, **how).stderr.splitlines()[-1]


def talk(host: Host, to: str, listener: Listener) -> tuple[Stream, Stream]:
    """A connection with both its sides in hand, which have spoken."""
    ours = host.connect(to, listener.port)
    theirs = listener.accepted((ours.local[0], ours.local[1]))
    both_ways(ours, theirs)
    return ours, theirs


def both_ways(ours: Stream, theirs: Stream) -> None:
    ours.send(b"x" * 3000)
    assert len(theirs.recv(3000)) == 3000
    theirs.send(b"y" * 3000)
    assert len(ours.recv(3000)) == 3000


def load_anew(host: Host, policy: str, *interfaces: str) -> None:
    """Unloads fw and loads it again, blind to the connections that there are: with a table that is empty."""
    host.fw("unload --all")
    protect(host, policy, *interfaces)
    host.fw("flow flush --yes")
    assert flows(host) == []


def test_connections_outlive_an_unload(pair: PairLab, family: str, attach: str, tmp_path: Path) -> None:
    server, file = address(pair.server, family), tmp_path / "flows.jsonl"
    protect(pair.server, POLICY, "eth0", attach=attach)
    first, second = (pair.server.listen(port, any_address(family), mode="hold") for port in (80, 81))
    busy, cut = talk(pair.client, server, first), talk(pair.client, server, second)
    assert said(pair.server, "save", str(file)) == f"2 flows saved in {file}"
    assert file.stat().st_mode & 0o777 == 0o600
    before = {flow["sport"]: flow for flow in flows(pair.server, proto="tcp")}

    closed = POLICY.replace("allow in tcp to port 81\n", "")
    load_anew(pair.server, closed, "eth0")
    busy[1].send(b"?")
    with pytest.raises(TimeoutError):
        busy[0].recv(1, 0.5)

    assert said(pair.server, "restore", str(file)) == "2 flows restored"
    after = {flow["sport"]: flow for flow in flows(pair.server, proto="tcp")}
    for sport, flow in after.items():
        same = ("src", "dst", "dport", "state", "confirmed", "scope")
        assert {name: flow[name] for name in same} == {name: before[sport][name] for name in same}
        for grown in ("packets", "bytes", "reply_packets", "reply_bytes", "age_s"):
            assert flow[grown] >= before[sport][grown], grown
        assert flow["expires_s"] <= 86400
    assert busy[0].recv(1) == b"?", "sent again, and let through"
    both_ways(*busy)
    cut[0].send(b"?")
    with pytest.raises(TimeoutError):
        cut[1].recv(1, 0.5)
    states = {flow["dport"]: (flow["state"], flow["rule"]) for flow in flows(pair.server, proto="tcp")}
    assert states[80] == ("established", 1)
    assert states[81][0] == "revoked"
    assert reasons(pair.server)["revoked"] > 0
    assert said(pair.server, "restore", str(file)) == "0 flows restored, 2 known already"


def test_a_restored_connection_is_followed_again(pair: PairLab, tmp_path: Path) -> None:
    """Once both sides' numbers fit, what lies outside the window is refused; and it ends as any other."""
    file = tmp_path / "flows.jsonl"
    protect(pair.server, POLICY, "eth0")
    listener = pair.server.listen(80, mode="hold")
    ours, theirs = talk(pair.client, pair.server.v4, listener)
    pair.server.fw("flow", "save", str(file))
    load_anew(pair.server, POLICY, "eth0")
    pair.server.fw("flow", "restore", str(file))
    both_ways(ours, theirs)
    ours.shutdown()
    assert theirs.recv(1) == b""
    theirs.close()
    (flow,) = flows(pair.server, proto="tcp")
    assert flow["state"] in ("last_ack", "time_wait")


def test_forwarded_connections_and_udp(lab: RouterLab, family: str, tmp_path: Path) -> None:
    policy = """
        default in drop
        default forward drop
        allow forward on lan0 via wan0
        option load.grace 0s
    """
    file, server = tmp_path / "flows.jsonl", address(lab.server, family)
    protect(lab.router, policy, "lan0", "wan0")
    held = talk(lab.client, server, lab.server.listen(80, any_address(family), mode="hold"))
    asked = lab.server.udp(53, any_address(family))
    asking = lab.client.udp(address=any_address(family))
    for _ in range(2):
        asking.send(b"?", (server, 53))
        _, end = asked.recv()
        asked.send(b"!", end)
        asking.recv()
    lab.router.fw("flow", "save", str(file))
    load_anew(lab.router, policy, "lan0", "wan0")
    assert said(lab.router, "restore", str(file)).startswith("2 flows restored")
    both_ways(*held)
    asked.send(b"more", end)
    assert asking.recv()[0] == b"more", "nothing but its flow lets it in"


def test_an_interface_by_another_number(lab: RouterLab, tmp_path: Path) -> None:
    """The interface was made anew meanwhile: its name counts."""
    file = tmp_path / "flows.jsonl"
    policy = "default in drop\ndefault out allow\nallow in on dmz0 tcp to port 80\noption load.grace 0s\n"
    router = lab.router
    lab.link(router, "dmz0", lab.server, "dmz1")
    router.ip("addr add 10.0.9.1/24 dev dmz0")
    lab.server.ip("addr add 10.0.9.2/24 dev dmz1")
    protect(router, policy, "dmz0")
    held = talk(lab.server, "10.0.9.1", router.listen(80, mode="hold"))
    router.fw("flow", "save", str(file))
    router.fw("unload --all")
    router.ip("link del dmz0")
    lab.link(router, "spare0", lab.server, "spare1")
    lab.link(router, "dmz0", lab.server, "dmz1")
    router.ip("addr add 10.0.9.1/24 dev dmz0")
    lab.server.ip("addr add 10.0.9.2/24 dev dmz1")
    protect(router, policy, "dmz0")
    router.fw("flow flush --yes")
    assert said(router, "restore", str(file)) == "1 flow restored"
    assert [f["sport"] for f in router.fw_json("flow list --iface dmz0")["flows"]] == [held[0].local[1]]
    both_ways(*held)


def test_a_file_that_is_wrong_restores_nothing(pair: PairLab, tmp_path: Path) -> None:
    file = tmp_path / "flows.jsonl"
    protect(pair.server, POLICY, "eth0")
    talk(pair.client, pair.server.v4, pair.server.listen(80, mode="hold"))
    pair.server.fw("flow", "save", str(file))
    header, record, end = file.read_text().splitlines()
    pair.server.fw("flow flush --yes")
    bad = json.dumps({**json.loads(record), "proto": 999})
    file.write_text("\n".join([header, record, bad, '{"end":2}', ""]))
    done = pair.server.fw("flow", "restore", str(file), check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
        f"fw: {file}:3: 'proto' cannot be 999",
        "hint: nothing was restored",
    ]
    assert flows(pair.server) == []
    text = "\n".join([header, record, end, ""])
    assert said(pair.server, "restore", "-", input=text) == "1 flow restored"


def test_the_place_for_them(pair: PairLab) -> None:
    """Without a name the file is the namespace's own."""
    protect(pair.server, POLICY, "eth0")
    held = talk(pair.client, pair.server.v4, pair.server.listen(80, mode="hold"))
    file = Path("/var/lib/fw/netns", pair.server.netns, "flows.jsonl")
    try:
        assert said(pair.server, "save", way="netns") == f"1 flow saved in {file}"
        load_anew(pair.server, POLICY, "eth0")
        assert said(pair.server, "restore") == "1 flow restored"
        both_ways(*held)
    finally:
        file.unlink(missing_ok=True)
        file.parent.rmdir()
