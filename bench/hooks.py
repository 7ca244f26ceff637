# SPDX-License-Identifier: MIT
"""Programs at the two hooks that a forwarded packet meets: ingress of `wan`, egress of `lan`."""

from contextlib import ExitStack
from typing import Self

from firewall import tc
from firewall.bpfprog import Link, Program, link_create_tcx

_PREF = _HANDLE = 1


class Hooks:
    """A pair of programs, (ingress, egress), attached until the context ends; another pair may take its place."""

    def __init__(self, attach: str, wan: int, lan: int, programs: tuple[Program, Program]) -> None:
        self._places = ((wan, True), (lan, False))  # (interface, whether at ingress)
        self._stack = ExitStack()
        self._links: list[Link] = []
        try:
            for (ifindex, ingress), program in zip(self._places, programs, strict=True):
                if attach == "tcx":
                    link = link_create_tcx(program, ifindex, ingress)
                    self._links.append(self._stack.enter_context(link))
                else:
                    tc.make_clsact(ifindex)
                    self._stack.callback(tc.remove_clsact, ifindex)
                    _filter(ifindex, ingress, program, replace=False)
        except BaseException:
            self._stack.close()
            raise

    def put(self, programs: tuple[Program, Program]) -> None:
        """Another pair in the place of this one."""
        for link, program in zip(self._links, programs, strict=False):
            link.update(program)
        if not self._links:
            for (ifindex, ingress), program in zip(self._places, programs, strict=True):
                _filter(ifindex, ingress, program, replace=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _filter(ifindex: int, ingress: bool, program: Program, replace: bool) -> None:
    tc.put_bpf_filter(ifindex, ingress, _PREF, _HANDLE, "measured", program.fd, replace)
