# SPDX-License-Identifier: MIT
"""The other nouns and verbs against a real kernel: their JSON, their text, their exit codes.

client eth0 192.0.2.2 ── eth0 192.0.2.1 server, where fw is
"""

from __future__ import annotations

import shutil

import pytest

from firewall.reasons import REASONS
from tests.lab.attachment import inside, pins, protect, reasons
from tests.lab.host import Host, execute
from tests.lab.lab import PairLab
from tests.lab.traffic import answered

POLICY = """
    default in drop
    default out allow
    allow in tcp to port 80
    allow in icmp, icmp6 icmp-type echo-request
"""


def talk(text: str) -> list[str]:
    """Lines of stderr that are fw's."""
    return [line for line in text.splitlines() if not line.startswith("Bind ")]


def test_status(pair: PairLab, attach: str) -> None:
    assert pair.server.fw("status", check=False).returncode == 3
    protect(pair.server, POLICY, "eth0", attach=attach)
    pair.client.ping(pair.server.v4)
    status = pair.server.fw_json("status")
    assert status["schema"] == 1
    assert [(i["name"], i["attach"]) for i in status["interfaces"]] == [("eth0", attach)]
    assert (status["mode"], status["rules"], status["differs"]) == ("enforce", 2, False)
    assert status["flows"]["max"] == 65536 and list(status["reasons"]) == list(REASONS)
    assert status["reasons"]["rule_allow"] == 1
    text = pair.server.fw("").stdout.splitlines()
    assert text[0].split() == ["mode", "enforce"]
    assert any(line.split()[:2] == ["rule_allow", "1"] for line in text)
    assert pair.server.fw("status", way="netns").stdout.splitlines()[0] == text[0]


def test_status_names_what_is_not_protected(pair: PairLab) -> None:
    pair.server.ip("link add br0 type bridge", "link add other type veth peer name port")
    pair.server.ip("link set port master br0", "link set other up", "link set br0 up", "link set port up")
    protect(pair.server, POLICY, "eth0")
    assert sorted(pair.server.fw_json("status")["unprotected"]) == ["br0", "other"]
    (line,) = [li for li in pair.server.fw("status").stdout.splitlines() if li.startswith("unprotected")]
    assert {"br0,", "other"} <= set(line.split()) or {"other,", "br0"} <= set(line.split())


def test_counters_of_rules(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    pair.server.listen(80)
    pair.client.connect(pair.server.v4, 80).echo(b"hello")
    pair.client.ping(pair.server.v4)
    assert not answered(lambda: pair.client.connect(pair.server.v4, 81, timeout_s=0.3))
    listed = pair.server.fw_json("rule list")
    web, ping = listed["rules"]
    assert (web["id"], web["text"]) == (1, "allow in tcp to port 80") and web["packets"] >= 4
    assert ping["packets"] >= 2 and ping["bytes"] > 0
    drop = next(default for default in listed["defaults"] if default["text"] == "default in drop")
    assert drop["packets"] >= 1
    assert any(built["text"].startswith("builtin.arp") and built["packets"] for built in listed["builtins"])
    pair.server.fw("option builtin.lldp off")
    assert not any("lldp" in built["text"] for built in pair.server.fw_json("rules")["builtins"])


def test_add_insert_delete(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    assert pair.server.fw("rule add allow in udp to port 53").stdout == "+ rule 3: allow in udp to port 53\n"
    assert pair.server.fw("rule insert 1 drop in from 198.51.100.7").stdout.startswith(
        "+ rule 4: drop in from"
    )
    assert [rule["id"] for rule in pair.server.fw_json("rules")["rules"]] == [4, 1, 2, 3]
    assert pair.server.fw("rule delete 1").stdout == "- rule 1: allow in tcp to port 80\n"
    gone = pair.server.fw("rule delete 1", check=False)
    assert gone.returncode == 2 and talk(gone.stderr)[0] == "fw: there is no rule 1"
    assert pair.server.policy_file.read_text().splitlines()[-1] == "allow in udp to port 53"


def test_a_rule_that_never_decides_is_told_with_what_works(pair: PairLab) -> None:
    protect(pair.server, "default in drop\ndrop in tcp\n", "eth0")
    done = pair.server.fw("rule add allow in tcp to port 22")
    (warning,) = [line for line in talk(done.stderr) if line.startswith("warning: ")]
    assert "fw rule insert 1 allow in tcp to port 22" in warning


def test_dry_run_changes_nothing(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    before = pair.server.fw_json("status")["generation"], pair.server.policy_file.read_text()
    done = pair.server.fw("rule delete 1 --dry-run", check=False)
    assert (done.returncode, done.stdout) == (10, "- rule 1: allow in tcp to port 80\n")
    assert (pair.server.fw_json("status")["generation"], pair.server.policy_file.read_text()) == before
    shown = pair.server.fw("show").stdout
    done = pair.server.fw("apply - --dry-run", input=shown)
    assert (done.returncode, done.stdout) == (0, "")


def test_runtime_is_told_apart(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    pair.server.fw("rule add allow in tcp to port 8080 --runtime")
    assert pair.server.fw_json("status")["differs"] is True
    assert "differs from the saved" in pair.server.fw("status").stdout
    assert "8080" in pair.server.fw("show").stdout
    assert "8080" not in pair.server.fw("show --saved").stdout
    refused = pair.server.fw("rule add allow in tcp to port 81", check=False)
    assert refused.returncode == 1 and talk(refused.stderr)[0].startswith("fw: ")


def test_a_file_with_a_fault_changes_nothing(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    before = pair.server.fw_json("status")["generation"]
    done = pair.server.fw("apply -", input="default in drop\nallow in tcp to prot 22\n", check=False)
    assert done.returncode == 2
    assert talk(done.stderr)[0].startswith("standard input:2:17: ")
    assert pair.server.fw_json("status")["generation"] == before


def test_mode(pair: PairLab) -> None:
    protect(pair.server, "default in drop\n", "eth0")
    assert pair.server.fw("mode").stdout == "enforce\n"
    assert not answered(lambda: pair.client.ping(pair.server.v4, timeout_s=0.3))
    pair.server.fw("mode observe")
    pair.client.ping(pair.server.v4)
    assert pair.server.fw_json("mode")["mode"] == "observe"
    assert pair.server.fw("status").stdout.splitlines()[0].split()[1] == "observe:"
    assert any(event["observed"] for event in pair.server.fw_json("log")["events"])


def test_options(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    assert pair.server.fw("option timeout.udp").stdout == "180s\n"
    pair.server.fw("option timeout.udp 200s")
    options = {option["name"]: option for option in pair.server.fw_json("options")["options"]}
    assert (options["timeout.udp"]["value"], options["timeout.udp"]["default"]) == ("200s", "180s")
    assert "option timeout.udp 200s" in pair.server.policy_file.read_text()
    pair.server.fw("option timeout.udp --unset")
    assert "timeout.udp" not in pair.server.policy_file.read_text()


def test_defaults(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    pair.server.fw("default out reject")
    assert pair.server.fw("default out").stdout == "default out reject\n"
    with pytest.raises(OSError):
        pair.server.ping(pair.client.v4)
    assert reasons(pair.server)["default_reject"] >= 1


def test_doctor_in_a_namespace(pair: PairLab) -> None:
    findings = pair.server.fw_json("doctor")["findings"]
    assert {finding["verdict"] for finding in findings} <= {"ok", "warn"}
    checks = {finding["check"] for finding in findings}
    assert {
        "capabilities",
        "libbpf",
        "bpffs",
        "object",
        "tc programs",
        "other filters",
        "kernel lru",
    } <= checks


def test_doctor_sees_who_else_is_there(pair: PairLab) -> None:
    pair.server.run("tc qdisc add dev eth0 clsact")
    pair.server.run("tc filter add dev eth0 ingress pref 7 bpf bytecode '1,6 0 0 0' flowid 1:1")
    pair.server.run("nft add table inet strangers")
    pair.server.run("nft add chain inet strangers input")
    protect(pair.server, POLICY, "eth0")
    texts = [finding["text"] for finding in pair.server.fw_json("doctor")["findings"]]
    assert any("runs after fw" in text for text in texts), texts
    assert "nft table inet strangers" in texts


def test_doctor_sees_filters_whose_pins_were_lost(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0", attach="clsact")
    lost = "eth0: fw filters there, but the pins of what it does are lost"
    assert lost not in [finding["text"] for finding in pair.server.fw_json("doctor")["findings"]]
    inside(pair.server, "from firewall import paths, pins\npins.remove_tree(paths.find_pin_dir())")
    assert pair.server.fw("status", check=False).returncode == 3
    assert lost in [finding["text"] for finding in pair.server.fw_json("doctor")["findings"]]
    assert talk(pair.server.fw("unload --all").stderr)[0] == "eth0 is not filtered any more"
    assert lost not in [finding["text"] for finding in pair.server.fw_json("doctor")["findings"]]


def test_doctor_tells_what_an_ended_namespace_left(pair: PairLab) -> None:
    """And what takes it away. Others may have left more."""
    gone = Host("gone", f"{pair.server.netns}-gone")
    try:
        gone.ip("link add br0 type bridge")
        protect(gone, POLICY, "br0")
        (directory,) = pins(gone)
        shutil.rmtree(gone.policy_file.parents[1])
        assert str(directory) not in pair.server.fw("doctor").stdout
        execute(["ip", "netns", "del", gone.netns])
        gone.used_fw = False
    finally:
        gone.close()

    def advice() -> list[str]:
        said = [finding["advice"] for finding in pair.server.fw_json("doctor")["findings"]]
        return [text.partition(": ")[2] for text in said if directory.name in text]

    remove, _ = advice()
    assert remove == f"rm -r {directory}"
    execute(remove)
    execute(["rm", f"/run/fw/{directory.name}.lock"])
    assert not directory.exists() and advice() == []


def test_version(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    version = pair.server.fw_json("version")
    assert version["layout"] == version["loaded_layout"] and version["libbpf"]
    assert pair.server.fw("--version").stdout.splitlines()[0] == f"fw {version['fw']}"


def test_load_says_what_it_did(pair: PairLab) -> None:
    done = pair.server.fw("load", "eth0")
    assert done.stdout == ""
    said = talk(done.stderr)
    assert said[0].startswith("wrote a policy to begin with") and str(pair.server.policy_file) in said[0]
    rows = {line.split("  ")[0]: line for line in said}
    assert {"protected", "open", "kept", "undo"} <= set(rows)
    again = talk(pair.server.fw("load").stderr)
    assert not any(line.startswith(("wrote", "kept")) for line in again)


def test_unload(pair: PairLab) -> None:
    protect(pair.server, POLICY, "eth0")
    assert talk(pair.server.fw("unload eth0 eth0").stderr) == [
        "eth0 is not filtered any more",
        "nothing of fw is left in the kernel",
    ]
    assert pair.server.fw("status", check=False).returncode == 3
    assert talk(pair.server.fw("rules").stderr) == ["nothing is loaded: these are the saved rules"]
    saved = talk(pair.server.fw("rule add allow in tcp to port 81").stderr)
    assert "nothing is loaded" in saved[-1]


@pytest.mark.parametrize("word", ["load", "unload"])
def test_interfaces_that_are_not_there(pair: PairLab, word: str) -> None:
    protect(pair.server, POLICY, "eth0")
    done = pair.server.fw(word, "eth7", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "eth7" in talk(done.stderr)[0]
