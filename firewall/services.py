# SPDX-License-Identifier: MIT
"""The names that the language has for numbers: protocols, ICMP types and services.

The tables are built in, so that a policy means the same on every machine, whatever its /etc/services says.
Protocol numbers are IANA's "Assigned Internet Protocol Numbers"; ports are IANA's "Service Name and Transport
Protocol Port Number Registry", with the few names added that people say instead (`dns`, `rdp`, `smb`).
"""

ICMP, TCP, UDP, GRE, ESP, AH, ICMP6, SCTP = 1, 6, 17, 47, 50, 51, 58, 132

PROTOCOLS = {
    "tcp": TCP,
    "udp": UDP,
    "icmp": ICMP,
    "icmp6": ICMP6,
    "sctp": SCTP,
    "gre": GRE,
    "esp": ESP,
    "ah": AH,
}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

# Protocols whose header begins with a source and a destination port.
PORT_PROTOCOLS = frozenset((TCP, UDP, SCTP))

# IPv6 extension headers that always have another header behind them (RFC 8200, section 4): a packet's
# protocol is what follows, so a rule for one of these numbers could never match.
EXTENSION_HEADERS = {0: "hop-by-hop options", 43: "routing", 44: "fragment", 60: "destination options"}

# Names from elsewhere, for suggestions only.
OTHER_PROTOCOLS = {
    "icmpv6": "icmp6",
    "ipv6-icmp": "icmp6",
    "icmp4": "icmp",
    "icmpv4": "icmp",
    "igmp": "proto 2",
    "ipip": "proto 4",
    "ipencap": "proto 4",
    "ipv6": "proto 41",
    "dccp": "proto 33",
    "eigrp": "proto 88",
    "ospf": "proto 89",
    "pim": "proto 103",
    "vrrp": "proto 112",
    "l2tp": "proto 115",
    "udplite": "proto 136",
    "ipsec-esp": "esp",
    "ipsec-ah": "ah",
}

# https://www.iana.org/assignments/icmp-parameters
ICMP_TYPES = {
    "echo-reply": 0,
    "destination-unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo-request": 8,
    "router-advertisement": 9,
    "router-solicitation": 10,
    "time-exceeded": 11,
    "parameter-problem": 12,
    "timestamp-request": 13,
    "timestamp-reply": 14,
    "extended-echo-request": 42,
    "extended-echo-reply": 43,
}

# https://www.iana.org/assignments/icmpv6-parameters
ICMP6_TYPES = {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "echo-request": 128,
    "echo-reply": 129,
    "mld-query": 130,
    "mld-report": 131,
    "mld-done": 132,
    "router-solicitation": 133,
    "router-advertisement": 134,
    "neighbor-solicitation": 135,
    "neighbor-advertisement": 136,
    "redirect": 137,
    "mld2-report": 143,
    "extended-echo-request": 160,
    "extended-echo-reply": 161,
}

TYPES_OF = {ICMP: ICMP_TYPES, ICMP6: ICMP6_TYPES}

ICMP_ERRORS = {ICMP: frozenset({3, 4, 5, 11, 12}), ICMP6: frozenset(range(128))}
"""By what they quote they belong to a flow. As in bpf_src/parse_transport.h."""
ICMP_REPLIES = {ICMP: frozenset({0, 14, 16, 18}), ICMP6: frozenset({129, 140})}
"""They belong to the flow of their request (RFC 792, 950, 4443, 4620)."""

SERVICES = {
    "ftp-data": 20,
    "ftp": 21,
    "ssh": 22,
    "telnet": 23,
    "smtp": 25,
    "whois": 43,
    "tacacs": 49,
    "dns": 53,
    "domain": 53,
    "bootps": 67,
    "bootpc": 68,
    "tftp": 69,
    "http": 80,
    "kerberos": 88,
    "pop3": 110,
    "sunrpc": 111,
    "ntp": 123,
    "netbios-ns": 137,
    "netbios-dgm": 138,
    "netbios-ssn": 139,
    "imap": 143,
    "snmp": 161,
    "snmptrap": 162,
    "bgp": 179,
    "ldap": 389,
    "https": 443,
    "microsoft-ds": 445,
    "smb": 445,
    "submissions": 465,
    "ike": 500,
    "isakmp": 500,
    "syslog": 514,
    "dhcpv6-client": 546,
    "dhcpv6-server": 547,
    "submission": 587,
    "ipp": 631,
    "ldaps": 636,
    "netconf-ssh": 830,
    "domain-s": 853,
    "rsync": 873,
    "imaps": 993,
    "pop3s": 995,
    "openvpn": 1194,
    "ms-sql-s": 1433,
    "radius": 1812,
    "radius-acct": 1813,
    "mqtt": 1883,
    "ssdp": 1900,
    "nfs": 2049,
    "mysql": 3306,
    "rdp": 3389,
    "stun": 3478,
    "ipsec-nat-t": 4500,
    "sip": 5060,
    "sips": 5061,
    "xmpp-client": 5222,
    "xmpp-server": 5269,
    "stuns": 5349,
    "mdns": 5353,
    "llmnr": 5355,
    "postgresql": 5432,
    "amqps": 5671,
    "amqp": 5672,
    "vnc": 5900,
    "redis": 6379,
    "syslog-tls": 6514,
    "irc": 6667,
    "ircs-u": 6697,
    "http-alt": 8080,
    "secure-mqtt": 8883,
    "git": 9418,
    "memcache": 11211,
    "mongodb": 27017,
    "wireguard": 51820,
}


def protocol_name(number: int) -> str:
    """How the language writes an IP protocol: `tcp`, or `proto 89` for one without a name of its own."""
    return PROTOCOL_NAMES.get(number) or f"proto {number}"


def icmp_type_name(proto: int, number: int) -> str:
    """The name of an ICMP or ICMPv6 type, or its number as text where the language has no name for it."""
    for name, value in TYPES_OF.get(proto, {}).items():
        if value == number:
            return name
    return str(number)
