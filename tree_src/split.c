// SPDX-License-Identifier: MIT
/* Where to cut a region in two. */
#include <stdlib.h>
#include "tree.h"

#define SAMPLE 128 /* entries that are looked at, of more */

static void sort(uint32_t *values, uint32_t count)
{
	static const uint32_t gaps[] = {57, 23, 10, 4, 1}; /* Ciura's */
	uint32_t g, i, j;

	for (g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		for (i = gaps[g]; i < count; i++) {
			uint32_t value = values[i];

			for (j = i; j >= gaps[g] && values[j - gaps[g]] > value; j -= gaps[g])
				values[j] = values[j - gaps[g]];
			values[j] = value;
		}
	}
}

struct sample {
	uint32_t lo[SAMPLE];
	uint32_t hi[SAMPLE];
	uint32_t count;
};

/* False if the field tells none of them from the others. */
static bool take(const struct boxes *b, const uint32_t *list, uint32_t count,
		 const struct range *within, uint32_t dim, struct sample *s)
{
	uint32_t i, cut = 0;

	s->count = count < SAMPLE ? count : SAMPLE;
	for (i = 0; i < s->count; i++) {
		uint32_t at = (uint32_t)((uint64_t)i * count / s->count);
		const struct range *r = &b->ranges[(size_t)list[at] * b->dims + dim];

		s->lo[i] = r->lo > within->lo ? r->lo : within->lo;
		s->hi[i] = r->hi < within->hi ? r->hi : within->hi;
		cut |= s->lo[i] != within->lo || s->hi[i] != within->hi;
	}
	return cut;
}

/* The best threshold of one field, by what would be on both sides: even halves, few in both. */
static uint64_t best_cut(struct sample *s, const struct range *within, uint32_t *threshold)
{
	uint64_t best = UINT64_MAX;
	uint32_t starts = 0, ends = 0;

	sort(s->lo, s->count);
	sort(s->hi, s->count);
	for (;;) {
		/* the next place where a range ends, or the one before the next where one starts */
		uint32_t cut = within->hi;
		uint64_t cost;

		while (starts < s->count && s->lo[starts] == within->lo)
			starts++;
		if (starts < s->count && s->lo[starts] - 1 < cut)
			cut = s->lo[starts] - 1;
		if (ends < s->count && s->hi[ends] < cut)
			cut = s->hi[ends];
		if (cut == within->hi)
			return best;
		while (ends < s->count && s->hi[ends] <= cut)
			ends++;
		cost = (uint64_t)starts * starts + (uint64_t)(s->count - ends) * (s->count - ends);
		if (cost < best) {
			best = cost;
			*threshold = cut;
		}
		while (starts < s->count && s->lo[starts] - 1 <= cut)
			starts++;
	}
}

/* False if no cut leaves less than all on both of its sides. */
bool split_choose(const struct boxes *b, const uint32_t *list, uint32_t count,
		  const struct region *region, struct split *split)
{
	uint64_t best = UINT64_MAX;
	struct sample s;
	uint32_t dim;

	for (dim = 0; dim < b->dims; dim++) {
		const struct range *within = &region->of[b->fields[dim]];
		uint32_t threshold = 0;
		uint64_t cost;

		if (!take(b, list, count, within, dim, &s))
			continue;
		cost = best_cut(&s, within, &threshold);
		if (cost < best) {
			best = cost;
			*split = (struct split){dim, threshold};
		}
	}
	return best < UINT64_MAX;
}

/* A cut along an edge of one box, so that in the end the region is inside of it. */
bool split_trim(const struct boxes *b, uint32_t position, const struct region *region,
		struct split *split)
{
	const struct range *box = &b->ranges[(size_t)position * b->dims];
	uint32_t dim;

	for (dim = 0; dim < b->dims; dim++) {
		const struct range *within = &region->of[b->fields[dim]];

		if (box[dim].lo > within->lo) {
			*split = (struct split){dim, box[dim].lo - 1};
			return true;
		}
		if (box[dim].hi < within->hi) {
			*split = (struct split){dim, box[dim].hi};
			return true;
		}
	}
	return false;
}
