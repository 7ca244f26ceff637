# SPDX-License-Identifier: MIT
"""One end of a tunnel: a tun device whose packets travel in UDP. Run in a namespace:

    tunnel.py NAME LOCAL-ADDRESS PEER-ADDRESS PORT

The device has no link header (IFF_TUN, IFF_NO_PI) and is gone with the process.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def main(name: str, local: str, peer: str, port: str) -> None:
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    carrier = socket.socket(family, socket.SOCK_DGRAM)
    carrier.bind((local, int(port)))
    carrier.connect((peer, int(port)))
    print("ready", flush=True)
    with selectors.DefaultSelector() as ready:
        ready.register(device, selectors.EVENT_READ)
        ready.register(carrier, selectors.EVENT_READ)
        while True:
            for key, _events in ready.select():
                try:
                    if key.fileobj == device:
                        carrier.send(os.read(device, 65536))
                    else:
                        os.write(device, carrier.recv(65536))
                except OSError:
                    continue  # the device is down, or the other end is not there yet


if __name__ == "__main__":
    main(*sys.argv[1:])
