# SPDX-License-Identifier: MIT
"""The canonical form of a policy file: each statement as it prints, with all comments in their places."""

from firewall.lang import END, MAX_LINE_CHARS, Source, lex_line
from firewall.policy import parse_policy
from firewall.written import split_lines

_BLANK = " \t\r"
_GAP = "  "  # between a statement and the comment behind it


def formatted(text: str, name: str = "rules.fw") -> str:
    """The same policy in canonical form, which is its own canonical form. Raises PolicyError.

    The order of lines stays. Blank lines stand alone, and neither first nor last; comments are not indented; lines
    end in LF. A line that would become too long stays as it is. What is included is neither looked at nor needed.
    """
    statements = {one.line: one.value for one in parse_policy(text, name, alone=True).statements}
    lines: list[str] = []
    for number, line in enumerate(split_lines(text), 1):
        remark = _remark(Source(name, number, line))
        said = [str(statements[number])] if number in statements else []
        whole = _GAP.join(said + ([remark] if remark else []))
        if len(whole) > MAX_LINE_CHARS:  # as it was written it can be read
            whole = line.strip(_BLANK)
        if whole or (lines and lines[-1]):
            lines.append(whole)
    if lines and not lines[-1]:
        lines.pop()
    return "".join(line + "\n" for line in lines)


def _remark(source: Source) -> str:
    """The comment of a line with its `#`; empty where it has none."""
    tokens = [token for token in lex_line(source).tokens if token.kind != END]
    behind = tokens[-1].column - 1 + tokens[-1].width if tokens else 0
    return source.text[behind:].strip(_BLANK)
