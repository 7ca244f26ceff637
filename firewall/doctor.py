# SPDX-License-Identifier: MIT
"""What this machine offers to fw and what may stand in its way, each with what to do about it.

Everything is looked at or tried; nothing is changed. What needs privileges that we lack is said to be
unknown.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from firewall import bpfprog, features, otherfilters
from firewall.errors import FwError, KernelLacks, NotPermitted
from firewall.links import list_links
from firewall.paths import NETNS_DIR, RUN_DIR, find_bpffs, find_pin_dir, netns_names
from firewall.render import counted

OK, WARN, BAD = "ok", "warn", "bad"

# include/uapi/linux/capability.h
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
_JIT_SWITCH = "/proc/sys/net/core/bpf_jit_enable"


class Finding(NamedTuple):
    """One thing looked at; `verdict` is "ok", "warn" or "bad". `essential`: fw cannot run if it is bad."""

    check: str
    verdict: str
    text: str
    advice: str = ""
    error: type[FwError] | None = None


def examine() -> list[Finding]:
    """All findings, what fw cannot do without first."""
    return [finding for check in _CHECKS for finding in check()]


def _capabilities() -> Iterator[Finding]:
    with open("/proc/self/status") as status:
        held = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        yield Finding("capabilities", BAD, f"without {', '.join(missing)}", "run as root", NotPermitted)
    else:
        yield Finding("capabilities", OK, ", ".join(_CAPABILITIES))


def _libbpf() -> Iterator[Finding]:
    try:
        version = bpfprog.libbpf_version()
    except FwError as error:
        yield Finding("libbpf", BAD, error.message, error.hint or "install libbpf 1.0 or later", KernelLacks)
        return
    yield Finding("libbpf", OK, version)


def _features() -> Iterator[Finding]:
    for name, lacking in _FEATURES.items():
        probe = features.PROBES[name]
        what = (probe.__doc__ or name).rstrip(".")
        try:
            there = probe()
        except NotPermitted:
            yield Finding(f"kernel {name}", WARN, f"unknown: {what}", "run as root to try it")
            continue
        if there:
            yield Finding(f"kernel {name}", OK, what)
        else:
            verdict, advice = lacking
            error = KernelLacks if verdict == BAD else None
            yield Finding(f"kernel {name}", verdict, f"missing: {what}", advice, error)


_NEWER = "a kernel 5.10 or later with CONFIG_BPF_SYSCALL has it"
_FEATURES = {
    "lru": (BAD, _NEWER),
    "inner_maps": (BAD, _NEWER),
    "mmapable": (BAD, _NEWER),
    "ringbuf": (BAD, _NEWER),
    "batch": (WARN, "listing many flows is slow without it"),
    "tcx": (OK, "clsact filters are used instead"),
    "cgroups": (WARN, "no rule with 'unit' knows its unit without it"),
    "btf": (OK, "nothing that fw does now needs it"),
    "jit": (WARN, f"echo 1 > {_JIT_SWITCH} makes packets several times cheaper"),
}


def _bpffs() -> Iterator[Finding]:
    with open("/proc/filesystems") as kinds:
        known = any(line.split()[-1] == "bpf" for line in kinds)
    if not known:
        yield Finding("bpffs", BAD, "the kernel has no bpf file system", _NEWER, KernelLacks)
        return
    try:
        mounted = find_bpffs()
    except NotPermitted as error:
        yield Finding("bpffs", WARN, f"unknown: {error.message}", "run as root to see it")
        return
    yield Finding("bpffs", OK, f"mounted at {mounted}" if mounted else "not mounted yet: 'fw load' does that")


def _object() -> Iterator[Finding]:
    from firewall.programs import object_path

    try:
        yield Finding("object", OK, str(object_path()))
    except FwError as error:
        yield Finding("object", BAD, error.message, error.hint or "", FwError)


def _tc_programs() -> Iterator[Finding]:
    """Who else is at the hooks of the interfaces that are up, and whether before us; what is ours and was lost."""
    from firewall.attach import attached, status

    try:
        pins = find_pin_dir() or Path("/nonexistent")
        held = attached(pins)
        up = [link for link in list_links() if link.up]
        statuses = [(link.name, status(link.ifindex, pins)) for link in up]
    except NotPermitted as error:
        yield Finding("tc programs", WARN, f"unknown: {error.message}", "run as root to see them")
        return
    others = [
        (f"{name} {hook}", other.name or "?", place if there.prog_id else "")
        for name, found in statuses
        for hook, there in (("ingress", found.ingress), ("egress", found.egress))
        for place, listed in (("before", there.before), ("after", there.after))
        for other in listed
    ]
    yield from (_other(*other) for other in others)
    # A link ends with its pin, a filter does not.
    lost = [
        link.name
        for link, (_, found) in zip(up, statuses, strict=True)
        if found.mode == "clsact" and link.ifindex not in held
    ]
    for name in lost:
        text = f"{name}: fw filters there, but the pins of what it does are lost"
        yield Finding("tc programs", WARN, text, "'fw unload --all' removes it")
    if not others and not lost:
        yield Finding("tc programs", OK, "none but fw's")


def _other(where: str, name: str, place: str) -> Finding:
    if place == "before":
        advice = "a packet that it accepts may never reach fw: remove it, or 'fw unload' and 'fw load' again"
        return Finding("tc programs", WARN, f"{where}: '{name}' runs before fw", advice)
    when = "runs after fw and sees what fw passes" if place else "is there; fw would run before it"
    return Finding("tc programs", OK, f"{where}: '{name}' {when}")


def _filters() -> Iterator[Finding]:
    both = "a packet must pass it and fw: allow in both what is to come through"
    found = [f"the service {name} is active" for name in otherfilters.active_services()]
    try:
        found += [f"nft table {t.family} {t.name}" for t in otherfilters.nft_tables() if t.objects]
    except NotPermitted as error:
        yield Finding("other filters", WARN, f"unknown: {error.message}", "run as root to see them")
        return
    found += [f"{name} table (legacy)" for name in otherfilters.legacy_tables()]
    for text in found:
        yield Finding("other filters", WARN, text, both)
    if not found:
        yield Finding("other filters", OK, "none")


def _left_over() -> Iterator[Finding]:
    """What fw has for network namespaces to which nothing leads any more.

    Whether they have ended is not certain: an open file or socket can keep one, so nothing is removed here.
    """
    try:
        root = find_bpffs()
        living = _living_namespaces()
    except (NotPermitted, PermissionError):
        yield Finding("left over", WARN, "unknown", "run as root to see it")
        return
    pins = (
        [path for path in sorted(root.iterdir()) if path.is_dir() and _has_ended(path, living)]
        if root
        else []
    )
    for path in pins:
        text = f"{path} is of a network namespace to which no process and no name leads"
        yield Finding("left over", WARN, text, f"if that has ended: rm -r {path}")
    locks = [str(path) for path in sorted(Path(RUN_DIR).glob("*.*")) if _has_ended(path, living)]
    if locks:
        text = f"{counted(len(locks), 'lock')} of network namespaces to which no process and no name leads"
        yield Finding("left over", WARN, text, f"if these have ended: rm {' '.join(locks)}")
    if not pins and not locks:
        yield Finding("left over", OK, "nothing")


def _living_namespaces() -> set[int]:
    """Inodes of the network namespaces that a process is in, or that have a name."""
    places = [*Path("/proc").glob("[0-9]*/ns/net"), *(Path(NETNS_DIR, name) for name in netns_names())]
    found = set()
    for place in places:
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            found.add(place.stat().st_ino)
    return found


def _has_ended(path: Path, living: Collection[int]) -> bool:
    """Whether a file is named after a network namespace (see `paths.namespace_id`) that is none of `living`."""
    inode = path.name.partition(".")[0].partition("-")[0]
    return inode.isdecimal() and int(inode) not in living


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _capabilities,
    _libbpf,
    _features,
    _bpffs,
    _object,
    _tc_programs,
    _filters,
    _left_over,
)
