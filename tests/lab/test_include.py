# SPDX-License-Identifier: MIT
"""A policy of several files in force: it is one thing, and each file keeps its own."""

from __future__ import annotations

from pathlib import Path

from tests.lab.lab import PairLab

FAILED, USAGE = 1, 2


def test_a_policy_of_several_files(pair: PairLab, tmp_path: Path) -> None:
    server = pair.server
    server.save_policy("protect eth0\ninclude conf.d/*.fw\n")
    web = server.policy_file.parent / "conf.d" / "web.fw"
    web.parent.mkdir()
    web.write_text("allow in tcp to port 80\n")
    server.fw("load")
    server.listen(80)
    stream = pair.client.connect(server.v4, 80)

    # It is what is saved, also as one text, which needs no other file.
    assert server.fw_json("status")["differs"] is False
    shown = server.fw("show").stdout
    assert (
        "include" not in [line.split()[0] for line in shown.splitlines()]
        and "allow in tcp to port 80\n" in shown
    )
    assert server.fw("apply", "-", "--dry-run", input=shown).stderr == "nothing would change\n"

    # A rule of an included file is edited there.
    done = server.fw("rule delete allow in tcp to port 80", check=False)
    assert done.returncode == USAGE and f"{web}, line 1" in done.stderr
    # Of equal rules the policy's own is deleted, and the other one is named.
    server.fw("rule add allow in tcp to port 80")
    done = server.fw("rule delete allow in tcp to port 80")
    assert f"an equal rule is left in {web}, line 1" in done.stderr
    assert server.policy_file.read_text() == "protect eth0\ninclude conf.d/*.fw\n"
    server.fw("rule add allow in udp to port 53")
    assert server.policy_file.read_text() == "protect eth0\ninclude conf.d/*.fw\nallow in udp to port 53\n"
    web.write_text("allow in tcp to port 81\n")
    assert server.fw_json("status")["differs"] is True
    done = server.fw("rule add allow in esp", check=False)
    assert done.returncode == FAILED and "mix the two" in done.stderr
    stream.echo(b"the change is not in force")
    server.fw("apply")
    assert server.fw_json("status")["differs"] is False
    assert [rule["text"] for rule in server.fw_json("rules")["rules"]] == [
        "allow in tcp to port 81",
        "allow in udp to port 53",
    ]

    # What would mean something else where it is saved is not saved, and what cannot be read is not applied.
    other = tmp_path / "other.fw"
    (tmp_path / "part.fw").write_text("allow in tcp to port 82\n")
    other.write_text("protect eth0\ninclude part.fw\n")
    done = server.fw("apply", str(other), check=False)
    assert done.returncode == FAILED and "could not be read again" in done.stderr
    server.fw("apply", str(other), "--runtime")
    assert "port 82" in server.fw("show").stdout
    server.fw("apply")
    done = server.fw("apply", "-", check=False, input="protect eth0\ninclude conf.d/none.fw\n")
    assert done.returncode == USAGE and "standard input:2:9: cannot read" in done.stderr
    server.fw("apply", "-", input="protect eth0\ninclude conf.d/web.fw\n")
    assert server.policy_file.read_text() == "protect eth0\ninclude conf.d/web.fw\n"

    # What runs is whole without its files.
    web.unlink()
    assert "port 81" in server.fw("show").stdout
    assert server.fw("load", check=False).returncode in (0, USAGE)
    assert server.fw("apply", check=False).returncode == USAGE
