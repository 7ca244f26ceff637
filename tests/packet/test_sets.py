# SPDX-License-Identifier: MIT
"""Membership in sets as the packet path finds it, against plain arithmetic; times that end; changes under packets."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, nullcontext
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from firewall import abi, setops
from firewall.addresses import Span
from firewall.carry import bring_up_to_date
from firewall.errors import FwError, NeedsYes
from firewall.pins import REQUEST, offset_of
from firewall.policy import parse_policy
from firewall.requests import Requests
from firewall.setfile import host_keys, keys_of, keys_of_spans, span_of
from firewall.setload import Read, plan_sets
from firewall.settable import SetTable, Value, boot_s
from tests.packet.path import PacketPath
from tests.packets import eth, ip, udp

SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
WIDTH = {4: 32, 6: 128}
# What the path neither refuses before the rules nor takes for its own.
HOME = {4: int(IPv4Address("198.51.100.0")), 6: int(IPv6Address("2001:db8:77::"))}
OURS = {4: "192.0.2.1", 6: "2001:db8:1::1"}
NAMES = ("a", "b", "c", "d", "e")
POLICY = """
option antispoof off
default in reject
{sets}
{rules}
"""


def nested(dice: random.Random, family: int, count: int) -> list[Span]:
    """Prefixes within each other and beside each other, of any length, around few places."""
    width, found = WIDTH[family], []
    for _ in range(count):
        length = dice.choice((*range(width - 10, width + 1), width - 16, width - 24, 1, 0))
        low = (HOME[family] + dice.randrange(1 << 9)) >> (width - length) << (width - length)
        found.append(Span(family, low, low + (1 << width - length) - 1))
    return found


def text(family: int, address: int) -> str:
    return str(IPv4Address(address) if family == 4 else IPv6Address(address))


def asks(path: PacketPath, family: int, source: int, port: int = 53) -> str:
    path.reset_flows()
    return path.ingress(bytes(eth(ip(text(family, source), OURS[family], udp(4000, port))))).reason


def test_which_sets_an_address_is_in(path: PacketPath, capsys: pytest.CaptureFixture[str]) -> None:
    """Five sets of nested prefixes; a port asks for one of them each, as it is and negated, and for several."""
    with capsys.disabled():
        print(f"\nSEED={SEED}")
    dice = random.Random(SEED)
    rules = [f"allow in udp from @{name} to port {number}" for number, name in enumerate(NAMES, 1)]
    rules += [f"allow in udp from not @{name} to port {number}" for number, name in enumerate(NAMES, 11)]
    rules += [
        "allow in udp from @a, @c, 198.51.100.7 to port 21",
        "allow in udp from not @a, @c, ::/1 to port 22",
    ]
    sets = "".join(f"set {name}\n" for name in NAMES)
    path.policy(POLICY.format(sets=sets, rules="\n".join(rules)))
    for _ in range(12):
        members = {name: [s for f in (4, 6) for s in nested(dice, f, dice.randrange(9))] for name in NAMES}
        for name in dice.sample(NAMES, 2):  # without the prefixes that hold everything
            members[name] = [span for span in members[name] if span.high - span.low < 1 << 12]
        fill(path, members)
        for family in (4, 6):
            source = HOME[family] + dice.randrange(1 << 9)

            inside = {
                name: any(s.family == family and s.low <= source <= s.high for s in spans)
                for name, spans in members.items()
            }

            story = f"SEED={SEED}: {text(family, source)} in {members}"
            for number, name in enumerate(NAMES, 1):
                assert asks(path, family, source, number).endswith("allow") == inside[name], story
                assert asks(path, family, source, 10 + number).endswith("allow") != inside[name], story
            some = inside["a"] or inside["c"] or text(family, source) == "198.51.100.7"
            assert asks(path, family, source, 21).endswith("allow") == some, story
            none = not inside["a"] and not inside["c"] and not (family == 6 and source >> 127 == 0)
            assert asks(path, family, source, 22).endswith("allow") == none, story
            address = IPv4Address(source) if family == 4 else IPv6Address(source)
            bits = path.sets().member_bits(address)
            assert bits == sum(inside[name] << n for n, name in enumerate(NAMES)), story


def fill(path: PacketPath, members: dict[str, list[Span]]) -> None:
    table = path.sets()
    table.write([(key, Value()) for key, _ in table.items()])
    for number, spans in enumerate(members.values()):
        keys = keys_of_spans(spans)
        found = table.find(keys)
        table.write((key, value._replace(added=value.added | 1 << number)) for key, value in found.items())
        table.insert(keys - found.keys(), Value(added=1 << number))


def test_the_deepest_nesting_is_followed_to_the_end(path: PacketPath) -> None:
    """One prefix of each length that there is, and the widest alone is of the set that is asked for."""
    path.policy(POLICY.format(sets="set deep\nset wide", rules="allow in udp from @wide"))
    for family in (4, 6):
        keys = list(host_keys(family, HOME[family]))
        table = path.sets()
        table.insert(keys[:-1], Value(listed=1))
        assert asks(path, family, HOME[family]) == "default_reject"
        table.insert(keys[-1:], Value(listed=2))
        assert asks(path, family, HOME[family]) == "rule_allow"


def test_one_familys_addresses_are_not_the_others(path: PacketPath) -> None:
    path.policy(POLICY.format(sets="set six = ::/0\nset four = 0.0.0.0/0", rules="allow in udp from @six"))
    assert [asks(path, family, HOME[family]) for family in (4, 6)] == ["default_reject", "rule_allow"]
    path.policy(POLICY.format(sets="set six = ::/0\nset four = 0.0.0.0/0", rules="allow in udp from @four"))
    assert [asks(path, family, HOME[family]) for family in (4, 6)] == ["rule_allow", "default_reject"]


def test_time_is_up_at_its_second_and_of_each_set_apart(path: PacketPath) -> None:
    path.policy(POLICY.format(sets="set a\nset b\nset c", rules="allow in udp from @b"))
    (key,) = keys_of(Span(4, HOME[4], HOME[4]))
    (around,) = keys_of(Span(4, HOME[4], HOME[4] + 255))
    table, now = path.sets(), boot_s()
    for ends_s, reason in (
        ({0: now + 60}, "default_reject"),
        ({0: now + 60, 1: now + 60}, "rule_allow"),
        ({0: now + 60, 1: now, 2: now + 60}, "default_reject"),
        ({1: now - 5, 0: now - 9}, "default_reject"),
        ({2: now + 1000, 0: now, 1: now + 999}, "rule_allow"),
    ):
        table.write([(key, Value(ends_s=ends_s))])
        assert asks(path, 4, HOME[4]) == reason, ends_s
    table.write([(key, Value(ends_s={1: now - 5})), (around, Value(ends_s={1: now + 60}))])
    assert asks(path, 4, HOME[4]) == "rule_allow", "the wider prefix still holds"


def test_a_flow_is_judged_anew_when_an_element_ends(path: PacketPath) -> None:
    """It knows how long at most; what is not for a time is not asked again."""
    path.policy(POLICY.format(sets="set a", rules="allow in udp from @a"))
    frame = bytes(eth(ip(text(4, HOME[4]), OURS[4], udp(4000, 53))))
    (key,) = keys_of(Span(4, HOME[4], HOME[4]))
    table = path.sets()
    table.write([(key, Value(added=1))])
    assert path.ingress(frame).reason == "rule_allow"
    _, _, flow = path.the_flow()
    assert flow.until_s == 0
    path.reset_flows()
    table.write([(key, Value(ends_s={0: boot_s() + 1000}))])
    assert path.ingress(frame).reason == "rule_allow"
    name, flow_key, flow = path.the_flow()
    assert 0 < flow.until_s - boot_s() <= 1000
    table.write([(key, Value())])
    assert path.ingress(frame).reason == "flow", "nobody has said that the set changed"
    flow.until_s = boot_s()  # which goes on in suspend, as the element's does
    path.maps[name].update(flow_key.pack(), flow.pack())
    assert path.ingress(frame).reason == "revoked"


def test_a_change_reaches_a_flow_at_its_next_packet(path: PacketPath) -> None:
    path.policy(POLICY.format(sets="set a", rules="drop in from @a\nallow in udp"))
    frame = bytes(eth(ip(text(6, HOME[6]), OURS[6], udp(4000, 53))))
    assert [path.ingress(frame).reason for _ in range(2)] == ["rule_allow", "flow"]
    (key,) = keys_of(Span(6, HOME[6], HOME[6]))
    table = path.sets()
    table.write([(key, Value(added=1))])
    path.control(sets_changed=256)
    assert path.ingress(frame).reason == "revoked"
    table.write([(key, Value())])
    path.control(sets_changed=512)
    assert path.ingress(frame).reason == "flow"


def test_a_flow_hears_of_what_a_killed_command_has_written(path: PacketPath) -> None:
    """It is to be announced when all is written; until somebody does, each tick is a change."""
    path.policy("option antispoof off\ndefault in allow\nset bad\ndrop in from @bad\n")
    frame = bytes(eth(ip(text(4, HOME[4]), OURS[4], udp(4000, 53))))
    assert [path.ingress(frame).reason for _ in range(2)] == ["default_allow", "flow"]
    path.sets().insert(keys_of(Span(4, HOME[4], HOME[4])), Value(added=1))
    end = time.monotonic() + 60
    while (reason := path.ingress(frame).reason) == "flow" and time.monotonic() < end:
        time.sleep(0.01)
    assert reason == "revoked"
    path.sets().changed()
    assert path.ingress(frame).reason == "revoked"


@pytest.fixture
def churn(path: PacketPath) -> Iterator[None]:
    """Elements around one that stays come and go all the time, below it and above it in the trie."""
    stop = threading.Event()
    table = path.sets()
    beside = [Span(4, HOME[4] ^ n, HOME[4] ^ n) for n in (1, 2, 3)]
    around = [*[*host_keys(4, HOME[4])][1:20], *keys_of_spans(beside)]

    def work() -> None:
        while not stop.is_set():
            table.write([(key, Value(added=2)) for key in around])
            table.write([(key, Value()) for key in around])

    thread = threading.Thread(target=work)
    path.policy(POLICY.format(sets="set a\nset b", rules="allow in udp from @a"))
    (key,) = keys_of(Span(4, HOME[4], HOME[4]))
    table.write([(key, Value(added=1))])
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("churn")
def test_an_element_is_found_whatever_comes_and_goes_around_it(path: PacketPath) -> None:
    for _ in range(300):
        assert asks(path, 4, HOME[4]) == "rule_allow"
        assert asks(path, 4, HOME[4] ^ 1) == "default_reject"


def test_elements_whose_time_is_up_are_collected(path: PacketPath) -> None:
    path.policy(POLICY.format(sets="set a\nset b", rules="allow in udp from @a"))
    table, now = path.sets(), boot_s()
    keys = sorted(keys_of_spans(Span(4, HOME[4] + 2 * n, HOME[4] + 2 * n) for n in range(1500)))
    values = [Value(ends_s={0: now}), Value(added=2, ends_s={0: now}), Value(ends_s={0: now + 1000})]
    table.write((key, values[i % 3]) for i, key in enumerate(keys))
    for _ in range(6):
        table.collect()
    left = {span_of(key): Value.unpack(raw) for key, raw in table.items()}
    assert len(left) == 1000
    assert set(map(str, left.values())) == {str(Value(added=2)), str(values[2])}


def put_in_force(path: PacketPath, sets: str) -> list[str]:
    """What an apply does with the sets of a policy; the elements that are listed then."""
    apply_sets(path, sets)
    return listed(path)


def apply_sets(path: PacketPath, sets: str) -> list[str]:
    """The same; what it warns of."""
    pins, policy = path.pins(), parse_policy(sets)
    plan = plan_sets(policy, policy, SetTable(pins).known(), Read.ALL)
    with ExitStack() as undo:
        plan.begin(pins, undo)
        undo.pop_all()
    plan.finish(pins)
    return plan.warnings


def listed(path: PacketPath) -> list[str]:
    return sorted(str(span_of(key)) for key, raw in path.sets().items() if Value.unpack(raw).listed)


class Killed(BaseException):
    pass


def test_what_a_kill_left_of_a_dropped_set_is_not_taken_for_the_whole(
    path: PacketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: SetTable, number: int) -> None:
        raise Killed(number)

    assert put_in_force(path, "") == []
    assert put_in_force(path, "set bad = 198.51.100.7") == ["198.51.100.7"]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(SetTable, "forget", killed)
        put_in_force(path, "")
    assert put_in_force(path, "set bad = 198.51.100.7") == ["198.51.100.7"]
    assert put_in_force(path, "") == []


def without_room(table: SetTable, keys: Collection[bytes], value: Value) -> None:
    """One of them is let in yet."""
    table.write([(min(keys), value)])
    raise FwError("no room")


def test_a_set_for_which_there_is_no_room_stays_as_it_was(
    path: PacketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_force(path, "")
    assert put_in_force(path, "set good = 198.51.100.7") == ["198.51.100.7"]
    with monkeypatch.context() as patch, pytest.raises(FwError):
        patch.setattr(SetTable, "insert", without_room)
        put_in_force(path, "set good = 192.0.2.0/28, 203.0.113.0/24")
    assert listed(path) == ["198.51.100.7"]
    assert put_in_force(path, "set good = 198.51.100.7") == ["198.51.100.7"]
    assert put_in_force(path, "") == []


def test_a_disk_that_takes_no_copy_keeps_no_policy_from_coming_into_force(
    path: PacketPath, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put_in_force(path, "")
    file = tmp_path / "bad.txt"
    file.write_text("198.51.100.7\n")
    monkeypatch.setattr("firewall.setload.sets_path", lambda: file / "sets")
    (warning,) = apply_sets(path, f"set bad file {file}")
    assert "set bad has no copy" in warning and "Not a directory" in warning
    assert listed(path) == ["198.51.100.7"]
    assert put_in_force(path, "") == []


def test_flows_hear_of_the_elements_for_which_there_was_room(
    path: PacketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins, changed = path.pins(), offset_of(abi.Control, "sets_changed")
    before = pins.control.load_u32(changed)
    keys = keys_of_spans([Span(4, HOME[4], HOME[4] + 2)])
    monkeypatch.setattr(SetTable, "insert", lambda table, new, value: without_room(table, set(new), value))
    with pytest.raises(FwError):
        setops._add(SetTable(pins), 0, keys, 0)
    assert pins.control.load_u32(changed) != before
    path.sets().write((key, Value()) for key in keys)


def test_a_replacement_that_is_refused_adds_nothing(
    path: PacketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes would cut the caller's connection, what comes would not."""

    def demand_safe(_pins: object, _name: str, _joining: object, leaving: object, _yes: bool) -> None:
        if leaving:
            raise NeedsYes("it would cut you off")

    put_in_force(path, "")
    put_in_force(path, "set office")
    monkeypatch.setattr(setops, "locked", nullcontext)
    monkeypatch.setattr(setops, "demand_pins", lambda: nullcontext(path.pins()))
    setops.add("office", ["198.51.100.7"], yes=True)
    monkeypatch.setattr(setops, "_demand_safe", demand_safe)
    with pytest.raises(NeedsYes):
        setops.replace("office", ["192.0.2.0/28"])
    assert [str(one.span) for one in setops.elements("office")] == ["198.51.100.7"]
    monkeypatch.undo()
    assert put_in_force(path, "") == []


def test_a_flow_that_was_judged_while_it_was_copied_ends_with_its_element(path: PacketPath) -> None:
    """A table of another size: what a packet in the old one says of its side comes after the copy."""
    path.policy(POLICY.format(sets="set a", rules="allow in udp from @a"))
    frame = bytes(eth(ip(text(4, HOME[4]), OURS[4], udp(4000, 53))))
    (key,) = keys_of(Span(4, HOME[4], HOME[4]))
    sets = path.sets()
    sets.write([(key, Value(added=1))])
    assert path.ingress(frame).reason == "rule_allow"
    name, flow_key, copy = path.the_flow()
    sets.write([(key, Value(ends_s={0: boot_s() + 1000}))])
    sets.changed()
    assert path.ingress(frame).reason == "flow"
    _, _, later = path.the_flow()
    assert later.until_s and not copy.until_s

    table = path.maps[name]
    table.update(flow_key.pack(), copy.pack())
    with Requests(path.maps["requests"], path.programs[REQUEST]) as requests:
        assert bring_up_to_date(table, [(flow_key.pack(), later.pack())], requests, False) == 0
    assert path.the_flow()[2].side[0].packets == 2
    sets.write([(key, Value())])
    assert path.ingress(frame).reason == "revoked"
