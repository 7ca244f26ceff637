/* SPDX-License-Identifier: GPL-2.0-only */
/* What a packet is counted by, and what is known of it and of its interface besides its bytes. */
#ifndef FW_ABI_PACKET_H
#define FW_ABI_PACKET_H

#include <linux/types.h>

struct counter {
	__u64 packets;
	__u64 bytes;
};

/*
 * rule_counters[n / COUNTERS_PAGE] is an array of these for each n that a rule has: element
 * cpu * COUNTERS_PAGE + n % COUNTERS_PAGE is counter n of that CPU. What counts is the sum, and the latest.
 */
struct rule_counter {
	__u64 packets;
	__u64 bytes;
	__u64 last_j; /* jiffies at the last packet; 0: none yet */
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

#endif
