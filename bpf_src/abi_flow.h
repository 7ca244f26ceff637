/* SPDX-License-Identifier: GPL-2.0-only */
/* A flow, and both of its sides. */
#ifndef FW_ABI_FLOW_H
#define FW_ABI_FLOW_H

#include <linux/types.h>

struct tuple {
	__be32 src[4];
	__be32 dst[4];
	__be16 sport;
	__be16 dport;
	__u16 zone;
	__u8 proto;
	__u8 family;
};

/*
 * Key of both directions of a flow: the (address, port) pairs are ordered
 * as units, the lower one first. ICMP messages have their id as the first port;
 * the second is the type of the query, and KEY_ASKED_BY_HI if the `hi` end asks:
 * each end's queries are flows of their own. GRE has its key in both.
 */
struct flow_key {
	__be32 lo[4];
	__be32 hi[4];
	__be16 lo_port;
	__be16 hi_port;
	__u16 zone;
	__u8 proto;
	__u8 family;
};

enum fw_key_port {
	KEY_ASKED_BY_HI = 1 << 8,
};

/* Written only by packets of the side that it describes. What SCTP keeps in the numbers: see sctp.h. */
struct side {
	__u64 seen_j;  /* jiffies of its last packet */
	__u64 packets; /* segments */
	__u64 bytes;
	__u32 seq_end;    /* one past the highest it sent; ESP and AH: the SPI of its last */
	__u32 ack;        /* highest it acknowledged */
	__u32 window_end; /* highest that it allows the other to send */
	__u32 window_max; /* largest window it offered, scaled */
	__u32 in_ifindex; /* way of its packets through us; 0 is this host */
	__u32 out_ifindex;
	__u8 state; /* enum fw_side_state */
	__u8 scale;
	__u16 flags;      /* enum fw_side_flags */
	__u16 out_slot;   /* slot of out_ifindex, for tc_index */
	__u16 syn_bytes;  /* data on its SYN, which seq_end counts */
	__u32 generation; /* of the rules and sets that last allowed its way */
	/* SIDE_SYN: seq_end of its last SYN. FLOW_LIBERAL: the highest it acknowledged while its numbers were learnt, by SACK too */
	__u32 syn_again;
};

enum fw_side_flags {
	SIDE_SEEN = 1 << 0,       /* has sent anything, by a way that is known */
	SIDE_SEQ = 1 << 1,        /* seq_end is known */
	SIDE_ACK = 1 << 2,        /* ack and window_end are known */
	SIDE_WSCALE = 1 << 3,     /* its SYN offered `scale` (RFC 7323): in force if both did */
	SIDE_SETTLED = 1 << 4,    /* FLOW_LIBERAL: its numbers fit the other side's */
	SIDE_FRAGMENTED = 1 << 5, /* sent fragments: seq_end may be short of their later ones */
};

enum fw_flow_flags {
	FLOW_OPENER_HI = 1 << 0,  /* the opener is the key's `hi` end */
	FLOW_TRANSLATED = 1 << 1, /* the host translates it: both hooks track */
	FLOW_PARENT = 1 << 2,     /* `parent` holds the tuple that was judged */
	FLOW_LIBERAL = 1 << 3,    /* met midway: numbers count once both sides are SETTLED */
	FLOW_REVOKED = 1 << 4,   /* the rules deny it now; nothing may take its place for a while */
	FLOW_COUNTED = 1 << 5,   /* opened by who came in by a protected interface: its source's */
	FLOW_SPARED = 1 << 6,    /* a change of rules has spared it, see anew.h */
	FLOW_UNTRACKED = 1 << 7, /* from ingress to egress: there is none, and is to be none */
};

/* tc_index, ingress to egress: 0, a slot, or one of these. */
enum fw_tc_index {
	TC_INDEX_HANDOFF = 0x8000, /* plus an index into handoffs */
	TC_INDEX_ANSWER = 0xffff,  /* our own answer, on its way through */
};

enum fw_role {
	ROLE_OPENER,
	ROLE_RESPONDER,
};

enum fw_flow_numbers {
	SPARES_ALL =
		0xffffffff, /* in the place of a generation: while sets change with the rules */
	SPARED_BY_NONE = 0x7fffffff, /* no rule's id, nor a default's */
};

struct flow {
	__u32 tag;         /* the key's ten words, xored */
	__u32 incarnation; /* random: tells a reused node from the one held */
	__u32 generation;  /* of the ruleset that last admitted or spared it */
	__u32 rule;        /* id; 0 is a default */
	__u32 counter;     /* see struct rule_counter */
	__u8 scope;
	__u8 flags;      /* enum fw_flow_flags */
	__u16 icmp;      /* opener's type << 8 | code */
	__u32 slot;      /* confirmed: its place in `slots` */
	__u32 further;   /* of its rule in the ruleset of `generation`: index into furthers, or 0 */
	__u32 until_s;   /* boot time: judged anew from then on; 0: never */
	__u32 admission; /* by that ruleset and the sets as they were: see outdated() */
	__u32 spared_by; /* FLOW_SPARED: the rule that would have ended it, or SPARED_BY_NONE */
	__u32 reserved;
	__u64 created_j;
	struct effects effects;
	struct side side[2]; /* by enum fw_role */
	struct tuple parent; /* opener's orientation */
};

#endif
