# SPDX-License-Identifier: MIT
"""What a change of rules does to flows that are running: what it should, at their next packet, and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import traffic
from tests.lab.attachment import flows, protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import Stream, all_busy, answered
from tests.lab.wait import until

WEB = """
    option load.grace 0s
    default in drop
    default out allow
    allow in tcp to port 80
    allow in udp to port 53
"""
HOME = """
    option load.grace 0s
    default in drop
    default forward drop
    default out allow
    allow forward on lan0 via wan0
"""


@pytest.mark.timeout(180)
def test_an_unrelated_change_under_a_thousand_flows_loses_none(pair: PairLab, attach: str) -> None:
    pair.server.listen(80)
    protect(pair.server, WEB, "eth0", attach=attach)
    streams = [pair.client.connect(pair.server.v4, 80) for _ in range(1000)]
    busy, silent = streams[:50], streams[50:]
    for stream in busy:
        stream.become("busy")
    rules_before = {flow["sport"]: flow["rule"] for flow in flows(pair.server, proto="tcp", dport=80)}
    assert len(rules_before) == 1000

    pair.server.fw("rule insert 1 drop in tcp to port 81")
    pair.server.fw("rule add allow in tcp to port 8080")
    pair.server.fw("rule delete drop in tcp to port 81")

    all_busy(busy)
    for stream in silent:
        stream.echo(b"after the changes")
    rules_after = {flow["sport"]: flow["rule"] for flow in flows(pair.server, proto="tcp", dport=80)}
    assert rules_after == rules_before
    counted = reasons(pair.server)
    assert counted["revoked"] == counted["no_flow"] == counted["pickup"] == 0


LIMITED = """
    option load.grace 0s
    default in drop
    default out allow
    allow in tcp to port 80 limit 5000/hour max-flows 5000 per source
    allow in tcp to port 81
"""


@pytest.mark.timeout(300)
def test_an_unrelated_change_loses_none_of_ten_thousand_flows(pair: PairLab, family: str) -> None:
    """Half of them are all that a rule's ceilings let in, which are neither charged nor asked again."""
    server = address(pair.server, family)
    words = [sys.executable, str(Path(__file__).with_name("crowd.py"))]
    protect(pair.server, LIMITED, "eth0")
    echo = pair.server.popen([*words, "serve", server, "80", "81"], stdin=subprocess.PIPE)
    assert echo.stdout and echo.stdout.readline() == "ready\n"
    crowd = pair.client.popen([*words, "hold", server, "5000", "80", "81"], stdin=subprocess.PIPE)
    assert crowd.stdin and crowd.stdout and crowd.stdout.readline() == "10000\n"
    assert not answered(lambda: pair.client.connect(server, 80, timeout_s=traffic.SILENCE_S)), "one too many"

    for change in (
        "insert 1 drop in udp to port 5000-6000",
        "add allow in tcp to port 8080",
        "delete drop in udp to port 5000-6000",
    ):
        pair.server.fw(f"rule {change}")
        crowd.stdin.write("\n")
        crowd.stdin.flush()
        assert crowd.stdout.readline() == "10000\n"
    counted = reasons(pair.server)
    assert counted["revoked"] == counted["no_flow"] == 0


def silenced(speaker: Stream, listener: Stream) -> bool:
    speaker.send(b"still there?")
    return not answered(lambda: listener.recv(1, traffic.SILENCE_S))


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_deleted_rule_ends_its_connections_at_the_next_packet(
    pair: PairLab, family: str, attach: str, first: str
) -> None:
    listener = pair.server.listen(80, any_address(family), mode="hold")
    protect(pair.server, WEB, "eth0", attach=attach)
    ours = pair.client.connect(address(pair.server, family), 80)
    theirs = listener.accepted(ours.local)
    ours.send(b"hello")
    assert theirs.recv(5) == b"hello"
    pair.server.fw("rule delete allow in tcp to port 80")
    assert silenced(ours, theirs) if first == "client" else silenced(theirs, ours)
    assert reasons(pair.server)["revoked"] >= 1


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_forwarded_connection_ends_with_its_rule(
    lab: RouterLab, family: str, attach: str, first: str
) -> None:
    listener = lab.server.listen(80, any_address(family), mode="hold")
    protect(lab.router, HOME, "wan0", "lan0", attach=attach)
    ours = lab.client.connect(address(lab.server, family), 80)
    theirs = listener.accepted(ours.local)
    lab.router.fw("rule delete allow forward on lan0 via wan0")
    assert silenced(ours, theirs) if first == "client" else silenced(theirs, ours)


def test_a_udp_conversation_ends_with_its_rule(pair: PairLab, family: str) -> None:
    server = address(pair.server, family)
    pair.server.udp(53, any_address(family), echo=True)
    protect(pair.server, WEB, "eth0")
    socket = pair.client.udp(address=any_address(family))
    for _ in range(3):
        assert socket.ask(server, 53) == b"what?"
    pair.server.fw("rule delete allow in udp to port 53")
    assert not answered(lambda: socket.ask(server, 53, timeout_s=traffic.SILENCE_S))


def test_a_changed_default_reaches_running_flows(pair: PairLab, family: str) -> None:
    client = address(pair.client, family)
    pair.client.listen(7, any_address(family))
    protect(pair.server, WEB, "eth0")
    stream = pair.server.connect(client, 7)
    stream.echo()
    pair.server.fw("default out drop --yes")
    stream.send(b"still there?")
    assert not answered(lambda: stream.recv(1, traffic.SILENCE_S))


@pytest.mark.parametrize("first", ["client", "server"])
def test_connections_are_kept_from_a_change(pair: PairLab, family: str, attach: str, first: str) -> None:
    """What is open goes on, also if it was silent through several changes; who comes new meets the new rules."""
    server = address(pair.server, family)
    listener = pair.server.listen(80, any_address(family), mode="hold")
    protect(pair.server, WEB, "eth0", attach=attach)
    ours = pair.client.connect(server, 80)
    theirs = listener.accepted(ours.local)
    (rule,) = {flow["rule"] for flow in flows(pair.server, dport=80)}
    pair.server.fw("rule delete allow in tcp to port 80 --keep-flows")
    pair.server.fw("rule add allow in tcp to port 8080 --keep-flows")
    pair.server.fw("refresh", check=False)
    for sender, receiver in ((ours, theirs), (theirs, ours)) if first == "client" else ((theirs, ours),):
        sender.send(b"still there")
        assert receiver.recv(11) == b"still there"
    assert {flow["rule"] for flow in flows(pair.server, dport=80)} == {rule}
    assert not answered(lambda: pair.client.connect(server, 80, timeout_s=traffic.SILENCE_S))
    assert pair.server.fw_json("status")["spares"]
    assert "nothing would change" in pair.server.fw("apply --dry-run").stderr
    pair.server.fw("apply")
    assert silenced(ours, theirs) if first == "client" else silenced(theirs, ours)
    assert pair.server.fw_json("status")["spares"] is None


def test_connections_are_kept_while_sets_change_with_the_rules(pair: PairLab, attach: str) -> None:
    """Busy ones meet every moment of the change; who is blocked by a set after it is blocked."""
    pair.server.listen(80)
    client = pair.client.v4
    rules = f"set blocked\nset office = {client}\n{WEB}".replace("to port 80", "from @office to port 80")
    protect(pair.server, rules, "eth0", attach=attach)
    streams = [pair.client.connect(pair.server.v4, 80) for _ in range(20)]
    for stream in streams[:10]:
        stream.become("busy")
    changed = rules.replace(f"office = {client}", "office = 203.0.113.0/24")
    changed = changed.replace("allow in tcp", "drop in from @blocked\nallow in tcp", 1)
    pair.server.fw("apply - --keep-flows", input=f"protect eth0\n{changed}")
    all_busy(streams[:10])
    for stream in streams[10:]:
        stream.echo(b"after the change")
    assert reasons(pair.server)["revoked"] == 0
    assert not answered(lambda: pair.client.connect(pair.server.v4, 80, timeout_s=traffic.SILENCE_S))
    pair.server.fw(f"set add blocked {client}")
    streams[-1].send(b"still there?")
    assert not answered(lambda: streams[-1].recv(1, traffic.SILENCE_S))
    assert reasons(pair.server)["revoked"] > 0


def test_a_killed_change_that_kept_connections_lets_the_next_command_cut_them(pair: PairLab) -> None:
    """Between the two rulesets of a change with sets nothing cuts anybody: whoever comes next ends that."""
    pair.server.listen(80)
    protect(pair.server, "set blocked\ndrop in from @blocked\n" + WEB, "eth0")
    stream = pair.client.connect(pair.server.v4, 80)
    pair.server.python(
        "from firewall import refresh, sparing, state\n"
        "refresh.renew(state.read(), sparing.Flows.KEEP, sets_change=True)"
    )
    stream.echo(b"spared")
    pair.server.fw(f"set add blocked {pair.client.v4}")
    stream.send(b"still there?")
    assert not answered(lambda: stream.recv(1, traffic.SILENCE_S))


def test_another_rule_that_allows_it_keeps_a_connection(pair: PairLab) -> None:
    """The rule that admitted it is deleted, a later one would admit it too: it lives on under that one."""
    pair.server.listen(80)
    protect(pair.server, WEB + "allow in tcp to port 1-100", "eth0")
    stream = pair.client.connect(pair.server.v4, 80)
    stream.echo()
    (before,) = flows(pair.server, dport=80)
    pair.server.fw("rule delete allow in tcp to port 80")
    stream.echo(b"under the other rule")
    (after,) = flows(pair.server, dport=80)
    assert after["rule"] != before["rule"]
    rules = {rule["id"]: rule["text"] for rule in pair.server.fw_json("rule list")["rules"]}
    assert rules[after["rule"]] == "allow in tcp to port 1-100"


def test_a_deleted_flow_must_be_opened_again(pair: PairLab) -> None:
    pair.server.listen(80)
    protect(pair.server, WEB, "eth0")
    kept, lost = (pair.client.connect(pair.server.v4, 80) for _ in range(2))
    pair.server.fw(f"flow delete --port {lost.local[1]}")
    kept.echo()
    lost.send(b"still there?")
    assert not answered(lambda: lost.recv(1, traffic.SILENCE_S))
    pair.server.fw("flow flush")
    kept.send(b"still there?")
    assert not answered(lambda: kept.recv(1, traffic.SILENCE_S))


def test_a_rule_ends_by_itself_and_its_connections_with_it(pair: PairLab, attach: str) -> None:
    """No fw runs when it ends; a connection that another rule allows goes on."""
    for port in (80, 8080):
        pair.server.listen(port)
    protect(pair.server, WEB, "eth0", attach=attach)
    pair.server.fw("rule add allow in tcp to port 8080 --for 8s")
    stays, ends = (pair.client.connect(pair.server.v4, port) for port in (80, 8080))
    for stream in (stays, ends):
        stream.echo(b"while it holds")
    until(lambda: not answered(lambda: ends.echo(timeout_s=traffic.SILENCE_S)), what="the rule's end")
    stays.echo(b"after the end")
    assert reasons(pair.server)["revoked"] > 0


def test_a_ceiling_on_connections(pair: PairLab, attach: str) -> None:
    """The third waits until one of two is closed; whoever is in stays through a change."""
    pair.server.listen(80)
    protect(
        pair.server, WEB.replace("to port 80", "to port 80 max-flows 2 per source"), "eth0", attach=attach
    )
    first, second = (pair.client.connect(pair.server.v4, 80) for _ in range(2))
    assert not answered(lambda: pair.client.connect(pair.server.v4, 80, timeout_s=traffic.SILENCE_S))
    assert reasons(pair.server)["over_limit"] > 0
    pair.server.fw("rule add drop in tcp to port 81")
    for stream in (first, second):
        stream.echo(b"after a change")
    first.close()
    pair.client.connect(pair.server.v4, 80).echo(b"in its place")


def test_a_refresh_keeps_all_but_the_times(pair: PairLab) -> None:
    """Ids, counters, flows and what is left of a ceiling; and the end is where it was, as no clock was set."""
    pair.server.listen(80)
    protect(pair.server, WEB.replace("to port 80", "to port 80 limit 2/day"), "eth0")
    assert "no rule asks for the time, a user or a unit" in pair.server.fw("refresh", check=False).stderr
    pair.server.fw("rule add allow in tcp to port 8080 --for 1h")
    stream = pair.client.connect(pair.server.v4, 80)
    stream.echo()
    before = pair.server.fw_json("rule list")["rules"]
    generation = pair.server.fw_json("status")["generation"]
    pair.server.fw("refresh")
    assert pair.server.fw_json("status")["generation"] > generation
    after = pair.server.fw_json("rule list")["rules"]
    assert [(rule["id"], rule["text"]) for rule in after] == [(rule["id"], rule["text"]) for rule in before]
    assert all(one["packets"] >= other["packets"] for one, other in zip(after, before, strict=True))
    stream.echo(b"after the refresh")
    pair.client.connect(pair.server.v4, 80).echo(b"the second of two")
    assert not answered(lambda: pair.client.connect(pair.server.v4, 80, timeout_s=traffic.SILENCE_S))
    assert reasons(pair.server)["revoked"] == 0
