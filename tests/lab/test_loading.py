# SPDX-License-Identifier: MIT
"""Loading and unloading: beside the programs of others, again and again, and away without a trace."""

from __future__ import annotations

import pytest

from firewall import features
from tests.lab.attachment import drops, flows, index_of, inside, pins, programs, protect, reasons
from tests.lab.host import Way
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import no_ping, no_tcp, pings, reaches

WEB = """
    default in drop
    default out allow
    allow in tcp to port 80
"""


ACCEPT, DROP = 0, 2


def others_filter(pair: PairLab, pref: int, verdict: int) -> None:
    """A filter of somebody else at ingress, one classic BPF instruction: return the verdict."""
    pair.server.run("tc qdisc add dev eth0 clsact", check=False)
    program = ["bytecode", f"1,6 0 0 {verdict}"]
    pair.server.run([*f"tc filter add dev eth0 ingress pref {pref} bpf direct-action".split(), *program])


def filters(pair: PairLab) -> str:
    return pair.server.run("tc filter show dev eth0 ingress").stdout


def test_fw_stands_before_others_and_leaves_them_alone(pair: PairLab, attach: str) -> None:
    others_filter(pair, 50, ACCEPT)
    before = filters(pair)
    protect(pair.server, WEB, "eth0", attach=attach)
    assert no_ping(pair.client, pair.server.v4), "an accepting filter of others does not let anything by us"
    pair.server.listen(80)
    assert reaches(pair.client, pair.server.v4, 80)
    pair.server.fw("unload --all")
    assert filters(pair) == before
    assert "clsact" in pair.server.run("tc qdisc show dev eth0").stdout, "the qdisc was theirs"


def test_others_after_us_are_still_asked(pair: PairLab, attach: str) -> None:
    """What we pass, a later filter may drop."""
    pair.server.listen(80)
    protect(pair.server, WEB, "eth0", attach=attach)
    assert reaches(pair.client, pair.server.v4, 80)
    others_filter(pair, 99, DROP)
    assert no_tcp(pair.client, pair.server.v4, 80)


def test_nothing_is_left_after_unload(pair: PairLab, attach: str) -> None:
    qdiscs = pair.server.run("tc qdisc show dev eth0").stdout
    protect(pair.server, WEB, "eth0", attach=attach)
    assert programs(pair.server, "eth0") == {"ingress": ["fw_ingress"], "egress": ["fw_egress"]}
    pair.server.fw("unload --all")
    assert programs(pair.server, "eth0") == {"ingress": [], "egress": []}
    assert pair.server.run("tc qdisc show dev eth0").stdout == qdiscs
    assert not pins(pair.server)
    assert pair.server.fw("status", check=False).returncode == 3
    assert pair.server.fw("unload --all", check=False).returncode in (0, 3)


def test_loading_twice_changes_nothing(pair: PairLab, attach: str) -> None:
    pair.server.listen(80)
    protect(pair.server, WEB, "eth0", attach=attach)
    stream = pair.client.connect(pair.server.v4, 80)
    before = programs(pair.server, "eth0"), pair.server.fw_json("status")["generation"]
    pair.server.fw("load", "eth0", "--attach", attach)
    pair.server.fw("load")
    assert (programs(pair.server, "eth0"), pair.server.fw_json("status")["generation"]) == before
    stream.echo()
    assert len(flows(pair.server, dport=80)) == 1


def test_what_is_attached_is_attached_in_another_way(lab: RouterLab) -> None:
    if not features.tcx():
        pytest.skip("this kernel has no TCX")
    protect(lab.router, WEB, "wan0", "lan0", attach="tcx")
    generation = lab.router.fw_json("status")["generation"]

    def ways() -> dict[str, str]:
        return {one["name"]: one["attach"] for one in lab.router.fw_json("status")["interfaces"]}

    for words, found in (
        (["wan0", "--attach", "clsact"], {"lan0": "tcx", "wan0": "clsact"}),
        (["--attach", "auto"], {"lan0": "tcx", "wan0": "clsact"}),
        (["--attach", "clsact"], {"lan0": "clsact", "wan0": "clsact"}),
        (["--attach", "tcx"], {"lan0": "tcx", "wan0": "tcx"}),
    ):
        lab.router.fw("load", *words)
        assert ways() == found
        for interface in found:
            assert programs(lab.router, interface) == {"ingress": ["fw_ingress"], "egress": ["fw_egress"]}
    assert lab.router.fw_json("status")["generation"] == generation
    assert "clsact" not in lab.router.run("tc qdisc show").stdout


KILLED = """
import os
from firewall import attach, bpfprog, paths
from firewall.pins import Pins
from firewall.protect import _attach_again
def die(*_): os._exit(0)
create = bpfprog.link_create_tcx
attach._detach_tcx = attach._detach_clsact = die
if sys.argv[3] == "half":
    bpfprog.link_create_tcx = lambda *words: die() if words[2] else create(*words)
_attach_again(Pins(paths.find_pin_dir()), int(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.parametrize(
    ("old", "new", "how"), [("tcx", "clsact", ""), ("clsact", "tcx", ""), ("clsact", "tcx", "half")]
)
def test_a_change_of_the_way_that_was_cut_off_is_completed(
    pair: PairLab, old: str, new: str, how: str
) -> None:
    if not features.tcx():
        pytest.skip("this kernel has no TCX")
    protect(pair.server, WEB, "eth0", attach=old)
    inside(pair.server, KILLED, index_of(pair.server, "eth0"), new, how)
    assert programs(pair.server, "eth0")["egress"] == ["fw_egress", "fw_egress"]
    assert no_ping(pair.client, pair.server.v4)
    pair.server.fw("mode enforce")
    assert programs(pair.server, "eth0") == {"ingress": ["fw_ingress"], "egress": ["fw_egress"]}
    assert pair.server.fw_json("status")["interfaces"][0]["attach"] == "tcx"


def test_names_said_twice_and_names_that_say_more(lab: RouterLab) -> None:
    for name in ("wan0,lan0", "wan0+"):
        lab.router.ip(f"link add {name} type bridge")
        refused = lab.router.fw("load", "lan0", name, check=False)
        assert refused.returncode == 2 and f"a policy cannot name the interface '{name}'" in refused.stderr
        assert not lab.router.policy_file.exists()
    lab.router.fw("load", "wan0", "lan0", "wan0")
    protected = [line for line in lab.router.policy_file.read_text().splitlines() if "protect" in line]
    assert protected == ["protect wan0", "protect lan0"]


def test_a_way_that_one_interface_refuses_changes_none(lab: RouterLab) -> None:
    if not features.tcx():
        pytest.skip("this kernel has no TCX")
    protect(lab.router, WEB, "wan0", "lan0", attach="tcx")
    lab.router.run("tc qdisc add dev wan0 ingress")
    refused = lab.router.fw("load", "--attach", "clsact", check=False)
    assert refused.returncode == 6 and "wan0 has an 'ingress' qdisc" in refused.stderr
    assert {one["attach"] for one in lab.router.fw_json("status")["interfaces"]} == {"tcx"}
    assert no_ping(lab.server, lab.router.v4)


def test_the_protect_line_follows_load_and_unload(lab: RouterLab) -> None:
    protect(lab.router, "# mine\ndefault in drop\ndefault out allow", "wan0")
    lab.router.fw("load lan0")
    text = lab.router.policy_file.read_text()
    assert text.startswith("# mine\n") and "wan0" in text and "lan0" in text
    lab.router.fw("unload wan0")
    assert "wan0" not in lab.router.policy_file.read_text()
    assert [i["name"] for i in lab.router.fw_json("status")["interfaces"]] == ["lan0"]
    assert pings(lab.server, lab.router.v4)


def test_upgrade_keeps_every_flow(pair: PairLab, attach: str) -> None:
    pair.server.listen(80)
    protect(pair.server, "option load.grace 0s\n" + WEB, "eth0", attach=attach)
    streams = [pair.client.connect(pair.server.v4, 80) for _ in range(100)]
    streams[0].become("busy")
    before = reasons(pair.server)
    pair.server.fw("upgrade")
    for stream in streams[1:]:
        stream.echo(b"after the upgrade")
    assert streams[0].rounds() > 0
    assert len(flows(pair.server, dport=80)) == 100
    after = reasons(pair.server)
    for name in ("no_flow", "revoked", "pickup", "no_policy", "default_drop"):
        assert after[name] == before[name], name
    assert programs(pair.server, "eth0") == {"ingress": ["fw_ingress"], "egress": ["fw_egress"]}


@pytest.mark.parametrize("way", ["exec", "netns", "nsenter"])
def test_a_namespace_is_itself_however_it_is_entered(pair: PairLab, way: Way) -> None:
    """Loaded one way, seen and changed the others."""
    pair.server.save_policy("protect eth0\ndefault in drop\ndefault out allow\n")
    pair.server.fw("load", way=way)
    others: tuple[Way, ...] = ("exec", "netns", "nsenter")
    for number, other in enumerate(others):
        assert "eth0" in pair.server.fw("status", way=other).stdout
        pair.server.fw("rule", "add", *f"allow in tcp to port {80 + number}".split(), way=other)
    assert len(pair.server.fw_json("rule list")["rules"]) >= 3
    assert pair.server.policy_file.read_text().count("allow in tcp") == 3
    assert pair.client.fw("status", check=False).returncode == 3, "the other namespace has nothing loaded"


def test_the_first_load_writes_a_starter_file(pair: PairLab) -> None:
    done = pair.server.fw("load eth0")
    text = pair.server.policy_file.read_text()
    assert "protect eth0" in text and "default in drop" in text
    assert "default in drop" in done.stdout + done.stderr
    assert no_ping(pair.client, pair.server.v4)
    assert drops(pair.server, dst=pair.server.v4, reason="default_drop")
