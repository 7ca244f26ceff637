# SPDX-License-Identifier: MIT
"""Real SCTP associations through fw: the kernel's own, from the handshake to the shutdown and the abort."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.lab.attachment import flows, protect, reasons
from tests.lab.conftest import address, any_address
from tests.lab.device import MUST
from tests.lab.lab import PairLab
from tests.lab.wait import until

pytestmark = pytest.mark.devices
POLICY = "default in drop\ndefault out allow\nallow in sctp to port 3868"
SOCKET = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
"""
SERVER = f"""{SOCKET}
sock.bind((sys.argv[1], 3868))
sock.listen(5)
print("ready", flush=True)
while True:
    peer, _ = sock.accept()
    while data := peer.recv(1000):
        peer.sendall(data)
    peer.close()
"""
CLIENT = f"""{SOCKET}
import struct
sock.connect((sys.argv[1], 3868))
for line in sys.stdin:
    if line == "echo\\n":
        sock.sendall(b"x" * 500)
        print(len(sock.recv(1000)), flush=True)
    else:
        if line == "abort\\n":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        break
"""


def states(pair: PairLab, family: str) -> list[str]:
    """Of the path by which it was opened; it may have another, by the link's own addresses."""
    found: list[dict[str, Any]] = flows(pair.server, proto="sctp", dst=address(pair.server, family))
    return [flow["state"] for flow in found]


@pytest.mark.parametrize("end", ["shutdown", "abort"])
def test_an_association_as_it_lives_and_dies(pair: PairLab, family: str, attach: str, end: str) -> None:
    server = address(pair.server, family)
    probe = pair.server.run(f"{sys.executable} -c 'import socket; socket.socket(2, 1, 132)'", check=False)
    if probe.returncode:
        missing = "this kernel has no SCTP"
        pytest.fail(missing) if os.environ.get(MUST) else pytest.skip(missing)
    listening = pair.server.popen([sys.executable, "-c", SERVER, any_address(family)])
    assert listening.stdout is not None and listening.stdout.readline() == "ready\n"
    protect(pair.server, POLICY, "eth0", attach=attach)
    client = pair.client.popen([sys.executable, "-c", CLIENT, server], stdin=subprocess.PIPE)
    assert client.stdin is not None and client.stdout is not None
    for _ in range(3):
        client.stdin.write("echo\n")
        client.stdin.flush()
        assert client.stdout.readline() == "500\n"
    assert states(pair, family) == ["established"]
    client.stdin.write(f"{end}\n")
    client.stdin.flush()
    until(lambda: states(pair, family) == ["closed"], what="the association has ended")
    counted = reasons(pair.server)
    assert not [name for name in ("bad_tag", "bad_handshake", "bad_chunks") if counted.get(name)], counted
