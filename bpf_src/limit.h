/* SPDX-License-Identifier: GPL-2.0-only */
/* Token buckets: no lock, no clock call beyond the packet's own jiffies. */
#ifndef FW_LIMIT_H
#define FW_LIMIT_H

#include "maps.h"

/* May one more pass at `per_s` a second, a second's worth at once at the most? */
static __always_inline bool take_token(struct bucket *b, __u64 now_j, __u32 per_s)
{
	__u64 full = (__u64)per_s * hz, filled = b->tokens_j;
	__s64 since_j = now_j - b->last_j;

	/* less than nothing where CPUs share a bucket, and one read its clock before the tick */
	if (since_j > 0) {
		filled += (__u64)since_j * per_s;
		b->last_j = now_j;
	}
	/* idle for a second or more, and always at first: the bucket is full */
	if (filled > full || since_j >= (__s64)hz)
		filled = full;
	b->tokens_j = filled;
	if (filled < hz)
		return false;
	b->tokens_j = filled - hz;
	return true;
}

#endif
