# SPDX-License-Identifier: MIT
"""`fw zone add` and `delete` take effect at once: for what is protected, for new connections and for running ones."""

from __future__ import annotations

from firewall.errors import UsageError
from tests.lab.attachment import protect
from tests.lab.lab import PairLab
from tests.lab.traffic import SILENCE_S, answered, no_tcp, reaches

POLICY = """
    option load.grace 0s
    zone trusted = eth8, eth9  # not here yet
    protect eth0
    default in drop
    default out allow
    allow in on trusted tcp to port 80
"""


def test_an_interface_joins_a_zone_and_leaves_it(pair: PairLab) -> None:
    server, client = pair.server, pair.client
    server.listen(80)
    protect(server, POLICY, "eth0")
    assert no_tcp(client, server.v4, 80)
    server.fw("zone add trusted eth0")
    assert reaches(client, server.v4, 80)
    (zone,) = server.fw_json("zones")["zones"]
    assert (zone["names"], zone["present"]) == ("eth8, eth9, eth0", ["eth0"])
    stream = client.connect(server.v4, 80)
    stream.echo()
    server.fw("zone delete trusted eth0")
    assert not answered(lambda: stream.echo(timeout_s=SILENCE_S)), "nor does what runs go on"
    assert no_tcp(client, server.v4, 80)
    assert "zone trusted = eth8, eth9  # not here yet\n" in server.fw("show").stdout
    assert server.fw("show --saved").stdout == server.fw("show").stdout


def test_a_zone_that_is_protected(pair: PairLab) -> None:
    server = pair.server
    protect(server, "zone outside = eth0\nprotect outside\nallow in\n", "eth0")
    refused = server.fw("zone delete outside", check=False)
    assert refused.returncode == UsageError.exit_code
    assert "zone 'outside' is used by line 2: protect outside" in refused.stderr
    server.fw("zone add outside lo+")
    assert "zone outside = eth0, lo+\n" in server.fw("show").stdout
