/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What must pass for a link to work at all, before any rule and without a
 * flow, as narrowly as its RFC allows. `option builtin.NAME off` removes one.
 */
#ifndef FW_BUILTIN_H
#define FW_BUILTIN_H

#include "parse_options.h"

enum dhcp_ports {
	DHCP_SERVER = 67,
	DHCP_CLIENT = 68,
	DHCP6_CLIENT = 546,
	DHCP6_SERVER = 547,
};

enum icmp6_types {
	ND_ROUTER_SOLICIT = 133,
	ND_NEIGHBOUR_SOLICIT = 135,
	ND_REDIRECT = 137,
};

static __always_inline bool v6_link_local(const __be32 *address)
{
	return (address[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool v6_unspecified(const __be32 *address)
{
	return !(address[0] | address[1] | address[2] | address[3]);
}

/* RFC 4861 sections 6.1, 7.1, 8.1: hop limit 255 shows that no router forwarded it. */
static __always_inline bool is_nd(const struct packet *p, __u32 type)
{
	return type >= ND_ROUTER_SOLICIT && type <= ND_REDIRECT && p->hop_limit == 255;
}

/* RFC 2710 section 3, RFC 3810 sections 5.1.14 and 5.2.13. */
static __always_inline bool is_mld(const struct packet *p, __u32 type)
{
	return is_mld_type(type) && p->hop_limit == 1 &&
	       (v6_link_local(p->tuple.src) ||
		(type == MLD2_REPORT && v6_unspecified(p->tuple.src)));
}

/* Ports as the client of RFC 2131 section 4.1 or RFC 8415 section 7.2 uses them. */
static __always_inline bool is_client(const struct packet *p, __u16 client, __u16 server)
{
	__u16 sport = bpf_ntohs(p->tuple.sport), dport = bpf_ntohs(p->tuple.dport);

	if (p->scope == SCOPE_OUT)
		return sport == client && dport == server;
	return sport == server && dport == client;
}

static __always_inline enum fw_reason builtin(const struct packet *p, const struct settings *s)
{
	__u32 on = s->builtins, type = p->icmp >> 8;

	if (p->scope == SCOPE_FORWARD || p->fragment)
		return REASON_NONE;
	if (p->tuple.family == 4) {
		if (p->tuple.proto == IPPROTO_IGMP && p->hop_limit == 1 && on & 1 << BUILTIN_IGMP)
			return REASON_BUILTIN_IGMP;
		if (p->tuple.proto == IPPROTO_UDP && on & 1 << BUILTIN_DHCP &&
		    is_client(p, DHCP_CLIENT, DHCP_SERVER))
			return REASON_BUILTIN_DHCP;
		return REASON_NONE;
	}
	if (p->tuple.proto == IPPROTO_UDP && on & 1 << BUILTIN_DHCP6 &&
	    is_client(p, DHCP6_CLIENT, DHCP6_SERVER) &&
	    v6_link_local(p->scope == SCOPE_OUT ? p->tuple.src : p->tuple.dst))
		return REASON_BUILTIN_DHCP6;
	if (p->tuple.proto != IPPROTO_ICMPV6)
		return REASON_NONE;
	if (on & 1 << BUILTIN_ND && is_nd(p, type))
		return REASON_BUILTIN_ND;
	if (on & 1 << BUILTIN_MLD && is_mld(p, type))
		return REASON_BUILTIN_MLD;
	return REASON_NONE;
}

#endif
