# SPDX-License-Identifier: MIT
"""What this kernel can do. Each probe tries it; versions are never parsed, for distributions backport.

A probe without the privilege to try raises NotPermitted.
"""

import os
import struct

from firewall import bpfmap, bpfprog
from firewall.bpfmap import MapType
from firewall.errors import FwError, NotPermitted

_RETURN_0 = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # r0 = 0; exit
# r2 = 1; call bpf_skb_ancestor_cgroup_id, which is number 83 of include/uapi/linux/bpf.h
_ASK_CGROUP = struct.pack("=BBhi", 0xB7, 2, 0, 1) + struct.pack("=BBhi", 0x85, 0, 0, 83) + _RETURN_0


def tcx() -> bool:
    """TC programs attached by links (6.6); without it, by clsact filters."""
    return bpfprog.has_tcx()


def _creates(kind: MapType, key_size: int, value_size: int, entries: int, flags: int = 0) -> bool:
    try:
        bpfmap.create_map(kind, "fw_probe", key_size, value_size, entries, flags).close()
    except NotPermitted:
        raise
    except FwError:
        return False
    return True


def ringbuf() -> bool:
    """Ring buffers (5.8)."""
    return _creates(MapType.RINGBUF, 0, 0, os.sysconf("SC_PAGE_SIZE"))


def lru() -> bool:
    """LRU hash maps (4.10)."""
    return _creates(MapType.LRU_HASH, 4, 4, 1)


def inner_maps() -> bool:
    """Maps of maps whose entries differ in size (5.10)."""
    return _creates(MapType.ARRAY, 4, 4, 1, bpfmap.F_INNER_MAP)


def mmapable() -> bool:
    """Arrays that user space can map into its memory (5.5)."""
    return _creates(MapType.ARRAY, 4, 4, 1, bpfmap.F_MMAPABLE)


def batch() -> bool:
    """Map entries read and written many at a time (5.6)."""
    with bpfmap.create_map(MapType.HASH, "fw_probe", 4, 4, 1) as probe:
        return probe.reads_batches()


def jit() -> bool:
    """Programs are compiled to machine code, not interpreted."""
    with bpfprog.load_program(_RETURN_0, "fw_probe") as probe:
        return probe.jited


def cgroups() -> bool:
    """The cgroups of a packet's socket, for `unit` (4.19, where CONFIG_SOCK_CGROUP_DATA is set)."""
    try:
        bpfprog.load_program(_ASK_CGROUP, "fw_probe").close()
    except NotPermitted:
        raise
    except FwError:
        return False
    return True


def btf() -> bool:
    """The kernel describes its own types, for optional programs that read its structures."""
    return os.path.exists("/sys/kernel/btf/vmlinux")


PROBES = {
    probe.__name__: probe for probe in (tcx, ringbuf, lru, inner_maps, mmapable, batch, jit, btf, cgroups)
}
