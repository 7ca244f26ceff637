# SPDX-License-Identifier: MIT
"""The running policy as it is kept beside the rules in the kernel: its text, its rules' ids and counters."""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property, partial
from itertools import chain, count, groupby, repeat, zip_longest
from operator import sub
from typing import TYPE_CHECKING, Any, NamedTuple

from firewall.errors import FwError
from firewall.written import Included, Written, split_lines

if TYPE_CHECKING:  # whoever only reads a document need not load the language
    from firewall.policy import Policy

SCHEMA = 2
# rule_counters[0..2] count what the defaults of in, out and forward decide.
FIRST_RULE_COUNTER = 3
_LENGTH_BYTES = 4
_QUICKLY = 1  # a third of the size; what takes longer hardly makes it smaller


class PlacedRule(NamedTuple):
    """A rule of a policy: its id, its line from 1, its place in rule_counters, and its canonical text.

    `file` is the name of the included file that the line is of, and empty for the policy's own.
    """

    id: int
    line: int
    counter: int
    text: str
    file: str = ""


_new_rule = partial(tuple.__new__, PlacedRule)
# Numbers that go up by one each, as the first of them and how many there are: of most policies one pair has all.
_Runs = tuple[tuple[int, int], ...]


class _Fields(NamedTuple):
    text: str
    ids: _Runs
    lines: _Runs
    places: _Runs
    said: Mapping[int, str]
    files: tuple[str, ...]
    next_id: int
    saved: bool
    included: Included


class Document(_Fields):
    """`text` is a policy file byte for byte, `included` what it includes; `saved` tells whether it was saved when it
    was put in force.

    Of its rules `ids`, `lines` and `places` (in rule_counters) are columns of numbers, `said` has the texts of those
    whose lines do not say it, by index. `files` is empty where no rule is of an included file. What is made of these is
    made when it is asked for: there may be 100,000 rules, and most commands ask for few.
    """

    @classmethod
    def of(
        cls,
        written: Written,
        columns: tuple[Sequence[int], ...],
        texts: Sequence[str],
        files: Sequence[str],
        next_id: int,
        saved: bool,
    ) -> "Document":
        """A document of rules whose ids, lines and counters are the `columns`."""
        ids, lines, places = map(_runs, columns)
        of_files = tuple(files) if any(files) else ()
        as_written = [] if of_files else _at(split_lines(written.text), lines)
        said = {i: text for i, (text, line) in enumerate(zip_longest(texts, as_written)) if text != line}
        return cls(written.text, ids, lines, places, said, of_files, next_id, saved, written.included)

    @cached_property
    def rules(self) -> tuple[PlacedRule, ...]:
        """The rules in the order of the policy."""
        columns = (*map(_unrolled, self._numbers), self.texts, self.files or repeat(""))
        return tuple(map(_new_rule, zip(*columns)))  # noqa: B905 - the last may go on for ever

    @property
    def size(self) -> int:
        """How many rules there are."""
        return sum(length for _, length in self.ids)

    @cached_property
    def counters(self) -> frozenset[int]:
        """The places in rule_counters that its rules have."""
        return frozenset(_unrolled(self.places))

    @cached_property
    def texts(self) -> list[str]:
        """What the rules say."""
        texts = [] if self.files else _at(self.source_lines, self.lines)
        texts += [""] * (self.size - len(texts))
        for index, text in self.said.items():
            texts[index] = text
        return texts

    @cached_property
    def source_lines(self) -> list[str]:
        """The lines of the file."""
        return split_lines(self.text)

    @property
    def last_line(self) -> int:
        """The line of the last rule; there must be one."""
        first, length = self.lines[-1]
        return first + length - 1

    def some(self, ids: Set[int]) -> list[PlacedRule]:
        """The rules of these ids."""
        found = [index for index, id_ in enumerate(_unrolled(self.ids)) if id_ in ids]
        if not found:
            return []
        columns = [*map(_unrolled, self._numbers), self.texts, self.files or [""] * self.size]
        return [_new_rule([column[index] for column in columns]) for index in found]

    def beside_rules(self) -> list[tuple[int, str]]:
        """The numbered lines that are not those of rules; the file must include none."""
        lines = self.source_lines
        starts = [1, *(first + length for first, length in self.lines)]
        ends = [*(first for first, _ in self.lines), len(lines) + 1]
        gaps = zip(starts, ends, strict=True)
        return [(number, lines[number - 1]) for start, end in gaps for number in range(start, end)]

    @property
    def written(self) -> Written:
        """The policy as it is written, for `firewall.policy`."""
        return Written(self.text, self.included)

    @property
    def _numbers(self) -> tuple[_Runs, _Runs, _Runs]:
        return self.ids, self.lines, self.places

    def next_rule(self, text: str, counters: int) -> PlacedRule:
        """What `place` makes of a rule behind the last, if nothing else changes; there must be a rule."""
        counter = next(_free_counters(self.counters, (), {}, counters))
        return PlacedRule(self.next_id, self.last_line + 1, counter, text)

    def with_last(self, rule: PlacedRule, written: str, saved: bool) -> "Document":
        """This policy with its `next_rule`, which is written as it prints; `written` is the file's text.

        All rules must be of the policy's own file.
        """
        ids, lines, places = map(_runs_with, self._numbers, (rule.id, rule.line, rule.counter))
        return Document(written, ids, lines, places, self.said, (), self.next_id + 1, saved, ())

    def encode(self) -> bytes:
        """The bytes to keep: the length of what follows in 32 bits, little-endian, and compressed: the length of JSON
        likewise, that, and the text of the file.

        Of a rule that is written as it prints the text is left out, which its line says, unless files are included.
        """
        own = self.text.encode()
        head = json.dumps(
            {
                "schema": SCHEMA,
                "text_bytes": len(own),
                "rules": [*self._numbers, self.said, self.files],
                "included": self.written.encode()[1],
                "next_id": self.next_id,
                "saved": self.saved,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        whole = len(head).to_bytes(_LENGTH_BYTES, "little") + head + own
        body = zlib.compress(whole, _QUICKLY)
        return len(body).to_bytes(_LENGTH_BYTES, "little") + body

    @classmethod
    def decode(cls, data: bytes) -> "Document":
        """What `encode` made, whatever follows it. Raises FwError if it is something else."""
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        try:
            body = zlib.decompress(data[_LENGTH_BYTES:end])
            start = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES], "little")
            fields: dict[str, Any] = json.loads(body[_LENGTH_BYTES:start])
            own = body[start : start + fields["text_bytes"]]
            if len(own) != fields["text_bytes"]:
                raise ValueError("the text is cut off")
            written = Written.decode((own.decode(), fields["included"]))
            if fields["schema"] != SCHEMA:
                raise ValueError("of another version")
            *runs, said, files = fields["rules"]
            ids, lines, places = map(_decoded_runs, runs)
            texts = {int(index): text for index, text in said.items()}
            ends = 0 if files else own.count(b"\n") + (not own.endswith(b"\n"))
            rest = fields["next_id"], fields["saved"], written.included
            document = cls(written.text, ids, lines, places, texts, tuple(files), *rest)
            _demand_whole(document, ends)
            return document
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, zlib.error):
            hint = "'fw unload --all' removes it"
            raise FwError("the running policy's document cannot be read", hint) from None


def place(
    policy: "Policy", written: str | Written, saved: bool, previous: Document | None, counters: int
) -> Document:
    """The document of a policy that takes the place of `previous`.

    A rule whose text is unchanged keeps its id and its counter; a new one gets an id that was never used and
    a counter that no rule of `previous` has, since those still count until the switch. `counters` is the size
    of rule_counters.
    """
    from firewall.policyfile import assign_ids

    old: dict[str, list[int]] = {}
    before = (_unrolled(previous.ids), _unrolled(previous.places)) if previous else ([], [])
    for text, id_ in zip(previous.texts if previous else (), before[0], strict=True):
        old.setdefault(text, []).append(id_)
    ids, next_id = assign_ids(policy.rule_texts, old, previous.next_id if previous else 1)
    kept = dict(zip(*before, strict=True))
    free = _free_counters(previous.counters if previous else frozenset(), ids, kept, counters)
    places = [kept[id_] if id_ in kept else next(free) for id_ in ids]
    if isinstance(written, str):
        written = Written(written)
    columns = ids, policy.rule_lines, places
    return Document.of(written, columns, policy.rule_texts, policy.rule_files, next_id, saved)


def _runs(numbers: Sequence[int]) -> _Runs:
    runs, at = [], 0
    for _, group in groupby(map(sub, numbers, count())):
        length = len(list(group))
        runs.append((numbers[at], length))
        at += length
    return tuple(runs)


def _decoded_runs(pairs: Iterable[Sequence[object]]) -> _Runs:
    """Runs as JSON has them. Raises ValueError if they are none."""
    runs = []
    for first, length in pairs:
        if type(first) is not int or type(length) is not int or first < 1 or length < 1:
            raise ValueError(f"[{first}, {length}] is no run of numbers")
        runs.append((first, length))
    return tuple(runs)


def _demand_whole(document: Document, lines: int) -> None:
    """Raises ValueError if the columns do not go together, or there are rules behind so many lines (0: of files)."""
    sizes = {sum(length for _, length in runs) for runs in (document.ids, document.lines, document.places)}
    if len(sizes) > 1 or (document.files and {len(document.files)} != sizes):
        raise ValueError("the columns are not of one length")
    if type(document.next_id) is not int or any(first + n > document.next_id for first, n in document.ids):
        raise ValueError("there are ids to come again")
    if not all(0 <= index < document.size and type(text) is str for index, text in document.said.items()):
        raise ValueError("there are texts of no rule")
    if lines and any(first + length > lines + 1 for first, length in document.lines):
        raise ValueError("there are rules behind the text's end")


def _runs_with(runs: _Runs, number: int) -> _Runs:
    """One number more behind the last."""
    first, length = runs[-1]
    if number == first + length:
        return (*runs[:-1], (first, length + 1))
    return (*runs, (number, 1))


def _unrolled(runs: _Runs) -> list[int]:
    """The numbers that `_runs` was given."""
    return [*chain.from_iterable(range(first, first + length) for first, length in runs)]


def _at(source: Sequence[str], runs: Iterable[tuple[int, int]]) -> list[str]:
    """The lines of those numbers."""
    return [line for first, length in runs for line in source[first - 1 : first - 1 + length]]


def _free_counters(
    in_use: Set[int], ids: Sequence[int], kept: Mapping[int, int], counters: int
) -> Iterator[int]:
    """Counters that no rule has; after them, if every rule changes at once, those that become free."""
    freed = in_use - {kept[id_] for id_ in ids if id_ in kept}
    yield from (slot for slot in range(FIRST_RULE_COUNTER, counters) if slot not in in_use)
    yield from sorted(freed)
