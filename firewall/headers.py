# SPDX-License-Identifier: MIT
"""What a rule asks of a packet's headers beyond its ends: the class of traffic, and who sent the frame."""

import re

from firewall.lang import Cursor, Token, closest, number

DSCP_MAX = 63  # 6 bits: RFC 2474 section 3

# RFC 2474 section 4.2.2 (cs), RFC 2597 section 6 (af), RFC 3246 section 2.7 (ef), RFC 8622 section 7 (le).
DSCP_NAMES = {
    **{f"cs{class_}": class_ << 3 for class_ in range(8)},
    **{f"af{class_}{drop}": class_ << 3 | drop << 1 for class_ in range(1, 5) for drop in range(1, 4)},
    "ef": 46,
    "le": 1,
}
MACS_MAX = 16  # of one rule

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])[0-9a-fA-F]{2}(?:\1[0-9a-fA-F]{2}){4}")
_GROUP = 1 << 40  # the bit that makes an address one of many receivers (IEEE 802-2014 section 8.2.2)
_NAME_OF = {value: name for name, value in DSCP_NAMES.items()}


def read_dscp(cursor: Cursor) -> tuple[int, ...]:
    """`V { "," V }`: names of classes of traffic, or their numbers from 0 to 63."""
    classes: dict[int, Token] = {}
    for token in cursor.items("a class of traffic, like 'ef' or '46'"):
        value = DSCP_NAMES.get(token.text, number(token.text))
        if value is None:
            near = closest(token.text, DSCP_NAMES)
            hint = f"did you mean '{near}'?" if near else f"a name like 'ef', or a number up to {DSCP_MAX}"
            cursor.fail(f"{token} is not a class of traffic", token, hint)
        if value > DSCP_MAX:
            octet = f"the whole byte {value} holds '{dscp_name(value >> 2)}'" if value <= 255 else None
            cursor.fail(f"{token} is not a class of traffic: they are 0 to {DSCP_MAX}", token, octet)
        cursor.add_once(token, classes, value)
    return tuple(classes)


def write_dscp(classes: tuple[int, ...]) -> str:
    return "dscp " + ", ".join(map(dscp_name, classes))


def dscp_name(value: int) -> str:
    """'ef' for 46, '3' for 3, which has no name."""
    return _NAME_OF.get(value, str(value))


def read_macs(cursor: Cursor) -> tuple[int, ...]:
    """`MAC { "," MAC }`: addresses of single devices, as numbers of 48 bits."""
    macs: dict[int, Token] = {}
    for token in cursor.items("a MAC address, like '02:00:00:00:00:01'"):
        if not _MAC.fullmatch(token.text):
            cursor.fail(f"{token} is not a MAC address", token, "six pairs of hexadecimal digits with ':'")
        mac = int(re.sub("[:-]", "", token.text), 16)
        if mac & _GROUP or not mac:
            cursor.fail(f"{token} is no device's address: no frame comes from it", token)
        if len(macs) == MACS_MAX:
            cursor.fail(
                f"a rule has at most {MACS_MAX} MAC addresses", token, "write another rule for the rest"
            )
        cursor.add_once(token, macs, mac)
    return tuple(macs)


def write_macs(macs: tuple[int, ...]) -> str:
    return "mac " + ", ".join(mac.to_bytes(6, "big").hex(":") for mac in macs)
