/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a segment does to its flow. Each side's record says what that side has
 * sent; the connection's state follows from both. A segment that is not
 * accepted changes nothing.
 */
#ifndef FW_TCP_H
#define FW_TCP_H

#include "flow.h"

#define UNSCALED_WINDOW 0xffff /* a window before any scale is in force */

enum fw_segment {
	SEGMENT_ACCEPT, /* part of the connection: its side's record moves on */
	SEGMENT_PASS,   /* harmless, changes nothing: the end will answer it */
	SEGMENT_REOPEN, /* opens a new connection in the place of the old */
	SEGMENT_REFUSE,
};

static __always_inline bool after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* Of the SYN, and of all, some or none of the data on it (RFC 7413 section 4.2). */
static __always_inline bool acknowledges_syn(const struct packet *p, const struct side *other)
{
	return other->seq_end - p->ack <= other->syn_bytes;
}

/* A reset counts only where the other end would take it (RFC 5961 section 3.2). */
static __always_inline enum fw_segment judge_rst(const struct packet *p, const struct side *own,
						 const struct side *other)
{
	if (own->state == SIDE_NONE) /* the answer to a SYN (RFC 9293 section 3.10.7.3) */
		return p->tcp_flags & TCP_ACK && acknowledges_syn(p, other) ? SEGMENT_ACCEPT :
									      SEGMENT_REFUSE;
	if (p->seq == own->seq_end || p->seq == other->ack)
		return SEGMENT_ACCEPT;
	return SEGMENT_PASS;
}

static __always_inline enum fw_segment judge_syn(const struct packet *p, const struct side *own,
						 const struct side *other, enum fw_state state)
{
	if (p->tcp_flags & TCP_ACK) {
		/* the other's SYN must be what it acknowledges */
		if (other->state == SIDE_NONE)
			return SEGMENT_REFUSE;
		/* sent again, perhaps after the other has sent data: the end answers it */
		if (own->state > SIDE_SYN || (own->flags & SIDE_ACK && p->seq_end == own->seq_end))
			return SEGMENT_PASS;
		return acknowledges_syn(p, other) ? SEGMENT_ACCEPT : SEGMENT_REFUSE;
	}
	if (state == STATE_TIME_WAIT || state == STATE_CLOSED)
		return SEGMENT_REOPEN;
	/* sent again, or a simultaneous open; inside a connection a challenge answers it */
	if (own->state == SIDE_SYN)
		return p->seq_end == own->seq_end || other->state == SIDE_NONE ? SEGMENT_ACCEPT :
										 SEGMENT_PASS;
	return own->state == SIDE_NONE && other->state == SIDE_SYN ? SEGMENT_ACCEPT : SEGMENT_PASS;
}

static __always_inline enum fw_segment judge_segment(const struct packet *p, const struct flow *f,
						     const struct side *own,
						     const struct side *other)
{
	/* the usual segment of a connection, whatever else holds */
	if (own->state > SIDE_SYN && !(p->tcp_flags & (TCP_SYN | TCP_RST)))
		return SEGMENT_ACCEPT;
	if (f->flags & FLOW_LIBERAL && !(seen(own) && seen(other)))
		return p->tcp_flags & TCP_SYN ? SEGMENT_PASS : SEGMENT_ACCEPT;
	if (p->tcp_flags & TCP_RST)
		return judge_rst(p, own, other);
	if (p->tcp_flags & TCP_SYN)
		return judge_syn(p, own, other,
				 tcp_state(&f->side[ROLE_OPENER], &f->side[ROLE_RESPONDER]));
	if (own->state == SIDE_NONE)
		return SEGMENT_REFUSE;
	/* only an acknowledgement of the other's SYN ends the handshake; data may have followed it */
	if (other->state == SIDE_SYN)
		return acknowledges_syn(p, other) ? SEGMENT_ACCEPT : SEGMENT_REFUSE;
	return other->state != SIDE_NONE && other->seq_end - p->ack <= UNSCALED_WINDOW ?
		       SEGMENT_ACCEPT :
		       SEGMENT_REFUSE;
}

static __always_inline __u32 next_side_state(const struct packet *p)
{
	if (!(p->tcp_flags & (TCP_RST | TCP_FIN | TCP_SYN)))
		return SIDE_OPEN;
	if (p->tcp_flags & TCP_RST)
		return SIDE_RST;
	return p->tcp_flags & TCP_FIN ? SIDE_FIN : SIDE_SYN;
}

/* The opener has acknowledged the responder's SYN, and nobody has reset. */
static __always_inline bool handshake_complete(const struct side *o, const struct side *r)
{
	return (o->state == SIDE_OPEN || o->state == SIDE_FIN) && r->state >= SIDE_SYN &&
	       r->state != SIDE_RST;
}

/* Every field only grows, so two packets of one side may race on two CPUs. */
static __always_inline void update_side(struct side *own, const struct packet *p)
{
	__u32 state = next_side_state(p);
	bool restart = p->tcp_flags & TCP_SYN && own->state <= SIDE_SYN;

	if (restart)
		own->syn_bytes = p->seq_end - p->seq - 1;
	if (restart || !(own->flags & SIDE_SEQ) || after(p->seq_end, own->seq_end))
		own->seq_end = p->seq_end;
	if (p->tcp_flags & TCP_ACK && (!(own->flags & SIDE_ACK) || after(p->ack, own->ack))) {
		own->ack = p->ack;
		own->flags |= SIDE_ACK;
	}
	if (state > own->state)
		own->state = state;
	own->flags |= SIDE_SEQ;
}

#endif
