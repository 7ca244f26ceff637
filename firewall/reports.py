# SPDX-License-Identifier: MIT
"""What the engine says about what it did: values for the command line to print."""

from typing import NamedTuple

from firewall.document import PlacedRule
from firewall.state import Interface


class Loaded(NamedTuple):
    """What one load did, for the report on what is loaded now."""

    added: tuple[str, ...]
    starter: str | None
    seeded: int
    warnings: tuple[str, ...]


class LoadReport(NamedTuple):
    """After a load. `open` are the rules and defaults that let others in.

    `added` are the interfaces that were not protected before, `unprotected` those that are up and still are not.
    `seeded` counts connections that were taken over; `starter` is the text of a policy file that was just written.
    """

    first: bool
    protected: tuple[Interface, ...]
    added: tuple[str, ...]
    unprotected: tuple[str, ...]
    open: tuple[str, ...]
    seeded: int
    grace_s: int
    boot: bool
    starter: str | None
    file: str
    mode: str
    generation: int
    warnings: tuple[str, ...]


class UnloadReport(NamedTuple):
    """After an unload: the interfaces that were taken out, and whether nothing is loaded any more."""

    removed: tuple[str, ...]
    all_gone: bool
    warnings: tuple[str, ...]


class ApplyReport(NamedTuple):
    """After a change of the policy, or what it would be in a dry run.

    `loaded` is False where nothing is loaded; `saved` is False where what runs is not what the file says now.
    `other` are zones, defaults and options that changed, as statements. `seeded` counts connections of new interfaces.
    `texts` are both policies in canonical words, the old one first, after a dry run.
    """

    changed: bool
    loaded: bool
    saved: bool
    generation: int
    added: tuple[PlacedRule, ...]
    removed: tuple[PlacedRule, ...]
    attached: tuple[str, ...]
    detached: tuple[str, ...]
    warnings: tuple[str, ...]
    file: str
    other: tuple[str, ...]
    seeded: int
    texts: tuple[str, str] | None = None


class UpgradeReport(NamedTuple):
    """After an upgrade: the interfaces whose programs were replaced, and how many flows live on."""

    interfaces: tuple[str, ...]
    flows: int
    warnings: tuple[str, ...]
