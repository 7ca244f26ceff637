/* SPDX-License-Identifier: GPL-2.0-only */
/* Token buckets, per CPU: no lock, no clock call beyond the packet's own jiffies. */
#ifndef FW_LIMIT_H
#define FW_LIMIT_H

#include "maps.h"

/* May one more pass at `per_s` a second, a second's worth at once at the most? */
static __always_inline bool take_token(struct bucket *b, __u64 now_j, __u32 per_s)
{
	__u64 full = (__u64)per_s * hz, filled;

	/* idle for a second or more, and always at first: the bucket is full */
	if (now_j - b->last_j >= hz)
		filled = full;
	else
		filled = b->tokens_j + (now_j - b->last_j) * per_s;
	if (filled > full)
		filled = full;
	b->last_j = now_j;
	b->tokens_j = filled;
	if (filled < hz)
		return false;
	b->tokens_j = filled - hz;
	return true;
}

#endif
