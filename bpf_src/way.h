/* SPDX-License-Identifier: GPL-2.0-only */
/* The way of a flow's packets through this host: by which interface each side's come and leave. */
#ifndef FW_WAY_H
#define FW_WAY_H

#include "flow.h"
#include "scope.h"

/* Interfaces that a packet of this role is expected to take; 0 is this host. */
static __always_inline void expected_way(const struct side *own, const struct side *other,
					 __u32 *in, __u32 *out)
{
	*in = own->in_ifindex;
	*out = own->out_ifindex;
	if (!seen(own)) {
		*in = other->out_ifindex;
		*out = other->in_ifindex;
	}
}

/* At egress. If the member that a packet came by is not protected, only the VRF is known. */
static __always_inline bool came_in_by(const struct packet *p, __u32 in)
{
	const struct iface *vrf, *member;

	if (in == p->in_ifindex)
		return true;
	vrf = iface_of(p->in_ifindex);
	if (!vrf || !(vrf->flags & IFACE_VRF))
		return false;
	member = iface_of(in);
	return member && member->zone == vrf->zone && !protected(member);
}

/*
 * Ingress knows the way in, egress both ends. The answer of a host behind a
 * published port leaves by forwarding though its flow was judged `in`, and a
 * translated packet has been accepted at ingress under its other addresses.
 */
static __always_inline bool on_its_way(const struct packet *p, const struct flow *f, __u32 in,
				       __u32 out, enum fw_hook hook)
{
	if (hook == HOOK_INGRESS)
		return in == p->in_ifindex;
	return out == p->out_ifindex &&
	       (f->scope == SCOPE_IN || p->handed == HANDED_TRANSLATED || came_in_by(p, in));
}

static __always_inline void learn_way(struct side *side, __u32 in, __u32 out)
{
	struct iface *iface = out ? iface_of(out) : NULL;

	side->in_ifindex = in;
	side->out_ifindex = out;
	side->out_slot = iface ? iface->slot : 0;
}

/* The first packet of a side: the way that its packets take is known from here on. */
GLOBAL int learn_first_way(__u32 in, __u32 out)
{
	struct cpu *cpu = this_cpu();
	struct packet *p;
	struct flow *f;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	f = find_flow(p);
	if (f)
		learn_way(&f->side[p->role & 1], in, out);
	return 0;
}

#endif
