# SPDX-License-Identifier: MIT
"""`include PATH`: another file's statements in the place of this one.

A path is seen from the directory of the file that it stands in. One with `*`, `?` or `[` stands for all files that it
matches, in the order of their names, which may be none.
"""

import os
import stat
from typing import NamedTuple

from firewall.errors import UsageError
from firewall.lang import (
    MAX_FILE_BYTES,
    STRING,
    WORD,
    Cursor,
    PolicyError,
    Problem,
    Source,
    decode_policy,
    lex_line,
    problem_at,
)
from firewall.written import Written, split_lines

MAX_DEPTH = 8
MAX_FILES = 1000
_MAGIC = frozenset("*?[")
_WORD = "include"


class Include(NamedTuple):
    """`include PATH`."""

    path: str

    def __str__(self) -> str:
        plain = not set(self.path) & set(' \t,#"')
        return f"include {self.path}" if plain else f'include "{self.path}"'


def read_include(cursor: Cursor) -> Include:
    """The statement at the cursor."""
    cursor.take()
    token = cursor.take()
    if token.kind not in (WORD, STRING) or not token.text:
        cursor.fail(f"expected the path of a file, found {token}", token, "as in 'include conf.d/*.fw'")
    return Include(token.text)


def include_lines(text: str) -> list[int]:
    """The lines, from 1, that are `include` statements."""
    return [source.line for source, _ in _includes(text, "")]


def file_name(including: str, path: str) -> str:
    """How messages name an included file."""
    return os.path.normpath(os.path.join(os.path.dirname(including), path))


def read_included(text: str, name: str, directory: str | None = None) -> Written:
    """A policy with all that it includes.

    Raises PolicyError where an `include` cannot be followed, with all else that is wrong with the policy too. `name` is
    what messages call the file; paths are seen from `directory`, by default that of `name`.
    """
    reader = _Reader()
    directory = os.path.dirname(name) if directory is None else directory
    top = os.path.realpath(os.path.join(directory, os.path.basename(name)))
    written = reader.follow(text, name, directory, (top,))
    if reader.problems:
        raise PolicyError(_with_others(reader.problems, written, name))
    return written


def _includes(text: str, name: str) -> list[tuple[Source, Include]]:
    """The `include` statements of a text; lines that are none for a mistake in them are left out."""
    found: list[tuple[Source, Include]] = []
    if _WORD not in text:
        return found
    for number, line in enumerate(split_lines(text), 1):
        if not line.lstrip(" \t").startswith(_WORD):
            continue
        source = Source(name, number, line)
        try:
            cursor = lex_line(source)
            if cursor.next.text == _WORD:
                include = read_include(cursor)
                cursor.finish()
                found.append((source, include))
        except PolicyError:
            continue
    return found


def _with_others(problems: list[Problem], written: Written, name: str) -> list[Problem]:
    """The problems together with those of the lines that could be read."""
    from firewall.policy import parse_policy

    try:
        parse_policy(written, name)
    except PolicyError as error:
        problems = problems + list(error.problems)
    return sorted(problems, key=lambda problem: (problem.name != name, problem.name, problem.line))


class _Reader:
    """Reads files, and remembers what was wrong and how much it was."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.files = 0
        self.bytes = 0

    def follow(self, text: str, name: str, directory: str, chain: tuple[str, ...]) -> Written:
        included = []
        for source, include in _includes(text, name):
            files = []
            try:
                for path in _found(include.path, directory):
                    files.append((path, self._read(path, name, directory, chain)))
            except PolicyError as error:
                self.problems += error.problems
            except UsageError as error:
                self.problems.append(problem_at(source, include.path, error.message, error.hint))
            included.append(tuple(files))
        return Written(text, tuple(included))

    def _read(self, path: str, including: str, directory: str, chain: tuple[str, ...]) -> Written:
        name, place = file_name(including, path), os.path.join(directory, path)
        real = os.path.realpath(place)
        if real in chain:
            raise UsageError(f"{name} includes itself")
        if len(chain) > MAX_DEPTH:
            raise UsageError(f"{name} is included {len(chain)} levels deep; the most is {MAX_DEPTH}")
        self.files += 1
        data = _content(place, name, path)
        self.bytes += len(data)
        if self.files > MAX_FILES or self.bytes > MAX_FILE_BYTES:
            most = f"the most is {MAX_FILES} files and {MAX_FILE_BYTES} bytes"
            raise UsageError(f"with {name} the policy includes too much", most)
        return self.follow(decode_policy(data, name), name, os.path.dirname(place), (*chain, real))


def _found(path: str, directory: str) -> list[str]:
    """The files that a path stands for, as seen from the directory. Raises UsageError."""
    if not _MAGIC.intersection(path):
        return [path]
    from glob import glob

    found = sorted(glob(path, root_dir=directory or None))
    for one in found:
        if not one.isprintable():
            message = f"the name {one!a} has characters that cannot be seen"
            raise UsageError(message, "give the file another name")
    return found


def _content(place: str, name: str, path: str) -> bytes:
    """The bytes of a file. Raises UsageError."""
    try:
        mode = os.stat(place).st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{name} is a directory", f"did you mean 'include {path.rstrip('/')}/*.fw'?")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{name} is not a file")
        with open(place, "rb") as opened:
            return opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        hint = "a path is seen from the directory of the file that it stands in"
        raise UsageError(f"cannot read {name}: {error.strerror}", hint) from None
