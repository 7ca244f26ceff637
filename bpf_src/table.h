/* SPDX-License-Identifier: GPL-2.0-only */
/* How flows enter the tables, move from one to the other, and leave. */
#ifndef FW_TABLE_H
#define FW_TABLE_H

#include "counted.h"
#include "overload.h"

/*
 * A flow enters the table of confirmed ones. `f` is a copy that nobody else
 * writes. REASON_FLOW: it is there already, or is to come again. One that is over, since over_j, counts for nobody.
 */
static __always_inline enum fw_reason enter(const struct flow_key *key, struct flow *f,
					    __u32 generation, __u32 per_source, __u32 over_j)
{
	struct totals *count = this_cpus_totals();
	struct counts as = {};
	enum fw_reason reason;
	struct slot *slot;
	int index;

	if (!over_j) {
		reason = count_flow(&as, key, f, per_source,
				    per_source == ~0U || f->flags & FLOW_LIBERAL);
		if (reason)
			return reason;
	}
	index = seize(generation);
	f->slot = index;
	slot = bpf_map_lookup_elem(&slots, &f->slot);
	reason = REASON_TABLE_FULL;
	if (index < 0 || !slot || !count)
		goto refused;
	reason = REASON_FLOW;
	if (bpf_map_update_elem(&flows, key, f, BPF_NOEXIST)) {
		put_back(index);
		goto refused;
	}
	bpf_spin_lock(&slot->lock);
	slot->incarnation = f->incarnation;
	slot->counted = as.counted;
	slot->limited = as.limited;
	slot->relieved_j = over_j;
	slot->source = as.source.key;
	slot->ceiling = as.ceiling.key;
	slot->key = *key;
	bpf_spin_unlock(&slot->lock);
	tally(&count->confirmed, 1);
	return REASON_NONE;
refused:
	uncount_flow(&as);
	return reason;
}

/* A flow is not confirmed yet. REASON_FLOW: it is there already. */
static __always_inline enum fw_reason add_embryonic(const struct flow_key *key,
						    const struct flow *f)
{
	struct totals *count = this_cpus_totals();
	/* before Linux 6.4 it is an int: what is above it in the register is no sign */
	int err = bpf_map_update_elem(&embryonic, key, f, BPF_NOEXIST);

	if (err || !count)
		return err == -EEXIST ? REASON_FLOW : REASON_TABLE_FULL;
	tally(&count->embryonic_made, 1);
	return REASON_NONE;
}

static __always_inline void leave_embryonic(const struct flow_key *key)
{
	struct totals *count = this_cpus_totals();

	if (!bpf_map_delete_elem(&embryonic, key) && count)
		tally(&count->embryonic_gone, 1);
}

/* Takes a flow away; 1 if there was one. */
static __always_inline int remove_flow(const struct flow_key *key)
{
	struct flow *f = bpf_map_lookup_elem(&flows, key);

	if (f) {
		__u32 index = f->slot, incarnation = f->incarnation;

		/* the node may become another flow's: these were ours if it is ours still */
		barrier();
		if (f->tag == key_tag(key))
			vacate(index, incarnation);
		return !bpf_map_delete_elem(&flows, key);
	}
	if (!bpf_map_lookup_elem(&embryonic, key))
		return 0;
	leave_embryonic(key);
	return 1;
}

/* The packet's flow has ended. */
GLOBAL int end_flow(void)
{
	struct cpu *cpu = this_cpu();

	return cpu ? remove_flow(&cpu->packet.key) : 0;
}

/*
 * cpu->fresh has been confirmed or refused for this reason: what a rule with `overload` says to it. One that comes too
 * often goes again; so no token is taken by what there is no place for.
 */
GLOBAL int weigh(__u32 reason)
{
	if (reason == REASON_OVER_LIMIT)
		overload(false);
	if (reason || !too_often())
		return reason;
	end_flow();
	overload(true);
	return REASON_OVER_LIMIT;
}

/*
 * Who opened it may be somebody else than its source says: nothing in it repeats what an
 * answer told, so who knows that it is answered forges its next packet too.
 */
static __always_inline bool may_be_forged(const struct flow *f, __u32 proto)
{
	return f->scope != SCOPE_OUT && proto != IPPROTO_TCP && proto != IPPROTO_SCTP;
}

/*
 * Move a flow that has shown itself two-way to the confirmed table. Both
 * entries exist for a moment; the confirmed one is looked up first. A packet
 * of the other side that writes the old entry meanwhile loses that write,
 * which its next packet makes good. One that finds no place ends here; one
 * that may be forged has no claim to the last quarter of the places nor to half
 * of its source's, and stays where it is.
 */
GLOBAL int promote(void)
{
	struct cpu *cpu = this_cpu();
	enum fw_reason reason;
	struct settings *s;
	struct packet *p;
	struct table *t;
	struct flow *f;
	bool doubtful;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	t = the_table();
	if (!s || !t)
		return REASON_NO_POLICY;
	f = bpf_map_lookup_elem(&embryonic, &p->key);
	if (!f)
		return REASON_NONE;
	cpu->fresh = *f;
	if (cpu->fresh.tag != key_tag(&p->key))
		return REASON_NONE;
	doubtful = may_be_forged(&cpu->fresh, p->key.proto);
	if (doubtful && t->used >= t->size - t->size / 4) {
		collect(p->generation);
		return REASON_NONE;
	}
	if (doubtful && s->per_source == 1)
		return REASON_NONE;
	reason = enter(&p->key, &cpu->fresh, p->generation, s->per_source >> doubtful, 0);
	if (cpu->fresh.further)
		reason = weigh(reason);
	if (reason == REASON_FLOW || (doubtful && reason && reason != REASON_OVER_LIMIT))
		return REASON_NONE;
	leave_embryonic(&p->key);
	p->confirmed = !reason;
	return reason;
}

/* Not what this host opens, nor twice what it translates, nor what it masquerades for an interface without us. */
static __always_inline bool is_counted(const struct packet *p)
{
	return p->hook == HOOK_INGRESS && p->role == ROLE_OPENER;
}

/* May one more flow be opened? Only who has confirmed ones is counted: senders may be forged before. */
GLOBAL int has_room(void)
{
	struct cpu *cpu = this_cpu();
	struct source_key key = {};
	struct source *source;
	struct settings *s;
	struct packet *p;
	struct table *t;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	t = the_table();
	if (!s || !t)
		return REASON_NO_POLICY;
	/* no source has more than all have together */
	if (t->used >= s->per_source && is_counted(p)) {
		source_of(&key, &p->key, (p->role == ROLE_OPENER) == !!p->from_hi);
		source = bpf_map_lookup_elem(&sources, &key);
		if (source && source->flows >= s->per_source)
			return REASON_SOURCE_LIMIT;
	}
	if (t->used < t->size || s->flows_full == FULL_EVICT || p->reopen)
		return REASON_NONE;
	collect(p->generation);
	return t->used < t->size ? REASON_NONE : REASON_TABLE_FULL;
}

#endif
