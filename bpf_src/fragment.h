/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fragments are seen before reassembly, so the first, which has the ports,
 * decides, and later ones follow it while its entry lives. A later one that
 * overtakes its first is dropped: nothing here can hold it back.
 */
#ifndef FW_FRAGMENT_H
#define FW_FRAGMENT_H

#include "cursor.h"

#define FRAGMENT_LIFE_S 30 /* net.ipv4.ipfrag_time; RFC 8200 section 4.5 has 60 */

static __always_inline void fragment_key(struct fragment_key *key, const struct packet *p)
{
	copy_words(key->src, p->tuple.src);
	copy_words(key->dst, p->tuple.dst);
	key->id = p->fragment_id;
	key->zone = p->tuple.zone;
	/* an IPv6 fragment names its own next header (RFC 8200 section 4.5 ignores it) */
	key->proto = p->tuple.family == 4 ? p->tuple.proto : 0;
	key->family = p->tuple.family;
}

/* The first fragment was allowed: let the others follow. */
GLOBAL int fragment_open(void)
{
	struct cpu *cpu = this_cpu();
	struct fragment value = {};
	struct fragment_key key HALVES_ALIGNED;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	fragment_key(&key, p);
	value.when_j = p->now_j;
	value.rule = p->rule;
	value.counter = p->counter;
	value.reach = p->fragment_bytes;
	return bpf_map_update_elem(&fragments, &key, &value, BPF_ANY) ? REASON_TABLE_FULL :
									REASON_NONE;
}

GLOBAL int fragment_follow(void)
{
	struct cpu *cpu = this_cpu();
	struct fragment_key key HALVES_ALIGNED;
	struct fragment *first;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	fragment_key(&key, p);
	first = bpf_map_lookup_elem(&fragments, &key);
	if (!first || p->now_j - first->when_j > FRAGMENT_LIFE_S * hz)
		return REASON_FRAGMENT_UNKNOWN;
	/* RFC 1858 section 4, RFC 5722: what was judged must not be written over */
	if (p->fragment_at < first->reach)
		return REASON_FRAGMENT_OVERLAP;
	p->rule = first->rule;
	p->counter = first->counter;
	return REASON_FRAGMENT;
}

#endif
