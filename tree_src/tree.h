/* SPDX-License-Identifier: MIT */
/* What the parts of the library share. */
#ifndef FWTREE_TREE_H
#define FWTREE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include "fwtree.h"

struct range {
	uint32_t lo;
	uint32_t hi;
};

/* What is left of the space of packets at a place in a tree. */
struct region {
	struct range of[FIELD_COUNT];
};

/* The entries of one family, by position in the order of their numbers. */
struct boxes {
	const unsigned char *entries;
	const struct fwtree_layout *layout;
	const uint8_t *fields; /* that count in this family, enum fwtree_field */
	uint32_t dims;         /* how many they are */
	uint32_t count;
	uint32_t *number;     /* of the entry */
	struct range *ranges; /* `dims` for each: no packet outside of them matches */
	bool v6;
};

struct words {
	uint32_t *data;
	size_t used;
	size_t room;
};

struct node {
	uint32_t threshold;
	uint32_t field;
	uint32_t child[2]; /* a node, or a pointer to a leaf */
};

struct build {
	const struct boxes *boxes;
	struct words lists; /* a stack of positions */
	struct words lines;
	struct node *nodes;
	size_t nodes_used;
	size_t nodes_room;
	uint32_t chain_max;
	uint64_t references_max; /* with more, what is not split yet is not split at all */
	struct fwtree *out;
};

struct split {
	uint32_t dim;
	uint32_t threshold;
};

/* boxes.c */
int boxes_read(struct boxes *b, const void *entries, uint32_t count,
	       const struct fwtree_layout *layout, bool v6);
void boxes_free(struct boxes *b);
bool box_is_sure(const struct boxes *b, uint32_t position);
bool box_covers(const struct boxes *b, uint32_t position, const struct region *region);
uint32_t box_group(const struct boxes *b, uint32_t position);

/* split.c */
bool split_choose(const struct boxes *b, const uint32_t *list, uint32_t count,
		  const struct region *region, struct split *split);
bool split_trim(const struct boxes *b, uint32_t position, const struct region *region,
		struct split *split);

/* grow.c */
int words_reserve(struct words *w, size_t more);
int grow(struct build *b, const uint32_t *list, uint32_t count, uint32_t *root);

/* pack.c */
int pack(struct build *b, uint32_t root, uint32_t *pointer);

#endif
