# SPDX-License-Identifier: MIT
"""`option tcp.pickup`: which connections may be taken over midway when no load is near."""

import pytest

from tests.packet.ends import FAMILIES, V4, Ends
from tests.packet.path import PacketPath
from tests.packet.test_pickup import CLOSED, connection, lan_address
from tests.packets import eth, ip, tcp

WORDS = pytest.mark.parametrize("word", ["off", "outbound", "any"])


@FAMILIES
@WORDS
def test_connected_socket(path: PacketPath, ends: Ends, word: str) -> None:
    taken = "no_flow" if word == "off" else "pickup"
    with connection(ends.us, lan_address(ends)) as sockets:
        path.policy(CLOSED + f"option tcp.pickup {word}\nallow in tcp to port {sockets.port}\n")
        assert path.ingress(sockets.coming("PA")).reason == taken
        if word == "off":
            assert path.egress(sockets.going("PA")).reason == "no_flow"
    assert len(list(path.flows())) == (word != "off")


@FAMILIES
@WORDS
def test_our_own_segment(path: PacketPath, ends: Ends, word: str) -> None:
    path.policy(CLOSED + f"option tcp.pickup {word}\nallow in tcp to port 22\n")
    taken = "no_flow" if word == "off" else "pickup"
    assert path.egress(ends.leaving(tcp(22, 4000, "PA"))).reason == taken


@FAMILIES
@WORDS
def test_without_a_socket_nothing_comes_in(path: PacketPath, ends: Ends, word: str) -> None:
    path.policy(f"option tcp.pickup {word}\ndefault in allow\n")
    for flags in ("A", "PA", "FA"):
        assert path.ingress(ends.arriving(tcp(4000, 22, flags))).reason == "no_flow"
    assert list(path.flows()) == []


@FAMILIES
@WORDS
@pytest.mark.parametrize("near", [True, False], ids=["from the opener's end", "from the far end"])
def test_forwarded(path: PacketPath, ends: Ends, word: str, near: bool) -> None:
    path.policy(CLOSED + f"option tcp.pickup {word}\nallow forward on lan via wan\n")
    if near:
        verdict = path.ingress(eth(ip(ends.inside, ends.them, tcp(5000, 80, "PA"))), on="lan")
    else:
        verdict = path.ingress(eth(ip(ends.them, ends.inside, tcp(80, 5000, "PA"))), on="wan")
    assert verdict.reason == ("pickup" if word == "any" or (word == "outbound" and near) else "no_flow")


@WORDS
def test_rules_that_allow_neither_end(path: PacketPath, word: str) -> None:
    path.policy(CLOSED + f"option tcp.pickup {word}\nallow forward on lan via wan tcp to port 443\n")
    assert path.ingress(eth(ip(V4.inside, V4.them, tcp(5000, 80, "PA"))), on="lan").reason == "no_flow"
    assert path.egress(V4.leaving(tcp(22, 4000, "PA"))).reason == "no_flow"
    assert list(path.flows()) == []


@pytest.mark.parametrize("flags", ["R", "RA", "SA"])
def test_resets_and_answers_to_a_syn_open_nothing(path: PacketPath, flags: str) -> None:
    path.policy("option tcp.pickup any\ndefault out allow\n")
    assert path.egress(V4.leaving(tcp(22, 4000, flags))).reason == "no_flow"
