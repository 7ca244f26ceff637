/* SPDX-License-Identifier: MIT */
/*
 * Builds the decision trees that the packet path finds a rule's entries by: see docs/design.md,
 * "The classifier". Entries are boxes of closed ranges in the order of their priority.
 *
 * The result is as format.h says.
 */
#ifndef FWTREE_H
#define FWTREE_H

#include <stdint.h>

#include "format.h"

#define FWTREE_API __attribute__((visibility("default")))

enum fwtree_limits {
	FWTREE_ENTRIES = 1 << 20, /* that are accepted */
	FWTREE_LEAF_ENTRIES = 2,  /* of a leaf that is not split further */
	/* A region may have so many references for each of its entries, if all leaves together have fewer than that. */
	FWTREE_REPLICATION = 64,
	FWTREE_REFERENCES = 16,
	FWTREE_SPARE = 1 << 12, /* and this many more */
};

enum fwtree_error {
	FWTREE_OK,
	FWTREE_NO_MEMORY,
	FWTREE_INVALID, /* too many entries */
	FWTREE_CHAIN,   /* a leaf would be longer than is allowed */
};

/* Where an entry has what: offsets in bytes, all numbers in host order. */
struct fwtree_layout {
	uint32_t size;   /* of an entry */
	uint32_t src;    /* u64 lo[2], hi[2] */
	uint32_t dst;    /* the same */
	uint32_t sport;  /* u16 lo, hi */
	uint32_t dport;  /* the same */
	uint32_t family; /* u8: 4, 6, or 0 for both, any address */
	uint32_t proto;  /* u8: 0 is any */
	uint32_t scopes; /* u8: a bit for each of three */
	uint32_t flags;  /* u16 */
	/* The bit of flags of an entry that may not match what is in its box: nothing is hidden by it. */
	uint32_t further;
};

struct fwtree_root {
	uint32_t root;  /* pointer */
	uint32_t first; /* lowest number of an entry below it, TREE_NONE without entries */
};

struct fwtree {
	uint32_t *words;
	uint32_t lines;
	uint32_t references; /* in all leaves */
	uint32_t levels;     /* of the deepest tree */
	uint32_t longest;    /* references of the longest leaf */
	uint32_t culprit;    /* FWTREE_CHAIN: the first entry too many */
	struct fwtree_root roots[TREE_FAMILIES][TREE_GROUPS];
};

/*
 * Build the trees of `count` entries; leaves may have `chain_max` references. Returns enum fwtree_error;
 * what is in `out` is to be given to fwtree_free() in any case.
 */
FWTREE_API int fwtree_build(const void *entries, uint32_t count, const struct fwtree_layout *layout,
			    uint32_t chain_max, struct fwtree *out);
FWTREE_API void fwtree_free(struct fwtree *tree);

#endif
