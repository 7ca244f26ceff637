/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ceilings on what a rule lets in: `limit` bounds how often flows are opened,
 * `max-flows` how many are open. The second counts confirmed flows in `sources`, which
 * the place of each in `slots` keeps exact. Only who opens a flow meets a ceiling: flows
 * that come to a rule by a change, or that were running before us, count and stay.
 */
#ifndef FW_CEILING_H
#define FW_CEILING_H

#include "flow.h"
#include "further.h"
#include "limit.h"
#include "sets.h"
#include "sources.h"

/* Under what a rule counts who opens a flow; `bits` are those of IPv4 and of IPv6 addresses, 0 for all as one. */
static __always_inline void ceiling_key(struct source_key *key, const struct flow_key *flow,
					bool hi, __u32 rule, const __u8 *bits)
{
	const __be32 *address = hi ? flow->hi : flow->lo;
	/* an IPv4 address is the last of four words */
	__s32 kept = flow->family == 4 ? 96 + bits[0] : bits[1];
	int i;

	__builtin_memset(key, 0, sizeof(*key));
	key->rule = rule;
	if (!bits[0])
		return;
	for (i = 0; i < 4; i++)
		key->address[i] = prefix_word(address[i], kept - 32 * i);
	key->zone = flow->zone;
}

/*
 * What `max-flows` counts a flow under, and how many it allows there; 0 if it does not count it. A
 * flow that belongs to another (FLOW_PARENT: translated, or expected) is counted as that.
 */
static __always_inline __u32 ceiling_of(struct source_key *key, const struct flow_key *flow,
					const struct flow *f)
{
	const struct further *further;

	if (!f->further || f->flags & FLOW_PARENT || !settings_of(f->generation))
		return 0;
	further = further_of(f->generation, f->further);
	if (!further || !further->most)
		return 0;
	ceiling_key(key, flow, f->flags & FLOW_OPENER_HI, f->rule, further->most_bits);
	return further->most;
}

/* A token for one more opening by the packet's rule, whose ceilings are p->further. */
GLOBAL int within_rate(__u32 hi)
{
	struct bucket *b = NULL, full = {};
	__u32 rate, unit_j, burst, rule;
	struct cpu *cpu = this_cpu();
	struct rate first = {};
	struct further *further;
	struct source_key key;
	struct packet *p;
	struct rate *r;
	__u64 now_j;
	bool taken;

	if (!cpu)
		return false;
	p = &cpu->packet;
	further = further_of(p->generation, p->further);
	if (!further)
		return false;
	rate = further->rate;
	unit_j = further->rate_j;
	burst = further->burst;
	rule = p->rule;
	now_j = p->now_j;
	full.last_j = now_j;
	full.tokens_j = (__u64)burst * unit_j;
	first.bucket = full;
	r = bpf_map_lookup_elem(&rates, &rule);
	if (!r) {
		bpf_map_update_elem(&rates, &rule, &first, BPF_NOEXIST);
		r = bpf_map_lookup_elem(&rates, &rule);
	}
	if (!r)
		return false;
	if (further->rate_bits[0]) {
		ceiling_key(&key, &p->key, hi, rule, further->rate_bits);
		b = bpf_map_lookup_elem(&source_buckets, &key);
		if (!b) {
			bpf_map_update_elem(&source_buckets, &key, &full, BPF_NOEXIST);
			b = bpf_map_lookup_elem(&source_buckets, &key);
		}
		if (!b)
			return false;
		bpf_spin_lock(&r->lock);
		taken = draw(b, now_j, rate, unit_j, burst);
		bpf_spin_unlock(&r->lock);
		return taken;
	}
	bpf_spin_lock(&r->lock);
	taken = draw(&r->bucket, now_j, rate, unit_j, burst);
	bpf_spin_unlock(&r->lock);
	return taken;
}

/*
 * The packet is about to open a flow: do its rule's ceilings let it? The last that is asked, since it takes a token. With
 * `overload`, what is counted by source is asked when the flow is confirmed: see overload.h.
 */
GLOBAL int under_ceilings(void)
{
	struct cpu *cpu = this_cpu();
	struct further *further;
	struct source_key key;
	struct source *source;
	struct packet *p;
	bool hi, late;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	if (!p->further || p->anew || p->pickup)
		return REASON_NONE;
	further = further_of(p->generation, p->further);
	if (!further)
		return REASON_NO_POLICY;
	hi = (p->role == ROLE_OPENER) == !!p->from_hi;
	late = further->overload_set;
	if (further->most && !(late && further->most_bits[0])) {
		ceiling_key(&key, &p->key, hi, p->rule, further->most_bits);
		source = bpf_map_lookup_elem(&sources, &key);
		if (source && source->flows >= further->most)
			return REASON_OVER_LIMIT;
	}
	if (further->rate && !(late && further->rate_bits[0]) && !within_rate(hi))
		return REASON_OVER_LIMIT;
	return REASON_NONE;
}

/* A running flow has been judged anew: it counts as of the rule that allows it now, whatever that has already. */
GLOBAL int move_count(void)
{
	union source_words before = {}, after = {};
	struct cpu *cpu = this_cpu();
	__u32 counted, limited;
	struct slot *slot;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	f = bpf_map_lookup_elem(&flows, &p->key);
	if (!f || f->tag != key_tag(&p->key))
		return 0;
	slot = bpf_map_lookup_elem(&slots, &f->slot);
	if (!slot)
		return 0;
	limited = (slot->limited || !is_over(f, p->key.proto)) &&
		  ceiling_of(&after.key, &p->key, f) && !count_source(&after, ~0U);
	counted = limited;
	bpf_spin_lock(&slot->lock);
	if (slot->incarnation == f->incarnation) {
		counted = slot->limited;
		before.key = slot->ceiling;
		slot->limited = limited;
		slot->ceiling = after.key;
	} else {
		before = after;
	}
	bpf_spin_unlock(&slot->lock);
	if (counted)
		uncount_source(&before);
	return 0;
}

#endif
