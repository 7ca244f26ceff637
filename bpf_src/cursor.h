/* SPDX-License-Identifier: GPL-2.0-only */
/* How packet memory is read, and the header shapes that UAPI does not name. */
#ifndef FW_CURSOR_H
#define FW_CURSOR_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "maps.h"

#define PULL_MAX 512     /* headers are looked for in so many bytes */
#define OFFSET_MAX 0x3ff /* no header starts further in */
#define VLAN_TAGS_MAX 2  /* in the frame, beside an offloaded one */
#define EXTENSIONS_MAX 8
#define AH_UNITS_MIN 1 /* of 4 bytes, less 2: 12 bytes without a check value */

#define VLAN_VID 0x0fff
#define PACKET_MAX 0xffff /* bytes of a whole packet: IPv4's with its header, IPv6's without */
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define SCTP_LEN 12    /* RFC 9260 section 3.1 */
#define LLC_STP 0x4242 /* destination and source service */
#ifndef ETH_P_LLDP
#define ETH_P_LLDP 0x88cc
#endif

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

struct extension {
	__u8 next;
	__u8 len;
	__be16 offset; /* fragment header only */
	__be32 id;
};

/* linux/icmp.h would bring the C library's headers along */
struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be16 id; /* of queries and replies */
	__be16 sequence;
};

struct ports {
	__be16 sport;
	__be16 dport;
};

/* RFC 9260 section 3.1 */
struct sctp_header {
	__be16 sport;
	__be16 dport;
	__be32 tag;
	__le32 checksum;
};

/*
 * A word of the context, read with its offset inside the instruction: the
 * verifier refuses the pointer to the field that the compiler would keep.
 */
#define CONTEXT_WORD(skb, field)                                                  \
	({                                                                        \
		__u64 word_;                                                      \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                             \
			     : "=r"(word_)                                        \
			     : "r"(skb), "i"(offsetof(struct __sk_buff, field))); \
		word_;                                                            \
	})

static __always_inline struct env *given_env(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&env_map, &zero);
}

/* What the hook says of the packet, or what was written in its place for a scratch copy. */
static __always_inline bool read_env(struct __sk_buff *skb, struct env *env, enum fw_hook hook)
{
	if (env_from_map) {
		struct env *given = given_env();

		if (given)
			*env = *given;
		return given;
	}
	env->ifindex = CONTEXT_WORD(skb, ifindex);
	env->mark = CONTEXT_WORD(skb, mark);
	env->gso_size = CONTEXT_WORD(skb, gso_size);
	env->gso_segs = env->gso_size ? CONTEXT_WORD(skb, gso_segs) : 0;
	env->vlan_present = CONTEXT_WORD(skb, vlan_present);
	if (env->vlan_present) {
		env->vlan_tci = CONTEXT_WORD(skb, vlan_tci);
		env->vlan_proto = CONTEXT_WORD(skb, vlan_proto);
	}
	if (hook == HOOK_EGRESS) {
		env->ingress_ifindex = CONTEXT_WORD(skb, ingress_ifindex);
		env->tc_index = CONTEXT_WORD(skb, tc_index);
		env->hash = CONTEXT_WORD(skb, hash);
	}
	return true;
}

/* The one bounds check: `len` bytes at `off`, or NULL. */
static __always_inline void *at(struct __sk_buff *skb, __u32 off, __u32 len)
{
	void *end = (void *)CONTEXT_WORD(skb, data_end);
	void *here = (void *)CONTEXT_WORD(skb, data);

	if (off > OFFSET_MAX)
		return NULL;
	here += off;
	/* keep one register for both uses: the verifier follows no copies */
	barrier_var(here);
	return here + len > end ? NULL : here;
}

/* Addresses are copied by halves: a load must not span two recent stores. */
typedef __u64 __attribute__((may_alias)) half_t;

/* For what is copied from or to the stack: there the verifier wants halves aligned. */
#define HALVES_ALIGNED __attribute__((aligned(8)))

static __always_inline void copy_words(__be32 *dst, const __be32 *src)
{
	((half_t *)dst)[0] = ((const half_t *)src)[0];
	((half_t *)dst)[1] = ((const half_t *)src)[1];
}

static __always_inline bool same_address(const __be32 *a, const __be32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

static __always_inline bool is_icmp(const struct tuple *t)
{
	return t->proto == (t->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline bool has_spi(const struct tuple *t)
{
	return t->proto == IPPROTO_ESP || t->proto == IPPROTO_AH;
}

static __always_inline void copy_v4(__be32 *dst, __be32 address)
{
	const __be32 words[4] HALVES_ALIGNED = {0, 0, 0, address};

	copy_words(dst, words);
}

/* The IP packet ends before a header of this length does. */
static __always_inline enum fw_reason no_room(const struct packet *p)
{
	return p->fragment ? REASON_FRAGMENT_TINY : REASON_DISHONEST_LENGTH;
}

#endif
