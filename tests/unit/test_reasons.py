# SPDX-License-Identifier: MIT
"""The reasons' sentences and the enum that the packet path counts by."""

import re
from pathlib import Path

from firewall import abi
from firewall.options import OPTIONS
from firewall.reasons import DROPS, REASONS

WORDS_H = Path(__file__).resolve().parents[2] / "bpf_src" / "abi_words.h"


def names_in_the_header() -> list[str]:
    """The enumerators of enum fw_reason without REASON_, in order; those that name no reason left out."""
    body = re.search(r"enum fw_reason \{(.*?)\n\};", WORDS_H.read_text(), re.DOTALL)
    assert body
    names = re.findall(r"^\tREASON_(\w+)\b", re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL), re.MULTILINE)
    return [name.lower() for name in names if name not in ("NONE", "COUNT", "FIRST_DROP")]


def test_same_reasons_in_the_same_order() -> None:
    assert list(REASONS) == names_in_the_header()
    assert list(REASONS) == [abi.Reason(number).name.lower() for number in range(1, abi.Reason.COUNT)]


def test_drops_begin_where_the_packet_path_says() -> None:
    assert [name for name in REASONS if name in DROPS] == [
        abi.Reason(number).name.lower() for number in range(abi.Reason.FIRST_DROP, abi.Reason.COUNT)
    ]


def test_every_builtin_can_be_switched() -> None:
    assert {name.replace("_", ".") for name in REASONS if name.startswith("builtin_")} == {
        name for name in OPTIONS if name.startswith("builtin.")
    }


def test_sentences_fit_a_line() -> None:
    for name, sentence in REASONS.items():
        assert 10 < len(sentence) <= 72 and not sentence.endswith("."), name
    assert len(set(REASONS.values())) == len(REASONS)
