// SPDX-License-Identifier: MIT
/* Entries in, trees out: one for each family and group. */
#include <stdlib.h>
#include <string.h>
#include "tree.h"

static uint32_t collect(const struct boxes *b, uint32_t group, uint32_t *list)
{
	uint32_t count = 0, i;

	for (i = 0; i < b->count; i++)
		if (box_group(b, i) == group)
			list[count++] = i;
	return count;
}

static int build_group(struct build *b, const uint32_t *list, uint32_t count,
		       struct fwtree_root *root)
{
	int err;

	*root = (struct fwtree_root){TREE_NONE, TREE_NONE};
	if (!count)
		return FWTREE_OK;
	b->nodes_used = 0;
	err = grow(b, list, count, &root->root);
	if (!err)
		err = pack(b, root->root, &root->root);
	root->first = b->boxes->number[list[0]];
	return err;
}

/* The one with the lowest entry first: what is found there is likely to end the search. */
static void order(struct fwtree_root *roots)
{
	uint32_t i, j;

	for (i = 1; i < TREE_GROUPS; i++) {
		struct fwtree_root one = roots[i];

		for (j = i; j && roots[j - 1].first > one.first; j--)
			roots[j] = roots[j - 1];
		roots[j] = one;
	}
}

static int build_family(struct build *b, const struct boxes *boxes, struct fwtree_root *roots)
{
	uint32_t *list = malloc(((size_t)boxes->count + 1) * sizeof(*list)), group;
	int err = list ? FWTREE_OK : FWTREE_NO_MEMORY;

	b->boxes = boxes;
	for (group = 0; !err && group < TREE_GROUPS; group++)
		err = build_group(b, list, collect(boxes, group, list), &roots[group]);
	free(list);
	order(roots);
	return err;
}

int fwtree_build(const void *entries, uint32_t count, const struct fwtree_layout *layout,
		 uint32_t chain_max, struct fwtree *out)
{
	struct build b = {.chain_max = chain_max, .out = out};
	int err = FWTREE_OK, family;

	memset(out, 0, sizeof(*out));
	if (count > FWTREE_ENTRIES || !chain_max)
		return FWTREE_INVALID;
	for (family = 0; !err && family < TREE_FAMILIES; family++) {
		struct boxes boxes;

		err = boxes_read(&boxes, entries, count, layout, family == 1);
		if (!err)
			err = build_family(&b, &boxes, out->roots[family]);
		boxes_free(&boxes);
	}
	free(b.lists.data);
	free(b.nodes);
	out->words = b.lines.data;
	out->lines = (uint32_t)(b.lines.used / TREE_LINE);
	return err;
}

void fwtree_free(struct fwtree *tree)
{
	free(tree->words);
	tree->words = NULL;
}
