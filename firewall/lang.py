# SPDX-License-Identifier: MIT
"""The policy language's words: lines and command lines to tokens, and what is wrong with them to carets.

A token is a word, a comma, or one string in double quotes; `#` begins a comment. Nothing here knows what the
words mean: `terms`, `rule` and `policy` read them through a `Cursor`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn, TypeVar

from firewall.errors import UsageError
from firewall.services import PROTOCOLS

MAX_FILE_BYTES = 64 << 20
MAX_LINE_CHARS = 1 << 16
MAX_STRING_CHARS = 128
MAX_PROBLEMS_SHOWN = 20
# Source lines longer than this are shown around the caret only.
_WINDOW_CHARS = 100
_SHOWN_WORD_CHARS = 60

# Words that can only begin a clause. On a command line they end a `log` that has no text.
CLAUSE_WORDS = frozenset(
    "on via proto from to port icmp-type log comment mark dscp mac user unit limit max-flows set-mark".split()
) | frozenset(("idle", "until", "between", "unsynced", "overload", "untracked", *PROTOCOLS))

_new = tuple.__new__
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")

WORD, COMMA, STRING, END = "word", "comma", "string", "end"

# Blanks belong to the token behind them; the numbers of the groups are those of the kinds of tokens.
_TOKEN = re.compile(r'[ \t]*(?:([^ \t,"#]+)|(,)|"([^"]*)"|(#)|("))')
_PLAIN = re.compile(r"[^ \t,]+|,")
_WORD, _COMMA, _STRING, _REMARK, _OPEN = range(1, 6)


class Source(NamedTuple):
    """One line to be read: `name` is the file's, and empty for a command line; `line` counts from 1."""

    name: str
    line: int
    text: str


class Problem(NamedTuple):
    """One thing wrong with one place: `column` counts from 1, `length` is how many carets to draw."""

    name: str
    line: int
    column: int
    length: int
    source: str
    message: str
    hint: str | None

    def __str__(self) -> str:
        where = f"{self.name}:{self.line}:{self.column}: " if self.name else ""
        lines = [where + self.message]
        if self.source:
            lines += _underline(self.source, self.column - 1, self.length)
        if self.hint:
            lines.append("    " + self.hint)
        return "\n".join(lines)


class PolicyError(UsageError):
    """The text is not a policy. The message is ready to print: every problem with its line and a caret."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        shown = [str(problem) for problem in problems[:MAX_PROBLEMS_SHOWN]]
        if len(problems) > MAX_PROBLEMS_SHOWN:
            shown.append(f"and {len(problems) - MAX_PROBLEMS_SHOWN} more problems like these")
        super().__init__("\n".join(shown))
        self.problems = tuple(problems)


class Token(NamedTuple):
    """A piece of a line; `text` of a string is without its quotes, `width` with them."""

    kind: str
    text: str
    column: int
    width: int

    def __str__(self) -> str:
        return {COMMA: "','", END: "the end of the line", STRING: f'"{self.text}"'}.get(
            self.kind, f"'{self.text}'"
        )


class Cursor:
    """Walks over the tokens of one statement and turns what does not fit into a `PolicyError`.

    The last of `tokens` is of kind END and is never walked past.
    """

    __slots__ = ("_index", "source", "tokens")

    def __init__(self, source: Source, tokens: Sequence[Token]) -> None:
        column = tokens[-1].column + tokens[-1].width + 1 if tokens else 1
        self.source = source
        self.tokens = (*tokens, Token(END, "", column, 1))
        self._index = 0

    @property
    def next(self) -> Token:
        """The token to be taken next."""
        return self.tokens[self._index]

    @property
    def previous(self) -> Token:
        """The token taken last; there must be one."""
        return self.tokens[self._index - 1]

    def take(self) -> Token:
        token = self.tokens[self._index]
        if token.kind != END:
            self._index += 1
        return token

    def take_if(self, text: str) -> bool:
        """Whether the next token is the word (or the comma) `text`; takes it if so."""
        token = self.tokens[self._index]
        if token.text != text or token.kind in (STRING, END):
            return False
        self._index += 1
        return True

    def word(self, expected: str, hint: str | None = None) -> Token:
        """Takes a word; `expected` says in an error what was wanted, as in "an address"."""
        token = self.take()
        if token.kind != WORD:
            self.fail(f"expected {expected}, found {token}", token, hint)
        return token

    def items(self, expected: str) -> Iterator[Token]:
        """The words of a list with commas between them."""
        yield self.word(expected)
        while self.take_if(","):
            yield self.word(f"{expected} after ','")

    def add_once(self, token: Token, items: dict[_Item, Token], item: _Item) -> None:
        """Adds what `token` stands for to a list (a dict, for its order) that may have it only once."""
        if item in items:
            self.fail(f"{token} is listed twice", token)
        items[item] = token

    def finish(self) -> None:
        """Nothing may be left."""
        if self.next.kind != END:
            self.fail(f"expected the end of the statement, found {self.next}", self.next)

    def fail(self, message: str, token: Token, hint: str | None = None) -> NoReturn:
        raise PolicyError([self.problem(message, token, hint)])

    def problem(self, message: str, token: Token, hint: str | None = None) -> Problem:
        source = self.source
        if len(token.text) > _SHOWN_WORD_CHARS:
            message = message.replace(token.text, token.text[:_SHOWN_WORD_CHARS] + "...")
            hint = None
        return Problem(source.name, source.line, token.column, token.width, source.text, message, hint)


def lex_line(source: Source) -> Cursor:
    """The tokens of one line of a file, without its comment.

    Raises PolicyError for an open quote, a character that cannot be seen, or a line that is too long.
    """
    if len(source.text) > MAX_LINE_CHARS:
        message = f"this line has {len(source.text)} characters; the most is {MAX_LINE_CHARS}"
        raise PolicyError(
            [Problem(source.name, source.line, 1, 1, source.text, message, "split it into several rules")]
        )
    return Cursor(source, _scan(source, source.text, 0))


def problem_at(source: Source, word: str, message: str, hint: str | None = None) -> Problem:
    """A problem with a line that was read before, shown at the last of its words that is `word`, else at its first."""
    cursor = lex_line(source)
    found = [token for token in cursor.tokens if token.kind == WORD and token.text == word]
    return cursor.problem(message, (found or cursor.tokens)[-1 if found else 0], hint)


def lex_words(words: Sequence[str]) -> Cursor:
    """The tokens of a command line: each word one token, save that commas separate here too.

    The word after `comment`, and the one after `log` that does not begin a clause, is text whatever is in it.
    A word with blanks elsewhere is read as if it were several, so that a rule in one pair of shell quotes
    works too.
    """
    shown = [word if word and not set(word) & set(' \t"') else f'"{word}"' for word in words]
    source = Source("", 0, " ".join(shown))
    tokens: list[Token] = []
    column = 0
    for word, display in zip(words, shown, strict=True):
        if tokens and _wants_text(tokens[-1], word):
            text = word[1:-1] if len(word) > 1 and word[0] == word[-1] == '"' else word
            tokens.append(_string(source, text, column, len(display)))
        elif not word:
            raise PolicyError(
                [Problem("", 0, column + 1, 2, source.text, "an empty word is not of the language", None)]
            )
        else:
            tokens += _scan(source, word, column + (display != word))
        column += len(display) + 1
    return Cursor(source, tokens)


def decode_policy(data: bytes, name: str = "rules.fw", what: str = "a policy file") -> str:
    """The bytes of a policy file as text, all of them: `.encode()` gives the same bytes back.

    `what` it is to be is for messages. Raises PolicyError for what is no UTF-8 text or is longer than `MAX_FILE_BYTES`.
    """
    if len(data) > MAX_FILE_BYTES:
        message = f"the file has {len(data)} bytes; the most is {MAX_FILE_BYTES}"
        raise PolicyError([Problem(name, 1, 1, 1, "", message, f"is it {what}?")])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        hint = "save the file as UTF-8"
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            hint = "it looks like UTF-16: " + hint
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise PolicyError([_byte_problem(data, error.start, name, message, hint)]) from None
    if "\0" in text:
        message = "the file has a NUL byte: it is not text"
        raise PolicyError([_byte_problem(data, data.index(b"\0"), name, message, f"is it {what}?")])
    return text


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, if any is near."""
    import difflib  # only ever needed when something is wrong

    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.65)
    return near[0] if near else None


def number(text: str) -> int | None:
    """A decimal number of ASCII digits, of any length that a policy can need; None for anything else."""
    return int(text) if len(text) <= 20 and text.isascii() and text.isdigit() else None


def _scan(source: Source, text: str, offset: int) -> list[Token]:
    tokens = []
    printable = text.isprintable()
    if printable and '"' not in text and "#" not in text:  # most lines, at half the cost
        return [
            _new(Token, (COMMA if (w := found[0]) == "," else WORD, w, offset + found.start() + 1, len(w)))
            for found in _PLAIN.finditer(text)
        ]
    # blanks with nothing behind them would be tried from each of them on
    for match in _TOKEN.finditer(text.rstrip(" \t")):
        kind = match.lastindex
        if kind == _WORD:
            word, column = match[_WORD], offset + match.start(_WORD)
            if not printable and not word.isprintable():
                _refuse_character(source, word, column)
            tokens.append(Token(WORD, word, column + 1, len(word)))
        elif kind == _COMMA:
            tokens.append(Token(COMMA, ",", offset + match.end(), 1))
        elif kind == _STRING:
            string, column = match[_STRING], offset + match.start(_STRING) - 1
            tokens.append(_string(source, string, column, len(string) + 2))
        elif kind == _OPEN:
            message, column = "this quote is not closed on its line", offset + match.end()
            raise PolicyError([Problem(source.name, source.line, column, 1, source.text, message, None)])
        elif source.name or source.line:
            break
        else:
            message, column = "'#' begins a comment, which only a file can have", offset + match.end()
            hint = 'give comment "TEXT" instead'
            raise PolicyError([Problem("", 0, column, 1, source.text, message, hint)])
    return tokens


def _string(source: Source, text: str, column: int, width: int) -> Token:
    message = None
    if '"' in text:
        message = "a text cannot have a double quote in it"
    elif len(text) > MAX_STRING_CHARS:
        message = f"this text has {len(text)} characters; the most is {MAX_STRING_CHARS}"
    elif not text.isprintable():
        _refuse_character(source, text, column + 1)
    if message:
        raise PolicyError([Problem(source.name, source.line, column + 1, width, source.text, message, None)])
    return Token(STRING, text, column + 1, width)


def _wants_text(before: Token, word: str) -> bool:
    if before.kind != WORD:
        return False
    return before.text == "comment" or (before.text == "log" and word not in CLAUSE_WORDS)


def _refuse_character(source: Source, text: str, column: int) -> NoReturn:
    position = next(i for i, character in enumerate(text) if not character.isprintable())
    message = f"the character U+{ord(text[position]):04X} cannot be seen and is not allowed here"
    raise PolicyError(
        [Problem(source.name, source.line, column + position + 1, 1, source.text, message, None)]
    )


def _byte_problem(data: bytes, offset: int, name: str, message: str, hint: str) -> Problem:
    """A problem at a byte; the source line is left out, since it is what cannot be shown."""
    start = data.rfind(b"\n", 0, offset) + 1
    column = len(data[start:offset].decode(errors="replace")) + 1
    return Problem(name, data.count(b"\n", 0, offset) + 1, column, 1, "", message, hint)


def _underline(source: str, start: int, length: int) -> list[str]:
    """The source line, or the part of it around `start`, and carets below it, with the same tabs before."""
    first = max(0, start - _WINDOW_CHARS // 2) if len(source) > _WINDOW_CHARS else 0
    last = first + _WINDOW_CHARS
    head = "... " if first else ""
    tail = " ..." if last < len(source) else ""
    visible = "".join(
        c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in source[first:last]
    )
    margin = "".join("\t" if c == "\t" else " " for c in visible[: start - first])
    carets = "^" * max(1, min(length, last - start))
    return [f"    {head}{visible}{tail}".rstrip(), f"    {' ' * len(head)}{margin}{carets}"]


def read_alone(text: str, reader: Callable[[Cursor], _Read]) -> _Read | None:
    """What `reader` makes of a text that is nothing else; None if it is not that."""
    try:
        cursor = lex_line(Source("", 0, text))
        value = reader(cursor)
        cursor.finish()
    except PolicyError:
        return None
    return value
