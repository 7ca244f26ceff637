# SPDX-License-Identifier: MIT
"""Values of which some bits are asked: `mark 0x10/0xff`."""

from typing import NamedTuple

from firewall.lang import Cursor

_WHOLE = 0xFFFFFFFF


class Masked(NamedTuple):
    """A 32-bit number of which the bits of `mask` count; `value` has no others."""

    value: int
    mask: int = _WHOLE

    def __str__(self) -> str:
        return f"{self.value:#x}" if self.mask == _WHOLE else f"{self.value:#x}/{self.mask:#x}"


def read_masked(cursor: Cursor) -> Masked:
    """`NUM [ "/" MASK ]`, each decimal or hexadecimal (`0x`)."""
    token = cursor.word("a mark, like '0x10' or '0x10/0xff'")
    value_text, slash, mask_text = token.text.partition("/")
    value = _number(value_text)
    mask = _number(mask_text) if slash else _WHOLE
    if value is None or mask is None:
        hint = "a number below 2^32, decimal or with '0x', and '/MASK' where only some bits count"
        cursor.fail(f"{token} is not a mark", token, hint)
    if not mask:
        cursor.fail("the mask is 0: no bit would count", token)
    if value & ~mask:
        cursor.fail(
            f"{token} asks for bits outside its mask", token, f"did you mean '{Masked(value & mask, mask)}'?"
        )
    return Masked(value, mask)


def _number(text: str) -> int | None:
    digits, base = (text[2:], 16) if text[:2] in ("0x", "0X") else (text, 10)
    if not digits.isascii() or not digits.isalnum() or len(digits) > 10:
        return None
    try:
        value = int(digits, base)
    except ValueError:
        return None
    return value if value <= _WHOLE else None
