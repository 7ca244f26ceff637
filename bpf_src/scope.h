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
	long r;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	p->scope = SCOPE_IN;
	p->out_ifindex = 0;
	if (to_many(&p->tuple))
		return REASON_NONE;
	fib.ifindex = p->ifindex;
	fib.l4_protocol = p->tuple.proto;
	fib.sport = p->tuple.sport;
	fib.dport = p->tuple.dport;
	if (p->tuple.family == 4) {
		fib.family = FAMILY_INET;
		fib.ipv4_src = p->tuple.src[3];
		fib.ipv4_dst = p->tuple.dst[3];
	} else {
		fib.family = FAMILY_INET6;
		copy_words(fib.ipv6_src, p->tuple.src);
		copy_words(fib.ipv6_dst, p->tuple.dst);
	}
	r = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	switch (r) {
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
