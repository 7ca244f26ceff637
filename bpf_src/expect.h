/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A question to a multicast or broadcast address is answered by hosts that it did
 * not name, so no flow has their addresses. For a while they may answer the socket
 * that asked, by the interface that the question took and from the port that was
 * asked: mDNS (RFC 6762 section 6.7), SSDP, NetBIOS (RFC 1002), SLP (RFC 2608).
 */
#ifndef FW_EXPECT_H
#define FW_EXPECT_H

#include "classify.h"
#include "scope.h"

#define SSDP_PORT 1900 /* devices answer from any port (UPnP Device Architecture, section 1.3.3) */

static __always_inline void expectation_key(struct expectation_key *key, const struct packet *p,
					    const __be32 *asker, __be16 asker_port,
					    __be16 answer_port)
{
	copy_words(key->asker, asker);
	key->asker_port = asker_port;
	key->answer_port = answer_port;
	key->slot = p->slot;
	key->proto = p->tuple.proto;
	key->family = p->tuple.family;
}

/* Our own question passes: whoever answers is expected from now on. */
GLOBAL int expect_answers(void)
{
	struct expectation_key key = {};
	struct cpu *cpu = this_cpu();
	struct packet *p;
	__be16 port;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	port = p->tuple.dport == bpf_htons(SSDP_PORT) ? 0 : p->tuple.dport;
	expectation_key(&key, p, p->tuple.src, p->tuple.sport, port);
	cpu->expectation.when_j = p->now_j;
	cpu->expectation.rule = p->rule;
	cpu->expectation.asked = p->tuple;
	return bpf_map_update_elem(&expectations, &key, &cpu->expectation, BPF_ANY);
}

/* Does the packet answer one of our questions, which the rules still allow? */
static __always_inline bool expected(struct cpu *cpu, struct packet *p, const struct settings *s)
{
	struct expectation_key key = {};
	struct expectation *e;

	if (p->tuple.proto != IPPROTO_UDP || p->scope != SCOPE_IN || p->hook != HOOK_INGRESS)
		return false;
	expectation_key(&key, p, p->tuple.dst, p->tuple.dport, p->tuple.sport);
	e = bpf_map_lookup_elem(&expectations, &key);
	if (!e) {
		key.answer_port = 0;
		e = bpf_map_lookup_elem(&expectations, &key);
	}
	if (!e || p->now_j - e->when_j > s->timeout_j[TIMEOUT_EXPECTATION])
		return false;
	cpu->expectation.asked = e->asked;
	/* the node may have become another question's */
	if (!same_address(cpu->expectation.asked.src, p->tuple.dst) ||
	    cpu->expectation.asked.sport != p->tuple.dport)
		return false;
	ask(p, &cpu->expectation.asked, 0);
	ask_way(SCOPE_OUT, 0, p->in_ifindex);
	ask_anew(p, e->rule);
	if (judge() || p->action != ACTION_ALLOW) {
		p->anew = 0;
		return false;
	}
	p->expected = 1;
	p->role = ROLE_RESPONDER;
	p->scope = SCOPE_OUT;
	return true;
}

#endif
