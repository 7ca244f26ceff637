/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From ingress to egress of one packet, in skb->tc_index: 0, the slot of the
 * interface that the packet was judged to leave by, or, while nobody knows yet
 * whether the host translates the flow's addresses, and for all that comes by a
 * member of a VRF, the index of a record with the tuple as it was. Ingress
 * overwrites tc_index of every packet that it passes, so egress may trust it
 * whenever the packet came by a protected interface. Records are few and reused
 * at once: a packet that finds another's is judged in full.
 */
#ifndef FW_HANDOFF_H
#define FW_HANDOFF_H

#include "scope.h"
#include "flow.h"

#define HANDOFFS (HANDOFF_CPUS * HANDOFFS_PER_CPU)
#define HANDOFF_AGE_S 3 /* a packet may wait for its neighbour's address */

static __always_inline bool same_ends(const struct tuple *a, const struct tuple *b)
{
	return a->zone == b->zone && same_address(a->src, b->src) && same_address(a->dst, b->dst);
}

/* Its interface is a member of a VRF, which will hide that from egress. */
static __always_inline bool by_vrf_member(const struct packet *p)
{
	return p->tuple.family && p->zone;
}

/* A record of the packet for egress, and its index in the place of a slot. */
static __always_inline void hand_on(struct cpu *cpu, struct packet *p)
{
	struct handoff *h;
	__u32 index;

	index = bpf_get_smp_processor_id() % HANDOFF_CPUS * HANDOFFS_PER_CPU +
		cpu->handoff_next++ % HANDOFFS_PER_CPU;
	h = bpf_map_lookup_elem(&handoffs, &index);
	if (!h)
		return;
	h->when_j = p->now_j;
	h->tuple = p->tuple;
	h->key = p->key;
	h->hash = by_vrf_member(p) ? p->env.hash : 0;
	h->rule = p->rule;
	h->counter = p->counter;
	h->icmp = p->icmp;
	h->in_ifindex = p->ifindex;
	h->seq = p->seq;
	h->out_slot = p->out_slot;
	h->role = p->role;
	h->scope = p->scope;
	h->flags = p->flow_flags;
	h->effects = p->effects;
	h->until_s = p->until_s;
	h->further = p->further;
	p->tc_index = TC_INDEX_HANDOFF | index;
}

static __always_inline bool is_its_record(const struct handoff *h, const struct packet *p)
{
	return h->in_ifindex == p->in_ifindex && h->tuple.proto == p->tuple.proto &&
	       h->tuple.family == p->tuple.family && p->now_j - h->when_j <= HANDOFF_AGE_S * hz &&
	       (p->fragment == FRAGMENT_LATER || h->seq == p->seq);
}

static __always_inline bool protected(const struct iface *iface)
{
	return iface && iface->flags & IFACE_PROTECTED;
}

/*
 * Egress: the interface that the packet came by. The kernel lets a VRF stand for
 * its members (drivers/net/vrf.c: skb_iif); the record says which it was. A member
 * that is not protected passes on whatever tc_index it is given, so the record must
 * be this packet's: its hash, with a secret of the kernel's, was computed at ingress
 * and stays with the packet even if its addresses are translated.
 */
static __always_inline const struct iface *find_way_in(struct packet *p)
{
	const struct iface *in = iface_of(p->in_ifindex), *member;
	__u32 index = p->env.tc_index & (HANDOFFS - 1);
	const struct handoff *h;

	if (!in || !(in->flags & IFACE_VRF) || !(p->env.tc_index & TC_INDEX_HANDOFF))
		return in;
	h = bpf_map_lookup_elem(&handoffs, &index);
	if (!h || !h->hash || h->hash != p->env.hash)
		return in;
	member = iface_of(h->in_ifindex);
	if (!member || member->zone != in->zone)
		return in;
	p->in_ifindex = h->in_ifindex;
	return member;
}

/* Egress: ingress judged that the packet leaves here, unchanged; nothing more is to be known of it. */
static __always_inline bool handed_on(const struct packet *p)
{
	__u32 index = p->env.tc_index;

	/* the bytes of a super-packet are counted by its headers */
	return index && index == p->slot && !p->env.gso_size && p->in_ifindex &&
	       protected(iface_of(p->in_ifindex));
}

/* Egress: what ingress said of this packet. HANDED_NO judges it in full. */
static __always_inline enum fw_reason take_over(struct packet *p)
{
	__u32 index = p->env.tc_index;
	struct handoff *h;

	if (!protected(find_way_in(p)) || !index)
		return REASON_NONE;
	if (index == TC_INDEX_ANSWER) {
		/* behind a translation the connection has another entry, to which it is as over */
		struct flow *f = p->tcp_flags & TCP_RST ? find_flow(p) : NULL;

		if (f)
			reset_side(f, p);
		return REASON_ANSWER;
	}
	if (!(index & TC_INDEX_HANDOFF)) {
		if (index == p->slot)
			p->handed = HANDED_SAME;
		return p->handed == HANDED_SAME ? REASON_HANDED_ON : REASON_NONE;
	}
	index = index & (HANDOFFS - 1);
	h = bpf_map_lookup_elem(&handoffs, &index);
	if (!h || !is_its_record(h, p))
		return REASON_NONE;
	if (same_ends(&h->tuple, &p->tuple) &&
	    (p->fragment == FRAGMENT_LATER ||
	     (h->tuple.sport == p->tuple.sport && h->tuple.dport == p->tuple.dport))) {
		if (h->flags & FLOW_TRANSLATED || h->out_slot != p->slot)
			return REASON_NONE;
		p->handed = HANDED_SAME;
		return REASON_HANDED_ON;
	}
	p->handed = HANDED_TRANSLATED;
	p->handoff = index;
	return REASON_NONE;
}

/* The host forgets translations sooner than we do: another inner host may have got the port. */
static __always_inline bool same_parent(const struct packet *p, const struct flow *f)
{
	__u32 index = p->handoff;
	const struct handoff *h = bpf_map_lookup_elem(&handoffs, &index);

	return !h || !(f->flags & FLOW_PARENT) ||
	       (same_ends(&h->tuple, &f->parent) && h->tuple.sport == f->parent.sport &&
		h->tuple.dport == f->parent.dport);
}

#endif
