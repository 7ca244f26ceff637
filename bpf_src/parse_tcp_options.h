/* SPDX-License-Identifier: GPL-2.0-only */
/* The TCP options that tracking needs: window scale on a SYN, the edges of SACK blocks. */
#ifndef FW_PARSE_TCP_OPTIONS_H
#define FW_PARSE_TCP_OPTIONS_H

#include "cursor.h"

#define TCP_OPTIONS_MAX 40
#define TCP_TIMESTAMPS_LEN 32     /* a header with nothing but timestamps, as most have */
#define TCP_TIMESTAMPS 0x0101080a /* NOP, NOP, kind 8, length 10 (RFC 7323 appendix A) */
#define WSCALE_MAX 14             /* RFC 7323 section 2.3 */
#define SACK_BLOCKS_MAX 4

enum fw_tcp_option {
	TCPOPT_END = 0,
	TCPOPT_NOP = 1,
	TCPOPT_WSCALE = 3, /* RFC 7323 section 2.2 */
	TCPOPT_SACK = 5,   /* RFC 2018 section 3 */
};

static __always_inline bool has_timestamps(struct __sk_buff *skb, const struct packet *p)
{
	__be32 *first = at(skb, p->l4_off + sizeof(struct tcphdr), sizeof(*first));

	return first && *first == bpf_htonl(TCP_TIMESTAMPS);
}

static __always_inline __u32 option_word(const __u8 *options, __u32 off)
{
	return (__u32)options[off & 63] << 24 | options[(off + 1) & 63] << 16 |
	       options[(off + 2) & 63] << 8 | options[(off + 3) & 63];
}

/* Right edges of the blocks; those below the acknowledgement tell of duplicates (RFC 2883). */
static __always_inline void read_sack(struct packet *p, const __u8 *options, __u32 off, __u32 size)
{
	int i;

	for (i = 0; i < SACK_BLOCKS_MAX; i++) {
		__u32 edge;

		if (2 + 8 * (i + 1) > size)
			break;
		edge = option_word(options, off + 2 + 8 * i + 4);
		/* each from the acknowledgement: two of them may be half of all numbers apart */
		if ((__s32)(edge - p->ack) > (__s32)(p->sack - p->ack))
			p->sack = edge;
	}
}

/*
 * One option; where the next one begins, or TCP_OPTIONS_MAX at the end of the list.
 * One that cannot be read ends it, as at the connection's ends. A function of its own,
 * so that the verifier looks at it once, not on each path that 40 of them can take.
 */
GLOBAL int parse_tcp_option(__u32 off)
{
	struct cpu *cpu = this_cpu();
	__u32 kind, size, len;
	struct packet *p;

	if (!cpu)
		return TCP_OPTIONS_MAX;
	p = &cpu->packet;
	len = p->l4_header - sizeof(struct tcphdr);
	kind = cpu->options[off & 63];
	if (off >= len || kind == TCPOPT_END)
		return TCP_OPTIONS_MAX;
	if (kind == TCPOPT_NOP)
		return off + 1;
	size = cpu->options[(off + 1) & 63];
	if (size < 2 || off + size > len)
		return TCP_OPTIONS_MAX;
	if (kind == TCPOPT_WSCALE && size == 3)
		p->wscale = cpu->options[(off + 2) & 63];
	else if (kind == TCPOPT_SACK)
		read_sack(p, cpu->options, off, size);
	return off + size;
}

GLOBAL int parse_tcp_options(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	__u32 len, off = 0;
	struct packet *p;
	int i;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	len = p->l4_header - sizeof(struct tcphdr);
	barrier_var(len);
	if (len < 4 || len > TCP_OPTIONS_MAX)
		return REASON_NONE;
	if (bpf_skb_load_bytes(skb, p->l4_off + sizeof(struct tcphdr), cpu->options, len))
		return REASON_TRUNCATED;
	for (i = 0; i < TCP_OPTIONS_MAX && off < TCP_OPTIONS_MAX; i++)
		off = parse_tcp_option(off);
	if (p->wscale != NO_WSCALE && p->wscale > WSCALE_MAX)
		p->wscale = WSCALE_MAX;
	return REASON_NONE;
}

#endif
