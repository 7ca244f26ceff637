# SPDX-License-Identifier: MIT
"""Our programs at the two TC hooks of an interface: attach, replace, detach, tell.

By TCX (kernel 6.6) a hook is a link, pinned as links/IFINDEX-ingress or -egress in the pin directory. Without
TCX it is a filter in a clsact qdisc, and the directory clsact/IFINDEX says so; its entry "qdisc" says that the
qdisc is of our making. Ours runs first at both hooks: what an earlier program passes would never reach us. What
is not ours is never removed.
"""

import errno
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from firewall import bpfprog, features, tc
from firewall.bpfprog import Link, Program
from firewall.errors import FwError, KernelLacks, KernelRefused, NotLoaded, UsageError

MODES = ("auto", "tcx", "clsact")

_PREF = 1  # the first that there is
_HANDLE = 0x6677  # "fw", so that ours is found again among other filters of the same preference

_HOOKS = {"egress": False, "ingress": True}  # egress first, so that ingress knows the flows opened meanwhile


class Attachment(NamedTuple):
    """Both our programs, in place."""

    ifindex: int
    mode: str  # "tcx" or "clsact"
    ingress_prog: int  # program ids
    egress_prog: int


class Other(NamedTuple):
    """A TC program or filter that is not ours."""

    how: str  # "tcx" or "tc"
    name: str  # a program's name, or a filter's kind
    prog_id: int  # 0: not a BPF program
    pref: int  # 0 for TCX


class HookStatus(NamedTuple):
    """One hook: our program, and what runs before and after it. Without ours, all others are in `after`."""

    prog_id: int | None
    before: list[Other]
    after: list[Other]


class Status(NamedTuple):
    """How an interface is attached. `mode` is None when neither hook is ours; one alone is half an attempt."""

    mode: str | None
    ingress: HookStatus
    egress: HookStatus
    gone: bool  # the interface is not there any more


def _interface(ifindex: int) -> str:
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return f"interface {ifindex}"


def _exists(ifindex: int) -> bool:
    with suppress(OSError):
        return bool(socket.if_indextoname(ifindex))
    return False


def attach(ifindex: int, ingress: Program, egress: Program, mode: str, pins: Path) -> Attachment:
    """Put our programs at both hooks, in place of those of ours that are there; both or none.

    `mode` "auto" keeps to how it is attached, else takes TCX if the kernel has it. `pins` is the pin directory,
    which exists.
    """
    if mode not in MODES:
        raise UsageError(f"there is no way to attach '{mode}'", f"it is one of: {', '.join(MODES)}")
    if not _exists(ifindex):
        raise _gone(ifindex)
    held = _mode(ifindex, pins)
    if mode == "auto":
        mode = held or ("tcx" if features.tcx() else "clsact")
    if mode == "tcx" and not features.tcx():
        raise KernelLacks("this kernel has no TCX, which came with Linux 6.6", "use '--attach clsact'")
    programs = {"ingress": ingress, "egress": egress}
    try:
        with ExitStack() as undo:
            (_attach_tcx if mode == "tcx" else _attach_clsact)(ifindex, programs, pins, undo)
            undo.pop_all()
    except FwError as error:
        if error.errno in (errno.ENODEV, errno.ENOLINK) or not _exists(ifindex):
            raise _gone(ifindex) from error
        raise
    if mode == "tcx":
        _detach_clsact(ifindex, pins)
    else:
        _detach_tcx(ifindex, pins)
    return Attachment(ifindex, mode, ingress.id, egress.id)


def _gone(ifindex: int) -> FwError:
    made = FwError(f"interface {ifindex} has gone")
    made.errno = errno.ENODEV
    return made


def replace(ifindex: int, ingress: Program, egress: Program, pins: Path) -> Attachment:
    """Put other programs in the place of ours: each packet meets the old one or the new one."""
    mode = _mode(ifindex, pins)
    if not mode:
        raise NotLoaded(f"{_interface(ifindex)} is not protected")
    return attach(ifindex, ingress, egress, mode, pins)


def detach(ifindex: int, pins: Path) -> bool:
    """Remove what is ours; False when there was nothing. The interface may have gone."""
    by_tcx = _detach_tcx(ifindex, pins)
    by_clsact = _detach_clsact(ifindex, pins)
    return by_tcx or by_clsact


def attached(pins: Path) -> list[int]:
    """The interfaces that we hold something for, those that have gone included."""
    return sorted(_held("links", pins) | _held("clsact", pins))


def attached_twice(pins: Path) -> list[int]:
    """The interfaces of which a change from one way to the other was interrupted."""
    return sorted(_held("links", pins) & _held("clsact", pins))


def _held(kept: str, pins: Path) -> set[int]:
    names = set()
    with suppress(FileNotFoundError):
        names = {entry.name.partition("-")[0] for entry in (pins / kept).iterdir()}
    return {int(name) for name in names if name.isdecimal()}


def status(ifindex: int, pins: Path) -> Status:
    """What is at the hooks of an interface now, as the kernel tells."""
    mode = _mode(ifindex, pins)
    hooks = {hook: _hook_status(ifindex, hook, mode, pins) for hook in _HOOKS}
    return Status(mode, hooks["ingress"], hooks["egress"], not _exists(ifindex))


def _mode(ifindex: int, pins: Path) -> str | None:
    if any(_our_link(ifindex, hook, pins) for hook in _HOOKS):
        return "tcx"
    if any(_our_filter(ifindex, hook) for hook in _HOOKS):
        return "clsact"
    return None


def _hook_status(ifindex: int, hook: str, mode: str | None, pins: Path) -> HookStatus:
    entries: list[tuple[bool, Other]] = []  # (is ours, what), in running order: TCX comes before filters
    link = _our_link(ifindex, hook, pins)
    ours = link.info().prog_id if link else 0
    for number in bpfprog.tcx_programs(ifindex, _HOOKS[hook]):
        entries.append((number == ours, Other("tcx", _program_name(number), number, 0)))
    for each in tc.filters(ifindex, _HOOKS[hook]):
        name = _program_name(each.prog_id) if each.prog_id else each.kind
        other = Other("tc", name, each.prog_id, each.pref)
        entries.append((mode == "clsact" and _is_ours(each, hook), other))
    others = [other for _, other in entries]
    at = next((i for i, (own, _) in enumerate(entries) if own), None)
    if at is None:
        return HookStatus(None, [], others)
    return HookStatus(others[at].prog_id, others[:at], others[at + 1 :])


def _program_name(number: int) -> str:
    with suppress(FwError):
        return bpfprog.program_by_id(number).name
    return ""  # it ended just now


# TCX


def _link_path(ifindex: int, hook: str, pins: Path) -> Path:
    return pins / "links" / f"{ifindex}-{hook}"


def _our_link(ifindex: int, hook: str, pins: Path) -> Link | None:
    """Our link, if it is still at that interface: it may have gone, or moved to another network namespace."""
    try:
        link = bpfprog.open_pinned_link(_link_path(ifindex, hook, pins))
    except NotLoaded:
        return None
    info = link.info()
    return (
        link
        if info.ifindex == ifindex and info.prog_id in bpfprog.tcx_programs(ifindex, _HOOKS[hook])
        else None
    )


def _drop_link(path: Path) -> bool:
    try:
        with bpfprog.open_pinned_link(path) as link:
            link.detach()
    except NotLoaded:
        return False
    path.unlink()
    return True


def _attach_tcx(ifindex: int, programs: dict[str, Program], pins: Path, undo: ExitStack) -> None:
    (pins / "links").mkdir(mode=0o700, exist_ok=True)
    for hook, ingress in _HOOKS.items():
        path = _link_path(ifindex, hook, pins)
        link = _our_link(ifindex, hook, pins)
        if link:
            undo.callback(link.update, bpfprog.program_by_id(link.info().prog_id))
            link.update(programs[hook])
            continue
        _drop_link(path)  # an interface that has gone left it
        with bpfprog.link_create_tcx(programs[hook], ifindex, ingress) as made:
            undo.callback(_drop_link, path)
            made.pin(path)


def _detach_tcx(ifindex: int, pins: Path) -> bool:
    dropped = [_drop_link(_link_path(ifindex, hook, pins)) for hook in _HOOKS]
    return any(dropped)


# clsact


def _is_ours(each: tc.Filter, hook: str) -> bool:
    return each.kind == "bpf" and (each.pref, each.handle, each.name) == (_PREF, _HANDLE, f"fw_{hook}")


def _our_filter(ifindex: int, hook: str) -> tc.Filter | None:
    return next((each for each in tc.filters(ifindex, _HOOKS[hook]) if _is_ours(each, hook)), None)


def _attach_clsact(ifindex: int, programs: dict[str, Program], pins: Path, undo: ExitStack) -> None:
    mark = pins / "clsact" / str(ifindex)
    qdisc = tc.ingress_qdiscs().get(ifindex)
    if qdisc == "ingress":
        name = _interface(ifindex)
        raise KernelRefused(
            f"{name} has an 'ingress' qdisc, which leaves no room for clsact",
            f"remove it if nothing needs it: tc qdisc del dev {name} ingress",
        )
    if not any(_our_filter(ifindex, hook) for hook in _HOOKS):
        _forget(mark)  # of an earlier interface of that number, or of a qdisc that others removed
        undo.callback(_detach_clsact, ifindex, pins)
    mark.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not qdisc:
        (mark / "qdisc").mkdir(exist_ok=True)  # before it is true: else, if we are killed, it is nobody's
        tc.make_clsact(ifindex)
    for hook in _HOOKS:
        _put_filter(ifindex, hook, programs[hook], undo)


def _put_filter(ifindex: int, hook: str, program: Program, undo: ExitStack) -> None:
    ours = _our_filter(ifindex, hook)
    for each in tc.filters(ifindex, _HOOKS[hook]):
        bars = each.kind != "bpf" or each.protocol != tc.ETH_P_ALL or each.handle == _HANDLE
        if each.chain == 0 and each.pref == _PREF and bars and each != ours:
            raise KernelRefused(
                f"{_interface(ifindex)}: a {each.kind} filter has preference {_PREF} at {hook}, and runs before fw",
                f"give it preference {_PREF + 1} or higher",
            )
    if ours:
        old = bpfprog.program_by_id(ours.prog_id)
        undo.callback(_write_filter, ifindex, hook, old, replace=True)
    _write_filter(ifindex, hook, program, replace=bool(ours))
    if not ours:
        undo.callback(tc.remove_bpf_filter, ifindex, _HOOKS[hook], _PREF, _HANDLE)
    # The kernel puts a new filter before those of the same preference (cls_bpf_change(), net/sched/cls_bpf.c).
    first = next(each for each in tc.filters(ifindex, _HOOKS[hook]) if each.chain == 0)
    if not ours and not _is_ours(first, hook):
        raise KernelRefused(
            f"{_interface(ifindex)}: filter {first.name or first.kind} runs before fw at {hook}"
        )


def _write_filter(ifindex: int, hook: str, program: Program, replace: bool) -> None:
    tc.put_bpf_filter(ifindex, _HOOKS[hook], _PREF, _HANDLE, f"fw_{hook}", program.fd, replace)


def _forget(mark: Path) -> None:
    for path in (mark / "qdisc", mark):
        with suppress(FileNotFoundError):
            path.rmdir()


def _detach_clsact(ifindex: int, pins: Path) -> bool:
    mark = pins / "clsact" / str(ifindex)
    found = mark.exists()
    for hook, ingress in _HOOKS.items():
        if _our_filter(ifindex, hook):
            tc.remove_bpf_filter(ifindex, ingress, _PREF, _HANDLE)
            found = True
    in_use = any(tc.filters(ifindex, ingress) for ingress in _HOOKS.values())
    if (mark / "qdisc").exists() and not in_use and tc.ingress_qdiscs().get(ifindex) == "clsact":
        tc.remove_clsact(ifindex)
    _forget(mark)
    return found
