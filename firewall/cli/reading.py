# SPDX-License-Identifier: MIT
"""What commands read that show parts of the policy."""

from typing import TYPE_CHECKING

from firewall.errors import NotLoaded

if TYPE_CHECKING:
    from firewall.cli.base import Session
    from firewall.policy import Policy


def policy_in_force(session: "Session") -> "Policy":
    """The policy in force, and the saved one where nothing is loaded."""
    from firewall import state
    from firewall.policy import parse_policy
    from firewall.saved import read_saved

    try:
        with state.read() as running:
            return running.policy
    except NotLoaded:
        session.say("nothing is loaded: this is the saved policy's")
        return parse_policy(read_saved() or "")
