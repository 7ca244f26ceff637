# SPDX-License-Identifier: MIT
"""`path`: the packet path in a namespace of its own, with nothing in force."""

from collections.abc import Iterator

import pytest

from tests.packet.path import Namespace, PacketPath


@pytest.fixture(scope="session")
def _namespace() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def path(_namespace: Namespace) -> Iterator[PacketPath]:
    with PacketPath() as packet_path:
        yield packet_path
