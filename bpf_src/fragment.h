/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fragments are seen before reassembly, so the first, which has the ports,
 * decides, and later ones follow it while its entry lives, the way that it took.
 * No byte passes twice (RFC 5722). A later one that overtakes its first cannot be
 * held back here; it completes nothing unless the first is allowed, so that a few
 * pass to each destination, if the policy says so, and are remembered apart.
 *
 * The place of an entry is chosen by its source and a small hash of the rest: no
 * source has more than FRAGMENTS_PER_SOURCE of them, and its newest displaces
 * its own oldest. Two CPUs that follow one packet's fragments at once may lose one
 * of two runs: a later overlap would pass, or the packet never count as whole.
 */
#ifndef FW_FRAGMENT_H
#define FW_FRAGMENT_H

#include "fragment_runs.h"
#include "limit.h"

/* As long as ends wait: net.ipv4.ipfrag_time, and RFC 8200 section 4.5 for IDs that do not return. */
#define FRAGMENT_LIFE_V4_S 30
#define FRAGMENT_LIFE_V6_S 60
#define REUSE_V4_S 2   /* IDs of 16 bits return that soon (RFC 4963) though a fragment was lost */
#define EARLY_PER_S 32 /* at 1,500 bytes and 30 s less than net.ipv4.ipfrag_high_thresh, 4 MiB */

/* Where a fragment may start at the soonest: behind the header that the first must have whole. */
static __always_inline __u32 header_least(const struct packet *p)
{
	bool v6 = p->tuple.family == 6;

	switch (p->fragment_proto) {
	case IPPROTO_TCP:
		return sizeof(struct tcphdr);
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return SCTP_LEN;
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_HOPOPTS:
		return v6 ? 16 : 8; /* and 8 bytes at least behind it */
	}
	return 8;
}

/* An ICMP error's own, not those of the packet that it quotes. */
static __always_inline const __be32 *fragment_src(const struct packet *p)
{
	return p->icmp_kind == ICMP_ERROR ? p->outer_src : p->tuple.src;
}

static __always_inline const __be32 *fragment_dst(const struct packet *p)
{
	return p->icmp_kind == ICMP_ERROR ? p->outer_dst : p->tuple.dst;
}

static __always_inline void fragment_key(struct fragment_key *key, const struct packet *p)
{
	bool v6 = p->tuple.family == 6;
	const __be32 *src = fragment_src(p), *dst = fragment_dst(p);
	__u32 place = dst[0] ^ dst[1] ^ dst[2] ^ dst[3];

	copy_words(key->src, src);
	if (v6) { /* a network of 64 bits is one source */
		place ^= src[2] ^ src[3];
		key->src[2] = 0;
		key->src[3] = 0;
	}
	place ^= place >> 16;
	place ^= place >> 8;
	key->place = (place ^ p->fragment_id) % FRAGMENTS_PER_SOURCE;
	key->slot = p->slot;
	key->hook = p->hook;
}

/* RFC 791 section 3.2; in IPv6 later ones may name another header (RFC 8200 section 4.5). */
static __always_inline __u32 fragment_proto(const struct packet *p)
{
	return p->tuple.family == 4 ? p->fragment_proto : 0;
}

static __always_inline bool fragment_matches(const struct fragment *f, const struct packet *p)
{
	return f->id == p->fragment_id && f->proto == fragment_proto(p) &&
	       f->family == p->tuple.family && same_address(f->src, fragment_src(p)) &&
	       same_address(f->dst, fragment_dst(p));
}

/* The CPU that saw the first may have been a tick ahead of ours. */
static __always_inline bool fragment_within(const struct fragment *f, const struct packet *p,
					    __u32 seconds)
{
	return (__s64)(p->now_j - f->when_j) <= (__s64)seconds * hz;
}

/* Of this packet, in time, and not all there yet: a whole packet's ID may be used again. */
static __always_inline bool fragment_lives(const struct fragment *f, const struct packet *p)
{
	__u32 life_s = p->tuple.family == 4 ? FRAGMENT_LIFE_V4_S : FRAGMENT_LIFE_V6_S;

	return f && fragment_matches(f, p) && !f->whole && fragment_within(f, p, life_s);
}

static __always_inline void fragment_begin(struct fragment *f, const struct packet *p)
{
	__builtin_memset(f, 0, sizeof(*f));
	f->when_j = p->now_j;
	copy_words(f->src, fragment_src(p));
	copy_words(f->dst, fragment_dst(p));
	f->id = p->fragment_id;
	f->proto = fragment_proto(p);
	f->family = p->tuple.family;
}

/* What place_fragment() has changed. */
static __always_inline void fragment_write(struct fragment *f, const struct fragment *from)
{
	__builtin_memcpy(f->runs, from->runs, sizeof(f->runs));
	f->end = from->end;
	f->whole = from->whole;
}

/* A first fragment, before anything is decided: the same bytes must not have passed. */
static __always_inline enum fw_reason fragment_first(struct cpu *cpu, struct packet *p)
{
	struct fragment_key key HALVES_ALIGNED;
	struct fragment *f;

	fragment_key(&key, p);
	f = bpf_map_lookup_elem(&fragments, &key);
	/* what ingress has passed on is no repetition: later ones may leave without being read here */
	if (p->handed != HANDED_SAME && f && fragment_lives(f, p) &&
	    (p->tuple.family == 6 || fragment_within(f, p, REUSE_V4_S)))
		return REASON_FRAGMENT_OVERLAP;
	f = bpf_map_lookup_elem(&early_fragments, &key);
	if (fragment_lives(f, p))
		cpu->fragment = *f;
	else
		fragment_begin(&cpu->fragment, p);
	return place_fragment();
}

/* The first fragment was allowed: let the others follow. fragment_first() has left the entry in scratch. */
GLOBAL int fragment_open(void)
{
	struct cpu *cpu = this_cpu();
	struct fragment_key key HALVES_ALIGNED;
	struct fragment *f;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	f = &cpu->fragment;
	fragment_key(&key, p);
	f->when_j = p->now_j;
	f->rule = p->rule;
	f->counter = p->counter;
	f->mark = p->effects.mark;
	f->mark_mask = p->effects.mark_mask;
	f->in_ifindex = p->in_ifindex;
	f->out_slot = p->out_slot;
	if (bpf_map_update_elem(&fragments, &key, f, BPF_ANY))
		return REASON_TABLE_FULL;
	f = bpf_map_lookup_elem(&early_fragments, &key);
	if (fragment_lives(f, p))
		bpf_map_delete_elem(&early_fragments, &key);
	return REASON_NONE;
}

/* A later fragment without its first: may its destination have one more of these? */
static __always_inline bool early_token(const struct packet *p)
{
	const __be32 *dst = p->tuple.dst;
	__u32 index = dst[0] ^ dst[1] ^ dst[2] ^ dst[3];
	struct bucket *b;

	index ^= index >> 16;
	index = (index ^ index >> 8 ^ p->hook) % EARLY_DESTINATIONS;
	b = bpf_map_lookup_elem(&early_budgets, &index);
	return b && take_token(b, p->now_j, EARLY_PER_S);
}

static __always_inline enum fw_reason fragment_ahead(struct cpu *cpu, struct packet *p,
						     struct fragment_key *key)
{
	struct fragment *f = bpf_map_lookup_elem(&early_fragments, key);
	bool known = fragment_lives(f, p);
	enum fw_reason reason;

	if (known)
		cpu->fragment = *f;
	else
		fragment_begin(&cpu->fragment, p);
	reason = place_fragment();
	if (reason)
		return reason;
	if (!early_token(p))
		return REASON_FRAGMENT_FLOOD;
	if (known && f)
		fragment_write(f, &cpu->fragment);
	else if (bpf_map_update_elem(&early_fragments, key, &cpu->fragment, BPF_ANY))
		return REASON_TABLE_FULL;
	return REASON_FRAGMENT_EARLY;
}

static __always_inline enum fw_reason fragment_later(struct cpu *cpu, struct packet *p,
						     const struct settings *s)
{
	struct fragment_key key HALVES_ALIGNED;
	enum fw_reason reason;
	struct fragment *f;

	if (p->fragment_at < header_least(p))
		return REASON_FRAGMENT_HOLE;
	fragment_key(&key, p);
	f = bpf_map_lookup_elem(&fragments, &key);
	/* a stray repetition; the next packet with this ID begins with its first */
	if (f && f->whole && fragment_matches(f, p) && fragment_within(f, p, REUSE_V4_S))
		return REASON_FRAGMENT_OVERLAP;
	if (!f || !fragment_lives(f, p))
		return s->fragments_early == EARLY_PASS ? fragment_ahead(cpu, p, &key) :
							  REASON_FRAGMENT_UNKNOWN;
	if (f->in_ifindex != p->in_ifindex)
		return REASON_FRAGMENT_UNKNOWN;
	cpu->fragment = *f;
	reason = place_fragment();
	if (reason)
		return reason;
	/* the node may be another packet's by now */
	if (!fragment_lives(f, p))
		return REASON_FRAGMENT_UNKNOWN;
	fragment_write(f, &cpu->fragment);
	p->rule = cpu->fragment.rule;
	p->counter = cpu->fragment.counter;
	p->effects.mark = cpu->fragment.mark;
	p->effects.mark_mask = cpu->fragment.mark_mask;
	p->out_slot = cpu->fragment.out_slot;
	return REASON_FRAGMENT;
}

/* REASON_NONE: a first one, to be tracked like a whole packet. */
GLOBAL int check_fragment(void)
{
	struct cpu *cpu = this_cpu();
	struct settings *s;
	struct packet *p;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	return p->fragment == FRAGMENT_FIRST ? fragment_first(cpu, p) : fragment_later(cpu, p, s);
}

#endif
