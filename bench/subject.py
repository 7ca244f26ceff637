# SPDX-License-Identifier: MIT
"""What is measured: the programs of an object file as they run on an interface, with flows in their table."""

import socket
import struct
from collections.abc import Mapping
from functools import reduce
from operator import xor
from pathlib import Path

from bench.traffic import ACK, ANSWER, FLOWS_MAX, SERVER_PORT, SYN, client, frame, on_interface
from firewall import clock
from firewall.bpfmap import Map
from firewall.bpfobject import Object
from firewall.errors import FwError
from tests.packet.path import ANSWER_MARK, PacketPath

POLICY = f"default forward drop\nallow forward tcp to port {SERVER_PORT} on wan via lan\n"


class Subject(PacketPath):
    """The real programs, reading the skb. `wan` and `lan` of the namespace are both protected."""

    def __init__(self, file: Path) -> None:
        self._file = file
        super().__init__()
        self.policy(POLICY)

    def _load(self, reuse: Mapping[str, Map]) -> None:
        self._object = Object.open(self._file)
        self._object.set_rodata({"hz": clock.hz(), "answer_mark": ANSWER_MARK, "env_from_map": 0})
        self._object.resize("flows", FLOWS_MAX)
        self._object.load()
        self.maps, self.programs = self._object.maps, self._object.programs
        self._spoiled = False

    def establish(self, count: int) -> None:
        """Connections 0 to `count` - 1: one by its handshake, through the programs, the others as its likes.

        A key's `hi` end is the client, whose address is the higher.
        """
        for step, interface in ((SYN, "wan"), (ANSWER, "lan"), (ACK, "wan")):
            self._receive(frame(0, step), interface)
        table, key, flow = self.the_flow()
        if table != "flows":
            raise FwError("the handshake has not made an established flow")
        first_client, first_tag = key.hi, flow.tag

        def entry(n: int) -> tuple[bytes, bytes]:
            address, key.hi_port = client(n)
            key.hi = first_client[:12] + address.to_bytes(4, "big")
            packed = key.pack()
            struct.pack_into("=I", flow_bytes, 0, reduce(xor, struct.unpack("=10I", packed)))
            return packed, bytes(flow_bytes)

        flow_bytes = bytearray(flow.pack())
        if entry(0)[1] != flow.pack():
            raise FwError(f"flow tags are made otherwise than the benchmark knows: {first_tag:#x}")
        self.maps["flows"].update_batch(entry(n) for n in range(1, count))

    def _receive(self, packet: bytes, interface: str) -> None:
        ctx = on_interface(socket.if_nametoindex(interface))
        self.programs["fw_ingress"].test_run(packet, ctx=ctx)

    def counted_since(self, before: Mapping[str, int]) -> dict[str, int]:
        """Packets under each reason that has counted any."""
        return {name: now - before[name] for name, now in self.reasons().items() if now != before[name]}
