/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is worth telling: drops, and what a rule logs. The journal keeps the
 * last of them whether anybody reads or not; the ring buffer feeds followers.
 */
#ifndef FW_JOURNAL_H
#define FW_JOURNAL_H

#include "limit.h"
#include "cursor.h"

/* Of one more record: its number, and where it is kept. What a rule lets pass and logs displaces no drop. */
static __always_inline __u64 next_number(bool drop, __u32 *slot)
{
	__u32 zero = 0;
	struct journal_head *head = bpf_map_lookup_elem(&journal_head, &zero);
	__u64 number;

	if (!head)
		return 0;
	/* fetch-and-add does not load on 5.10; drops alone pay for this lock */
	bpf_spin_lock(&head->lock);
	number = ++head->newest;
	*slot = drop ? head->kept[0]++ % JOURNAL_SIZE :
		       head->kept[1]++ % JOURNAL_SIZE + JOURNAL_SIZE;
	bpf_spin_unlock(&head->lock);
	return number;
}

static __always_inline void describe(struct event *e, const struct packet *p)
{
	bool quoting = p->icmp_kind == ICMP_ERROR;

	e->time_ns = bpf_ktime_get_boot_ns();
	copy_words(e->src, quoting ? p->outer_src : p->tuple.src);
	copy_words(e->dst, quoting ? p->outer_dst : p->tuple.dst);
	e->rule = p->rule;
	e->generation = p->generation;
	e->in_ifindex = p->in_ifindex;
	e->out_ifindex = p->out_ifindex;
	e->bytes = p->bytes;
	e->packets = p->segments;
	e->sport = p->icmp_kind ? 0 : bpf_ntohs(p->tuple.sport);
	e->dport = p->icmp_kind ? p->icmp : bpf_ntohs(p->tuple.dport);
	e->eth_proto = p->eth_proto;
	e->hook = p->hook;
	e->scope = p->scope;
	e->proto = p->tuple.proto;
	if (quoting)
		e->proto = p->tuple.family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	e->family = p->tuple.family;
	e->tcp_flags = p->tcp_flags;
}

GLOBAL int record(__u32 reason, __u32 flags)
{
	struct cpu *cpu = this_cpu();
	struct event *e, *kept;
	struct settings *s;
	struct packet *p;
	__u32 slot = 0;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	e = &cpu->event;
	__builtin_memset(e, 0, sizeof(*e));
	e->number = next_number(flags & EVENT_DROP, &slot);
	e->number_end = e->number;
	e->reason = reason;
	e->flags = flags;
	describe(e, p);
	kept = bpf_map_lookup_elem(&journal, &slot);
	if (kept) {
		/* a reader drops a record whose two numbers differ */
		kept->number_end = 0;
		barrier();
		*kept = *e;
	}
	s = settings_of(p->generation);
	if (s && take_token(&cpu->events, p->now_j, s->events_per_s))
		bpf_ringbuf_output(&events, e, sizeof(*e), 0);
	return 0;
}

#endif
