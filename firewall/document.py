# SPDX-License-Identifier: MIT
"""The running policy as it is kept beside the rules in the kernel: its text, its rules' ids and counters."""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, groupby, zip_longest
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


class Document(NamedTuple):
    """`text` is a policy file byte for byte, `included` what it includes; `saved` tells whether it was saved when it
    was put in force.
    """

    text: str
    rules: tuple[PlacedRule, ...]
    next_id: int
    saved: bool
    included: Included = ()

    @property
    def written(self) -> Written:
        """The policy as it is written, for `firewall.policy`."""
        return Written(self.text, self.included)

    def with_last(self, text: str, written: str, saved: bool, counters: int) -> "Document":
        """What `place` makes of this policy with a rule behind its last: `text` is the rule's, `written` the file's.

        There must be a rule, and it must be of the policy's own file.
        """
        used = {rule.counter for rule in self.rules}
        counter = next(_free_counters(used, (), {}, counters))
        rule = PlacedRule(self.next_id, self.rules[-1].line + 1, counter, text)
        return Document(written, (*self.rules, rule), self.next_id + 1, saved)

    def encode(self) -> bytes:
        """The bytes to keep: the length of what follows in 32 bits, little-endian, and compressed: the length of JSON
        likewise, that, and the text of the file.

        Of a rule that is written as it prints the text is left out, which its line says, unless files are included.
        """
        ids = _runs([rule.id for rule in self.rules])
        lines = _runs([rule.line for rule in self.rules])
        counters = _runs([rule.counter for rule in self.rules])
        texts, files = [rule.text for rule in self.rules], [rule.file for rule in self.rules]
        of_files = any(files)
        written = [] if of_files else _at(split_lines(self.text), lines)
        said = {i: text for i, (text, line) in enumerate(zip_longest(texts, written)) if text != line}
        own = self.text.encode()
        head = json.dumps(
            {
                "schema": SCHEMA,
                "text_bytes": len(own),
                "rules": [ids, lines, counters, said, files if of_files else ()],
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
            *runs, said, files = fields["rules"]
            ids, lines, counters = map(_unrolled, runs)
            texts = [""] * len(ids) if files else _at(split_lines(written.text), runs[1])
            for place, text in said.items():
                texts[int(place)] = text
            columns = ids, lines, counters, texts, files or [""] * len(ids)
            rules = tuple(map(_new_rule, zip(*columns, strict=True)))
            return cls(written.text, rules, fields["next_id"], fields["saved"], written.included)
        except (ValueError, TypeError, KeyError, IndexError, zlib.error):
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
    for rule in previous.rules if previous else ():
        old.setdefault(rule.text, []).append(rule.id)
    ids, next_id = assign_ids(policy.rule_texts, old, previous.next_id if previous else 1)
    kept = {rule.id: rule.counter for rule in previous.rules} if previous else {}
    free = _free_counters(kept.values(), ids, kept, counters)
    places = [kept[id_] if id_ in kept else next(free) for id_ in ids]
    columns = ids, policy.rule_lines, places, policy.rule_texts, policy.rule_files
    rules = tuple(map(_new_rule, zip(*columns, strict=True)))
    if isinstance(written, str):
        written = Written(written)
    return Document(written.text, rules, next_id, saved, written.included)


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers that go up by one each, as the first of them and how many there are."""
    runs, at = [], 0
    for _, group in groupby(map(sub, numbers, count())):
        length = len(list(group))
        runs.append((numbers[at], length))
        at += length
    return runs


def _unrolled(runs: Iterable[tuple[int, int]]) -> list[int]:
    """The numbers that `_runs` was given."""
    return [number for first, length in runs for number in range(first, first + length)]


def _at(source: Sequence[str], runs: Iterable[tuple[int, int]]) -> list[str]:
    """The lines of those numbers."""
    return [line for first, length in runs for line in source[first - 1 : first - 1 + length]]


def _free_counters(
    used: Iterable[int], ids: Sequence[int], kept: Mapping[int, int], counters: int
) -> Iterator[int]:
    """Counters that no rule has; after them, if every rule changes at once, those that become free."""
    in_use = set(used)
    freed = in_use - {kept[id_] for id_ in ids if id_ in kept}
    yield from (slot for slot in range(FIRST_RULE_COUNTER, counters) if slot not in in_use)
    yield from sorted(freed)
