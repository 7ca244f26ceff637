# SPDX-License-Identifier: MIT
"""Opens TCP connections, some at a time, and says how long each took.

    knocker.py ADDRESS PORT COUNT AT_ONCE

Prints a JSON list of the seconds that each handshake took; null for one that did not end within ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

PATIENCE_S = 10


async def knock(address: str, port: int) -> float | None:
    begin = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return None
    took = time.monotonic() - begin
    writer.close()
    return took


async def main() -> None:
    address, port, count, at_once = sys.argv[1], *map(int, sys.argv[2:])
    free = asyncio.Semaphore(at_once)

    async def one() -> float | None:
        async with free:
            return await knock(address, port)

    print(json.dumps(await asyncio.gather(*(one() for _ in range(count)))))


asyncio.run(main())
