// SPDX-License-Identifier: GPL-2.0-only
/*
 * fw: a stateful firewall at the traffic-control hooks. Read from here down:
 *
 *	skb -> parse -> track -> match -> open flow -> settle -> verdict
 *
 * Each step returns why the packet's fate is decided, or REASON_NONE to go on.
 */
#include "parse.h"
#include "track.h"
#include "open.h"
#include "settle.h"
#include "request.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline int fw(struct __sk_buff *skb, enum fw_hook hook)
{
	struct cpu *cpu = this_cpu();
	__u32 reason;

	if (!cpu)
		return refuse();
	reason = parse(skb, &cpu->packet, hook);
	if (!reason)
		reason = track(skb, cpu, hook);
	if (!reason)
		reason = match(skb);
	if (!reason)
		reason = open_flow();
	return settle(skb, cpu, reason, hook);
}

SEC("tc")
int fw_ingress(struct __sk_buff *skb)
{
	return fw(skb, HOOK_INGRESS);
}

SEC("tc")
int fw_egress(struct __sk_buff *skb)
{
	return fw(skb, HOOK_EGRESS);
}

/* Not a packet's: answers the requests of user space, which runs it. */
SEC("tc")
int fw_request(struct __sk_buff *skb)
{
	int i;

	for (i = 0; i < REQUESTS_MAX; i++)
		if (!fulfil(i))
			break;
	return i;
}
