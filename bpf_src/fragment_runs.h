/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which bytes of a fragmented packet have passed: stretches of units of 8, of
 * which those that touch are made one. No byte passes twice (RFC 5722).
 */
#ifndef FW_FRAGMENT_RUNS_H
#define FW_FRAGMENT_RUNS_H

#include "cursor.h"

#define NO_RUN FRAGMENT_RUNS

/* Units of 8 bytes: where the packet's piece starts, and where it ends. */
static __always_inline __u32 piece_start(const struct packet *p)
{
	return p->fragment_at / 8;
}

static __always_inline __u32 piece_end(const struct packet *p)
{
	return (p->fragment_at + p->fragment_bytes + 7) / 8;
}

/* Note where the packet's piece lies beside a run of the entry in scratch. A function of its own for the verifier. */
GLOBAL int compare_run(__u32 i)
{
	struct cpu *cpu = this_cpu();
	const struct fragment_run *run;
	struct packet *p;
	__u32 from, to;

	if (!cpu || i >= FRAGMENT_RUNS)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	run = &cpu->fragment.runs[i];
	from = piece_start(p);
	to = piece_end(p);
	if (!run->to) {
		p->run_free = i;
		return REASON_NONE;
	}
	if ((from < run->to && to > run->start) || (!p->fragment_more && run->to > to))
		return REASON_FRAGMENT_OVERLAP;
	if (run->to == from)
		p->run_before = i;
	if (run->start == to)
		p->run_behind = i;
	return REASON_NONE;
}

/* Put the packet's bytes among those of the entry in scratch, or say why they do not fit. */
GLOBAL int place_fragment(void)
{
	struct cpu *cpu = this_cpu();
	struct fragment_run *run;
	enum fw_reason reason;
	struct fragment *f;
	struct packet *p;
	__u32 to, i;
	bool last;

	if (!cpu)
		return REASON_NO_POLICY;
	p = &cpu->packet;
	f = &cpu->fragment;
	to = piece_end(p);
	last = !p->fragment_more;
	if (f->end && (to > f->end || (last && to != f->end)))
		return REASON_FRAGMENT_OVERLAP;
	p->run_before = NO_RUN;
	p->run_behind = NO_RUN;
	p->run_free = NO_RUN;
	for (i = 0; i < FRAGMENT_RUNS; i++) {
		reason = compare_run(i);
		if (reason)
			return reason;
	}
	i = p->run_before;
	if (i == NO_RUN)
		i = p->run_behind;
	if (i == NO_RUN)
		i = p->run_free;
	if (i >= FRAGMENT_RUNS)
		return REASON_FRAGMENT_GAPS;
	run = &f->runs[i];
	if (p->run_before == NO_RUN)
		run->start = piece_start(p);
	if (p->run_before != NO_RUN || p->run_behind == NO_RUN)
		run->to = to;
	i = p->run_behind;
	if (p->run_before != NO_RUN && i < FRAGMENT_RUNS) {
		run->to = f->runs[i].to;
		f->runs[i].start = 0;
		f->runs[i].to = 0;
	}
	if (last)
		f->end = to;
	f->whole = f->end && !run->start && run->to == f->end;
	return REASON_NONE;
}

#endif
