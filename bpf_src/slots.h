/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The places of the table of confirmed flows. LRU tables displace silently, so
 * nothing that is kept beside one can be true. Here a confirmed flow needs a
 * slot: there are `option flows.max` of them and the table has more entries, so
 * that it never displaces any. What is used, and by whom, is then known exactly.
 *
 * A slot's lock makes sure that one of many who would give it back does so. A
 * slot is taken before its flow is in the table and names it afterwards, and is
 * given back before the flow leaves: a slot whose flow is not there has lost it.
 */
#ifndef FW_SLOTS_H
#define FW_SLOTS_H

#include "flow.h"
#include "ceiling.h"

#define SLOT_NONE (-1)
#define SLOTS_AT_ONCE 8

static __always_inline struct table *the_table(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&table, &zero);
}

static __always_inline struct totals *this_cpus_totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&totals, &zero);
}

/* User space's requests run on a CPU between its packets: one may come in the middle of an addition. */
static __always_inline void tally(__u64 *count, __u64 more)
{
	__sync_fetch_and_add(count, more);
}

static __always_inline void put_back(__u32 index)
{
	struct table *t = the_table();

	bpf_map_push_elem(&vacant, &index, 0);
	if (t)
		__sync_fetch_and_add(&t->used, -1);
}

static __always_inline void uncount_key(const struct source_key *key)
{
	union source_words of = {.key = *key};

	uncount_source(&of);
}

/* A flow gives its slot back: 1 if it had it still. */
GLOBAL int vacate(__u32 index, __u32 incarnation)
{
	struct slot *slot = bpf_map_lookup_elem(&slots, &index);
	bool held;

	if (!slot || !incarnation)
		return 0;
	bpf_spin_lock(&slot->lock);
	held = slot->incarnation == incarnation;
	if (held)
		slot->incarnation = 0;
	bpf_spin_unlock(&slot->lock);
	if (!held)
		return 0;
	/* a slot without an incarnation is nobody else's until it has been put back */
	if (slot->counted)
		uncount_key(&slot->source);
	if (slot->limited)
		uncount_key(&slot->ceiling);
	put_back(index);
	return 1;
}

/* What is left of a timeout, in 1/1024: it shrinks as the table fills, as pf's adaptive.start and adaptive.end do. */
static __always_inline __u32 timeout_share(const struct table *t, const struct settings *s)
{
	__u32 used = t->used;

	if (used <= s->adaptive_start)
		return 1024;
	if (used >= s->adaptive_end)
		return 0;
	return (__u64)(s->adaptive_end - used) * 1024 / (s->adaptive_end - s->adaptive_start);
}

/*
 * Whoever holds this slot: removed if his time is up, or if he must go. Returns
 * for how long he has been idle, in jiffies and at least 1; 0 if there is nobody.
 */
GLOBAL int inspect(__u32 index, __u32 generation, __u32 share, __u32 must_go)
{
	struct slot *slot = bpf_map_lookup_elem(&slots, &index);
	struct settings *s = settings_of(generation);
	struct totals *count = this_cpus_totals();
	__u64 timeout_j, least_j = hz, now_j = bpf_jiffies64();
	struct flow_key key = {};
	__u32 incarnation;
	struct flow *f;
	__s64 idle_j;

	if (!slot || !s || !count)
		return 0;
	bpf_spin_lock(&slot->lock);
	incarnation = slot->incarnation;
	key = slot->key;
	bpf_spin_unlock(&slot->lock);
	if (!incarnation)
		return 0;
	f = bpf_map_lookup_elem(&flows, &key);
	if (!f || f->incarnation != incarnation) {
		tally(&count->lost, vacate(index, incarnation));
		return 0;
	}
	idle_j = idle_of(f, now_j);
	timeout_j = lifetime_j(f, key.proto, key.family, s);
	/* what is over counts as nobody's: where places are scarce nobody keeps one by it */
	if (share < 1024 && is_over(f, key.proto))
		least_j = timeout_j = 0;
	/* no timeout is shorter than a second */
	if (idle_j > 0 && idle_j > least_j && idle_j > timeout_j * share >> 10) {
		tally(&count->collected, vacate(index, incarnation));
		bpf_map_delete_elem(&flows, &key);
		return 0;
	}
	if (must_go) {
		tally(&count->evicted, vacate(index, incarnation));
		bpf_map_delete_elem(&flows, &key);
	}
	if (idle_j < 0)
		return 1;
	return idle_j > 0x7ffffffe ? 0x7fffffff : idle_j + 1;
}

/*
 * Moves the hand of the clock over some slots. Each new flow does, so that the
 * flows whose time is up and that still have slots are a quarter of all at most.
 */
GLOBAL int collect(__u32 generation)
{
	struct settings *s = settings_of(generation);
	struct table *t = the_table();
	__u32 from, share, steps;
	int i;

	if (!t || !s)
		return 0;
	share = timeout_share(t, s);
	steps = share == 1024 ? 4 : SLOTS_AT_ONCE;
	bpf_spin_lock(&t->lock);
	from = t->hand;
	t->hand = from + steps < t->fresh ? from + steps : 0;
	bpf_spin_unlock(&t->lock);
	for (i = 0; i < SLOTS_AT_ONCE; i++) {
		if (i >= steps)
			break;
		inspect(from + i, generation, share, false);
	}
	return 0;
}

/*
 * The flow that has been idle for longest, of some that are taken at random, gives way;
 * nobody does if there is a place among them, or the time of one was up.
 */
GLOBAL int evict(__u32 generation)
{
	struct table *t = the_table();
	__u32 i, oldest = 0, longest = 0;

	if (!t || !t->size)
		return 0;
	for (i = 0; i < SLOTS_AT_ONCE; i++) {
		__u32 index = bpf_get_prandom_u32() % t->size;
		__u32 idle = inspect(index, generation, 1024, false);

		if (!idle)
			return 0;
		if (idle > longest) {
			longest = idle;
			oldest = index;
		}
	}
	return inspect(oldest, generation, 1024, true);
}

static __always_inline int vacant_slot(struct table *t)
{
	__u32 index;

	if (!bpf_map_pop_elem(&vacant, &index))
		return index;
	bpf_spin_lock(&t->lock);
	index = t->fresh;
	if (index < t->size)
		t->fresh = index + 1;
	bpf_spin_unlock(&t->lock);
	return index < t->size ? index : SLOT_NONE;
}

/* A slot for one more flow, or SLOT_NONE. */
GLOBAL int seize(__u32 generation)
{
	struct settings *s = settings_of(generation);
	struct table *t = the_table();
	int index;

	if (!t || !s)
		return SLOT_NONE;
	collect(generation);
	index = vacant_slot(t);
	if (index < 0 && s->flows_full == FULL_EVICT) {
		evict(generation);
		index = vacant_slot(t);
	}
	if (index >= 0)
		__sync_fetch_and_add(&t->used, 1);
	return index;
}

#endif
