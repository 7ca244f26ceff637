/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Times of rules: `until`, `between`. There is no wall clock here, so user space says from which boot
 * times on which windows of time are open. The clock is read once a jiffy and CPU, where anything
 * asks for it at all. An answer of the rules that came of something with an end holds until the
 * second in which that lies: from then on a flow is judged anew at its packets, as after a change of the rules.
 */
#ifndef FW_HOURS_H
#define FW_HOURS_H

#include "maps.h"

#define NSEC_PER_SEC 1000000000ULL

/* Boot time. Not jiffies, which stand still in suspend. */
static __always_inline __u64 boot_ns(struct cpu *cpu)
{
	struct hours *h = &cpu->hours;

	if (h->asked_j != cpu->packet.now_j) {
		h->asked_j = cpu->packet.now_j;
		h->now_ns = bpf_ktime_get_boot_ns();
	}
	return h->now_ns;
}

static __always_inline __u32 boot_s(struct cpu *cpu)
{
	return boot_ns(cpu) / NSEC_PER_SEC;
}

/* The number of an edge of the ruleset, from 0: is there one, and is it past? Called from a loop, verified once. */
GLOBAL int is_past(__u32 number)
{
	struct cpu *cpu = this_cpu();
	struct settings *s;
	struct edge *e;
	__u32 slot;
	void *list;

	if (!cpu)
		return 0;
	s = settings_of(cpu->packet.generation);
	if (!s || number >= s->edges)
		return 0;
	slot = cpu->packet.generation % GENERATION_SLOTS;
	list = bpf_map_lookup_elem(&edges, &slot);
	e = list ? bpf_map_lookup_elem(list, &number) : NULL;
	return e && e->from_ns <= cpu->hours.now_ns;
}

/* Which of the ruleset's windows are open when this packet comes? The answer is in cpu->hours. */
GLOBAL int tell_time(void)
{
	struct cpu *cpu = this_cpu();
	__u32 slot, last = 0, next;
	struct settings *s;
	struct packet *p;
	struct hours *h;
	struct edge *e;
	__u64 now_ns;
	void *list;
	int bit;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	h = &cpu->hours;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	now_ns = boot_ns(cpu);
	if (h->generation == p->generation && now_ns < h->next_ns)
		return REASON_NONE;
	slot = p->generation % GENERATION_SLOTS;
	list = bpf_map_lookup_elem(&edges, &slot);
	if (!list)
		return REASON_NO_POLICY;
	/* the last that is past; the first always is */
	for (bit = EDGES_BITS - 1; bit >= 0; bit--)
		last += (is_past(last + (1 << bit)) & 1) << bit;
	e = bpf_map_lookup_elem(list, &last);
	if (!e)
		return REASON_NO_POLICY;
	h->open = e->open;
	next = last + 1;
	e = next < s->edges ? bpf_map_lookup_elem(list, &next) : NULL;
	h->next_ns = e ? e->from_ns : ~0ULL;
	h->until_s = e ? e->from_ns / NSEC_PER_SEC : 0;
	h->generation = p->generation;
	return REASON_NONE;
}

/* What holds until both, of which 0 is for ever. */
static __always_inline __u32 sooner(__u32 a_s, __u32 b_s)
{
	return b_s - 1 < a_s - 1 ? b_s : a_s;
}

#endif
