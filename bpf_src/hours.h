/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Times of rules: `until`, `between`. There is no wall clock here, so user space says from which boot
 * times on which windows of time are open, and the clock is read once a jiffy and CPU, if
 * the ruleset has windows at all. A flow that was followed before the last edge is judged
 * anew at its next packet from either side, as after a change of the rules.
 */
#ifndef FW_HOURS_H
#define FW_HOURS_H

#include "maps.h"

/* Which of the ruleset's windows are open when this packet comes? The answer is in cpu->hours. */
GLOBAL int tell_time(void)
{
	__u32 slot, i, first = 0, last, middle;
	struct cpu *cpu = this_cpu();
	struct settings *s;
	struct packet *p;
	struct hours *h;
	struct edge *e;
	__u64 now_ns;
	void *list;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	h = &cpu->hours;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	if (h->generation == p->generation && h->asked_j == p->now_j)
		return REASON_NONE;
	now_ns = bpf_ktime_get_boot_ns();
	h->asked_j = p->now_j;
	if (h->generation == p->generation && now_ns < h->next_ns)
		return REASON_NONE;
	slot = p->generation % GENERATION_SLOTS;
	list = bpf_map_lookup_elem(&edges, &slot);
	last = s->edges;
	if (!list || last > EDGES_MAX)
		return REASON_NO_POLICY;
	/* the last that is past; the first always is */
	for (i = 0; i < EDGES_BITS; i++) {
		if (last - first <= 1)
			break;
		middle = (first + last) / 2;
		e = bpf_map_lookup_elem(list, &middle);
		if (!e)
			return REASON_NO_POLICY;
		if (e->from_ns <= now_ns)
			first = middle;
		else
			last = middle;
	}
	e = bpf_map_lookup_elem(list, &first);
	if (!e)
		return REASON_NO_POLICY;
	h->open = e->open;
	e = last < s->edges ? bpf_map_lookup_elem(list, &last) : NULL;
	h->next_ns = e ? e->from_ns : ~0ULL;
	/* what this CPU did not see happen may have happened in this very jiffy */
	h->since_j = p->now_j;
	h->generation = p->generation;
	return REASON_NONE;
}

/* Has something opened or closed since this side's last packet? Only in a ruleset that has windows. */
static __always_inline bool hours_changed(const struct cpu *cpu, const struct settings *s,
					  const struct side *side)
{
	return s->edges && (__s64)(side->seen_j - cpu->hours.since_j) <= 0;
}

#endif
