// SPDX-License-Identifier: MIT
/* Where to cut a region in two. */
#include <stdlib.h>
#include "tree.h"

#define SAMPLE 64 /* entries that are looked at, of more */

static void sort(uint64_t *values, uint32_t count)
{
	static const uint32_t gaps[] = {57, 23, 10, 4, 1}; /* Ciura's */
	uint32_t g, i, j;

	for (g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
		for (i = gaps[g]; i < count; i++) {
			uint64_t value = values[i];

			for (j = i; j >= gaps[g] && values[j - gaps[g]] > value; j -= gaps[g])
				values[j] = values[j - gaps[g]];
			values[j] = value;
		}
	}
}

/* Of values that hardly are out of order. */
static void settle(uint32_t *values, uint32_t count)
{
	uint32_t i, j;

	for (i = 1; i < count; i++) {
		uint32_t value = values[i];

		for (j = i; j && values[j - 1] > value; j--)
			values[j] = values[j - 1];
		values[j] = value;
	}
}

/* What some entries are within a region, in one field. */
struct sample {
	uint32_t count;
	uint32_t lo[SAMPLE]; /* of those that start behind the region's start, ascending */
	uint32_t hi[SAMPLE]; /* of those that end before its end, ascending */
	uint32_t los;
	uint32_t his;
};

/* False if the field tells none of them from the others. */
static bool take(const struct boxes *b, const uint32_t *list, uint32_t count,
		 const struct range *within, uint32_t dim, struct sample *s)
{
	uint64_t inside
		[SAMPLE]; /* hi below lo: where ranges do not overlap, his are in order then too */
	uint32_t step = (count + SAMPLE - 1) / SAMPLE, i, n = 0;

	s->count = (count + step - 1) / step;
	s->los = s->his = 0;
	for (i = 0; i < s->count; i++) {
		const struct range *r = &b->ranges[(size_t)list[(size_t)i * step] * b->dims + dim];
		uint32_t lo = r->lo > within->lo ? r->lo : within->lo;
		uint32_t hi = r->hi < within->hi ? r->hi : within->hi;

		inside[n] = (uint64_t)lo << 32 | hi;
		n += lo != within->lo || hi != within->hi;
	}
	sort(inside, n);
	for (i = 0; i < n; i++) {
		s->lo[s->los] = (uint32_t)(inside[i] >> 32);
		s->los += s->lo[s->los] != within->lo;
		s->hi[s->his] = (uint32_t)inside[i];
		s->his += s->hi[s->his] != within->hi;
	}
	settle(s->hi, s->his);
	return n;
}

/* The best threshold of one field, by what would be on both sides: even halves, few in both. */
static uint64_t best_cut(const struct sample *s, const struct range *within, uint32_t *threshold)
{
	uint32_t started = 0, ended = 0, first = s->count - s->los;
	uint64_t best = UINT64_MAX;

	for (;;) {
		/* the next place where a range ends, or the one before the next where one starts */
		uint32_t cut = within->hi;
		uint64_t left, right, cost;

		if (started < s->los)
			cut = s->lo[started] - 1;
		if (ended < s->his && s->hi[ended] < cut)
			cut = s->hi[ended];
		if (cut == within->hi)
			return best;
		while (ended < s->his && s->hi[ended] <= cut)
			ended++;
		left = first + started;
		right = s->count - ended;
		cost = left * left + right * right;
		if (cost < best) {
			best = cost;
			*threshold = cut;
		}
		while (started < s->los && s->lo[started] - 1 <= cut)
			started++;
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
		/* even halves and nothing in both: no field has a better one */
		if (2 * best <= (uint64_t)s.count * s.count + 1)
			break;
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
