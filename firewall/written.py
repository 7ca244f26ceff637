# SPDX-License-Identifier: MIT
"""A policy as it is written: the text of its file, and of the files that this includes.

Nothing here reads a file: `firewall.include` does. What is kept of a running policy is all of this, so it can be read
again when the files are gone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

Included = tuple[tuple[tuple[str, "Written"], ...], ...]


class Written(NamedTuple):
    """`text` is a file byte for byte; `included` has an item for each of its `include` statements, in order: the files
    that this stands for, each its path as seen from the including file and what is written in it.
    """

    text: str
    included: Included = ()

    def flat(self) -> str:
        """One text that says the same: included text stands between comment lines, in place of the statement."""
        if not self.included:
            return self.text
        from firewall.include import include_lines

        lines = self.text.split("\n")
        for line, files in zip(include_lines(self.text), self.included, strict=True):
            blocks = [f"# {lines[line - 1].strip()}"]
            for path, written in files:
                inner = written.flat().removeprefix("\ufeff").removesuffix("\n")
                blocks += [f"# begin {path}", *([inner] if inner else []), f"# end {path}"]
            lines[line - 1] = "\n".join(blocks)
        return "\n".join(lines)

    def encode(self) -> list[Any]:
        """Lists of text, for JSON."""
        included = [[[path, written.encode()] for path, written in files] for files in self.included]
        return [self.text, included]

    @classmethod
    def decode(cls, data: Sequence[Any]) -> "Written":
        """What `encode` made."""
        text, included = data
        return cls(
            text, tuple(tuple((path, cls.decode(inner)) for path, inner in files) for files in included)
        )


def split_lines(text: str) -> list[str]:
    """The lines of a policy without their ends (LF or CRLF) and without a byte order mark.

    Only these end a line: `str.splitlines` would also break one at a form feed inside a comment.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    if not lines[-1]:
        lines.pop()
    return lines
