/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a packet is going: to this host, from it, or through it. */
#ifndef FW_SCOPE_H
#define FW_SCOPE_H

#include "cursor.h"

#define FAMILY_INET 2
#define FAMILY_INET6 10
#define IFINDEX_UNKNOWN 0xffffffff

/* RFC 1112, RFC 919, RFC 4291: never looked up, the stack delivers them or not. */
static __always_inline bool to_many(const struct tuple *t)
{
	if (t->family == 4)
		return (t->dst[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
		       t->dst[3] == 0xffffffff;
	return (t->dst[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

/* bpf_fib_lookup of where the packet goes, or where an answer to it would go. */
static __always_inline long ask_routes(struct __sk_buff *skb, const struct packet *p,
				       struct bpf_fib_lookup *fib, bool back)
{
	const struct tuple *t = &p->tuple;
	bool nobody = back && to_many(t); /* nobody answers from a multicast address */

	fib->ifindex = p->ifindex;
	fib->l4_protocol = t->proto;
	fib->sport = back ? t->dport : t->sport;
	fib->dport = back ? t->sport : t->dport;
	if (t->family == 4) {
		fib->family = FAMILY_INET;
		fib->ipv4_src = nobody ? 0 : back ? t->dst[3] : t->src[3];
		fib->ipv4_dst = back ? t->src[3] : t->dst[3];
	} else {
		fib->family = FAMILY_INET6;
		if (!nobody)
			copy_words(fib->ipv6_src, back ? t->dst : t->src);
		copy_words(fib->ipv6_dst, back ? t->src : t->dst);
	}
	return bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
}

/*
 * Ask the routing table, as the stack will right after us. NO_NEIGH and
 * FRAG_NEEDED name an output interface like SUCCESS does; NOT_FWDED is local,
 * broadcast, multicast or no route at all, and the stack drops the last.
 */
GLOBAL int route(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib HALVES_ALIGNED = {};
	struct cpu *cpu = this_cpu();
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	p->scope = SCOPE_IN;
	p->out_ifindex = 0;
	if (to_many(&p->tuple))
		return REASON_NONE;
	switch (ask_routes(skb, p, &fib, false)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		p->scope = SCOPE_FORWARD;
		p->out_ifindex = fib.ifindex;
		return REASON_NONE;
	case BPF_FIB_LKUP_RET_UNSUPP_LWT:
		p->scope = SCOPE_FORWARD;
		p->out_ifindex = IFINDEX_UNKNOWN;
		return REASON_NONE;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return REASON_NONE;
	}
	return REASON_NO_ROUTE;
}

/* The scope of an opener, and the other end of its way. */
static __always_inline enum fw_reason find_scope(struct __sk_buff *skb, struct packet *p)
{
	if (p->hook == HOOK_INGRESS)
		return route(skb);
	p->scope = p->in_ifindex ? SCOPE_FORWARD : SCOPE_OUT;
	return REASON_NONE;
}

#endif
