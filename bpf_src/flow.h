/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a flow is, where it is found and how long it lives: `flows` holds
 * confirmed ones, `embryonic` the others. A flow has no lock: each side's record
 * is written only by that side's packets, and what else changes in it is written
 * with the same value by whoever writes it.
 */
#ifndef FW_FLOW_H
#define FW_FLOW_H

#include "cursor.h"

#define EEXIST 17

/* What becomes of a packet of a TCP or SCTP flow. */
enum fw_segment {
	SEGMENT_ACCEPT, /* part of the connection: its side's record moves on */
	SEGMENT_LEARN,  /* TCP met midway: its side's record begins with it */
	SEGMENT_NOTE, /* SCTP: harmless, and noted for what may follow; the association does not move */
	SEGMENT_PASS,   /* harmless, changes nothing: the end will answer it */
	SEGMENT_REOPEN, /* opens a new connection in the place of the old */
	SEGMENT_REFUSE,
	SEGMENT_OUTSIDE, /* of the window, or without the tag */
};

static __always_inline __u32 key_tag(const struct flow_key *key)
{
	const half_t *halves = (const half_t *)key;
	__u64 tag = 0;
	int i;

	for (i = 0; i < sizeof(*key) / sizeof(*halves); i++)
		tag ^= halves[i];
	return tag ^ tag >> 32;
}

/*
 * The node of an evicted flow is reused at once, under the feet of whoever
 * found it; a tag that is not our key's says that this has happened.
 */
static __always_inline struct flow *find_flow(struct packet *p)
{
	struct flow *f;

	f = bpf_map_lookup_elem(&flows, &p->key);
	p->confirmed = 1;
	if (f && f->tag == key_tag(&p->key))
		return f;
	f = bpf_map_lookup_elem(&embryonic, &p->key);
	p->confirmed = 0;
	return f && f->tag == key_tag(&p->key) ? f : NULL;
}

/* Without a branch: the verifier would follow everything behind it for either role. */
static __always_inline __u32 role_of(const struct flow *f, const struct packet *p)
{
	_Static_assert(FLOW_OPENER_HI == 1 && ROLE_OPENER == 0 && ROLE_RESPONDER == 1, "bits");
	return (f->flags ^ p->from_hi) & FLOW_OPENER_HI;
}

static __always_inline bool seen(const struct side *side)
{
	return side->flags & SIDE_SEEN;
}

/* RFC 9293 section 3.3.2, of both ends at once, as far as a middlebox can see. */
static __always_inline enum fw_state tcp_state(const struct side *o, const struct side *r)
{
	if (o->state == SIDE_RST || r->state == SIDE_RST)
		return STATE_CLOSED;
	if (o->state == SIDE_FIN && r->state == SIDE_FIN)
		/* more than was counted, where the FIN came in fragments */
		return (__s32)(o->ack - r->seq_end) >= 0 && (__s32)(r->ack - o->seq_end) >= 0 ?
			       STATE_TIME_WAIT :
			       STATE_LAST_ACK;
	if (o->state == SIDE_FIN || r->state == SIDE_FIN)
		return STATE_FIN_WAIT;
	if (o->state == SIDE_OPEN && r->state >= SIDE_SYN)
		return STATE_ESTABLISHED;
	return r->state == SIDE_NONE ? STATE_SYN_SENT : STATE_SYN_RECV;
}

/* Nothing more is to come of it, but for what is sent again. */
static __always_inline bool is_over(const struct flow *f, __u32 proto)
{
	const struct side *opener = &f->side[ROLE_OPENER], *responder = &f->side[ROLE_RESPONDER];
	enum fw_state state;

	if (proto == IPPROTO_SCTP)
		return opener->state == SIDE_RST || responder->state == SIDE_RST;
	if (proto != IPPROTO_TCP)
		return false;
	state = tcp_state(opener, responder);
	return state == STATE_TIME_WAIT || state == STATE_CLOSED;
}

static __always_inline enum fw_timeout tcp_timeout(enum fw_state state)
{
	_Static_assert((int)STATE_SYN_SENT == TIMEOUT_TCP_SYN_SENT &&
			       (int)STATE_CLOSED == TIMEOUT_TCP_CLOSED,
		       "in the same order");
	return (enum fw_timeout)state;
}

/* RFC 9260 section 4, of both ends at once, by what each has sent; either may have opened it. */
static __always_inline enum fw_state sctp_state(__u32 a, __u32 b)
{
	if (a == SIDE_RST || b == SIDE_RST)
		return STATE_CLOSED;
	if (a == SIDE_FIN || b == SIDE_FIN)
		return a == b ? STATE_SHUTDOWN_ACK_SENT : STATE_SHUTDOWN_SENT;
	if (a == SIDE_OPEN && b == SIDE_OPEN)
		return STATE_ESTABLISHED;
	if (a != SIDE_OPEN && b != SIDE_OPEN)
		return STATE_COOKIE_WAIT;
	return a == SIDE_NONE || b == SIDE_NONE ? STATE_HEARTBEAT_SENT : STATE_COOKIE_ECHOED;
}

/* A function of its own, so that no other protocol's flow is followed through it by the verifier. */
GLOBAL int sctp_timeout(__u32 a, __u32 b)
{
	switch (sctp_state(a, b)) {
	case STATE_COOKIE_WAIT:
		return TIMEOUT_SCTP_COOKIE_WAIT;
	case STATE_COOKIE_ECHOED:
		return TIMEOUT_SCTP_COOKIE_ECHOED;
	case STATE_HEARTBEAT_SENT:
		return TIMEOUT_SCTP_HEARTBEAT_SENT;
	case STATE_ESTABLISHED:
		return TIMEOUT_SCTP_ESTABLISHED;
	case STATE_SHUTDOWN_SENT:
		return TIMEOUT_SCTP_SHUTDOWN_SENT;
	case STATE_SHUTDOWN_ACK_SENT:
		return TIMEOUT_SCTP_SHUTDOWN_ACK_SENT;
	default:
		return TIMEOUT_SCTP_CLOSED;
	}
}

/* See docs/conntrack.md for where each comes from. */
static __always_inline enum fw_timeout timeout_of(const struct flow *f, __u32 proto, __u32 family)
{
	bool answered = seen(&f->side[ROLE_OPENER]) && seen(&f->side[ROLE_RESPONDER]);

	if (f->flags & FLOW_REVOKED)
		return TIMEOUT_REVOKED;
	if (proto == IPPROTO_TCP)
		return tcp_timeout(tcp_state(&f->side[ROLE_OPENER], &f->side[ROLE_RESPONDER]));
	if (proto == IPPROTO_SCTP)
		return sctp_timeout(f->side[ROLE_OPENER].state, f->side[ROLE_RESPONDER].state);
	if (proto == IPPROTO_UDP)
		return answered ? TIMEOUT_UDP : TIMEOUT_UDP_ONE_WAY;
	if (proto == (family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return TIMEOUT_ICMP;
	return answered ? TIMEOUT_OTHER : TIMEOUT_OTHER_ONE_WAY;
}

/* Those that a rule's `idle` takes the place of. */
#define IDLE_TIMEOUTS                                                          \
	(1 << TIMEOUT_TCP_ESTABLISHED | 1 << TIMEOUT_UDP | 1 << TIMEOUT_ICMP | \
	 1 << TIMEOUT_SCTP_ESTABLISHED | 1 << TIMEOUT_OTHER)

static __always_inline __u32 lifetime_j(const struct flow *f, __u32 proto, __u32 family,
					const struct settings *s)
{
	__u32 timeout = timeout_of(f, proto, family);

	/* the compiler knows what sctp_timeout() returns, the verifier does not */
	barrier_var(timeout);
	timeout &= 31;
	if (f->effects.idle_j && IDLE_TIMEOUTS >> timeout & 1)
		return f->effects.idle_j;
	return s->timeout_j[timeout];
}

static __always_inline __s64 idle_of(const struct flow *f, __u64 now_j)
{
	__u64 opener_j = f->side[ROLE_OPENER].seen_j;
	__u64 responder_j = f->side[ROLE_RESPONDER].seen_j;

	return now_j - (opener_j > responder_j ? opener_j : responder_j);
}

/* Past its state's timeout a flow is absent, whoever collects it. */
static __always_inline bool expired(const struct flow *f, const struct packet *p,
				    const struct settings *s)
{
	__s64 idle_j = idle_of(f, p->now_j);

	/* no timeout is shorter than a second */
	if (idle_j < hz)
		return false;
	return idle_j > lifetime_j(f, p->key.proto, p->key.family, s);
}

/* Our own reset in the name of the packet's sender: it has none of a segment's numbers to be judged by. */
static __always_inline void reset_side(struct flow *f, const struct packet *p)
{
	f->side[role_of(f, p) & 1].state = SIDE_RST;
}

static __always_inline void count_side(struct side *side, const struct packet *p)
{
	side->seen_j = p->now_j;
	side->packets += p->segments;
	side->bytes += p->bytes;
	side->flags |= SIDE_SEEN;
}

#endif
