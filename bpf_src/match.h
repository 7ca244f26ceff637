/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rules are asked of an opener, and whether an entry matches it.
 */
#ifndef FW_MATCH_H
#define FW_MATCH_H

#include "antispoof.h"
#include "further.h"
#include "sets.h"

/*
 * Arithmetic in the place of branches: the verifier would walk the rest of all
 * entries on each way that they can lead.
 */
static __always_inline __u64 has_pattern(__u64 patterns, __u8 pattern)
{
	return (patterns >> (pattern & 63) | pattern >> 7) & 1; /* PATTERN_ANY has bit 7 */
}

/* Zero demands nothing. */
static __always_inline __u64 differs(__u32 demanded, __u32 is)
{
	return demanded * (demanded ^ is);
}

/* The top bit is set if it is not from lo to hi. */
static __always_inline __u64 misses(__u64 port, __u64 lo, __u64 hi)
{
	return (port - lo) | (hi - port);
}

static __always_inline bool in_range(const struct range *r, const __u64 *a)
{
	if (a[0] < r->lo[0] || (a[0] == r->lo[0] && a[1] < r->lo[1]))
		return false;
	return a[0] < r->hi[0] || (a[0] == r->hi[0] && a[1] <= r->hi[1]);
}

/* Entry `number` of a ruleset, in an array of chunks. */
static __always_inline const struct entry *entry_at(void *chunks, __u32 number)
{
	__u32 index = number / ENTRIES_PER_CHUNK;
	struct chunk *chunk = bpf_map_lookup_elem(chunks, &index);

	return chunk ? &chunk->entries[number % ENTRIES_PER_CHUNK] : NULL;
}

/* Whether both IPv6 addresses are in an entry's ranges: verified once, not once an entry. */
GLOBAL int addresses_match(__u32 number)
{
	struct cpu *cpu = this_cpu();
	const struct entry *e;
	struct question *q;
	void *chunks;
	__u32 slot;

	if (!cpu)
		return 0;
	q = &cpu->packet.question;
	slot = cpu->packet.generation % GENERATION_SLOTS;
	chunks = bpf_map_lookup_elem(&classifiers, &slot);
	e = chunks ? entry_at(chunks, number) : NULL;
	if (!e || (e->flags & ENTRY_SRC && !in_range(&e->src, q->src)))
		return 0;
	return !(e->flags & ENTRY_DST) || in_range(&e->dst, q->dst);
}

/* Whether its ends are in an entry's sets: verified once, too. */
GLOBAL int in_its_sets(__u32 number)
{
	struct cpu *cpu = this_cpu();
	const struct entry *e;
	void *chunks;
	__u32 slot;

	if (!cpu)
		return 0;
	slot = cpu->packet.generation % GENERATION_SLOTS;
	chunks = bpf_map_lookup_elem(&classifiers, &slot);
	e = chunks ? entry_at(chunks, number) : NULL;
	return e && sets_match(e, &cpu->packet.question);
}

/* What is not a range, and so no field of a tree: the search goes on behind an entry that fails here. */
static __always_inline bool unsure_matches(const struct entry *e, __u32 number,
					   const struct question *q)
{
	if (!(has_pattern(q->on, e->on) & has_pattern(q->via, e->via)))
		return false;
	if (e->flags & ENTRY_OF_SETS && !in_its_sets(number))
		return false;
	return !e->further || further_holds(e->further, e->rule);
}

static __always_inline bool entry_matches(const struct entry *e, __u32 number,
					  const struct question *q)
{
	__u64 v4 = (e->family >> 2 & ~(e->family >> 1)) & 1;
	__u64 wrong = misses(q->src[1], e->src.lo[1], e->src.hi[1]) |
		      misses(q->dst[1], e->dst.lo[1], e->dst.hi[1]);

	wrong = (wrong >> 63) & v4;
	wrong |= ~(__u64)e->scopes >> (q->scope & 7) & 1;
	wrong |= differs(e->family, q->family) | differs(e->proto, q->proto);
	wrong |= misses(q->dport, e->dport_lo, e->dport_hi) >> 63;
	wrong |= misses(q->sport, e->sport_lo, e->sport_hi) >> 63;
	if (wrong)
		return false;
	if (e->family == 6 && !addresses_match(number))
		return false;
	return !(e->flags & ENTRY_UNSURE) || unsure_matches(e, number, q);
}

static __always_inline __u64 patterns_of(const struct settings *s, __u32 ifindex)
{
	struct iface *iface = ifindex ? iface_of(ifindex) : NULL;
	__u32 class = iface ? iface->class_id : 0;

	if (class >= CLASSES_MAX)
		return 0;
	/* 5.10 forgets what is known of a number that goes to the stack and comes back */
	barrier_var(class);
	return s->patterns[class & (CLASSES_MAX - 1)];
}

static __always_inline void host_order(__u64 *half, const __be32 *words)
{
	half[0] = (__u64)bpf_ntohl(words[0]) << 32 | bpf_ntohl(words[1]);
	half[1] = (__u64)bpf_ntohl(words[2]) << 32 | bpf_ntohl(words[3]);
}

static __always_inline void ask_ends(struct question *q, const __be32 *src, const __be32 *dst,
				     __be16 sport, __be16 dport)
{
	host_order(q->src, src);
	host_order(q->dst, dst);
	q->sport = bpf_ntohs(sport);
	q->dport = bpf_ntohs(dport);
}

static __always_inline void ask_kind(struct packet *p, const struct tuple *t, __u32 icmp)
{
	struct question *q = &p->question;

	if (is_icmp(t)) {
		q->sport = 0;
		q->dport = icmp;
	}
	q->family = t->family;
	q->proto = t->proto;
	p->until_s = 0;
}

/* Put the question of a tuple as its sender would open it. */
static __always_inline void ask(struct packet *p, const struct tuple *t, __u32 icmp)
{
	ask_ends(&p->question, t->src, t->dst, t->sport, t->dport);
	ask_kind(p, t, icmp);
}

/* That of the packet's own tuple, or, reversed, as its receiver would open it: asked in many places, verified once. */
GLOBAL int ask_own(__u32 icmp, __u32 reversed)
{
	struct cpu *cpu = this_cpu();
	struct tuple *t;

	if (!cpu)
		return 0;
	t = &cpu->packet.tuple;
	if (reversed)
		ask_ends(&cpu->packet.question, t->dst, t->src, t->dport, t->sport);
	else
		ask_ends(&cpu->packet.question, t->src, t->dst, t->sport, t->dport);
	ask_kind(&cpu->packet, t, icmp);
	return 0;
}

/* As a flow's opener would ask it, whose packet this is or not. */
static __always_inline void ask_flow(struct packet *p, const struct flow *f)
{
	if (f->flags & FLOW_PARENT)
		ask(p, &f->parent, f->icmp);
	else
		ask_own(f->icmp, p->role != ROLE_OPENER);
}

/* By which way: as ask_own(). */
GLOBAL int ask_way(__u32 scope, __u32 in_ifindex, __u32 out_ifindex)
{
	struct cpu *cpu = this_cpu();
	struct settings *s;

	if (!cpu)
		return 0;
	s = settings_of(cpu->packet.generation);
	if (!s)
		return 0; /* as judge() will say */
	cpu->packet.question.scope = scope;
	cpu->packet.question.on = patterns_of(s, in_ifindex);
	cpu->packet.question.via = patterns_of(s, out_ifindex);
	return 0;
}

static __always_inline __u32 scope_of(__u32 in_ifindex, __u32 out_ifindex)
{
	return !in_ifindex ? SCOPE_OUT : !out_ifindex ? SCOPE_IN : SCOPE_FORWARD;
}

static __always_inline enum fw_reason refusal(const struct packet *p)
{
	if (p->action >= ACTION_REJECT)
		return p->rule ? REASON_RULE_REJECT : REASON_DEFAULT_REJECT;
	return p->rule ? REASON_RULE_DROP : REASON_DEFAULT_DROP;
}

#endif
