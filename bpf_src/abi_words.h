/* SPDX-License-Identifier: GPL-2.0-only */
/* What packets, flows and options are called: the words of user space, and numbers here. */
#ifndef FW_ABI_WORDS_H
#define FW_ABI_WORDS_H

enum fw_hook {
	HOOK_INGRESS,
	HOOK_EGRESS,
};

enum fw_scope {
	SCOPE_IN,
	SCOPE_OUT,
	SCOPE_FORWARD,
	SCOPE_COUNT,
};

enum fw_action {
	ACTION_ALLOW,
	ACTION_DROP,
	ACTION_REJECT, /* with a reset of TCP, with ACTION_REJECT_ADMIN of anything else */
	ACTION_REJECT_ADMIN,
	ACTION_REJECT_PORT,
	ACTION_REJECT_HOST,
};

enum fw_mode {
	MODE_ENFORCE,
	MODE_OBSERVE,
};

/*
 * Why a packet got its verdict: counters, logs, explanations and docs use
 * these words, in lower case. Everything from REASON_FIRST_DROP on is a drop.
 */
enum fw_reason {
	REASON_NONE, /* not settled yet; never counted */

	REASON_FLOW,          /* belongs to a live flow */
	REASON_RELATED,       /* ICMP error that quotes a live flow */
	REASON_RULE_ALLOW,    /* a rule allowed it: a flow was opened */
	REASON_DEFAULT_ALLOW, /* the scope's default allowed it: a flow was opened */
	REASON_EXPECTED,      /* answers a multicast or broadcast question: a flow was opened */
	REASON_PICKUP,        /* mid-stream segment adopted after loading */
	REASON_FRAGMENT,      /* later fragment of an allowed packet */
	REASON_FRAGMENT_EARLY, /* later fragment whose first is not allowed yet, of which a few pass */
	REASON_HANDED_ON,      /* judged at ingress, leaves where it was judged to */
	REASON_TRANSLATED,     /* judged at ingress, then translated by the host */
	REASON_ANSWER,         /* our own answer to a rejected packet */
	REASON_VLAN_DEVICE,    /* its tag has a device of its own, judged there */
	REASON_BUILTIN_ARP,
	REASON_BUILTIN_PPPOE,
	REASON_BUILTIN_EAPOL,
	REASON_BUILTIN_LLDP,
	REASON_BUILTIN_STP,
	REASON_BUILTIN_ND,
	REASON_BUILTIN_MLD,
	REASON_BUILTIN_IGMP,
	REASON_BUILTIN_DHCP,
	REASON_BUILTIN_DHCP6,

	REASON_RULE_DROP,
	REASON_RULE_REJECT,
	REASON_DEFAULT_DROP,
	REASON_DEFAULT_REJECT,
	REASON_REVOKED,          /* its flow is no longer allowed by the rules */
	REASON_NO_FLOW,          /* cannot open a flow and belongs to none */
	REASON_BAD_HANDSHAKE,    /* of TCP or SCTP, and does not fit the handshake */
	REASON_OUT_OF_WINDOW,    /* TCP segment outside its connection's window */
	REASON_BAD_TAG,          /* SCTP packet without its association's verification tag */
	REASON_UNRELATED,        /* ICMP error that quotes no live flow */
	REASON_FRAGMENT_UNKNOWN, /* later fragment whose first is not allowed, or went another way */
	REASON_FRAGMENT_FLOOD,   /* one more ahead of its first than its destination may get */
	REASON_FRAGMENT_TINY,    /* first fragment without the whole header */
	REASON_FRAGMENT_HEADLESS, /* first fragment in which the chain of headers does not end */
	REASON_FRAGMENT_HOLE,     /* later fragment that starts within the header */
	REASON_FRAGMENT_OVERLAP,  /* fragment with bytes that another has had */
	REASON_FRAGMENT_GAPS,     /* one more gap between fragments than is remembered */
	REASON_FRAGMENT_TWICE,    /* two fragment headers */
	REASON_FRAGMENT_LENGTH,   /* length that no fragment has */
	REASON_FRAGMENT_BEYOND,   /* fragment that ends past 64 KiB */
	REASON_NOT_IP,            /* frame of a type that no built-in allows */
	REASON_TRUNCATED,         /* ends before its headers do */
	REASON_BAD_VERSION,       /* IP version that its frame type denies */
	REASON_BAD_HEADER_LENGTH, /* header shorter than its least */
	REASON_DISHONEST_LENGTH,  /* length that the frame cannot hold */
	REASON_BAD_TCP_FLAGS,     /* flags that no stack sends together */
	REASON_BAD_CHUNKS,        /* SCTP chunks that no stack sends so */
	REASON_BAD_TUNNEL,        /* GRE header or SPI that no stack sends */
	REASON_MANY_TAGS,         /* too many VLAN tags */
	REASON_LONG_CHAIN,        /* too many IPv6 extension headers, or options in one */
	REASON_BAD_CHAIN,         /* IPv6 extension header where none may be */
	REASON_BAD_OPTIONS,       /* IP option with a length that cannot be */
	REASON_IP_OPTIONS,        /* IP options, and `ip.options` drops them */
	REASON_SOURCE_ROUTE,      /* IPv4 option by which the sender chooses the way */
	REASON_ROUTING_HEADER,    /* the same in IPv6: routing header of type 0 */
	REASON_JUMBOGRAM,         /* IPv6 jumbogram that came over a wire */
	REASON_MARTIAN,           /* addresses that are on no wire */
	REASON_LAND,              /* sent to its own source */
	REASON_SPOOFED,           /* no answer would go where it came from */
	REASON_NO_ROUTE,          /* the routing table refuses the destination */
	REASON_TABLE_FULL,        /* no flow entry could be made */
	REASON_SOURCE_LIMIT,      /* its source has as many confirmed flows as it may */
	REASON_OVER_LIMIT, /* its rule has let in as many as `limit` or `max-flows` lets it */
	REASON_NO_POLICY,  /* no ruleset in force, or an unknown interface */
	REASON_COUNT,

	REASON_FIRST_DROP = REASON_RULE_DROP,
};

/* What `option builtin.NAME` switches; a bit in settings.builtins each. */
enum fw_builtin {
	BUILTIN_ARP,
	BUILTIN_PPPOE,
	BUILTIN_EAPOL,
	BUILTIN_LLDP,
	BUILTIN_STP,
	BUILTIN_ND,
	BUILTIN_MLD,
	BUILTIN_IGMP,
	BUILTIN_DHCP,
	BUILTIN_DHCP6,
	BUILTIN_COUNT,
};

/* `option ip.options`, in the order of its words. */
enum fw_ip_options {
	IP_OPTIONS_DROP,
	IP_OPTIONS_PASS,
};

/* `option antispoof`, in the order of its words: which route back a source must have. */
enum fw_antispoof {
	ANTISPOOF_STRICT, /* by the interface that the packet came in by */
	ANTISPOOF_LOOSE,  /* by any */
	ANTISPOOF_OFF,
};

/* `option fragments.early`, in the order of its words. */
enum fw_early {
	EARLY_PASS,
	EARLY_DROP,
};

/* `option flows.full`, in the order of its words: what becomes of one more flow. */
enum fw_full {
	FULL_REFUSE,
	FULL_EVICT, /* it takes the place of one that has long been idle */
};

/* What one side of a TCP connection, or of an SCTP association, has sent so far. */
enum fw_side_state {
	SIDE_NONE,
	SIDE_SYN,  /* its SYN; INIT or INIT ACK */
	SIDE_OPEN, /* an acknowledgement of the other's SYN; COOKIE ECHO or what answers it */
	SIDE_FIN,  /* its FIN; SHUTDOWN or SHUTDOWN ACK */
	SIDE_RST,  /* RST; ABORT or SHUTDOWN COMPLETE */
};

/* State of a whole flow, a pure function of both sides' records. */
enum fw_state {
	STATE_SYN_SENT,
	STATE_SYN_RECV,
	STATE_ESTABLISHED,
	STATE_FIN_WAIT, /* one side has sent its FIN */
	STATE_LAST_ACK, /* both have, not both acknowledged */
	STATE_TIME_WAIT,
	STATE_CLOSED,  /* reset; SCTP: aborted or shut down */
	STATE_ONE_WAY, /* neither TCP nor SCTP: no answer yet */
	STATE_TWO_WAY,
	STATE_REVOKED,        /* denied by the rules in force */
	STATE_COOKIE_WAIT,    /* SCTP: no cookie has come back yet */
	STATE_COOKIE_ECHOED,  /* one has, and was not answered */
	STATE_HEARTBEAT_SENT, /* another path of an association, no answer yet */
	STATE_SHUTDOWN_SENT,
	STATE_SHUTDOWN_ACK_SENT,
	STATE_COUNT,
};

/* `option tcp.pickup`: what a segment in the middle of no known connection may open. */
enum fw_pickup {
	PICKUP_OFF,
	PICKUP_OUTBOUND, /* where an end of the connection is known to be ours */
	PICKUP_ANY,      /* whatever the rules allow from either end */
};

/* `option tcp.window`: what becomes of a segment outside its connection's window. */
enum fw_window {
	WINDOW_STRICT,
	WINDOW_LOG, /* it passes, and is logged as what would be dropped */
	WINDOW_OFF,
};

/* Index into settings.timeout_j: `option timeout.NAME`. TCP's are in the order of its states. */
enum fw_timeout {
	TIMEOUT_TCP_SYN_SENT,
	TIMEOUT_TCP_SYN_RECV,
	TIMEOUT_TCP_ESTABLISHED,
	TIMEOUT_TCP_FIN_WAIT,
	TIMEOUT_TCP_LAST_ACK,
	TIMEOUT_TCP_TIME_WAIT,
	TIMEOUT_TCP_CLOSED,
	TIMEOUT_UDP_ONE_WAY,
	TIMEOUT_UDP,
	TIMEOUT_ICMP,
	TIMEOUT_SCTP_COOKIE_WAIT,
	TIMEOUT_SCTP_COOKIE_ECHOED,
	TIMEOUT_SCTP_HEARTBEAT_SENT,
	TIMEOUT_SCTP_ESTABLISHED,
	TIMEOUT_SCTP_SHUTDOWN_SENT,
	TIMEOUT_SCTP_SHUTDOWN_ACK_SENT,
	TIMEOUT_SCTP_CLOSED,
	TIMEOUT_OTHER_ONE_WAY,
	TIMEOUT_OTHER,
	TIMEOUT_REVOKED,
	TIMEOUT_EXPECTATION,
	TIMEOUT_COUNT,
};

#endif
