# SPDX-License-Identifier: MIT
"""A rule that is added to many comes into force as if all were compiled anew."""

from __future__ import annotations

import json

import pytest

from tests.lab.attachment import inside, protect
from tests.lab.lab import PairLab
from tests.lab.traffic import no_tcp, reaches

MANY = "".join(f"allow in tcp from 10.0.{n >> 8}.{n & 255} to port {n}\n" for n in range(1, 1001))
HEAD = "default in drop\noption load.grace 0s\n# those who may\n"

# Adds rules and tells of each: was it left to `put`, and does the kernel have what compiling all of it gives?
SCRIPT = """
import json
from firewall import addition, change, engine, policyfile
from firewall.addition import _read_base
from firewall.refresh import renew
from firewall.rule import Rule
from firewall.state import read

def has():
    with read() as running:
        base = _read_base(running.pins, running.generation)
        lines = running.pins.map("trees").lookup_inner((running.generation % 4).to_bytes(4, "little"))
        with lines:
            trees = b"".join(value for _, value in sorted(lines.items(), key=lambda one: one[0][::-1]))
        settings = base.settings[4:]  # behind the generation
        return base._replace(settings=settings), trees, running.document

usual = []
put = engine.put
def counting(*words):
    usual.append(words)
    return put(*words)
engine.put = counting

told = []
for words in json.loads(sys.argv[1]):
    rule = Rule.from_words([words])
    usual.clear()
    done = engine.edit(lambda source: policyfile.add_rule(source.text, rule), added=rule, yes=True)
    after = has()
    with read() as running:
        renew(running)
    told.append([bool(usual), has() == after, [one.text for one in done.added], list(done.warnings)])
print(json.dumps(told))
"""


def added(pair: PairLab, *rules: str) -> list[list[object]]:
    """Of each rule: left to the usual way, as if compiled anew, what was added, and what was warned of."""
    told: list[list[object]] = json.loads(inside(pair.server, SCRIPT, json.dumps(rules)))
    return told


def test_one_after_the_other(pair: PairLab) -> None:
    on = "drop in on eth9 udp to port 9\nallow forward on eth9 via not eth8 tcp\n"
    protect(pair.server, HEAD + MANY + on + "# the end", "eth0")
    rules = [
        "allow in tcp to port 8080",
        "drop in on eth9 tcp from 192.0.2.0/24, 2001:db8::/32 to port 1-99 log",
        'reject forward on eth9 via not eth8 comment "both are known"',
        "allow in tcp to port 8080",
    ]
    found = added(pair, *rules)
    covered = "this rule never decides: line 1007 covers it (allow in tcp to port 8080); remove it"
    assert found == [*([False, True, [rule], []] for rule in rules[:3]), [False, True, rules[3:], [covered]]]
    shown = pair.server.fw("show").stdout
    assert shown.endswith(on + "".join(f"{rule}\n" for rule in rules) + "# the end\n")
    assert pair.server.fw("show --saved").stdout == shown


AROUND = """
zone lan = eth8, eth9
zone wan = eth7
set bad = 192.0.2.1, 198.51.100.0/24
set mine timeout 1h
allow in on lan tcp from @bad, 10.255.0.0/16 to port 21
drop in on eth9, eth8 udp from @mine to port 9
reject forward on wan via not lan
"""
EXPECTED = """
expect drop in on wan tcp to port 8080
expect reject forward on wan via wan
"""


def test_zones_sets_and_expectations_beside_the_rules(pair: PairLab) -> None:
    protect(pair.server, HEAD + AROUND + MANY + EXPECTED, "eth0")
    rules = [
        "allow in on lan tcp to port 8080",
        "drop in on eth8, eth9 from @mine",
        "reject forward on wan via eth8, eth9 to not @bad",
        "allow out from @mine, 192.0.2.77 to @bad",
    ]
    assert added(pair, *rules) == [[False, True, [rule], []] for rule in rules]
    shown = pair.server.fw("show").stdout
    assert shown.endswith("".join(f"{rule}\n" for rule in rules) + EXPECTED)
    assert pair.server.fw("apply").stderr.startswith("nothing changed")
    said = pair.server.fw("rule add allow in tcp to port 8080", check=False)
    assert said.returncode == 9 and "this does not hold" in said.stderr
    assert pair.server.fw("show").stdout == shown
    said = pair.server.fw("rule add allow in from @badd", check=False)
    assert said.returncode == 2 and "did you mean '@bad'?" in said.stderr
    assert pair.server.fw("show").stdout == shown


@pytest.mark.parametrize(
    ("head", "rule"),
    [
        ("", "allow in on eth5 tcp"),
        ("", "allow in tcp limit 10/second"),
        ("set bad counters = 192.0.2.1\n", "drop in from @bad"),
        ("zone lan = eth1\n", "allow in on lan udp"),
        ("expect drop in udp to port 9\n", "drop in udp from 192.0.2.0/24 to port 9-10"),
        ("allow in udp to port 9 between 08:00 and 18:00\n", "allow in udp"),
        ("allow out udp to port 9 user 33\n", "allow in udp"),
    ],
)
def test_what_needs_more_goes_the_usual_way(pair: PairLab, head: str, rule: str) -> None:
    protect(pair.server, HEAD + head + MANY, "eth0")
    assert [one[:3] for one in added(pair, rule)] == [[True, True, [rule]]]


def test_packets_and_files_meet_the_rule(pair: PairLab) -> None:
    pair.server.listen(8080)
    protect(pair.server, HEAD + MANY, "eth0")
    assert no_tcp(pair.client, pair.server.v4, 8080)
    said = pair.server.fw("rule add allow in tcp to port 8080")
    assert said.stdout == "+ rule 1001: allow in tcp to port 8080\n"
    assert reaches(pair.client, pair.server.v4, 8080)
    assert pair.server.fw("apply").stderr.startswith("nothing changed")
    refused = pair.server.fw("rule add drop in tcp to port 22 --dry-run", check=False)
    assert refused.stdout == "+ rule 1002: drop in tcp to port 22\n"
    pair.server.fw("rule delete 1001")
    assert no_tcp(pair.client, pair.server.v4, 8080)


def test_a_rule_added_at_run_time_is_not_saved(pair: PairLab) -> None:
    protect(pair.server, HEAD + MANY, "eth0")
    before = pair.server.fw("show --saved").stdout
    said = pair.server.fw("rule add --runtime allow in tcp to port 8080")
    assert "not saved" in said.stderr
    assert pair.server.fw("show --saved").stdout == before
    assert pair.server.fw("show").stdout == before + "allow in tcp to port 8080\n"
