/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `overload`: a source that passes a ceiling of its rule is put into a set for a time. What
 * can be forged must not put others there, so the ceilings of such a rule are asked when
 * a flow is confirmed, and only TCP and SCTP may have it: whoever answers a SYN-ACK or has
 * a cookie is who he says.
 *
 * `overloads` is a trie apart, since user space reads, changes and writes whole elements of the
 * other one. Here it only takes away, so that whoever loses a race has a source go that comes
 * back at its next attempt. A ring of keys, in the order of their insertion, makes the
 * oldest give way to the newest.
 */
#ifndef FW_OVERLOAD_H
#define FW_OVERLOAD_H

#include "announce.h"
#include "ceiling.h"
#include "sets.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OVERLOADS_MAX);
	__type(key, __u32);
	__type(value, struct set_key);
} overload_ring SEC(".maps");

/* Exactly this prefix, not a shorter one. */
static __always_inline struct overload *find_overload(const struct set_key *key)
{
	struct overload *found = bpf_map_lookup_elem(&overloads, key);

	return found && found->bits == (__u8)key->bits ? found : NULL;
}

/* The oldest goes when the ring comes round, unless it has been put in again since. */
static __always_inline void displace(struct overload_head *head, struct set_key *key, __u32 place,
				     __u32 now_s)
{
	struct overload *old = key->bits ? find_overload(key) : NULL;
	int i;

	if (!old || old->place != place - OVERLOADS_MAX)
		return;
	for (i = 0; i < ELEMENT_ENDS; i++) {
		if (old->end_s[i] > now_s) {
			__sync_fetch_and_add(&head->displaced, 1);
			break;
		}
	}
	bpf_map_delete_elem(&overloads, key);
	bpf_map_delete_elem(&element_counters, key);
}

/* p->set_key is in no set by us yet. */
GLOBAL int put_in(__u32 set, __u32 end_s, __u32 now_s)
{
	struct overload fresh = {.timed = {set}, .end_s = {end_s}};
	struct overload_head *head = the_overload_head();
	struct cpu *cpu = this_cpu();
	struct set_key *key;
	__u32 index, place;

	if (!cpu || !head)
		return 0;
	bpf_spin_lock(&head->lock);
	place = head->next++;
	bpf_spin_unlock(&head->lock);
	index = place % OVERLOADS_MAX;
	key = bpf_map_lookup_elem(&overload_ring, &index);
	if (!key)
		return 0;
	displace(head, key, place, now_s);
	*key = cpu->packet.set_key;
	fresh.place = place;
	fresh.bits = key->bits;
	if (bpf_map_update_elem(&overloads, &cpu->packet.set_key, &fresh, BPF_ANY)) {
		__sync_fetch_and_add(&head->failed, 1);
		return 0;
	}
	return 1;
}

/* One more set, or a later end; 1 if it is in a set in which it was not. */
static __always_inline int put_off(struct overload *known, __u32 set, __u32 end_s, __u32 now_s)
{
	__u32 i, soonest = 0, soonest_s = ~0U;

	for (i = 0; i < ELEMENT_ENDS; i++) {
		if (known->timed[i] == set && known->end_s[i] > now_s) {
			if (end_s > known->end_s[i])
				known->end_s[i] = end_s;
			return 0;
		}
		if (known->end_s[i] < soonest_s) {
			soonest_s = known->end_s[i];
			soonest = i;
		}
	}
	for (i = 0; i < ELEMENT_ENDS; i++) {
		if (i != soonest)
			continue;
		/* nobody may take the old end for the new set's */
		known->end_s[i] = 0;
		barrier();
		known->timed[i] = set;
		barrier();
		known->end_s[i] = end_s;
	}
	return 1;
}

/* Running flows are judged anew. */
GLOBAL int announce_overload(void)
{
	struct overload_head *head = the_overload_head();
	__u64 now_j = bpf_jiffies64();
	struct control *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&control, &zero);
	if (!c || !head)
		return 0;
	bpf_spin_lock(&head->lock);
	c->overload = next_announcement(c->overload, now_j);
	bpf_spin_unlock(&head->lock);
	return 0;
}

/* The opener of cpu->fresh, which is about to be confirmed, has passed a ceiling of its rule. */
GLOBAL int overload(__u32 by_rate)
{
	struct cpu *cpu = this_cpu();
	struct source_key source;
	struct further *further;
	struct overload *known;
	__u32 set, now_s, end_s, fresh;
	const __u8 *bits;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	f = &cpu->fresh;
	further = further_of(f->generation, f->further);
	/* observe mode counts and logs; it keeps nobody out, now or later */
	if (!further || !further->overload_set || p->mode != MODE_ENFORCE)
		return 0;
	bits = by_rate ? further->rate_bits : further->most_bits;
	if (!bits[0])
		return 0;
	set = (further->overload_set - 1) & (SETS_MAX - 1);
	/* what has begun is a whole second: as long as was said, or a second longer */
	now_s = boot_s(cpu);
	end_s = now_s + further->overload_s + 1;
	ceiling_key(&source, &p->key, f->flags & FLOW_OPENER_HI, 0, bits);
	p->set_key.bits = p->key.family == 4 ? SET_BITS_V4 + bits[0] : SET_BITS_V6 + bits[1];
	p->set_key.family = p->key.family;
	copy_words(p->set_key.address, source.address);
	known = find_overload(&p->set_key);
	fresh = known ? put_off(known, set, end_s, now_s) : put_in(set, end_s, now_s);
	if (fresh)
		announce_overload();
	p->overloaded = 1;
	return 0;
}

/* By a `limit` that is asked when flows are confirmed, is cpu->fresh one too many? If not it takes a token. */
GLOBAL int too_often(void)
{
	struct cpu *cpu = this_cpu();
	struct further *further;
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	f = &cpu->fresh;
	if (!f->further || f->flags & (FLOW_PARENT | FLOW_LIBERAL) ||
	    f->generation != p->generation)
		return 0;
	further = further_of(f->generation, f->further);
	if (!further || !further->overload_set || !further->rate || !further->rate_bits[0])
		return 0;
	p->further = f->further;
	return !within_rate(f->flags & FLOW_OPENER_HI);
}

#endif
