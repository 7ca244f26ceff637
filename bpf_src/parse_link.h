/* SPDX-License-Identifier: GPL-2.0-only */
/* The link header, its tags, and the frames that are not IP. */
#ifndef FW_PARSE_LINK_H
#define FW_PARSE_LINK_H

#include "cursor.h"

static __always_inline bool has_vlan_device(struct packet *p, __u16 proto, __u16 tci)
{
	struct vlan_key key = {
		.ifindex = p->ifindex,
		.proto = proto,
		.vid = tci & VLAN_VID,
	};

	return key.vid && bpf_map_lookup_elem(&vlan_devices, &key);
}

static __always_inline bool is_vlan(__u32 proto)
{
	return proto == ETH_P_8021Q || proto == ETH_P_8021AD;
}

/* Link header and tags: sets eth_proto and l3_off. */
static __always_inline enum fw_reason parse_link(struct __sk_buff *skb, struct packet *p)
{
	__u32 off = sizeof(struct ethhdr);
	struct ethhdr *eth;
	__u32 chosen = 0;
	__u64 word;
	__u8 *first;
	int i;

	p->mac = 0;
	if (p->iface_flags & IFACE_RAW_IP) {
		first = at(skb, 0, 1);
		if (!first)
			return REASON_TRUNCATED;
		p->l3_off = 0;
		p->eth_proto = *first >> 4 == 4 ? ETH_P_IP : *first >> 4 == 6 ? ETH_P_IPV6 : 0;
		return p->eth_proto ? REASON_NONE : REASON_NOT_IP;
	}
	eth = at(skb, 0, sizeof(*eth));
	if (!eth)
		return REASON_TRUNCATED;
	/* both at once: the struct is packed, so that the compiler would load bytes */
	word = bpf_be64_to_cpu(*(__be64 *)((void *)eth + offsetof(struct ethhdr, h_source)));
	p->mac = word >> 16;
	p->eth_proto = word;
	if (p->env.vlan_present) {
		__u32 tci = p->env.vlan_tci;

		if (has_vlan_device(p, bpf_ntohs(p->env.vlan_proto), tci))
			return REASON_VLAN_DEVICE;
		chosen = tci & VLAN_VID;
	}
	for (i = 0; is_vlan(p->eth_proto); i++) {
		struct vlan_tag *tag;

		if (i == VLAN_TAGS_MAX)
			return REASON_MANY_TAGS;
		tag = at(skb, off, sizeof(*tag));
		if (!tag)
			return REASON_TRUNCATED;
		/* the outermost tag that names a VLAN chooses the device on top of this one */
		if (!chosen && has_vlan_device(p, p->eth_proto, bpf_ntohs(tag->tci)))
			return REASON_VLAN_DEVICE;
		chosen |= bpf_ntohs(tag->tci) & VLAN_VID;
		p->eth_proto = bpf_ntohs(tag->proto);
		off += sizeof(*tag);
	}
	p->l3_off = off;
	if (p->eth_proto < ETH_P_802_3_MIN) {
		__be16 *llc = at(skb, off, sizeof(*llc));

		if (!llc)
			return REASON_TRUNCATED;
		p->llc = bpf_ntohs(*llc);
	}
	return REASON_NONE;
}

/* Frames that are not IP: some link protocols pass, switchable. */
static __always_inline enum fw_reason not_ip(struct packet *p)
{
	struct settings *s = settings_of(p->generation);
	__u32 builtin, reason;

	switch (p->eth_proto) {
	case ETH_P_ARP:
		builtin = BUILTIN_ARP;
		reason = REASON_BUILTIN_ARP;
		break;
	case ETH_P_PPP_DISC:
	case ETH_P_PPP_SES:
		builtin = BUILTIN_PPPOE;
		reason = REASON_BUILTIN_PPPOE;
		break;
	case ETH_P_PAE:
		builtin = BUILTIN_EAPOL;
		reason = REASON_BUILTIN_EAPOL;
		break;
	case ETH_P_LLDP:
		builtin = BUILTIN_LLDP;
		reason = REASON_BUILTIN_LLDP;
		break;
	default:
		/* an 802.3 length: STP is the LLC service that bridges speak */
		if (p->eth_proto >= ETH_P_802_3_MIN || p->llc != LLC_STP)
			return REASON_NOT_IP;
		builtin = BUILTIN_STP;
		reason = REASON_BUILTIN_STP;
	}
	if (!s)
		return REASON_NO_POLICY;
	return s->builtins & 1 << builtin ? reason : REASON_NOT_IP;
}

#endif
