/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which entry of the ruleset decides: the lowest that matches. Few are scanned in
 * order. Of many, trees name some: see docs/design.md, "The classifier", and tree_src/
 * for what builds them. The caller sees only judge().
 */
#ifndef FW_CLASSIFY_H
#define FW_CLASSIFY_H

#include "match.h"

enum fw_scan {
	SCAN_ON,
	SCAN_END,
};

/* Loops are of calls that loop: the verifier walks the sum of their turns, not the product. */
enum fw_turns {
	SCAN_AT_ONCE = 8,
	CELLS_AT_ONCE = 4,
	WORDS_AT_ONCE = 8,
	LINE_PARTS = TREE_LINE / WORDS_AT_ONCE,
	PARTS_AT_ONCE = 16,
};

/* Entries of a ruleset with one chunk, from `first` on: SCAN_ON if the next ones are to be looked at too. */
GLOBAL int scan_some(__u32 first)
{
	struct cpu *cpu = this_cpu();
	__u32 slot, zero = 0, i;
	struct chunk *chunk;
	struct packet *p;
	void *classifier;

	if (!cpu)
		return SCAN_END;
	p = &cpu->packet;
	slot = p->generation % GENERATION_SLOTS;
	classifier = bpf_map_lookup_elem(&classifiers, &slot);
	if (!classifier)
		return SCAN_END;
	chunk = bpf_map_lookup_elem(classifier, &zero);
	if (!chunk)
		return SCAN_END;
	for (i = 0; i < SCAN_AT_ONCE; i++) {
		__u32 number = first + i;
		const struct entry *e = &chunk->entries[number % ENTRIES_PER_CHUNK];

		/* one register holds it: else the verifier asks at each use where that came from */
		barrier_var(e);
		if (!e->scopes)
			return SCAN_END;
		if (entry_matches(e, number, &p->question)) {
			p->entry = number;
			return SCAN_END;
		}
	}
	return SCAN_ON;
}

static __always_inline void scan_chunk(void)
{
	__u32 first;

	for (first = 0; first < ENTRIES_PER_CHUNK; first += SCAN_AT_ONCE)
		if (scan_some(first) == SCAN_END)
			break;
}

/* From a cell some way down to the leaf below it. Arithmetic, not branches: older verifiers walk one way only. */
GLOBAL int descend_some(__u32 pointer)
{
	struct cpu *cpu = this_cpu();
	struct packet *p;
	void *lines;
	__u32 slot;
	int i;

	if (!cpu)
		return NO_ENTRY;
	p = &cpu->packet;
	slot = p->generation % GENERATION_SLOTS;
	lines = bpf_map_lookup_elem(&trees, &slot);
	if (!lines)
		return NO_ENTRY;
	for (i = 0; i < CELLS_AT_ONCE && !(pointer & TREE_LEAF); i++) {
		const struct cell *cell = bpf_map_lookup_elem(lines, &pointer);
		__u32 node = 1, level;

		if (!cell)
			return NO_ENTRY;
#pragma unroll
		for (level = 0; level < 3; level++) {
			__u32 field = cell->fields >> 4 * (node - 1) & 15;
			__u64 above = cell->thresholds[(node - 1) & 7];

			above = (above - p->question.field[field]) >> 63;
			barrier_var(above);
			node = 2 * node + above;
		}
		pointer = cell->children[node & 7];
	}
	return pointer;
}

static __always_inline __u32 descend(__u32 pointer)
{
	int i;

	for (i = 0; i < TREE_CELLS && !(pointer & TREE_LEAF); i += CELLS_AT_ONCE)
		pointer = descend_some(pointer);
	return pointer;
}

/* One part of a leaf: SCAN_ON if the next is to be looked at too. */
GLOBAL int scan_part(__u32 part)
{
	struct cpu *cpu = this_cpu();
	__u32 slot, line, first, i;
	const struct leaf *leaf;
	void *lines, *chunks;
	struct packet *p;

	if (!cpu)
		return SCAN_END;
	p = &cpu->packet;
	slot = p->generation % GENERATION_SLOTS;
	lines = bpf_map_lookup_elem(&trees, &slot);
	chunks = bpf_map_lookup_elem(&classifiers, &slot);
	if (!lines || !chunks)
		return SCAN_END;
	line = part / LINE_PARTS;
	leaf = bpf_map_lookup_elem(lines, &line);
	if (!leaf)
		return SCAN_END;
	first = part % LINE_PARTS * WORDS_AT_ONCE;
	for (i = 0; i < WORDS_AT_ONCE; i++) {
		__u32 word = leaf->entries[first + i];
		__u32 number = word & ~TREE_LAST;
		const struct entry *e;

		if (number >= p->entry)
			return SCAN_END;
		e = entry_at(chunks, number);
		if (!e)
			return SCAN_END;
		if (entry_matches(e, number, &p->question)) {
			p->entry = number;
			return SCAN_END;
		}
		if (word & TREE_LAST)
			return SCAN_END;
	}
	return SCAN_ON;
}

GLOBAL int scan_parts(__u32 part)
{
	int i;

	for (i = 0; i < PARTS_AT_ONCE; i++)
		if (scan_part(part + i) == SCAN_END)
			return SCAN_END;
	return SCAN_ON;
}

/* The parts of a leaf behind its first. */
GLOBAL int scan_chain(__u32 part)
{
	int i;

	for (i = 1; i < TREE_CHAIN * LINE_PARTS; i += PARTS_AT_ONCE)
		if (scan_parts(part + i) == SCAN_END)
			break;
	return SCAN_END;
}

static __always_inline void fill_fields(struct question *q)
{
	q->field[FIELD_PROTO] = q->proto;
	q->field[FIELD_SCOPE] = q->scope;
	q->field[FIELD_SPORT] = q->sport;
	q->field[FIELD_DPORT] = q->dport;
	q->field[FIELD_SRC] = q->src[0] >> 32;
	q->field[FIELD_SRC + 1] = q->src[0];
	q->field[FIELD_SRC + 2] = q->src[1] >> 32;
	q->field[FIELD_SRC + 3] = q->src[1];
	q->field[FIELD_DST] = q->dst[0] >> 32;
	q->field[FIELD_DST + 1] = q->dst[0];
	q->field[FIELD_DST + 2] = q->dst[1] >> 32;
	q->field[FIELD_DST + 3] = q->dst[1];
}

/* The trees of the family, until what is found is lower than all that the next ones have. */
static __always_inline void search(struct packet *p, const struct settings *s)
{
	__u32 family = p->question.family == 6, group;

	fill_fields(&p->question);
	for (group = 0; group < TREE_GROUPS; group++) {
		const struct tree_root *tree = &s->trees[family * TREE_GROUPS + group];
		__u32 part;

		if (tree->first >= p->entry)
			return;
		part = (descend(tree->root) & ~TREE_LEAF) * LINE_PARTS;
		if (scan_part(part) == SCAN_ON)
			scan_chain(part);
	}
}

/* What the entry that was found says; the scope's default if there is none. */
static __always_inline enum fw_reason decide(struct packet *p, const struct settings *s)
{
	__u32 slot = p->generation % GENERATION_SLOTS;
	__u32 scope = p->question.scope;
	const struct entry *e;
	void *chunks;

	if (p->entry == NO_ENTRY) {
		if (scope >= SCOPE_COUNT)
			return REASON_NO_POLICY;
		p->action = s->defaults[scope];
		p->rule = 0;
		p->counter = scope;
		p->log = s->default_log >> scope & 1;
		p->further = 0;
		return REASON_NONE;
	}
	chunks = bpf_map_lookup_elem(&classifiers, &slot);
	e = chunks ? entry_at(chunks, p->entry) : NULL;
	if (!e)
		return REASON_NO_POLICY;
	p->action = e->action;
	p->rule = e->rule;
	p->counter = e->counter;
	p->log = e->flags & ENTRY_LOG;
	p->further = e->further;
	return REASON_NONE;
}

/* Answer p->question: sets action, rule, counter, log. */
GLOBAL int judge(void)
{
	struct cpu *cpu = this_cpu();
	struct settings *s;
	struct packet *p;
	__u32 slot;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	slot = p->generation % GENERATION_SLOTS;
	/* without its entries a ruleset is no ruleset, and its default is not its answer */
	if (!bpf_map_lookup_elem(&classifiers, &slot) ||
	    (!s->linear && !bpf_map_lookup_elem(&trees, &slot)))
		return REASON_NO_POLICY;
	p->entry = NO_ENTRY;
	if (s->edges && tell_time())
		return REASON_NO_POLICY;
	if (s->sets_of & 1)
		find_sets(0);
	if (s->sets_of & 2)
		find_sets(1);
	if (s->linear)
		scan_chunk();
	else
		search(p, s);
	return decide(p, s);
}

#endif
