/* SPDX-License-Identifier: GPL-2.0-only */
/* The IP header of either family and what lies between it and the transport. */
#ifndef FW_PARSE_IP_H
#define FW_PARSE_IP_H

#include "cursor.h"

/* Sets addresses, protocol, l4_off and l4_len; 576 bytes of checks in RFC 791's words. */
static __always_inline enum fw_reason parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr *ip = at(skb, p->l3_off, sizeof(*ip));
	__u32 room = skb->len - p->l3_off;
	__u32 total, header, frag;

	if (!ip)
		return REASON_TRUNCATED;
	if (ip->version != 4)
		return REASON_BAD_VERSION;
	header = ip->ihl * 4;
	if (header < sizeof(*ip))
		return REASON_BAD_HEADER_LENGTH;
	total = bpf_ntohs(ip->tot_len);
	if (!total && p->env.gso_size)
		total = room; /* BIG TCP: the length does not fit its field */
	if (total < header || total > room)
		return REASON_DISHONEST_LENGTH;
	frag = bpf_ntohs(ip->frag_off);
	if (frag & IP_OFFSET)
		p->fragment = FRAGMENT_LATER;
	else if (frag & IP_MF)
		p->fragment = FRAGMENT_FIRST;
	p->fragment_id = ip->id;
	p->fragment_at = (frag & IP_OFFSET) * 8;
	p->fragment_bytes = total - header;
	p->hop_limit = ip->ttl;
	p->tuple.family = 4;
	p->tuple.proto = ip->protocol;
	copy_v4(p->tuple.src, ip->saddr);
	copy_v4(p->tuple.dst, ip->daddr);
	p->l4_off = p->l3_off + header;
	p->l4_len = total - header;
	return REASON_NONE;
}

/*
 * The chain of RFC 8200 section 4. Lengths count 8-byte units beyond the
 * first, but the fragment header is 8 bytes and AH counts 4-byte units, less 2
 * (RFC 4302 section 2.2).
 */
static __always_inline enum fw_reason parse_extensions(struct __sk_buff *skb, struct packet *p,
						       __u32 next)
{
	int i;

	for (i = 0; i <= EXTENSIONS_MAX; i++) {
		struct extension *ext;
		__u32 len;

		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_DSTOPTS) {
			p->tuple.proto = next;
			return REASON_NONE;
		}
		if (i == EXTENSIONS_MAX)
			break;
		ext = at(skb, p->l4_off, sizeof(*ext));
		if (!ext)
			return REASON_TRUNCATED;
		len = next == IPPROTO_FRAGMENT ? 8 : (ext->len + 1) * 8;
		if (len > p->l4_len)
			return REASON_DISHONEST_LENGTH;
		if (next == IPPROTO_FRAGMENT) {
			__u32 offset = bpf_ntohs(ext->offset);

			p->fragment_id = ext->id;
			p->fragment_at = offset & ~7;
			p->fragment_bytes = p->l4_len - len;
			if (offset >> 3)
				p->fragment = FRAGMENT_LATER;
			else if (offset & 1)
				p->fragment = FRAGMENT_FIRST;
		}
		next = ext->next;
		p->l4_off += len;
		p->l4_len -= len;
		if (p->fragment == FRAGMENT_LATER) {
			p->tuple.proto = next;
			return REASON_NONE;
		}
	}
	return REASON_LONG_CHAIN;
}

GLOBAL int parse_ipv6(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	__u32 payload, room;
	struct ipv6hdr *ip;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	ip = at(skb, p->l3_off, sizeof(*ip));
	room = skb->len - p->l3_off;

	if (!ip)
		return REASON_TRUNCATED;
	if (ip->version != 6)
		return REASON_BAD_VERSION;
	payload = bpf_ntohs(ip->payload_len);
	/* BIG TCP: zero, with or without the jumbo option */
	if (!payload && p->env.gso_size)
		payload = room - sizeof(*ip);
	if (payload + sizeof(*ip) > room)
		return REASON_DISHONEST_LENGTH;
	p->hop_limit = ip->hop_limit;
	p->tuple.family = 6;
	copy_words(p->tuple.src, ip->saddr.in6_u.u6_addr32);
	copy_words(p->tuple.dst, ip->daddr.in6_u.u6_addr32);
	p->l4_off = p->l3_off + sizeof(*ip);
	p->l4_len = payload;
	return parse_extensions(skb, p, ip->nexthdr);
}

#endif
