/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What user space asks of the flow tables: to take connections over, to forget
 * flows, to move them. It goes through the packet path's own code, since slots
 * and counts are true only if all changes do. One process at a time asks.
 */
#ifndef FW_REQUEST_H
#define FW_REQUEST_H

#include "table.h"

static __always_inline enum fw_answer answered(enum fw_reason reason)
{
	if (reason == REASON_FLOW)
		return ANSWER_KNOWN;
	return reason ? ANSWER_REFUSED : ANSWER_DONE;
}

/* It counts as its source's, and is not refused for it: the connection is there already. */
static __always_inline enum fw_answer add_confirmed(struct request *request)
{
	__u32 zero = 0, over_j = 0;
	struct control *c = bpf_map_lookup_elem(&control, &zero);

	if (!c)
		return ANSWER_REFUSED;
	if (is_over(&request->flow, request->key.proto))
		over_j = (__u32)bpf_jiffies64() ?: 1;
	return answered(enter(&request->key, &request->flow, c->generation, ~0U, over_j));
}

/* 0 if there is no such request. */
GLOBAL int fulfil(__u32 index)
{
	struct request *request = bpf_map_lookup_elem(&requests, &index);

	if (!request)
		return 0;
	switch (request->op) {
	case REQUEST_ADD:
		request->answer = add_confirmed(request);
		return 1;
	case REQUEST_ADD_EMBRYONIC:
		request->answer = answered(add_embryonic(&request->key, &request->flow));
		return 1;
	case REQUEST_DELETE:
		request->answer = remove_flow(&request->key) ? ANSWER_DONE : ANSWER_REFUSED;
		return 1;
	}
	return 0;
}

#endif
