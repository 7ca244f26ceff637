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
#include "announce.h"
#include "handoff.h"
#include "parse_link.h"
#include "parse_ip.h"
#include "parse_transport.h"

/* Before headers are read once more. */
static __always_inline void clear_headers(struct packet *p)
{
	__builtin_memset(p, 0, offsetof(struct packet, handed));
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
	__be16 ports[2] __attribute__((aligned(4))) = {t->sport, t->dport};

	if (is_icmp(t)) {
		/* an id belongs to neither end; each end's questions are its own */
		if (p->sender_asks == hi)
			ports[1] |= bpf_htons(KEY_ASKED_BY_HI);
	} else if (t->proto == IPPROTO_GRE) {
		/* its key is both ends' */
		*(word_t *)ports = bpf_htonl(p->seq);
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
static __always_inline void count_segments(struct packet *p)
{
	__u32 size = p->env.gso_size;

	if (!size)
		return;
	/* a guest's or driver's frame may leave the count to us */
	if (!p->env.gso_segs && p->l4_len > p->l4_header)
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
	count_segments(p);
	make_key(p);
	return REASON_NONE;
}

/* The ruleset in force, and what the hook says. False: neither can be had. */
static __always_inline bool begin(struct __sk_buff *skb, struct packet *p, enum fw_hook hook)
{
	__u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&control, &zero);

	__builtin_memset(p, 0, offsetof(struct packet, key));
	p->hook = hook;
	p->counter = NO_COUNTER;
	if (!c || !read_env(skb, &p->env, hook))
		return false;
	p->now_j = bpf_jiffies64();
	p->bytes = skb->len;
	p->segments = p->env.gso_segs;
	if (!p->segments)
		p->segments = 1;
	p->ifindex = p->env.ifindex;
	p->in_ifindex = hook == HOOK_INGRESS ? p->ifindex : p->env.ingress_ifindex;
	p->out_ifindex = hook == HOOK_INGRESS ? 0 : p->ifindex;
	p->scope = hook == HOOK_INGRESS ? SCOPE_IN : SCOPE_OUT;
	p->generation = c->generation;
	if (c->deadline_ns && bpf_ktime_get_boot_ns() > c->deadline_ns)
		p->generation = c->previous;
	p->admission = p->generation * ADMISSION_STRIDE + c->sets_changed;
	p->admission += overloads_heard(c->overload, p->now_j);
	p->admission += writes_heard(c->sets_open, p->now_j);
	p->admission += !p->admission; /* 0 is nobody's */
	p->mode = c->mode;
	p->flow_flags = 0;
	return true;
}

static __always_inline bool know_interface(struct packet *p)
{
	struct iface *iface = iface_of(p->ifindex);

	if (!iface)
		return false;
	p->slot = iface->slot;
	p->zone = iface->zone;
	p->iface_flags = iface->flags;
	return true;
}

/* The frame once more with all headers in its linear part, if that is where they were missing. */
GLOBAL int parse_pulled(struct __sk_buff *skb)
{
	__u32 linear = CONTEXT_WORD(skb, data_end) - CONTEXT_WORD(skb, data);
	struct cpu *cpu = this_cpu();

	if (!cpu || linear >= skb->len || linear >= PULL_MAX)
		return REASON_TRUNCATED;
	if (bpf_skb_pull_data(skb, skb->len < PULL_MAX ? skb->len : PULL_MAX))
		return REASON_TRUNCATED;
	clear_headers(&cpu->packet);
	return parse_frame(skb, &cpu->packet);
}

/*
 * parse: the ruleset in force, the hook's facts, then the headers. A frame
 * whose linear part ends early is pulled once; pulling first would copy every
 * cloned packet at egress.
 */
static __always_inline enum fw_reason parse(struct __sk_buff *skb, struct packet *p,
					    enum fw_hook hook)
{
	enum fw_reason reason;

	if (!begin(skb, p, hook))
		return REASON_NO_POLICY;
	if (p->env.mark && p->env.mark == answer_mark)
		return REASON_ANSWER;
	if (!know_interface(p))
		return REASON_NO_POLICY;
	if (hook == HOOK_EGRESS && handed_on(p))
		return REASON_HANDED_ON;
	reason = parse_frame(skb, p);
	return reason == REASON_TRUNCATED ? parse_pulled(skb) : reason;
}

#endif
