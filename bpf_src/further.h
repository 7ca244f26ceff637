/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The further clauses of a rule: what no box of addresses, ports and interfaces
 * holds. Most speak of the opener's packet, of which a flow keeps nothing. So when a
 * flow is judged anew they hold for the rule that admitted it, and for no other.
 */
#ifndef FW_FURTHER_H
#define FW_FURTHER_H

#include "hours.h"

/* The question is of what this rule has admitted. */
static __always_inline void ask_anew(struct packet *p, __u32 rule)
{
	p->anew = 1;
	p->admitted = rule;
}

static __always_inline struct further *further_of(__u32 generation, __u32 index)
{
	__u32 slot = generation % GENERATION_SLOTS;
	void *clauses = bpf_map_lookup_elem(&furthers, &slot);

	return clauses ? bpf_map_lookup_elem(clauses, &index) : NULL;
}

/* The rule that has matched lets the packet's flow be. */
GLOBAL int take_effects(void)
{
	struct cpu *cpu = this_cpu();
	struct further *further;
	struct packet *p;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	further = p->further ? further_of(p->generation, p->further) : NULL;
	if (further)
		p->effects = further->effects;
	else
		__builtin_memset(&p->effects, 0, sizeof(p->effects));
	return 0;
}

/* Only at ingress is the frame's sender who sent the packet: at egress that is us. */
static __always_inline bool from_mac(const struct further *further, const struct packet *p)
{
	__u64 mac = p->hook == HOOK_INGRESS ? p->mac : 0, found = 0;
	int i;

	for (i = 0; i < MACS_MAX; i++)
		found |= further->macs[i] == mac;
	return found;
}

/* A unit has what runs in any cgroup below its own. */
static __always_inline bool of_cgroup(const struct further *further, const struct packet *p)
{
	__u64 found = 0;
	int i;

	for (i = 0; i < CGROUP_LEVELS; i++)
		found |= p->env.cgroups[i] == further->cgroup;
	return found;
}

static __always_inline bool has_host_part(const struct host_part *part, const __u64 *address)
{
	return !(((address[0] & part->mask[0]) ^ part->value[0]) |
		 ((address[1] & part->mask[1]) ^ part->value[1]));
}

/* Do the further clauses of an entry of this rule hold? */
GLOBAL int further_holds(__u32 index, __u32 rule)
{
	struct cpu *cpu = this_cpu();
	struct further *further;
	struct packet *p;
	__u32 asks;

	if (!cpu)
		return false;
	p = &cpu->packet;
	further = further_of(p->generation, index);
	if (!further)
		return false;
	asks = further->asks;
	if (asks & FURTHER_TIME) {
		p->until_s = sooner(p->until_s, cpu->hours.until_s);
		if (further->windows & ~cpu->hours.open)
			return false;
	}
	if (asks & FURTHER_SRC_HOST && !has_host_part(&further->hosts[0], p->question.src))
		return false;
	if (asks & FURTHER_DST_HOST && !has_host_part(&further->hosts[1], p->question.dst))
		return false;
	if (asks & FURTHER_NEVER)
		return false;
	if (p->anew && asks & FURTHER_OF_PACKET)
		return p->admitted == rule;
	if (asks & FURTHER_MARK && (p->env.mark & further->mark_mask) != further->mark)
		return false;
	if (asks & FURTHER_DSCP && !(further->dscp >> (p->dscp & 63) & 1))
		return false;
	if (asks & FURTHER_MAC && !from_mac(further, p))
		return false;
	if (asks & FURTHER_USER && (!p->env.has_user || p->env.uid != further->uid))
		return false;
	if (asks & FURTHER_UNIT && !of_cgroup(further, p))
		return false;
	return true;
}

#endif
