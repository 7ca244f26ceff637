/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bytes to struct packet. Only this file and the parse_*.h that it includes
 * touch packet memory: whatever comes after works on what is written here.
 * Every header is checked against the frame, and every length that it states
 * against the one around it.
 */
#ifndef FW_PARSE_H
#define FW_PARSE_H

#include "cursor.h"
#include "parse_link.h"
#include "parse_ip.h"
#include "parse_transport.h"

/* What a header may leave unset; a frame cut short must not show the last packet's. */
static __always_inline void clear_headers(struct packet *p)
{
	__builtin_memset(&p->tuple, 0, sizeof(p->tuple));
	p->fragment = FRAGMENT_NONE;
	p->icmp_kind = ICMP_NONE;
	p->icmp = 0;
	p->tcp_flags = 0;
	p->seq = 0;
	p->l4_header = 0;
}

/* In a scratch copy ingress leaves here what egress would read from the skb. */
static __always_inline void write_env(const struct packet *p)
{
	struct env *given = given_env();

	if (given)
		given->tc_index = p->tc_index;
}

/* RFC 3927, 4291, 5771: addresses that mean something on one link only. */
static __always_inline bool link_scoped(const struct tuple *t)
{
	if (t->family == 4) {
		__u32 src = bpf_ntohl(t->src[3]), dst = bpf_ntohl(t->dst[3]);

		return src >> 16 == 0xa9fe || dst >> 16 == 0xa9fe || !src || dst == 0xffffffff ||
		       dst >> 8 == 0xe00000;
	}
	return (t->src[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
	       (t->dst[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
	       (t->dst[0] & bpf_htonl(0xffff0000)) == bpf_htonl(0xff020000);
}

/* Does the sender come second, in network order of (address, port)? */
static __always_inline bool sender_is_hi(const struct tuple *t)
{
	int i;

	if (t->family == 4) {
		if (t->src[3] != t->dst[3])
			return bpf_ntohl(t->src[3]) > bpf_ntohl(t->dst[3]);
	} else {
		for (i = 0; i < 4; i++)
			if (t->src[i] != t->dst[i])
				return bpf_ntohl(t->src[i]) > bpf_ntohl(t->dst[i]);
	}
	return !is_icmp(t) && bpf_ntohs(t->sport) > bpf_ntohs(t->dport);
}

/* Order (address, port) as one unit, so that both directions make one key. */
static __always_inline void make_key(struct packet *p)
{
	typedef __u32 __attribute__((may_alias)) word_t;
	struct tuple *t = &p->tuple;
	struct flow_key *k = &p->key;
	bool hi = sender_is_hi(t);
	__be16 ports[2] = {t->sport, t->dport};

	if (is_icmp(t)) {
		/* an id belongs to neither end; each end's questions are its own */
		if (p->sender_asks == hi)
			ports[1] |= bpf_htons(KEY_ASKED_BY_HI);
	} else if (hi) {
		ports[0] = t->dport;
		ports[1] = t->sport;
	}
	t->zone = link_scoped(t) ? 0x8000 | p->slot : p->zone;
	p->from_hi = hi;
	copy_words(k->lo, hi ? t->dst : t->src);
	copy_words(k->hi, hi ? t->src : t->dst);
	/* whole words, because the table's hash reads words */
	*(word_t *)&k->lo_port = *(word_t *)ports;
	*(word_t *)&k->zone = *(word_t *)&(struct flow_key){.zone = t->zone,
							    .proto = t->proto,
							    .family = t->family}
				       .zone;
}

/* A super-packet counts as what it is on the wire: segments, each with headers of its own. */
static __always_inline void count_segments(struct __sk_buff *skb, struct packet *p)
{
	__u32 size = ENV(skb, gso_size);

	if (!size)
		return;
	/* a guest's or driver's frame may leave the count to us */
	if (!ENV(skb, gso_segs) && p->l4_len > p->l4_header)
		p->segments = (p->l4_len - p->l4_header + size - 1) / size;
	p->bytes += (p->segments - 1) * (p->l4_off + p->l4_header);
}

/* All headers of the frame, as far as its linear part reaches. */
static __always_inline enum fw_reason parse_frame(struct __sk_buff *skb, struct packet *p)
{
	enum fw_reason reason;

	reason = parse_link(skb, p);
	if (reason)
		return reason;
	if (p->eth_proto == ETH_P_IP)
		reason = parse_ipv4(skb, p);
	else if (p->eth_proto == ETH_P_IPV6)
		reason = parse_ipv6(skb);
	else
		return not_ip(p);
	if (!reason)
		reason = parse_transport(skb, p);
	if (reason)
		return reason;
	count_segments(skb, p);
	make_key(p);
	return REASON_NONE;
}

/* The ruleset in force, and what the hook says. False: neither can be had. */
static __always_inline bool begin(struct __sk_buff *skb, struct packet *p, enum fw_hook hook)
{
	__u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&control, &zero);

	p->hook = hook;
	p->now_j = bpf_jiffies64();
	p->bytes = skb->len;
	p->segments = ENV(skb, gso_segs);
	if (!p->segments)
		p->segments = 1;
	p->ifindex = ENV(skb, ifindex);
	p->in_ifindex = hook == HOOK_INGRESS ? p->ifindex : ENV(skb, ingress_ifindex);
	p->out_ifindex = hook == HOOK_INGRESS ? 0 : p->ifindex;
	p->scope = hook == HOOK_INGRESS ? SCOPE_IN : SCOPE_OUT;
	p->counter = NO_COUNTER;
	p->rule = 0;
	p->log = 0;
	p->tc_index = 0;
	p->out_slot = 0;
	p->hand_tuple = 0;
	p->handed = HANDED_NO;
	p->pickup = 0;
	p->eth_proto = 0;
	clear_headers(p);
	if (!c)
		return false;
	p->generation = c->generation;
	if (c->deadline_ns && bpf_ktime_get_boot_ns() > c->deadline_ns)
		p->generation = c->previous;
	p->mode = c->mode;
	return true;
}

static __always_inline bool know_interface(struct packet *p)
{
	__u32 index = p->ifindex % HOOKS_MAX;
	struct iface *iface = bpf_map_lookup_elem(&hooks, &index);

	if (!iface || iface->ifindex != p->ifindex)
		iface = bpf_map_lookup_elem(&interfaces, &p->ifindex);
	if (!iface)
		return false;
	p->slot = iface->slot;
	p->class_id = iface->class_id;
	p->zone = iface->zone;
	p->iface_flags = iface->flags;
	return true;
}

/*
 * parse: the ruleset in force, the hook's facts, then the headers. A frame
 * whose linear part ends early is pulled once; pulling first would copy every
 * cloned packet at egress.
 */
static __always_inline enum fw_reason parse(struct __sk_buff *skb, struct packet *p,
					    enum fw_hook hook)
{
	enum fw_reason reason = REASON_TRUNCATED;
	int attempt;

	if (!begin(skb, p, hook))
		return REASON_NO_POLICY;
	if (answer_mark && ENV(skb, mark) == answer_mark)
		return REASON_ANSWER;
	if (!know_interface(p))
		return REASON_NO_POLICY;
	for (attempt = 0; attempt < 2; attempt++) {
		__u32 linear = CONTEXT_WORD(skb, data_end) - CONTEXT_WORD(skb, data);

		reason = parse_frame(skb, p);
		if (reason != REASON_TRUNCATED || linear >= skb->len || linear >= PULL_MAX)
			break;
		if (bpf_skb_pull_data(skb, skb->len < PULL_MAX ? skb->len : PULL_MAX))
			break;
		clear_headers(p);
	}
	return reason;
}

#endif
