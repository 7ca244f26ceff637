/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every layout that user space and the packet path share, written once.
 * firewall/abi.py is generated from this file's BTF; `make abi` renews it.
 *
 * Addresses are four words in network order; an IPv4 address is in the last
 * word with the others zero, its family told apart by a field of its own.
 * Ports are in host order except in keys. Padding is explicit everywhere:
 * keys are hashed as bytes.
 */
#ifndef FW_ABI_H
#define FW_ABI_H

#include <linux/bpf.h>
#include <linux/types.h>

/*
 * Raised whenever a pinned map's layout or meaning changes. An upgrade copies flows
 * by the names of their fields: states and flags of a flow keep their numbers.
 */
enum fw_layout {
	LAYOUT_VERSION = 5,
};

enum fw_limits {
	GENERATION_SLOTS = 4,   /* rulesets that may exist at one time */
	RULES_MAX = 1024,       /* rules of a policy */
	MACS_MAX = 16,          /* of one rule */
	CGROUP_LEVELS = 8,      /* of which a rule can ask */
	ENTRIES_PER_CHUNK = 32, /* in one classifier element; with no more a policy has no trees */
	ENTRIES_MAX = 524288,   /* match entries of a policy */
	TREE_GROUPS = 4,        /* trees of each family */
	TREE_CELLS = 11,        /* from root to leaf, three levels each */
	LEAF_ENTRIES = 16,      /* in a line of a leaf */
	TREE_CHAIN = 256,       /* lines of a leaf: 4,096 entries */
	CLASSES_MAX = 256,      /* interface classes; 0 is an unknown interface */
	PATTERNS_MAX = 64,      /* distinct interface patterns of a policy */
	PATTERN_ANY = 255,      /* a rule without on/via */
	EDGES_BITS = 16,
	EDGES_MAX = 1 << EDGES_BITS, /* moments at which windows of time open or close */
	INTERFACES_MAX = 4096,
	HOOKS_MAX = 1024, /* a power of two */
	VLAN_DEVICES_MAX = 4096,
	JOURNAL_SIZE = 4096,    /* last drops that are kept */
	HANDOFFS_PER_CPU = 128, /* packets on their way from ingress to egress */
	HANDOFF_CPUS = 32,
	RULE_COUNTERS = 2048, /* the first three are the defaults' */
	POLICY_CHUNK = 4096,  /* bytes of policy document in one element */
	FRAGMENTS_MAX = 8192,
	FRAGMENTS_PER_SOURCE = 256, /* at one hook; a power of two */
	FRAGMENT_RUNS = 16,         /* stretches of one packet, with gaps between */
	EARLY_FRAGMENTS_MAX = 2048,
	EARLY_DESTINATIONS = 1024,
	EXPECTATIONS_MAX = 4096,
	SOURCE_BUCKETS_MAX = 16384, /* sources whose rate is known: `limit ... per source` */
	EVENT_BYTES = 1 << 20,      /* ring buffer for followers */
	REQUESTS_MAX = 64,          /* that user space may make at one time */
	/* What each CPU keeps of an LRU table's free entries, and takes at a time, before it displaces others. */
	LRU_BATCH = 128,
	SETS_MAX = 64,              /* a power of two */
	SET_ELEMENTS_MAX = 4194304, /* prefixes of all sets */
	SET_NAME_BYTES = 32,
	ELEMENT_ENDS = 3,  /* sets that one prefix may be in for a time, at one time */
	SET_BITS_V6 = 64,  /* what a key has before the first bit of a prefix */
	SET_BITS_V4 = 160, /* that, and the words that are 0 */
};

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

	REASON_FLOW,           /* belongs to a live flow */
	REASON_RELATED,        /* ICMP error that quotes a live flow */
	REASON_RULE_ALLOW,     /* a rule allowed it: a flow was opened */
	REASON_DEFAULT_ALLOW,  /* the scope's default allowed it: a flow was opened */
	REASON_EXPECTED,       /* answers a multicast or broadcast question: a flow was opened */
	REASON_PICKUP,         /* mid-stream segment adopted after loading */
	REASON_FRAGMENT,       /* later fragment of an allowed packet */
	REASON_FRAGMENT_EARLY, /* later fragment ahead of its first, of which a few pass */
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
	REASON_REVOKED,           /* its flow is no longer allowed by the rules */
	REASON_NO_FLOW,           /* cannot open a flow and belongs to none */
	REASON_BAD_HANDSHAKE,     /* of TCP or SCTP, and does not fit the handshake */
	REASON_OUT_OF_WINDOW,     /* TCP segment outside its connection's window */
	REASON_BAD_TAG,           /* SCTP packet without its association's verification tag */
	REASON_UNRELATED,         /* ICMP error that quotes no live flow */
	REASON_FRAGMENT_UNKNOWN,  /* later fragment whose first was not allowed */
	REASON_FRAGMENT_FLOOD,    /* one more ahead of its first than its destination may get */
	REASON_FRAGMENT_TINY,     /* first fragment without the whole header */
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

struct counter {
	__u64 packets;
	__u64 bytes;
};

/* What the live program reads from the skb, and a scratch copy from a map. */
struct env {
	__u32 ifindex;
	__u32 ingress_ifindex;
	__u32 mark;
	__u32 tc_index;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto; /* network order, as in __sk_buff */
	__u32 gso_segs;
	__u32 gso_size;
	__u32 pkt_type;
	__u32 hash; /* of the packet's ends, 0 if nobody has computed it */
	/* Of what this host sends, and only if a rule asks: see owner.h. */
	__u32 uid;
	__u32 has_user; /* it has a socket of a process */
	__u32 reserved;
	__u64 cgroups[8]; /* of that process, from below the root on; 0: none */
};

/* ------------------------------------------------------------ interfaces */

enum fw_iface_flags {
	IFACE_PROTECTED = 1 << 0,
	IFACE_RAW_IP = 1 << 1,     /* no link header: tun, WireGuard, PPP */
	IFACE_TCX = 1 << 2,        /* attached by TCX, else by clsact */
	IFACE_QDISC_OURS = 1 << 3, /* we made the clsact qdisc */
	IFACE_VRF = 1 << 4, /* a VRF: at egress it stands for the member that a packet came by */
};

/*
 * interfaces: ifindex -> iface; hooks[ifindex % HOOKS_MAX] has a copy of a
 * protected one's, unless another has taken its place there. Slots are never 0
 * and fit 15 bits.
 */
struct iface {
	__u32 ifindex;
	__u16 slot;     /* what ingress writes into tc_index */
	__u16 class_id; /* row of settings.patterns */
	__u16 zone;     /* its VRF's number, else 0 */
	__u16 flags;
	char name[16];
	__u32 reserved;
};

/* vlan_devices: a tag on a device that has a VLAN device of its own. */
struct vlan_key {
	__u32 ifindex;
	__u16 proto; /* host order */
	__u16 vid;
};

/* --------------------------------------------------------------- control */

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
	__u32 reserved;
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
	__u32 reserved2;
	__u32 timeout_j[32];       /* jiffies, by enum fw_timeout */
	struct tree_root trees[8]; /* IPv4's groups, then IPv6's, each by `first` */
	__u64 patterns[256];       /* by interface class: patterns that it matches */
};

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
	__u32 counter; /* index into rule_counters */
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
	FURTHER_NEVER = 1 << 6, /* names a user or unit that is not known */

	/* asked of the opener's packet, of which its flow keeps nothing */
	FURTHER_OF_PACKET = FURTHER_MARK | FURTHER_DSCP | FURTHER_MAC | FURTHER_USER | FURTHER_UNIT,
};

/* What an `allow` does to each packet of its flows, and to them. */
struct effects {
	__u32 mark;      /* `set-mark`: these bits */
	__u32 mark_mask; /* in the place of those; 0: none */
	__u32 idle_j;    /* `idle`; 0: as the options say */
	__u32 reserved;
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
	__u64 windows; /* of time, each a bit: all must be open */
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

/* ------------------------------------------------------------------ sets */

/* sets[number]: a set of addresses; one without a name is free. */
struct set {
	char name[32];
	__u8 digest[16]; /* of what the policy lists for it; 0: it may hold something else */
	__u32 timeout_s; /* of what is added at run time; 0: for ever */
	__u32 reserved;
};

/* set_elements: in the order of an LPM trie's key, the longer the narrower. */
struct set_key {
	__u32 bits;   /* SET_BITS_V4 or SET_BITS_V6, and the prefix's length */
	__u32 family; /* 4, 6 */
	__u32 reserved;
	__be32 address[4];
};

/* A prefix, and the sets that it is an element of. */
struct element {
	__u64 listed;   /* by the policy: bit per set */
	__u64 added;    /* at run time, for ever */
	__u8 bits;      /* as in its key */
	__u8 timed[3];  /* at run time, until end_s: number of a set each */
	__u32 end_s[3]; /* boot time; 0: not used */
};

/* ------------------------------------------------------------- classifier */

/* What a tree splits by: an index into question.field, and 4 bits in a cell. */
enum fw_field {
	FIELD_PROTO,
	FIELD_SCOPE,
	FIELD_SPORT,
	FIELD_DPORT,
	FIELD_SRC, /* four words, the most significant first; an IPv4 address is the last one */
	FIELD_DST = FIELD_SRC + 4,
	FIELD_COUNT = FIELD_DST + 4,
};

enum fw_tree {
	TREE_LEAF = 1U << 31, /* a pointer to a leaf */
	TREE_LAST = 1U << 31, /* the last entry of a leaf */
};

/*
 * trees[generation % GENERATION_SLOTS] is an array of lines, cells and leaves mixed; a
 * pointer is the index of one. A leaf has numbers of entries, ascending, and goes on in the
 * next line unless one of its words is the last.
 */
struct cell {
	__u32 thresholds
		[7]; /* a heap: node n's children are 2n and 2n + 1, the latter for what is above */
	__u32 fields; /* 4 bits for each node */
	__u32 children[8];
};

struct leaf {
	__u32 entries[16];
};

/* ----------------------------------------------------------------- flows */

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
	/* seq_end of a later SYN with another number; FLOW_LIBERAL: the highest it acknowledged, by SACK too */
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
	FLOW_REVOKED = 1 << 4, /* the rules deny it now; nothing may take its place for a while */
	FLOW_COUNTED = 1 << 5, /* opened by who came in by a protected interface: its source's */
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

struct flow {
	__u32 tag;         /* the key's ten words, xored */
	__u32 incarnation; /* random: tells a reused node from the one held */
	__u32 generation;  /* of the ruleset that last admitted it */
	__u32 rule;        /* id; 0 is a default */
	__u16 counter;     /* index into rule_counters */
	__u8 scope;
	__u8 flags;      /* enum fw_flow_flags */
	__u32 icmp;      /* opener's type << 8 | code */
	__u32 slot;      /* confirmed: its place in `slots` */
	__u32 further;   /* of its rule in the ruleset of `generation`: index into furthers, or 0 */
	__u32 until_s;   /* boot time: judged anew from then on; 0: never */
	__u32 admission; /* by that ruleset and the sets as they were: see outdated() */
	__u64 created_j;
	struct effects effects;
	struct side side[2]; /* by enum fw_role */
	struct tuple parent; /* opener's orientation */
};

/* ------------------------------------------------ places of the flow table */

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

/* rates[entry.counter]: of the rule with this id, so that a new one with its counter begins full. */
struct rate {
	struct bpf_spin_lock lock; /* of the buckets of its sources, too */
	__u32 rule;
	struct bucket bucket;
};

/* slots[i]: a confirmed flow has one, which nobody else has. */
struct slot {
	struct bpf_spin_lock lock;
	__u32 incarnation; /* of the flow; 0: nobody's */
	__u32 counted;     /* in `sources`, under `source` */
	__u32 limited;     /* and under `ceiling`: its rule's `max-flows` */
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

/* ---------------------------------------------------------- expectations */

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

/* ------------------------------------------------------------- fragments */

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

/* ---------------------------------------------------------------- events */

enum fw_event_flags {
	EVENT_DROP = 1 << 0,
	EVENT_OBSERVED = 1 << 1, /* would have been dropped: observe mode */
	EVENT_LOG = 1 << 2,      /* its rule asks for a log */
};

/* journal[number % JOURNAL_SIZE]; a record is whole when both numbers agree. */
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
