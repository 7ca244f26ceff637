/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Both ends of a connection that the rules end hear of it at its first packet: a copy of
 * the reset that the packet has become goes back to its sender, and the packet itself goes
 * on, as the reset that its sender could have sent.
 */
#ifndef FW_ENDS_H
#define FW_ENDS_H

#include "reject.h"
#include "flow.h"

/*
 * Addresses and ports change places, which no sum notices; of the rest of the old header
 * and of the new one the sum of each is known. What a device is to complete stays what it is.
 */
static __always_inline long turn_header(struct __sk_buff *skb, __u32 l4_off, __u32 seq,
					bool to_come)
{
	struct tcphdr old, now = {};
	__u64 sum;

	if (bpf_skb_load_bytes(skb, l4_off, &old, sizeof(old)))
		return -1;
	now.source = old.dest;
	now.dest = old.source;
	now.seq = bpf_htonl(seq);
	now.doff = TCP_LEN / 4;
	now.rst = 1;
	if (to_come) {
		now.check = old.check;
	} else {
		sum = (__u16)~old.check;
		old.check = 0;
		/* without the old header it is that of the pseudo header */
		sum += fold(bpf_csum_diff(NULL, 0, (__be32 *)&old, TCP_LEN, 0));
		now.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&now, TCP_LEN, sum));
	}
	return bpf_skb_store_bytes(skb, l4_off, &now, TCP_LEN, 0);
}

static __always_inline long turn_addresses(struct __sk_buff *skb, __u32 l3_off, bool v6)
{
	__u32 at = l3_off + (v6 ? 8 : 12);
	__u8 was[32], now[32];
	long err;

	err = v6 ? bpf_skb_load_bytes(skb, at, was, 32) : bpf_skb_load_bytes(skb, at, was, 8);
	if (err)
		return err;
	if (v6) {
		__builtin_memcpy(now, was + 16, 16);
		__builtin_memcpy(now + 16, was, 16);
		return bpf_skb_store_bytes(skb, at, now, 32, 0);
	}
	__builtin_memcpy(now, was + 4, 4);
	__builtin_memcpy(now + 4, was, 4);
	return bpf_skb_store_bytes(skb, at, now, 8, 0);
}

/*
 * 0: the packet may go on. For both ends the connection is over, so their next SYN is a new one's. A copy that leaves meets our own egress, which forgets the packet: what is needed is kept.
 */
GLOBAL int end_both(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	__u32 l3_off, far_seq, mark;
	struct packet *p;
	bool v6, raw_ip, to_come;
	struct flow *f;

	if (!cpu)
		return -1;
	p = &cpu->packet;
	f = find_flow(p);
	if (f)
		reset_side(f, p);
	l3_off = p->l3_off;
	far_seq = p->far_seq;
	to_come = p->sum_to_come;
	/* as its connection's packets, and so by their way */
	mark = (p->env.mark & ~p->effects.mark_mask) | p->effects.mark;
	v6 = p->tuple.family == 6;
	raw_ip = p->iface_flags & IFACE_RAW_IP;
	bpf_clone_redirect(skb, p->ifindex, way_back(p->hook));
	if (turn_header(skb, l3_off + (v6 ? IP6_LEN : IP4_LEN), far_seq, to_come) ||
	    turn_addresses(skb, l3_off, v6))
		return -1;
	if (!raw_ip && swap_link_addresses(skb))
		return -1;
	skb->mark = mark;
	return 0;
}

#endif
