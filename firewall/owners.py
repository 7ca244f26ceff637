# SPDX-License-Identifier: MIT
"""Whose packets a rule speaks of, by name: `user www-data`, `unit nginx.service`. What the names stand for is
`firewall.resolve`'s.
"""

import re

from firewall.lang import Cursor, number

UID_MAX = (1 << 32) - 2  # the last is no user: chown(2)
UNIT_SUFFIXES = (".service", ".slice", ".scope")

# As shadow-utils and systemd take them.
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+")
_UNIT_CHARS = 255


def read_user(cursor: Cursor) -> str:
    """A user's name, or a number without leading zeros."""
    token = cursor.word("a user, like 'www-data' or '33'")
    uid = number(token.text)
    if uid is not None:
        if uid > UID_MAX:
            cursor.fail(f"{token} is not a user: they are 0 to {UID_MAX}", token)
        return str(uid)
    if not _USER.fullmatch(token.text):
        cursor.fail(f"{token} cannot be a user's name", token, "give a name of /etc/passwd, or a number")
    return token.text


def read_unit(cursor: Cursor) -> str:
    """The name of a unit of systemd that has a cgroup."""
    token = cursor.word("a unit, like 'nginx.service'")
    name = token.text
    if len(name) > _UNIT_CHARS or not _UNIT.fullmatch(name):
        cursor.fail(f"{token} cannot be a unit's name", token)
    if not name.endswith(UNIT_SUFFIXES) or name in UNIT_SUFFIXES:
        hint = f"did you mean '{name}.service'?" if "." not in name else "'systemctl status' shows its unit"
        cursor.fail(f"{token} is not a service, a slice or a scope", token, hint)
    return name
