# SPDX-License-Identifier: MIT
"""Differences in TCP that are of old numbers: acknowledgements and data from long ago, and what follows them."""

from __future__ import annotations

from tests.lab.differential.compare import Conversation
from tests.lab.differential.routers import NFT
from tests.lab.differential.talk import ACK, RST, SYN, Segment
from tests.lab.differential.tcp_ends import after
from tests.lab.differential.tcp_history import History, here, history, segment_of

UNSCALED = 65535
_MAX_ACK_WINDOW = 66000  # MAXACKWINCONST of nf_conntrack_proto_tcp.c


def old_ack(c: Conversation, at: int) -> bool:
    s, h = here(c, at), history(c, at)
    if s is None or c.leaked(at) or not h.established or s.flags & (SYN | RST):
        return False
    own = h.seen[s.side]
    highest = own.ack if own.acked else h.seen[1 - s.side].end
    return after(highest - max(UNSCALED, own.window), s.ack)


def uncounted(c: Conversation, at: int) -> bool:
    """It acknowledges what came with an old acknowledgement, or fits the window of one, of old data or of data beyond
    its own window: netfilter has let these by and counted nothing of them; of the last, where it ends.
    """
    s = here(c, at)
    if s is None or not c.leaked(at) or s.flags & SYN:
        return False
    ignored = _ignored(c, at)
    return any(ignored) and _fits(s, *[history(c, at)] * 2) and not _fits(s, *_counted(c, at, *ignored))


def _ignored(c: Conversation, at: int) -> tuple[set[int], set[int]]:
    """Those that netfilter let by and did not count: what acknowledges or ends far behind what was sent; what lies
    beyond the window.
    """
    late: set[int] = set()
    beyond: set[int] = set()
    for before, packet in enumerate(c.before(at)):
        t = segment_of(packet)
        if t is None or not c.came[NFT][before] or t.flags & (SYN | RST):
            continue
        ends, windows = _counted(c, before, late, beyond)
        if not ends.established:
            continue
        sent, acked = ends.seen[t.side].end, ends.seen[1 - t.side].end
        own, other = windows.seen[t.side], windows.seen[1 - t.side]
        if after(t.seq, other.edge):
            beyond.add(before)
        elif after(sent - other.window, t.end) or after(acked - max(_MAX_ACK_WINDOW, own.window), t.ack):
            late.add(before)
    return late, beyond


def _counted(c: Conversation, at: int, late: set[int], beyond: set[int]) -> tuple[History, History]:
    """What netfilter knows of where both sides' data end, to which what lies beyond counts though it be less; and of
    their windows.
    """
    ends = History(c, at, without=late, ends=beyond)
    return ends, History(c, at, without=late | beyond) if beyond else ends


def _fits(s: Segment, ends: History, windows: History) -> bool:
    """Neither beyond what the other side allows, nor does it acknowledge what was not sent."""
    beyond = after(s.seq, windows.seen[1 - s.side].edge)
    return not beyond and not (s.flags & ACK and after(s.ack, ends.seen[1 - s.side].end))


def long_after(c: Conversation, at: int) -> bool:
    """It acknowledges so little of what was sent since that an older netfilter takes it for too old."""
    s, h = here(c, at), history(c, at)
    if s is None or not c.leaked(at) or not h.established or s.flags & (SYN | RST):
        return False
    return after(h.seen[1 - s.side].end - _MAX_ACK_WINDOW, s.ack)


def old(s: Segment, h: History) -> bool:
    """Does it end before what its receiver's widest window still holds, and was acknowledged?"""
    other = h.seen[1 - s.side]
    if other.acked and not after(other.ack - 1, s.end):
        return False
    return after(h.seen[s.side].end - other.window, s.end)


def old_data(c: Conversation, at: int) -> bool:
    s, h = here(c, at), history(c, at)
    if s is None or c.leaked(at) or not h.established or s.flags & (SYN | RST):
        return False
    return old(s, h)
