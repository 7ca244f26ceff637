// SPDX-License-Identifier: MIT
/*
 * A tree from a list of entries: regions are cut in two until few entries are left in each. Levels and
 * references are bounded; where a bound is met the leaf is longer.
 */
#include <stdlib.h>
#include <string.h>
#include "tree.h"

struct place {
	struct region region;
	size_t list; /* where its entries are in build.lists */
	uint32_t count;
	uint32_t level;
	uint64_t budget; /* references that its leaves may have */
};

int words_reserve(struct words *w, size_t more)
{
	size_t room = w->room ? w->room : 1024;
	uint32_t *data;

	if (more <= w->room - w->used)
		return FWTREE_OK;
	while (room - w->used < more)
		room *= 2;
	data = realloc(w->data, room * sizeof(*data));
	if (!data)
		return FWTREE_NO_MEMORY;
	w->data = data;
	w->room = room;
	return FWTREE_OK;
}

static int new_node(struct build *b, uint32_t *index)
{
	if (b->nodes_used == b->nodes_room) {
		size_t room = b->nodes_room ? 2 * b->nodes_room : 1024;
		struct node *nodes = realloc(b->nodes, room * sizeof(*nodes));

		if (!nodes)
			return FWTREE_NO_MEMORY;
		b->nodes = nodes;
		b->nodes_room = room;
	}
	*index = (uint32_t)b->nodes_used++;
	return FWTREE_OK;
}

static int leaf(struct build *b, const struct place *p, uint32_t *pointer)
{
	uint32_t lines = (p->count + TREE_LINE - 1) / TREE_LINE, i;
	const uint32_t *list = b->lists.data + p->list;
	uint32_t *line;

	*pointer = TREE_NONE;
	if (!p->count)
		return FWTREE_OK;
	if (p->count > b->chain_max) {
		b->out->culprit = b->boxes->number[list[b->chain_max]];
		return FWTREE_CHAIN;
	}
	if (words_reserve(&b->lines, (size_t)lines * TREE_LINE))
		return FWTREE_NO_MEMORY;
	*pointer = TREE_LEAF | (uint32_t)(b->lines.used / TREE_LINE);
	line = b->lines.data + b->lines.used;
	memset(line, 0xff, (size_t)lines * TREE_LINE * sizeof(*line));
	for (i = 0; i < p->count; i++)
		line[i] = b->boxes->number[list[i]];
	line[p->count - 1] |= TREE_LAST;
	b->lines.used += (size_t)lines * TREE_LINE;
	b->out->references += p->count;
	if (p->count > b->out->longest)
		b->out->longest = p->count;
	return FWTREE_OK;
}

/* What comes after an entry that matches everything here never decides. */
static uint32_t decisive(const struct build *b, const struct place *p)
{
	const uint32_t *list = b->lists.data + p->list;
	uint32_t i;

	for (i = 0; i < p->count; i++)
		if (box_covers(b->boxes, list[i], &p->region) && box_is_sure(b->boxes, list[i]))
			return i + 1;
	return p->count;
}

/* Both sides of a cut, on top of the stack of lists: the left one, then the right one. */
static int divide(struct build *b, const struct place *p, const struct split *s, uint32_t counts[2])
{
	const struct range *ranges = b->boxes->ranges + s->dim;
	uint32_t *list, *to, side, i;

	if (words_reserve(&b->lists, 2 * (size_t)p->count))
		return FWTREE_NO_MEMORY;
	list = b->lists.data + p->list;
	to = b->lists.data + b->lists.used;
	for (side = 0; side < 2; side++) {
		counts[side] = 0;
		for (i = 0; i < p->count; i++) {
			const struct range *r = &ranges[(size_t)list[i] * b->boxes->dims];

			to[counts[side]] = list[i]; /* without a branch: it would be a toss */
			counts[side] += side ? r->hi > s->threshold : r->lo <= s->threshold;
		}
		to += counts[side];
	}
	return FWTREE_OK;
}

/* Cuts off what is outside of the first entry that may hide others; false if there is none. */
static bool trim(const struct build *b, const struct place *p, struct split *s)
{
	const uint32_t *list = b->lists.data + p->list;
	uint32_t i;

	for (i = 0; i + 1 < p->count; i++)
		if (box_is_sure(b->boxes, list[i]))
			return split_trim(b->boxes, list[i], &p->region, s);
	return false;
}

/* The counts of both sides of the cut to be made; false if the place is to be a leaf. */
static int cut(struct build *b, struct place *p, struct split *s, uint32_t counts[2], bool *made)
{
	*made = false;
	p->count = decisive(b, p);
	if (p->count <= FWTREE_LEAF_ENTRIES || p->level == 3 * TREE_CELLS)
		return FWTREE_OK;
	if (split_choose(b->boxes, b->lists.data + p->list, p->count, &p->region, s)) {
		if (divide(b, p, s, counts))
			return FWTREE_NO_MEMORY;
		/* to cut off what nothing is in is of use too: the next cut is within what is left */
		*made = (counts[0] < p->count && counts[1] < p->count) || !counts[0] || !counts[1];
	}
	if (!*made && trim(b, p, s)) {
		if (divide(b, p, s, counts))
			return FWTREE_NO_MEMORY;
		*made = true;
	}
	if (p->count <= b->chain_max &&
	    ((uint64_t)counts[0] + counts[1] > p->budget || b->out->references > b->references_max))
		*made = false;
	return FWTREE_OK;
}

static int grow_at(struct build *b, struct place *p, uint32_t *pointer)
{
	size_t top = b->lists.used;
	uint32_t counts[2] = {0, 0}, index, side;
	struct place below;
	struct split s;
	uint64_t spare;
	bool made;
	int err;

	if (p->level > b->out->levels)
		b->out->levels = p->level;
	err = cut(b, p, &s, counts, &made);
	if (err || !made)
		return err ? err : leaf(b, p, pointer);
	err = new_node(b, &index);
	if (err)
		return err;
	b->lists.used = top + counts[0] + counts[1];
	spare = (uint64_t)counts[0] + counts[1];
	spare = p->budget > spare ? p->budget - spare : 0;
	for (side = 0; side < 2; side++) {
		struct range *r;
		uint32_t child;

		below = (struct place){
			.region = p->region, .level = p->level + 1, .count = counts[side]};
		below.list = top + (side ? counts[0] : 0);
		below.budget = counts[side] + spare * counts[side] / (counts[0] + counts[1]);
		r = &below.region.of[b->boxes->fields[s.dim]];
		*(side ? &r->lo : &r->hi) = s.threshold + side;
		err = grow_at(b, &below, &child);
		if (err)
			return err;
		b->nodes[index].child[side] = child;
	}
	b->nodes[index].threshold = s.threshold;
	b->nodes[index].field = b->boxes->fields[s.dim];
	b->lists.used = top;
	*pointer = index;
	return FWTREE_OK;
}

/* The tree of a list of positions: a node, or a pointer to a leaf. */
int grow(struct build *b, const uint32_t *list, uint32_t count, uint32_t *root)
{
	struct place p = {.count = count};
	uint32_t field;

	for (field = 0; field < FIELD_COUNT; field++)
		p.region.of[field].hi = UINT32_MAX;
	p.region.of[FIELD_PROTO].hi = 255;
	p.region.of[FIELD_SCOPE].hi = 2;
	p.region.of[FIELD_SPORT].hi = p.region.of[FIELD_DPORT].hi = UINT16_MAX;
	b->references_max = b->out->references + (uint64_t)count * FWTREE_REFERENCES + FWTREE_SPARE;
	p.budget = (uint64_t)count * FWTREE_REPLICATION + FWTREE_SPARE;
	b->lists.used = 0;
	if (words_reserve(&b->lists, count))
		return FWTREE_NO_MEMORY;
	if (count)
		memcpy(b->lists.data, list, (size_t)count * sizeof(*list));
	b->lists.used = count;
	return grow_at(b, &p, root);
}
