/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `untracked`: packets that a rule lets pass one by one. Nothing is kept of them, so a rule is needed
 * for each direction. Also what can open no flow is asked then, since it may be the
 * middle of something that nobody follows, and an ICMP error passes if what it quotes would.
 */
#ifndef FW_UNTRACKED_H
#define FW_UNTRACKED_H

#include "related.h"

static __always_inline bool can_open(const struct packet *p)
{
	if (p->tuple.proto == IPPROTO_TCP)
		return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	if (p->tuple.proto == IPPROTO_SCTP)
		return p->chunks & (1 << CHUNK_INIT | 1 << CHUNK_HEARTBEAT);
	return p->icmp_kind != ICMP_REPLY;
}

/* Of the rule that has matched. */
GLOBAL int is_untracked(void)
{
	struct cpu *cpu = this_cpu();
	struct further *further;

	if (!cpu || !cpu->packet.further)
		return false;
	further = further_of(cpu->packet.generation, cpu->packet.further);
	return further && further->asks & FURTHER_UNTRACKED;
}

/* The rules allow the packet: does it pass without a flow? */
GLOBAL int pass_untracked(void)
{
	struct cpu *cpu = this_cpu();
	struct packet *p;
	struct iface *out;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	if (!is_untracked())
		return REASON_NONE;
	take_effects();
	out = p->out_ifindex ? iface_of(p->out_ifindex) : NULL;
	p->out_slot = out ? out->slot : 0;
	p->asks_many = 0;
	p->hand_tuple = 1; /* as the host may translate it */
	p->flow_flags = FLOW_UNTRACKED;
	return REASON_RULE_ALLOW;
}

/* Of egress: one that the host has given other addresses. */
static __always_inline enum fw_reason pass_translated(struct packet *p, const struct handoff *h)
{
	p->rule = h->rule;
	p->effects = h->effects;
	return REASON_TRANSLATED;
}

/* A packet that can open no flow. REASON_NONE: it needs one. */
GLOBAL int stateless(void)
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
	if (!(s->asks & FURTHER_UNTRACKED))
		return REASON_NONE;
	ask_own(p->icmp, false);
	ask_way(p->scope, p->in_ifindex, p->out_ifindex);
	reason = judge();
	if (!reason && p->action == ACTION_ALLOW)
		reason = pass_untracked();
	if (!reason) {
		p->counter = NO_COUNTER;
		p->rule = p->log = p->further = 0;
	}
	return reason;
}

/* Redirect and source quench: who knows of no flow cannot tell who may change its way or its pace (RFC 6633). */
static __always_inline bool redirects(const struct packet *p)
{
	__u32 type = p->icmp >> 8;

	return p->tuple.family == 4 && (type == 4 || type == 5);
}

/* An ICMP error about a packet of no flow, which must have been the other way. Which type a quoted message of ICMP has is not known. */
GLOBAL int stateless_error(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	enum fw_reason reason;
	struct settings *s;
	struct tuple *quote;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s || is_icmp(&p->tuple) || redirects(p) || !same_address(p->outer_dst, p->tuple.src))
		return REASON_UNRELATED;
	if (p->hook == HOOK_INGRESS) {
		quote = &cpu->fresh.parent;
		*quote = p->tuple;
		copy_words(p->tuple.src, p->outer_src);
		copy_words(p->tuple.dst, p->outer_dst);
		reason = check_addresses(p);
		if (!reason)
			reason = arrive(skb);
		p->tuple = *quote;
		if (reason)
			return reason;
	} else {
		p->scope = p->in_ifindex ? SCOPE_FORWARD : SCOPE_OUT;
	}
	ask_own(0, false);
	ask_way(scope_of(p->out_ifindex, p->in_ifindex), p->out_ifindex, p->in_ifindex);
	/* nothing but its ends is known of the quoted packet */
	ask_anew(p, 0);
	reason = judge();
	if (!reason && p->action == ACTION_ALLOW)
		reason = pass_untracked();
	if (reason == REASON_RULE_ALLOW)
		return REASON_RELATED;
	p->counter = NO_COUNTER;
	p->rule = p->log = p->further = 0;
	return reason ? reason : REASON_UNRELATED;
}

#endif
