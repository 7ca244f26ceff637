/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the rules say of an opener. The entries of the ruleset are scanned in
 * order and the first that matches decides; the caller sees only judge().
 */
#ifndef FW_MATCH_H
#define FW_MATCH_H

#include "antispoof.h"
#include "further.h"
#include "sets.h"

enum fw_scan {
	SCAN_ON,
	SCAN_FOUND,
	SCAN_END,
};

static __always_inline bool in_range(const struct range *r, const __u64 *a)
{
	if (a[0] < r->lo[0] || (a[0] == r->lo[0] && a[1] < r->lo[1]))
		return false;
	return a[0] < r->hi[0] || (a[0] == r->hi[0] && a[1] <= r->hi[1]);
}

/*
 * Arithmetic in the place of branches: the verifier would walk the rest of 32
 * entries on each way that they can lead.
 */
static __always_inline __u64 has_pattern(__u64 patterns, __u8 pattern)
{
	return (patterns >> (pattern & 63) | pattern >> 7) & 1; /* PATTERN_ANY has bit 7 */
}

/* Zero demands nothing. */
static __always_inline __u32 differs(__u32 demanded, __u32 is)
{
	return demanded * (demanded ^ is);
}

static __always_inline bool port_in(__u32 port, __u32 lo, __u32 hi)
{
	return port - lo <= hi - lo;
}

static __always_inline bool entry_matches(const struct entry *e, const struct question *q)
{
	if (!(e->scopes >> (q->scope & 7) & 1))
		return false;
	if (differs(e->family, q->family) | differs(e->proto, q->proto))
		return false;
	if (!port_in(q->dport, e->dport_lo, e->dport_hi) ||
	    !port_in(q->sport, e->sport_lo, e->sport_hi))
		return false;
	if (!(has_pattern(q->on, e->on) & has_pattern(q->via, e->via)))
		return false;
	if (e->flags & ENTRY_SRC && !in_range(&e->src, q->src))
		return false;
	if (e->flags & ENTRY_DST && !in_range(&e->dst, q->dst))
		return false;
	return sets_match(e->src_sets, e->dst_sets, e->flags);
}

/* One element of the classifier: ENTRIES_PER_CHUNK entries. */
GLOBAL int match_chunk(__u32 index)
{
	struct cpu *cpu = this_cpu();
	struct chunk *chunk;
	struct packet *p;
	void *classifier;
	__u32 slot;
	int i;

	if (!cpu)
		return SCAN_END;
	p = &cpu->packet;
	slot = p->generation % GENERATION_SLOTS;
	classifier = bpf_map_lookup_elem(&classifiers, &slot);
	if (!classifier)
		return SCAN_END;
	chunk = bpf_map_lookup_elem(classifier, &index);
	if (!chunk)
		return SCAN_END;
	for (i = 0; i < ENTRIES_PER_CHUNK; i++) {
		const struct entry *e = &chunk->entries[i];

		/* one register holds it: else the verifier asks at each use where that came from */
		barrier_var(e);
		if (!e->scopes)
			return SCAN_END;
		if (!entry_matches(e, &p->question))
			continue;
		if (e->further && !further_holds(e->further, e->rule))
			continue;
		p->action = e->action;
		p->rule = e->rule;
		p->counter = e->counter;
		p->log = e->flags & ENTRY_LOG;
		p->further = e->further;
		return SCAN_FOUND;
	}
	return SCAN_ON;
}

/* Answer p->question: sets action, rule, counter, log; the scope's default if no rule matches. */
GLOBAL int judge(void)
{
	struct cpu *cpu = this_cpu();
	struct settings *s;
	struct packet *p;
	__u32 i, scope;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	for (i = 0; i < CHUNKS_MAX; i++) {
		int scan;

		if (i >= s->chunks)
			break;
		scan = match_chunk(i);
		if (scan == SCAN_FOUND)
			return REASON_NONE;
		if (scan == SCAN_END)
			break;
	}
	scope = p->question.scope;
	if (scope >= SCOPE_COUNT)
		return REASON_NO_POLICY;
	p->action = s->defaults[scope];
	p->rule = 0;
	p->counter = scope;
	p->log = s->default_log >> scope & 1;
	p->further = 0;
	return REASON_NONE;
}

static __always_inline __u64 patterns_of(const struct settings *s, __u32 ifindex)
{
	struct iface *iface = ifindex ? iface_of(ifindex) : NULL;
	__u32 class = iface ? iface->class_id : 0;

	return class < CLASSES_MAX ? s->patterns[class] : 0;
}

static __always_inline void host_order(__u64 *half, const __be32 *words)
{
	half[0] = (__u64)bpf_ntohl(words[0]) << 32 | bpf_ntohl(words[1]);
	half[1] = (__u64)bpf_ntohl(words[2]) << 32 | bpf_ntohl(words[3]);
}

/* Put the question of a tuple as its sender (or, reversed, its receiver) would open it. */
static __always_inline void ask(struct packet *p, const struct tuple *t, __u32 icmp, bool reversed)
{
	struct question *q = &p->question;

	host_order(q->src, reversed ? t->dst : t->src);
	host_order(q->dst, reversed ? t->src : t->dst);
	q->sport = bpf_ntohs(reversed ? t->dport : t->sport);
	q->dport = bpf_ntohs(reversed ? t->sport : t->dport);
	if (is_icmp(t)) {
		q->sport = 0;
		q->dport = icmp;
	}
	q->family = t->family;
	q->proto = t->proto;
	q->sets_known = 0;
	p->holds_s = 0;
}

static __always_inline void ask_way(struct packet *p, const struct settings *s, __u32 scope,
				    __u32 in_ifindex, __u32 out_ifindex)
{
	p->question.scope = scope;
	p->question.on = patterns_of(s, in_ifindex);
	p->question.via = patterns_of(s, out_ifindex);
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
