/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which sets an address is in. One trie holds the prefixes of all sets: its longest
 * match is looked up, then the next shorter one around that, to the shortest; what is
 * found of an address holds for the whole search of the rules.
 */
#ifndef FW_SETS_H
#define FW_SETS_H

#include "cursor.h"
#include "hours.h"

#define PREFIXES_MAX 129    /* around one address: of length 0 to 128 */
#define PREFIXES_AT_ONCE 12 /* see classify.h: a loop of calls that loop */
#define OVERLOADS_MORE 64   /* CPUs that are putting in others when one is to go */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SETS_MAX);
	__type(key, __u32);
	__type(value, struct set);
} sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, SET_ELEMENTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct set_key);
	__type(value, struct element);
} set_elements SEC(".maps");

/* What `overload` of rules has put into sets, in a trie that the packet path alone adds to: see overload.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, OVERLOADS_MAX + OVERLOADS_MORE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct set_key);
	__type(value, struct overload);
} overloads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct overload_head);
} overload_head SEC(".maps");

/* Of elements of sets that count: what was judged by them, from the first packet on. The key is of set_elements. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ELEMENT_COUNTERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct set_key);
	__type(value, struct counter);
} element_counters SEC(".maps");

/* Where user space goes on to look for elements whose time is up. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct set_key);
} set_hand SEC(".maps");

static __always_inline struct overload_head *the_overload_head(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&overload_head, &zero);
}

/* One step of the search: is there more of it, and how long the prefix is that counts the packet (none: 0). */
enum fw_set_search {
	SEARCH_END = 0,
	SEARCH_ON = 1,
	SEARCH_COUNTS_SHIFT = 8,
};

/*
 * Whose time is up is in no set; what is not up yet limits how long the rules' answer
 * holds. Arithmetic in the place of branches, as the verifier would take each of them
 * for each end.
 */
static __always_inline __u64 timed_sets(const __u8 *timed, const __u32 *end_s, struct cpu *cpu)
{
	struct packet *p = &cpu->packet;
	__s64 now_s, last_s = (__u32)(p->until_s - 1);
	__u64 found = 0;
	int i;

	if (!(end_s[0] | end_s[1] | end_s[2]))
		return 0;
	now_s = boot_s(cpu);
	for (i = 0; i < ELEMENT_ENDS; i++) {
		__s64 left_s = (__s64)end_s[i] - now_s;
		__u64 lives = (__u64)-left_s >> 63;
		__s64 shorter = (__s64)end_s[i] - 1 - last_s;

		found |= lives << (timed[i] & (SETS_MAX - 1));
		last_s += shorter & shorter >> 63 & -(__s64)lives;
	}
	p->until_s = last_s + 1;
	return found;
}

static __always_inline __be32 prefix_word(__be32 word, __s32 bits)
{
	if (bits >= 32)
		return word;
	return bits <= 0 ? 0 : word & bpf_htonl(~0U << (32 - bits));
}

/* The packet is one more of the prefix of so many bits around p->set_key. */
GLOBAL int count_element(__u32 bits)
{
	struct cpu *cpu = this_cpu();
	struct counter none = {}, *c;
	struct set_key *key;
	struct packet *p;
	int i;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	key = &p->counted_key;
	key->bits = bits;
	key->family = p->set_key.family;
	key->reserved = 0;
	for (i = 0; i < 4; i++)
		key->address[i] = prefix_word(p->set_key.address[i], bits - SET_BITS_V6 - 32 * i);
	c = bpf_map_lookup_elem(&element_counters, key);
	if (!c) {
		bpf_map_update_elem(&element_counters, key, &none, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&element_counters, key);
		if (!c)
			return 0;
	}
	__sync_fetch_and_add(&c->packets, p->segments);
	__sync_fetch_and_add(&c->bytes, p->bytes);
	return 0;
}

/* The end is in these sets by a prefix of so many bits; the next one around it is shorter. */
static __always_inline __u32 note_sets(struct packet *p, __u32 end, __u64 found, __u32 bits)
{
	__u32 least = p->set_key.family == 4 ? SET_BITS_V4 : SET_BITS_V6;
	__u32 counts = p->counting & found ? bits << SEARCH_COUNTS_SHIFT : 0;

	p->question.sets[end & 1] |= found;
	if (bits <= least)
		return counts | SEARCH_END;
	p->set_key.bits = bits - 1;
	return counts | SEARCH_ON;
}

/* The longest prefix that p->set_key allows, and the key of the next shorter one. */
GLOBAL int search_sets(__u32 end)
{
	struct cpu *cpu = this_cpu();
	struct element *element;
	struct packet *p;

	if (!cpu)
		return SEARCH_END;
	p = &cpu->packet;
	element = bpf_map_lookup_elem(&set_elements, &p->set_key);
	if (!element)
		return SEARCH_END;
	return note_sets(p, end,
			 element->listed | element->added |
				 timed_sets(element->timed, element->end_s, cpu),
			 element->bits);
}

/* The same among what rules have put into sets. */
GLOBAL int search_overloads(__u32 end)
{
	struct cpu *cpu = this_cpu();
	struct overload *found;
	struct packet *p;

	if (!cpu)
		return SEARCH_END;
	p = &cpu->packet;
	found = bpf_map_lookup_elem(&overloads, &p->set_key);
	if (!found)
		return SEARCH_END;
	return note_sets(p, end, timed_sets(found->timed, found->end_s, cpu), found->bits);
}

/*
 * Some prefixes around p->set_key, of one of the tries, each shorter than the one before. Calls side by side: not one within
 * the other, for the stack's sake.
 */
GLOBAL int search_some(__u32 end, __u32 in_overloads)
{
	__u32 found;
	int i;

	for (i = 0; i < PREFIXES_AT_ONCE; i++) {
		found = in_overloads ? search_overloads(end) : search_sets(end);
		if (found >> SEARCH_COUNTS_SHIFT)
			count_element(found >> SEARCH_COUNTS_SHIFT);
		if (!(found & SEARCH_ON))
			return SEARCH_END;
	}
	return SEARCH_ON;
}

static __always_inline void search_around(struct packet *p, __u32 end, __u32 in_overloads)
{
	int i;

	p->set_key.bits = SET_BITS_V6 + 128;
	for (i = 0; i < PREFIXES_MAX; i += PREFIXES_AT_ONCE)
		if (search_some(end, in_overloads) == SEARCH_END)
			break;
}

/* All that the source (0) or the destination (1) is in: once for each question, where the ruleset asks. */
GLOBAL int find_sets(__u32 end)
{
	struct cpu *cpu = this_cpu();
	struct overload_head *head;
	const __u64 *address;
	struct question *q;
	struct packet *p;

	if (!cpu)
		return 0;
	p = &cpu->packet;
	q = &p->question;
	address = end ? q->dst : q->src;
	q->sets[end & 1] = 0;
	p->set_key.family = q->family;
	p->set_key.address[0] = bpf_htonl(address[0] >> 32);
	p->set_key.address[1] = bpf_htonl(address[0]);
	p->set_key.address[2] = bpf_htonl(address[1] >> 32);
	p->set_key.address[3] = bpf_htonl(address[1]);
	search_around(p, end, false);
	head = the_overload_head();
	/* nobody has been put in since the load: one lookup is enough */
	if (head && !head->next)
		return 0;
	search_around(p, end, true);
	return 0;
}

/* 1 if an end is not as an entry demands: in one of the sets of `mask` or, with `none`, in none of them. */
static __always_inline __u64 sets_differ(__u64 in, __u64 mask, __u64 asks, __u64 none)
{
	__u64 common = in & mask, any = (common | -common) >> 63;

	return asks & (any ^ 1 ^ none) & 1;
}

static __always_inline bool sets_match(const struct entry *e, const struct question *q)
{
	__u64 flags = e->flags;

	return !(sets_differ(q->sets[0], e->src_sets, flags / ENTRY_SRC_SETS,
			     flags / ENTRY_SRC_NOT) |
		 sets_differ(q->sets[1], e->dst_sets, flags / ENTRY_DST_SETS,
			     flags / ENTRY_DST_NOT));
}

/* The rules or the sets have changed since they allowed this side's packets, or the time of something in them is up. */
static __always_inline bool outdated(struct cpu *cpu, const struct flow *f, __u32 admission)
{
	__u32 until_s = f->until_s;

	return admission != cpu->packet.admission || (until_s && boot_s(cpu) >= until_s);
}

#endif
