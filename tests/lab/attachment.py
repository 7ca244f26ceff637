# SPDX-License-Identifier: MIT
"""fw in a host of the lab: putting a policy in force, and what the kernel, not fw, says of its programs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.lab.host import ROOT, Host

HOOKS = ("ingress", "egress")
PINS = Path("/run/fw/bpf")


def protect(host: Host, policy: str, *interfaces: str, attach: str = "auto") -> None:
    """Save the policy and load it, protecting the interfaces."""
    host.save_policy("".join(line.strip() + "\n" for line in policy.strip().splitlines()))
    host.fw("load", *interfaces, "--attach", attach)


def reasons(host: Host) -> dict[str, int]:
    """Packets by reason."""
    counted: dict[str, int] = host.fw_json("status")["reasons"]
    return counted


def flows(host: Host, **wanted: object) -> list[dict[str, Any]]:
    """The flows that have all the wanted fields: flows(host, proto="tcp", dport=80)."""
    listed = host.fw_json("flow list")["flows"]
    return [flow for flow in listed if all(flow[name] == value for name, value in wanted.items())]


def drops(host: Host, **wanted: object) -> list[dict[str, Any]]:
    """The logged drops that have all the wanted fields, oldest first."""
    logged = host.fw_json("log")["events"]
    return [drop for drop in logged if all(drop[name] == value for name, value in wanted.items())]


def pins(host: Host) -> list[Path]:
    """What fw has pinned for a host's namespace: directories whose names begin with the namespace's inode."""
    inode = os.stat(f"/run/netns/{host.netns}").st_ino
    return [path for path in PINS.glob(f"{inode}*") if path.is_dir()] if PINS.is_dir() else []


ASK = """
import json, sys
from firewall import bpfprog
index = int(sys.argv[1])
print(json.dumps({hook: [bpfprog.program_by_id(i).name for i in bpfprog.tcx_programs(index, hook == "ingress")]
                  for hook in ("ingress", "egress")}))
"""


def inside(host: Host, code: str, *args: object) -> str:
    """What a script prints that runs in the host's namespace with the modules of fw at hand."""
    return host.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}", *map(str, args)]
    ).stdout


def index_of(host: Host, interface: str) -> int:
    return int(host.ip_json(f"link show dev {interface}")[0]["ifindex"])


def programs(host: Host, interface: str) -> dict[str, list[str]]:
    """Names of the TC programs on an interface by hook, in their order: TCX first, then those of clsact."""
    attached: dict[str, list[str]] = json.loads(inside(host, ASK, index_of(host, interface)))
    for hook in HOOKS:
        for entry in json.loads(host.run(f"tc -json filter show dev {interface} {hook}").stdout or "[]"):
            if "options" in entry and "prog" in entry["options"]:
                attached[hook].append(entry["options"]["prog"]["name"])
    return attached


DETACH = """
import sys
from pathlib import Path
from firewall import bpfprog
from firewall.errors import FwError
for path in Path(sys.argv[1]).rglob("*"):
    try:
        link = bpfprog.open_pinned_link(path)
    except FwError:
        continue
    if link.info().ifindex == int(sys.argv[2]):
        link.detach()
"""


def detach(host: Host, interface: str) -> None:
    """Take fw's programs off an interface behind its back; its maps and pins stay."""
    for hook in HOOKS:
        host.run(f"tc filter del dev {interface} {hook}", check=False)
    for directory in pins(host):
        inside(host, DETACH, directory, index_of(host, interface))
    left = programs(host, interface)
    if any(left.values()):
        raise AssertionError(f"still on {interface}: {left}")
