/* SPDX-License-Identifier: GPL-2.0-only */
/* How many there may be of what: of everything that has a fixed size. */
#ifndef FW_ABI_LIMITS_H
#define FW_ABI_LIMITS_H

enum fw_limits {
	GENERATION_SLOTS = 4,   /* rulesets that may exist at one time */
	RULES_MAX = 262144,     /* rules of a policy */
	RATES_MAX = 16384,      /* of which so many may have a `limit` */
	MACS_MAX = 16,          /* of one rule */
	CGROUP_LEVELS = 8,      /* of which a rule can ask */
	ENTRIES_PER_CHUNK = 32, /* in one classifier element; with no more a policy has no trees */
	ENTRIES_MAX = 524288,   /* match entries of a policy */
	CLASSES_MAX = 256,      /* interface classes; 0 is an unknown interface */
	PATTERNS_MAX = 64,      /* distinct interface patterns of a policy */
	PATTERN_ANY = 255,      /* a rule without on/via */
	EDGES_BITS = 16,
	EDGES_MAX = 1 << EDGES_BITS, /* moments at which windows of time open or close */
	INTERFACES_MAX = 4096,
	HOOKS_MAX = 1024, /* a power of two */
	VLAN_DEVICES_MAX = 4096,
	JOURNAL_SIZE = 4096,    /* last drops that are kept, and last passes that a rule logs */
	HANDOFFS_PER_CPU = 128, /* packets on their way from ingress to egress */
	HANDOFF_CPUS = 32,
	/* Of which one policy uses half, and what replaces it the other; the first three are the defaults'. */
	RULE_COUNTERS = 528384,
	COUNTERS_PAGE = 2048, /* of them in one inner map */
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
	OVERLOADS_MAX = 65536,         /* that `overload` has put into sets; a power of two */
	ELEMENT_COUNTERS_MAX = 262144, /* prefixes of which packets are counted */
	ELEMENT_ENDS = 3,              /* sets that one prefix may be in for a time, at one time */
	SET_BITS_V6 = 64,              /* what a key has before the first bit of a prefix */
	SET_BITS_V4 = 160,             /* that, and the words that are 0 */
};

#endif
