/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The flow of a packet: found, still alive, still allowed by the ruleset in
 * force, taking the way that it was judged for. One table lookup in the usual case.
 */
#ifndef FW_TRACK_H
#define FW_TRACK_H

#include "related.h"
#include "table.h"
#include "way.h"
#include "handoff.h"
#include "fragment.h"

/* Both ends have acknowledged something, so each knows the number that it expects next, and so do we. Nobody has reset it. */
static __always_inline bool resettable(const struct packet *p, const struct flow *f,
				       const struct side *own, const struct side *other)
{
	return p->tuple.proto == IPPROTO_TCP && p->action >= ACTION_REJECT && numbers_known(f) &&
	       own->flags & other->flags & SIDE_ACK && p->tcp_flags & TCP_ACK &&
	       own->state != SIDE_RST && other->state != SIDE_RST;
}

/*
 * The rules have changed since they allowed this way, or it is another way: REASON_NONE
 * if they allow it, by p->rule. Else it is judged again at each packet, and expires.
 */
GLOBAL int readmit(struct __sk_buff *skb, __u32 new_way, __u32 learn)
{
	struct cpu *cpu = this_cpu();
	enum fw_reason reason;
	__u32 in, out, scope, far;
	struct side *own;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	f = find_flow(p);
	if (!f)
		return REASON_NO_FLOW;
	own = &f->side[p->role & 1];
	barrier_var(own);
	scope = f->scope;
	if (new_way) {
		reason = p->hook == HOOK_INGRESS ? arrive(skb) : REASON_NONE;
		if (reason)
			return reason;
		in = p->in_ifindex;
		out = p->out_ifindex;
		scope = p->role == ROLE_OPENER ? scope_of(in, out) : scope_of(out, in);
	} else {
		expected_way(own, &f->side[!(p->role & 1)], &in, &out);
	}
	if (p->role != ROLE_OPENER) {
		__u32 swap = in;

		in = out;
		out = swap;
	}
	reason = judge_flow(p, f, scope, in, out);
	if (reason)
		return reason;
	p->scope = scope;
	if (!new_way && spared(scope, in, out)) {
		spare(p, f);
		own->generation = p->admission;
		return REASON_NONE;
	}
	if (p->action != ACTION_ALLOW) {
		if (new_way)
			return refusal(p);
		/* stays while they try, so that no packet opens it anew from the other end */
		if (p->mode == MODE_ENFORCE) {
			p->ends_both = resettable(p, f, own, &f->side[!(p->role & 1)]);
			far = own->seq_end;
			/* of a segment in fragments the first alone was counted */
			if (after(f->side[!(p->role & 1)].ack, far))
				far = f->side[!(p->role & 1)].ack;
			p->far_seq = far;
			p->effects.mark = f->effects.mark;
			p->effects.mark_mask = f->effects.mark_mask;
			f->flags |= FLOW_REVOKED;
			own->seen_j = p->now_j;
		}
		return REASON_REVOKED;
	}
	if (new_way) {
		if (!learn)
			return REASON_NONE;
		learn_way(own, p->in_ifindex, p->out_ifindex);
		f->scope = p->scope;
	}
	f->flags &= ~FLOW_SPARED;
	f->rule = p->rule;
	f->counter = p->counter;
	f->further = p->further;
	take_effects();
	f->effects = p->effects;
	f->generation = p->generation;
	f->admission = p->admission;
	f->until_s = p->until_s;
	own->generation = p->admission;
	if (p->confirmed)
		move_count();
	return REASON_NONE;
}

/* A flow that was found: may this packet pass by it, and what does it change? */
static __always_inline enum fw_reason follow(struct __sk_buff *skb, struct cpu *cpu,
					     struct packet *p, struct flow *f,
					     const struct settings *s, enum fw_hook hook)
{
	__u32 in, out, incarnation = f->incarnation;
	enum fw_segment segment = SEGMENT_ACCEPT;
	struct side *own, *other;
	enum fw_reason reason;
	bool new_way, moves;

	p->role = role_of(f, p);
	own = &f->side[p->role & 1];
	other = &f->side[!(p->role & 1)];
	/* else the compiler computes them anew at each use */
	barrier_var(own);
	barrier_var(other);
	if (p->handed == HANDED_TRANSLATED && p->role == ROLE_OPENER && !same_parent(p, f)) {
		p->reopen = 1;
		return REASON_NONE;
	}
	if (p->tuple.proto == IPPROTO_TCP || p->tuple.proto == IPPROTO_SCTP) {
		bool tcp = p->tuple.proto == IPPROTO_TCP;

		segment = tcp ? judge_segment(p, f, own, other) : follow_sctp(0);
		if (segment == SEGMENT_REFUSE)
			return REASON_BAD_HANDSHAKE;
		if (segment == SEGMENT_OUTSIDE) {
			if (!tcp)
				return REASON_BAD_TAG;
			if (s->tcp_window == WINDOW_STRICT && p->mode == MODE_ENFORCE)
				return REASON_OUT_OF_WINDOW;
			/* it will pass: what follows is measured by it */
			segment = p->tcp_flags & (TCP_SYN | TCP_RST) ? SEGMENT_PASS : SEGMENT_LEARN;
			p->strange = 1;
		}
		/* what is over stays over */
		if (tcp && segment == SEGMENT_LEARN && is_over(f, IPPROTO_TCP))
			segment = SEGMENT_PASS;
		if (segment == SEGMENT_REOPEN) {
			p->reopen = 1;
			return REASON_NONE;
		}
		if (other->state == SIDE_RST && p->confirmed) {
			reason = count_again();
			if (reason)
				return reason;
		}
		/* by way of memory: the verifier would follow each of its values to the end */
		p->segment = segment;
		barrier();
		segment = p->segment;
	}
	moves = segment != SEGMENT_PASS && segment != SEGMENT_NOTE;
	expected_way(own, other, &in, &out);
	new_way = !on_its_way(p, f, in, out, hook);
	if (new_way || outdated(cpu, f, own->generation)) {
		reason = readmit(skb, new_way, moves);
		if (reason)
			return reason;
	}
	if (f->incarnation != incarnation)
		return REASON_NO_FLOW;
	if (f->flags & FLOW_REVOKED)
		f->flags &= ~FLOW_REVOKED;
	p->rule = f->rule;
	p->counter = f->counter;
	p->scope = f->scope;
	p->effects = f->effects;
	p->until_s = f->until_s;
	if (f->flags & FLOW_TRANSLATED)
		p->further = f->further; /* for what egress opens, should it have forgotten */
	if (moves && !new_way && !seen(own))
		learn_first_way(in, hook == HOOK_EGRESS ? p->out_ifindex : out);
	p->out_slot = own->out_slot;
	if (p->tuple.proto == IPPROTO_SCTP)
		follow_sctp(1);
	if (moves) {
		reason = REASON_NONE;
		if (p->tuple.proto == IPPROTO_TCP && segment == SEGMENT_LEARN)
			reason = learn_side(incarnation);
		else if (p->tuple.proto == IPPROTO_TCP)
			update_side(own, other, p);
		else if (has_spi(&p->tuple))
			own->seq_end = p->seq;
		if (reason)
			return reason;
		count_side(own, p);
		if (p->confirmed && own->state >= SIDE_FIN && is_over(f, p->tuple.proto))
			relieve_source();
	}
	if (!p->confirmed) {
		bool two_way = seen(own) && seen(other);

		if (p->tuple.proto == IPPROTO_TCP)
			two_way = two_way && handshake_complete(&f->side[ROLE_OPENER],
								&f->side[ROLE_RESPONDER]);
		else if (p->tuple.proto == IPPROTO_SCTP)
			two_way = association_complete(own, other);
		else
			two_way = two_way && p->role == ROLE_OPENER;
		reason = two_way ? promote() : REASON_NONE;
		if (reason)
			return reason;
	}
	p->flow_flags = f->flags;
	p->hand_tuple = !p->confirmed || f->flags & FLOW_TRANSLATED;
	reason = p->handed == HANDED_TRANSLATED ? REASON_TRANSLATED : REASON_FLOW;
	return p->strange ? outside(p, s, REASON_OUT_OF_WINDOW, reason) : reason;
}

/* track: REASON_NONE means that the packet belongs to no flow and the rules decide. */
static __always_inline enum fw_reason track(struct __sk_buff *skb, struct cpu *cpu,
					    enum fw_hook hook)
{
	struct packet *p = &cpu->packet;
	struct settings *s = settings_of(p->generation);
	enum fw_reason reason = REASON_NONE;
	struct flow *f;

	if (!s)
		return REASON_NO_POLICY;
	if (hook == HOOK_EGRESS && p->in_ifindex)
		reason = take_over(p);
	/* it begins an entry of this hook, whatever ingress said */
	if (p->fragment == FRAGMENT_FIRST) {
		enum fw_reason refused = check_fragment();

		if (refused)
			return refused;
	}
	if (reason)
		return reason;
	if (p->fragment == FRAGMENT_LATER)
		return check_fragment();
	if (p->icmp_kind == ICMP_ERROR)
		return related();
	f = find_flow(p);
	if (!f)
		return REASON_NONE;
	if (expired(f, p, s)) {
		end_flow();
		return REASON_NONE;
	}
	return follow(skb, cpu, p, f, s, hook);
}

#endif
