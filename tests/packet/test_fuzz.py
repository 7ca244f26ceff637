# SPDX-License-Identifier: MIT
"""Packets cut short, garbled and made of chance: what is no honest packet never passes and opens no flow.

Every run takes new ones. A failure prints its frame and FW_FUZZ_SEED, which repeats the run when it is set.
"""

from __future__ import annotations

import os
import random
import struct

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

from firewall import abi
from tests import dissect
from tests.chunks import data, heartbeat
from tests.packet.ends import ECHO_REPLY, V4, V6, Ends
from tests.packet.path import PacketPath, Verdict
from tests.packet.reading import AH, ETH_IPV4, ETH_IPV6, GRE, ICMP, ICMP6, Lie, Reading, read
from tests.packets import (
    DEST_OPTIONS,
    HOP_BY_HOP,
    Layer,
    ah,
    arp,
    esp,
    eth,
    fragment_header,
    fragments,
    gre,
    icmp6,
    icmp_error,
    ip,
    ipv4,
    ipv6,
    mss,
    options_header,
    pptp,
    routing_header,
    sack,
    sctp,
    tcp,
    udp,
    vlan,
)

SEED = int(os.environ.get("FW_FUZZ_SEED") or random.SystemRandom().randrange(2**32))
EVERYTHING = (
    "default in allow\ndefault out allow\ndefault forward allow\n"
    "option ip.options pass\noption fragments.early drop\n"
    "option timeout.udp-one-way 1d\noption timeout.icmp 1d\n"
    "option timeout.tcp-syn-sent 1d\noption timeout.tcp-syn-recv 1d\n"
)
OF_LIES = {
    "truncated",
    "bad_version",
    "bad_header_length",
    "dishonest_length",
    "bad_tcp_flags",
    "bad_chunks",
    "bad_tunnel",
    "many_tags",
    "long_chain",
    "bad_chain",
    "bad_options",
    "source_route",
    "routing_header",
    "jumbogram",
    "fragment_tiny",
    "fragment_headless",
    "fragment_twice",
    "fragment_length",
    "fragment_beyond",
}
OPENINGS = {"rule_allow", "default_allow"}


def sent_by_us(ends: Ends) -> list[Layer]:
    """What the errors below are about: these flows are open."""
    segments = (
        udp(5000, 53, bytes(16)),
        tcp(5000, 80, "S"),
        sctp(5000, 36412),
        ends.echo(ident=9),
    )
    return [ip(ends.us, ends.them, segment) for segment in segments]


def honest_packets(ends: Ends) -> list[Layer]:
    segments = [
        tcp(4000, 22, "S", options=mss(1460) + sack((1, 2))),
        tcp(4000, 22, "PA", b"hello", seq=1, ack=1),
        udp(4000, 53, b"question"),
        udp(4000, 53),
        sctp(4000, 36412),
        sctp(4000, 36412, heartbeat(), data(), tag=0x1234),
        gre(bytes(20), key=7, ethertype=ETH_IPV4),
        gre(bytes(20), ethertype=ETH_IPV4, flags=0x9000),
        pptp(7),
        esp(0x1234),
        Layer(b"\x3b" + ah(6)[1:], AH),
        ends.echo(payload=bytes(8)),
        ends.echo(ECHO_REPLY, ident=9),
        *[icmp_error(sent) for sent in sent_by_us(ends)],
    ]
    packets = [ip(ends.them, ends.us, segment) for segment in segments]
    whole = ip(ends.them, ends.us, udp(4000, 53, bytes(40)))
    return packets + fragments(whole, 24)


EXTENSIONS = [
    [options_header(HOP_BY_HOP), options_header(DEST_OPTIONS, bytes(14))],
    [routing_header(), fragment_header(5)],
    [fragment_header(5), options_header(DEST_OPTIONS)],
    [options_header(DEST_OPTIONS)] * 8,
    [
        options_header(HOP_BY_HOP, b"\x05\x02\0\0\x3e\x03abc"),
        ah(9, icv=bytes(20)),
        options_header(DEST_OPTIONS),
    ],
]
HONEST = [
    *[eth(packet) for ends in (V4, V6) for packet in honest_packets(ends)],
    *[eth(ipv6(V6.them, V6.us, udp(4000, 53, bytes(9)), ext=ext)) for ext in EXTENSIONS],
    *[eth(ipv4(V4.them, V4.us, tcp(4000, 22), options=b"\x01" * 4 * words)) for words in (1, 10)],
    eth(ipv4(V4.them, V4.us, udp(4000, 53), options=b"\x94\x04\0\0\x01\x07\x07\x04" + bytes(4))),
    eth(ipv4(V4.them, V4.us, tcp(4000, 22)), pad=True),
    eth(vlan(10, ipv4(V4.them, V4.us, udp(4000, 53)))),
    eth(vlan(10, vlan(20, ipv6(V6.them, V6.us, tcp(4000, 22))), tpid=0x88A8)),
    eth(ipv6("fe80::1", "ff02::1:ff00:1", icmp6(135, payload=bytes(16)), hop_limit=255)),
    eth(ipv4("0.0.0.0", "255.255.255.255", udp(68, 67, bytes(20)))),
    eth(arp(1, ("02:00:00:00:00:01", V4.them), ("00:00:00:00:00:00", V4.us))),
    b"\x01\x80\xc2\x00\x00\x00" + b"\x02\0\0\0\0\1" + b"\x00\x26" + b"\x42\x42\x03" + bytes(35),
]

BYTES = st.sampled_from((0, 1, 255)) | st.integers(0, 255)
thorough = settings(
    max_examples=1000,
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def open_path(path: PacketPath) -> PacketPath:
    """Everything is allowed, and the flows that errors quote are open."""
    path.policy(EVERYTHING)
    for ends in (V4, V6):
        for packet in sent_by_us(ends):
            assert path.egress(eth(packet)).reason == "default_allow"
    return path


class Checked:
    """A frame run through the path, and what it left there."""

    def __init__(self, path: PacketPath, frame: bytes, leaves: bool = False) -> None:
        """Raises KernelRefused (EINVAL) for a frame that BPF_PROG_TEST_RUN does not take: see `runs`."""
        before = self._keys(path)
        self.frame = frame
        self.verdict: Verdict = path.egress(frame) if leaves else path.ingress(frame)
        self.opened = list(self._keys(path) - before)
        assert not {*self.opened} & {*path.maps["flows"].keys()}, "one packet confirms no flow"
        path.maps["embryonic"].delete_batch(self.opened)
        self.story = (
            f"FW_FUZZ_SEED={SEED}, {frame.hex()} {'leaves' if leaves else 'arrives'}: {self.verdict.reason}"
        )
        try:
            self.reading: Reading | None = read(frame)
        except Lie as lie:
            self.story += f", though {lie}"
            self.reading = None

    @staticmethod
    def _keys(path: PacketPath) -> set[bytes]:
        """Also of those that were confirmed since `open_path`: chance may find the answer, and the next question."""
        return {*path.maps["embryonic"].keys(), *path.maps["flows"].keys()}

    def check(self) -> None:
        reading, verdict = self.reading, self.verdict
        if reading is None:
            assert not verdict.passed, self.story
        else:
            assert verdict.reason not in OF_LIES or reading.is_error, self.story
            if reading.family == 0:
                assert verdict.reason == "not_ip" or verdict.reason.startswith("builtin_"), self.story
            # inside AH, and into ICMP under the other family, only the dissector looks
            if verdict.passed and reading.proto not in (AH, ICMP if reading.family == 6 else ICMP6):
                dissect.frame(self.frame)
        assert bool(self.opened) == (verdict.reason in OPENINGS), self.story
        if self.opened:
            self._check_key()

    def _check_key(self) -> None:
        (raw,) = self.opened
        key, reading = abi.FlowKey.unpack(raw), self.reading
        assert reading, self.story
        assert not reading.later, self.story
        assert (key.family, key.proto) == (reading.family, reading.proto), self.story
        pad = bytes(16 - len(reading.src))
        low, high = sorted([(pad + reading.src, reading.sport), (pad + reading.dst, reading.dport)])
        assert (bytes(key.lo), bytes(key.hi)) == (low[0], high[0]), self.story
        if key.proto == GRE:
            assert key.lo_port << 16 | key.hi_port == reading.key, self.story
        elif key.proto != (ICMP if key.family == 4 else ICMP6):
            assert (key.lo_port, key.hi_port) == (low[1], high[1]), self.story


def runs(frame: bytes) -> bool:
    """Newer kernels do not test-run a frame whose type promises an IP header that is not there; behind a tag
    they do.
    """
    least = {ETH_IPV4: 34, ETH_IPV6: 54}.get(int.from_bytes(frame[12:14], "big"), 15)
    return len(frame) >= least


def random_frames() -> st.SearchStrategy[bytes]:
    """Bytes of chance behind addresses of a frame, of a type that is read further half of the time."""
    types = st.sampled_from((ETH_IPV4, ETH_IPV6, 0x8100, 0x88A8, 0x0026)) | st.integers(0, 0xFFFF)
    first = st.sampled_from((0x45, 0x46, 0x60, 0x00)) | st.integers(0, 255)
    return st.builds(
        lambda ethertype, head, rest: bytes(12) + struct.pack("!HB", ethertype, head) + rest,
        types,
        first,
        st.binary(max_size=120),
    )


@st.composite
def garbled(draw: st.DrawFn) -> bytes:
    """An honest frame with a few bytes changed, and perhaps its end gone or something behind it."""
    frame = bytearray(draw(st.sampled_from(HONEST)))
    for at, byte in draw(st.lists(st.tuples(st.integers(12, len(frame) - 1), BYTES), min_size=1, max_size=4)):
        frame[at] = byte
    end = draw(st.integers(14, 2 * len(frame)))
    return bytes(frame[:end]).ljust(min(end, len(frame) + 64), b"\0")


@pytest.mark.parametrize("number", range(len(HONEST)))
def test_honest_frames_are_believed(open_path: PacketPath, number: int) -> None:
    checked = Checked(open_path, HONEST[number])
    checked.check()
    assert checked.reading, "the reader believes them too"
    assert checked.verdict.passed or checked.verdict.reason in ("no_flow", "fragment_unknown")


@pytest.mark.parametrize("number", range(len(HONEST)))
def test_cut_at_each_byte(open_path: PacketPath, number: int) -> None:
    for end in range(14, len(HONEST[number])):
        if runs(HONEST[number][:end]):
            Checked(open_path, HONEST[number][:end]).check()


@thorough
@seed(SEED)
@given(frame=garbled(), leaves=st.booleans())
def test_garbled(open_path: PacketPath, frame: bytes, leaves: bool) -> None:
    assume(runs(frame))
    Checked(open_path, frame, leaves).check()


@thorough
@seed(SEED)
@given(frame=random_frames(), leaves=st.booleans())
def test_random(open_path: PacketPath, frame: bytes, leaves: bool) -> None:
    assume(runs(frame))
    Checked(open_path, frame, leaves).check()
