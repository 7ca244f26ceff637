/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How flows hear that the packet path has put somebody into a set: control.overload has
 * a number, which is part of `admission`, and the tick from which on it is one higher. So a
 * change that comes right after another one waits for the next tick, with nobody
 * awake for it, and all flows are judged anew by it once a tick at the most.
 */
#ifndef FW_ANNOUNCE_H
#define FW_ANNOUNCE_H

#include "maps.h"

#define TICK_BITS 8 /* of jiffies: a second at 250 Hz */
#define OPEN_STRIDE \
	0x85ebca6bU /* between the numbers of two ticks, far from those of two changes */

static __always_inline __u32 overloads_heard(__u64 word, __u64 now_j)
{
	return (__u32)word + (now_j >> TICK_BITS >= word >> 32);
}

/*
 * While user space writes, each tick is a change: whoever is killed before it announces what it has written leaves flows
 * that hear of it nevertheless, until the next change.
 */
static __always_inline __u32 writes_heard(__u32 open, __u64 now_j)
{
	return open * (__u32)(now_j >> TICK_BITS) * OPEN_STRIDE;
}

/* The word after a change that was made before `now_j` was read; as it was if it announces one to come. */
static __always_inline __u64 next_announcement(__u64 word, __u64 now_j)
{
	__u64 tick = now_j >> TICK_BITS, due = word >> 32;

	if (tick < due)
		return word;
	return (tick > due ? tick : tick + 1) << 32 | (__u32)(word + 1);
}

#endif
