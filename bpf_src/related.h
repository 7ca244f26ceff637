/* SPDX-License-Identifier: GPL-2.0-only */
/* A running flow judged anew, and the ICMP errors that belong to one. */
#ifndef FW_RELATED_H
#define FW_RELATED_H

#include "tcp.h"
#include "sctp.h"
#include "classify.h"

/* Judge a running flow anew, as its opener's packet by this way; the answer is in p->action. */
static __always_inline enum fw_reason judge_flow(struct packet *p, const struct flow *f,
						 __u32 scope, __u32 in, __u32 out)
{
	struct settings *s = settings_of(p->generation);

	if (!s)
		return REASON_NO_POLICY;
	if (f->flags & FLOW_PARENT)
		ask(p, &f->parent, f->icmp, false);
	else
		ask(p, &p->tuple, f->icmp, p->role != ROLE_OPENER);
	ask_way(p, s, scope, in, out);
	ask_anew(p, f->rule);
	return judge();
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
 * allow. It refreshes nothing.
 */
GLOBAL int related(void)
{
	struct cpu *cpu = this_cpu();
	struct side *own, *other;
	struct settings *s;
	struct packet *p;
	struct flow *f;
	int i;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	f = find_flow(p);
	if (!s || !f || expired(f, p, s))
		return REASON_UNRELATED;
	for (i = 0; i < 4; i++)
		if (p->outer_dst[i] != p->tuple.src[i])
			return REASON_UNRELATED;
	p->role = role_of(f, p);
	own = &f->side[p->role & 1];
	other = &f->side[!(p->role & 1)];
	if (!seen(own))
		return REASON_UNRELATED;
	if (outdated(cpu, f, f->admission)) {
		enum fw_reason reason = judge_flow(p, f, f->scope, f->side[ROLE_OPENER].in_ifindex,
						   f->side[ROLE_OPENER].out_ifindex);

		if (reason)
			return reason;
		if (p->action != ACTION_ALLOW)
			return REASON_UNRELATED;
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
