# SPDX-License-Identifier: MIT
"""Differences in TCP that are meant; see `allowed`.

Honest ends must not notice a window check: that a number is too high is said of segments only that no end has
sent, and of what follows once such a segment has come through. Too old may be what is late or sent twice.
"""

from __future__ import annotations

from itertools import pairwise

from tests.lab.differential.compare import Allowed, Conversation
from tests.lab.differential.icmp import Error
from tests.lab.differential.long_ago import UNSCALED, long_after, old_ack, old_data, uncounted
from tests.lab.differential.routers import FW, NFT
from tests.lab.differential.talk import ACK, CLIENT, FIN, RST, SERVER, SYN, Segment
from tests.lab.differential.tcp_ends import MOD, after
from tests.lab.differential.tcp_history import (
    History,
    about,
    answers,
    here,
    history,
    passed,
    segment_of,
    unanswered,
)


def _tampered(c: Conversation, at: int) -> History | None:
    """The history, if it is not one of honest ends: the packet is forged, or a forged one has come through before,
    or one that both routers have dropped is missing at the other end, which does not know.
    """
    h = history(c, at)
    return h if c.packets[at].forged or h.tampered else None


def _beyond_edge(s: Segment, h: History) -> bool:
    return after(s.seq, h.seen[1 - s.side].edge)


def _beyond(c: Conversation, at: int) -> bool:
    s, h = here(c, at), _tampered(c, at)
    if s is None or h is None or c.leaked(at) or not h.established or s.flags & (SYN | RST):
        return False
    return _beyond_edge(s, h)


def _reset_outside(c: Conversation, at: int) -> bool:
    s, h = here(c, at), _tampered(c, at)
    if s is None or h is None or not s.flags & RST or c.leaked(at):
        return False
    other = h.seen[1 - s.side]
    return h.established and (_beyond_edge(s, h) or after(other.ack, s.seq))


def _early(c: Conversation, at: int) -> bool:
    """Somebody else has meddled with a handshake that is not complete, or sends SYN into a connection."""
    s, h = here(c, at), _tampered(c, at)
    if s is None or h is None or c.leaked(at):
        return False
    return bool(s.flags & SYN) or (not h.renewed and not all(h.spoken)) or unanswered(c, at) is not None


def _crossed(c: Conversation, at: int) -> bool:
    """The server, too, has sent a SYN without ACK."""
    if here(c, at) is None or not c.leaked(at):
        return False
    return any(s.side == SERVER and s.flags & (SYN | ACK) == SYN for s in passed(c, at))


def _challenged(c: Conversation, at: int) -> bool:
    s = here(c, at)
    return s is not None and c.leaked(at) and bool(s.flags & SYN) and not s.flags & RST


def _forgotten(c: Conversation, at: int) -> bool:
    """Netfilter forgets a connection when a reset answers its SYN, and believes resets that are not exact."""
    if about(c, at) is None or (not c.leaked(at) and _tampered(c, at) is None):
        return False
    return any(p.flags & RST for p in passed(c, at))


def _quotes_elsewhere(c: Conversation, at: int) -> bool:
    """An error about a segment that is not on its way: acknowledged, or never sent."""
    error = c.packets[at]
    s = segment_of(error.quote) if isinstance(error, Error) else None
    if s is None or c.leaked(at):
        return False
    h, syn = history(c, at), unanswered(c, at)
    if syn is not None and s.side == CLIENT and s.seq == syn.seq:
        # of two SYNs with different numbers, fw knows the first in full
        return any(p.flags & SYN and p.side == CLIENT and p.seq != s.seq for p in passed(c, at))
    if h.reset or syn is not None:
        return True
    own, other = h.seen[s.side], h.seen[1 - s.side]
    if not h.established:
        return True
    low = other.ack if other.acked else h.begun[s.side] or 0
    return (s.seq - low) % MOD > (own.end - low) % MOD


def _misled(c: Conversation, at: int) -> bool:
    """Before the handshake was complete came what misleads netfilter: a second SYN with a lower number, or an
    answer with a wrong ack, whose number it has kept."""
    s = here(c, at)
    if s is None or not c.leaked(at):
        return False
    syns = [p for p in passed(c, at) if p.side == CLIENT and p.flags & (SYN | ACK) == SYN]
    lower = any(after(a.seq, b.seq) for a, b in pairwise(syns))
    wrong = any(
        (p := segment_of(packet)) is not None
        and p.side == SERVER
        and p.flags & (SYN | RST)
        and not (c.came[NFT][i] and c.came[FW][i])
        for i, packet in enumerate(c.before(at))
    )
    return lower or wrong


def _another_syn(c: Conversation, at: int) -> bool:
    """Of two SYNs with different numbers it acknowledges the one that was not answered."""
    s = here(c, at)
    if s is None or c.leaked(at) or _tampered(c, at) is None or s.side != SERVER:
        return False
    ends = {p.end for p in passed(c, at) if p.side == CLIENT and p.flags & (SYN | ACK) == SYN}
    return len(ends) > 1 and s.ack % MOD in ends


def _after_forged_data(c: Conversation, at: int) -> bool:
    """A forger knew the numbers of the side that sends now."""
    s = here(c, at)
    if s is None or c.leaked(at):
        return False
    return any(p.forged and p.side == s.side and (p.size or p.flags & FIN) for p in passed(c, at))


def _two_fins(c: Conversation, at: int) -> bool:
    """FIN has been sent twice, but it is not so that either side's was acknowledged."""
    if here(c, at) is None or not c.leaked(at):
        return False
    fins = [s for s in passed(c, at) if s.flags & FIN]
    acked = {s.side for s in fins if any(a.side != s.side and a.ack == s.end for a in passed(c, at))}
    return len(fins) > 1 and (len(acked) < 2 or _tampered(c, at) is not None)


def _in_place(c: Conversation, at: int) -> bool:
    """The server has answered a SYN that came while fw saw a connection that was not over."""
    last = about(c, at)
    if last is None:
        return False
    syn, begun, fresh, over, in_place = None, None, False, True, False
    fins: dict[int, int] = {}
    ends: dict[int, int] = {}
    heard: dict[int, int] = {}
    acked: set[int] = set()
    for s in (*passed(c, at), last):
        if s.flags & (SYN | ACK) == SYN and s.side == CLIENT:
            syn, fresh, over = s, True, begun is None or len(acked) == 2
        elif s.flags & SYN and s.side == SERVER:
            numbers = syn.seq if syn else None, s.seq
            if (answers(s, syn) or not s.flags & ACK) and numbers != begun:
                in_place = in_place or not over or not fresh
                fresh = False
                begun, fins, ends, acked = numbers, {}, {}, set()
                heard = {SERVER: s.ack % MOD}
        else:
            old = s.side not in fins and not after(s.end, heard.get(1 - s.side, s.end - 1))
            if s.flags & FIN and not old and not after(ends.get(s.side, s.end), s.end):
                fins[s.side] = s.end  # nothing came before that is beyond it, nor was acknowledged
            if s.flags & ACK and after(s.ack, heard.get(s.side, s.ack - 1)):
                heard[s.side] = s.ack % MOD
            if not s.flags & RST and after(s.end, ends.get(s.side, s.end - 1)):
                ends[s.side] = s.end
            if s.flags & ACK and fins.get(1 - s.side) == s.ack % MOD:
                acked.add(1 - s.side)
    return in_place


def _behind_fin(c: Conversation, at: int) -> bool:
    """Something came behind the FIN of its own side; it may be what an error quotes."""
    if about(c, at) is None or _tampered(c, at) is None:
        return False
    fins: dict[int, int] = {}
    for s in passed(c, at):
        if not s.flags & (SYN | RST) and s.side in fins and after(s.end, fins[s.side]):
            return True
        if s.flags & FIN:
            fins[s.side] = s.end
    return False


def _refused_data(c: Conversation, at: int) -> bool:
    """Data on a SYN that the server did not take."""
    if here(c, at) is None or (not c.leaked(at) and _tampered(c, at) is None):
        return False
    syn = next((s for s in passed(c, at) if s.flags & (SYN | ACK) == SYN and s.size), None)
    return syn is not None and any(answers(s, syn) and s.ack % MOD != syn.end for s in passed(c, at))


def _early_reset(c: Conversation, at: int) -> bool:
    s = here(c, at)
    if s is None or not c.leaked(at) or not s.flags & RST:
        return False
    h = history(c, at)
    return not all(h.spoken) and not h.exact(s)


def _reset_by_number(c: Conversation, at: int) -> bool:
    s, h = here(c, at), history(c, at)
    if s is None or not c.leaked(at) or not s.flags & RST:
        return False
    if h.exact(s):
        return True
    own, other = h.seen[s.side], h.seen[1 - s.side]
    wrong = bool(s.flags & ACK) and (other.end - s.ack) % MOD > max(UNSCALED, own.window)
    return wrong and not _beyond_edge(s, h)


TCP_DIFFERENCES: tuple[Allowed, ...] = (
    Allowed(
        "an acknowledgement from long ago",
        "RFC 5961 section 5.2: outside SND.UNA - MAX.SND.WND it is discarded; netfilter since 6.2 lets it by, measures"
        " from the highest number that was sent, and neither counts the data that came with it nor its window",
        lambda c, at: old_ack(c, at) or uncounted(c, at),
        lasting=True,
        recent=True,
    ),
    Allowed(
        "an acknowledgement long before the highest",
        "RFC 5961 section 5.2: what is acknowledged is measured from SND.UNA; netfilter before 6.2 measured from the"
        " highest number that was sent",
        long_after,
        lasting=True,
        older=True,
    ),
    Allowed(
        "data from long ago",
        "RFC 9293 section 3.10.7.4: not acceptable; netfilter since 6.2 lets it by",
        old_data,
        lasting=True,
        recent=True,
    ),
    Allowed(
        "a sequence number beyond the window",
        "RFC 9293 section 3.10.7.4: not acceptable; netfilter does not look at that of empty segments, and"
        " lets data overshoot by a window",
        _beyond,
        lasting=True,
    ),
    Allowed(
        "a reset outside the window",
        "RFC 5961 section 3.2: silently dropped",
        _reset_outside,
        lasting=True,
    ),
    Allowed(
        "an error about a segment that is not on its way",
        "RFC 5927 section 4.1: SND.UNA <= SEG.SEQ < SND.NXT, else it is discarded",
        _quotes_elsewhere,
    ),
    Allowed(
        "what does not fit a handshake",
        "RFC 9293 sections 3.10.7.3 and 3.10.7.4: a SYN-ACK or reset that does not acknowledge the SYN, data or FIN"
        " before it is acknowledged: not acceptable; netfilter ignores much and lets it by",
        _early,
        lasting=True,
    ),
    Allowed(
        "a simultaneous open",
        "RFC 9293 section 3.5, figure 7: both SYNs count; netfilter knows fewer orders of the segments that follow",
        _crossed,
        lasting=True,
    ),
    Allowed(
        "a SYN inside a connection",
        "RFC 5961 section 4.2: whatever its number, the end answers it with a challenge ACK",
        _challenged,
    ),
    Allowed(
        "after the end of a connection",
        "RFC 9293 sections 3.6 and 3.10.7.1: over is what was reset or closed by both sides, and to what comes then"
        " the end answers with a reset; netfilter forgets at once when a reset answers a SYN, believes resets that"
        " are not exact, and counts two FINs of one side as one of each",
        lambda c, at: _forgotten(c, at) or _two_fins(c, at),
        lasting=True,
    ),
    Allowed(
        "a handshake that netfilter mistakes",
        "RFC 9293 section 3.10.7.3: a segment that is not acceptable changes nothing; netfilter keeps its sequence"
        " number and drops the true handshake. RFC 7413 section 4.2: data on a SYN that the server does not take is"
        " sent again; netfilter counts it as sent",
        lambda c, at: _misled(c, at) or _refused_data(c, at) or _another_syn(c, at),
        lasting=True,
    ),
    Allowed(
        "a new connection in the place of one that is not over",
        "RFC 5961 section 4.2: a SYN changes nothing; netfilter believes the SYN and its answer",
        _in_place,
        lasting=True,
    ),
    Allowed(
        "after forged segments with numbers that fit",
        "RFC 9293 section 3.10.7.4, RFC 5961 section 5.1: they cannot be told from the true ones, of which some are"
        " then too old, or behind a FIN, where nothing comes; to netfilter the highest number counts",
        lambda c, at: _behind_fin(c, at) or _after_forged_data(c, at),
        lasting=True,
    ),
    Allowed(
        "a reset before both sides have spoken",
        "RFC 5961 section 3.2: it has no effect unless it has the very number that is expected",
        _early_reset,
    ),
    Allowed(
        "a reset that is right but for its acknowledgement",
        "RFC 5961 section 3.2, RFC 9293 section 3.10.7.4: a reset is judged by its sequence number alone",
        _reset_by_number,
        lasting=True,
    ),
)
