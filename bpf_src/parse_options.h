/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of either family's IP header. Only packets that have any pay for this:
 * what they carry is noted in packet.options, and judged once the chain of
 * headers is known. Padding is nothing.
 */
#ifndef FW_PARSE_OPTIONS_H
#define FW_PARSE_OPTIONS_H

#include "cursor.h"

#define IPV4_OPTIONS_MAX 40 /* bytes: the header has 15 words at the most */
#define IPV6_OPTIONS_MAX 32 /* of one header, padding counted; RFC 8504 section 5.3 has 8 without */
#define JUMBO_SIZE 6        /* RFC 2675 section 2 */
#define OPTION_HEAD 2       /* type and length */

/* The Internet Protocol parameters of IANA, copied flag and class included. */
enum ipv4_option {
	OPTION4_END = 0,
	OPTION4_NOP = 1,
	OPTION4_LOOSE_ROUTE = 131,
	OPTION4_STRICT_ROUTE = 137,
	OPTION4_ROUTER_ALERT = 148, /* RFC 2113 */
};

enum ipv6_option {
	OPTION6_PAD1 = 0,
	OPTION6_PADN = 1,
	OPTION6_ROUTER_ALERT = 5,
	OPTION6_JUMBO = 0xc2,
};

enum mld_types {
	MLD_QUERY = 130,
	MLD_DONE = 132,
	MLD2_REPORT = 143,
};

/*
 * One option, of `left` bytes that are: its size, 0 at the end of the list, or a
 * reason, negated. A function of its own, as parse_tcp_option() is.
 */
GLOBAL int read_ipv4_option(struct __sk_buff *skb, __u32 off, __u32 left)
{
	__u8 *option = at(skb, off, 1);
	struct cpu *cpu = this_cpu();
	__u32 kind, size;

	if (!cpu)
		return -REASON_NO_POLICY;
	if (!option)
		return -REASON_TRUNCATED;
	kind = *option;
	if (kind == OPTION4_END)
		return 0;
	if (kind == OPTION4_NOP)
		return 1;
	if (kind == OPTION4_LOOSE_ROUTE || kind == OPTION4_STRICT_ROUTE)
		return -REASON_SOURCE_ROUTE;
	if (left < OPTION_HEAD)
		return -REASON_BAD_OPTIONS;
	option = at(skb, off, OPTION_HEAD);
	if (!option)
		return -REASON_TRUNCATED;
	size = option[1];
	if (size < OPTION_HEAD || size > left)
		return -REASON_BAD_OPTIONS;
	cpu->packet.options |= kind == OPTION4_ROUTER_ALERT ? OPTIONS_ALERT : OPTIONS_OTHER;
	return size;
}

/* RFC 791 section 3.1, between the 20 bytes that every header has and its end. */
GLOBAL int read_ipv4_options(struct __sk_buff *skb, __u32 off, __u32 bytes)
{
	int i, size;

	for (i = 0; i < IPV4_OPTIONS_MAX && bytes; i++) {
		size = read_ipv4_option(skb, off, bytes);
		if (size <= 0)
			return -size;
		off += size;
		bytes -= size;
	}
	return REASON_NONE;
}

/* The same of IPv6, whose lists end where their header does. */
GLOBAL int read_ipv6_option(struct __sk_buff *skb, __u32 off, __u32 left, __u32 hop_by_hop)
{
	__u8 *option = at(skb, off, 1);
	struct cpu *cpu = this_cpu();
	struct packet *p;
	__u32 kind, size;

	if (!cpu)
		return -REASON_NO_POLICY;
	p = &cpu->packet;
	if (!option)
		return -REASON_TRUNCATED;
	kind = *option;
	if (kind == OPTION6_PAD1)
		return 1;
	if (left < OPTION_HEAD)
		return -REASON_BAD_OPTIONS;
	option = at(skb, off, OPTION_HEAD);
	if (!option)
		return -REASON_TRUNCATED;
	size = option[1] + OPTION_HEAD;
	if (size > left)
		return -REASON_BAD_OPTIONS;
	if (hop_by_hop && kind == OPTION6_JUMBO) {
		if (size != JUMBO_SIZE)
			return -REASON_BAD_OPTIONS;
		if (!p->env.gso_size)
			return -REASON_JUMBOGRAM;
	} else if (hop_by_hop && kind == OPTION6_ROUTER_ALERT) {
		p->options |= OPTIONS_ALERT;
	} else if (kind != OPTION6_PADN) {
		p->options |= OPTIONS_OTHER;
	}
	return size;
}

/*
 * RFC 8200 section 4.2: the options of one header. A jumbo payload (RFC 2675) is
 * what BIG TCP writes before a super-packet that never leaves this host whole.
 */
GLOBAL int read_ipv6_options(struct __sk_buff *skb, __u32 off, __u32 bytes, __u32 hop_by_hop)
{
	int i, size;

	for (i = 0; i < IPV6_OPTIONS_MAX && bytes; i++) {
		size = read_ipv6_option(skb, off, bytes, hop_by_hop);
		if (size <= 0)
			return -size;
		off += size;
		bytes -= size;
	}
	return bytes ? REASON_LONG_CHAIN : REASON_NONE;
}

/* RFC 2710 section 3, RFC 3810 section 5: their messages carry a router alert. */
static __always_inline bool is_mld_type(__u32 type)
{
	return (type >= MLD_QUERY && type <= MLD_DONE) || type == MLD2_REPORT;
}

/* What was noted, of a packet for whose protocol a router alert is right or not. */
static __always_inline enum fw_reason judge_options(const struct packet *p, bool alert_is_right)
{
	const struct settings *s = settings_of(p->generation);

	if (!s)
		return REASON_NO_POLICY;
	if (!p->options || (p->options == OPTIONS_ALERT && alert_is_right))
		return REASON_NONE;
	return s->ip_options == IP_OPTIONS_PASS ? REASON_NONE : REASON_IP_OPTIONS;
}

#endif
