/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SCTP (RFC 9260 section 3): the common header, and which chunks lie behind it. Its
 * checksum (CRC32c) is left to the end: a packet without the right verification tag
 * does nothing, whatever it sums to, and super-packets and offloads have none yet.
 */
#ifndef FW_PARSE_SCTP_H
#define FW_PARSE_SCTP_H

#include "cursor.h"

#define CHUNK_HEAD 4
#define INIT_LEAST 20 /* bytes of an INIT and an INIT ACK before any parameter */
#define NONCE_MAX 64  /* bytes of a heartbeat that are looked at; what ends send has fewer */
#define CHUNKS_SEEN_MAX 16
#define CHUNK_T 1 /* of ABORT and SHUTDOWN COMPLETE: the tag is the sender's own */

/* Bits of packet.chunks are 1 << type; of others than these, CHUNKS_OTHER. */
enum chunk_type {
	CHUNK_DATA = 0,
	CHUNK_INIT = 1,
	CHUNK_INIT_ACK = 2,
	CHUNK_HEARTBEAT = 4,
	CHUNK_HEARTBEAT_ACK = 5,
	CHUNK_ABORT = 6,
	CHUNK_SHUTDOWN = 7,
	CHUNK_SHUTDOWN_ACK = 8,
	CHUNK_ERROR = 9,
	CHUNK_COOKIE_ECHO = 10,
	CHUNK_COOKIE_ACK = 11,
	CHUNK_SHUTDOWN_COMPLETE = 14,
};

#define CHUNKS_OTHER (1 << 16)
#define CHUNKS_REFLECTED (1 << 17) /* has the T bit */
/* RFC 9260 section 6.10: never bundled with any other */
#define CHUNKS_ALONE (1 << CHUNK_INIT | 1 << CHUNK_INIT_ACK | 1 << CHUNK_SHUTDOWN_COMPLETE)

struct chunk_head {
	__u8 type;
	__u8 flags;
	__be16 length; /* without the padding */
};

static __always_inline bool has(const struct packet *p, enum chunk_type type)
{
	return p->chunks & 1 << type;
}

/*
 * What a heartbeat bears and its answer repeats: a random number among it (RFC 9260
 * section 8.3), so that the sum of its words can be told by those on the path alone.
 */
static __always_inline __u32 heartbeat_sum(struct __sk_buff *skb, struct cpu *cpu, __u32 off,
					   __u32 bytes)
{
	bytes &= ~3;
	if (bytes > NONCE_MAX)
		bytes = NONCE_MAX;
	/* one register for the check and the calls, as in parse_tcp_options() */
	barrier_var(bytes);
	if (bytes < 4 || bytes > NONCE_MAX)
		return 0;
	if (bpf_skb_load_bytes(skb, off, cpu->options, bytes))
		return 0;
	return bpf_csum_diff(NULL, 0, (__be32 *)cpu->options, bytes, 0);
}

/*
 * One chunk, of `left` bytes that are: its size, or a reason, negated. A function of
 * its own, as parse_tcp_option() is.
 */
GLOBAL int parse_chunk(struct __sk_buff *skb, __u32 off, __u32 left)
{
	struct cpu *cpu = this_cpu();
	struct chunk_head head;
	struct packet *p;
	__u32 size;
	__be32 tag;

	if (!cpu)
		return -REASON_NO_POLICY;
	p = &cpu->packet;
	if (bpf_skb_load_bytes(skb, off, &head, sizeof(head)))
		return -REASON_TRUNCATED;
	size = bpf_ntohs(head.length);
	if (size < CHUNK_HEAD)
		return -REASON_BAD_HEADER_LENGTH;
	if (size > left && !p->fragment)
		return -REASON_DISHONEST_LENGTH;
	if (head.type == CHUNK_INIT || head.type == CHUNK_INIT_ACK) {
		if (size < INIT_LEAST)
			return -REASON_BAD_HEADER_LENGTH;
		if (left < INIT_LEAST)
			return -REASON_FRAGMENT_TINY;
		if (bpf_skb_load_bytes(skb, off + CHUNK_HEAD, &tag, sizeof(tag)))
			return -REASON_TRUNCATED;
		p->init_tag = bpf_ntohl(tag);
		if (!tag)
			return -REASON_BAD_CHUNKS;
	}
	if (head.type == CHUNK_HEARTBEAT || head.type == CHUNK_HEARTBEAT_ACK)
		p->heartbeat = heartbeat_sum(skb, cpu, off + CHUNK_HEAD, size - CHUNK_HEAD);
	if ((head.type == CHUNK_ABORT || head.type == CHUNK_SHUTDOWN_COMPLETE) &&
	    head.flags & CHUNK_T)
		p->chunks |= CHUNKS_REFLECTED;
	p->chunks |= head.type < 16 ? 1 << (head.type & 15) : CHUNKS_OTHER;
	/* control chunks come before data (RFC 9260 section 6.10) */
	return head.type == CHUNK_DATA ? PACKET_MAX : (size + 3) & ~3;
}

/*
 * The first chunks: those behind CHUNKS_SEEN_MAX others, or behind data, cannot open
 * or answer anything, and only who knows the tag could close by them.
 */
GLOBAL int parse_sctp(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	struct sctp_header *sctp;
	__u32 off, left;
	struct packet *p;
	int i, size;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	off = p->l4_off + sizeof(*sctp);
	left = p->l4_len - sizeof(*sctp);
	sctp = at(skb, p->l4_off, sizeof(*sctp));
	if (p->l4_len < sizeof(*sctp) + CHUNK_HEAD)
		return no_room(p);
	if (!sctp)
		return REASON_TRUNCATED;
	p->tuple.sport = sctp->sport;
	p->tuple.dport = sctp->dport;
	p->seq = bpf_ntohl(sctp->tag);
	p->l4_header = sizeof(*sctp);
	p->chunks = 0;
	p->heartbeat = 0;
	for (i = 0; i < CHUNKS_SEEN_MAX && left >= CHUNK_HEAD; i++) {
		size = parse_chunk(skb, off, left);
		if (size < 0)
			return -size;
		if (i && p->chunks & CHUNKS_ALONE)
			return REASON_BAD_CHUNKS;
		if (size >= left)
			break;
		off += size;
		left -= size;
	}
	/* RFC 9260 section 8.5.1: an INIT has no tag, and all else has one */
	return !p->seq == has(p, CHUNK_INIT) ? REASON_NONE : REASON_BAD_CHUNKS;
}

#endif
