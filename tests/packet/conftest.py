# SPDX-License-Identifier: MIT
"""`path`: the packet path in a namespace of its own, with nothing in force."""

from collections.abc import Iterator

import pytest

from tests.packet.path import Namespace, PacketPath


@pytest.fixture(scope="session")
def _shared_path() -> Iterator[PacketPath]:
    with Namespace(), PacketPath() as packet_path:
        yield packet_path


@pytest.fixture
def path(_shared_path: PacketPath) -> PacketPath:
    _shared_path.reset()
    return _shared_path
