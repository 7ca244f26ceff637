# SPDX-License-Identifier: MIT
"""Binding of libfwtree.so, which tree_src/ is the source of: it builds decision trees over a policy's entries.

The library is opened at the first call, which only policies make that have more entries than are scanned in order.
"""

import ctypes
import functools
from ctypes import POINTER, byref, c_char_p, c_int, c_uint32
from typing import NamedTuple

from firewall import abi
from firewall.errors import FwError
from firewall.paths import built_file

_NO_MEMORY, _CHAIN = 1, 3  # enum fwtree_error


class _Layout(ctypes.Structure):
    """struct fwtree_layout"""

    _fields_ = tuple(
        (name, c_uint32)
        for name in ("size", "src", "dst", "sport", "dport", "family", "proto", "scopes", "flags", "further")
    )


class _Root(ctypes.Structure):
    """struct fwtree_root"""

    _fields_ = (("root", c_uint32), ("first", c_uint32))


class _Tree(ctypes.Structure):
    """struct fwtree"""

    _fields_ = (
        ("words", POINTER(c_uint32)),
        ("lines", c_uint32),
        ("references", c_uint32),
        ("levels", c_uint32),
        ("longest", c_uint32),
        ("culprit", c_uint32),
        ("roots", _Root * (abi.Tree.TREE_FAMILIES * abi.Tree.TREE_GROUPS)),
    )


class Trees(NamedTuple):
    """`lines` are the values of a map `trees`, end to end; `roots` are (root, first) as in struct settings.

    `references` are in all leaves, `levels` of the deepest tree, `longest` is of the longest leaf.
    """

    lines: bytes
    roots: tuple[tuple[int, int], ...]
    references: int
    levels: int
    longest: int


class TooAlike(Exception):
    """So many entries can match one packet that no tree tells them apart; `entry` is the first one too many."""

    def __init__(self, entry: int) -> None:
        super().__init__(entry)
        self.entry = entry


@functools.cache
def _library() -> ctypes.CDLL:
    path = built_file("libfwtree.so")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise FwError(f"cannot open {path}: {error}", "'make' builds it for this machine") from None
    library.fwtree_build.argtypes = (c_char_p, c_uint32, POINTER(_Layout), c_uint32, POINTER(_Tree))
    library.fwtree_build.restype = c_int
    library.fwtree_free.argtypes = (POINTER(_Tree),)
    library.fwtree_free.restype = None
    return library


def _layout() -> _Layout:
    at = {name: offset for name, offset, _, _ in abi.Entry.FIELDS}
    return _Layout(
        size=abi.Entry.SIZE,
        src=at["src"],
        dst=at["dst"],
        sport=at["sport_lo"],
        dport=at["dport_lo"],
        family=at["family"],
        proto=at["proto"],
        scopes=at["scopes"],
        flags=at["flags"],
        further=abi.EntryFlags.ENTRY_UNSURE,
    )


def build(entries: bytes, count: int, chain_max: int = abi.Tree.TREE_CHAIN * abi.Tree.TREE_LINE) -> Trees:
    """The trees of the first `count` entries of an array of struct entry, leaves with at most `chain_max` of them.

    Raises TooAlike, and FwError.
    """
    library, tree = _library(), _Tree()
    try:
        error = library.fwtree_build(entries, count, byref(_layout()), chain_max, byref(tree))
        if error == _CHAIN:
            raise TooAlike(tree.culprit)
        if error == _NO_MEMORY:
            raise FwError(f"there is not enough memory for the trees of {count} entries")
        if error:
            raise ValueError(f"fwtree_build: error {error} for {count} entries")
        lines = ctypes.string_at(tree.words, tree.lines * abi.Tree.TREE_LINE * 4) if tree.lines else b""
        roots = tuple((root.root, root.first) for root in tree.roots)
        return Trees(lines, roots, tree.references, tree.levels, tree.longest)
    finally:
        library.fwtree_free(byref(tree))
