/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef FW_TYPES_H
#define FW_TYPES_H

#include "abi.h"

/* Never read: it brings into the object's BTF the types that no map has. */
const volatile struct {
	enum fw_layout layout;
	enum fw_limits limits;
	enum fw_field field;
	enum fw_tree tree;
	enum fw_reason reason;
	enum fw_mode mode;
	enum fw_builtin builtin;
	enum fw_ip_options ip_options;
	enum fw_antispoof antispoof;
	enum fw_early early;
	enum fw_full full;
	enum fw_side_state side_state;
	enum fw_state state;
	enum fw_timeout timeout;
	enum fw_pickup pickup;
	enum fw_window window;
	enum fw_iface_flags iface_flags;
	enum fw_entry_flags entry_flags;
	enum fw_key_port key_port;
	enum fw_side_flags side_flags;
	enum fw_flow_flags flow_flags;
	enum fw_tc_index tc_index;
	enum fw_role role;
	enum fw_event_flags event_flags;
	enum fw_request_op request_op;
	enum fw_answer answer;
	enum fw_further_asks further_asks;
	struct entry entry;
	struct further further;
	struct edge edge;
	struct rule_counter rule_counter;
} abi_types = {};

#endif
