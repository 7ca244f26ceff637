/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of either family's IP header. Only packets that have any pay for this:
 * what they carry is noted in packet.options, and judged once the chain of
 * headers is known. Padding is nothing. The cursor is in memory, because the
 * verifier would follow each of its values if it were in a register.
 */
#ifndef FW_PARSE_OPTIONS_H
#define FW_PARSE_OPTIONS_H

#include "cursor.h"

#define IPV4_OPTIONS_MAX 40 /* bytes: the header has 15 words at the most */
#define IPV6_OPTIONS_MAX 32 /* of one header, padding counted; RFC 8504 section 5.3 has 8 without */
#define IPV6_OPTIONS_BYTES 2046 /* of one header: 256 units of 8, less 2 */
#define JUMBO_SIZE 6            /* RFC 2675 section 2 */
#define OPTION_HEAD 2           /* type and length */

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

/* RFC 791 section 3.1, between the 20 bytes that every header has and its end. */
GLOBAL int read_ipv4_options(struct __sk_buff *skb, __u32 off, __u32 bytes)
{
	struct cpu *cpu = this_cpu();
	struct packet *p;
	int i;

	if (!cpu || bytes > IPV4_OPTIONS_MAX)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	p->cursor = off;
	for (i = 0; i < IPV4_OPTIONS_MAX; i++) {
		__u32 here = p->cursor, left = off + bytes - here, size = 1;
		__u8 *option;

		if (!left || left > IPV4_OPTIONS_MAX)
			break;
		option = at(skb, here, 1);
		if (!option)
			return REASON_TRUNCATED;
		if (*option == OPTION4_END)
			break;
		if (*option != OPTION4_NOP) {
			if (*option == OPTION4_LOOSE_ROUTE || *option == OPTION4_STRICT_ROUTE)
				return REASON_SOURCE_ROUTE;
			if (left < OPTION_HEAD)
				return REASON_BAD_OPTIONS;
			option = at(skb, here, OPTION_HEAD);
			if (!option)
				return REASON_TRUNCATED;
			size = option[1];
			if (size < OPTION_HEAD || size > left)
				return REASON_BAD_OPTIONS;
			p->options |= option[0] == OPTION4_ROUTER_ALERT ? OPTIONS_ALERT :
									  OPTIONS_OTHER;
		}
		p->cursor = here + size;
		barrier();
	}
	return REASON_NONE;
}

/*
 * RFC 8200 section 4.2: the options of one header. A jumbo payload (RFC 2675) is
 * what BIG TCP writes before a super-packet that never leaves this host whole.
 */
GLOBAL int read_ipv6_options(struct __sk_buff *skb, __u32 off, __u32 bytes, __u32 hop_by_hop)
{
	struct cpu *cpu = this_cpu();
	struct packet *p;
	int i;

	if (!cpu || bytes > IPV6_OPTIONS_BYTES)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	p->cursor = off;
	for (i = 0; i < IPV6_OPTIONS_MAX; i++) {
		__u32 here = p->cursor, left = off + bytes - here, size = 1;
		__u8 *option;

		if (!left || left > IPV6_OPTIONS_BYTES)
			return REASON_NONE;
		option = at(skb, here, 1);
		if (!option)
			return REASON_TRUNCATED;
		if (*option != OPTION6_PAD1) {
			if (left < OPTION_HEAD)
				return REASON_BAD_OPTIONS;
			option = at(skb, here, OPTION_HEAD);
			if (!option)
				return REASON_TRUNCATED;
			size = option[1] + OPTION_HEAD;
			if (size > left)
				return REASON_BAD_OPTIONS;
			if (hop_by_hop && option[0] == OPTION6_JUMBO) {
				if (size != JUMBO_SIZE)
					return REASON_BAD_OPTIONS;
				if (!p->env.gso_size)
					return REASON_JUMBOGRAM;
			} else if (hop_by_hop && option[0] == OPTION6_ROUTER_ALERT) {
				p->options |= OPTIONS_ALERT;
			} else if (option[0] != OPTION6_PADN) {
				p->options |= OPTIONS_OTHER;
			}
		}
		p->cursor = here + size;
		barrier();
	}
	return p->cursor == off + bytes ? REASON_NONE : REASON_LONG_CHAIN;
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
