# SPDX-License-Identifier: MIT
"""`path`: the packet path in a namespace of its own, with nothing in force. `live`: one more, for both CPUs at once.

`talk`: a TCP connection over `path`.
"""

import os
from collections.abc import Iterator

import pytest

from tests.packet.ends import V4, Connection
from tests.packet.path import Namespace, PacketPath


@pytest.fixture(scope="session")
def _shared_path() -> Iterator[PacketPath]:
    with Namespace(), PacketPath() as packet_path:
        yield packet_path


@pytest.fixture
def path(_shared_path: PacketPath) -> PacketPath:
    _shared_path.reset()
    return _shared_path


@pytest.fixture
def live(path: PacketPath) -> Iterator[PacketPath]:
    """Programs that read the hook's facts from each packet, not from a map that two CPUs would share."""
    with PacketPath(env_from_map=False) as own:
        yield own


@pytest.fixture(params=[False, True], ids=["they open", "we open"])
def talk(path: PacketPath, request: pytest.FixtureRequest) -> Connection:
    """Port 22 is open, and so is the way out."""
    path.policy("default in drop\ndefault out allow\nallow in tcp to port 22\n")
    return Connection(path, V4, we_open=request.param)


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """All runs of a test on one CPU: limits are counted for each."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield
    os.sched_setaffinity(0, cpus)
