/* SPDX-License-Identifier: MIT */
/*
 * What the trees look like: of the builder, which writes them, and of the packet path, which walks them.
 *
 * They are an array of lines of 64 bytes, cells and leaves mixed. A pointer to one is its index; that of a
 * leaf has TREE_LEAF set.
 *
 *	cell: three levels of a tree. words 0-6: thresholds of its nodes, as in a heap (node n at n - 1,
 *	      its children are 2n and 2n + 1); word 7: their fields, 4 bits each; words 8-15: pointers.
 *	      A value goes to 2n + 1 if it is above the threshold.
 *	leaf: numbers of entries, ascending; the last has TREE_LAST set. It goes on in the next line if none
 *	      of the 16 has.
 */
#ifndef FW_TREE_FORMAT_H
#define FW_TREE_FORMAT_H

enum fw_tree {
	TREE_FAMILIES = 2, /* IPv4, IPv6 */
	TREE_GROUPS = 4,   /* trees of each family */
	TREE_CELLS = 11,   /* from root to leaf, three levels each */
	TREE_LINE = 16,    /* words of a cell, and of a line of a leaf */
	TREE_CHAIN = 256,  /* lines of a leaf: 4,096 entries */
};

#define TREE_LEAF 0x80000000u
#define TREE_LAST 0x80000000u
#define TREE_NONE 0xffffffffu /* a leaf without entries */

/* What a tree splits by: an index into the values of a packet, and 4 bits in a cell. */
enum fw_field {
	FIELD_PROTO,
	FIELD_SCOPE,
	FIELD_SPORT,
	FIELD_DPORT,
	FIELD_SRC, /* four words, the most significant first; an IPv4 address is the last one */
	FIELD_DST = FIELD_SRC + 4,
	FIELD_COUNT = FIELD_DST + 4,
};

#endif
