/* SPDX-License-Identifier: GPL-2.0-only */
/* What each rule has decided: in pages, as rules may be many, with a lane for each CPU. */
#ifndef FW_COUNTERS_H
#define FW_COUNTERS_H

#include "maps.h"

/* Not per-CPU: such an array takes a second line of the cache to be found, cannot be mapped, and is slow to make. */
struct counters_page {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	/* sizes, not types: clang forgets the types of inner maps */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct rule_counter));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, RULE_COUNTERS / COUNTERS_PAGE);
	__type(key, __u32);
	__array(values, struct counters_page);
} rule_counters SEC(".maps");

/* There is no page for what is left of a rule that has gone, and nobody reads it. */
static __always_inline void count_for_rule(const struct packet *p)
{
	__u32 page = p->counter / COUNTERS_PAGE, at = p->counter % COUNTERS_PAGE;
	void *counters = bpf_map_lookup_elem(&rule_counters, &page);
	struct rule_counter *c;

	if (!counters)
		return;
	at += bpf_get_smp_processor_id() * COUNTERS_PAGE;
	c = bpf_map_lookup_elem(counters, &at);
	if (!c)
		return;
	c->packets += p->segments;
	c->bytes += p->bytes;
	c->last_j = p->now_j;
}

#endif
