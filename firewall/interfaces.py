# SPDX-License-Identifier: MIT
"""What the packet path knows of interfaces: the maps `interfaces`, `hooks` and `vlan_devices`.

Rules name interfaces, packets carry indexes. Each name has a *class*, a small number that stays its own while
it is loaded; a ruleset says for each class which of its name patterns match (settings.patterns).
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from firewall import abi
from firewall.bpfmap import Map
from firewall.links import Link

UNKNOWN_CLASS = 0
_SLOT_MAX = 0x7FFF  # the bit above marks a handoff in skb->tc_index
_KEY_BYTES = 4
_PLACES = int(abi.Limits.HOOKS_MAX)


class Known(NamedTuple):
    """One value of the map `interfaces`; `slot` is 0 unless the interface is protected."""

    name: str
    slot: int
    class_id: int
    zone: int
    flags: int

    @property
    def protected(self) -> bool:
        return bool(self.flags & abi.IfaceFlags.IFACE_PROTECTED)

    @property
    def is_vrf(self) -> bool:
        return bool(self.flags & abi.IfaceFlags.IFACE_VRF)


def read(interfaces: Map) -> dict[int, Known]:
    """What the map holds, by interface index."""
    return decode(interfaces.items())


def decode(entries: Iterable[tuple[bytes, bytes]]) -> dict[int, Known]:
    """Entries of the map `interfaces`, by interface index."""
    found = {}
    for key, value in entries:
        iface = abi.Iface.unpack(value)
        name = iface.name.split(b"\0")[0].decode(errors="surrogateescape")
        found[_index(key)] = Known(name, iface.slot, iface.class_id, iface.zone, iface.flags)
    return found


def plan(
    known: Mapping[int, Known], links: Iterable[Link], protected: Collection[int], wanted: Sequence[str] = ()
) -> dict[int, Known]:
    """What the map shall hold for the interfaces that exist, of which `protected` are indexes.

    A name keeps its class and a protected interface its slot. There are 255 classes: the VRFs of protected interfaces,
    whose zones they number, and names in `wanted` get theirs first; interfaces beyond them stay unknown to rules.
    A protected interface that has vanished is kept, so that it can be shown and unloaded.
    """
    present = {link.ifindex: link for link in links}
    same = {i: old for i, old in known.items() if i in present and present[i].name == old.name}
    gone = {i: old for i, old in known.items() if i not in present and i in protected}
    classes = {old.name: old.class_id for old in (*same.values(), *gone.values()) if old.class_id}
    # Not even the classes of names that go now: their packets may be on their way still.
    free_classes = _numbers_free((old.class_id for old in known.values()), abi.Limits.CLASSES_MAX - 1)
    masters = {link.master for link in present.values() if link.ifindex in protected}
    vrfs = [link.name for link in present.values() if link.ifindex in masters and link.kind == "vrf"]
    rank = {name: place for place, name in enumerate((*vrfs, *wanted))}
    for link in sorted(present.values(), key=lambda link: (rank.get(link.name, len(rank)), link.ifindex)):
        if link.name not in classes:
            classes[link.name] = next(free_classes, UNKNOWN_CLASS)
    slots = {i: old.slot for i, old in (*same.items(), *gone.items()) if old.slot and i in protected}
    free_slots = _numbers_free(slots.values(), _SLOT_MAX)
    planned = dict(gone)
    for ifindex, link in present.items():
        slot = 0
        flags = 0 if link.has_link_header else abi.IfaceFlags.IFACE_RAW_IP
        if link.kind == "vrf":
            flags |= abi.IfaceFlags.IFACE_VRF
        if ifindex in protected:
            slot = slots.get(ifindex) or next(free_slots)
            flags |= abi.IfaceFlags.IFACE_PROTECTED
        planned[ifindex] = Known(link.name, slot, classes[link.name], _zone(link, present, classes), flags)
    return planned


def write(interfaces: Map, hooks: Map, old: Mapping[int, Known], new: Mapping[int, Known]) -> None:
    """Brings the maps from `old` to `new`. The classes of new names must be in the settings by now."""
    for ifindex, iface in new.items():
        if old.get(ifindex) != iface:
            interfaces.update(_key(ifindex), _value(ifindex, iface))
    for ifindex in old.keys() - new.keys():
        interfaces.delete(_key(ifindex))
    places = {i % _PLACES for known in (old, new) for i, iface in known.items() if iface.protected}
    wanted = hook_places(new)
    for place in places:
        holder = wanted.get(place)
        value = bytes(abi.Iface.SIZE) if holder is None else _value(holder, new[holder])
        if hooks.lookup(_key(place)) != value:
            hooks.update(_key(place), value)


def hook_places(known: Mapping[int, Known]) -> dict[int, int]:
    """Which protected interface has which place in `hooks`, where packets find what is in `interfaces` faster.

    Of two that want the same place the later has it: what has vanished has lower indexes than what is there.
    """
    return {ifindex % _PLACES: ifindex for ifindex in sorted(known) if known[ifindex].protected}


def write_vlan_devices(vlan_devices: Map, links: Iterable[Link]) -> None:
    """Tells the packet path which tags have a device of their own, where they are judged."""
    wanted = {
        abi.VlanKey(ifindex=link.vlan.parent, proto=link.vlan.protocol, vid=link.vlan.vid).pack()
        for link in links
        if link.vlan
    }
    present = set(vlan_devices.keys())
    for key in wanted - present:
        vlan_devices.update(key, b"\1")
    for key in present - wanted:
        vlan_devices.delete(key)


def _value(ifindex: int, iface: Known) -> bytes:
    return abi.Iface(
        ifindex=ifindex,
        slot=iface.slot,
        class_id=iface.class_id,
        zone=iface.zone,
        flags=iface.flags,
        name=iface.name.encode(errors="surrogateescape"),
    ).pack()


def _zone(link: Link, present: Mapping[int, Link], classes: Mapping[str, int]) -> int:
    """The number of the VRF that the interface belongs to or is."""
    if link.kind == "vrf":
        return classes[link.name]
    master = present.get(link.master)
    return classes[master.name] if master and master.kind == "vrf" else 0


def _numbers_free(used: Iterable[int], last: int) -> Iterator[int]:
    taken = set(used)
    return (number for number in range(1, last + 1) if number not in taken)


def _key(ifindex: int) -> bytes:
    return ifindex.to_bytes(_KEY_BYTES, sys.byteorder)


def _index(key: bytes) -> int:
    return int.from_bytes(key, sys.byteorder)
