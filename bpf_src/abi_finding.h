/* SPDX-License-Identifier: GPL-2.0-only */
/* What rules are found by: sets of addresses, and decision trees. */
#ifndef FW_ABI_FINDING_H
#define FW_ABI_FINDING_H

#include <linux/types.h>

#include "../tree_src/format.h"

/* sets[number]: a set of addresses; one without a name is free. */
struct set {
	char name[32];
	__u8 digest[16]; /* of what the policy lists for it; 0: it may hold something else */
	__u32 timeout_s; /* of what is added at run time; 0: for ever */
	__u32 reserved;
};

/* set_elements: in the order of an LPM trie's key, the longer the narrower. */
struct set_key {
	__u32 bits;   /* SET_BITS_V4 or SET_BITS_V6, and the prefix's length */
	__u32 family; /* 4, 6 */
	__u32 reserved;
	__be32 address[4];
};

/* A prefix, and the sets that it is an element of. */
struct element {
	__u64 listed;   /* by the policy: bit per set */
	__u64 added;    /* at run time, for ever */
	__u8 bits;      /* as in its key */
	__u8 timed[3];  /* at run time, until end_s: number of a set each */
	__u32 end_s[3]; /* boot time; 0: not used */
};

/* trees[generation % GENERATION_SLOTS] is an array of lines, which tree_src/format.h describes: cells and leaves. */
struct cell {
	__u32 thresholds[7];
	__u32 fields;
	__u32 children[8];
};

struct leaf {
	__u32 entries[TREE_LINE];
};

#endif
