/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the path knows of one packet, in per-CPU memory: global functions take
 * the skb alone (5.10's verifier allows them no other pointer) and find the
 * rest here. The traffic-control hooks run with bottom halves off, so nothing
 * else on this CPU uses the scratch until the packet is settled.
 */
#ifndef FW_PACKET_H
#define FW_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include "abi.h"

#define GLOBAL __attribute__((noinline))

/* Far from each other are the numbers by which a flow knows two rulesets, however often a set changes in between. */
#define ADMISSION_STRIDE 0x9e3779b1U

enum fw_handed {
	HANDED_NO,         /* not judged at ingress, or not to be trusted */
	HANDED_SAME,       /* judged, and unchanged since */
	HANDED_TRANSLATED, /* judged, then translated */
};

enum fw_fragment_kind {
	FRAGMENT_NONE,
	FRAGMENT_FIRST,
	FRAGMENT_LATER,
};

enum fw_icmp_kind {
	ICMP_NONE,
	ICMP_QUERY,   /* may open a flow: has an id */
	ICMP_REPLY,   /* belongs to a query's flow */
	ICMP_ERROR,   /* belongs to the flow that it quotes */
	ICMP_MESSAGE, /* neither: judged alone */
};

enum fw_options {
	OPTIONS_ALERT = 1 << 0, /* routers shall look at it */
	OPTIONS_OTHER = 1 << 1,
};

/* What the rules are asked. Host order, in the opener's orientation. */
struct question {
	__u64 src[2];
	__u64 dst[2];
	__u64 on; /* patterns that the way in matches */
	__u64 via;
	__u64 sets[2]; /* that the source and the destination are in, if the ruleset asks */
	__u16 sport;
	__u16 dport;
	__u8 family;
	__u8 proto;
	__u8 scope;
	__u8 reserved;
	__u32 field[16]; /* enum fw_field: the same once more, for trees */
};

/* Small fields where much is zeroed, and what most packets use together: each costs stores and cache lines. */
struct packet {
	/* What a header may leave unset: a frame cut short must not show the last packet's. */
	struct tuple tuple; /* as on the wire; for ICMP errors, of the quote */
	__u8 fragment;      /* enum fw_fragment_kind */
	__u8 icmp_kind;     /* enum fw_icmp_kind */
	__u8 tcp_flags;
	__u8 options; /* enum fw_options: those of its IP headers */
	__u8 fragment_headers;
	__u8 l4_header; /* bytes, of TCP, UDP and SCTP: each segment has one */
	__u16 icmp;     /* type << 8 | code */
	__u32 seq;      /* SCTP: the verification tag; GRE: the key; ESP and AH: the SPI */

	/* From here to `key`: zero for each packet too. */
	__u8 handed; /* enum fw_handed */
	__u8 log;
	__u16 eth_proto; /* host order */
	__u32 rule;
	__u16 tc_index; /* what ingress hands to egress */
	__u16 out_slot;
	__u8 hand_tuple; /* hand on the whole tuple, not only the slot */
	__u8 pickup;     /* adopted mid-stream */
	__u8 segment;    /* TCP and SCTP: enum fw_segment */
	__u8 reopen;     /* a SYN in the place of a closed connection, whose entry still stands */
	__u8 asks_many;  /* our own question to a multicast or broadcast address */
	__u8 expected;   /* answers such a question */
	__u8 strange;    /* outside its connection's window, and passes nevertheless */
	__u8 anew;       /* a flow is judged anew, or what belongs to one; see further.h */
	__u8 overloaded; /* its opener was put into a set */
	__u8 ends_both; /* it is the first by which the rules end a connection whose numbers are known */
	__u8 sum_to_come; /* a device completes its TCP sum */
	__u64 counting;   /* sets of which elements are to be counted, while they are looked for */
	__u32 admitted;   /* the rule that had admitted that */
	__u32 further;    /* of the rule that matched: index into furthers */
	struct effects effects; /* of its flow */
	__u32 until_s; /* the rules' answer holds until then, if they do not change: boot time; 0: for ever */

	struct flow_key key __attribute__((aligned(8))); /* hashed by words */
	__u64 now_j;
	__u64 mac; /* of who sent the frame, 48 bits; 0: it has no link header */
	enum fw_hook hook;
	enum fw_scope scope;
	__u32 generation; /* the ruleset that judges this packet */
	__u32 admission;  /* of that ruleset and of the sets as they are */
	__u32 mode;
	__u32 from_hi; /* sent by the key's `hi` end */
	__u32 l3_off;
	__u32 l4_off;
	__u32 l4_len; /* by the IP header's word */
	__u32 hop_limit;
	__u32 dscp;    /* RFC 2474 */
	__u32 seq_end; /* one past its last, SYN and FIN counted */
	__u32 ack;
	__u32 sack;      /* highest that it acknowledges, selectively or not */
	__u32 window;    /* as on the wire, unscaled */
	__u32 wscale;    /* of a SYN; NO_WSCALE */
	__u32 chunks;    /* SCTP: see enum chunk_type */
	__u32 init_tag;  /* of an INIT or INIT ACK */
	__u32 heartbeat; /* heartbeat_sum() of a HEARTBEAT or its answer; 0: none */
	__u32 segments;
	__u32 bytes;
	__u32 ifindex; /* of the hook's interface, and what we know of it */
	__u16 slot;
	__u16 zone;
	__u16 iface_flags;
	__u32 in_ifindex; /* way of this packet; 0 is this host */
	__u32 out_ifindex;
	__u32 counter;
	__u32 flow_flags; /* of the flow that it belongs to or opens */
	__u32 confirmed;  /* its flow is in `flows`, not `embryonic` */
	__u32 role;       /* enum fw_role of its sender */
	struct env env;

	enum fw_action action; /* the rules' answer */
	__u32 entry;           /* the lowest that matches, of those looked at so far */
	struct question question;
	__u32 llc; /* first two bytes of an 802.3 frame's payload */
	__u32 fragment_id;
	__u32 fragment_more;  /* others lie behind it */
	__u32 fragment_proto; /* as the fragment's own header names it */
	__u32 fragment_at;    /* where its payload lies in the whole packet, in bytes */
	__u32 fragment_bytes; /* of payload */
	__u32 run_before;     /* see place_fragment() */
	__u32 run_behind;
	__u32 run_free;
	__u32 far_seq;   /* with ends_both: the number that who it goes to expects next */
	__u32 chain_off; /* where the IPv6 header to be read is, and what is left from there */
	__u32 chain_left;
	__u32 sender_asks;   /* ICMP: not an answer */
	__u32 handoff;       /* index of what ingress handed on */
	__be32 outer_src[4]; /* of an ICMP error's own header */
	__be32 outer_dst[4];
	struct set_key set_key; /* to be looked up */
	struct set_key
		counted_key; /* of the element that counts: not on the stack, which is short there */
};

#define NO_COUNTER 0xffffffff
#define NO_ENTRY 0xffffffff
#define NO_WSCALE 0xff

enum fw_tcp_flags {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,
};

#endif
