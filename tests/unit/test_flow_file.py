# SPDX-License-Identifier: MIT
"""Flows as a file: what is saved comes back as it was, but for what must be learnt anew; what is wrong is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall import abi, flowrestore, flowsave
from firewall.clock import hz, now_j
from firewall.errors import UsageError
from firewall.flowkey import LINK_ZONE, is_icmp, key_tag, make_key
from firewall.flows import Table
from firewall.links import Link
from tests.fakepins import FakeMap, FakePins
from tests.strategies import steady

TCP, UDP, ICMP, ICMP6, GRE, OSPF, SCTP = 6, 17, 1, 58, 47, 89, 132
SEEN, SETTLED = abi.SideFlags.SIDE_SEEN, abi.SideFlags.SIDE_SETTLED
LIBERAL, OPENER_HI = abi.FlowFlags.FLOW_LIBERAL, abi.FlowFlags.FLOW_OPENER_HI
TRANSLATED, PARENT = abi.FlowFlags.FLOW_TRANSLATED, abi.FlowFlags.FLOW_PARENT
OPEN, FIN, RST = (int(abi.SideState[f"SIDE_{name}"]) for name in ("OPEN", "FIN", "RST"))

ETH0, WAN0, BLUE, GONE = 2, 3, 7, 8
SLOTS = {ETH0: 11, WAN0: 12, BLUE: 0}
BLUE_ZONE = 5
NAMES = {ETH0: "eth0", WAN0: "wan0", BLUE: "blue"}


def links(*ifindexes: int) -> list[Link]:
    return [Link(NAMES[i], i, "", True, 1, 0, 1500, "", 0, 0, None) for i in ifindexes]


def interfaces() -> FakeMap:
    protected, vrf = abi.IfaceFlags.IFACE_PROTECTED, abi.IfaceFlags.IFACE_VRF
    found = {
        i: abi.Iface(ifindex=i, slot=SLOTS[i], flags=protected if SLOTS[i] else vrf, name=NAMES[i].encode())
        for i in NAMES
    }
    found[BLUE].zone = BLUE_ZONE
    return FakeMap({i.to_bytes(4, "little"): iface.pack() for i, iface in found.items()})


@pytest.fixture(autouse=True)
def _links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.flowsave.list_links", lambda: links(*NAMES))
    monkeypatch.setattr("firewall.flowrestore.list_links", lambda: links(*NAMES))


Pair = tuple[bytes, bytes]


def pins(confirmed: Iterable[Pair] = (), embryonic: Iterable[Pair] = ()) -> FakePins:
    maps = {
        "flows": FakeMap(dict(confirmed)),
        "embryonic": FakeMap(dict(embryonic)),
        "interfaces": interfaces(),
    }
    return FakePins(maps)


def saved(*confirmed: Pair, embryonic: tuple[Pair, ...] = ()) -> list[str]:
    return list(flowsave.save(pins(confirmed, embryonic)))


def read(lines: Iterable[str]) -> flowrestore.Flows:
    return flowrestore.read(pins(), [f"{line}\n".encode() for line in lines], "file")


def pairs(packed: bytearray) -> list[Pair]:
    return list(flowrestore._pairs(packed))


def side(**fields: Any) -> abi.Side:
    usual = {
        "seen_j": now_j() - hz(),
        "flags": SEEN,
        "in_ifindex": ETH0,
        "out_ifindex": 0,
        "packets": 2,
        "bytes": 200,
    }
    return abi.Side(**{**usual, **fields})


def pair(
    proto: int = TCP,
    src: str = "c0000201",
    sport: int = 40000,
    dst: str = "c6336407",
    dport: int = 22,
    zone: int = 0,
    opener: abi.Side | None = None,
    responder: abi.Side | None = None,
    **fields: Any,
) -> Pair:
    """An entry of the tables; addresses are in hexadecimal."""
    family = 4 if len(src) == 8 else 6
    ends = (bytes.fromhex(src).rjust(16, b"\0"), sport), (bytes.fromhex(dst).rjust(16, b"\0"), dport)
    key, opener_hi = make_key(proto, family, *ends, zone)
    flow = abi.Flow(
        tag=key_tag(key),
        incarnation=77,
        generation=5,
        rule=3,
        counter=9,
        slot=4,
        created_j=now_j() - 10 * hz(),
        side=[
            opener or side(state=OPEN),
            responder or side(state=OPEN, in_ifindex=0, out_ifindex=ETH0),
        ],
    )
    for name, value in fields.items():
        setattr(flow, name, value)
    flow.flags |= OPENER_HI if opener_hi else 0
    return key, flow.pack()


def record(**changes: Any) -> list[str]:
    """A file of one flow, with these fields of it changed; a value of None takes the field away."""
    header, text, end = saved(pair())
    fields = {**json.loads(text), **changes}
    return [header, json.dumps({k: v for k, v in fields.items() if v is not None}), end]


def only(flows: flowrestore.Flows) -> tuple[bytes, abi.Flow]:
    ((key, value),) = pairs(flows.confirmed) + pairs(flows.embryonic)
    return key, abi.Flow.unpack(value)


def sides(proto: int) -> st.SearchStrategy[abi.Side]:
    numbers = st.integers(0, 2**32 - 1)
    known = st.sets(st.sampled_from(list(flowsave.SIDE_FLAGS.values()))).map(sum)
    way = st.sampled_from([(ETH0, 0), (0, WAN0), (ETH0, WAN0), None])

    def build(
        seen_s: float, packets: int, way: Any, state: int, nine: tuple[int, ...], flags: int
    ) -> abi.Side:
        seq_end, ack, window_end, window_max, scale, syn_bytes, syn_again = nine
        at = way or (0, 0)
        return abi.Side(
            seen_j=now_j() - int(seen_s * hz()),
            packets=packets,
            bytes=packets * 100,
            in_ifindex=at[0],
            out_ifindex=at[1],
            out_slot=SLOTS.get(at[1], 0),
            flags=flags | (SEEN if way else 0),
            state=state,
            seq_end=seq_end,
            ack=ack,
            window_end=window_end,
            window_max=window_max,
            scale=scale,
            syn_bytes=syn_bytes,
            syn_again=syn_again,
        )

    figures = st.tuples(
        *(numbers, numbers, numbers, st.integers(0, 0xFFFF << 14), st.integers(0, 14)),
        *(st.integers(0, 0xFFFF), numbers),
    )
    # tags, and of a path the sum of its heartbeat: bpf_src/sctp.h
    none = st.just(0)
    tags = st.tuples(numbers, numbers, none, numbers, none, none, none)
    of_proto = {TCP: figures, SCTP: tags}.get(proto, st.just((0,) * 7))
    return st.builds(
        *(build, st.floats(0, 15), st.integers(0, 2**50), way),
        *(st.sampled_from([0, 1, OPEN]), of_proto, known),
    )


@st.composite
def entries(draw: st.DrawFn) -> Pair:
    proto = draw(st.sampled_from([TCP, UDP, ICMP, ICMP6, GRE, OSPF, SCTP]))
    family = draw(st.sampled_from([4, 6]))
    size = 4 if family == 4 else 16
    near = st.sampled_from([b"\x0a" + bytes(size - 2) + bytes([i]) for i in range(3)])
    src, dst = (draw(st.one_of(near, st.binary(min_size=size, max_size=size))).hex() for _ in range(2))
    ports = (0, 0)
    icmp = 0
    if proto in (TCP, UDP, SCTP, GRE):
        ports = draw(st.tuples(st.integers(0, 65535), st.integers(0, 65535)))
    elif is_icmp(proto, family):
        icmp = draw(st.integers(0, 0xFFFF))
        ports = (draw(st.integers(0, 65535)), icmp >> 8)
    raw = [bytes.fromhex(end).rjust(16, b"\0") for end in (src, dst)]
    from firewall.flowkey import link_scoped

    link = LINK_ZONE | SLOTS[ETH0]
    zone = link if link_scoped(family, *raw) else draw(st.sampled_from([0, BLUE_ZONE]))
    flags = draw(st.sampled_from([0, TRANSLATED, PARENT, TRANSLATED | PARENT]))
    parent = abi.Tuple()
    if flags & PARENT:
        parent = abi.Tuple(src=raw[1], dst=raw[0], sport=7, dport=9, zone=zone, proto=proto, family=family)
    opener, responder = draw(sides(proto)), draw(sides(proto))
    scope = draw(st.sampled_from([0, 1, 2]))
    fields = {"flags": flags, "scope": scope, "icmp": icmp, "parent": parent}
    return pair(proto, src, ports[0], dst, ports[1], zone, opener, responder, **fields)


@steady
@given(st.dictionaries(st.booleans(), st.lists(entries(), max_size=4, unique_by=lambda one: one[0])))
def test_what_is_saved_comes_back(tables: dict[bool, list[Pair]]) -> None:
    confirmed = dict(tables.get(True, []))
    embryonic = {key: value for key, value in tables.get(False, []) if key not in confirmed}
    found = read(flowsave.save(pins(confirmed.items(), embryonic.items())))
    assert (found.expired, found.elsewhere) == (0, 0)
    for before, packed in ((confirmed, found.confirmed), (embryonic, found.embryonic)):
        after = dict(pairs(packed))
        assert after.keys() == before.keys()
        for key, value in before.items():
            same_flow(key, abi.Flow.unpack(value), abi.Flow.unpack(after[key]))


def same_flow(key: bytes, old: abi.Flow, new: abi.Flow) -> None:
    """All the same, but for what the rules and the ends must say anew."""
    assert (new.tag, new.generation, new.rule, new.slot) == (key_tag(key), 0, 0, 0)
    assert (new.counter, new.scope) == (old.scope, old.scope)
    assert new.incarnation & 1
    liberal = LIBERAL if abi.FlowKey.unpack(key).proto == TCP else 0
    assert new.flags == old.flags | liberal
    assert (new.icmp, new.parent) == (old.icmp, old.parent)
    assert abs(new.created_j - old.created_j) <= 2 * hz()
    for was, now in zip(old.side, new.side, strict=True):
        assert abs(now.seen_j - was.seen_j) <= 2 * hz()
        now.seen_j = was.seen_j
        was.flags &= ~SETTLED
        was.generation = 0
        assert now == was


def test_what_it_looks_like() -> None:
    opener = side(state=OPEN, seq_end=1000, ack=2000, window_end=3000, window_max=65535, scale=7)
    opener.flags |= sum(flowsave.SIDE_FLAGS[name] for name in ("seq", "ack", "wscale")) | SETTLED
    header, text, end = map(json.loads, saved(pair(opener=opener)))
    assert abs(header.pop("saved_s") - time.time()) < 60
    assert header == {"fw": "flows", "schema": 1, "layout": int(abi.Layout.LAYOUT_VERSION),
                      "interfaces": ["blue", "eth0", "wan0"]}  # fmt: skip
    assert 10 <= text.pop("age_s") < 12 and all(
        1 <= text[role].pop("idle_s") < 3 for role in ("opener", "responder")
    )
    assert text == {
        "proto": 6, "src": "192.0.2.1", "sport": 40000, "dst": "198.51.100.7", "dport": 22, "scope": "in",
        "confirmed": True,
        "opener": {"packets": 2, "bytes": 200, "in": 2, "out": 0, "state": "open", "seq_end": 1000, "ack": 2000,
                   "window_end": 3000, "window_max": 65535, "scale": 7, "known": ["seq", "ack", "wscale"]},
        "responder": {"packets": 2, "bytes": 200, "in": 0, "out": 2, "state": "open"},
    }  # fmt: skip
    assert end == {"end": 1}


def test_connections_that_have_ended_are_left_out() -> None:
    reset = pair(opener=side(state=RST))
    both = pair(
        sport=1, opener=side(state=FIN, seq_end=9, ack=5), responder=side(state=FIN, seq_end=5, ack=9)
    )
    half = pair(sport=2, opener=side(state=FIN))
    assert [json.loads(line)["sport"] for line in saved(reset, both, half)[1:-1]] == [2]


def test_time_that_has_passed_counts_as_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = saved(pair(UDP), pair(TCP))
    then_s = time.time()
    monkeypatch.setattr(time, "time", lambda: then_s + 1000)
    found = read(lines)
    assert found.expired == 1, "UDP is forgotten after three minutes"
    _, flow = only(found)
    assert abs(now_j() - flow.side[0].seen_j - 1001 * hz()) <= 3 * hz()
    assert abs(now_j() - flow.created_j - 1010 * hz()) <= 3 * hz()


def test_the_future_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = saved(pair())
    then_s = time.time()
    monkeypatch.setattr(time, "time", lambda: then_s - 30)
    _, flow = only(read(lines))
    assert abs(now_j() - flow.side[0].seen_j - hz()) <= 3 * hz(), "two clocks that differ a little"
    monkeypatch.setattr(time, "time", lambda: then_s - 3600)
    with pytest.raises(UsageError, match="file:1: it was saved in the future"):
        read(lines)


def test_interfaces_go_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    forward: dict[str, Any] = {
        "opener": side(out_ifindex=WAN0),
        "responder": side(in_ifindex=WAN0, out_ifindex=ETH0),
    }
    lines = saved(pair(UDP, **forward, scope=2))
    swapped = [link._replace(ifindex={ETH0: WAN0, WAN0: ETH0}[link.ifindex]) for link in links(ETH0, WAN0)]
    monkeypatch.setattr("firewall.flowrestore.list_links", lambda: swapped)
    _, flow = only(read(lines))
    opener, responder = flow.side
    assert (opener.in_ifindex, opener.out_ifindex, opener.out_slot) == (WAN0, ETH0, SLOTS[ETH0])
    assert (responder.in_ifindex, responder.out_ifindex, responder.out_slot) == (ETH0, WAN0, SLOTS[WAN0])


def test_a_way_by_an_interface_that_is_no_more_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    forward: dict[str, Any] = {
        "opener": side(out_ifindex=WAN0),
        "responder": side(in_ifindex=WAN0, out_ifindex=ETH0),
    }
    lines = saved(pair(**forward, scope=2))
    monkeypatch.setattr("firewall.flowrestore.list_links", lambda: links(ETH0))
    _, flow = only(read(lines))
    for one in flow.side:
        assert (one.flags & SEEN, one.in_ifindex, one.out_ifindex, one.out_slot) == (0, 0, 0, 0)


LINK_LOCAL: dict[str, Any] = {"src": "fe80" + "0" * 27 + "1", "dst": "fe80" + "0" * 27 + "2"}


def test_zones_are_those_of_here(monkeypatch: pytest.MonkeyPatch) -> None:
    on_link = saved(pair(**LINK_LOCAL, zone=LINK_ZONE | SLOTS[WAN0]))
    in_blue = saved(pair(zone=BLUE_ZONE))
    monkeypatch.setitem(SLOTS, WAN0, 21)
    assert abi.FlowKey.unpack(only(read(on_link))[0]).zone == LINK_ZONE | 21
    assert abi.FlowKey.unpack(only(read(in_blue))[0]).zone == BLUE_ZONE
    monkeypatch.setattr("firewall.flowrestore.list_links", lambda: links(ETH0))
    for lines in (on_link, in_blue):
        found = read(lines)
        assert (found.elsewhere, len(found.confirmed)) == (1, 0)


def test_a_flow_of_a_zone_that_has_gone_is_left_out() -> None:
    assert len(saved(pair(zone=99), pair())) == 3


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert read(record(later="?")).confirmed
    header, *rest = record()
    assert read([json.dumps({**json.loads(header), "layout": 99, "later": 1}), *rest]).confirmed


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"proto": 256}, "'proto' cannot be 256"),
    ({"proto": True}, "'proto' cannot be true"),
    ({"proto": None}, "'proto' is missing"),
    ({"src": "192.0.2"}, '\'src\' cannot be "192.0.2"'),
    ({"src": 7}, "'src' cannot be 7"),
    ({"src": "fe80::1%eth0"}, "'src' cannot be"),
    ({"src": "1.2.3.4\0"}, "'src' cannot be"),
    ({"dst": None}, "'dst' is missing"),
    ({"dst": "2001:db8::1"}, "'src' and 'dst' are of different families"),
    ({"sport": 65536}, "'sport' cannot be 65536"),
    ({"sport": -1}, "'sport' cannot be -1"),
    ({"dport": 1.5}, "'dport' cannot be 1.5"),
    ({"dport": None}, "'dport' is missing"),
    ({"proto": 1}, "'icmp_type' is missing"),
    ({"proto": 47, "gre_key": 2**32}, "'gre_key' cannot be"),
    ({"scope": "sideways"}, '\'scope\' cannot be "sideways"'),
    ({"scope": ["in"]}, "'scope' cannot be"),
    ({"confirmed": 1}, "'confirmed' is neither true nor false"),
    ({"age_s": -1}, "'age_s' cannot be -1"),
    ({"age_s": float("nan")}, "'age_s' cannot be NaN"),
    ({"age_s": float("inf")}, "'age_s' cannot be Infinity"),
    ({"age_s": "1"}, "'age_s' cannot be"),
    ({"translated": 1}, "'translated' cannot be 1"),
    ({"revoked": "no"}, "'revoked' cannot be"),
    ({"zone": 4}, "'zone' cannot be 4"),
    ({"parent": []}, "'parent' is no object"),
    ({"parent": {"src": "::1", "dst": "::2", "sport": 1, "dport": 1}}, "'parent' is of another family"),
    ({"parent": {"src": "1.1.1.1", "dst": "1.1.1.2", "sport": 1}}, "'dport' is missing"),
    ({"opener": None}, "'opener' is no object"),
    ({"opener": {"idle_s": 1e300}}, "'idle_s' cannot be"),
    ({"opener": {"in": 1}}, "'out' is missing"),
    ({"opener": {"in": 4, "out": 0}}, "'in' cannot be 4"),
    ({"opener": {"packets": 2**64}}, "'packets' cannot be"),
    ({"opener": {"state": "listen"}}, '\'state\' cannot be "listen"'),
    ({"opener": {"seq_end": 2**32}}, "'seq_end' cannot be"),
    ({"opener": {"scale": 15}}, "'scale' cannot be 15"),
    ({"opener": {"window_max": 2**31}}, "'window_max' cannot be"),
    ({"opener": {"syn_bytes": 65536}}, "'syn_bytes' cannot be"),
    ({"opener": {"known": ["settled"]}}, "'known' cannot be"),
    ({"opener": {"known": "seq"}}, "'known' cannot be"),
    ({"opener": {"known": [[]]}}, "'known' cannot be"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[json.dumps(changes) for changes, _ in WRONG])
def test_a_wrong_field_refuses_the_file(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(record(**changes))
    assert caught.value.message.startswith(f"file:2: {message}")
    assert len(caught.value.message.splitlines()) == 1 and len(caught.value.message) < 120


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (0, "", "file:1: this is no JSON"),
        (0, "{}", "file:1: this is no file that 'fw flow save' wrote"),
        (0, '{"fw":"flows","schema":2}', "file:1: its schema is 2, this version of fw reads 1"),
        (0, '{"fw":"flows","schema":1,"interfaces":[]}', "file:1: 'saved_s' is missing"),
        (0, '{"fw":"flows","schema":1,"saved_s":1e99,"interfaces":[]}', "file:1: 'saved_s' cannot be"),
        (0, '{"fw":"flows","schema":1,"saved_s":1,"interfaces":[1]}', "file:1: 'interfaces' is no list of names"),
        (1, "[]", "file:2: this is no JSON object"),
        (1, "[" * 5000, "file:2: this is no JSON"),
        (1, "9" * 5000, "file:2: this is no JSON"),
        (1, " " * (1 << 20), "file:2: the line is too long"),
        (1, "\ud800", "file:2: this is no JSON"),
        (2, '{"end":7}', "file:3: 1 flows are before this line, which says 7"),
        (2, '{"end":1}\n{}', "file:3: more follows the last line"),
    ],
)  # fmt: skip
def test_a_wrong_line_refuses_the_file(line: int, text: str, message: str) -> None:
    lines = record()
    lines[line] = text
    raw = "\n".join(lines).encode(errors="surrogatepass").splitlines(keepends=True)
    with pytest.raises(UsageError) as caught:
        flowrestore.read(pins(), raw, "file")
    assert caught.value.message.startswith(message)


def test_any_number_of_interfaces_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of thousands of containers."""
    many = [
        link._replace(name=f"veth{i:08x}", ifindex=1000 + i) for i, link in enumerate(links(ETH0) * 20_000)
    ]
    monkeypatch.setattr("firewall.flowsave.list_links", lambda: many)
    raw = [f"{line}\n".encode() for line in saved(pair())]
    assert len(raw[0]) < flowrestore.LINE_BYTES_MAX
    assert flowrestore.read(pins(), raw, "file").confirmed


def test_what_is_deeply_nested_is_refused_in_one_line() -> None:
    for depth in range(900, 1000):
        with pytest.raises(UsageError, match="file:2: "):
            read([*record()[:1], '{"proto":' + "[" * depth + "]" * depth + "}"])


def test_a_file_that_was_cut_short_is_refused() -> None:
    lines = saved(pair(), pair(UDP))
    for count in range(1, len(lines)):
        with pytest.raises(UsageError, match=f"file:{count + 1}: the file ends before its last line"):
            read(lines[:count])
    with pytest.raises(UsageError, match="file:1: "):
        read([])


@steady
@given(st.binary(max_size=200), st.integers(0, 600))
def test_no_bytes_do_harm(garbage: bytes, at: int) -> None:
    """Any damage is refused in one line, or is none."""
    raw = "\n".join(record()).encode()
    damaged = (raw[:at] + garbage + raw[at + len(garbage) :]).splitlines(keepends=True)
    try:
        flows = flowrestore.read(pins(), damaged, "file")
    except UsageError as error:
        assert error.message.startswith("file:") and "\n" not in error.message
    else:
        for key, value in pairs(flows.confirmed) + pairs(flows.embryonic):
            assert abi.Flow.unpack(value).tag == key_tag(key)
            assert len(list(Table(pins([(key, value)])).chosen())) == 1
