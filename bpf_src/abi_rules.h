/* SPDX-License-Identifier: GPL-2.0-only */
/* A ruleset's entries, their further clauses, and the moments at which windows of time open. */
#ifndef FW_ABI_RULES_H
#define FW_ABI_RULES_H

#include <linux/types.h>

/* Addresses from lo to hi, in host order, the more significant half first. */
struct range {
	__u64 lo[2];
	__u64 hi[2];
};

enum fw_entry_flags {
	ENTRY_LOG = 1 << 0,
	ENTRY_SRC = 1 << 1, /* the source range is to be tested */
	ENTRY_DST = 1 << 2,
	ENTRY_SRC_SETS = 1 << 3, /* the source is to be in one of src_sets */
	ENTRY_SRC_NOT = 1 << 4,  /* in none of them */
	ENTRY_DST_SETS = 1 << 5,
	ENTRY_DST_NOT = 1 << 6,
	ENTRY_OF_SETS = ENTRY_SRC_SETS | ENTRY_SRC_NOT | ENTRY_DST_SETS | ENTRY_DST_NOT,
	/* It asks for more than its box (interfaces, further clauses): nothing behind it is hidden by it. */
	ENTRY_UNSURE = 1 << 7,
};

/* One alternative of a rule; the first that matches decides. */
struct entry {
	struct range src;
	struct range dst;
	__u64 src_sets; /* bit per set */
	__u64 dst_sets;
	__u16 sport_lo;
	__u16 sport_hi;
	__u16 dport_lo; /* for ICMP: type << 8 | code */
	__u16 dport_hi;
	__u8 family; /* 0 any, 4, 6 */
	__u8 proto;  /* 0 any */
	__u8 scopes; /* bit per enum fw_scope; 0 ends the list */
	__u8 action;
	__u8 on; /* pattern, or PATTERN_ANY */
	__u8 via;
	__u16 flags;
	__u32 rule;    /* stable id */
	__u32 counter; /* see struct rule_counter */
	__u32 further; /* index into furthers; 0: it has no further clauses */
	__u32 reserved;
};

/* What a rule's further clauses ask. */
enum fw_further_asks {
	FURTHER_MARK = 1 << 0,
	FURTHER_DSCP = 1 << 1,
	FURTHER_MAC = 1 << 2,
	FURTHER_TIME = 1 << 3, /* of the moment: also when a flow is judged anew */
	FURTHER_USER = 1 << 4,
	FURTHER_UNIT = 1 << 5,
	FURTHER_NEVER = 1 << 6,    /* names a user or unit that is not known */
	FURTHER_SRC_HOST = 1 << 7, /* of the addresses, which a flow keeps */
	FURTHER_DST_HOST = 1 << 8,
	FURTHER_UNTRACKED = 1 << 9, /* asks nothing: what it lets pass has no flow */

	/* asked of the opener's packet, of which its flow keeps nothing */
	FURTHER_OF_PACKET = FURTHER_MARK | FURTHER_DSCP | FURTHER_MAC | FURTHER_USER | FURTHER_UNIT,
};

/* What an `allow` does to each packet of its flows, and to them. */
struct effects {
	__u32 mark;      /* `set-mark`: these bits */
	__u32 mark_mask; /* in the place of those; 0: none */
	__u32 idle_j;    /* `idle`; 0: as the options say */
	__u32 counts;    /* their elements count them: see struct further */
};

/* The bits of an IPv6 address that a changing prefix does not have, as in struct range. */
struct host_part {
	__u64 value[2];
	__u64 mask[2];
};

/* furthers[generation % GENERATION_SLOTS][entry.further]: clauses that no box of numbers holds. */
struct further {
	__u32 asks; /* enum fw_further_asks */
	__u32 mark;
	__u32 mark_mask;
	__u32 rate; /* `limit`: openings in `rate_j` jiffies; 0: any number */
	__u32 rate_j;
	__u32 burst;
	__u32 most;        /* `max-flows`; 0: any number */
	__u8 rate_bits[2]; /* of IPv4 and of IPv6 sources; 0: all sources are one */
	__u8 most_bits[2];
	__u32 uid;
	__u32 reserved;
	__u64 dscp;     /* bit per class of traffic */
	__u64 macs[16]; /* 48 bits each; all ones behind the last */
	__u64 cgroup;   /* id in cgroup2 */
	struct effects effects;
	__u64 windows;             /* of time, each a bit: all must be open */
	struct host_part hosts[2]; /* of the source and of the destination */
	__u32 overload_set;        /* `overload`: number of the set, and 1; 0: none */
	__u32 overload_s;          /* for how long a source is in it */
	__u64 counted
		[2]; /* of the sets that it asks the source and the destination for: those that count */
};

/* edges[generation % GENERATION_SLOTS][i]: from this boot time on these windows are open; the first is at 0. */
struct edge {
	__u64 from_ns;
	__u64 open;
};

/* classifiers[generation % GENERATION_SLOTS] is an array of these: entry n is in n / 32. */
struct chunk {
	struct entry entries[32];
};

#endif
