/* SPDX-License-Identifier: GPL-2.0-only */
/* Token buckets: no clock call beyond the packet's own jiffies, and no lock where an opening more or less is no matter. */
#ifndef FW_LIMIT_H
#define FW_LIMIT_H

#include "maps.h"

/* May one more pass, at `rate` in each `unit_j` jiffies and `burst` at once at the most? */
static __always_inline bool draw(struct bucket *b, __u64 now_j, __u32 rate, __u32 unit_j,
				 __u32 burst)
{
	__u64 full = (__u64)burst * unit_j, filled = b->tokens_j;
	__s64 since_j = now_j - b->last_j;

	/* less than nothing where CPUs share a bucket, and one read its clock before the tick */
	if (since_j > 0) {
		filled += (__u64)since_j * rate;
		b->last_j = now_j;
	}
	if (filled > full)
		filled = full;
	b->tokens_j = filled;
	if (filled < unit_j)
		return false;
	b->tokens_j = filled - unit_j;
	return true;
}

/* The same a second, and a second's worth at once. One that has never been asked is full: time began long before it. */
static __always_inline bool take_token(struct bucket *b, __u64 now_j, __u32 per_s)
{
	return draw(b, now_j, per_s, hz, per_s);
}

#endif
