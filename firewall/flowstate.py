# SPDX-License-Identifier: MIT
"""What a flow's state is, and which timeout it has by that, as bpf_src/flow.h computes it."""

from typing import NamedTuple

from firewall import abi
from firewall.services import ICMP, ICMP6, SCTP, TCP, UDP

# In the order of enum fw_state.
STATES = (
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "last_ack",
    "time_wait",
    "closed",
    "one_way",
    "two_way",
    "revoked",
    "cookie_wait",
    "cookie_echoed",
    "heartbeat_sent",
    "shutdown_sent",
    "shutdown_ack_sent",
)
SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, LAST_ACK, TIME_WAIT, CLOSED, ONE_WAY, TWO_WAY, REVOKED = range(10)
COOKIE_WAIT, COOKIE_ECHOED, HEARTBEAT_SENT, SHUTDOWN_SENT, SHUTDOWN_ACK_SENT = range(10, len(STATES))

_SIDE_SEEN = int(abi.SideFlags.SIDE_SEEN)
_REVOKED = int(abi.FlowFlags.FLOW_REVOKED)
_SIDE_SYN, _SIDE_OPEN, _SIDE_FIN, _SIDE_RST = (
    int(abi.SideState[f"SIDE_{name}"]) for name in ("SYN", "OPEN", "FIN", "RST")
)
_SCTP_TIMEOUTS = {
    state: abi.Timeout[f"TIMEOUT_SCTP_{STATES[state].upper()}"]
    for state in (ESTABLISHED, CLOSED, *range(COOKIE_WAIT, len(STATES)))
}
# IDLE_TIMEOUTS of bpf_src/flow.h
IDLE_TIMEOUTS = frozenset(
    int(abi.Timeout[f"TIMEOUT_{name}"])
    for name in ("TCP_ESTABLISHED", "UDP", "ICMP", "SCTP_ESTABLISHED", "OTHER")
)


class Side(NamedTuple):
    """What one end has sent: packets, bytes, and by which interfaces (index; 0 is this host) it came and
    left.
    """

    seen_j: int
    packets: int
    bytes: int
    seq_end: int
    ack: int
    in_ifindex: int
    out_ifindex: int
    state: int
    flags: int


def is_icmp(proto: int, family: int) -> bool:
    return proto == (ICMP if family == 4 else ICMP6)


def state_of(
    proto: int, flags: int, opener: Side | tuple[int, ...], responder: Side | tuple[int, ...]
) -> int:
    """tcp_state() of bpf_src/flow.h (RFC 9293, section 3.3.2, of both ends at once); else whether it was
    answered.
    """
    _, _, _, o_seq_end, o_ack, _, _, o_state, o_flags = opener
    _, _, _, r_seq_end, r_ack, _, _, r_state, r_flags = responder
    if flags & _REVOKED:
        return REVOKED
    if proto == SCTP:
        return _sctp_state({o_state, r_state})
    if proto != TCP:
        return TWO_WAY if o_flags & r_flags & _SIDE_SEEN else ONE_WAY
    if _SIDE_RST in (o_state, r_state):
        return CLOSED
    if o_state == r_state == _SIDE_FIN:
        return TIME_WAIT if o_ack == r_seq_end and r_ack == o_seq_end else LAST_ACK
    if _SIDE_FIN in (o_state, r_state):
        return FIN_WAIT
    if o_state == _SIDE_OPEN and r_state >= _SIDE_SYN:
        return ESTABLISHED
    return SYN_RECV if r_state else SYN_SENT


def _sctp_state(sides: set[int]) -> int:
    """sctp_state() of bpf_src/flow.h, of what both sides have sent (RFC 9260, section 4)."""
    if _SIDE_RST in sides:
        return CLOSED
    if _SIDE_FIN in sides:
        return SHUTDOWN_ACK_SENT if len(sides) == 1 else SHUTDOWN_SENT
    if _SIDE_OPEN not in sides:
        return COOKIE_WAIT
    if len(sides) == 1:
        return ESTABLISHED
    return HEARTBEAT_SENT if 0 in sides else COOKIE_ECHOED


def timeout_of(proto: int, family: int, state: int) -> int:
    """timeout_of() of bpf_src/flow.h: an enum fw_timeout."""
    if state == REVOKED:
        return abi.Timeout.TIMEOUT_REVOKED
    if proto == TCP:
        return state  # in the same order
    if proto == SCTP:
        return _SCTP_TIMEOUTS[state]
    if proto == UDP:
        return abi.Timeout.TIMEOUT_UDP if state == TWO_WAY else abi.Timeout.TIMEOUT_UDP_ONE_WAY
    if is_icmp(proto, family):
        return abi.Timeout.TIMEOUT_ICMP
    return abi.Timeout.TIMEOUT_OTHER if state == TWO_WAY else abi.Timeout.TIMEOUT_OTHER_ONE_WAY
