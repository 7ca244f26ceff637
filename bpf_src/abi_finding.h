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
	__u32 counters;  /* its elements count packets */
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

/* overloads: a prefix that the packet path has put into sets. The key is of set_elements. */
struct overload {
	__u32 place;   /* of the insertion, whose key is in overload_ring[place % OVERLOADS_MAX] */
	__u8 bits;     /* as in its key */
	__u8 timed[3]; /* as those of an element */
	__u32 end_s[3];
};

/* overload_head[0] */
struct overload_head {
	struct bpf_spin_lock lock;
	__u32 next;      /* place of the next insertion */
	__u32 displaced; /* by others before their time was up */
	__u32 failed;    /* for want of memory */
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
