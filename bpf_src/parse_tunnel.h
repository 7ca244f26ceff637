/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tells the tunnels between two hosts apart: the key of GRE (RFC 2784, 2890), the
 * SPI of ESP and AH (RFC 4303, 4302). Either is kept in packet.seq.
 */
#ifndef FW_PARSE_TUNNEL_H
#define FW_PARSE_TUNNEL_H

#include "cursor.h"

/* In host order. Bits 6 to 12 of a header of version 0 are ignored (RFC 2784 section 2.3). */
enum gre_flags {
	GRE_CHECKSUM = 0x8000,
	GRE_KEY = 0x2000,
	GRE_SEQUENCE = 0x1000,
	GRE_ACK = 0x0080, /* version 1 alone (RFC 2637 section 4.1) */
	GRE_VERSION = 0x0007,
	GRE_MUST_BE_ZERO = 0x4c00, /* bits 1, 4 and 5: source routes of RFC 1701 */
};

#define GRE_PPTP 0x880b /* the protocol of all packets of version 1 */
#define ESP_HEAD 8      /* SPI and sequence number */

/* Checksum, key, sequence and acknowledgement follow, those that there are, 4 bytes each. */
struct gre_header {
	__be16 flags;
	__be16 proto;
};

struct spi_header {
	__u8 next;
	__u8 len; /* units of 4 bytes, less 2 */
	__be16 reserved;
	__be32 spi;
};

/* Bytes of the header, options counted; 0 if no sender has these flags. */
static __always_inline __u32 gre_bytes(__u32 flags, __u32 proto)
{
	__u32 version = flags & GRE_VERSION;

	if (!version)
		return flags & GRE_MUST_BE_ZERO ?
			       0 :
			       sizeof(struct gre_header) + !!(flags & GRE_CHECKSUM) * 4 +
				       !!(flags & GRE_KEY) * 4 + !!(flags & GRE_SEQUENCE) * 4;
	if (version != 1 || proto != GRE_PPTP || !(flags & GRE_KEY) ||
	    flags & ~(GRE_KEY | GRE_SEQUENCE | GRE_ACK | GRE_VERSION))
		return 0;
	return sizeof(struct gre_header) + 4 + !!(flags & GRE_SEQUENCE) * 4 +
	       !!(flags & GRE_ACK) * 4;
}

/*
 * The key of a header at `off` of a packet that ends at `end`. Calls of PPTP have the other
 * end's number in its place, another in each direction: they have none.
 */
static __always_inline enum fw_reason read_gre_key(struct __sk_buff *skb, struct packet *p,
						   __u32 off, __u32 end, __u32 flags)
{
	__be32 *key;

	p->seq = 0;
	if (flags & GRE_VERSION || !(flags & GRE_KEY))
		return REASON_NONE;
	off += flags & GRE_CHECKSUM ? 8 : 4;
	/* what quotes 8 bytes of one with a checksum does not tell the key */
	if (off + sizeof(*key) > end)
		return REASON_UNRELATED;
	key = at(skb, off, sizeof(*key));
	if (!key)
		return REASON_TRUNCATED;
	p->seq = bpf_ntohl(*key);
	return REASON_NONE;
}

static __always_inline enum fw_reason parse_gre(struct __sk_buff *skb, struct packet *p)
{
	struct gre_header *gre = at(skb, p->l4_off, sizeof(struct gre_header));
	__u32 bytes, flags;

	if (p->l4_len < sizeof(struct gre_header))
		return no_room(p);
	if (!gre)
		return REASON_TRUNCATED;
	flags = bpf_ntohs(gre->flags);
	bytes = gre_bytes(flags, bpf_ntohs(gre->proto));
	if (!bytes)
		return REASON_BAD_TUNNEL;
	if (bytes > p->l4_len)
		return no_room(p);
	return read_gre_key(skb, p, p->l4_off, p->l4_off + p->l4_len, flags);
}

static __always_inline enum fw_reason parse_esp(struct __sk_buff *skb, struct packet *p)
{
	__be32 *spi = at(skb, p->l4_off, sizeof(*spi));

	if (p->l4_len < ESP_HEAD)
		return no_room(p);
	if (!spi)
		return REASON_TRUNCATED;
	p->seq = bpf_ntohl(*spi);
	/* RFC 4303 section 2.1: never on the wire */
	return p->seq ? REASON_NONE : REASON_BAD_TUNNEL;
}

/* RFC 4302 section 2. In IPv6 its length has been read with the chain. */
static __always_inline enum fw_reason parse_ah(struct __sk_buff *skb, struct packet *p)
{
	struct spi_header *ah = at(skb, p->l4_off, sizeof(*ah));

	if (p->l4_len < sizeof(*ah))
		return no_room(p);
	if (!ah)
		return REASON_TRUNCATED;
	if (ah->len < AH_UNITS_MIN)
		return REASON_BAD_HEADER_LENGTH;
	if ((ah->len + 2) * 4 > p->l4_len)
		return no_room(p);
	p->seq = bpf_ntohl(ah->spi);
	return p->seq ? REASON_NONE : REASON_BAD_TUNNEL;
}

GLOBAL int parse_tunnel(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();

	if (!cpu)
		return REASON_NO_POLICY;
	switch (cpu->packet.tuple.proto) {
	case IPPROTO_GRE:
		return parse_gre(skb, &cpu->packet);
	case IPPROTO_ESP:
		return parse_esp(skb, &cpu->packet);
	}
	return parse_ah(skb, &cpu->packet);
}

#endif
