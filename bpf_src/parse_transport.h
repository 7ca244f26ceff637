/* SPDX-License-Identifier: GPL-2.0-only */
/* Transport headers, and the packet that an ICMP error quotes. */
#ifndef FW_PARSE_TRANSPORT_H
#define FW_PARSE_TRANSPORT_H

#include "cursor.h"
#include "parse_sctp.h"
#include "parse_tcp_options.h"
#include "parse_tunnel.h"
#include "scope.h"

/* What no stack sends: any set but these, PSH, ECE and CWR aside (as nf_conntrack_proto_tcp.c). */
static __always_inline bool flags_valid(__u32 flags)
{
	switch (flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG)) {
	case TCP_SYN:
	case TCP_SYN | TCP_URG:
	case TCP_SYN | TCP_ACK:
	case TCP_RST:
	case TCP_RST | TCP_ACK:
	case TCP_FIN | TCP_ACK:
	case TCP_FIN | TCP_ACK | TCP_URG:
	case TCP_ACK:
	case TCP_ACK | TCP_URG:
		return true;
	}
	return false;
}

static __always_inline enum fw_reason parse_tcp(struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr *tcp = at(skb, p->l4_off, sizeof(*tcp));
	__u32 header, payload;

	if (p->l4_len < sizeof(*tcp))
		return no_room(p);
	if (!tcp)
		return REASON_TRUNCATED;
	header = tcp->doff * 4;
	if (header < sizeof(*tcp))
		return REASON_BAD_HEADER_LENGTH;
	if (header > p->l4_len)
		return no_room(p);
	p->tcp_flags = ((__u8 *)tcp)[13];
	if (!flags_valid(p->tcp_flags))
		return REASON_BAD_TCP_FLAGS;
	p->tuple.sport = tcp->source;
	p->tuple.dport = tcp->dest;
	p->ack = bpf_ntohl(tcp->ack_seq);
	p->seq = bpf_ntohl(tcp->seq);
	p->l4_header = header;
	payload = p->l4_len - header;
	p->seq_end = p->seq + payload + !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);
	p->window = bpf_ntohs(tcp->window);
	p->sack = p->ack;
	p->wscale = NO_WSCALE;
	if (header == sizeof(*tcp) || (header == TCP_TIMESTAMPS_LEN && has_timestamps(skb, p)))
		return REASON_NONE;
	return parse_tcp_options(skb);
}

/* A subnet's broadcast address is known by its frame's alone. */
static __always_inline bool leaves_to_many(struct __sk_buff *skb, const struct packet *p)
{
	struct ethhdr *eth;

	if (p->hook != HOOK_EGRESS || p->in_ifindex)
		return false;
	if (to_many(&p->tuple))
		return true;
	eth = p->iface_flags & IFACE_RAW_IP ? NULL : at(skb, 0, sizeof(*eth));
	return eth && eth->h_dest[0] & 1;
}

static __always_inline enum fw_reason parse_udp(struct __sk_buff *skb, struct packet *p)
{
	struct udphdr *udp = at(skb, p->l4_off, sizeof(*udp));
	__u32 len;

	if (p->l4_len < sizeof(*udp))
		return no_room(p);
	if (!udp)
		return REASON_TRUNCATED;
	len = bpf_ntohs(udp->len);
	if (len ? len < sizeof(*udp) : !p->env.gso_size)
		return REASON_BAD_HEADER_LENGTH;
	if (len > p->l4_len && !p->fragment)
		return REASON_DISHONEST_LENGTH;
	p->l4_header = sizeof(*udp);
	p->tuple.sport = udp->source;
	p->tuple.dport = udp->dest;
	p->asks_many = leaves_to_many(skb, p);
	return REASON_NONE;
}

/* RFC 792, 950; RFC 4443, 4620. Queries and replies come as pairs of types. */
static __always_inline void classify_icmp(struct packet *p, __u32 type)
{
	bool v6 = p->tuple.family == 6;

	p->icmp_kind = ICMP_MESSAGE;
	if (v6 ? type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12)
		p->icmp_kind = ICMP_ERROR;
	else if (v6 ? type == 128 || type == 139 :
		      type == 8 || type == 13 || type == 15 || type == 17)
		p->icmp_kind = ICMP_QUERY;
	else if (v6 ? type == 129 || type == 140 :
		      type == 0 || type == 14 || type == 16 || type == 18)
		p->icmp_kind = ICMP_REPLY;
}

/* The ports of an ICMP flow: its id, and the type of its query. */
static __always_inline void icmp_ports(struct packet *p, __u32 type, __be16 id)
{
	__u32 class = type;

	p->sender_asks = p->icmp_kind != ICMP_REPLY;
	if (p->icmp_kind == ICMP_REPLY)
		class = type == 0 ? 8 : type - 1;
	p->tuple.sport = p->icmp_kind == ICMP_MESSAGE ? 0 : id;
	p->tuple.dport = bpf_htons(class);
}

/*
 * The packet that an ICMP error quotes takes the place of the packet's own
 * tuple; the error's own addresses are kept aside. The quote may be cut short
 * after 8 bytes of the transport header (RFC 792), so no length is checked.
 */
GLOBAL int parse_quote(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	struct ports *ports;
	struct packet *p;
	__u32 proto, off;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	off = p->l4_off + sizeof(struct icmp_header);
	copy_words(p->outer_src, p->tuple.src);
	copy_words(p->outer_dst, p->tuple.dst);
	if (p->tuple.family == 4) {
		struct iphdr *ip = at(skb, off, sizeof(*ip));

		if (!ip)
			return REASON_TRUNCATED;
		if (ip->version != 4)
			return REASON_BAD_VERSION;
		if (ip->ihl < 5)
			return REASON_BAD_HEADER_LENGTH;
		copy_v4(p->tuple.src, ip->saddr);
		copy_v4(p->tuple.dst, ip->daddr);
		proto = ip->protocol;
		off += ip->ihl * 4;
		if (ip->frag_off & bpf_htons(IP_OFFSET))
			return REASON_UNRELATED;
	} else {
		struct ipv6hdr *ip = at(skb, off, sizeof(*ip));
		int i;

		if (!ip)
			return REASON_TRUNCATED;
		if (ip->version != 6)
			return REASON_BAD_VERSION;
		copy_words(p->tuple.src, ip->saddr.in6_u.u6_addr32);
		copy_words(p->tuple.dst, ip->daddr.in6_u.u6_addr32);
		proto = ip->nexthdr;
		off += sizeof(*ip);
		for (i = 0; i < 2; i++) {
			struct extension *ext;

			if (proto != IPPROTO_HOPOPTS && proto != IPPROTO_FRAGMENT &&
			    proto != IPPROTO_DSTOPTS)
				break;
			ext = at(skb, off, sizeof(*ext));
			if (!ext)
				return REASON_TRUNCATED;
			if (proto == IPPROTO_FRAGMENT && bpf_ntohs(ext->offset) >> 3)
				return REASON_UNRELATED;
			off += proto == IPPROTO_FRAGMENT ? 8 : (ext->len + 1) * 8;
			proto = ext->next;
		}
	}
	/* what lies behind the packet in its frame is not part of the message */
	if (off + 8 > p->l4_off + p->l4_len)
		return REASON_TRUNCATED;
	ports = at(skb, off, 8);
	if (!ports)
		return REASON_TRUNCATED;
	p->tuple.proto = proto;
	p->seq = bpf_ntohl(*(__be32 *)&ports[1]);
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP) {
		p->tuple.sport = ports->sport;
		p->tuple.dport = ports->dport;
	} else if (is_icmp(&p->tuple)) {
		__u32 type = *(__u8 *)ports;

		classify_icmp(p, type);
		if (p->icmp_kind == ICMP_ERROR) /* none is sent about one */
			return REASON_UNRELATED;
		icmp_ports(p, type, ports[1].sport);
	} else if (proto == IPPROTO_GRE) {
		enum fw_reason reason =
			read_gre_key(skb, p, off, p->l4_off + p->l4_len, bpf_ntohs(ports->sport));

		if (reason)
			return reason;
	}
	p->icmp_kind = ICMP_ERROR;
	return REASON_NONE;
}

static __always_inline enum fw_reason parse_icmp(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_header *icmp = at(skb, p->l4_off, sizeof(*icmp));

	if (p->l4_len < sizeof(*icmp))
		return no_room(p);
	if (!icmp)
		return REASON_TRUNCATED;
	p->icmp = icmp->type << 8 | icmp->code;
	classify_icmp(p, icmp->type);
	if (p->icmp_kind == ICMP_ERROR)
		return parse_quote(skb);
	icmp_ports(p, icmp->type, icmp->id);
	return REASON_NONE;
}

static __always_inline enum fw_reason parse_transport(struct __sk_buff *skb, struct packet *p)
{
	if (p->fragment == FRAGMENT_LATER)
		return REASON_NONE;
	switch (p->tuple.proto) {
	case IPPROTO_TCP:
		return parse_tcp(skb, p);
	case IPPROTO_UDP:
		return parse_udp(skb, p);
	case IPPROTO_ICMP:
		return p->tuple.family == 4 ? parse_icmp(skb, p) : REASON_NONE;
	case IPPROTO_ICMPV6:
		return p->tuple.family == 6 ? parse_icmp(skb, p) : REASON_NONE;
	case IPPROTO_SCTP:
		return parse_sctp(skb);
	case IPPROTO_GRE:
	case IPPROTO_ESP:
	case IPPROTO_AH:
		return parse_tunnel(skb);
	}
	return REASON_NONE;
}

#endif
