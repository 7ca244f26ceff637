/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A running flow judged anew, and one that a change spares (`--keep-flows`): whatever that
 * change has to say of it, it goes on as the rules before let it, until another change that
 * spares nothing. What changes besides the rules (a set, the hour) reaches it nevertheless: it
 * ends when another rule denies it than when the change first met it, or one that then allowed it no longer does.
 */
#ifndef FW_ANEW_H
#define FW_ANEW_H

#include "classify.h"

/* As its opener's packet by this way; the answer is in p->action. */
static __always_inline enum fw_reason judge_flow(struct packet *p, const struct flow *f,
						 __u32 scope, __u32 in, __u32 out)
{
	ask_flow(p, f);
	ask_way(scope, in, out);
	ask_anew(p, f->rule);
	return judge();
}

enum fw_sparing {
	SPARES_NOT,
	SPARES,
	SPARES_IF_ALLOWED, /* by the rules that the first of these changes replaced */
};

/*
 * Does the answer rest on what changes besides the rules, and may have changed since the flow was let in, or since the
 * rules were? Nobody can tell what it would have been then, so such an answer counts.
 */
static __always_inline bool rests_on_change(const struct packet *p, const struct flow *f,
					    const struct settings *s)
{
	bool met = f->generation > s->spares_from;
	__u32 before = met ? f->generation : s->spares_from;
	__u32 sets = (met ? f->admission : s->spares_admission) - before * ADMISSION_STRIDE;
	__u32 slot = p->generation % GENERATION_SLOTS;
	const struct further *further;
	const struct entry *e;
	void *chunks;

	if (p->action == ACTION_ALLOW || p->entry == NO_ENTRY || s->spares_to == SPARES_ALL)
		return false;
	chunks = bpf_map_lookup_elem(&classifiers, &slot);
	e = chunks ? entry_at(chunks, p->entry) : NULL;
	if (!e)
		return true;
	if (e->flags & ENTRY_OF_SETS && p->admission - p->generation * ADMISSION_STRIDE != sets)
		return true;
	further = p->further ? further_of(p->generation, p->further) : NULL;
	return further && further->asks & FURTHER_TIME;
}

/* The rules in force have judged the packet's flow: does it go on as it is, whatever they say? */
GLOBAL int sparing(void)
{
	struct cpu *cpu = this_cpu();
	struct settings *s;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return SPARES_NOT;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s || !s->spares_to)
		return SPARES_NOT;
	f = find_flow(p);
	if (!f || f->flags & FLOW_REVOKED)
		return SPARES_NOT;
	if (f->generation >= s->spares_to) {
		if (!(f->flags & FLOW_SPARED))
			return SPARES_NOT;
		return p->action == ACTION_ALLOW || f->spared_by == p->rule ? SPARES : SPARES_NOT;
	}
	if (rests_on_change(p, f, s))
		return SPARES_NOT;
	/* met by those rules, or younger: opened or spared under a change like this one */
	return f->generation > s->spares_from || f->admission == s->spares_admission ?
		       SPARES :
		       SPARES_IF_ALLOWED;
}

/* Do the rules before allow it? The answer of those in force stays: kept in memory, as calls share a small stack. */
GLOBAL int allowed_before(__u32 scope, __u32 in, __u32 out)
{
	struct cpu *cpu = this_cpu();
	struct answer *kept;
	struct settings *s;
	struct packet *p;
	struct flow *f;
	bool allowed;

	if (!cpu)
		return false;
	p = &cpu->packet;
	kept = &cpu->kept;
	s = settings_of(p->generation);
	f = find_flow(p);
	if (!s || !f)
		return false;
	kept->generation = p->generation;
	kept->action = p->action;
	kept->rule = p->rule;
	kept->counter = p->counter;
	kept->further = p->further;
	kept->until_s = p->until_s;
	kept->log = p->log;
	kept->hours = cpu->hours;
	p->generation = s->spares_from;
	s = settings_of(p->generation);
	allowed = s && !judge_flow(p, f, scope, in, out) && p->action == ACTION_ALLOW;
	p->generation = kept->generation;
	p->action = kept->action;
	p->rule = kept->rule;
	p->counter = kept->counter;
	p->further = kept->further;
	p->until_s = kept->until_s;
	p->log = kept->log;
	cpu->hours = kept->hours;
	return allowed;
}

static __always_inline bool spared(__u32 scope, __u32 in, __u32 out)
{
	__u32 spares = sparing();

	return spares == SPARES || (spares == SPARES_IF_ALLOWED && allowed_before(scope, in, out));
}

/* It goes on. What is to be remembered is written with the same value by whoever writes it. */
static __always_inline void spare(struct packet *p, struct flow *f)
{
	bool allowed = p->action == ACTION_ALLOW;

	/* another rule may have got its number, and its ceilings are those of rules that are gone */
	if (allowed && p->rule == f->rule) {
		f->counter = p->counter;
		f->further = p->further;
	} else {
		f->counter = NO_COUNTER;
		f->further = 0;
	}
	f->spared_by = allowed ? SPARED_BY_NONE : p->rule;
	f->flags |= FLOW_SPARED;
	f->generation = p->generation;
	f->admission = p->admission;
	f->until_s = p->until_s;
	p->action = ACTION_ALLOW;
	p->log = 0;
}

#endif
