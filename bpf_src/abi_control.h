/* SPDX-License-Identifier: GPL-2.0-only */
/* What is in force: read by every packet, written by every change. */
#ifndef FW_ABI_CONTROL_H
#define FW_ABI_CONTROL_H

#include <linux/types.h>

/*
 * control[0], read once per packet. User space maps it and stores single
 * aligned words. When deadline_ns (boot time) is set and past, the previous
 * generation rules.
 */
struct control {
	__u32 generation;
	__u32 previous;
	__u64 deadline_ns;
	__u64 grace_until_j; /* mid-stream segments may open flows until then */
	__u32 mode;
	__u32 grace_forward; /* conntrack could not tell of all forwarded flows */
	__u32 sets_changed;  /* moves on whenever a set does, which flows then are judged by */
	__u32 sets_open;     /* 1: somebody writes into them, and is going to move that on */
	__u64 overload;      /* the same of what the packet path puts into sets: see overload.h */
};

/* Where a tree begins; `first` is the lowest number of its entries. NO_ENTRY: there is none. */
struct tree_root {
	__u32 root;
	__u32 first;
};

/* settings[generation % GENERATION_SLOTS]: a ruleset but for its entries. */
struct settings {
	__u32 generation;
	__u32 linear;         /* the entries are scanned in order: all are in one chunk */
	__u32 builtins;       /* bit per enum fw_builtin */
	__u32 answers_per_s;  /* per CPU; 0 answers nothing */
	__u32 events_per_s;   /* per CPU */
	__u8 defaults[3];     /* enum fw_action by scope */
	__u8 default_log;     /* bit per scope */
	__u8 tcp_pickup;      /* enum fw_pickup */
	__u8 tcp_window;      /* enum fw_window */
	__u8 ip_options;      /* enum fw_ip_options */
	__u8 antispoof;       /* enum fw_antispoof */
	__u8 fragments_early; /* enum fw_early */
	__u8 flows_full;      /* enum fw_full */
	__u8 sets_of; /* whose sets the entries ask for: 1 the source's, 2 the destination's */
	__u8 reserved;
	__u32 per_source;     /* confirmed flows that one source may have */
	__u32 adaptive_start; /* confirmed flows from which on timeouts shrink */
	__u32 adaptive_end;   /* with so many they would be 0 */
	__u32 edges;          /* 0: no rule asks for the time */
	__u32 asks;           /* what any rule does: enum fw_further_asks */
	__u32 spares_from; /* flows that these rules allowed, and those of younger ones, are spared */
	__u32 spares_to;   /* until those of this number; 0: none is */
	__u32 spares_admission;    /* by spares_from with the sets as they were in the end */
	__u32 timeout_j[32];       /* jiffies, by enum fw_timeout */
	struct tree_root trees[8]; /* IPv4's groups, then IPv6's, each by `first` */
	__u64 patterns[256];       /* by interface class: patterns that it matches */
};

#endif
