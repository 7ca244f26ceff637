/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections that are older than what fw knows of them: which may be taken over midway. */
#ifndef FW_PICKUP_H
#define FW_PICKUP_H

#include "untracked.h"

/* include/net/tcp_states.h, as struct bpf_sock has them */
#define TCP_LISTEN 10
#define TCP_NEW_SYN_RECV 12

/*
 * Is there a connected socket of this host behind a segment that arrives? One whose handshake is not over will
 * do while fw is being loaded only: later that handshake is to be seen, with the ceilings of its rule.
 */
static __always_inline bool has_socket(struct __sk_buff *skb, const struct packet *p, bool grace)
{
	struct bpf_sock_tuple t HALVES_ALIGNED = {};
	struct bpf_sock *sk;
	bool connected;
	__u32 size;

	if (p->tuple.family == 4) {
		t.ipv4.saddr = p->tuple.src[3];
		t.ipv4.daddr = p->tuple.dst[3];
		t.ipv4.sport = p->tuple.sport;
		t.ipv4.dport = p->tuple.dport;
		size = sizeof(t.ipv4);
		sk = bpf_skc_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
	} else {
		copy_words(t.ipv6.saddr, p->tuple.src);
		copy_words(t.ipv6.daddr, p->tuple.dst);
		t.ipv6.sport = p->tuple.sport;
		t.ipv6.dport = p->tuple.dport;
		size = sizeof(t.ipv6);
		sk = bpf_skc_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return false;
	connected = sk->state != TCP_LISTEN && (grace || sk->state != TCP_NEW_SYN_RECV);
	bpf_sk_release(sk);
	return connected;
}

/*
 * A segment in the middle of a connection opens its flow if the rules allow
 * the connection from either end: for a while after loading, later as `option
 * tcp.pickup` says. To this host, only when a socket is connected; through it
 * from the far end, only when asked to, or while conntrack could not tell which
 * connections are forwarded. Anything else would let a stray acknowledgement in.
 */
GLOBAL int pickup(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	bool reversed, grace, far_end;
	struct settings *s;
	__u32 zero = 0, scope;
	struct control *c;
	struct packet *p;
	int i;

	if (!cpu)
		return REASON_NO_POLICY;
	c = bpf_map_lookup_elem(&control, &zero);
	p = &cpu->packet;
	scope = p->scope;
	s = settings_of(p->generation);
	if (!s)
		return REASON_NO_POLICY;
	if (!c || p->tuple.proto != IPPROTO_TCP || p->tcp_flags & (TCP_SYN | TCP_RST))
		return REASON_NO_FLOW;
	grace = (__s64)(c->grace_until_j - p->now_j) > 0;
	if (!grace && s->tcp_pickup == PICKUP_OFF)
		return REASON_NO_FLOW;
	if (scope == SCOPE_IN && !has_socket(skb, p, grace))
		return REASON_NO_FLOW;
	far_end = scope != SCOPE_FORWARD || (grace && c->grace_forward) ||
		  s->tcp_pickup == PICKUP_ANY;
	for (i = 0; i < 2; i++) {
		enum fw_reason reason;

		reversed = i;
		if (reversed && !far_end)
			break;
		/* the opener's packet is not this one: no rule that asks for more than its ends */
		p->anew = reversed;
		ask_own(0, reversed);
		if (reversed)
			ask_way(scope_of(p->out_ifindex, p->in_ifindex), p->out_ifindex,
				p->in_ifindex);
		else
			ask_way(scope, p->in_ifindex, p->out_ifindex);
		reason = judge();
		if (reason)
			return reason;
		if (p->action == ACTION_ALLOW && !is_untracked()) {
			p->pickup = 1;
			p->role = reversed ? ROLE_RESPONDER : ROLE_OPENER;
			p->scope = p->question.scope;
			return REASON_NONE;
		}
	}
	p->counter = NO_COUNTER;
	p->rule = 0;
	p->log = 0;
	return REASON_NO_FLOW;
}

#endif
