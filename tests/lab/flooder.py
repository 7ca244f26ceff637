# SPDX-License-Identifier: MIT
"""Floods an interface of the namespace that it runs in, until its standard input ends, and says how many frames went.

    flooder.py INTERFACE MAC KIND FAMILY LEAST

KIND is syn, udp, dns or echo; each frame has another source, in 10.0.0.0/16 or 2001:db8:f::/96, and ports that
change. It sends at least LEAST frames, and for a minute at most.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time

LONGEST_S = 60
AT_ONCE = 2048
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
TARGETS = {"syn": (6, 80), "udp": (17, 9999), "dns": (17, 53), "echo": (1, 0)}
US4, US6 = bytes((192, 0, 2, 1)), bytes.fromhex("20010db8000000000000000000000001")
NET6 = bytes.fromhex("20010db8000f00000000")


def ones_sum(data: bytes) -> int:
    """RFC 1071, without the last complement."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def transport(kind: str, four: bool) -> tuple[bytes, int, int, int]:
    """A segment; where its source port is, a word that makes up for it, and one for the source address."""
    port = TARGETS[kind][1]
    if kind == "syn":
        return struct.pack(">HHIIBBHHH", 0, port, 0xFFFFFFFF, 0, 5 << 4, 2, 65535, 0, 0), 0, 4, 6
    if kind == "echo":
        return struct.pack(">BBHHHH", 8 if four else 128, 0, 0, 0, 0xFFFF, 0xFFFF), 4, 6, 8
    return struct.pack(">HHHHHH", 0, port, 12, 0, 0xFFFF, 0xFFFF), 0, 8, 10


def template(mac: str, kind: str, family: str) -> tuple[bytearray, tuple[int, int, int, int, int]]:
    """A frame and where to write: source, its make-up in the IP header (0: none) and in the segment, port, its make-up.

    What is written at a place and at its make-up adds up to 0xffff, so that checksums stay as they are.
    """
    four = family == "ipv4"
    proto = TARGETS[kind][0]
    proto = 58 if proto == 1 and not four else proto
    segment, port, port_makeup, source_makeup = transport(kind, four)
    body = bytearray(segment)
    source = bytes((10, 0, 0, 0)) if four else NET6 + bytes(6)
    to = US4 if four else US6
    pseudo = source + to + struct.pack(">HH", proto, len(body))
    sum_at = {6: 16, 17: 6}.get(proto, 2)
    covered = bytes(body) if kind == "echo" and four else pseudo + bytes(body)
    struct.pack_into(">H", body, sum_at, ~ones_sum(covered) & 0xFFFF)
    link = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000000099")
    if four:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0xFFFF, 0, 64, proto, 0) + source + to
        head = head[:10] + struct.pack(">H", ~ones_sum(head) & 0xFFFF) + head[12:]
        frame = bytearray(link + b"\x08\x00" + head + body)
        return frame, (28, 18, 34 + source_makeup, 34 + port, 34 + port_makeup)
    head = struct.pack(">IHBB", 6 << 28, len(body), proto, 64) + source + to
    frame = bytearray(link + b"\x86\xdd" + head + body)
    return frame, (36, 0, 54 + source_makeup, 54 + port, 54 + port_makeup)


def main() -> None:
    interface, mac, kind, family, least = sys.argv[1:]
    frame, (source, ip_makeup, makeup, port, port_makeup) = template(mac, kind, family)
    four_echo = kind == "echo" and family == "ipv4"  # its checksum knows no addresses
    word = struct.Struct(">H").pack_into
    sent, end = 0, time.monotonic() + LONGEST_S
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        wire.bind((interface, 0))
        print("begun", flush=True)
        while time.monotonic() < end:
            for i in range(sent, sent + AT_ONCE):
                low, number = i & 0xFFFF, 1024 + (i >> 16) * 257 % 60000
                word(frame, source, low)
                if ip_makeup:
                    word(frame, ip_makeup, 0xFFFF - low)
                if not four_echo:
                    word(frame, makeup, 0xFFFF - low)
                word(frame, port, number)
                word(frame, port_makeup, 0xFFFF - number)
                try:
                    wire.send(frame)
                except OSError:
                    pass  # the device's queue was full
            sent += AT_ONCE
            if sent >= int(least) and select.select([sys.stdin], [], [], 0)[0]:
                break
    print(sent, flush=True)


if __name__ == "__main__":
    main()
