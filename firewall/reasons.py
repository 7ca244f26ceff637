# SPDX-License-Identifier: MIT
"""What each reason means, in one sentence: for `fw status`, `fw log` and the manual.

The names are those of `enum fw_reason` in abi.h, in lower case and in its order, save REASON_NONE, which no
packet ends with. A test keeps the two together.
"""

REASONS: dict[str, str] = {
    "flow": "belongs to a connection that is allowed",
    "related": "ICMP error about a connection that is allowed",
    "rule_allow": "a rule allowed it to open a connection",
    "default_allow": "no rule matched and the default allows",
    "pickup": "part of a running connection that was met midway",
    "fragment": "later fragment of a packet that was allowed",
    "fragment_early": "later fragment ahead of its first, of which a few may pass",
    "handed_on": "judged when it came in, leaves the way it was judged for",
    "translated": "judged when it came in, then given other addresses or another VRF",
    "answer": "fw's own answer to a packet that it rejected",
    "vlan_device": "its VLAN has an interface of its own, which judges it",
    "builtin_arp": "ARP, which finds the neighbours of IPv4",
    "builtin_pppoe": "PPPoE discovery or session frame",
    "builtin_eapol": "802.1X authentication",
    "builtin_lldp": "LLDP, by which switches name themselves",
    "builtin_stp": "spanning tree frame",
    "builtin_nd": "neighbour or router discovery of IPv6",
    "builtin_mld": "multicast listener discovery of IPv6",
    "builtin_igmp": "IGMP, the multicast membership of IPv4",
    "builtin_dhcp": "DHCP for this host's own address",
    "builtin_dhcp6": "DHCPv6 for this host's own address",
    "rule_drop": "a rule drops it",
    "rule_reject": "a rule rejects it",
    "default_drop": "no rule matched and the default drops",
    "default_reject": "no rule matched and the default rejects",
    "revoked": "its connection is no longer allowed by the rules",
    "no_flow": "belongs to no known connection and cannot open one",
    "bad_handshake": "TCP segment that does not fit the handshake so far",
    "out_of_window": "TCP segment whose sequence or ACK number lies outside the window",
    "unrelated": "ICMP error about no known connection",
    "fragment_unknown": "later fragment of a packet whose first was not allowed",
    "fragment_flood": "one more fragment ahead of its first than its destination may get",
    "fragment_tiny": "first fragment too short for the header that must be in it",
    "fragment_headless": "first fragment in which the chain of headers does not end",
    "fragment_hole": "later fragment that starts within the header that the first must have",
    "fragment_overlap": "fragment with bytes that another one has had",
    "fragment_gaps": "leaves one more gap between fragments than is remembered",
    "fragment_twice": "has two fragment headers",
    "fragment_length": "a length that no fragment has: none, or odd before others",
    "fragment_beyond": "fragment that ends past 64 KiB",
    "not_ip": "neither IP nor of a kind that a built-in allows",
    "truncated": "ends before its headers do",
    "bad_version": "its IP version is not the one that its frame names",
    "bad_header_length": "its header says to be shorter than any can be",
    "dishonest_length": "says to be longer than it is",
    "bad_tcp_flags": "TCP flags that no honest sender combines",
    "many_tags": "more VLAN tags than are followed",
    "long_chain": "more IPv6 extension headers, or options in one, than are followed",
    "bad_chain": "an IPv6 extension header where none of its kind may be",
    "bad_options": "an IP option says to be longer or shorter than it can be",
    "ip_options": "has IP options, which 'option ip.options' drops",
    "source_route": "an IPv4 option by which its sender chooses the way",
    "routing_header": "an IPv6 routing header of type 0, by which its sender chooses the way",
    "jumbogram": "an IPv6 packet of more than 64 KiB that came over a wire",
    "martian": "has an address that is on no wire: loopback, or a multicast or no source",
    "land": "names its receiver as its sender",
    "spoofed": "no route leads back to its source, by 'option antispoof'",
    "no_route": "the routing table refuses its destination",
    "table_full": "no room for another connection",
    "no_policy": "no policy in force, or an interface that fw does not know",
}

# The first reason of a drop; those before it are of packets that passed.
FIRST_DROP = "rule_drop"
DROPS = frozenset(list(REASONS)[list(REASONS).index(FIRST_DROP) :])
BUILTINS = frozenset(name for name in REASONS if name.startswith("builtin_"))
