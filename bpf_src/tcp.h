/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a segment does to its flow. Each side's record says what that side has
 * sent; the connection's state follows from both. A segment that is not
 * accepted changes nothing.
 */
#ifndef FW_TCP_H
#define FW_TCP_H

#include "window.h"

/* Of the SYN, and of all, some or none of the data on it (RFC 7413 section 4.2). */
static __always_inline bool acknowledges_syn(const struct packet *p, const struct side *other)
{
	return other->seq_end - p->ack <= other->syn_bytes || p->ack == other->syn_again;
}

static __always_inline bool acknowledges(const struct packet *p, const struct side *own,
					 const struct side *other)
{
	if (other->state <= SIDE_SYN)
		return other->state == SIDE_SYN && p->sack == p->ack && acknowledges_syn(p, other);
	return ack_fits(p, own, other);
}

/* A reset counts only where the other end would take it (RFC 5961 section 3.2). */
static __always_inline enum fw_segment judge_rst(const struct packet *p, const struct side *own,
						 const struct side *other)
{
	bool acked = other->flags & SIDE_ACK;

	/* the answer to a SYN (RFC 9293 section 3.10.7.3) */
	if (!acked && other->state == SIDE_SYN && p->tcp_flags & TCP_ACK &&
	    acknowledges_syn(p, other))
		return SEGMENT_ACCEPT;
	if (own->state == SIDE_NONE)
		return SEGMENT_REFUSE;
	if (acked && p->seq == other->ack)
		return SEGMENT_ACCEPT;
	/* less than was acknowledged: of a segment in fragments the first alone was counted */
	if (p->seq == own->seq_end && !(acked && after(other->ack, own->seq_end)))
		return SEGMENT_ACCEPT;
	return !acked || p->seq - other->ack <= other->window_end - other->ack ? SEGMENT_PASS :
										 SEGMENT_OUTSIDE;
}

static __always_inline enum fw_segment judge_syn(const struct packet *p, const struct side *own,
						 const struct side *other, enum fw_state state)
{
	if (p->tcp_flags & TCP_ACK) {
		/* sent again, perhaps after the other has sent data: the end answers it */
		if (own->state > SIDE_SYN ||
		    (own->flags & SIDE_ACK &&
		     (p->seq_end == own->seq_end || other->state > SIDE_SYN)))
			return SEGMENT_PASS;
		return acknowledges(p, own, other) ? SEGMENT_ACCEPT : SEGMENT_REFUSE;
	}
	/* whether the other end takes it is for it to say (RFC 9293 section 3.10.7.4, RFC 6191) */
	if (state == STATE_TIME_WAIT || state == STATE_CLOSED)
		return SEGMENT_REOPEN;
	/* sent again, or a simultaneous open; inside a connection a challenge answers it */
	if (own->state == SIDE_SYN)
		return p->seq_end == own->seq_end || other->state == SIDE_NONE ? SEGMENT_ACCEPT :
										 SEGMENT_PASS;
	return own->state == SIDE_NONE && other->state == SIDE_SYN ? SEGMENT_ACCEPT : SEGMENT_PASS;
}

/* Neither SYN nor RST, while its sender or the other side has sent no more than a SYN. */
static __always_inline enum fw_segment judge_early(const struct packet *p, const struct side *own,
						   const struct side *other)
{
	if (own->state == SIDE_NONE)
		/* the challenge of an end that has an old connection (RFC 9293 section 3.5.1) */
		return p->seq_end == p->seq && other->state == SIDE_SYN ? SEGMENT_PASS :
									  SEGMENT_REFUSE;
	if (!acknowledges(p, own, other))
		return other->state > SIDE_SYN ? SEGMENT_OUTSIDE : SEGMENT_REFUSE;
	if (!(other->flags & SIDE_ACK)) {
		/* a challenge before the handshake is complete, which anybody can provoke: it tells nothing */
		if (own->state == SIDE_SYN && p->seq_end == p->seq)
			return SEGMENT_PASS;
		return first_seq_fits(p, own, other) ? SEGMENT_ACCEPT : SEGMENT_OUTSIDE;
	}
	if (own->state == SIDE_SYN) /* goes on where its SYN was acknowledged, or keeps alive */
		return p->seq + 1 - other->ack <= other->window_end + 1 - other->ack ?
			       SEGMENT_ACCEPT :
			       SEGMENT_OUTSIDE;
	return seq_fits(p, own, other) ? SEGMENT_ACCEPT : SEGMENT_OUTSIDE;
}

/*
 * There is nothing to be sent behind a FIN; which of the two is forged cannot be told. Of
 * one that came in fragments the first alone was counted.
 */
static __always_inline bool beyond_fin(const struct packet *p, const struct side *own)
{
	__u32 end = own->seq_end + (own->flags & SIDE_FRAGMENTED ? SEGMENT_MAX : 0);

	return own->state == SIDE_FIN && after(p->seq_end, end);
}

static __always_inline enum fw_segment judge_segment(const struct packet *p, const struct flow *f,
						     const struct side *own,
						     const struct side *other)
{
	bool plain = !(p->tcp_flags & (TCP_SYN | TCP_RST));

	if (!numbers_known(f))
		return plain ? SEGMENT_LEARN : SEGMENT_PASS;
	/* the usual segment of a connection */
	if (plain && own->state > SIDE_SYN && other->state > SIDE_SYN) {
		if (!seq_fits(p, own, other))
			return SEGMENT_OUTSIDE;
		/* met midway: what is acknowledged now may have been sent before */
		if (!ack_fits(p, own, other))
			return f->flags & FLOW_LIBERAL && near(p->sack, other->seq_end) ?
				       SEGMENT_LEARN :
				       SEGMENT_OUTSIDE;
		return beyond_fin(p, own) ? SEGMENT_PASS : SEGMENT_ACCEPT;
	}
	if (p->tcp_flags & TCP_RST)
		return judge_rst(p, own, other);
	if (p->tcp_flags & TCP_SYN)
		return judge_syn(p, own, other,
				 tcp_state(&f->side[ROLE_OPENER], &f->side[ROLE_RESPONDER]));
	return judge_early(p, own, other);
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

/*
 * Of two SYNs with different numbers one may be forged, or from before a
 * reboot: the other end's answer tells which of them it believes.
 */
static __always_inline void update_syn(struct side *own, const struct packet *p)
{
	if (p->wscale != NO_WSCALE) {
		own->flags |= SIDE_WSCALE;
		if (p->wscale > own->scale)
			own->scale = p->wscale;
	}
	barrier();
	if (own->state != SIDE_SYN || p->seq_end != own->seq_end)
		own->syn_again = p->seq_end;
	if (own->state == SIDE_SYN && p->seq_end != own->seq_end)
		return;
	own->seq_end = p->seq_end;
	own->syn_bytes = p->seq_end - p->seq - 1;
	own->flags |= SIDE_SEQ;
}

/* Its first segment behind the SYN tells which SYN was the true one. */
static __always_inline void update_seq(struct side *own, const struct side *other,
				       const struct packet *p)
{
	if (own->state == SIDE_SYN) {
		own->syn_again = p->sack;
		if (other->flags & SIDE_ACK)
			own->seq_end = other->ack;
	}
	if (!(own->flags & SIDE_SEQ) || after(p->seq_end, own->seq_end))
		own->seq_end = p->seq_end;
	own->flags |= SIDE_SEQ;
	if (p->fragment)
		own->flags |= SIDE_FRAGMENTED;
}

/*
 * Of a connection that was met midway: numbers near the last ones go on from
 * them, others begin anew. What the other side acknowledges was sent before.
 */
static __always_inline void learn_anew(struct side *own, const struct side *other,
				       const struct packet *p)
{
	own->flags &= ~SIDE_SETTLED;
	if (!near(own->seq_end, p->seq_end))
		own->flags &= ~SIDE_SEQ;
	if (!near(own->ack, p->ack)) {
		own->flags &= ~SIDE_ACK;
		own->window_max = 0;
	}
	barrier();
	if (!(own->flags & SIDE_ACK) || own->state == SIDE_SYN || after(p->sack, own->syn_again) ||
	    !near(own->syn_again, p->sack))
		own->syn_again = p->sack;
	if (other->flags & SIDE_ACK && other->state != SIDE_SYN &&
	    near(other->syn_again, p->seq_end)) {
		if (!(own->flags & SIDE_SEQ) || after(other->syn_again, own->seq_end))
			own->seq_end = other->syn_again;
		own->flags |= SIDE_SEQ;
	}
}

/* Behind it is what the other side has acknowledged already: there it has taken no FIN, and takes none any more. */
static __always_inline bool is_old(const struct packet *p, const struct side *other)
{
	return other->flags & SIDE_ACK && !after(p->seq_end, other->ack);
}

/* What it has sent by now; the state in which that leaves it. */
static __always_inline __u32 update_sent(struct side *own, const struct side *other,
					 const struct packet *p)
{
	__u32 state = next_side_state(p);

	if (state == SIDE_SYN) {
		if (own->state <= SIDE_SYN)
			update_syn(own, p);
	} else if (state != SIDE_RST) {
		if (state == SIDE_FIN && is_old(p, other))
			state = SIDE_OPEN;
		update_seq(own, other, p);
	}
	return state;
}

/* Every number only grows, so two packets of one side may race on two CPUs. */
static __always_inline void update_side(struct side *own, const struct side *other,
					const struct packet *p)
{
	__u32 state = update_sent(own, other, p);

	update_window(own, other, p);
	if (state > own->state)
		own->state = state;
}

/*
 * The packet's side, by a segment that is not measured by what is known: seldom, and verified apart
 * from the usual one. REASON_NONE; REASON_NO_FLOW if it is no longer the flow that was judged.
 */
GLOBAL int learn_side(__u32 incarnation)
{
	struct cpu *cpu = this_cpu();
	struct side *own, *other;
	struct packet *p;
	struct flow *f;
	bool ended;

	if (!cpu)
		return REASON_NO_FLOW;
	p = &cpu->packet;
	f = find_flow(p);
	if (!f || f->incarnation != incarnation)
		return REASON_NO_FLOW;
	own = &f->side[p->role & 1];
	other = &f->side[!(p->role & 1)];
	barrier_var(own);
	barrier_var(other);
	/* its numbers fit, and what it acknowledges may have been sent before we met: that alone is not believed */
	if (numbers_known(f) && !p->strange) {
		__u32 state = update_sent(own, other, p);

		if (state > own->state)
			own->state = state;
		return REASON_NONE;
	}
	/* nothing behind its FIN: it has ended still */
	ended = own->state == SIDE_FIN && p->seq_end == own->seq_end;
	learn_anew(own, other, p);
	if (own->state != SIDE_RST && !ended)
		own->state = next_side_state(p);
	barrier();
	update_side(own, other, p);
	barrier();
	if (sides_fit(own, other))
		own->flags |= SIDE_SETTLED;
	return REASON_NONE;
}

#endif
