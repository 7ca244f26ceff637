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

static __always_inline enum fw_reason count_source(const struct source_key *key, __u32 most)
{
	struct source first = {.flows = 1};
	struct source *source;
	__u32 flows = 0;

	source = bpf_map_lookup_elem(&sources, key);
	if (!source) {
		if (!bpf_map_update_elem(&sources, key, &first, BPF_NOEXIST))
			return REASON_NONE;
		/* another CPU was first, or there is no memory */
		source = bpf_map_lookup_elem(&sources, key);
		if (!source)
			return REASON_TABLE_FULL;
	}
	bpf_spin_lock(&source->lock);
	flows = source->flows;
	if (flows && flows < most)
		source->flows = flows + 1;
	bpf_spin_unlock(&source->lock);
	if (!flows)
		return REASON_TABLE_FULL;
	return flows < most ? REASON_NONE : REASON_SOURCE_LIMIT;
}

static __always_inline void uncount_source(const struct source_key *key)
{
	struct source *source = bpf_map_lookup_elem(&sources, key);
	__u32 left = 1;

	if (!source)
		return;
	bpf_spin_lock(&source->lock);
	if (source->flows)
		left = --source->flows;
	bpf_spin_unlock(&source->lock);
	if (!left)
		bpf_map_delete_elem(&sources, key);
}

#endif
