/* SPDX-License-Identifier: GPL-2.0-only */
/* The ICMP errors that belong to a running flow. */
#ifndef FW_RELATED_H
#define FW_RELATED_H

#include "tcp.h"
#include "sctp.h"
#include "anew.h"
#include "antispoof.h"

/* By the rule that decided; what is translated was counted at ingress. */
static __always_inline bool counts_for_elements(const struct packet *p, __u32 reason)
{
	if (reason >= REASON_FIRST_DROP)
		return reason == REASON_RULE_DROP || reason == REASON_RULE_REJECT ||
		       reason == REASON_REVOKED;
	return p->effects.counts && p->handed != HANDED_TRANSLATED;
}

/*
 * The elements of sets that count have one packet more, which a rule that asks for them has let pass or refused. Of a
 * flow's packets it is asked who opened it and to whom; the question of what was judged just now is still there.
 */
GLOBAL int count_elements(__u32 reason)
{
	struct cpu *cpu = this_cpu();
	__u32 index, until_s, end;
	struct further *further;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	if (!counts_for_elements(p, reason))
		return 0;
	index = p->further;
	until_s = p->until_s;
	if (reason == REASON_FLOW || reason == REASON_RELATED) {
		f = find_flow(p);
		if (!f || f->generation != p->generation)
			return 0;
		index = f->further;
		ask_flow(p, f);
	}
	further = further_of(p->generation, index);
	if (!further)
		return 0;
	for (end = 0; end < 2; end++) {
		p->counting = further->counted[end];
		if (p->counting)
			find_sets(end);
	}
	p->counting = 0;
	p->until_s = until_s;
	return 0;
}

/* All else allows a packet outside its window: `option tcp.window` decides. */
static __always_inline enum fw_reason outside(struct packet *p, const struct settings *s,
					      enum fw_reason reason, enum fw_reason otherwise)
{
	if (s->tcp_window == WINDOW_OFF)
		return otherwise;
	if (s->tcp_window == WINDOW_LOG)
		p->mode = MODE_OBSERVE;
	return reason;
}

/*
 * An ICMP error: p->tuple is the packet that it quotes, which must have been
 * sent by the host that the error goes to, in a live flow that the rules still
 * allow. It refreshes nothing. REASON_NONE: it may be about what nobody follows.
 */
GLOBAL int related(void)
{
	struct cpu *cpu = this_cpu();
	struct side *own, *other;
	enum fw_reason reason;
	struct settings *s;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	f = find_flow(p);
	if (!s)
		return REASON_NO_POLICY;
	if (!f || expired(f, p, s))
		return s->asks & FURTHER_UNTRACKED ? REASON_NONE : REASON_UNRELATED;
	if (!same_address(p->outer_dst, p->tuple.src))
		return REASON_UNRELATED;
	reason = p->hook == HOOK_INGRESS ? check_outer_addresses(p) : REASON_NONE;
	if (reason)
		return reason;
	p->role = role_of(f, p);
	own = &f->side[p->role & 1];
	other = &f->side[!(p->role & 1)];
	if (!seen(own))
		return REASON_UNRELATED;
	if (outdated(cpu, f, f->admission)) {
		__u32 in = f->side[ROLE_OPENER].in_ifindex;
		__u32 out = f->side[ROLE_OPENER].out_ifindex;

		reason = judge_flow(p, f, f->scope, in, out);
		if (reason)
			return reason;
		if (p->action != ACTION_ALLOW && !spared(f->scope, in, out))
			return REASON_UNRELATED;
		p->log = 0;
	}
	p->rule = f->rule;
	p->counter = f->counter;
	p->effects = f->effects;
	p->until_s = f->until_s;
	if (p->tuple.proto == IPPROTO_TCP && numbers_known(f) && !quote_fits(p, own, other))
		return outside(p, s, REASON_UNRELATED, REASON_RELATED);
	if (p->tuple.proto == IPPROTO_SCTP && !quoted_tag_fits(p, own, other))
		return REASON_UNRELATED;
	return REASON_RELATED;
}

#endif
