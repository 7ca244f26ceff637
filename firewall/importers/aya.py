# SPDX-License-Identifier: MIT
"""The block list of the Aya tutorial's XDP firewall as a policy: a YAML list of addresses whose packets are dropped.

Of YAML this reads what such a list is made of: items behind `-`, one or in brackets, below a key or none. XDP drops
whatever comes from the addresses, also what answers us, so that no conversation with them is possible either way.
"""

import re
from collections.abc import Iterator

from firewall.importers.carried import Carried, Refused
from firewall.importers.match import span

_A_RULE = 100  # addresses
_KEY = re.compile(r"^[A-Za-z_][\w-]*:\s*(.*)$")


def carry(text: str) -> Carried:
    """The policy that drops what is on the list, in either direction, and passes the rest."""
    carried = Carried()
    found: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            for item in _items(line):
                found[str(span(item))] = None
        except Refused as refused:
            carried.leave(f"line {number}", line, refused)
    for scope in ("in", "forward", "out"):
        carried.add(f"default {scope} allow")
    listed = list(found)
    for start in range(0, len(listed), _A_RULE):
        some = ", ".join(listed[start : start + _A_RULE])
        carried.rule(f"drop in, forward from {some}")
        carried.rule(f"drop out, forward to {some}")
    return carried


def _items(line: str) -> Iterator[str]:
    """The addresses of a line."""
    said = re.sub(r"(^|\s)#.*$", "", line).strip()
    if said in ("", "---", "..."):
        return
    key = _KEY.match(said)
    if key and ":" not in key[1]:
        said = key[1]
    elif said.startswith("- ") or said == "-":
        said = said[1:].strip()
    elif not said.startswith("["):
        raise Refused("it is no item of a list")
    for item in said.removeprefix("[").removesuffix("]").split(","):
        if item.strip():
            yield item.strip().strip("\"'")
