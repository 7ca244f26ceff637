/* SPDX-License-Identifier: GPL-2.0-only */
/* What is remembered beside flows: expectations, fragments, and events. */
#ifndef FW_ABI_MEMORY_H
#define FW_ABI_MEMORY_H

#include <linux/types.h>

#include "abi_flow.h"

/* Who may be answered, by whom: a question to a multicast or broadcast address, and where it left. */
struct expectation_key {
	__be32 asker[4];
	__be16 asker_port;
	__be16 answer_port; /* 0: any */
	__u16 slot;
	__u8 proto;
	__u8 family;
};

struct expectation {
	__u64 when_j;
	__u32 rule; /* that allowed the question */
	__u32 reserved;
	struct tuple asked; /* what the rules are asked of an answer */
};

/* Where the fragments of one packet are remembered, at one hook. */
struct fragment_key {
	__be32 src[4]; /* of IPv6 the network of 64 bits alone */
	__u16 slot;
	__u16 hook;
	__u32 place; /* a hash of the rest, below FRAGMENTS_PER_SOURCE */
};

/* Units of 8 bytes that have passed; `to` is 0 in one that is not used. */
struct fragment_run {
	__u16 start;
	__u16 to;
};

struct fragment {
	__u64 when_j; /* the first passed, or the first of the early ones */
	__be32 src[4];
	__be32 dst[4];
	__u32 id;
	__u32 in_ifindex; /* at egress, as the kernel names it: a VRF for its members */
	__u32 rule;
	__u32 counter;
	__u32 mark; /* effects of the first's flow */
	__u32 mark_mask;
	__u16 out_slot; /* where the first was judged to leave */
	__u16 end;      /* of the whole packet, in units; 0: its last has not passed */
	__u8 proto;     /* IPv4 only */
	__u8 family;
	__u8 whole; /* all of it has passed */
	__u8 reserved;
	struct fragment_run runs[16];
};

enum fw_event_flags {
	EVENT_DROP = 1 << 0,
	EVENT_OBSERVED = 1 << 1, /* would have been dropped: observe mode */
	EVENT_LOG = 1 << 2,      /* its rule asks for a log */
	EVENT_OVERLOAD = 1 << 3, /* its sender was put into a set for it */
};

/* journal[]: JOURNAL_SIZE drops, then as many passes, each a ring; a record is whole when both numbers agree. */
struct event {
	__u64 number;  /* from 1 */
	__u64 time_ns; /* boot time */
	__be32 src[4];
	__be32 dst[4];
	__u32 rule;
	__u32 generation;
	__u32 in_ifindex;
	__u32 out_ifindex;
	__u32 bytes;
	__u32 packets;
	__u16 sport;     /* host order */
	__u16 dport;     /* ICMP: type << 8 | code */
	__u16 eth_proto; /* host order */
	__u8 reason;
	__u8 hook;
	__u8 scope;
	__u8 proto;
	__u8 family; /* 0: addresses were not reached */
	__u8 tcp_flags;
	__u8 flags;
	__u8 reserved[3];
	__u64 number_end;
};

#endif
