/* SPDX-License-Identifier: GPL-2.0-only */
/* Who is counted and has places in the flow table, and what user space may ask of it. */
#ifndef FW_ABI_TABLE_H
#define FW_ABI_TABLE_H

#include <linux/types.h>

#include "abi_flow.h"

/* Who is counted, and by whom: of IPv6 the network of 64 bits, or what a rule's `per source` says. */
struct source_key {
	__be32 address[4]; /* zero, as is the zone, where a rule counts all sources as one */
	__u32 zone;
	__u32 rule; /* id; 0: option flows.per-source */
};

/* sources: an entry whose count has come to 0 is about to go, and counts nobody. */
struct source {
	struct bpf_spin_lock lock;
	__u32 flows; /* confirmed ones that it opened */
};

/* A token costs so many `tokens_j` as a unit of time has jiffies; each jiffy adds the rate. */
struct bucket {
	__u64 last_j;
	__u64 tokens_j;
};

/* rates[id of the rule]: made when its first flow is opened. */
struct rate {
	struct bpf_spin_lock lock; /* of the buckets of its sources, too */
	__u32 reserved;
	struct bucket bucket;
};

/* slots[i]: a confirmed flow has one, which nobody else has. */
struct slot {
	struct bpf_spin_lock lock;
	__u32 incarnation; /* of the flow; 0: nobody's */
	__u32 counted;     /* in `sources`, under `source` */
	__u32 limited;     /* and under `ceiling`: its rule's `max-flows` */
	__u32 relieved_j;  /* when it was over and counted no more; 0: it has never been */
	struct source_key source;
	struct source_key ceiling;
	struct flow_key key;
};

/* table[0]: the places of confirmed flows. Those that were given back are in the queue `vacant`. */
struct table {
	struct bpf_spin_lock lock;
	__u32 size;
	__u32 used;
	__u32 fresh; /* from here on no slot has ever been used */
	__u32 hand;  /* which slot is to be looked at next, for a flow whose time is up */
	__u32 reserved;
};

/* totals[cpu]: what became of entries, since loading. */
struct totals {
	__u64 embryonic_made;
	__u64 embryonic_gone; /* confirmed or ended: what else was made and is not there was displaced */
	__u64 confirmed;
	__u64 collected; /* confirmed flows that were removed since their time was up */
	__u64 evicted;   /* removed for others: `option flows.full evict` */
	__u64 lost; /* gone from the table without us: 0, or the table was too small for its slots */
};

enum fw_request_op {
	REQUEST_NONE, /* nor is there one behind it */
	REQUEST_ADD,  /* a confirmed flow */
	REQUEST_ADD_EMBRYONIC,
	REQUEST_DELETE,
};

enum fw_answer {
	ANSWER_REFUSED, /* no place; nothing to delete */
	ANSWER_DONE,
	ANSWER_KNOWN, /* such a flow is there already */
};

/* requests[i]: what user space asks of the flow tables. */
struct request {
	__u32 op;     /* enum fw_request_op */
	__u32 answer; /* enum fw_answer */
	struct flow_key key;
	struct flow flow;
};

#endif
