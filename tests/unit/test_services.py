# SPDX-License-Identifier: MIT
"""The tables of names: each is usable in a rule, and numbers find their names again."""

import pytest

from firewall.lang import CLAUSE_WORDS
from firewall.rule import Rule
from firewall.services import (
    ICMP6_TYPES,
    ICMP_TYPES,
    OTHER_PROTOCOLS,
    PROTOCOLS,
    SERVICES,
    icmp_type_name,
    protocol_name,
)


def test_protocol_names() -> None:
    assert {name: protocol_name(number) for name, number in PROTOCOLS.items()} == {
        name: name for name in PROTOCOLS
    }
    assert protocol_name(89) == "proto 89"


def test_icmp_type_names() -> None:
    for proto, types in ((1, ICMP_TYPES), (58, ICMP6_TYPES)):
        assert len(set(types.values())) == len(types)
        assert all(icmp_type_name(proto, number) == name for name, number in types.items())
    assert icmp_type_name(58, 8) == "8"
    assert icmp_type_name(6, 0) == "0"


@pytest.mark.parametrize("service", SERVICES)
def test_services(service: str) -> None:
    assert service not in CLAUSE_WORDS
    assert str(Rule.parse(f"allow in tcp to port {service}")) == f"allow in tcp to port {SERVICES[service]}"


@pytest.mark.parametrize(("other", "ours"), OTHER_PROTOCOLS.items())
def test_suggested_protocols_are_of_the_language(other: str, ours: str) -> None:
    assert other not in PROTOCOLS
    assert str(Rule.parse(f"allow in {ours}")) == f"allow in {ours}"
