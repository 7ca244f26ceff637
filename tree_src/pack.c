// SPDX-License-Identifier: MIT
/* Trees as cells of three levels each. */
#include <string.h>
#include "tree.h"

#define INNER 7

/* Cells are behind all leaves of their tree: `b->lines` has those already. */
static int cell(struct build *b, uint32_t root, uint32_t *pointer)
{
	uint32_t heap[2 * (INNER + 1)], *line, fields = 0, i;
	size_t at = b->lines.used;
	int err;

	if (words_reserve(&b->lines, TREE_LINE))
		return FWTREE_NO_MEMORY;
	b->lines.used += TREE_LINE;
	line = b->lines.data + at;
	heap[1] = root;
	for (i = 1; i <= INNER; i++) {
		if (heap[i] & TREE_LEAF) { /* reached by going left */
			line[i - 1] = UINT32_MAX;
			heap[2 * i] = heap[i];
			heap[2 * i + 1] = TREE_NONE;
			continue;
		}
		line[i - 1] = b->nodes[heap[i]].threshold;
		fields |= b->nodes[heap[i]].field << 4 * (i - 1);
		heap[2 * i] = b->nodes[heap[i]].child[0];
		heap[2 * i + 1] = b->nodes[heap[i]].child[1];
	}
	line[INNER] = fields;
	for (i = 0; i <= INNER; i++) {
		uint32_t child = heap[INNER + 1 + i];

		if (!(child & TREE_LEAF)) {
			err = cell(b, child, &child);
			if (err)
				return err;
		}
		b->lines.data[at + INNER + 1 + i] = child;
	}
	*pointer = (uint32_t)(at / TREE_LINE);
	return FWTREE_OK;
}

/* `root` is what grow() made; `pointer` is what the packet path begins with. */
int pack(struct build *b, uint32_t root, uint32_t *pointer)
{
	*pointer = root;
	return root & TREE_LEAF ? FWTREE_OK : cell(b, root, pointer);
}
