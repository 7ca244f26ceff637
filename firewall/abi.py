# SPDX-License-Identifier: MIT
# Generated from the object's BTF by scripts/gen-abi; `make abi` renews it.
"""What user space and the packet path share: the enums and structs of bpf_src/abi*.h."""

from enum import IntEnum

from .layout import CStruct

Raw = bytes


class Layout(IntEnum):
    LAYOUT_VERSION = 6


class Limits(IntEnum):
    GENERATION_SLOTS = 4
    RULES_MAX = 262144
    RATES_MAX = 16384
    MACS_MAX = 16
    CGROUP_LEVELS = 8
    ENTRIES_PER_CHUNK = 32
    ENTRIES_MAX = 524288
    CLASSES_MAX = 256
    PATTERNS_MAX = 64
    PATTERN_ANY = 255
    EDGES_BITS = 16
    EDGES_MAX = 65536
    INTERFACES_MAX = 4096
    HOOKS_MAX = 1024
    VLAN_DEVICES_MAX = 4096
    JOURNAL_SIZE = 4096
    HANDOFFS_PER_CPU = 128
    HANDOFF_CPUS = 32
    RULE_COUNTERS = 528384
    COUNTERS_PAGE = 2048
    POLICY_CHUNK = 4096
    FRAGMENTS_MAX = 8192
    FRAGMENTS_PER_SOURCE = 256
    FRAGMENT_RUNS = 16
    EARLY_FRAGMENTS_MAX = 2048
    EARLY_DESTINATIONS = 1024
    EXPECTATIONS_MAX = 4096
    SOURCE_BUCKETS_MAX = 16384
    EVENT_BYTES = 1048576
    REQUESTS_MAX = 64
    LRU_BATCH = 128
    SETS_MAX = 64
    SET_ELEMENTS_MAX = 4194304
    SET_NAME_BYTES = 32
    OVERLOADS_MAX = 65536
    ELEMENT_COUNTERS_MAX = 262144
    ELEMENT_ENDS = 3
    SET_BITS_V6 = 64
    SET_BITS_V4 = 160


class Hook(IntEnum):
    HOOK_INGRESS = 0
    HOOK_EGRESS = 1


class Scope(IntEnum):
    SCOPE_IN = 0
    SCOPE_OUT = 1
    SCOPE_FORWARD = 2
    SCOPE_COUNT = 3


class Action(IntEnum):
    ACTION_ALLOW = 0
    ACTION_DROP = 1
    ACTION_REJECT = 2
    ACTION_REJECT_ADMIN = 3
    ACTION_REJECT_PORT = 4
    ACTION_REJECT_HOST = 5


class Mode(IntEnum):
    MODE_ENFORCE = 0
    MODE_OBSERVE = 1


class Reason(IntEnum):
    NONE = 0
    FLOW = 1
    RELATED = 2
    RULE_ALLOW = 3
    DEFAULT_ALLOW = 4
    EXPECTED = 5
    PICKUP = 6
    FRAGMENT = 7
    FRAGMENT_EARLY = 8
    HANDED_ON = 9
    TRANSLATED = 10
    ANSWER = 11
    VLAN_DEVICE = 12
    BUILTIN_ARP = 13
    BUILTIN_PPPOE = 14
    BUILTIN_EAPOL = 15
    BUILTIN_LLDP = 16
    BUILTIN_STP = 17
    BUILTIN_ND = 18
    BUILTIN_MLD = 19
    BUILTIN_IGMP = 20
    BUILTIN_DHCP = 21
    BUILTIN_DHCP6 = 22
    RULE_DROP = 23
    RULE_REJECT = 24
    DEFAULT_DROP = 25
    DEFAULT_REJECT = 26
    REVOKED = 27
    NO_FLOW = 28
    BAD_HANDSHAKE = 29
    OUT_OF_WINDOW = 30
    BAD_TAG = 31
    UNRELATED = 32
    FRAGMENT_UNKNOWN = 33
    FRAGMENT_FLOOD = 34
    FRAGMENT_TINY = 35
    FRAGMENT_HEADLESS = 36
    FRAGMENT_HOLE = 37
    FRAGMENT_OVERLAP = 38
    FRAGMENT_GAPS = 39
    FRAGMENT_TWICE = 40
    FRAGMENT_LENGTH = 41
    FRAGMENT_BEYOND = 42
    NOT_IP = 43
    TRUNCATED = 44
    BAD_VERSION = 45
    BAD_HEADER_LENGTH = 46
    DISHONEST_LENGTH = 47
    BAD_TCP_FLAGS = 48
    BAD_CHUNKS = 49
    BAD_TUNNEL = 50
    MANY_TAGS = 51
    LONG_CHAIN = 52
    BAD_CHAIN = 53
    BAD_OPTIONS = 54
    IP_OPTIONS = 55
    SOURCE_ROUTE = 56
    ROUTING_HEADER = 57
    JUMBOGRAM = 58
    MARTIAN = 59
    LAND = 60
    SPOOFED = 61
    NO_ROUTE = 62
    TABLE_FULL = 63
    SOURCE_LIMIT = 64
    OVER_LIMIT = 65
    NO_POLICY = 66
    COUNT = 67
    FIRST_DROP = 23


class Builtin(IntEnum):
    BUILTIN_ARP = 0
    BUILTIN_PPPOE = 1
    BUILTIN_EAPOL = 2
    BUILTIN_LLDP = 3
    BUILTIN_STP = 4
    BUILTIN_ND = 5
    BUILTIN_MLD = 6
    BUILTIN_IGMP = 7
    BUILTIN_DHCP = 8
    BUILTIN_DHCP6 = 9
    BUILTIN_COUNT = 10


class Full(IntEnum):
    FULL_REFUSE = 0
    FULL_EVICT = 1


class SideState(IntEnum):
    SIDE_NONE = 0
    SIDE_SYN = 1
    SIDE_OPEN = 2
    SIDE_FIN = 3
    SIDE_RST = 4


class State(IntEnum):
    STATE_SYN_SENT = 0
    STATE_SYN_RECV = 1
    STATE_ESTABLISHED = 2
    STATE_FIN_WAIT = 3
    STATE_LAST_ACK = 4
    STATE_TIME_WAIT = 5
    STATE_CLOSED = 6
    STATE_ONE_WAY = 7
    STATE_TWO_WAY = 8
    STATE_REVOKED = 9
    STATE_COOKIE_WAIT = 10
    STATE_COOKIE_ECHOED = 11
    STATE_HEARTBEAT_SENT = 12
    STATE_SHUTDOWN_SENT = 13
    STATE_SHUTDOWN_ACK_SENT = 14
    STATE_COUNT = 15


class Timeout(IntEnum):
    TIMEOUT_TCP_SYN_SENT = 0
    TIMEOUT_TCP_SYN_RECV = 1
    TIMEOUT_TCP_ESTABLISHED = 2
    TIMEOUT_TCP_FIN_WAIT = 3
    TIMEOUT_TCP_LAST_ACK = 4
    TIMEOUT_TCP_TIME_WAIT = 5
    TIMEOUT_TCP_CLOSED = 6
    TIMEOUT_UDP_ONE_WAY = 7
    TIMEOUT_UDP = 8
    TIMEOUT_ICMP = 9
    TIMEOUT_SCTP_COOKIE_WAIT = 10
    TIMEOUT_SCTP_COOKIE_ECHOED = 11
    TIMEOUT_SCTP_HEARTBEAT_SENT = 12
    TIMEOUT_SCTP_ESTABLISHED = 13
    TIMEOUT_SCTP_SHUTDOWN_SENT = 14
    TIMEOUT_SCTP_SHUTDOWN_ACK_SENT = 15
    TIMEOUT_SCTP_CLOSED = 16
    TIMEOUT_OTHER_ONE_WAY = 17
    TIMEOUT_OTHER = 18
    TIMEOUT_REVOKED = 19
    TIMEOUT_EXPECTATION = 20
    TIMEOUT_COUNT = 21


class IfaceFlags(IntEnum):
    IFACE_PROTECTED = 1
    IFACE_RAW_IP = 2
    IFACE_TCX = 4
    IFACE_QDISC_OURS = 8
    IFACE_VRF = 16


class EntryFlags(IntEnum):
    ENTRY_LOG = 1
    ENTRY_SRC = 2
    ENTRY_DST = 4
    ENTRY_SRC_SETS = 8
    ENTRY_SRC_NOT = 16
    ENTRY_DST_SETS = 32
    ENTRY_DST_NOT = 64
    ENTRY_OF_SETS = 120
    ENTRY_UNSURE = 128


class Tree(IntEnum):
    TREE_FAMILIES = 2
    TREE_GROUPS = 4
    TREE_CELLS = 11
    TREE_LINE = 16
    TREE_CHAIN = 256


class Field(IntEnum):
    FIELD_PROTO = 0
    FIELD_SCOPE = 1
    FIELD_SPORT = 2
    FIELD_DPORT = 3
    FIELD_SRC = 4
    FIELD_DST = 8
    FIELD_COUNT = 12


class FurtherAsks(IntEnum):
    FURTHER_MARK = 1
    FURTHER_DSCP = 2
    FURTHER_MAC = 4
    FURTHER_TIME = 8
    FURTHER_USER = 16
    FURTHER_UNIT = 32
    FURTHER_NEVER = 64
    FURTHER_SRC_HOST = 128
    FURTHER_DST_HOST = 256
    FURTHER_UNTRACKED = 512
    FURTHER_OF_PACKET = 55


class KeyPort(IntEnum):
    KEY_ASKED_BY_HI = 256


class SideFlags(IntEnum):
    SIDE_SEEN = 1
    SIDE_SEQ = 2
    SIDE_ACK = 4
    SIDE_WSCALE = 8
    SIDE_SETTLED = 16
    SIDE_FRAGMENTED = 32


class FlowFlags(IntEnum):
    FLOW_OPENER_HI = 1
    FLOW_TRANSLATED = 2
    FLOW_PARENT = 4
    FLOW_LIBERAL = 8
    FLOW_REVOKED = 16
    FLOW_COUNTED = 32
    FLOW_SPARED = 64
    FLOW_UNTRACKED = 128


class TcIndex(IntEnum):
    TC_INDEX_HANDOFF = 32768
    TC_INDEX_ANSWER = 65535


class Role(IntEnum):
    ROLE_OPENER = 0
    ROLE_RESPONDER = 1


class RequestOp(IntEnum):
    REQUEST_NONE = 0
    REQUEST_ADD = 1
    REQUEST_ADD_EMBRYONIC = 2
    REQUEST_DELETE = 3


class Answer(IntEnum):
    ANSWER_REFUSED = 0
    ANSWER_DONE = 1
    ANSWER_KNOWN = 2


class EventFlags(IntEnum):
    EVENT_DROP = 1
    EVENT_OBSERVED = 2
    EVENT_LOG = 4
    EVENT_OVERLOAD = 8


class BpfSpinLock(CStruct):
    __slots__ = ("val",)
    SIZE = 4
    FIELDS = (("val", 0, "I", 0),)
    val: int


class Counter(CStruct):
    __slots__ = (
        "packets",
        "bytes",
    )
    SIZE = 16
    FIELDS = (
        ("packets", 0, "Q", 0),
        ("bytes", 8, "Q", 0),
    )
    packets: int
    bytes: int


class RuleCounter(CStruct):
    __slots__ = (
        "packets",
        "bytes",
        "last_j",
    )
    SIZE = 24
    FIELDS = (
        ("packets", 0, "Q", 0),
        ("bytes", 8, "Q", 0),
        ("last_j", 16, "Q", 0),
    )
    packets: int
    bytes: int
    last_j: int


class Env(CStruct):
    __slots__ = (
        "ifindex",
        "ingress_ifindex",
        "mark",
        "tc_index",
        "vlan_present",
        "vlan_tci",
        "vlan_proto",
        "gso_segs",
        "gso_size",
        "pkt_type",
        "hash",
        "uid",
        "has_user",
        "reserved",
        "cgroups",
    )
    SIZE = 120
    FIELDS = (
        ("ifindex", 0, "I", 0),
        ("ingress_ifindex", 4, "I", 0),
        ("mark", 8, "I", 0),
        ("tc_index", 12, "I", 0),
        ("vlan_present", 16, "I", 0),
        ("vlan_tci", 20, "I", 0),
        ("vlan_proto", 24, "I", 0),
        ("gso_segs", 28, "I", 0),
        ("gso_size", 32, "I", 0),
        ("pkt_type", 36, "I", 0),
        ("hash", 40, "I", 0),
        ("uid", 44, "I", 0),
        ("has_user", 48, "I", 0),
        ("reserved", 52, "I", 0),
        ("cgroups", 56, "Q", 8),
    )
    ifindex: int
    ingress_ifindex: int
    mark: int
    tc_index: int
    vlan_present: int
    vlan_tci: int
    vlan_proto: int
    gso_segs: int
    gso_size: int
    pkt_type: int
    hash: int
    uid: int
    has_user: int
    reserved: int
    cgroups: list[int]


class Iface(CStruct):
    __slots__ = (
        "ifindex",
        "slot",
        "class_id",
        "zone",
        "flags",
        "name",
        "reserved",
    )
    SIZE = 32
    FIELDS = (
        ("ifindex", 0, "I", 0),
        ("slot", 4, "H", 0),
        ("class_id", 6, "H", 0),
        ("zone", 8, "H", 0),
        ("flags", 10, "H", 0),
        ("name", 12, "bytes", 16),
        ("reserved", 28, "I", 0),
    )
    ifindex: int
    slot: int
    class_id: int
    zone: int
    flags: int
    name: Raw
    reserved: int


class VlanKey(CStruct):
    __slots__ = (
        "ifindex",
        "proto",
        "vid",
    )
    SIZE = 8
    FIELDS = (
        ("ifindex", 0, "I", 0),
        ("proto", 4, "H", 0),
        ("vid", 6, "H", 0),
    )
    ifindex: int
    proto: int
    vid: int


class Control(CStruct):
    __slots__ = (
        "generation",
        "previous",
        "deadline_ns",
        "grace_until_j",
        "mode",
        "grace_forward",
        "sets_changed",
        "sets_open",
        "overload",
    )
    SIZE = 48
    FIELDS = (
        ("generation", 0, "I", 0),
        ("previous", 4, "I", 0),
        ("deadline_ns", 8, "Q", 0),
        ("grace_until_j", 16, "Q", 0),
        ("mode", 24, "I", 0),
        ("grace_forward", 28, "I", 0),
        ("sets_changed", 32, "I", 0),
        ("sets_open", 36, "I", 0),
        ("overload", 40, "Q", 0),
    )
    generation: int
    previous: int
    deadline_ns: int
    grace_until_j: int
    mode: int
    grace_forward: int
    sets_changed: int
    sets_open: int
    overload: int


class TreeRoot(CStruct):
    __slots__ = (
        "root",
        "first",
    )
    SIZE = 8
    FIELDS = (
        ("root", 0, "I", 0),
        ("first", 4, "I", 0),
    )
    root: int
    first: int


class Settings(CStruct):
    __slots__ = (
        "generation",
        "linear",
        "builtins",
        "answers_per_s",
        "events_per_s",
        "defaults",
        "default_log",
        "tcp_pickup",
        "tcp_window",
        "ip_options",
        "antispoof",
        "fragments_early",
        "flows_full",
        "sets_of",
        "reserved",
        "per_source",
        "adaptive_start",
        "adaptive_end",
        "edges",
        "asks",
        "spares_from",
        "spares_to",
        "spares_admission",
        "timeout_j",
        "trees",
        "patterns",
    )
    SIZE = 2304
    FIELDS = (
        ("generation", 0, "I", 0),
        ("linear", 4, "I", 0),
        ("builtins", 8, "I", 0),
        ("answers_per_s", 12, "I", 0),
        ("events_per_s", 16, "I", 0),
        ("defaults", 20, "bytes", 3),
        ("default_log", 23, "B", 0),
        ("tcp_pickup", 24, "B", 0),
        ("tcp_window", 25, "B", 0),
        ("ip_options", 26, "B", 0),
        ("antispoof", 27, "B", 0),
        ("fragments_early", 28, "B", 0),
        ("flows_full", 29, "B", 0),
        ("sets_of", 30, "B", 0),
        ("reserved", 31, "B", 0),
        ("per_source", 32, "I", 0),
        ("adaptive_start", 36, "I", 0),
        ("adaptive_end", 40, "I", 0),
        ("edges", 44, "I", 0),
        ("asks", 48, "I", 0),
        ("spares_from", 52, "I", 0),
        ("spares_to", 56, "I", 0),
        ("spares_admission", 60, "I", 0),
        ("timeout_j", 64, "I", 32),
        ("trees", 192, TreeRoot, 8),
        ("patterns", 256, "Q", 256),
    )
    generation: int
    linear: int
    builtins: int
    answers_per_s: int
    events_per_s: int
    defaults: Raw
    default_log: int
    tcp_pickup: int
    tcp_window: int
    ip_options: int
    antispoof: int
    fragments_early: int
    flows_full: int
    sets_of: int
    reserved: int
    per_source: int
    adaptive_start: int
    adaptive_end: int
    edges: int
    asks: int
    spares_from: int
    spares_to: int
    spares_admission: int
    timeout_j: list[int]
    trees: list[TreeRoot]
    patterns: list[int]


class Range(CStruct):
    __slots__ = (
        "lo",
        "hi",
    )
    SIZE = 32
    FIELDS = (
        ("lo", 0, "Q", 2),
        ("hi", 16, "Q", 2),
    )
    lo: list[int]
    hi: list[int]


class Entry(CStruct):
    __slots__ = (
        "src",
        "dst",
        "src_sets",
        "dst_sets",
        "sport_lo",
        "sport_hi",
        "dport_lo",
        "dport_hi",
        "family",
        "proto",
        "scopes",
        "action",
        "on",
        "via",
        "flags",
        "rule",
        "counter",
        "further",
        "reserved",
    )
    SIZE = 112
    FIELDS = (
        ("src", 0, Range, 0),
        ("dst", 32, Range, 0),
        ("src_sets", 64, "Q", 0),
        ("dst_sets", 72, "Q", 0),
        ("sport_lo", 80, "H", 0),
        ("sport_hi", 82, "H", 0),
        ("dport_lo", 84, "H", 0),
        ("dport_hi", 86, "H", 0),
        ("family", 88, "B", 0),
        ("proto", 89, "B", 0),
        ("scopes", 90, "B", 0),
        ("action", 91, "B", 0),
        ("on", 92, "B", 0),
        ("via", 93, "B", 0),
        ("flags", 94, "H", 0),
        ("rule", 96, "I", 0),
        ("counter", 100, "I", 0),
        ("further", 104, "I", 0),
        ("reserved", 108, "I", 0),
    )
    src: Range
    dst: Range
    src_sets: int
    dst_sets: int
    sport_lo: int
    sport_hi: int
    dport_lo: int
    dport_hi: int
    family: int
    proto: int
    scopes: int
    action: int
    on: int
    via: int
    flags: int
    rule: int
    counter: int
    further: int
    reserved: int


class Effects(CStruct):
    __slots__ = (
        "mark",
        "mark_mask",
        "idle_j",
        "counts",
    )
    SIZE = 16
    FIELDS = (
        ("mark", 0, "I", 0),
        ("mark_mask", 4, "I", 0),
        ("idle_j", 8, "I", 0),
        ("counts", 12, "I", 0),
    )
    mark: int
    mark_mask: int
    idle_j: int
    counts: int


class HostPart(CStruct):
    __slots__ = (
        "value",
        "mask",
    )
    SIZE = 32
    FIELDS = (
        ("value", 0, "Q", 2),
        ("mask", 16, "Q", 2),
    )
    value: list[int]
    mask: list[int]


class Further(CStruct):
    __slots__ = (
        "asks",
        "mark",
        "mark_mask",
        "rate",
        "rate_j",
        "burst",
        "most",
        "rate_bits",
        "most_bits",
        "uid",
        "reserved",
        "dscp",
        "macs",
        "cgroup",
        "effects",
        "windows",
        "hosts",
        "overload_set",
        "overload_s",
        "counted",
    )
    SIZE = 296
    FIELDS = (
        ("asks", 0, "I", 0),
        ("mark", 4, "I", 0),
        ("mark_mask", 8, "I", 0),
        ("rate", 12, "I", 0),
        ("rate_j", 16, "I", 0),
        ("burst", 20, "I", 0),
        ("most", 24, "I", 0),
        ("rate_bits", 28, "bytes", 2),
        ("most_bits", 30, "bytes", 2),
        ("uid", 32, "I", 0),
        ("reserved", 36, "I", 0),
        ("dscp", 40, "Q", 0),
        ("macs", 48, "Q", 16),
        ("cgroup", 176, "Q", 0),
        ("effects", 184, Effects, 0),
        ("windows", 200, "Q", 0),
        ("hosts", 208, HostPart, 2),
        ("overload_set", 272, "I", 0),
        ("overload_s", 276, "I", 0),
        ("counted", 280, "Q", 2),
    )
    asks: int
    mark: int
    mark_mask: int
    rate: int
    rate_j: int
    burst: int
    most: int
    rate_bits: Raw
    most_bits: Raw
    uid: int
    reserved: int
    dscp: int
    macs: list[int]
    cgroup: int
    effects: Effects
    windows: int
    hosts: list[HostPart]
    overload_set: int
    overload_s: int
    counted: list[int]


class Edge(CStruct):
    __slots__ = (
        "from_ns",
        "open",
    )
    SIZE = 16
    FIELDS = (
        ("from_ns", 0, "Q", 0),
        ("open", 8, "Q", 0),
    )
    from_ns: int
    open: int


class Set(CStruct):
    __slots__ = (
        "name",
        "digest",
        "timeout_s",
        "counters",
    )
    SIZE = 56
    FIELDS = (
        ("name", 0, "bytes", 32),
        ("digest", 32, "bytes", 16),
        ("timeout_s", 48, "I", 0),
        ("counters", 52, "I", 0),
    )
    name: Raw
    digest: Raw
    timeout_s: int
    counters: int


class SetKey(CStruct):
    __slots__ = (
        "bits",
        "family",
        "reserved",
        "address",
    )
    SIZE = 28
    FIELDS = (
        ("bits", 0, "I", 0),
        ("family", 4, "I", 0),
        ("reserved", 8, "I", 0),
        ("address", 12, "bytes", 16),
    )
    bits: int
    family: int
    reserved: int
    address: Raw


class Element(CStruct):
    __slots__ = (
        "listed",
        "added",
        "bits",
        "timed",
        "end_s",
    )
    SIZE = 32
    FIELDS = (
        ("listed", 0, "Q", 0),
        ("added", 8, "Q", 0),
        ("bits", 16, "B", 0),
        ("timed", 17, "bytes", 3),
        ("end_s", 20, "I", 3),
    )
    listed: int
    added: int
    bits: int
    timed: Raw
    end_s: list[int]


class Overload(CStruct):
    __slots__ = (
        "place",
        "bits",
        "timed",
        "end_s",
    )
    SIZE = 20
    FIELDS = (
        ("place", 0, "I", 0),
        ("bits", 4, "B", 0),
        ("timed", 5, "bytes", 3),
        ("end_s", 8, "I", 3),
    )
    place: int
    bits: int
    timed: Raw
    end_s: list[int]


class OverloadHead(CStruct):
    __slots__ = (
        "lock",
        "next",
        "displaced",
        "failed",
    )
    SIZE = 16
    FIELDS = (
        ("lock", 0, BpfSpinLock, 0),
        ("next", 4, "I", 0),
        ("displaced", 8, "I", 0),
        ("failed", 12, "I", 0),
    )
    lock: BpfSpinLock
    next: int
    displaced: int
    failed: int


class Tuple(CStruct):
    __slots__ = (
        "src",
        "dst",
        "sport",
        "dport",
        "zone",
        "proto",
        "family",
    )
    SIZE = 40
    FIELDS = (
        ("src", 0, "bytes", 16),
        ("dst", 16, "bytes", 16),
        ("sport", 32, "net16", 0),
        ("dport", 34, "net16", 0),
        ("zone", 36, "H", 0),
        ("proto", 38, "B", 0),
        ("family", 39, "B", 0),
    )
    src: Raw
    dst: Raw
    sport: int
    dport: int
    zone: int
    proto: int
    family: int


class FlowKey(CStruct):
    __slots__ = (
        "lo",
        "hi",
        "lo_port",
        "hi_port",
        "zone",
        "proto",
        "family",
    )
    SIZE = 40
    FIELDS = (
        ("lo", 0, "bytes", 16),
        ("hi", 16, "bytes", 16),
        ("lo_port", 32, "net16", 0),
        ("hi_port", 34, "net16", 0),
        ("zone", 36, "H", 0),
        ("proto", 38, "B", 0),
        ("family", 39, "B", 0),
    )
    lo: Raw
    hi: Raw
    lo_port: int
    hi_port: int
    zone: int
    proto: int
    family: int


class Side(CStruct):
    __slots__ = (
        "seen_j",
        "packets",
        "bytes",
        "seq_end",
        "ack",
        "window_end",
        "window_max",
        "in_ifindex",
        "out_ifindex",
        "state",
        "scale",
        "flags",
        "out_slot",
        "syn_bytes",
        "generation",
        "syn_again",
    )
    SIZE = 64
    FIELDS = (
        ("seen_j", 0, "Q", 0),
        ("packets", 8, "Q", 0),
        ("bytes", 16, "Q", 0),
        ("seq_end", 24, "I", 0),
        ("ack", 28, "I", 0),
        ("window_end", 32, "I", 0),
        ("window_max", 36, "I", 0),
        ("in_ifindex", 40, "I", 0),
        ("out_ifindex", 44, "I", 0),
        ("state", 48, "B", 0),
        ("scale", 49, "B", 0),
        ("flags", 50, "H", 0),
        ("out_slot", 52, "H", 0),
        ("syn_bytes", 54, "H", 0),
        ("generation", 56, "I", 0),
        ("syn_again", 60, "I", 0),
    )
    seen_j: int
    packets: int
    bytes: int
    seq_end: int
    ack: int
    window_end: int
    window_max: int
    in_ifindex: int
    out_ifindex: int
    state: int
    scale: int
    flags: int
    out_slot: int
    syn_bytes: int
    generation: int
    syn_again: int


class Flow(CStruct):
    __slots__ = (
        "tag",
        "incarnation",
        "generation",
        "rule",
        "counter",
        "scope",
        "flags",
        "icmp",
        "slot",
        "further",
        "until_s",
        "admission",
        "spared_by",
        "reserved",
        "created_j",
        "effects",
        "side",
        "parent",
    )
    SIZE = 240
    FIELDS = (
        ("tag", 0, "I", 0),
        ("incarnation", 4, "I", 0),
        ("generation", 8, "I", 0),
        ("rule", 12, "I", 0),
        ("counter", 16, "I", 0),
        ("scope", 20, "B", 0),
        ("flags", 21, "B", 0),
        ("icmp", 22, "H", 0),
        ("slot", 24, "I", 0),
        ("further", 28, "I", 0),
        ("until_s", 32, "I", 0),
        ("admission", 36, "I", 0),
        ("spared_by", 40, "I", 0),
        ("reserved", 44, "I", 0),
        ("created_j", 48, "Q", 0),
        ("effects", 56, Effects, 0),
        ("side", 72, Side, 2),
        ("parent", 200, Tuple, 0),
    )
    tag: int
    incarnation: int
    generation: int
    rule: int
    counter: int
    scope: int
    flags: int
    icmp: int
    slot: int
    further: int
    until_s: int
    admission: int
    spared_by: int
    reserved: int
    created_j: int
    effects: Effects
    side: list[Side]
    parent: Tuple


class SourceKey(CStruct):
    __slots__ = (
        "address",
        "zone",
        "rule",
    )
    SIZE = 24
    FIELDS = (
        ("address", 0, "bytes", 16),
        ("zone", 16, "I", 0),
        ("rule", 20, "I", 0),
    )
    address: Raw
    zone: int
    rule: int


class Source(CStruct):
    __slots__ = (
        "lock",
        "flows",
    )
    SIZE = 8
    FIELDS = (
        ("lock", 0, BpfSpinLock, 0),
        ("flows", 4, "I", 0),
    )
    lock: BpfSpinLock
    flows: int


class Bucket(CStruct):
    __slots__ = (
        "last_j",
        "tokens_j",
    )
    SIZE = 16
    FIELDS = (
        ("last_j", 0, "Q", 0),
        ("tokens_j", 8, "Q", 0),
    )
    last_j: int
    tokens_j: int


class Rate(CStruct):
    __slots__ = (
        "lock",
        "reserved",
        "bucket",
    )
    SIZE = 24
    FIELDS = (
        ("lock", 0, BpfSpinLock, 0),
        ("reserved", 4, "I", 0),
        ("bucket", 8, Bucket, 0),
    )
    lock: BpfSpinLock
    reserved: int
    bucket: Bucket


class Slot(CStruct):
    __slots__ = (
        "lock",
        "incarnation",
        "counted",
        "limited",
        "relieved_j",
        "source",
        "ceiling",
        "key",
    )
    SIZE = 108
    FIELDS = (
        ("lock", 0, BpfSpinLock, 0),
        ("incarnation", 4, "I", 0),
        ("counted", 8, "I", 0),
        ("limited", 12, "I", 0),
        ("relieved_j", 16, "I", 0),
        ("source", 20, SourceKey, 0),
        ("ceiling", 44, SourceKey, 0),
        ("key", 68, FlowKey, 0),
    )
    lock: BpfSpinLock
    incarnation: int
    counted: int
    limited: int
    relieved_j: int
    source: SourceKey
    ceiling: SourceKey
    key: FlowKey


class Table(CStruct):
    __slots__ = (
        "lock",
        "size",
        "used",
        "fresh",
        "hand",
        "reserved",
    )
    SIZE = 24
    FIELDS = (
        ("lock", 0, BpfSpinLock, 0),
        ("size", 4, "I", 0),
        ("used", 8, "I", 0),
        ("fresh", 12, "I", 0),
        ("hand", 16, "I", 0),
        ("reserved", 20, "I", 0),
    )
    lock: BpfSpinLock
    size: int
    used: int
    fresh: int
    hand: int
    reserved: int


class Totals(CStruct):
    __slots__ = (
        "embryonic_made",
        "embryonic_gone",
        "confirmed",
        "collected",
        "evicted",
        "lost",
    )
    SIZE = 48
    FIELDS = (
        ("embryonic_made", 0, "Q", 0),
        ("embryonic_gone", 8, "Q", 0),
        ("confirmed", 16, "Q", 0),
        ("collected", 24, "Q", 0),
        ("evicted", 32, "Q", 0),
        ("lost", 40, "Q", 0),
    )
    embryonic_made: int
    embryonic_gone: int
    confirmed: int
    collected: int
    evicted: int
    lost: int


class Request(CStruct):
    __slots__ = (
        "op",
        "answer",
        "key",
        "flow",
    )
    SIZE = 288
    FIELDS = (
        ("op", 0, "I", 0),
        ("answer", 4, "I", 0),
        ("key", 8, FlowKey, 0),
        ("flow", 48, Flow, 0),
    )
    op: int
    answer: int
    key: FlowKey
    flow: Flow


class FragmentKey(CStruct):
    __slots__ = (
        "src",
        "slot",
        "hook",
        "place",
    )
    SIZE = 24
    FIELDS = (
        ("src", 0, "bytes", 16),
        ("slot", 16, "H", 0),
        ("hook", 18, "H", 0),
        ("place", 20, "I", 0),
    )
    src: Raw
    slot: int
    hook: int
    place: int


class FragmentRun(CStruct):
    __slots__ = (
        "start",
        "to",
    )
    SIZE = 4
    FIELDS = (
        ("start", 0, "H", 0),
        ("to", 2, "H", 0),
    )
    start: int
    to: int


class Fragment(CStruct):
    __slots__ = (
        "when_j",
        "src",
        "dst",
        "id",
        "in_ifindex",
        "rule",
        "counter",
        "mark",
        "mark_mask",
        "out_slot",
        "end",
        "proto",
        "family",
        "whole",
        "reserved",
        "runs",
    )
    SIZE = 136
    FIELDS = (
        ("when_j", 0, "Q", 0),
        ("src", 8, "bytes", 16),
        ("dst", 24, "bytes", 16),
        ("id", 40, "I", 0),
        ("in_ifindex", 44, "I", 0),
        ("rule", 48, "I", 0),
        ("counter", 52, "I", 0),
        ("mark", 56, "I", 0),
        ("mark_mask", 60, "I", 0),
        ("out_slot", 64, "H", 0),
        ("end", 66, "H", 0),
        ("proto", 68, "B", 0),
        ("family", 69, "B", 0),
        ("whole", 70, "B", 0),
        ("reserved", 71, "B", 0),
        ("runs", 72, FragmentRun, 16),
    )
    when_j: int
    src: Raw
    dst: Raw
    id: int
    in_ifindex: int
    rule: int
    counter: int
    mark: int
    mark_mask: int
    out_slot: int
    end: int
    proto: int
    family: int
    whole: int
    reserved: int
    runs: list[FragmentRun]


class Event(CStruct):
    __slots__ = (
        "number",
        "time_ns",
        "src",
        "dst",
        "rule",
        "generation",
        "in_ifindex",
        "out_ifindex",
        "bytes",
        "packets",
        "sport",
        "dport",
        "eth_proto",
        "reason",
        "hook",
        "scope",
        "proto",
        "family",
        "tcp_flags",
        "flags",
        "reserved",
        "number_end",
    )
    SIZE = 96
    FIELDS = (
        ("number", 0, "Q", 0),
        ("time_ns", 8, "Q", 0),
        ("src", 16, "bytes", 16),
        ("dst", 32, "bytes", 16),
        ("rule", 48, "I", 0),
        ("generation", 52, "I", 0),
        ("in_ifindex", 56, "I", 0),
        ("out_ifindex", 60, "I", 0),
        ("bytes", 64, "I", 0),
        ("packets", 68, "I", 0),
        ("sport", 72, "H", 0),
        ("dport", 74, "H", 0),
        ("eth_proto", 76, "H", 0),
        ("reason", 78, "B", 0),
        ("hook", 79, "B", 0),
        ("scope", 80, "B", 0),
        ("proto", 81, "B", 0),
        ("family", 82, "B", 0),
        ("tcp_flags", 83, "B", 0),
        ("flags", 84, "B", 0),
        ("reserved", 85, "bytes", 3),
        ("number_end", 88, "Q", 0),
    )
    number: int
    time_ns: int
    src: Raw
    dst: Raw
    rule: int
    generation: int
    in_ifindex: int
    out_ifindex: int
    bytes: int
    packets: int
    sport: int
    dport: int
    eth_proto: int
    reason: int
    hook: int
    scope: int
    proto: int
    family: int
    tcp_flags: int
    flags: int
    reserved: Raw
    number_end: int
