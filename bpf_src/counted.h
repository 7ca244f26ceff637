/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a confirmed flow counts as: for its source, by `option flows.per-source`, and for its
 * rule, by `max-flows`. It does until it is over or leaves; its slot knows whether it does still.
 */
#ifndef FW_COUNTED_H
#define FW_COUNTED_H

#include "slots.h"

#define OVERTAKEN_S 4 /* for so long what was sent before a reset may arrive behind it */

struct counts {
	union source_words source, ceiling;
	__u32 counted, limited;
};

static __always_inline void uncount_flow(const struct counts *as)
{
	if (as->counted)
		uncount_source(&as->source);
	if (as->limited)
		uncount_source(&as->ceiling);
}

/* Nothing is counted if it is refused. What is `free` was running before us: it counts, whatever its rule has already. */
static __always_inline enum fw_reason count_flow(struct counts *as, const struct flow_key *key,
						 const struct flow *f, __u32 per_source, bool free)
{
	enum fw_reason reason;
	__u32 most;

	__builtin_memset(as, 0, sizeof(*as));
	most = ceiling_of(&as->ceiling.key, key, f);
	source_of(&as->source.key, key, f->flags & FLOW_OPENER_HI);
	if (f->flags & FLOW_COUNTED) {
		reason = count_source(&as->source, per_source);
		if (reason)
			return reason;
		as->counted = 1;
	}
	if (most) {
		reason = count_source(&as->ceiling, free ? ~0U : most);
		if (reason) {
			uncount_flow(as);
			return reason == REASON_SOURCE_LIMIT ? REASON_OVER_LIMIT : reason;
		}
		as->limited = 1;
	}
	return REASON_NONE;
}

/*
 * The packet's flow is over: connections that follow each other quickly do not add up. It keeps its
 * slot, and counts no more; once, since whoever goes on with it could say so again and again.
 */
GLOBAL int relieve_source(void)
{
	struct cpu *cpu = this_cpu();
	struct counts as = {};
	struct slot *slot;
	struct flow *f;

	if (!cpu)
		return 0;
	f = bpf_map_lookup_elem(&flows, &cpu->packet.key);
	if (!f || f->tag != key_tag(&cpu->packet.key))
		return 0;
	slot = bpf_map_lookup_elem(&slots, &f->slot);
	if (!slot)
		return 0;
	bpf_spin_lock(&slot->lock);
	if (slot->incarnation == f->incarnation && !slot->relieved_j) {
		as.source.key = slot->source;
		as.ceiling.key = slot->ceiling;
		as.counted = slot->counted;
		as.limited = slot->limited;
		slot->counted = 0;
		slot->limited = 0;
		slot->relieved_j = (__u32)cpu->packet.now_j ?: 1;
	}
	bpf_spin_unlock(&slot->lock);
	uncount_flow(&as);
	return 0;
}

/*
 * The packet is of the end that was reset. If that is long ago, the reset was lost, or was never meant
 * to be taken: the flow counts again, for good, or has ended if it is one too many.
 */
GLOBAL int count_again(void)
{
	struct cpu *cpu = this_cpu();
	enum fw_reason reason;
	struct settings *s;
	struct slot *slot;
	struct packet *p;
	struct counts as;
	struct flow *f;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	f = bpf_map_lookup_elem(&flows, &p->key);
	if (!s || !f || f->tag != key_tag(&p->key))
		return REASON_NONE;
	slot = bpf_map_lookup_elem(&slots, &f->slot);
	if (!slot || !slot->relieved_j || slot->counted || slot->limited ||
	    (__s32)((__u32)p->now_j - slot->relieved_j) < (__s32)(OVERTAKEN_S * hz))
		return REASON_NONE;
	reason = count_flow(&as, &p->key, f, s->per_source, false);
	if (reason)
		return reason == REASON_FLOW ? REASON_NONE : reason;
	bpf_spin_lock(&slot->lock);
	if (slot->incarnation == f->incarnation && !slot->counted && !slot->limited) {
		slot->counted = as.counted;
		slot->limited = as.limited;
		slot->source = as.source.key;
		slot->ceiling = as.ceiling.key;
		as.counted = 0;
		as.limited = 0;
	}
	bpf_spin_unlock(&slot->lock);
	uncount_flow(&as);
	return REASON_NONE;
}

#endif
