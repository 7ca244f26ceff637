# SPDX-License-Identifier: MIT
"""The engine on real interfaces: replacing tables and programs under traffic, and giving up without a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.attachment import flows, index_of, inside, pins, programs, protect
from tests.lab.host import Host
from tests.lab.lab import PairLab, RouterLab
from tests.lab.traffic import Stream, all_busy, no_tcp, reaches

REFUSED, FAILED, USAGE, UNMET, WOULD_CHANGE = 8, 1, 2, 9, 10

WEB = """default in drop
default out allow
allow in tcp to port 80
"""


@pytest.fixture
def busy(pair: PairLab) -> list[Stream]:
    """Connections to the server that talk all the time."""
    for port, home in ((80, "0.0.0.0"), (80, "::"), (81, "0.0.0.0")):
        pair.server.listen(port, home)
    streams = [pair.client.connect(pair.server.v4, 80) for _ in range(20)]
    streams += [pair.client.connect(pair.server.v6, 80) for _ in range(20)]
    for stream in streams:
        stream.become("busy")
    return streams


def replaced(pair: PairLab, before: dict[str, list[int]]) -> bool:
    """Whether both hooks run other programs than before."""
    now = program_ids(pair)
    return all(now[hook] and not set(now[hook]) & set(before[hook]) for hook in before)


IDS = """
import json
from firewall import attach
from firewall.paths import find_pin_dir
found = attach.status(int(sys.argv[1]), find_pin_dir())
print(json.dumps({"ingress": [found.ingress.prog_id], "egress": [found.egress.prog_id]}))
"""


def program_ids(pair: PairLab) -> dict[str, list[int]]:
    ids: dict[str, list[int]] = json.loads(inside(pair.server, IDS, index_of(pair.server, "eth0")))
    return ids


def table_ids(pair: PairLab) -> list[int]:
    """The maps of flows that both programs and the pins use; one number if they agree."""
    code = """
from firewall import attach, bpfmap, bpfprog
from firewall.paths import find_pin_dir
pins = find_pin_dir()
table = bpfmap.open_pinned(pins / "flows")
found = attach.status(int(sys.argv[1]), pins)
for hook in (found.ingress, found.egress):
    assert table.id in bpfprog.program_by_id(hook.prog_id).map_ids, "a program uses another table"
print(table.id)
"""
    return [int(inside(pair.server, code, index_of(pair.server, "eth0")))]


@pytest.mark.parametrize("size", [200_000, 1_024])
def test_a_table_of_another_size_has_all_flows(
    pair: PairLab, busy: list[Stream], attach: str, size: int
) -> None:
    protect(pair.server, WEB, "eth0", attach=attach)
    all_busy(busy)
    before, ids = table_ids(pair), program_ids(pair)
    assert len(flows(pair.server, dport=80)) == len(busy)

    pair.server.fw(f"option flows.max {size}")

    table = pair.server.fw_json("status")["flows"]
    assert (table["max"], table["used"]) == (size, len(busy))
    assert (table["displaced"], table["lost"]) == (0, 0)
    assert sum(source["flows"] for source in table["busiest"]) == len(busy)
    assert table_ids(pair) != before and replaced(pair, ids)
    all_busy(busy)
    pair.server.fw("option load.grace 0s")
    found = flows(pair.server, dport=80)
    assert len(found) == len(busy) and {flow["state"] for flow in found} == {"established"}
    assert no_tcp(pair.client, pair.server.v4, 81)


def test_an_interrupted_replacement_is_completed_by_the_next_command(
    pair: PairLab, busy: list[Stream], attach: str
) -> None:
    protect(pair.server, WEB, "eth0", attach=attach)
    all_busy(busy)
    ids = program_ids(pair)
    inside(
        pair.server,
        """
from firewall import state
from firewall.programs import prepare_next
with state.read() as running:
    prepare_next(running.pins, state.FlowLimits(100_000, 20_000))
""",
    )
    (directory,) = pins(pair.server)
    assert (directory / "next" / "flows").exists() and program_ids(pair) == ids, "not carried out yet"
    all_busy(busy)
    assert pair.server.fw_json("status")["flows"]["max"] == 65_536

    pair.server.fw("mode observe")

    assert not (directory / "next").exists() and replaced(pair, ids) and table_ids(pair)
    assert pair.server.fw_json("status")["flows"]["max"] == 100_000
    pair.server.fw("mode enforce")
    all_busy(busy)
    assert len(flows(pair.server, dport=80)) == len(busy)


def test_a_table_too_small_for_its_flows_is_said(pair: PairLab) -> None:
    protect(pair.server, WEB + "option flows.max 4096\n", "eth0")
    inside(
        pair.server,
        """
from ipaddress import ip_address
from firewall import abi, state
from firewall.clock import now_j
from firewall.live import Ends
from firewall.requests import requests_of
from firewall.seed import Seed, Way, entry
way, here = Way(abi.Scope.SCOPE_IN, 2, 0), ip_address("192.0.2.1")
seeds = [Seed(Ends(6, ip_address(0x0A000000 + i), 1024, here, 80), way) for i in range(1500)]
with state.read() as running, requests_of(running.pins) as requests:
    assert requests.add(entry(one, {}, now_j()) for one in seeds) == 1500
""",
    )
    said = "1500 flows are in the table, of which 1024 have a place by 'option flows.max 1024'"
    assert said not in pair.server.fw("option flows.max 2048").stderr
    for words in (("--dry-run",), ()):
        assert said in pair.server.fw("option", "flows.max", "1024", *words, check=False).stderr, words
    assert pair.server.fw_json("status")["flows"]["used"] == 1024


@pytest.mark.parametrize("carried_out", ["not at all", "but for the pins"])
def test_flows_deleted_after_an_interrupted_replacement_stay_away(
    pair: PairLab, attach: str, carried_out: str
) -> None:
    """The tables that are about to come have copies of them."""
    protect(pair.server, WEB, "eth0", attach=attach)
    pair.server.udp(53, echo=True)
    pair.server.fw("rule add allow in udp to port 53")
    question = pair.client.udp()
    for _ in range(3):
        question.ask(pair.server.v4, 53)
    inside(
        pair.server,
        """
import os
from firewall import programs, state
with state.read() as running:
    programs.prepare_next(running.pins, state.FlowLimits(100_000, 20_000))
    if sys.argv[1] == "but for the pins":
        programs.os.rename = lambda *_: os._exit(0)
        programs.finish_next(running.pins)
""",
        carried_out,
    )
    (directory,) = pins(pair.server)
    assert (directory / "next").exists()
    assert pair.server.fw("flow flush --yes").stderr.splitlines()[-1] == "1 flow deleted"
    assert not (directory / "next").exists()
    pair.server.fw("mode observe")
    assert flows(pair.server, proto="udp") == []


def test_another_layout_is_replaced_and_nothing_is_open_meanwhile(
    pair: PairLab, busy: list[Stream], attach: str
) -> None:
    """As if a version with other maps had loaded it: `fw upgrade` puts this version in its place."""
    protect(pair.server, WEB, "eth0", attach=attach)
    all_busy(busy)
    (directory,) = pins(pair.server)
    (directory / "layout").unlink()
    (directory / "layout").symlink_to("999")
    ids = program_ids(pair)
    knocking = pair.client.popen(
        ["sh", "-c", f"while ! nc -z -w 1 {pair.server.v4} 81 2>/dev/null; do :; done; echo open"]
    )

    pair.server.fw("upgrade")

    assert replaced(pair, ids)
    all_busy(busy)
    assert no_tcp(pair.client, pair.server.v4, 81)
    assert knocking.poll() is None, "port 81 was open for a moment"
    knocking.kill()
    assert [path.name for path in pins(pair.server)] == [directory.name]
    assert {flow["state"] for flow in flows(pair.server, dport=80)} == {"established"}
    pair.server.fw("rule add allow in tcp to port 81")
    assert reaches(pair.client, pair.server.v4, 81)


def test_an_interrupted_change_of_layout_is_completed(pair: PairLab, busy: list[Stream], attach: str) -> None:
    protect(pair.server, WEB, "eth0", attach=attach)
    all_busy(busy)
    (directory,) = pins(pair.server)
    ids = program_ids(pair)
    (directory / "layout").unlink()
    (directory / "layout").symlink_to("999")
    inside(
        pair.server,
        """
import os
from firewall import paths, recover, upgrade
recover.finish_succession = lambda directory: os._exit(0)
upgrade.replace_layout(paths.find_pin_dir(), True)
""",
    )
    assert sorted(path.name for path in pins(pair.server)) == [directory.name, directory.name + "-next"]
    assert program_ids(pair) == ids
    pair.server.fw("load")
    assert [path.name for path in pins(pair.server)] == [directory.name]
    assert replaced(pair, ids)
    all_busy(busy)


def of_another_layout(host: Host) -> Path:
    """The pins, as if a version with other maps had made them."""
    (directory,) = pins(host)
    (directory / "layout").unlink()
    (directory / "layout").symlink_to("999")
    return directory


def test_a_change_of_layout_protects_what_the_saved_policy_names(lab: RouterLab, attach: str) -> None:
    router = lab.router
    protect(router, WEB, "lan0", attach=attach)
    of_another_layout(router)
    router.save_policy("protect nowhere0\n" + WEB)
    done = router.fw("upgrade", check=False)
    assert done.returncode == REFUSED and "lan0 would be open" in done.stderr
    assert all(programs(router, "lan0").values()) and [path.name[-4:] != "next" for path in pins(router)] == [
        True
    ]
    router.save_policy("protect wan0\n" + WEB)
    assert router.fw("upgrade").stderr.splitlines()[-1] == "upgraded on wan0; 0 flows kept"
    assert all(programs(router, "wan0").values()) and not any(programs(router, "lan0").values())
    status = router.fw_json("status")
    assert [one["name"] for one in status["interfaces"]] == ["wan0"] and not status["differs"]


def test_what_another_layout_does_not_tell_is_said(pair: PairLab) -> None:
    protect(pair.server, WEB, "eth0")
    for lost, said in (
        ((), "counters"),
        (("flows",), "flows, counters"),
        (("interfaces", "control"), "flows, counters, mode"),
    ):
        directory = of_another_layout(pair.server)
        for name in lost:
            (directory / name).unlink()
        done = pair.server.fw("upgrade")
        assert done.stderr.splitlines()[0] == f"warning: another layout: {said} began anew"


def test_unloading_all_after_an_interrupted_change_of_layout_leaves_nothing(
    pair: PairLab, attach: str
) -> None:
    """What is known of the attachments has been moved to the pins that are to take over."""
    protect(pair.server, WEB, "eth0", attach=attach)
    directory = of_another_layout(pair.server)
    (directory / "links").mkdir(exist_ok=True)
    (directory / "links" / "not_ours").mkdir()
    inside(
        pair.server,
        """
import os
from firewall import paths, recover, upgrade
recover.remove_tree = lambda directory: os._exit(0)
upgrade.replace_layout(paths.find_pin_dir(), True)
""",
    )
    assert not (directory / attach_kept(attach)).exists()
    pair.server.fw("unload --all")
    assert not pins(pair.server) and not any(programs(pair.server, "eth0").values())
    assert "clsact" not in pair.server.run("tc qdisc show dev eth0").stdout


def attach_kept(attach: str) -> str:
    """Where it is kept how an interface is attached."""
    return "links" if attach == "tcx" else "clsact"


def test_what_cannot_be_attached_leaves_nothing(pair: PairLab) -> None:
    pair.server.run("tc qdisc add dev eth0 ingress")
    done = pair.server.fw("load eth0 --attach clsact", check=False)
    assert done.returncode != 0 and "ingress" in done.stderr
    assert not pins(pair.server) and not pair.server.policy_file.exists()
    assert not any(programs(pair.server, "eth0").values())


def test_what_cannot_be_attached_leaves_the_rest_as_it_was(lab: RouterLab) -> None:
    router = lab.router
    for port in (80, 81):
        router.listen(port)
    protect(router, WEB, "wan0")
    text, before = router.policy_file.read_text(), router.fw_json("status")
    router.run("tc qdisc add dev lan0 ingress")
    done = router.fw("load lan0 --attach clsact", check=False)
    assert done.returncode != 0 and "ingress" in done.stderr
    after = router.fw_json("status")
    assert router.policy_file.read_text() == text and router.fw("show").stdout == text
    assert after["interfaces"] == before["interfaces"] and after["generation"] == before["generation"]
    for _ in range(5):
        router.fw("load lan0 --attach clsact", check=False)
        assert reaches(lab.server, router.v4, 80) and not reaches(lab.server, router.v4, 81)
    router.fw("load lan0 --attach tcx")
    assert router.fw_json("status")["generation"] > before["generation"] + 6, "a number never returns"


def test_a_bridge_port_is_refused_by_the_name_of_its_bridge(lab: RouterLab) -> None:
    lab.router.ip("link add br0 type bridge", "link set lan0 master br0", "link set br0 up")
    done = lab.router.fw("load lan0", check=False)
    assert done.returncode != 0 and "protect br0" in done.stderr and not pins(lab.router)
    lab.router.fw("load br0")
    done = lab.router.fw("load lo", check=False)
    assert done.returncode != 0 and "loopback" in done.stderr


def test_protect_lines_of_an_applied_file_attach_and_detach(lab: RouterLab, tmp_path: Path) -> None:
    router = lab.router
    protect(router, WEB, "wan0")
    file = tmp_path / "new.fw"

    def apply(*protected: str, options: str = "", check: bool = True) -> int:
        file.write_text("".join(f"protect {name}\n" for name in protected) + WEB)
        return router.fw("apply", str(file), *options.split(), check=check).returncode

    apply("wan0", "lan0")
    assert all(programs(router, "lan0").values())
    assert apply("lan0", options="--dry-run", check=False) == WOULD_CHANGE
    assert all(programs(router, "wan0").values())
    apply("lan0")
    assert not any(programs(router, "wan0").values()) and all(programs(router, "lan0").values())
    assert apply(check=False) == REFUSED
    assert all(programs(router, "lan0").values()), "a file without protect lines is likely a slip"
    assert router.policy_file.read_text() == "protect lan0\n" + WEB


def test_a_wider_protect_line_must_be_edited_by_hand(lab: RouterLab) -> None:
    protect(lab.router, "protect lan+, wan0\n" + WEB)
    done = lab.router.fw("unload lan0", check=False)
    assert done.returncode == USAGE and "lan+" in done.stderr
    assert all(programs(lab.router, "lan0").values())
    lab.router.fw("unload wan0")
    assert lab.router.policy_file.read_text() == "protect lan+\n" + WEB


@pytest.mark.parametrize("rules", [1, 1100])
def test_a_renamed_interface_stays_filtered(pair: PairLab, rules: int) -> None:
    """Whatever is changed, until somebody says that it is to be open."""
    server = pair.server
    many = "".join(f"drop in udp from 10.0.{n >> 8}.{n & 255} to port {n}\n" for n in range(1, rules + 1))
    protect(server, WEB + many, "eth0")
    server.ip("link set eth0 down", "link set eth0 name eth7", "link set eth7 up")
    (shown,) = server.fw_json("status")["interfaces"]
    assert (shown["name"], shown["name_now"]) == ("eth0", "eth7")
    assert "eth0  " in server.fw("status").stdout and ", now called eth7" in server.fw("status").stdout
    assert "'eth0' is not protected" in server.fw("unload eth0", check=False).stderr
    said = server.fw("rule add allow in tcp to port 81").stderr
    assert "warning: the interface protected as eth0 is now called eth7" in said
    for words in ("rule add allow in tcp to port 82", "option log.rate 7", "apply", "load"):
        said = server.fw(words).stderr
        assert all(programs(server, "eth7").values()), words
        assert "protected as eth0" not in said
    assert "warning: eth7 stays filtered, though no 'protect' line names it" in said
    (shown,) = server.fw_json("status")["interfaces"]
    assert (shown["name"], shown["name_now"]) == ("eth7", "eth7")
    assert "eth7 is not filtered any more" in server.fw("unload eth7").stderr
    assert not any(programs(server, "eth7").values())


def test_a_renamed_interface_may_be_protected_by_its_new_name(lab: RouterLab) -> None:
    router = lab.router
    protect(router, WEB, "wan0", "lan0")
    router.ip("link set lan0 down", "link set lan0 name inner0", "link set inner0 up")
    router.fw("load inner0")
    assert "protect inner0" in router.policy_file.read_text().replace("wan0, lan0, ", "")
    assert "inner0" not in router.fw("rule add allow in tcp to port 82").stderr
    router.fw("load inner0 --attach clsact")
    attached = {one["name"]: one["attach"] for one in router.fw_json("status")["interfaces"]}
    assert attached["inner0"] == "clsact"
    router.fw("unload inner0")
    assert not any(programs(router, "inner0").values()) and all(programs(router, "wan0").values())


def test_an_interface_that_took_the_name_of_another_is_not_taken_for_it(lab: RouterLab) -> None:
    """Deleted and made anew, or renamed: what is there now is not filtered, and that is said."""
    router = lab.router
    protect(router, WEB, "wan0")
    router.ip("link set wan0 down", "link set wan0 name far0", "link set far0 up")
    router.ip("link set lan0 down", "link set lan0 name wan0", "link set wan0 up")
    status = router.fw_json("status")
    assert [one["name_now"] for one in status["interfaces"]] == ["far0"] and status["unprotected"] == ["wan0"]
    loaded = router.fw("load")
    assert "protected as wan0 is now called far0" in loaded.stderr and "not protected" not in loaded.stderr
    assert all(programs(router, "far0").values()) and all(programs(router, "wan0").values())
    router.ip("link del wan0", "link add wan0 type veth peer name wan1")
    status = router.fw_json("status")
    assert {one["name"]: one["attach"] for one in status["interfaces"]}["wan0"] == "gone"
    assert status["unprotected"] == ["wan0"]
    assert (
        "wan0  GONE: another interface has the name, not filtered; 'fw load' protects it"
        in router.fw("status").stdout
    )
    router.fw("load")
    assert all(programs(router, "wan0").values()) and router.fw_json("status")["unprotected"] == []


def test_names_that_appear_later_are_known_to_the_rules(lab: RouterLab) -> None:
    """A rule that speaks of an interface made after loading holds as soon as any command has looked."""
    router = lab.router
    protect(router, WEB + "allow in on late0 icmp", "wan0")
    lab.link(router, "late0", lab.client, "late0")
    router.fw("load late0")
    lab.address(router, "late0", "198.51.100.1/24", "fd00::1/64")
    lab.address(lab.client, "late0", "198.51.100.2/24", "fd00::2/64")
    assert lab.client.ping("198.51.100.1", timeout_s=5) > 0
    with pytest.raises(TimeoutError):
        lab.server.ping(router.v4, timeout_s=0.5)


def test_not_has_an_interface_that_appears_when_any_command_has_looked(lab: RouterLab) -> None:
    """Before, no list of a rule has it, as docs/rules.md says; so an expectation cannot rest on such a list."""
    router, client = lab.router, lab.client
    policy = "default forward allow\ndefault in allow\ndrop forward on not lan0 via wan0\n"
    protect(router, policy, "wan0")
    done = router.fw(
        "apply", "-", input=policy + "protect wan0\nexpect drop forward on not lan0 via wan0\n", check=False
    )
    assert done.returncode == UNMET and "does not know its name yet" in done.stderr
    lab.link(router, "late0", client, "late0")
    lab.address(router, "late0", "198.51.100.1/24", "fd00::1/64")
    lab.address(client, "late0", "198.51.100.2/24", "fd00::2/64")
    client.ip("route replace default via 198.51.100.1 dev late0")
    lab.server.ip("route add 198.51.100.0/24 via 203.0.113.1")
    assert client.ping(lab.server.v4, timeout_s=5) > 0
    router.fw("load")
    with pytest.raises(TimeoutError):
        client.ping(lab.server.v4, timeout_s=1)


def test_running_and_saved_are_never_mixed(pair: PairLab) -> None:
    server = pair.server
    protect(server, WEB, "eth0")
    server.fw("rule add allow in tcp to port 81 --runtime")
    saved, running = server.policy_file.read_text(), server.fw("show").stdout
    assert "port 81" in running and "port 81" not in saved
    done = server.fw("rule add allow in tcp to port 82", check=False)
    assert done.returncode == FAILED and "fw apply" in done.stderr and "fw show" in done.stderr
    assert server.policy_file.read_text() == saved and server.fw("show").stdout == running
    server.fw("apply")
    assert server.fw("show").stdout == saved
    server.fw("rule add allow in tcp to port 82")
    assert "port 82" in server.policy_file.read_text()


def test_ids_live_as_long_as_what_is_loaded(pair: PairLab) -> None:
    server = pair.server
    protect(server, WEB, "eth0")
    server.fw("rule add allow in tcp to port 81")
    server.fw("rule delete 2")
    server.fw("rule add allow in tcp to port 81")
    assert [rule["id"] for rule in server.fw_json("rule list")["rules"] if rule["id"]] == [1, 3]
    server.fw("unload --all")
    server.fw("load")
    assert [rule["id"] for rule in server.fw_json("rule list")["rules"] if rule["id"]] == [1, 2]


def test_observing_begins_before_the_change(pair: PairLab) -> None:
    """So that no packet is dropped on the way; a change that fails leaves the mode as it was."""
    protect(pair.server, WEB, "eth0")
    code = """
from firewall import engine
from firewall.errors import FwError
modes = []
def put(running, text, wishes):
    modes.append(running.mode)
    raise FwError("given up")
engine.put = put
try:
    engine.load(["eth0"], observe=True)
except FwError:
    pass
with engine.read() as running:
    print(*modes, running.mode)
"""
    assert inside(pair.server, code).split() == ["observe", "enforce"]
