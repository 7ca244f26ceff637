/* SPDX-License-Identifier: GPL-2.0-only */
/* Whose packet it is, of those that this host sends: the user and the cgroups of the socket. */
#ifndef FW_OWNER_H
#define FW_OWNER_H

#include "maps.h"

/*
 * The kernel gives a packet without a socket, or with one that is no process's, the
 * uid of nobody: such a packet has no user here.
 */
GLOBAL int note_owner(struct __sk_buff *skb)
{
	struct cpu *cpu = this_cpu();
	struct bpf_sock *sk;
	struct env *env;
	int i;

	if (!cpu || env_from_map)
		return 0;
	env = &cpu->packet.env;
	sk = skb->sk;
	env->has_user = sk && bpf_sk_fullsock(sk);
	env->uid = bpf_get_socket_uid(skb);
	for (i = 0; i < CGROUP_LEVELS; i++)
		env->cgroups[i] = has_cgroups ? bpf_skb_ancestor_cgroup_id(skb, i + 1) : 0;
	return 0;
}

#endif
