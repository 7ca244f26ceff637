# SPDX-License-Identifier: MIT
"""`fw` killed before each system call in turn: always one whole ruleset in force, files whole, flows alive."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import killer
from tests.lab.attachment import pins, programs, protect
from tests.lab.lab import PairLab
from tests.lab.traffic import Stream, answered
from tests.lab.wait import until

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]

NOTHING_LOADED = 3
LOCK = ".lock"
"""Counting begins when fw opens its lock file."""

COMMON = """protect eth0
option load.grace 0s
default in reject
default out allow
allow in tcp to port 80
"""
RULESETS = {
    81: COMMON + "allow in tcp to port 81\n",
    82: COMMON + "# the other one\nallow in tcp to port 82\n",
}
"""Two policies, known by the one port that only they open."""


PROBED_TWICE = 8
"""Two threads load the programs, and both may try what the kernel can: runs differ by that many calls at most."""


def open_port(pair: PairLab) -> int:
    """Which of the two rulesets is in force, judged by its effect: one port is open, the other is refused."""
    answers = []
    for port in RULESETS:
        try:
            stream = pair.client.connect(pair.server.v4, port)
            stream.close(reset=True)
            answers.append(port)
        except ConnectionRefusedError:
            pass
    assert len(answers) == 1, f"ports {answers} are open: neither ruleset is whole"
    return answers[0]


def calls_of(report: killer.Report) -> str:
    return ", ".join(f"{n}:{call}" for n, call in enumerate(report.calls, 1))


def turns(report: killer.Report) -> list[int]:
    """The places to kill at when not all of them can be tried: where one kind of call follows another."""
    calls = report.calls
    return [n for n, call in enumerate(calls, 1) if n == 1 or call != calls[n - 2]]


def unload_wholly(pair: PairLab, when: str) -> None:
    done = pair.server.fw("unload", "--all", check=False)
    assert done.returncode in (0, NOTHING_LOADED), f"{when}: {done.stderr}"
    assert not pins(pair.server) and not any(programs(pair.server, "eth0").values()), when


@pytest.fixture
def stream(pair: PairLab) -> Stream:
    """A connection that every kill must leave alive. Ports 81 and 82 listen too."""
    for port in (80, *RULESETS):
        pair.server.listen(port)
    return pair.client.connect(pair.server.v4, 80)


def test_apply_is_whole_or_not_at_all(
    pair: PairLab, stream: Stream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {port: tmp_path / f"{port}.fw" for port in RULESETS}
    for port, text in RULESETS.items():
        files[port].write_text(text)
    protect(pair.server, RULESETS[81])

    def apply(port: int) -> list[str]:
        return pair.server.fw_words("apply", str(files[port]), way="nsenter")

    whole = killer.count(apply(82), LOCK)
    assert whole.exit_status == 0 and open_port(pair) == 82
    places = len(whole.calls)
    outcomes = []
    now = 82
    for n in range(1, places + 1):
        wanted = 81 if now == 82 else 82
        assert killer.run_killed_at(apply(wanted), n, LOCK) or n == places
        stream.echo(b"after kill %d" % n)
        in_force, saved = open_port(pair), pair.server.policy_file.read_text()
        assert pair.server.fw("show").stdout == RULESETS[in_force], f"killed before call {n}"
        assert saved in RULESETS.values(), (
            f"killed before call {n}: the file is neither the old nor the new one"
        )
        outcomes.append("new" if in_force == wanted else "old")
        pair.server.fw("apply", str(files[wanted]))
        assert open_port(pair) == wanted and pair.server.policy_file.read_text() == RULESETS[wanted]
        now = wanted
    left = [path.name for path in pair.server.policy_file.parent.iterdir()]
    with capsys.disabled():
        print(
            f"\nfw apply: killed before each of {places} system calls that change anything "
            f"({whole.passed_over} others passed over); old ruleset {outcomes.count('old')} times, "
            f"new {outcomes.count('new')} times"
        )
    assert outcomes[0] == "old" and outcomes[-1] == "new", calls_of(whole)
    assert outcomes == sorted(outcomes, reverse=True), "once it is in force it stays in force"
    assert left == ["rules.fw"], "no temporary file is left after the next apply"


def test_load_protects_wholly_or_can_be_done_again(
    pair: PairLab, stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    """First load, killed at every call: what is attached has a policy; the next load and unload put all right."""
    pair.server.save_policy(RULESETS[81])
    load = pair.server.fw_words("load", "eth0", way="nsenter")
    whole = killer.count(load, LOCK)
    assert whole.exit_status == 0
    pair.server.fw("unload --all")
    pair.server.save_policy(RULESETS[81])
    first = whole.calls.index("mkdir") + 1  # what comes before is in the memory of fw alone
    places = [n for n in turns(whole) if n >= first]
    for n in places:
        killed = killer.run_killed_at(load, n, LOCK)
        assert killed or n > len(whole.calls) - PROBED_TWICE, f"not killed before call {n}"
        stream.echo(b"after kill %d" % n)
        attached = programs(pair.server, "eth0")
        if attached["ingress"] and attached["egress"]:
            assert open_port(pair) == 81, f"killed before call {n}: attached without its policy"
        pair.server.fw("load", "eth0")
        assert all(programs(pair.server, "eth0").values()), (
            f"killed before call {n}: loading again did not attach"
        )
        assert open_port(pair) == 81
        stream.echo(b"loaded again")
        unload_wholly(pair, f"killed before call {n}")
        pair.server.save_policy(RULESETS[81])
    with capsys.disabled():
        print(
            f"\nfw load: killed before {len(places)} of {len(whole.calls)} system calls that change anything"
        )


def test_unload_can_be_done_again(pair: PairLab, stream: Stream) -> None:
    unload = pair.server.fw_words("unload", "--all", way="nsenter")
    protect(pair.server, RULESETS[81])
    for n in turns(killer.count(unload, LOCK)):
        protect(pair.server, RULESETS[81])
        assert killer.run_killed_at(unload, n, LOCK)
        stream.echo(b"after kill %d" % n)
        unload_wholly(pair, f"killed before call {n}")


MORE = "".join(f"drop in tcp from 198.18.{n >> 8}.{n & 255}\n" for n in range(2100))
"""Rules for which there has to be another page of counters."""

GIVEN_UP = 8
"""What a killed command leaves in slots, which the next one gives up: runs differ by that many calls at most."""


@pytest.mark.parametrize(("old", "new"), [(81, 82), (82, 81)], ids=["grows", "shrinks"])
def test_counters_live_on_when_rules_by_the_thousand_come_or_go(
    pair: PairLab, stream: Stream, tmp_path: Path, old: int, new: int
) -> None:
    """Killed at every call; what a rule has counted is there before and after the next apply."""
    texts = {81: RULESETS[81], 82: RULESETS[82] + MORE}
    for port, text in texts.items():
        (tmp_path / f"{port}.fw").write_text(text)
    protect(pair.server, texts[old])

    def apply(port: int) -> list[str]:
        return pair.server.fw_words("apply", str(tmp_path / f"{port}.fw"), way="nsenter")

    def packets() -> int:
        rules = pair.server.fw_json("rule list")["rules"]
        return int(next(rule["packets"] for rule in rules if rule["text"] == "allow in tcp to port 80"))

    whole = killer.count(apply(new), LOCK)
    assert whole.exit_status == 0 and open_port(pair) == new
    pair.server.fw("apply", str(tmp_path / f"{old}.fw"))
    last = packets()
    for n in turns(whole):
        killed = killer.run_killed_at(apply(new), n, LOCK)
        assert killed or n > len(whole.calls) - GIVEN_UP, f"not killed before call {n}"
        for _ in range(2):
            stream.echo(b"after kill %d" % n)
            assert packets() >= last + 2, f"killed before call {n}"
            last = packets()
            assert open_port(pair) in texts
            pair.server.fw("apply", str(tmp_path / f"{old}.fw"))
        assert open_port(pair) == old


def test_what_a_killed_set_add_has_written_is_heard_of(pair: PairLab) -> None:
    """A running flow ends when its opener is in the set, whether or not the command lived to tell it."""
    server = pair.server
    server.udp(53, echo=True)
    asker = pair.client.udp()
    policy = "default in drop\ndefault out drop\nset bad\ndrop in from @bad\nallow in udp to port 53\n"
    protect(server, policy, "eth0")

    def goes_on(timeout_s: float) -> bool:
        return answered(lambda: asker.ask(server.v4, 53, timeout_s=timeout_s))

    def add() -> list[str]:
        return server.fw_words("set", "add", "bad", pair.client.v4, way="nsenter")

    whole = killer.count(add(), LOCK)
    assert whole.exit_status == 0
    server.fw("set flush bad")
    heard = []
    for n in range(1, len(whole.calls) + 1):
        assert goes_on(5), f"before kill {n}"
        killer.run_killed_at(add(), n, LOCK)
        heard.append(bool(server.fw_json("set show bad")["elements"]))
        if heard[-1]:
            until(lambda: not goes_on(0.3), timeout_s=30)
            server.fw("set flush bad")
    assert not heard[0] and heard[-1] and heard == sorted(heard), calls_of(whole)
