/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets of no flow: which may open one, what the rules say, and the entry. */
#ifndef FW_OPEN_H
#define FW_OPEN_H

#include "track.h"
#include "expect.h"
#include "pickup.h"
#include "owner.h"

/*
 * The host has translated a packet that ingress allowed: the same rule opens what
 * it became, unless it leaves by another interface than it was judged for.
 */
static __always_inline enum fw_reason adopt(struct packet *p, const struct settings *s)
{
	__u32 index = p->handoff;
	struct handoff *h = bpf_map_lookup_elem(&handoffs, &index);
	enum fw_reason reason;

	if (!h || h->role != ROLE_OPENER)
		return REASON_NO_FLOW;
	if (p->icmp_kind == ICMP_ERROR && !(h->flags & FLOW_UNTRACKED))
		return REASON_UNRELATED;
	p->icmp = h->icmp;
	p->scope = h->scope;
	if (p->scope == SCOPE_FORWARD && h->out_slot != p->slot) {
		ask(p, &h->tuple, h->icmp);
		ask_way(SCOPE_FORWARD, p->in_ifindex, p->out_ifindex);
		ask_anew(p, h->rule);
		reason = judge();
		if (reason)
			return reason;
		if (p->action != ACTION_ALLOW)
			return refusal(p);
		/* what opened the connection at ingress has been let in by that rule's ceilings */
		p->anew = p->rule == h->rule;
		take_effects();
		return h->flags & FLOW_UNTRACKED ? REASON_TRANSLATED : REASON_NONE;
	}
	if (h->flags & FLOW_UNTRACKED)
		return pass_translated(p, h);
	p->rule = h->rule;
	p->counter = h->counter;
	p->further = h->further;
	p->anew = 1; /* the rule's ceilings have been asked */
	p->effects = h->effects;
	p->until_s = h->until_s;
	p->action = ACTION_ALLOW;
	return REASON_NONE;
}

/* match: REASON_NONE means that a flow is to be opened, under p->rule. */
GLOBAL int match(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	enum fw_reason reason;
	struct settings *s;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	p->role = ROLE_OPENER;
	if (p->handed == HANDED_TRANSLATED)
		return adopt(p, s);
	if (p->icmp_kind == ICMP_ERROR)
		return stateless_error(skb);
	reason = p->hook == HOOK_INGRESS ? check_addresses(p) : REASON_NONE;
	if (reason)
		return reason;
	reason = find_scope(skb, p);
	if (reason)
		return reason;
	reason = builtin(p, s);
	if (reason)
		return reason;
	reason = p->hook == HOOK_INGRESS ? check_source(skb) : REASON_NONE;
	if (reason)
		return reason;
	if (p->scope == SCOPE_OUT && s->asks & (FURTHER_USER | FURTHER_UNIT))
		note_owner(skb);
	if (!can_open(p)) {
		reason = stateless();
		return reason ? reason : pickup(skb);
	}
	if (expected(cpu, p, s))
		return REASON_NONE;
	ask_own(p->icmp, false);
	ask_way(p->scope, p->in_ifindex, p->out_ifindex);
	reason = judge();
	if (reason)
		return reason;
	return p->action == ACTION_ALLOW ? pass_untracked() : refusal(p);
}

static __always_inline enum fw_reason opening(const struct packet *p)
{
	if (p->handed == HANDED_TRANSLATED)
		return REASON_TRANSLATED;
	if (p->pickup)
		return REASON_PICKUP;
	if (p->expected)
		return REASON_EXPECTED;
	return p->rule ? REASON_RULE_ALLOW : REASON_DEFAULT_ALLOW;
}

/* Tell the flow as it was before translation that both hooks must follow it. */
static __always_inline void mark_translated(struct flow *fresh, struct packet *p)
{
	__u32 index = p->handoff;
	struct handoff *h = bpf_map_lookup_elem(&handoffs, &index);
	struct flow *before;

	if (!h)
		return;
	fresh->flags |= FLOW_TRANSLATED | FLOW_PARENT;
	fresh->parent = h->tuple;
	before = bpf_map_lookup_elem(&embryonic, &h->key);
	if (!before)
		before = bpf_map_lookup_elem(&flows, &h->key);
	if (before)
		before->flags |= FLOW_TRANSLATED;
}

/* Adopted, or its entry had been displaced. Nobody can tell which scale its SYNs agreed on: the largest. */
static __always_inline void begin_midway(struct flow *f, struct side *own, struct side *other,
					 const struct packet *p)
{
	f->flags |= FLOW_LIBERAL;
	other->state = SIDE_OPEN;
	own->scale = other->scale = WSCALE_MAX;
	own->flags |= SIDE_WSCALE;
	other->flags |= SIDE_WSCALE;
	own->syn_again = p->sack;
}

/* open: make the entry. Two CPUs may open the same flow at once: one wins, both pass. */
GLOBAL int open_flow(void)
{
	struct cpu *cpu = this_cpu();
	struct side *own, *other;
	enum fw_reason reason;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return REASON_NO_POLICY;
	reason = has_room();
	if (!reason)
		reason = under_ceilings();
	if (reason)
		return reason;
	p = &cpu->packet;
	f = &cpu->fresh;
	__builtin_memset(f, 0, sizeof(*f));
	f->tag = key_tag(&p->key);
	f->incarnation = bpf_get_prandom_u32() | 1;
	f->generation = p->generation;
	f->admission = p->admission;
	f->until_s = p->until_s;
	f->rule = p->rule;
	f->counter = p->counter;
	f->further = p->further;
	f->scope = p->scope;
	f->icmp = p->icmp;
	f->created_j = p->now_j;
	if (p->handed != HANDED_TRANSLATED)
		take_effects();
	f->effects = p->effects;
	if ((p->role == ROLE_OPENER) == !!p->from_hi)
		f->flags |= FLOW_OPENER_HI;
	if (is_counted(p))
		f->flags |= FLOW_COUNTED;
	own = &f->side[p->role & 1];
	other = &f->side[!(p->role & 1)];
	own->generation = p->admission;
	other->generation = p->admission;
	learn_way(own, p->in_ifindex, p->out_ifindex);
	count_side(own, p);
	if (p->tuple.proto == IPPROTO_TCP && !(p->tcp_flags & TCP_SYN))
		begin_midway(f, own, other, p);
	if (p->tuple.proto == IPPROTO_TCP)
		update_side(own, other, p);
	if (p->tuple.proto == IPPROTO_SCTP)
		begin_sctp(own, p);
	if (has_spi(&p->tuple))
		own->seq_end = p->seq;
	if (p->handed == HANDED_TRANSLATED)
		mark_translated(f, p);
	if (p->expected) {
		f->flags |= FLOW_PARENT;
		f->parent = cpu->expectation.asked;
	}
	if (p->reopen)
		end_flow();
	reason = add_embryonic(&p->key, f);
	if (reason && reason != REASON_FLOW)
		return reason;
	p->flow_flags = f->flags;
	p->out_slot = own->out_slot;
	p->hand_tuple = 1;
	return opening(p);
}

#endif
