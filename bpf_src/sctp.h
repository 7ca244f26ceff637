/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a packet does to its SCTP association (RFC 9260). Each end has chosen a tag,
 * told in its INIT or INIT ACK, that all packets to it must have. The record of a
 * side has, in the fields that TCP uses for its numbers:
 *
 *	seq_end     the tag that it has chosen
 *	ack         the tag that it puts into its packets
 *	syn_again   the tag of a later INIT or INIT ACK, until its handshake is complete
 *	window_end  of a later INIT ACK: the tag of the one whom it answers
 *	window_max  heartbeat_sum() of a path's first, until it is answered
 *
 * A later handshake (a restart, RFC 9260 section 5.2, or one that somebody forges)
 * changes nothing before the cookie of its INIT ACK comes back with its tag.
 */
#ifndef FW_SCTP_H
#define FW_SCTP_H

#include "flow.h"
#include "parse_sctp.h"

/* The tag is one that this side may have chosen. */
static __always_inline bool chose(const struct side *side, __u32 tag)
{
	return tag == side->seq_end || tag == side->syn_again;
}

/* A cookie that `other` has sent comes back: which of its INIT ACKs it was with, is told by the tag. */
static __always_inline bool echoes_first(const struct packet *p, const struct side *other)
{
	return p->seq == other->seq_end && other->ack;
}

static __always_inline bool echoes_later(const struct packet *p, const struct side *other)
{
	return p->seq == other->syn_again && other->window_end;
}

static __always_inline bool right_tag(const struct packet *p, const struct side *own)
{
	return own->state >= SIDE_OPEN && p->seq == own->ack;
}

/* Its first packet after the other end has sent its cookie back, by that handshake's tags. */
static __always_inline bool completes(const struct packet *p, const struct side *own,
				      const struct side *other)
{
	return other->state >= SIDE_OPEN && p->seq == other->seq_end && chose(own, other->ack);
}

/* RFC 9260 section 8.5.1: with the T bit the tag is the sender's own, which the other end put into its packets. */
static __always_inline bool own_tag(const struct packet *p, const struct side *own,
				    const struct side *other)
{
	return own->state >= SIDE_OPEN &&
	       (p->seq == own->seq_end || (other->state >= SIDE_OPEN && p->seq == other->ack));
}

static __always_inline enum fw_segment judge_init(const struct packet *p, const struct side *own,
						  const struct side *other)
{
	if (sctp_state(own->state, other->state) == STATE_CLOSED)
		return SEGMENT_REOPEN;
	/* both at once (RFC 9260 section 5.2.1), or sent again */
	if (own->state == SIDE_NONE || (own->state == SIDE_SYN && other->state == SIDE_NONE))
		return SEGMENT_ACCEPT;
	return own->state == SIDE_SYN && p->init_tag == own->seq_end ? SEGMENT_ACCEPT :
								       SEGMENT_NOTE;
}

static __always_inline enum fw_segment judge_abort(const struct packet *p, const struct side *own,
						   const struct side *other)
{
	if (p->chunks & CHUNKS_REFLECTED) {
		if (own->state < SIDE_OPEN)
			return SEGMENT_PASS;
		return own_tag(p, own, other) ? SEGMENT_ACCEPT : SEGMENT_OUTSIDE;
	}
	if (right_tag(p, own) || completes(p, own, other))
		return SEGMENT_ACCEPT;
	if (!chose(other, p->seq))
		return SEGMENT_OUTSIDE;
	/* of a restart: the old association lives */
	return own->state < SIDE_OPEN ? SEGMENT_ACCEPT : SEGMENT_PASS;
}

/* The flow has begun without an INIT, and no heartbeat was answered: whose tag is true nobody knows. */
static __always_inline bool unproven(const struct side *own, const struct side *other)
{
	return !own->seq_end && own->state >= SIDE_OPEN && other->state < SIDE_OPEN;
}

/* On a path that was first used by a heartbeat, which nobody has answered. */
static __always_inline enum fw_segment
judge_heartbeat(const struct packet *p, const struct side *own, const struct side *other)
{
	if (has(p, CHUNK_HEARTBEAT_ACK))
		return p->heartbeat && p->heartbeat == other->window_max ? SEGMENT_ACCEPT :
									   SEGMENT_OUTSIDE;
	return has(p, CHUNK_HEARTBEAT) ? SEGMENT_PASS : SEGMENT_REFUSE;
}

/*
 * The end of a shutdown, if there was one. An end that has lost its association answers a
 * SHUTDOWN ACK out of it, in COOKIE-WAIT and COOKIE-ECHOED too: both have the tags of the
 * old one (RFC 9260 section 8.5.1 E).
 */
static __always_inline enum fw_segment
judge_complete(const struct packet *p, const struct side *own, const struct side *other)
{
	bool reflected = p->chunks & CHUNKS_REFLECTED;

	if (reflected ? own_tag(p, own, other) : right_tag(p, own) || completes(p, own, other))
		return other->state == SIDE_FIN ? SEGMENT_ACCEPT : SEGMENT_PASS;
	if (reflected && other->state < SIDE_OPEN)
		return SEGMENT_PASS;
	return own->state < SIDE_OPEN ? SEGMENT_REFUSE : SEGMENT_OUTSIDE;
}

static __always_inline enum fw_segment judge_sctp(const struct packet *p, const struct side *own,
						  const struct side *other)
{
	if (has(p, CHUNK_INIT))
		return judge_init(p, own, other);
	if (has(p, CHUNK_INIT_ACK)) {
		if (!chose(other, p->seq))
			return SEGMENT_OUTSIDE;
		return own->state < SIDE_OPEN ? SEGMENT_ACCEPT : SEGMENT_NOTE;
	}
	if (has(p, CHUNK_ABORT))
		return judge_abort(p, own, other);
	if (has(p, CHUNK_SHUTDOWN_COMPLETE))
		return judge_complete(p, own, other);
	if (right_tag(p, own))
		return SEGMENT_ACCEPT;
	if (has(p, CHUNK_COOKIE_ECHO)) {
		if (echoes_first(p, other) || echoes_later(p, other))
			return SEGMENT_ACCEPT;
		return other->state == SIDE_NONE ? SEGMENT_REFUSE : SEGMENT_OUTSIDE;
	}
	if (completes(p, own, other))
		/* what refuses a cookie (section 5.2.6) completes nothing */
		return has(p, CHUNK_ERROR) && !has(p, CHUNK_COOKIE_ACK) ? SEGMENT_PASS :
									  SEGMENT_ACCEPT;
	/* of an old association, see judge_complete() */
	if (has(p, CHUNK_SHUTDOWN_ACK) && own->state < SIDE_OPEN)
		return SEGMENT_PASS;
	if (own->state < SIDE_OPEN && other->window_max)
		return judge_heartbeat(p, own, other);
	/* before it is answered, whoever opened a path may begin anew */
	if (unproven(own, other) && has(p, CHUNK_HEARTBEAT))
		return SEGMENT_ACCEPT;
	return own->state < SIDE_OPEN ? SEGMENT_REFUSE : SEGMENT_OUTSIDE;
}

static __always_inline void note_tags(struct side *own, const struct packet *p)
{
	if (has(p, CHUNK_INIT)) {
		if (own->state == SIDE_NONE) {
			own->seq_end = p->init_tag;
		} else if (p->init_tag != own->seq_end) {
			own->syn_again = p->init_tag;
			own->window_end = 0;
		}
	} else if (!own->ack) {
		own->seq_end = p->init_tag;
		own->ack = p->seq;
	} else if (p->init_tag != own->seq_end || p->seq != own->ack) {
		own->syn_again = p->init_tag;
		own->window_end = p->seq;
	}
	if (own->state == SIDE_NONE)
		own->state = SIDE_SYN;
}

/* What is over stays so, whatever cookie comes back: its source has been relieved of it. */
static __always_inline void agree(struct side *own, __u32 own_tag, __u32 tag)
{
	own->seq_end = own_tag;
	own->ack = tag;
	own->syn_again = 0;
	own->window_end = 0;
	if (own->state != SIDE_RST)
		own->state = SIDE_OPEN;
}

/*
 * The opener's first packet: an INIT, or a heartbeat by another path of its association.
 * Anything else only if the host has translated it, and its entry here was gone: its
 * next heartbeat proves the tags.
 */
static __always_inline void begin_sctp(struct side *own, const struct packet *p)
{
	if (has(p, CHUNK_INIT)) {
		note_tags(own, p);
	} else {
		own->ack = p->seq;
		own->window_max = p->heartbeat;
		own->state = SIDE_OPEN;
	}
}

/* What judge_sctp() accepts or notes. */
static __always_inline void update_sctp(struct side *own, const struct side *other,
					const struct packet *p)
{
	if (p->chunks & (1 << CHUNK_INIT | 1 << CHUNK_INIT_ACK)) {
		note_tags(own, p);
		return;
	}
	if (p->chunks & (1 << CHUNK_ABORT | 1 << CHUNK_SHUTDOWN_COMPLETE)) {
		own->state = SIDE_RST;
		return;
	}
	if (!right_tag(p, own)) {
		if (has(p, CHUNK_COOKIE_ECHO))
			agree(own, echoes_first(p, other) ? other->ack : other->window_end, p->seq);
		else if (completes(p, own, other))
			agree(own, other->ack, p->seq);
		else if (has(p, CHUNK_HEARTBEAT_ACK))
			agree(own, own->seq_end, p->seq);
		else if (has(p, CHUNK_HEARTBEAT))
			own->ack = p->seq;
	}
	if (has(p, CHUNK_HEARTBEAT) && unproven(own, other))
		own->window_max = p->heartbeat;
	if (p->chunks & (1 << CHUNK_SHUTDOWN | 1 << CHUNK_SHUTDOWN_ACK) && own->state < SIDE_FIN)
		own->state = SIDE_FIN;
}

/* Both have accepted the other's tag: the one its cookie, the other what answers it. */
static __always_inline bool association_complete(const struct side *own, const struct side *other)
{
	return own->state >= SIDE_OPEN && other->state >= SIDE_OPEN && own->state != SIDE_RST &&
	       other->state != SIDE_RST;
}

/* An ICMP error quotes a packet of this side (RFC 9260 section 10): only an INIT has no tag. */
static __always_inline bool quoted_tag_fits(const struct packet *p, const struct side *own,
					    const struct side *other)
{
	if (right_tag(p, own) || completes(p, own, other))
		return true;
	return own->state < SIDE_OPEN && (!p->seq || chose(other, p->seq));
}

/* The enum fw_segment of a packet of the flow; `write` has its side's record move on by it. */
GLOBAL int follow_sctp(__u32 write)
{
	struct cpu *cpu = this_cpu();
	enum fw_segment segment;
	struct side *own, *other;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return SEGMENT_REFUSE;
	p = &cpu->packet;
	f = find_flow(p);
	if (!f)
		return SEGMENT_REFUSE;
	own = &f->side[p->role & 1];
	other = &f->side[!(p->role & 1)];
	barrier_var(own);
	barrier_var(other);
	segment = judge_sctp(p, own, other);
	if (write && (segment == SEGMENT_ACCEPT || segment == SEGMENT_NOTE))
		update_sctp(own, other, p);
	return segment;
}

#endif
