# SPDX-License-Identifier: MIT
"""What ufw makes of random commands, and an XDP program as the Aya book's, for test_import.py."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

from tests.lab.import_rules import EVERYWHERE, LISTS, NETS, neighbours

SECTION = "xdp"

# The firewall of the Aya book (https://aya-rs.dev/book/programs/xdp/) in C: it drops what comes from a listed address.
PROGRAM = """
#define SEC(name) __attribute__((section(name), used))
struct xdp_md {{ unsigned int data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; }};
SEC("xdp") int firewall(struct xdp_md *ctx)
{{
    unsigned char *frame = (unsigned char *)(long)ctx->data;
    if (frame + 34 > (unsigned char *)(long)ctx->data_end || frame[12] != 0x08 || frame[13] != 0x00)
        return 2;
    switch (frame[26] << 24 | frame[27] << 16 | frame[28] << 8 | frame[29]) {{
    {cases}
        return 1;
    }}
    return 2;
}}
SEC("license") char _license[] = "GPL";
"""


def program(blocked: list[str]) -> str:
    """The C of an XDP program; 1 is XDP_DROP and 2 XDP_PASS in linux/bpf.h."""
    return PROGRAM.format(cases="\n    ".join(f"case {int(IPv4Address(one)):#x}:" for one in blocked))


def block_list(blocked: list[str]) -> str:
    return "blocklist:\n" + "".join(f"  - {one}\n" for one in blocked)


def ufw_rules(rng: random.Random, family: int) -> str:
    """user.rules, or user6.rules, as ufw writes it after some `ufw allow` and the like, and the chains that call it."""
    six = "6" * (family == 6)
    lines = ["*filter", ":INPUT DROP [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]"]
    chains = {hook: f"ufw{six}-user-{hook.lower()}" for hook in ("INPUT", "FORWARD", "OUTPUT")}
    lines += [f":{chain} - [0:0]" for chain in chains.values()]
    lines += [f"-A {hook} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" for hook in chains]
    lines += [*neighbours(family), *(f"-A {hook} -j {chain}" for hook, chain in chains.items())]
    lines.append("### RULES ###")
    for _ in range(16):
        lines += ["", *ufw_rule(rng, family, chains)]
    return "\n".join([*lines, "", "### END RULES ###", "COMMIT", ""])


def ufw_rule(rng: random.Random, family: int, chains: dict[str, str]) -> list[str]:
    """The remark and the lines of one command: UFWRule.format_rule() and UFWBackendIptables of ufw 0.36."""
    everywhere = EVERYWHERE[family]
    nets = [net for net in NETS[family] if "-" not in net]
    hook = rng.choice(list(chains))
    action = rng.choice(("allow", "allow", "deny", "reject"))
    proto = rng.choice(("tcp", "udp", "any"))
    dport = rng.choice(("any", "22", "443", *(LISTS if proto != "any" else ())))
    src, dst = (rng.choice((everywhere, everywhere, rng.choice(nets))) for _ in range(2))
    ways = {"INPUT": "in", "OUTPUT": "out", "FORWARD": "in"}[hook]
    options = ""
    if rng.random() < 0.4 and hook != "OUTPUT":
        ways, options = "in_lan0", "-i lan0 "
    elif rng.random() < 0.4 and hook == "OUTPUT":
        ways, options = "out_wan0", "-o wan0 "
    elif rng.random() < 0.4 and hook == "FORWARD":
        ways, options = "in_lan0!out_wan0", "-i lan0 -o wan0 "
    routed = "route:" * (hook == "FORWARD")
    lines = [f"### tuple ### {routed}{action} {proto} {dport} {dst} any {src} {ways}"]
    does = {"allow": "ACCEPT", "deny": "DROP", "reject": "REJECT"}[action]
    for one in ("tcp", "udp") if proto == "any" and dport != "any" else (proto,):
        words = f"-A {chains[hook]} {options}" + (f"-p {one} " if one != "any" else "")
        if dport != "any":
            several = "," in dport or ":" in dport
            words += f"-m multiport --dports {dport} " if several else f"--dport {dport} "
        words += f"-d {dst} " * (dst != everywhere) + f"-s {src} " * (src != everywhere)
        reset = " --reject-with tcp-reset" if does == "REJECT" and one == "tcp" else ""
        lines.append(f"{words}-j {does}{reset}")
    return lines
