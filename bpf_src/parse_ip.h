/* SPDX-License-Identifier: GPL-2.0-only */
/* The IP header of either family and what lies between it and the transport. */
#ifndef FW_PARSE_IP_H
#define FW_PARSE_IP_H

#include "parse_options.h"

/* A piece of l4_len bytes of a packet that has so many others around it. */
static __always_inline enum fw_reason note_fragment(struct packet *p, __u32 id, __u32 offset,
						    bool more, __u32 around)
{
	p->fragment = offset ? FRAGMENT_LATER : FRAGMENT_FIRST;
	p->fragment_id = id;
	p->fragment_at = offset;
	p->fragment_bytes = p->l4_len;
	p->fragment_more = more;
	if (!p->l4_len || (more && p->l4_len % 8))
		return REASON_FRAGMENT_LENGTH;
	return around + offset + p->l4_len > PACKET_MAX ? REASON_FRAGMENT_BEYOND : REASON_NONE;
}

/* RFC 791 section 3.1: sets addresses, protocol, l4_off and l4_len. */
static __always_inline enum fw_reason parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr *ip = at(skb, p->l3_off, sizeof(*ip));
	__u32 room = skb->len - p->l3_off;
	__u32 total, header, frag;
	enum fw_reason reason;

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
	p->hop_limit = ip->ttl;
	p->dscp = ip->tos >> 2;
	p->tuple.family = 4;
	p->tuple.proto = ip->protocol;
	copy_v4(p->tuple.src, ip->saddr);
	copy_v4(p->tuple.dst, ip->daddr);
	p->l4_off = p->l3_off + header;
	p->l4_len = total - header;
	if (frag & (IP_OFFSET | IP_MF)) {
		p->fragment_proto = ip->protocol;
		reason = note_fragment(p, bpf_ntohs(ip->id), (frag & IP_OFFSET) * 8, frag & IP_MF,
				       header);
		if (reason)
			return reason;
	}
	if (header == sizeof(*ip))
		return REASON_NONE;
	reason = read_ipv4_options(skb, p->l3_off + sizeof(*ip), header - sizeof(*ip));
	return reason ? reason : judge_options(p, p->tuple.proto == IPPROTO_IGMP);
}

static __always_inline bool is_extension(__u32 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_DSTOPTS || next == IPPROTO_AH;
}

/*
 * Bytes of an extension header; 0 if it says less than it must have. Lengths
 * count 8-byte units beyond the first, but a fragment header has 8 bytes, and
 * AH counts 4-byte units, less 2 (RFC 4302 section 2.2).
 */
static __always_inline __u32 extension_bytes(const struct extension *ext, __u32 kind)
{
	if (kind == IPPROTO_FRAGMENT)
		return 8;
	if (kind == IPPROTO_AH)
		return ext->len < AH_UNITS_MIN ? 0 : (ext->len + 2) * 4;
	return (ext->len + 1) * 8;
}

/* RFC 8200 section 4.5; one that is all of its packet is no fragment (RFC 6946). */
static __always_inline enum fw_reason read_fragment(struct packet *p, const struct extension *ext,
						    __u32 off, __u32 left)
{
	__u32 word = bpf_ntohs(ext->offset);

	if (p->fragment_headers++)
		return REASON_FRAGMENT_TWICE;
	if (!(word & ~6))
		return REASON_NONE;
	p->fragment_proto = ext->next;
	p->l4_len = left - 8;
	return note_fragment(p, bpf_ntohl(ext->id), word & ~7, word & 1,
			     off - p->l3_off - sizeof(struct ipv6hdr));
}

/* An IPv6 routing header: type 0 lets the sender choose the way (RFC 5095). */
static __always_inline enum fw_reason read_routing(struct packet *p, const struct extension *ext)
{
	__u32 type = bpf_ntohs(ext->offset) >> 8, left = bpf_ntohs(ext->offset) & 0xff;

	if (left)
		p->options |= OPTIONS_OTHER;
	return type ? REASON_NONE : REASON_ROUTING_HEADER;
}

/*
 * One header of the chain at chain_off: what the next is, or a reason, negated. A
 * function of its own, so that the verifier looks at it once, not on each path that
 * EXTENSIONS_MAX of them can take.
 */
GLOBAL int parse_extension(struct __sk_buff *skb, __u32 kind, __u32 is_first)
{
	enum fw_reason reason = REASON_NONE;
	struct cpu *cpu = this_cpu();
	struct extension *ext;
	__u32 bytes, off, left, next;
	struct packet *p;

	if (!cpu)
		return -REASON_NO_POLICY;
	p = &cpu->packet;
	off = p->chain_off;
	left = p->chain_left;
	ext = at(skb, off, sizeof(*ext));
	if (left < sizeof(*ext) && p->fragment)
		return -REASON_FRAGMENT_HEADLESS;
	if (!ext)
		return -REASON_TRUNCATED;
	bytes = extension_bytes(ext, kind);
	if (!bytes)
		return -REASON_BAD_HEADER_LENGTH;
	if (bytes > left)
		return p->fragment ? -REASON_FRAGMENT_HEADLESS : -REASON_DISHONEST_LENGTH;
	next = ext->next;
	if (kind == IPPROTO_ROUTING) {
		reason = read_routing(p, ext);
	} else if (kind == IPPROTO_FRAGMENT) {
		reason = p->tuple.proto ? REASON_BAD_CHAIN : read_fragment(p, ext, off, left);
	} else if (kind == IPPROTO_AH) {
		if (!p->tuple.proto) {
			p->tuple.proto = kind;
			p->l4_off = off;
			p->l4_len = left;
		}
	} else if (kind == IPPROTO_HOPOPTS && !is_first) {
		reason = REASON_BAD_CHAIN;
	} else {
		reason = read_ipv6_options(skb, off + 2, bytes - 2, kind == IPPROTO_HOPOPTS);
	}
	p->chain_off = off + bytes;
	p->chain_left = left - bytes;
	return reason ? -reason : next;
}

/*
 * The chain of RFC 8200 section 4, with only one place for hop-by-hop options.
 * AH is the protocol that rules and flows speak of; the walk goes on behind it,
 * so that nothing forbidden hides there. Mobility, HIP and Shim6 headers look like
 * extension headers and end the chain nevertheless: they carry nothing further
 * (RFC 6275 section 6.1, RFC 7401 section 5.1), so that each is a protocol too.
 */
static __always_inline enum fw_reason parse_extensions(struct __sk_buff *skb, struct packet *p,
						       int next)
{
	int i;

	p->chain_off = p->l4_off;
	p->chain_left = p->l4_len;
	for (i = 0; i < EXTENSIONS_MAX && is_extension(next) && p->fragment != FRAGMENT_LATER;
	     i++) {
		next = parse_extension(skb, next, !i);
		if (next < 0)
			return -next;
	}
	if (is_extension(next) && p->fragment != FRAGMENT_LATER)
		return REASON_LONG_CHAIN;
	/* RFC 7112 section 5 */
	if (p->fragment && !p->chain_left)
		return REASON_FRAGMENT_HEADLESS;
	if (!p->tuple.proto) {
		p->tuple.proto = next;
		p->l4_off = p->chain_off;
		p->l4_len = p->chain_left;
	}
	return REASON_NONE;
}

/* A router alert is for the routers of a link: multicast listener discovery alone needs it. */
static __always_inline enum fw_reason judge_chain(struct __sk_buff *skb, const struct packet *p)
{
	bool mld = false;

	if (p->options == OPTIONS_ALERT && p->tuple.proto == IPPROTO_ICMPV6 && p->l4_len &&
	    p->fragment != FRAGMENT_LATER) {
		__u8 *type = at(skb, p->l4_off, 1);

		if (!type)
			return REASON_TRUNCATED;
		mld = is_mld_type(*type);
	}
	return judge_options(p, mld);
}

GLOBAL int parse_ipv6(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	__u32 payload, room;
	struct ipv6hdr *ip;
	enum fw_reason reason;
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
	p->dscp = ip->priority << 2 | ip->flow_lbl[0] >> 6;
	p->tuple.family = 6;
	copy_words(p->tuple.src, ip->saddr.in6_u.u6_addr32);
	copy_words(p->tuple.dst, ip->daddr.in6_u.u6_addr32);
	p->l4_off = p->l3_off + sizeof(*ip);
	p->l4_len = payload;
	reason = parse_extensions(skb, p, ip->nexthdr);
	return reason || !p->options ? reason : judge_chain(skb, p);
}

#endif
