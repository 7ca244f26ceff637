/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every layout that user space and the packet path share, written once: by subject in abi_*.h.
 * firewall/abi.py is generated from their BTF; `make abi` renews it.
 *
 * Addresses are four words in network order; an IPv4 address is in the last
 * word with the others zero, its family told apart by a field of its own.
 * Ports are in host order except in keys. Padding is explicit everywhere:
 * keys are hashed as bytes.
 */
#ifndef FW_ABI_H
#define FW_ABI_H

#include <linux/bpf.h>
#include <linux/types.h>

#include "abi_limits.h"
#include "abi_words.h"
#include "abi_packet.h"
#include "abi_control.h"
#include "abi_rules.h"
#include "abi_finding.h"
#include "abi_flow.h"
#include "abi_table.h"
#include "abi_memory.h"

/*
 * Raised whenever a pinned map's layout or meaning changes. An upgrade copies flows
 * by the names of their fields: states and flags of a flow keep their numbers.
 */
enum fw_layout {
	LAYOUT_VERSION = 6,
};

#endif
