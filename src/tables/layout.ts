/**
 * The binary contract between `compile` (writes), `match` (reads), `render` and `tables/dump` (print).
 *
 * One SharedArrayBuffer of int32 words, written once and never again after publication:
 *
 *   word  0   MAGIC
 *         1   LAYOUT_VERSION
 *         2   length of the whole buffer in words
 *         3   checksum of every word after the header (FNV-1a over words)
 *         4   index of the node whose endpoints alone are local (`--node`), or NONE
 *         5   1 = there is room behind sections, and what lies there means nothing
 *         6.. directory: for each section its first word and its number of records
 *
 * Sections follow each other; in tables that are going to change (tables/buffer-pair.ts) with room behind each.
 * Sections are arrays of fixed-size records. A record's position is its index for the life of a generation, so a rule
 * index is a stable name in logs, counters and golden files. Text is an index into the string table. Lists are a start and a count
 * in the pool of ints (or prefixes). Nothing points outside its section: `openTables` checks that once.
 *
 * How a check of one packet runs over them (match/chain.ts):
 *
 *   address ──TRIE/EXACT/RANGES──► address class ──► peer class, policy class of egress and ingress, flags, row and column of PAIRS
 *   row of the destination + column of the source + TCP or UDP ──PAIRS──► port function of both checks
 *   port function + port ──search──► step: what decided, allow or deny
 *
 * The same for one check alone:
 *
 *   policy class + peer class of the other end ──CLASS_MAPS, FUNCTION_REFS──► port function
 *
 * and, where a rule looks at source ports or nothing was folded, over the bit rows of the chain:
 *
 *   first step set in  srcRow[class of src] & dstRow[class of dst] & keyRow[key] & sourceKeyRow[source key]
 */

/** The values of RULE_ACTION (beside RULE_LOG), TIER_DEFAULT_ACTION and NODE_TO_HOST_ACTION, for readers of tables alone. */
export { ACTION_ALLOW, ACTION_DENY, ACTION_PASS } from '../model/flow.ts';

/** `mrgy` */
export const MAGIC = 0x6d726779;
export const LAYOUT_VERSION = 6;
export const NONE = -1;

export const HEADER_LENGTH = 2;
export const HEADER_CHECKSUM = 3;
export const HEADER_LOCAL_NODE = 4;
export const HEADER_HAS_ROOM = 5;
export const HEADER_DIRECTORY = 6;

/* ---- sections, in the order they lie in the buffer ---- */
export const SECTION_STRINGS = 0;
export const SECTION_STRING_BYTES = 1;
export const SECTION_INTS = 2;
export const SECTION_PREFIXES = 3;
export const SECTION_TIERS = 4;
export const SECTION_POLICIES = 5;
export const SECTION_PROFILES = 6;
export const SECTION_RULES = 7;
export const SECTION_SIDES = 8;
export const SECTION_IP_SETS = 9;
export const SECTION_MEMBERS = 10;
export const SECTION_GROUPS = 11;
export const SECTION_ENDPOINTS = 12;
export const SECTION_NODES = 13;
export const SECTION_SERVICES = 14;
export const SECTION_LOOP_PREFIXES = 15;
export const SECTION_OWNERS = 16;
export const SECTION_CHAINS = 17;
export const SECTION_STEPS = 18;
export const SECTION_BITS = 19;
export const SECTION_CLASS_MAPS = 20;
export const SECTION_POLICY_CLASSES = 21;
export const SECTION_FUNCTION_REFS = 22;
export const SECTION_FUNCTIONS = 23;
export const SECTION_CLASSES_4 = 24;
export const SECTION_CLASSES_6 = 25;
export const SECTION_TRIE_4 = 26;
export const SECTION_EXACT_6 = 27;
export const SECTION_RANGES_6 = 28;
export const SECTION_NETWORK_SETS = 29;
export const SECTION_PAIRS = 30;
export const SECTION_OWNERS_6 = 31;
export const SECTION_TEMPLATES = 32;
export const SECTION_COUNT = 33;

export const HEADER_WORDS = HEADER_DIRECTORY + 2 * SECTION_COUNT;

/* Words of the records that packets run over; RECORD_WORDS has those of all sections. */
export const PREFIX_SIZE = 5;
export const ENDPOINT_SIZE = 8;
export const TEMPLATE_SIZE = 10;
export const NODE_SIZE = 20;
export const SERVICE_SIZE = 5;
export const OWNER_SIZE = 2;
export const OWNER_6_SIZE = 5;
export const CHAIN_SIZE = 17;
export const STEP_SIZE = 10;
export const POLICY_CLASS_SIZE = 5;
export const ADDRESS_CLASS_SIZE = 6;
export const EXACT_SIZE = 5;
export const RANGE_SIZE = 5;

/** Words a record, by section. */
export const RECORD_WORDS: readonly number[] = [
  2,
  1,
  1,
  PREFIX_SIZE,
  5,
  17,
  7,
  16,
  18,
  5,
  6,
  11,
  ENDPOINT_SIZE,
  NODE_SIZE,
  SERVICE_SIZE,
  1,
  OWNER_SIZE,
  CHAIN_SIZE,
  STEP_SIZE,
  1,
  1,
  POLICY_CLASS_SIZE,
  1,
  1,
  ADDRESS_CLASS_SIZE,
  ADDRESS_CLASS_SIZE,
  1,
  EXACT_SIZE,
  RANGE_SIZE,
  3,
  1,
  OWNER_6_SIZE,
  TEMPLATE_SIZE,
];

/* ---- SECTION_STRINGS: UTF-8 text; string 0 is '' ---- */
export const STRING_OFFSET_BYTES = 0;
export const STRING_LENGTH_BYTES = 1;

/* ---- SECTION_PREFIXES ---- */
/** `version << 8 | length` */
export const PREFIX_FORM = 0;
export const PREFIX_WORDS = 1;

/* ---- SECTION_TIERS, in evaluation order ---- */
export const TIER_NAME = 0;
/** ACTION_DENY or ACTION_PASS */
export const TIER_DEFAULT_ACTION = 1;
export const TIER_EXISTS = 2;
/** float64, low word first; Infinity = no object describes the tier */
export const TIER_ORDER = 3;

/* ---- SECTION_POLICIES, in evaluation order (by tier) ---- */
export const POLICY_ID = 0;
export const POLICY_NAMESPACE = 1;
export const POLICY_NAME = 2;
export const POLICY_TIER = 3;
export const POLICY_FLAGS = 4;
/** float64, low word first; Infinity = not given */
export const POLICY_ORDER = 5;
/** ingress: first rule and count; egress: the same */
export const POLICY_INGRESS = 7;
export const POLICY_EGRESS = 9;
export const POLICY_SELECTOR = 11;
export const POLICY_FILE = 12;
export const POLICY_LINE = 13;

export const POLICY_IS_STAGED = 1;
export const POLICY_HAS_INGRESS = 2;
export const POLICY_HAS_EGRESS = 4;
export const POLICY_DO_NOT_TRACK = 8;
export const POLICY_PRE_DNAT = 16;
export const POLICY_APPLY_ON_FORWARD = 32;

/* ---- SECTION_PROFILES ---- */
export const PROFILE_NAME = 0;
export const PROFILE_INGRESS = 1;
export const PROFILE_EGRESS = 3;
export const PROFILE_FILE = 5;
export const PROFILE_LINE = 6;

/* ---- SECTION_RULES: by policy, ingress then egress, then by profile ---- */
/** ACTION_* or RULE_LOG */
export const RULE_ACTION = 0;
/** 0 = both */
export const RULE_IP_VERSION = 1;
/** IP protocol number or NONE */
export const RULE_PROTOCOL = 2;
export const RULE_NOT_PROTOCOL = 3;
export const RULE_ICMP_TYPE = 4;
export const RULE_ICMP_CODE = 5;
export const RULE_NOT_ICMP_TYPE = 6;
export const RULE_NOT_ICMP_CODE = 7;
/** index in SECTION_SIDES */
export const RULE_SOURCE = 8;
export const RULE_DESTINATION = 9;
/** policy index, or `~profile` */
export const RULE_OWNER = 10;
export const RULE_DIRECTION = 11;
/** position in its policy and direction: the rule index of traces */
export const RULE_INDEX = 12;
export const RULE_FILE = 13;
export const RULE_LINE = 14;

export const RULE_LOG = 3;

/* ---- SECTION_SIDES: start and count of each list ---- */
/** prefixes */
export const SIDE_NETS = 0;
export const SIDE_NOT_NETS = 2;
/** ints: IP-set indexes */
export const SIDE_IP_SETS = 4;
export const SIDE_NOT_IP_SETS = 6;
/** ints: low, high of each range; the count is of ranges */
export const SIDE_PORTS = 8;
export const SIDE_NAMED_PORTS = 10;
export const SIDE_NOT_PORTS = 12;
export const SIDE_NOT_NAMED_PORTS = 14;
/** IP-set index or NONE */
export const SIDE_SERVICE_PORTS = 16;

/* ---- SECTION_IP_SETS, sorted by ID ---- */
export const IP_SET_ID = 0;
/** IP_SET_NET or IP_SET_IP_PORT */
export const IP_SET_TYPE = 1;
export const IP_SET_TEXT = 2;
/** members that come from no group; tables/members.ts adds those of groups */
export const IP_SET_MEMBERS = 3;

export const IP_SET_NET = 0;
export const IP_SET_IP_PORT = 1;

/* ---- SECTION_MEMBERS: a prefix, and for IP_SET_IP_PORT `protocol << 16 | port`; sorted as numbers ---- */
export const MEMBER_PREFIX = 0;
export const MEMBER_PORT = 5;

/* ---- SECTION_GROUPS: endpoints with the same labels, profiles and named ports ---- */
export const GROUP_KIND = 0;
/** ints: strings */
export const GROUP_PROFILES = 1;
/** ints: word offset of a policy list `count (tier, n, ingress…, n, egress…)…` */
export const GROUP_TIERS = 3;
export const GROUP_FORWARD_TIERS = 4;
export const GROUP_PRE_DNAT_TIERS = 5;
export const GROUP_UNTRACKED_TIERS = 6;
/** network sets: start and count in SECTION_NETWORK_SETS */
export const GROUP_NETWORK_SETS = 7;
/** ints: sets (IP_SET_NET) of which all prefixes of the group are members, ascending */
export const GROUP_SETS = 9;

export const KIND_WEP = 0;
export const KIND_HEP = 1;
export const KIND_NETWORK_SET = 2;

/*
 * ---- SECTION_ENDPOINTS, sorted by key, and SECTION_TEMPLATES ----
 * A cluster has hundreds of thousands of pods and a few thousand workloads, and most of what is to be said of a pod holds for every pod of its
 * workload. So an endpoint has what is its own (key, address, node) and the number of its template, which has the rest and
 * is there once, however many endpoints share it:
 *
 *   endpoint  wep:shop/web-7   10.0.0.7  n1 ─┐
 *   endpoint  wep:shop/web-8   10.0.0.8  n2 ─┴─► template  shop, account web, app=web, group 12, its chains
 *   endpoint  wep:shop/db-0    10.0.0.9  n1 ───► template  shop, account db, …
 *
 * The node is not in the template, or pods of a workload on a hundred nodes would share nothing. Equal templates are one. A template is never
 * written again: where something of it changes for an endpoint (tables that change while they are in use), the endpoint gets another one.
 * Readers ask `templateField` and `endpointName` of tables.ts.
 */
/** string: `wep:NS/POD` or `hep:NAME`; the name is its last part and is nowhere else */
export const ENDPOINT_KEY = 0;
export const ENDPOINT_TEMPLATE = 1;
export const ENDPOINT_NODE = 2;
export const ENDPOINT_UID = 3;
/** prefixes */
export const ENDPOINT_ADDRESSES = 4;
export const ENDPOINT_INTERFACE = 6;
export const ENDPOINT_LINE = 7;

/** KIND_WEP or KIND_HEP */
export const TEMPLATE_KIND = 0;
export const TEMPLATE_NAMESPACE = 1;
export const TEMPLATE_SERVICE_ACCOUNT = 2;
/** ints: key and value strings, in turn; the count is of pairs */
export const TEMPLATE_LABELS = 3;
/** NONE = a pod that Felix refuses, or that is gone or has not come */
export const TEMPLATE_GROUP = 5;
export const TEMPLATE_FILE = 6;
/** ints: word offset of the endpoints' chains, CHAIN_SLOT_COUNT of them by version, or NONE (not local) */
export const TEMPLATE_CHAINS = 7;
/** prefixes: further sources that a pod may use */
export const TEMPLATE_ALLOWED_SOURCES = 8;

/* Slots of TEMPLATE_CHAINS: chain indexes, first for IPv4 then for IPv6; NONE = no such check. */
export const SLOT_EGRESS = 0;
export const SLOT_INGRESS = 1;
export const SLOT_PENDING_EGRESS = 2;
export const SLOT_PENDING_INGRESS = 3;
export const SLOT_FORWARD_EGRESS = 4;
export const SLOT_FORWARD_INGRESS = 5;
export const SLOT_PRE_DNAT = 6;
export const SLOT_UNTRACKED_EGRESS = 7;
export const SLOT_UNTRACKED_INGRESS = 8;
export const SLOT_PENDING_FORWARD_EGRESS = 9;
export const SLOT_PENDING_FORWARD_INGRESS = 10;
export const SLOT_PENDING_PRE_DNAT = 11;
export const SLOT_PENDING_UNTRACKED_EGRESS = 12;
export const SLOT_PENDING_UNTRACKED_INGRESS = 13;
export const CHAIN_SLOT_COUNT = 14;

/* ---- SECTION_NODES, sorted by name ---- */
export const NODE_NAME = 0;
export const NODE_UPLINK = 1;
export const NODE_UPLINK_EXPLICIT = 2;
export const NODE_WILDCARD = 3;
/** prefixes */
export const NODE_ADDRESSES = 4;
export const NODE_POD_CIDRS = 6;
export const NODE_TO_HOST_ACTION = 8;
export const NODE_FLAGS = 9;
export const NODE_VXLAN_PORT = 10;
/** ints: protocol, port, and prefix of the remote side (an index, or NONE) of each failsafe, in turn; the count is of ints */
export const NODE_FAILSAFES_INBOUND = 11;
export const NODE_FAILSAFES_OUTBOUND = 13;
/** string: what the names of pods' interfaces start with, separated by commas */
export const NODE_INTERFACE_PREFIXES = 15;

/** NODE_TO_HOST_ACTION: ACTION_ALLOW (accept and return) or ACTION_DENY (drop) */
export const NODE_ALLOW_VXLAN = 1;
export const NODE_ALLOW_IPIP = 2;
export const NODE_NO_INVALID_CHECK = 4;
export const NODE_IPV6 = 8;
export const NODE_LOOP_PREVENTION = 16;
/** The dataplane is BPF: semantics 6.10. */
export const NODE_IS_BPF = 32;
/** FelixConfiguration says that Calico's own tunnels of this kind are on (semantics 6.7, 6.8). */
export const NODE_VXLAN_IS_ON = 64;
export const NODE_IPIP_IS_ON = 128;

/* ---- SECTION_SERVICES: one record an (address, protocol, port) of a cluster service ---- */
export const SERVICE_KEY = 0;
/** prefix index of the address */
export const SERVICE_ADDRESS = 1;
/** `protocol << 16 | port` */
export const SERVICE_PORT = 2;
/** ints: prefix index and port of each backend, in turn; the count is of backends */
export const SERVICE_BACKENDS = 3;

/* ---- SECTION_LOOP_PREFIXES: prefix indexes ---- */

/*
 * ---- SECTION_OWNERS, SECTION_OWNERS_6: open-addressing hashes of exact addresses of IPv4 and IPv6, a power of two slots each ----
 * A slot is the address (one word, or four) and `owner + 1`, so that empty slots, which are zero, say NONE. Nearly all addresses belong to one pod
 * and nobody else, and such an owner is the pod's number itself; the others are lists:
 *
 *   owner    -1             NONE: nobody
 *            -2 - endpoint  that pod alone (`podAlone`)
 *            0 or more      word offset in SECTION_INTS of `podCount pods… nodeCount nodes… hostEndpointCount hostEndpoints…`
 */
export const OWNER_ADDRESS = 0;
export const OWNER_OWNER = 1;
export const OWNER_6_OWNER = 4;

/** The owner that is pod `endpoint` alone; and of such an owner the endpoint. */
export function podAlone(endpoint: number): number {
  return -2 - endpoint;
}

/* ---- SECTION_CHAINS: the steps of one check, as bit rows ---- */
export const CHAIN_VERSION = 0;
export const CHAIN_DIRECTION = 1;
export const CHAIN_FIRST_STEP = 2;
export const CHAIN_STEP_COUNT = 3;
export const CHAIN_ROW_WORDS = 4;
/** word offset of a map in SECTION_CLASS_MAPS: peer class -> row number */
export const CHAIN_SRC_MAP = 5;
export const CHAIN_DST_MAP = 6;
/** word offset of the first row in SECTION_BITS, and number of rows */
export const CHAIN_SRC_ROWS = 7;
export const CHAIN_DST_ROWS = 9;
/** ints: sorted start keys of the intervals (their rows follow each other from the row offset) */
export const CHAIN_KEYS = 11;
export const CHAIN_KEY_ROWS = 13;
/** ints: word offset of `count, start keys…, first row word` for source keys, or NONE if no rule looks at source ports */
export const CHAIN_SOURCE_KEYS = 14;
/** position in CHAIN_KINDS of compile/chains.ts */
export const CHAIN_KIND = 15;
/** the steps that the chain starts with for failsafe ports */
export const CHAIN_FAILSAFES = 16;
/** CHAIN_KIND of a pod that Felix refuses: all its packets are dropped, those of known connections too. */
export const CHAIN_KIND_REJECTED = 5;

/* ---- SECTION_STEPS ---- */
/** STEP_ALLOW, STEP_DENY, STEP_PASS or STEP_NONE (the chain ends without a verdict) */
export const STEP_ACTION = 0;
export const STEP_REASON = 1;
/** rule index or NONE */
export const STEP_RULE = 2;
/** tier index; NONE = profiles or before any tier */
export const STEP_TIER = 3;
/** policy index, `~profile` for a profile that exists, or NONE */
export const STEP_POLICY = 4;
/** the rule index of traces (-1 = end of tier) */
export const STEP_TRACE_INDEX = 5;
/** STEP_PASS: the step (within the chain) where evaluation goes on */
export const STEP_JUMP = 6;
/** string: the name part of the trace entry (`np:app/web`, `pro:kns.app`); 0 = no entry */
export const STEP_TRACE_NAME = 7;
/** ints: policies of the tier that selected the endpoint; end of tier only */
export const STEP_SELECTED_BY = 8;

export const STEP_ALLOW = 0;
export const STEP_DENY = 1;
export const STEP_PASS = 2;
export const STEP_NONE = 3;

/*
 * ---- SECTION_CLASS_MAPS: peer class -> number of a row ----
 * Nearly all classes have row 0 in nearly all maps, so a map is the word offsets of its blocks of CLASS_MAP_BLOCK rows each, and equal
 * blocks lie there once:
 *
 *   map M, 7 000 classes, class 130 has row 2      block Z  0 0 0 0 …
 *   M + 0: Z   M + 1: Z   M + 2: B   M + 3: Z …    block B  0 0 2 0 …      130 = 2 * 64 + 2
 */
export const CLASS_MAP_BITS = 6;
export const CLASS_MAP_BLOCK = 1 << CLASS_MAP_BITS;

/** Blocks of a map of `classCount` peer classes: words that it takes beside theirs. */
export function blocksOfMap(classCount: number): number {
  return (classCount + CLASS_MAP_BLOCK - 1) >>> CLASS_MAP_BITS;
}

/** The row that the map at word `map` of SECTION_CLASS_MAPS has for `peerClass`. */
export function mappedRow(classMaps: Int32Array, map: number, peerClass: number): number {
  return classMaps[classMaps[map + (peerClass >>> CLASS_MAP_BITS)]! + (peerClass & (CLASS_MAP_BLOCK - 1))]!;
}

/* ---- SECTION_POLICY_CLASSES: a chain together with the local end's row; class 0 = no check ---- */
export const POLICY_CLASS_CHAIN = 0;
/** row number of the local end */
export const POLICY_CLASS_LOCAL_ROW = 1;
/** word offset of a map in SECTION_CLASS_MAPS: peer class of the other end -> column */
export const POLICY_CLASS_MAP = 2;
/** word offset in SECTION_FUNCTION_REFS of column 0 */
export const POLICY_CLASS_REFS = 3;
export const POLICY_CLASS_COLUMNS = 4;

/* ---- SECTION_FUNCTION_REFS: `word offset in SECTION_FUNCTIONS << 5 | log2 of its size`, or NONE = use the rows ---- */

/*
 * ---- SECTION_FUNCTIONS: port functions ----
 * 2^k start keys, ascending, the first 0, unused ones KEY_UNUSED; then 2^k values `step << 2 | STEP_*`.
 */
export const KEY_UNUSED = 0x7fffffff;
export const VALUE_STEP_SHIFT = 2;

/* ---- SECTION_CLASSES_4, _6: address classes ---- */
export const CLASS_PEER = 0;
export const CLASS_FLAGS = 1;
/** policy classes of the pod that owns the address; 0 = no check */
export const CLASS_EGRESS = 2;
export const CLASS_INGRESS = 3;
/** SECTION_PAIRS: word offset of the row as a destination, and in the row of the column as a source */
export const CLASS_PAIR_ROW = 4;
export const CLASS_PAIR_COLUMN = 5;

/** Peer classes, as many as these address classes use. */
export function peerClassCount(addressClasses: Int32Array): number {
  let count = 1;
  for (let at = CLASS_PEER; at < addressClasses.length; at += ADDRESS_CLASS_SIZE)
    count = Math.max(count, addressClasses[at]! + 1);
  return count;
}

/** Needs the full path of match/path.ts: host addresses, host endpoints, shared addresses, service addresses. */
export const CLASS_NEEDS_PATH = 1;
/** The address of a pod that is local. */
export const CLASS_IS_LOCAL = 2;
/** Inside a CIDR of the service loop block. */
export const CLASS_IS_LOOP = 4;
/** Inside a node's podCIDRs. */
export const CLASS_IN_POD_CIDR = 8;
/** The cluster, external or load-balancer address of a service. */
export const CLASS_IS_SERVICE = 16;
/** Inside a node's podCIDRs, owned by nobody, while the owners are those of an identity store: nothing is known of it. */
export const CLASS_NO_IDENTITY = 32;

/*
 * ---- SECTION_TRIE_4: 16-8-8 trie of IPv4 addresses ----
 * 65 536 root entries, then nodes of 256 entries and cells of one. An entry of the first two levels is `offset << 1 | isNode`: the next
 * index is offset + (the next 8 bits of the address if isNode, else 0), so that a lookup takes three loads and no branch.
 * An entry of the last level is the word offset of an address class.
 */
export const TRIE_ROOT_ENTRIES = 65_536;
export const TRIE_NODE_ENTRIES = 256;

/* ---- SECTION_EXACT_6: open-addressing hash of full-length IPv6 prefixes: 4 address words, class + 1 (0 = empty) ---- */
/* ---- SECTION_RANGES_6: what is not exact: sorted start addresses (4 words) and their class, covering the whole space ---- */

/*
 * ---- SECTION_PAIRS: the port function of both checks of a packet, as in SECTION_FUNCTION_REFS ----
 * Two entries, for TCP and for UDP, for each way to be a destination (row) and to be a source (column), IPv4 then IPv6; their functions
 * have ports as keys. The first row is NONE. compile/pack-pairs.ts
 */

/* ---- SECTION_NETWORK_SETS: name (`ns:NS/NAME`, `gns:NAME`), prefixes start and count ---- */
export const NETWORK_SET_NAME = 0;
export const NETWORK_SET_PREFIXES = 1;

/*
 * Keys: protocol and port (or ICMP type and code) in one number, `slot << 16 | value`.
 *
 *   slot 0 TCP, 1 UDP, 2 SCTP: the destination port (source keys: the source port)
 *   slot 3 ICMP on IPv4, ICMPv6 on IPv6: type << 8 | code (source keys: 0)
 *   slot 4 everything else: the IP protocol number (source keys: 0)
 */
export const SLOT_BITS = 16;
export const KEY_SLOT_TCP = 0;
export const KEY_SLOT_UDP = 1;
export const KEY_SLOT_SCTP = 2;
export const KEY_SLOT_ICMP = 3;
export const KEY_SLOT_OTHER = 4;
export const KEY_LIMIT = 5 << SLOT_BITS;

/** The key slot of an IP protocol number on `version`. */
export function keySlot(protocol: number, version: number): number {
  if (protocol === 6) return KEY_SLOT_TCP;
  if (protocol === 17) return KEY_SLOT_UDP;
  if (protocol === 132) return KEY_SLOT_SCTP;
  if (protocol === (version === 4 ? 1 : 58)) return KEY_SLOT_ICMP;
  return KEY_SLOT_OTHER;
}

/** The key of a packet in `slot`; `first` and `second` are source and destination port, or ICMP type and code. */
export function keyOf(slot: number, protocol: number, first: number, second: number): number {
  if (slot === KEY_SLOT_OTHER) return (slot << SLOT_BITS) | protocol;
  return (slot << SLOT_BITS) | (slot === KEY_SLOT_ICMP ? (first << 8) | second : second);
}

/** Hash of an address for SECTION_OWNERS, SECTION_OWNERS_6 and SECTION_EXACT_6: uint32, good in its low bits. */
export function addressHash(w0: number, w1: number, w2: number, w3: number): number {
  let h = Math.imul(w0, 0x9e3779b1) ^ Math.imul(w1, 0x85ebca77) ^ Math.imul(w2, 0xc2b2ae3d) ^ Math.imul(w3, 0x27d4eb2f);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return (h ^ (h >>> 15)) >>> 0;
}
