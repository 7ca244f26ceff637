/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `reject` turns the packet around: it becomes a TCP reset or an ICMP error, sent
 * from where it was going to where it came from, by the interface that it is at (see
 * settle.h). Our mark lets it through our own hooks.
 */
#ifndef FW_REJECT_H
#define FW_REJECT_H

#include "limit.h"
#include "cursor.h"

#define IP4_LEN 20
#define IP6_LEN 40
#define L4_AT 40 /* in cpu->frame; the IP header ends there */
#define TCP_LEN 20
#define ICMP_LEN 8
#define QUOTE_MAX 128 /* at least the header and 8 bytes (RFC 792, 4443) */
#define ANSWER_TTL 64
#define ICMP_UNREACHABLE 3 /* RFC 792, and so is ICMPv6's of RFC 4443 */
#define ICMP6_UNREACHABLE 1

enum icmp_codes {
	ICMP_HOST = 1,   /* RFC 792 */
	ICMP_PORT = 3,   /* RFC 792, RFC 1122 section 3.2.2.1 */
	ICMP_ADMIN = 13, /* RFC 1812 section 5.2.7.1 */
};

enum icmp6_codes {
	ICMP6_ADMIN = 1, /* RFC 4443 section 3.1 */
	ICMP6_HOST = 3,
	ICMP6_PORT = 4,
};

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* RFC 1122 section 3.2.2 and RFC 4443 section 2.4 (e): what is never answered. */
static __always_inline bool answerable(struct __sk_buff *skb, const struct packet *p)
{
	const struct tuple *t = &p->tuple;

	if (p->tuple.family == 6 && p->icmp_kind && p->icmp >> 8 == ND_REDIRECT)
		return false;
	if (!t->family || p->fragment == FRAGMENT_LATER || p->icmp_kind == ICMP_ERROR ||
	    p->tcp_flags & TCP_RST)
		return false;
	/* not to this host's own link address */
	if (p->hook == HOOK_INGRESS &&
	    (env_from_map ? p->env.pkt_type : CONTEXT_WORD(skb, pkt_type)))
		return false;
	if (t->family == 4) {
		__u32 src = bpf_ntohl(t->src[3]), dst = bpf_ntohl(t->dst[3]);

		return src && src >> 24 != 127 && src < 0xe0000000 && dst < 0xe0000000;
	}
	return (t->dst[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000) &&
	       (t->src[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000) &&
	       (t->src[0] || t->src[1] || t->src[2] || bpf_ntohl(t->src[3]) > 1);
}

/* RFC 9293 section 3.10.7.1: what a closed port answers. */
static __always_inline void make_reset(struct cpu *cpu)
{
	struct tcphdr *tcp = (void *)cpu->frame + L4_AT;
	const struct packet *p = &cpu->packet;

	tcp->source = p->tuple.dport;
	tcp->dest = p->tuple.sport;
	tcp->doff = TCP_LEN / 4;
	tcp->rst = 1;
	if (p->tcp_flags & TCP_ACK) {
		tcp->seq = bpf_htonl(p->ack);
	} else {
		tcp->ack = 1;
		tcp->ack_seq = bpf_htonl(p->seq_end);
	}
}

static __always_inline __u32 unreachable_code(enum fw_action action, bool v6)
{
	switch (action) {
	case ACTION_REJECT_PORT:
		return v6 ? ICMP6_PORT : ICMP_PORT;
	case ACTION_REJECT_HOST:
		return v6 ? ICMP6_HOST : ICMP_HOST;
	default:
		return v6 ? ICMP6_ADMIN : ICMP_ADMIN;
	}
}

/* A connection that runs ends by a reset alone: to its ends an ICMP error is no more than a hint. */
static __always_inline bool deserves_reset(const struct packet *p)
{
	return p->tuple.proto == IPPROTO_TCP &&
	       (p->action == ACTION_REJECT || (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN);
}

/* The quote follows the header; its length, or 0 when it cannot be read. */
static __always_inline __u32 make_error(struct __sk_buff *skb, struct cpu *cpu)
{
	struct icmp_header *icmp = (void *)cpu->frame + L4_AT;
	const struct packet *p = &cpu->packet;
	__u32 len = p->l4_off + p->l4_len - p->l3_off;

	if (len > QUOTE_MAX)
		len = QUOTE_MAX;
	/* one register for the check and the call, both of whose bounds 5.10 must see */
	barrier_var(len);
	if (len < IP4_LEN || len > QUOTE_MAX)
		return 0;
	if (bpf_skb_load_bytes(skb, p->l3_off, cpu->frame + L4_AT + ICMP_LEN, len))
		return 0;
	icmp->type = p->tuple.family == 4 ? ICMP_UNREACHABLE : ICMP6_UNREACHABLE;
	icmp->code = unreachable_code(p->action, p->tuple.family == 6);
	return len;
}

static __always_inline void make_ip4(struct cpu *cpu, __u32 proto, __u32 len)
{
	struct iphdr *ip = (void *)cpu->frame + L4_AT - IP4_LEN;

	ip->version = 4;
	ip->ihl = IP4_LEN / 4;
	ip->tot_len = bpf_htons(IP4_LEN + len);
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = ANSWER_TTL;
	ip->protocol = proto;
	ip->saddr = cpu->packet.tuple.dst[3];
	ip->daddr = cpu->packet.tuple.src[3];
	ip->check = fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, IP4_LEN, 0));
}

static __always_inline void make_ip6(struct cpu *cpu, __u32 proto, __u32 len)
{
	struct ipv6hdr *ip = (void *)cpu->frame + L4_AT - IP6_LEN;

	ip->version = 6;
	ip->payload_len = bpf_htons(len);
	ip->nexthdr = proto;
	ip->hop_limit = ANSWER_TTL;
	copy_words(ip->saddr.in6_u.u6_addr32, cpu->packet.tuple.dst);
	copy_words(ip->daddr.in6_u.u6_addr32, cpu->packet.tuple.src);
}

/* Sum of the pseudo header, of either family: unused words are zero. */
static __always_inline __u64 pseudo_sum(const struct tuple *t, __u32 proto, __u32 len)
{
	__u64 sum = bpf_htonl(proto) + (__u64)bpf_htonl(len);
	int i;

	for (i = 0; i < 4; i++)
		sum += (__u64)t->src[i] + t->dst[i];
	return sum;
}

static __always_inline long swap_link_addresses(struct __sk_buff *skb)
{
	__u8 old[12], swapped[12];
	long err = bpf_skb_load_bytes(skb, 0, old, sizeof(old));

	if (err)
		return err;
	__builtin_memcpy(swapped, old + 6, 6);
	__builtin_memcpy(swapped + 6, old, 6);
	return bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0);
}

/*
 * A sum that a device is still to complete is one of the pseudo header alone. Nothing tells
 * that, but such a packet cannot be cut down to less than the place of its sum
 * (__bpf_skb_min_len() of net/core/filter.c).
 */
static __always_inline bool sum_is_to_come(struct __sk_buff *skb, __u32 l4_off)
{
	return bpf_skb_change_tail(skb, l4_off + offsetof(struct tcphdr, check), 0) < 0;
}

/* The packet becomes the answer to itself, with our mark; -1 when there is none. */
GLOBAL int answer(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	__u32 len, proto;
	struct settings *s;
	struct packet *p;
	__u64 sum;

	if (!cpu)
		return -1;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s || !answerable(skb, p) || !take_token(&cpu->answers, p->now_j, s->answers_per_s))
		return -1;
	__builtin_memset(cpu->frame, 0, sizeof(cpu->frame));
	if (deserves_reset(p)) {
		proto = IPPROTO_TCP;
		make_reset(cpu);
		len = TCP_LEN;
	} else {
		proto = p->tuple.family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		len = make_error(skb, cpu);
		if (!len)
			return -1;
		len += ICMP_LEN;
	}
	/* only ICMP over IPv4 has no pseudo header; zeros pad an odd length */
	sum = proto == IPPROTO_ICMP ? 0 : pseudo_sum(&p->tuple, proto, len);
	sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(cpu->frame + L4_AT), (len + 3) & 0xfc, 0);
	p->sum_to_come = proto == IPPROTO_TCP && sum_is_to_come(skb, p->l4_off);
	if (p->sum_to_come)
		((struct tcphdr *)(cpu->frame + L4_AT))->check =
			~fold(pseudo_sum(&p->tuple, proto, len));
	else if (proto == IPPROTO_TCP)
		((struct tcphdr *)(cpu->frame + L4_AT))->check = fold(sum);
	else
		((struct icmp_header *)(cpu->frame + L4_AT))->checksum = fold(sum);
	if (p->tuple.family == 4)
		make_ip4(cpu, proto, len);
	else
		make_ip6(cpu, proto, len);
	len += p->tuple.family == 4 ? IP4_LEN : IP6_LEN;
	if (len > IP6_LEN + ICMP_LEN + QUOTE_MAX || len < IP4_LEN)
		return -1;
	if (bpf_skb_change_tail(skb, p->l3_off + len, 0))
		return -1;
	if (p->tuple.family == 4 ?
		    bpf_skb_store_bytes(skb, p->l3_off, cpu->frame + L4_AT - IP4_LEN, len, 0) :
		    bpf_skb_store_bytes(skb, p->l3_off, cpu->frame, len, 0))
		return -1;
	if (!(p->iface_flags & IFACE_RAW_IP) && swap_link_addresses(skb))
		return -1;
	skb->mark = answer_mark;
	return 0;
}

/* Where an answer goes: out by the interface, or into it, as if who is asked had sent it. */
static __always_inline __u64 way_back(enum fw_hook hook)
{
	return hook == HOOK_EGRESS ? BPF_F_INGRESS : 0;
}

#endif
