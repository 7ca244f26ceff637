/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sources that cannot be where a packet came from, of what arrives and would
 * open a flow or take another way in one. A packet of a flow is not asked again:
 * it came by the interface that the flow's packets came by, and its source is the
 * one that was asked then.
 */
#ifndef FW_ANTISPOOF_H
#define FW_ANTISPOOF_H

#include "builtin.h"
#include "scope.h"

static __always_inline bool v4_loopback(__be32 address)
{
	return (address & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

static __always_inline bool v6_loopback(const __be32 *address)
{
	return !(address[0] | address[1] | address[2]) && address[3] == bpf_htonl(1);
}

static __always_inline bool v4_mapped(const __be32 *address)
{
	return !(address[0] | address[1]) && address[2] == bpf_htonl(0xffff);
}

/* Without an address yet: DHCP (RFC 2131 section 4.1), IGMP (RFC 3376 section 4.2.13). */
static __always_inline bool v4_nameless(const struct packet *p)
{
	const struct tuple *t = &p->tuple;

	if (t->src[3])
		return false;
	return t->proto == IPPROTO_IGMP ||
	       (t->proto == IPPROTO_UDP && t->dst[3] == 0xffffffff &&
		t->sport == bpf_htons(DHCP_CLIENT) && t->dport == bpf_htons(DHCP_SERVER));
}

/* DAD and router solicitation (RFC 4861 section 4), MLD (RFC 3590 section 4). */
static __always_inline bool v6_nameless(const struct packet *p)
{
	__u32 type = p->icmp >> 8;

	return p->tuple.proto == IPPROTO_ICMPV6 && to_many(&p->tuple) &&
	       (type == ND_ROUTER_SOLICIT || type == ND_NEIGHBOUR_SOLICIT || is_mld_type(type));
}

/* RFC 1122 section 3.2.1.3, RFC 4291 sections 2.5.2, 2.5.3 and 2.7: on no wire, whatever the routes. */
static __always_inline bool martian(__u32 family, const __be32 *src, const __be32 *dst)
{
	__u32 first = bpf_ntohl(src[3]);

	if (family == 4)
		return v4_loopback(src[3]) || v4_loopback(dst[3]) || !(first >> 24) ||
		       first >> 28 == 0xe || first == 0xffffffff;
	return v6_unspecified(src) || v6_loopback(src) || v6_loopback(dst) || v4_mapped(src) ||
	       (src[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

static __always_inline bool nameless(const struct packet *p)
{
	return p->tuple.family == 4 ? v4_nameless(p) :
				      v6_unspecified(p->tuple.src) && v6_nameless(p);
}

static __always_inline enum fw_reason check_addresses(const struct packet *p)
{
	if (martian(p->tuple.family, p->tuple.src, p->tuple.dst) && !nameless(p))
		return REASON_MARTIAN;
	return same_address(p->tuple.src, p->tuple.dst) ? REASON_LAND : REASON_NONE;
}

/* Of an ICMP error, whoever sends it. */
static __always_inline enum fw_reason check_outer_addresses(const struct packet *p)
{
	if (martian(p->tuple.family, p->outer_src, p->outer_dst))
		return REASON_MARTIAN;
	return same_address(p->outer_src, p->outer_dst) ? REASON_LAND : REASON_NONE;
}

/* Any link has these for its own. */
static __always_inline bool source_is_of_the_link(const struct tuple *t)
{
	if (t->family == 4)
		return !t->src[3] || bpf_ntohl(t->src[3]) >> 16 == 0xa9fe;
	return v6_unspecified(t->src) || v6_link_local(t->src);
}

/*
 * Where would an answer go? Not forwarded means that the source is an address
 * of this host, a broadcast address, or one to which no route leads. Where the
 * interface does not forward, the kernel looks nothing up.
 */
GLOBAL int check_source(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib HALVES_ALIGNED = {};
	struct cpu *cpu = this_cpu();
	struct settings *s;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	if (s->antispoof == ANTISPOOF_OFF || source_is_of_the_link(&p->tuple))
		return REASON_NONE;
	switch (ask_routes(skb, p, &fib, true)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
	case BPF_FIB_LKUP_RET_NO_NEIGH:
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		if (s->antispoof == ANTISPOOF_LOOSE || fib.ifindex == p->ifindex)
			return REASON_NONE;
		break;
	case BPF_FIB_LKUP_RET_UNSUPP_LWT:
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return REASON_NONE;
	}
	return REASON_SPOOFED;
}

/* Of a packet that takes another way than its flow's. */
GLOBAL int arrive(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	enum fw_reason reason;

	if (!cpu)
		return REASON_NO_POLICY;
	reason = route(skb);
	return reason ? reason : check_source(skb);
}

#endif
