/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one exit: every packet is counted here under exactly one reason. The only
 * file that knows what the traffic-control hook wants to be told. A pass lets
 * the programs after ours run too.
 */
#ifndef FW_SETTLE_H
#define FW_SETTLE_H

#include <linux/pkt_cls.h>
#include "counters.h"
#include "expect.h"
#include "journal.h"
#include "related.h"
#include "handoff.h"
#include "ends.h"

static __always_inline void count(struct cpu *cpu, const struct packet *p, __u32 reason)
{
	/* the compiler may know the bound already; older verifiers must see it here */
	barrier_var(reason);
	if (reason >= REASON_COUNT)
		return;
	cpu->reasons[reason].packets += p->segments;
	cpu->reasons[reason].bytes += p->bytes;
	/* what is translated was counted for its rule at ingress */
	if (p->counter != NO_COUNTER && p->handed != HANDED_TRANSLATED)
		count_for_rule(p);
}

/* Without memory to work in nothing can be counted, and nothing passes. */
static __always_inline int refuse(void)
{
	return TC_ACT_SHOT;
}

static __always_inline bool rejected(const struct packet *p, __u32 reason)
{
	return reason == REASON_RULE_REJECT || reason == REASON_DEFAULT_REJECT ||
	       (reason == REASON_REVOKED && p->action >= ACTION_REJECT);
}

/* For egress, which in a scratch copy reads the skb's fields from a map. */
static __always_inline void leave_word(struct __sk_buff *skb, __u32 tc_index)
{
	struct env *given = env_from_map ? given_env() : NULL;

	skb->tc_index = tc_index;
	/* or the compiler stores both by one pointer, which the verifier cannot follow */
	barrier();
	if (given)
		given->tc_index = tc_index;
}

/* What egress shall know of a packet that ingress passes. */
static __always_inline void mark(struct __sk_buff *skb, struct cpu *cpu, struct packet *p,
				 __u32 reason)
{
	bool vrf = by_vrf_member(p);

	p->tc_index = p->out_slot;
	if (reason == REASON_ANSWER) {
		skb->mark = 0;
		p->tc_index = TC_INDEX_ANSWER;
	} else if (p->hand_tuple || vrf || (p->fragment == FRAGMENT_FIRST && p->out_slot)) {
		/* egress must read the headers of a first fragment: later ones follow it there too */
		if (vrf && !env_from_map)
			p->env.hash = bpf_get_hash_recalc(skb);
		hand_on(cpu, p);
	}
	leave_word(skb, p->tc_index);
}

/* `set-mark`. A mark that happens to be that of our own answers would pass our hooks unseen. */
static __always_inline void set_mark(struct __sk_buff *skb, const struct packet *p)
{
	__u32 mark = (p->env.mark & ~p->effects.mark_mask) | p->effects.mark;
	struct env *given;

	if (mark == answer_mark)
		return;
	skb->mark = mark;
	given = env_from_map ? given_env() : NULL;
	if (given)
		given->mark = mark;
}

/* It is dropped, and who sent it hears of it: the packet itself is what he hears, or he gets a copy. */
static __always_inline int reply(struct __sk_buff *skb, struct packet *p, enum fw_hook hook)
{
	if (answer(skb))
		return TC_ACT_SHOT;
	if (!p->ends_both)
		return bpf_redirect(p->ifindex, way_back(hook));
	if (end_both(skb))
		return TC_ACT_SHOT;
	if (hook == HOOK_INGRESS)
		leave_word(skb, TC_INDEX_ANSWER);
	return TC_ACT_UNSPEC;
}

static __always_inline int settle(struct __sk_buff *skb, struct cpu *cpu, __u32 reason,
				  enum fw_hook hook)
{
	struct packet *p = &cpu->packet;
	bool drop;

	if (p->fragment == FRAGMENT_FIRST && reason && reason < REASON_FIRST_DROP &&
	    fragment_open())
		reason = REASON_TABLE_FULL;
	count(cpu, p, reason);
	drop = reason >= REASON_FIRST_DROP && p->mode != MODE_OBSERVE;
	if (reason >= REASON_FIRST_DROP)
		record(reason, EVENT_DROP | (drop ? 0 : EVENT_OBSERVED) | (p->log ? EVENT_LOG : 0) |
				       (p->overloaded ? EVENT_OVERLOAD : 0));
	else if (p->log)
		record(reason, EVENT_LOG);
	if (p->further | p->effects.counts)
		count_elements(reason);
	if (drop)
		return rejected(p, reason) ? reply(skb, p, hook) : TC_ACT_SHOT;
	if (p->effects.mark_mask)
		set_mark(skb, p);
	if (hook == HOOK_EGRESS && p->asks_many)
		expect_answers();
	if (hook == HOOK_INGRESS)
		mark(skb, cpu, p, reason);
	else if (reason == REASON_ANSWER)
		skb->mark = 0;
	return TC_ACT_UNSPEC;
}

#endif
