/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Is a segment where its receiver can use it? After G. van Rooij, "Real
 * Stateful TCP Packet Filtering in IP Filter", and RFC 9293 section 3.10.7.4:
 * four bounds, from what both sides have sent. See docs/conntrack.md.
 */
#ifndef FW_WINDOW_H
#define FW_WINDOW_H

#include "flow.h"

#define UNSCALED_WINDOW 0xffff /* the largest before any scale is in force */
#define SEGMENT_MAX 0xffff     /* bytes of data: an IP packet has no more */
#define SUPER_MAX (1 << 20)    /* bytes of what comes as one: GSO puts together 8 * 65535 at most */
#define SETTLED_SPAN (1 << 22) /* bytes on their way: few connections have more */

static __always_inline bool after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* A flow that was met midway counts numbers once those of both sides fit each other. */
static __always_inline bool numbers_known(const struct flow *f)
{
	return !(f->flags & FLOW_LIBERAL) || f->side[0].flags & f->side[1].flags & SIDE_SETTLED;
}

/* Few connections have more than this between any two of their numbers. */
static __always_inline bool near(__u32 a, __u32 b)
{
	return a - b + SETTLED_SPAN <= 2 * SETTLED_SPAN;
}

/* How far an acknowledgement may lie behind the highest: the window, or a little reordering. */
static __always_inline __u32 ack_span(const struct side *own)
{
	return own->window_max > UNSCALED_WINDOW ? own->window_max : UNSCALED_WINDOW;
}

/*
 * It acknowledges what was sent, not more, and nothing from long before what was
 * acknowledged already (RFC 5961 section 5.2).
 */
static __always_inline bool ack_fits(const struct packet *p, const struct side *own,
				     const struct side *other)
{
	__u32 low = (own->flags & SIDE_ACK ? own->ack : other->seq_end) - ack_span(own);
	__u32 ahead;

	if (p->ack - low <= other->seq_end - low && !after(p->sack, other->seq_end))
		return true;
	/* of a segment in fragments the first alone was counted */
	ahead = other->flags & SIDE_FRAGMENTED ? SEGMENT_MAX : 0;
	return p->ack - low <= other->seq_end + ahead - low &&
	       !after(p->sack, other->seq_end + ahead);
}

/*
 * It begins within what the other side allows, and ends less than a window
 * behind the highest that was sent: all that may be on its way again.
 */
static __always_inline bool seq_fits(const struct packet *p, const struct side *own,
				     const struct side *other)
{
	__u32 base = own->seq_end - other->window_max - SUPER_MAX;
	__s64 reach =
		(__s64)other->window_max + SUPER_MAX - (__s32)(own->seq_end - other->window_end);

	/* from a base that no segment lies before: what is half of all numbers away is neither before nor after another */
	if ((__u32)(p->seq - base) > reach)
		return false;
	if (p->seq_end - base >= SUPER_MAX)
		return true;
	/* the first fragment does not tell where its segment ends */
	if (p->fragment && p->seq_end + SEGMENT_MAX - base >= SUPER_MAX)
		return true;
	/* what was not acknowledged is not too old, whatever came behind it */
	return other->flags & SIDE_ACK && !after(other->ack - 1, p->seq_end);
}

/*
 * Before the other side has acknowledged anything there is its window alone. Of answers to data
 * on its SYN (RFC 7413) a later one may overtake the first.
 */
static __always_inline bool first_seq_fits(const struct packet *p, const struct side *own,
					   const struct side *other)
{
	return p->seq - own->seq_end <= other->window_max ||
	       own->seq_end - p->seq_end < other->window_max;
}

/*
 * Does what each side acknowledges, selectively too, fit what the other has sent?
 * Of a flow that was met midway: chance says yes once in a million.
 */
static __always_inline bool sides_fit(const struct side *own, const struct side *other)
{
	return own->flags & other->flags & SIDE_ACK && other->seq_end - own->ack <= SETTLED_SPAN &&
	       own->seq_end - other->ack <= SETTLED_SPAN &&
	       !after(own->syn_again, other->seq_end) && !after(other->syn_again, own->seq_end);
}

/* The packet that an ICMP error quotes must be on its way still (RFC 5927 section 4.1). */
static __always_inline bool quote_fits(const struct packet *p, const struct side *own,
				       const struct side *other)
{
	__u32 low = other->ack;

	if (!(other->flags & SIDE_ACK)) {
		low = own->seq_end - own->syn_bytes - 1;
		if (own->state == SIDE_SYN && p->seq + 1 == own->syn_again)
			return true;
	}
	/* all is acknowledged, and more than was counted, of a segment in fragments */
	if (after(low, own->seq_end))
		return false;
	return p->seq - low <= own->seq_end - low;
}

static __always_inline void update_window(struct side *own, const struct side *other,
					  const struct packet *p)
{
	__u32 shift, window, end;

	shift = own->flags & other->flags & SIDE_WSCALE && !(p->tcp_flags & TCP_SYN) ? own->scale :
										       0;
	/* a closed window is probed with one byte (RFC 9293 section 3.8.6.1) */
	window = (p->window << (shift & 15)) + !p->window;
	if (window > own->window_max)
		own->window_max = window;
	if (!(p->tcp_flags & TCP_ACK))
		return;
	end = p->ack + window;
	if (!(own->flags & SIDE_ACK)) {
		own->ack = p->ack;
		own->window_end = end;
		own->flags |= SIDE_ACK;
		return;
	}
	if (after(p->ack, own->ack))
		own->ack = p->ack;
	if (after(end, own->window_end))
		own->window_end = end;
}

#endif
