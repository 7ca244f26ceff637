/* SPDX-License-Identifier: GPL-2.0-only */
/* Every map but those of sets.h and overload.h, and the settings that the loader writes before loading. */
#ifndef FW_MAPS_H
#define FW_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"
#include "ruleset.h"
#include "types.h"

const volatile __u32 hz = 250;        /* jiffies per second */
const volatile __u32 answer_mark = 0; /* marks our own answers; random */
const volatile __u8 has_cgroups = 1;  /* the kernel tells those of a socket */
const volatile __u8 env_from_map = 0; /* a scratch copy: read env_map, not the skb */

/* What a packet that was judged at ingress tells egress. */
struct handoff {
	__u64 when_j;
	struct tuple tuple; /* at ingress, as on the wire */
	struct flow_key key;
	__u32 hash; /* of a packet that came by a member of a VRF */
	__u32 rule;
	__u32 counter;
	__u32 icmp;
	__u32 in_ifindex;
	__u32 seq;
	__u32 out_slot;
	__u32 role;
	__u32 scope;
	__u32 flags; /* of the flow, enum fw_flow_flags */
	struct effects effects;
	__u32 until_s; /* the rules' answer holds until then, as in struct flow */
	__u32 further; /* of the rule, if this packet was judged by it */
};

/* What a CPU knows of the time: see hours.h. */
struct hours {
	__u64 asked_j;
	__u64 now_ns;  /* boot time then */
	__u64 next_ns; /* of the next edge */
	__u64 open;    /* windows, a bit each */
	__u32 until_s; /* they hold so long at least; 0: for ever */
	__u32 generation;
};

/* What the rules in force said, while others are asked: see anew.h. */
struct answer {
	__u32 generation;
	__u32 action;
	__u32 rule;
	__u32 counter;
	__u32 further;
	__u32 until_s;
	__u32 log;
	__u32 reserved;
	struct hours hours;
};

#define ANSWER_MAX 256 /* bytes of an answer, link header aside */

struct cpu {
	struct counter reasons[REASON_COUNT];
	struct packet packet;
	struct flow fresh;              /* a flow in the making */
	struct expectation expectation; /* one in the making, or that a packet answers */
	struct fragment fragment;       /* an entry in the making */
	struct event event;
	struct bucket answers;
	struct bucket events;
	struct hours hours;
	struct answer kept;
	__u32 handoff_next;
	__u32 reserved;
	__u8 frame[ANSWER_MAX]; /* an answer in the making */
	__u8 options[64];       /* of a TCP header, 40 bytes at most */
};

struct journal_head {
	struct bpf_spin_lock lock;
	__u32 reserved;
	__u64 newest;  /* number of the newest record; 0: none yet */
	__u64 kept[2]; /* how many were written: of drops, and of what a rule logs */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, INTERFACES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct iface);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOOKS_MAX);
	__type(key, __u32);
	__type(value, struct iface);
} hooks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VLAN_DEVICES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct vlan_key);
	__type(value, __u8);
} vlan_devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536); /* option flows.max, and what the CPUs keep of it */
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536); /* option flows.max */
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 65536); /* option flows.max */
	__type(value, __u32);
} vacant SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct table);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072); /* twice as many as `flows` */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source_key);
	__type(value, struct source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * RATES_MAX); /* of one policy, and of that before it */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct rate);
} rates SEC(".maps");

/* Of sources: locked by their rule's entry in `rates`, since no value of an LRU map may have a lock. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SOURCE_BUCKETS_MAX);
	__type(key, struct source_key);
	__type(value, struct bucket);
} source_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct totals);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, REQUESTS_MAX);
	__type(key, __u32);
	__type(value, struct request);
} requests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384); /* option flows.embryonic */
	__type(key, struct flow_key);
	__type(value, struct flow);
} embryonic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EXPECTATIONS_MAX);
	__type(key, struct expectation_key);
	__type(value, struct expectation);
} expectations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

/* Of packets whose first fragment has not been seen. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EARLY_FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} early_fragments SEC(".maps");

/* By a hash of the destination: what may still go there ahead of its first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EARLY_DESTINATIONS);
	__type(key, __u32);
	__type(value, struct bucket);
} early_budgets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HANDOFF_CPUS *HANDOFFS_PER_CPU);
	__type(key, __u32);
	__type(value, struct handoff);
} handoffs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu);
} cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * JOURNAL_SIZE);
	__type(key, __u32);
	__type(value, struct event);
} journal SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct journal_head);
} journal_head SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct env);
} env_map SEC(".maps");

static __always_inline struct cpu *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpu, &zero);
}

/* What is known of an interface. `hooks` is the shorter way, for those that are protected. */
static __always_inline struct iface *iface_of(__u32 ifindex)
{
	__u32 index = ifindex % HOOKS_MAX;
	struct iface *iface = bpf_map_lookup_elem(&hooks, &index);

	if (iface && iface->ifindex == ifindex)
		return iface;
	return bpf_map_lookup_elem(&interfaces, &ifindex);
}

/* The ruleset of a generation, or NULL when its slot holds another. */
static __always_inline struct settings *settings_of(__u32 generation)
{
	__u32 slot = generation % GENERATION_SLOTS;
	struct settings *s = bpf_map_lookup_elem(&settings, &slot);

	return s && generation && s->generation == generation ? s : NULL;
}

#endif
