/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps of rulesets, each by generation: one word in `control` says which of them is in force. */
#ifndef FW_RULESET_H
#define FW_RULESET_H

#include <bpf/bpf_helpers.h>
#include "abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GENERATION_SLOTS);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Mapped by user space to be filled, and so beginning at a page: a line of a tree is one of the cache's. */
struct classifier {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	/* sizes, not types: clang forgets the types of inner maps */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct chunk));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GENERATION_SLOTS);
	__type(key, __u32);
	__array(values, struct classifier);
} classifiers SEC(".maps");

struct lines {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct cell));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GENERATION_SLOTS);
	__type(key, __u32);
	__array(values, struct lines);
} trees SEC(".maps");

struct further_clauses {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct further));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GENERATION_SLOTS);
	__type(key, __u32);
	__array(values, struct further_clauses);
} furthers SEC(".maps");

struct edge_list {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct edge));
};

/* Only of rulesets that have edges. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GENERATION_SLOTS);
	__type(key, __u32);
	__array(values, struct edge_list);
} edges SEC(".maps");

struct document {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, POLICY_CHUNK);
};

/* The running policy's text and ids, for user space: swapped with the rules. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GENERATION_SLOTS);
	__type(key, __u32);
	__array(values, struct document);
} policies SEC(".maps");

#endif
