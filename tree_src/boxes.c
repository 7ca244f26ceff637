// SPDX-License-Identifier: MIT
/* Entries as ranges of the fields that a tree splits by. */
#include <stdlib.h>
#include <string.h>
#include "tree.h"

#define V4_WIDE (1u << 24) /* addresses: more than a /8 */
#define V6_WIDE (1u << 16) /* of the first word: more than a /16 */

static const uint8_t v4_fields[] = {
	FIELD_PROTO, FIELD_SCOPE, FIELD_SPORT, FIELD_DPORT, FIELD_SRC + 3, FIELD_DST + 3,
};

static const uint8_t v6_fields[] = {
	FIELD_PROTO,   FIELD_SCOPE,   FIELD_SPORT, FIELD_DPORT,   FIELD_SRC,     FIELD_SRC + 1,
	FIELD_SRC + 2, FIELD_SRC + 3, FIELD_DST,   FIELD_DST + 1, FIELD_DST + 2, FIELD_DST + 3,
};

struct address {
	uint64_t half[2];
};

struct span {
	struct address lo;
	struct address hi;
};

static const unsigned char *entry_of(const struct boxes *b, uint32_t position)
{
	return b->entries + (size_t)b->number[position] * b->layout->size;
}

static struct span span_at(const struct boxes *b, const unsigned char *entry, uint32_t offset)
{
	struct span s;

	memcpy(&s, entry + offset, sizeof(s));
	/* an entry of both families asks for no address */
	if (!entry[b->layout->family]) {
		memset(&s.lo, 0, sizeof(s.lo));
		memset(&s.hi, 0xff, sizeof(s.hi));
	}
	return s;
}

static struct range ports_at(const unsigned char *entry, uint32_t offset)
{
	uint16_t ends[2];

	memcpy(ends, entry + offset, sizeof(ends));
	return (struct range){ends[0], ends[1]};
}

static uint32_t word(const struct address *a, uint32_t i)
{
	return (uint32_t)(a->half[i / 2] >> (i % 2 ? 0 : 32));
}

/* A word of an address is bounded as long as all before it are the same at both ends. */
static struct range word_range(const struct boxes *b, const struct span *s, uint32_t i)
{
	uint32_t before;

	for (before = b->v6 ? 0 : 3; before < i; before++)
		if (word(&s->lo, before) != word(&s->hi, before))
			return (struct range){0, UINT32_MAX};
	return (struct range){word(&s->lo, i), word(&s->hi, i)};
}

static struct range scope_range(uint8_t scopes)
{
	struct range r = {0, 2};

	while (r.lo < 2 && !(scopes >> r.lo & 1))
		r.lo++;
	while (r.hi > r.lo && !(scopes >> r.hi & 1))
		r.hi--;
	return r;
}

static struct range range_of(const struct boxes *b, const unsigned char *entry, uint32_t field)
{
	const struct fwtree_layout *at = b->layout;
	struct span s;

	switch (field) {
	case FIELD_PROTO:
		return entry[at->proto] ? (struct range){entry[at->proto], entry[at->proto]} :
					  (struct range){0, 255};
	case FIELD_SCOPE:
		return scope_range(entry[at->scopes]);
	case FIELD_SPORT:
		return ports_at(entry, at->sport);
	case FIELD_DPORT:
		return ports_at(entry, at->dport);
	}
	s = span_at(b, entry, field < FIELD_DST ? at->src : at->dst);
	return word_range(b, &s, (field - FIELD_SRC) % 4);
}

int boxes_read(struct boxes *b, const void *entries, uint32_t count,
	       const struct fwtree_layout *layout, bool v6)
{
	uint32_t i, dim;

	*b = (struct boxes){.entries = entries, .layout = layout, .v6 = v6};
	b->fields = v6 ? v6_fields : v4_fields;
	b->dims = v6 ? sizeof(v6_fields) : sizeof(v4_fields);
	b->number = malloc(((size_t)count + 1) * sizeof(*b->number));
	if (!b->number)
		return FWTREE_NO_MEMORY;
	for (i = 0; i < count; i++) {
		uint8_t family = b->entries[(size_t)i * layout->size + layout->family];

		if (!family || (family == 6) == v6)
			b->number[b->count++] = i;
	}
	b->ranges = malloc(((size_t)b->count + 1) * b->dims * sizeof(*b->ranges));
	if (!b->ranges)
		return FWTREE_NO_MEMORY;
	for (i = 0; i < b->count; i++)
		for (dim = 0; dim < b->dims; dim++)
			b->ranges[(size_t)i * b->dims + dim] =
				range_of(b, entry_of(b, i), b->fields[dim]);
	return FWTREE_OK;
}

void boxes_free(struct boxes *b)
{
	free(b->number);
	free(b->ranges);
}

/* Whether it matches all that is in its box. */
bool box_is_sure(const struct boxes *b, uint32_t position)
{
	uint16_t flags;

	memcpy(&flags, entry_of(b, position) + b->layout->flags, sizeof(flags));
	return !(flags & b->layout->further);
}

static int compare(const struct address *a, const struct address *b)
{
	int half = a->half[0] == b->half[0];

	return a->half[half] < b->half[half] ? -1 : a->half[half] > b->half[half];
}

static bool span_covers(const struct span *s, const struct range *words)
{
	struct address lo, hi;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		lo.half[i] = (uint64_t)words[2 * i].lo << 32 | words[2 * i + 1].lo;
		hi.half[i] = (uint64_t)words[2 * i].hi << 32 | words[2 * i + 1].hi;
	}
	return compare(&s->lo, &lo) <= 0 && compare(&hi, &s->hi) <= 0;
}

/* Whether all that is in the region is in the box. */
bool box_covers(const struct boxes *b, uint32_t position, const struct region *region)
{
	const struct range *box = &b->ranges[(size_t)position * b->dims];
	const unsigned char *entry = entry_of(b, position);
	struct span src, dst;
	uint32_t dim, scope;

	for (dim = 0; dim < (b->v6 ? FIELD_SRC : b->dims); dim++) {
		const struct range *r = &region->of[b->fields[dim]];

		if (box[dim].lo > r->lo || box[dim].hi < r->hi)
			return false;
	}
	for (scope = region->of[FIELD_SCOPE].lo; scope <= region->of[FIELD_SCOPE].hi; scope++)
		if (!(entry[b->layout->scopes] >> scope & 1))
			return false;
	if (!b->v6)
		return true;
	src = span_at(b, entry, b->layout->src);
	dst = span_at(b, entry, b->layout->dst);
	return span_covers(&src, &region->of[FIELD_SRC]) &&
	       span_covers(&dst, &region->of[FIELD_DST]);
}

/* Which group an entry is in: bit 0, it is wide in its source; bit 1, in its destination. */
uint32_t box_group(const struct boxes *b, uint32_t position)
{
	const struct range *box = &b->ranges[(size_t)position * b->dims];
	const struct range *src = &box[4], *dst = &box[b->v6 ? 8 : 5];
	uint32_t wide = b->v6 ? V6_WIDE : V4_WIDE;

	return (src->hi - src->lo >= wide) | (uint32_t)(dst->hi - dst->lo >= wide) << 1;
}
