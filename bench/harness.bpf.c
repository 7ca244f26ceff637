// SPDX-License-Identifier: MIT
/*
 * What bench/packet_cost compares with: a program that does nothing, and one
 * that does the least that tracks a flow; and those that make each packet another
 * flow's, or that of a flow which has never been.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FIRST_SOURCE 0xc6120000 /* 198.18.0.0/15, for benchmarks (RFC 2544) */
#define FIRST_PORT 1024
#define PORTS 16384

char LICENSE[] SEC("license") = "Dual MIT/GPL";

const volatile __u32 flows = 1; /* sources, from FIRST_SOURCE on; 0: each packet begins a flow */
const volatile __u32 header_sum = 0; /* of the IP header's words but source and checksum */
const volatile __u8 gateway[ETH_ALEN] = {};

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

static __always_inline void choose_flow(struct frame *f)
{
	__u32 n = (__u64)bpf_get_prandom_u32() * flows >> 32;

	f->ip.saddr = bpf_htonl(FIRST_SOURCE + n);
	f->tcp.source = bpf_htons(FIRST_PORT + n % PORTS);
}

/* A key as fw has it: both ends, the lower first. Here the server always is. */
struct key {
	__be32 lo[4];
	__be32 hi[4];
	__be16 lo_port;
	__be16 hi_port;
	__u16 zone;
	__u8 proto;
	__u8 family;
};

struct value {
	__u64 packets;
	__u8 rest[192]; /* as large as fw's, about */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 17);
	__type(key, struct key);
	__type(value, struct value);
} table SEC(".maps");

/* The headers read, the flow found and counted: no state, no rules, no checks. */
SEC("tc")
int lookup(struct __sk_buff *skb)
{
	struct frame *f = (void *)(long)skb->data;
	struct key key = {};
	struct value *value;

	if ((void *)(f + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	if (f->eth.h_proto != bpf_htons(ETH_P_IP) || f->ip.ihl != 5)
		return TC_ACT_SHOT;
	key.lo[3] = f->ip.daddr;
	key.hi[3] = f->ip.saddr;
	key.lo_port = f->tcp.dest;
	key.hi_port = f->tcp.source;
	key.proto = f->ip.protocol;
	key.family = 4;
	value = bpf_map_lookup_elem(&table, &key);
	if (!value)
		return TC_ACT_SHOT;
	value->packets++;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

/* Another flow's packet, then the program that is measured; none: what this one costs. */
SEC("tc")
int shuffle(struct __sk_buff *skb)
{
	struct frame *f = (void *)(long)skb->data;

	if ((void *)(f + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	choose_flow(f);
	bpf_tail_call(skb, &next, 0);
	return TC_ACT_SHOT;
}

/* position[0]: how many flows there have been. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} position SEC(".maps");

static __always_inline void begin_flow(struct frame *f)
{
	__u32 zero = 0, *n = bpf_map_lookup_elem(&position, &zero);

	if (!n)
		return;
	f->ip.saddr = bpf_htonl(FIRST_SOURCE + (*n & 0xffff));
	f->tcp.source = bpf_htons(FIRST_PORT + (*n >> 16));
	++*n;
}

/* A frame that the stack forwards. Its page was used before: what the stack wrote there is renewed. */
SEC("xdp")
int inject(struct xdp_md *ctx)
{
	struct frame *f = (void *)(long)ctx->data;
	__u32 sum = header_sum;
	int i;

	if ((void *)(f + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (flows)
		choose_flow(f);
	else
		begin_flow(f);
	for (i = 0; i < ETH_ALEN; i++)
		f->eth.h_dest[i] = gateway[i];
	f->ip.ttl = 64;
	sum += (f->ip.saddr & 0xffff) + (f->ip.saddr >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	f->ip.check = ~sum;
	return XDP_PASS;
}
