/* SPDX-License-Identifier: GPL-2.0-only */
/* How many confirmed flows each source has opened: `option flows.per-source`, and `max-flows` of rules. */
#ifndef FW_SOURCES_H
#define FW_SOURCES_H

#include "maps.h"

static __always_inline void source_of(struct source_key *source, const struct flow_key *key,
				      bool hi)
{
	const __be32 *address = hi ? key->hi : key->lo;
	bool four = key->family == 4;

	source->address[0] = address[0];
	source->address[1] = address[1];
	source->address[2] = 0;
	source->address[3] = four ? address[3] : 0;
	source->zone = key->zone;
	source->rule = 0;
}

/* A key as words, in which it goes to a function that is verified once. */
union source_words {
	struct source_key key;
	__u64 words[3];
};

/* REASON_FLOW: not now. */
GLOBAL int count_words(__u64 first, __u64 second, __u64 third, __u32 most)
{
	union source_words of = {.words = {first, second, third}};
	struct source fresh = {.flows = 1};
	struct source *source;
	__u32 flows = 0;

	source = bpf_map_lookup_elem(&sources, &of.key);
	if (!source) {
		if (!bpf_map_update_elem(&sources, &of.key, &fresh, BPF_NOEXIST))
			return REASON_NONE;
		/* another CPU was first, or there is no memory */
		source = bpf_map_lookup_elem(&sources, &of.key);
		if (!source)
			return REASON_TABLE_FULL;
	}
	bpf_spin_lock(&source->lock);
	flows = source->flows;
	if (flows && flows < most)
		source->flows = flows + 1;
	bpf_spin_unlock(&source->lock);
	/* it is about to go, with its last flow: this one is counted at its next packet */
	if (!flows)
		return REASON_FLOW;
	return flows < most ? REASON_NONE : REASON_SOURCE_LIMIT;
}

GLOBAL int uncount_words(__u64 first, __u64 second, __u64 third)
{
	union source_words of = {.words = {first, second, third}};
	struct source *source = bpf_map_lookup_elem(&sources, &of.key);
	__u32 left = 1;

	if (!source)
		return 0;
	bpf_spin_lock(&source->lock);
	if (source->flows)
		left = --source->flows;
	bpf_spin_unlock(&source->lock);
	if (!left)
		bpf_map_delete_elem(&sources, &of.key);
	return 0;
}

static __always_inline enum fw_reason count_source(const union source_words *of, __u32 most)
{
	return count_words(of->words[0], of->words[1], of->words[2], most);
}

static __always_inline void uncount_source(const union source_words *of)
{
	uncount_words(of->words[0], of->words[1], of->words[2]);
}

#endif
